import type { JsonObject } from "../lib/json.ts";

export const TASK_TYPES = ["import", "api_image_import", "location_import"] as const;
export type TaskType = (typeof TASK_TYPES)[number];

/** `pending` until the work begins, `processing` until it ends one way or the other (contract 12 §1). */
export const TASK_STATUSES = ["pending", "processing", "success", "failure"] as const;
export type TaskStatus = (typeof TASK_STATUSES)[number];

/** Work that goes on behind an answer, as its caller follows it (contract 12 §1). */
export interface Task {
  readonly id: string;
  readonly type: TaskType;
  readonly status: TaskStatus;
  /** The project of whoever asked for it. */
  readonly owner: string | null;
  readonly imageId: string | null;
  /** Of the call that it came from. */
  readonly requestId: string | null;
  readonly userId: string | null;
  readonly input: JsonObject | null;
  /** Null until it succeeds. */
  readonly result: JsonObject | null;
  /** How far it is, or why it failed; empty when there is nothing to say. */
  readonly message: string;
  readonly createdAtMs: number;
  readonly updatedAtMs: number;
  /** Set when it ends; from then on nobody is shown it any more. */
  readonly expiresAtMs: number | null;
}

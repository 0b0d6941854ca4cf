import type { PropertyProtection } from "../domain/property-protection.ts";
import { isCustom } from "../domain/settable.ts";
import type { Task } from "../domain/task.ts";
import { isJsonObject } from "../lib/json.ts";
import { formatTime } from "../lib/time.ts";

/** What of tasks somebody may read. */
export interface TaskReader {
  readonly protection: PropertyProtection;
  readonly seesLocations: boolean;
}

/** A task as its own page shows it (contract 12 §1). */
export function taskView(task: Task, reader: TaskReader): Record<string, unknown> {
  return {
    ...taskSummaryView(task),
    input: inputView(task, reader),
    result: task.result,
    message: task.message,
    ...(task.imageId && { image_id: task.imageId }),
    ...(task.requestId && { request_id: task.requestId }),
    ...(task.userId && { user_id: task.userId }),
  };
}

/** A task as the list of tasks shows it (contract 12 §1). */
export function taskSummaryView(task: Task): Record<string, unknown> {
  return {
    id: task.id,
    type: task.type,
    status: task.status,
    owner: task.owner,
    created_at: formatTime(task.createdAtMs),
    updated_at: formatTime(task.updatedAtMs),
    ...(task.expiresAtMs !== null && { expires_at: formatTime(task.expiresAtMs) }),
    self: `/v2/tasks/${task.id}`,
    schema: "/v2/schemas/task",
  };
}

/** A task as the list of its image's tasks shows it: all keys, whatever is null (contract 12 §3, TSK-3, TSK-4). */
export function imageTaskView(task: Task, reader: TaskReader): Record<string, unknown> {
  return {
    id: task.id,
    type: task.type,
    status: task.status,
    owner: task.owner,
    expires_at: task.expiresAtMs === null ? null : formatMicroseconds(task.expiresAtMs),
    created_at: formatMicroseconds(task.createdAtMs),
    updated_at: formatMicroseconds(task.updatedAtMs),
    deleted_at: null,
    deleted: false,
    image_id: task.imageId,
    request_id: task.requestId,
    user_id: task.userId,
    input: inputView(task, reader),
    result: task.result,
    message: task.message,
  };
}

/**
 * The input without what is kept from the reader: addresses of locations (contract 12 §3, input for add-location), and
 * properties of the image (13 §9).
 */
function inputView(task: Task, { protection, seesLocations }: TaskReader): Task["input"] {
  const { loc_url: url, ...others } = task.input ?? {};
  const input = url === undefined || seesLocations ? task.input : others;
  const given = input?.image_properties;
  if (!isJsonObject(given)) return input;
  const shown = Object.entries(given).filter(
    ([name]) => !isCustom(name) || protection.may("read", name),
  );
  return { ...input, image_properties: Object.fromEntries(shown) };
}

/** A time as an image's tasks alone show it: microseconds, and no zone (contract TIM-4). */
function formatMicroseconds(ms: number): string {
  return new Date(ms).toISOString().replace("Z", "000");
}

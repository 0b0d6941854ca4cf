import type { SortDirection } from "./image-list.ts";
import type { Task } from "./task.ts";
import type { Viewer } from "./visibility.ts";

/** Fields of a task that a filter compares as text. */
export type TaskTextField = keyof Pick<
  Task,
  "id" | "type" | "status" | "owner" | "imageId" | "requestId" | "userId"
>;

export type TaskTimeField = keyof Pick<Task, "createdAtMs" | "updatedAtMs" | "expiresAtMs">;

/** One page of the list of tasks as it is asked for (contract 12 §2), checked and with all defaults filled in. */
export interface TaskListQuery {
  /** Tasks the page holds at the most. */
  readonly limit: number;
  /** The task after which the page starts. */
  readonly marker: string | undefined;
  /** Null comes before everything in `asc`; ids decide between equals. */
  readonly sortKey: TaskTextField | TaskTimeField;
  readonly sortDirection: SortDirection;
  /** Values that the task must have. */
  readonly texts: ReadonlyMap<TaskTextField, string>;
  /** Times that the task must be shown with, in whole seconds as milliseconds. */
  readonly times: ReadonlyMap<TaskTimeField, number>;
}

/** One page of an image's tasks as it is asked for. */
export type ImageTaskPage = Pick<TaskListQuery, "limit" | "marker">;

/** Whether the list of tasks has this one for a viewer: an admin sees all, others their project's (contract 12 §2). */
export function seesTask(viewer: Viewer, task: Task): boolean {
  return viewer.seesAll || (task.owner !== null && task.owner === viewer.projectId);
}

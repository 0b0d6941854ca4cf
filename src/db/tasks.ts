import {
  and,
  asc,
  eq,
  getTableColumns,
  gt,
  inArray,
  isNull,
  lte,
  or,
  type SQL,
  sql,
} from "drizzle-orm";
import type { Task, TaskStatus, TaskType } from "../domain/task.ts";
import type { Database } from "./database.ts";
import { images, tasks } from "./schema.ts";

/*
 * Statements that write are for a batch with those that write the image: a task and its image then change together
 * or not at all. Each gives back the ids of the tasks it touched.
 */

type TaskRow = typeof tasks.$inferSelect;

const UNFINISHED: readonly TaskStatus[] = ["pending", "processing"];

/** What a task is before it becomes this (contract 12 §1); what is over stays as it is. */
const FROM: Readonly<Record<TaskStatus, readonly TaskStatus[]>> = {
  pending: [],
  processing: UNFINISHED,
  success: ["processing"],
  failure: UNFINISHED,
};

/** As many as an insert takes away at once, so that the table does not grow and no insert is slow. */
const MAX_DELETED = 25;

/** Adds a task if its image holds it: the image names it as the task it is locked by. */
export function insertTaskOf(db: Database, task: Task) {
  const row = rowFromTask(task);
  const values = Object.entries(getTableColumns(tasks)).map(([name, column]) =>
    sql.param(row[name as keyof TaskRow], column),
  );
  return db
    .insert(tasks)
    .select(
      sql`SELECT ${sql.join(values, sql`, `)} WHERE EXISTS (
        SELECT 1 FROM ${images} WHERE id = ${task.imageId}
        AND json_extract(properties, '$.os_glance_import_task') = ${task.id})`,
    )
    .onConflictDoNothing()
    .returning({ id: tasks.id });
}

/** Adds a task that is over already: it tells what happened. To be awaited, or for a batch. */
export function insertEndedTask(db: Database, task: Task) {
  return db.insert(tasks).values(rowFromTask(task)).onConflictDoNothing();
}

/** What changes of a task; the rest stays. */
export interface TaskChange {
  readonly status?: TaskStatus;
  readonly message?: string;
  readonly result?: NonNullable<Task["result"]>;
  readonly updatedAtMs: number;
  readonly expiresAtMs?: number;
}

/** Changes a task that is not over, and, where a revision is given, only while the image stands at it. */
export function updateTask(
  db: Database,
  taskId: string,
  change: TaskChange,
  onlyAtRevision?: { readonly imageId: string; readonly revision: number },
) {
  const { status, message, result, updatedAtMs, expiresAtMs } = change;
  return db
    .update(tasks)
    .set({ status, message, result, updatedAt: updatedAtMs, expiresAt: expiresAtMs })
    .where(
      and(
        eq(tasks.id, taskId),
        inArray(tasks.status, status === undefined ? UNFINISHED : FROM[status]),
        onlyAtRevision &&
          sql`EXISTS (SELECT 1 FROM ${images}
            WHERE id = ${onlyAtRevision.imageId} AND revision = ${onlyAtRevision.revision})`,
      ),
    )
    .returning({ id: tasks.id });
}

/** Fails whatever a deleted image has unfinished; goes with its burial. */
export function endTasksOf(
  db: Database,
  imageId: string,
  end: { readonly message: string; readonly nowMs: number; readonly expiresAtMs: number },
) {
  const { message, nowMs, expiresAtMs } = end;
  return db
    .update(tasks)
    .set({ status: "failure", message, updatedAt: nowMs, expiresAt: expiresAtMs })
    .where(
      and(
        eq(tasks.imageId, imageId),
        inArray(tasks.status, FROM.failure),
        sql`EXISTS (SELECT 1 FROM ${images} WHERE id = ${imageId} AND status = 'deleted')`,
      ),
    )
    .returning({ id: tasks.id });
}

/** Takes some expired tasks away, those first that expired first; goes with each insert. */
export function deleteExpiredTasks(db: Database, nowMs: number) {
  const expired = db
    .select({ id: tasks.id })
    .from(tasks)
    .where(lte(tasks.expiresAt, nowMs))
    .orderBy(asc(tasks.expiresAt))
    .limit(MAX_DELETED);
  return db.delete(tasks).where(inArray(tasks.id, expired)).returning({ id: tasks.id });
}

/** One task by id, unless it has expired. */
export async function findTask(
  db: Database,
  taskId: string,
  nowMs: number,
): Promise<Task | undefined> {
  const [row] = await selectTask(db, taskId, nowMs);
  return row && taskFromRow(row);
}

/** The query for one task by id, unless it has expired; hand its row to `taskFromRow`. */
export function selectTask(db: Database, taskId: string, nowMs: number) {
  return db
    .select()
    .from(tasks)
    .where(and(eq(tasks.id, taskId), isThere(nowMs)));
}

/** Whether a task has not expired; one that has is gone, though its row may stay a while (contract 12 §1). */
export function isThere(nowMs: number): SQL | undefined {
  return or(isNull(tasks.expiresAt), gt(tasks.expiresAt, nowMs));
}

/** A task from its row. */
export function taskFromRow(row: TaskRow): Task {
  return {
    id: row.id,
    type: row.type as TaskType,
    status: row.status as TaskStatus,
    owner: row.owner,
    imageId: row.imageId,
    requestId: row.requestId,
    userId: row.userId,
    input: row.input,
    result: row.result,
    message: row.message,
    createdAtMs: row.createdAt,
    updatedAtMs: row.updatedAt,
    expiresAtMs: row.expiresAt,
  };
}

function rowFromTask(task: Task): TaskRow {
  const { createdAtMs, updatedAtMs, expiresAtMs, ...same } = task;
  return { ...same, createdAt: createdAtMs, updatedAt: updatedAtMs, expiresAt: expiresAtMs };
}

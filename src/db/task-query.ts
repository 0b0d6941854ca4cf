import { and, between, eq, getTableColumns, isNull, or, type SQL, sql } from "drizzle-orm";
import { Fault } from "../domain/fault.ts";
import type { Task } from "../domain/task.ts";
import { type ImageTaskPage, seesTask, type TaskListQuery } from "../domain/task-list.ts";
import type { Viewer } from "../domain/visibility.ts";
import type { Database } from "./database.ts";
import { isBehind, type OrderStep, orderBy } from "./image-order.ts";
import { type FoundImage, foundImage, selectImage } from "./images.ts";
import { tasks } from "./schema.ts";
import { isThere, selectTask, taskFromRow } from "./tasks.ts";

/**
 * One page of the tasks a viewer may list, in one round trip (contract 12 §2). Throws `invalid_parameter` for a
 * marker that the viewer could not be shown, be it there or not.
 */
export async function listTasks(
  db: Database,
  query: TaskListQuery,
  viewer: Viewer,
  nowMs: number,
): Promise<readonly Task[]> {
  const page = selectTaskPage(db, query, viewer, nowMs);
  if (query.marker === undefined) return (await page).map(taskFromRow);
  const [[marker], rows] = await db.batch([selectTask(db, query.marker, nowMs), page]);
  if (marker === undefined || !seesTask(viewer, taskFromRow(marker))) throw badMarker();
  return rows.map(taskFromRow);
}

function badMarker(): Fault {
  const reason = "it names no task that this list could start after";
  return new Fault("invalid_parameter", { name: "marker", reason });
}

/** What lists show of a task, for the rest may be large. */
const SUMMARY = {
  ...getTableColumns(tasks),
  input: sql<null>`NULL`.as("input"),
  result: sql<null>`NULL`.as("result"),
  message: sql<string>`''`.as("message"),
};

/** The statement for one page, by keyset. */
export function selectTaskPage(db: Database, query: TaskListQuery, viewer: Viewer, nowMs: number) {
  const { marker, texts, times } = query;
  const steps = orderOf(query);
  return db
    .select(SUMMARY)
    .from(tasks)
    .where(
      and(
        viewer.seesAll ? undefined : isOwnedBy(viewer.projectId),
        isThere(nowMs),
        ...[...texts].map(([field, value]) => eq(COLUMNS[field], value)),
        ...[...times].map(([field, ms]) => between(COLUMNS[field], ms, ms + 999)),
        marker === undefined ? undefined : isBehind(steps),
      ),
    )
    .orderBy(...orderBy(steps))
    .limit(query.limit);
}

const COLUMNS = {
  id: tasks.id,
  type: tasks.type,
  status: tasks.status,
  owner: tasks.owner,
  imageId: tasks.imageId,
  requestId: tasks.requestId,
  userId: tasks.userId,
  createdAtMs: tasks.createdAt,
  updatedAtMs: tasks.updatedAt,
  expiresAtMs: tasks.expiresAt,
} as const satisfies Readonly<Record<TaskListQuery["sortKey"], unknown>>;

/** The sort column and then the id, which is like no other. */
function orderOf({
  sortKey,
  sortDirection,
  marker,
}: Pick<TaskListQuery, "sortKey" | "sortDirection" | "marker">): OrderStep[] {
  const keys = sortKey === "id" ? [sortKey] : [sortKey, "id" as const];
  return keys.map((key) => ({
    value: sortValue("tasks", key),
    direction: sortDirection,
    mark: sql`(SELECT ${sortValue("marker", key)} FROM tasks AS marker WHERE marker.id = ${marker})`,
  }));
}

function sortValue(table: string, key: TaskListQuery["sortKey"]): SQL {
  const { name, notNull } = COLUMNS[key];
  const column = sql`${sql.identifier(table)}.${sql.identifier(name)}`;
  // Nothing compares with null. -1 is below every time, and in SQLite any number is below any text.
  return notNull ? column : sql`coalesce(${column}, -1)`;
}

/**
 * An image and a page of those of its tasks that a viewer may know of, oldest first, in one round trip. Throws
 * `image_not_found`, and `invalid_parameter` for a marker that names none of them.
 */
export async function findImageWithTasks(
  db: Database,
  imageId: string,
  page: ImageTaskPage,
  viewer: Viewer,
  nowMs: number,
): Promise<FoundImage & { tasks: readonly Task[] }> {
  const [imageRows, taskRows, [marker]] = await db.batch([
    selectImage(db, imageId, viewer.projectId),
    selectTasksOfImage(db, imageId, page, viewer, nowMs),
    selectTask(db, page.marker ?? "", nowMs),
  ]);
  const found = foundImage(imageRows[0], imageId);
  if (page.marker !== undefined) {
    const isOfImage = marker?.imageId === imageId;
    if (!isOfImage || (marker.owner !== null && !seesTask(viewer, taskFromRow(marker)))) {
      throw badMarker();
    }
  }
  return { ...found, tasks: taskRows.map(taskFromRow) };
}

/** The statement for a page of an image's tasks: the viewer's project's own and nobody's (contract 12 §3). */
export function selectTasksOfImage(
  db: Database,
  imageId: string,
  { limit, marker }: ImageTaskPage,
  viewer: Viewer,
  nowMs: number,
) {
  const { seesAll, projectId } = viewer;
  const steps = orderOf({ sortKey: "createdAtMs", sortDirection: "asc", marker });
  return db
    .select()
    .from(tasks)
    .where(
      and(
        eq(tasks.imageId, imageId),
        seesAll ? undefined : or(isNull(tasks.owner), isOwnedBy(projectId)),
        isThere(nowMs),
        marker === undefined ? undefined : isBehind(steps),
      ),
    )
    .orderBy(...orderBy(steps))
    .limit(limit);
}

/** A caller without project owns nothing, not even what has no owner. */
function isOwnedBy(projectId: string | null): SQL {
  return projectId === null ? sql`FALSE` : eq(tasks.owner, projectId);
}

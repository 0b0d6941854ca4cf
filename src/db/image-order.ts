import { getTableColumns, type SQL, sql } from "drizzle-orm";
import type { SortDirection, SortKey, SortTerm } from "../domain/image-list.ts";
import { images } from "./schema.ts";

/*
 * Order and paging by keyset: a page starts behind the marker's own sort values, which the statement looks up
 * itself, so that neither an offset nor a second trip is needed.
 */

/** One step of an order in SQL, with the marker's value for it. */
export interface OrderStep {
  readonly value: SQL;
  readonly direction: SortDirection;
  valueAt(markerId: string): SQL;
}

/** The steps of a sort over the columns of `images`. */
export function orderOfImages(sort: readonly SortTerm[]): OrderStep[] {
  return sort.map(({ key, direction }) => ({
    value: sortValue("images", key),
    direction,
    valueAt: (markerId) => markerValue(key, markerId),
  }));
}

/** The steps of a sort by time alone, over columns that repeat an image's created_at and id. */
export function orderOfTime(time: TimeOrder, createdAt: SQL, id: SQL): OrderStep[] {
  return [
    {
      value: createdAt,
      direction: time.createdAt,
      valueAt: (markerId) => markerValue("createdAtMs", markerId),
    },
    { value: id, direction: time.id, valueAt: (markerId) => sql`${markerId}` },
  ];
}

/** The directions of created_at and then id: the order in which the indexes hold the images. */
export interface TimeOrder {
  readonly createdAt: SortDirection;
  readonly id: SortDirection;
}

/** The sort as a time order, if it is one. */
export function asTimeOrder([first, second]: readonly SortTerm[]): TimeOrder | undefined {
  if (first?.key !== "createdAtMs" || second?.key !== "id") return undefined;
  return { createdAt: first.direction, id: second.direction };
}

/** The ORDER BY terms. */
export function orderBy(steps: readonly OrderStep[]): SQL[] {
  return steps.map(({ value, direction }) =>
    direction === "asc" ? sql`${value} ASC` : sql`${value} DESC`,
  );
}

/** Whether a row comes behind the marker. With an unknown marker no row does. */
export function isBehind(steps: readonly OrderStep[], markerId: string): SQL {
  const [first] = steps;
  if (first === undefined) return sql`FALSE`;
  if (steps.every(({ direction }) => direction === first.direction)) {
    return compareAtOnce(steps, first.direction, markerId);
  }
  // The bound on the first value says nothing new, but SQLite can seek to it.
  const bound = first.direction === "asc" ? sql`>=` : sql`<=`;
  return sql`(${first.value} ${bound} ${first.valueAt(markerId)}
    AND ${compareStepwise(steps, markerId)})`;
}

/** A row value: SQLite seeks to it in an index of the same columns. */
function compareAtOnce(
  steps: readonly OrderStep[],
  direction: SortDirection,
  markerId: string,
): SQL {
  const values = list(steps.map(({ value }) => value));
  const marks = list(steps.map((step) => step.valueAt(markerId)));
  return direction === "asc" ? sql`(${values}) > (${marks})` : sql`(${values}) < (${marks})`;
}

function compareStepwise([step, ...rest]: readonly OrderStep[], markerId: string): SQL {
  if (step === undefined) return sql`FALSE`;
  const mark = step.valueAt(markerId);
  const isPast =
    step.direction === "asc" ? sql`${step.value} > ${mark}` : sql`${step.value} < ${mark}`;
  if (rest.length === 0) return isPast;
  return sql`(${isPast} OR (${step.value} = ${mark} AND ${compareStepwise(rest, markerId)}))`;
}

function markerValue(key: SortKey, markerId: string): SQL {
  return sql`(SELECT ${sortValue("marker", key)} FROM images AS marker WHERE marker.id = ${markerId})`;
}

const COLUMNS = getTableColumns(images);
const SORT_COLUMNS: Readonly<Record<SortKey, { name: string; isNullable: boolean }>> = {
  name: { name: COLUMNS.name.name, isNullable: true },
  status: { name: COLUMNS.status.name, isNullable: false },
  containerFormat: { name: COLUMNS.containerFormat.name, isNullable: true },
  diskFormat: { name: COLUMNS.diskFormat.name, isNullable: true },
  size: { name: COLUMNS.size.name, isNullable: true },
  id: { name: COLUMNS.id.name, isNullable: false },
  createdAtMs: { name: COLUMNS.createdAt.name, isNullable: false },
  updatedAtMs: { name: COLUMNS.updatedAt.name, isNullable: false },
};

function sortValue(table: string, key: SortKey): SQL {
  const { name, isNullable } = SORT_COLUMNS[key];
  const column = sql`${sql.identifier(table)}.${sql.identifier(name)}`;
  // Nothing compares with null, so a marker without a value would end the list. -1 is below every size, and
  // in SQLite any number is below any text, so that null stays apart from "" (contract PAG-11, SRT-10).
  return isNullable ? sql`coalesce(${column}, -1)` : column;
}

function list(parts: readonly SQL[]): SQL {
  return sql.join([...parts], sql`, `);
}

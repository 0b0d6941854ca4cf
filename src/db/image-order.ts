import { type SQL, sql } from "drizzle-orm";
import type { SortDirection, SortKey, SortTerm } from "../domain/image-list.ts";

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

/**
 * The column of `images` that a list is sorted by. Where a value may be missing it is one that has something in its place
 * (contract PAG-11, SRT-10), see migrations/0005.
 */
export const SORT_COLUMNS: Readonly<Record<SortKey, string>> = {
  name: "sort_name",
  status: "status",
  containerFormat: "sort_container_format",
  diskFormat: "sort_disk_format",
  size: "sort_size",
  id: "id",
  createdAtMs: "created_at",
  updatedAtMs: "updated_at",
};

/** The steps of a sort over columns that `columnOf` names. */
export function orderOf(sort: readonly SortTerm[], columnOf: (key: SortKey) => SQL): OrderStep[] {
  return sort.map(({ key, direction }) => ({
    value: columnOf(key),
    direction,
    valueAt: (markerId) => markerValue(key, markerId),
  }));
}

/** The steps of a sort over the columns of a table that has them by their own names. */
export function orderIn(table: string, sort: readonly SortTerm[]): OrderStep[] {
  return orderOf(sort, (key) => sql`${sql.identifier(table)}.${sql.identifier(SORT_COLUMNS[key])}`);
}

/**
 * The sort as one that the indexes hold images in, if it is one: time and id, behind one other key at the most. Terms
 * that decide nothing are left out.
 */
export function asIndexOrder(sort: readonly SortTerm[]): readonly SortTerm[] | undefined {
  const end = sort.findIndex(({ key }) => key === "id") + 1;
  const terms = sort.slice(0, end);
  const keys = terms.map(({ key }) => key);
  const isHeld = terms.length <= 3 && (keys.length === 1 || keys.at(-2) === "createdAtMs");
  return isHeld ? terms : undefined;
}

/** The order in which every index holds what is equal in its other columns. */
export const NEWEST_FIRST: readonly SortTerm[] = [
  { key: "createdAtMs", direction: "desc" },
  { key: "id", direction: "desc" },
];

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
  if (key === "id") return sql`${markerId}`;
  const column = sql.identifier(SORT_COLUMNS[key]);
  // The plus sign takes away the column's affinity, for the sake of which SQLite would seek to the first value only.
  return sql`+(SELECT marker.${column} FROM images AS marker WHERE marker.id = ${markerId})`;
}

function list(parts: readonly SQL[]): SQL {
  return sql.join([...parts], sql`, `);
}

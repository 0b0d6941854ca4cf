import { type SQL, sql } from "drizzle-orm";
import type { SortDirection, SortKey, SortTerm } from "../domain/image-list.ts";

/*
 * Order and paging by keyset: a page starts behind the marker's own sort values, which the statement looks up
 * itself, so that neither an offset nor a second trip is needed.
 */

/** One step of an order in SQL. */
export interface OrderStep {
  readonly value: SQL;
  readonly direction: SortDirection;
  /** The marker's value for it. */
  readonly mark: SQL;
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

/** A marker's id, and what its row is read from, under the name of `marker`: no row for an id that no image has. */
export interface Marker {
  readonly id: string;
  readonly source: SQL;
}

/** The steps of a sort over columns that `columnOf` names. */
export function orderOf(
  sort: readonly SortTerm[],
  columnOf: (key: SortKey) => SQL,
  marker: Marker | undefined,
): OrderStep[] {
  return sort.map(({ key, direction }) => ({
    value: columnOf(key),
    direction,
    mark: marker === undefined ? sql`NULL` : markOf(key, marker),
  }));
}

/** Where the image of a row stands in lists, to be put down in the row's `place` when the image goes. */
export const PLACE = sql<string>`json_object(${sql.raw(
  Object.values(SORT_COLUMNS)
    .map((column) => `'${column}', ${column}`)
    .join(", "),
)})`;

/** The columns of a marker's row that a mark may be taken from. */
export const MARKER_COLUMNS = sql.raw(["place", ...Object.values(SORT_COLUMNS)].join(", "));

/** A sort without what decides nothing, as it comes behind the id. */
export function decisive(sort: readonly SortTerm[]): readonly SortTerm[] {
  return sort.slice(0, sort.findIndex(({ key }) => key === "id") + 1);
}

/**
 * The steps behind a first one for which all rows have the same value. A marker with another value stands before all
 * of them or behind, and so is given a mark at one end of the steps.
 */
export function settled(
  { key, direction }: SortTerm,
  value: string,
  [next, ...rest]: readonly OrderStep[],
  { source }: Marker,
): readonly OrderStep[] {
  if (next === undefined) return [];
  // In SQLite, numbers are below texts, and these below blobs. No column has a number below -1.
  const ends = [sql`-2`, sql`x'00'`] as const;
  const [start, end] = next.direction === "asc" ? ends : ends.toReversed();
  const [below, above] = direction === "asc" ? [start, end] : [end, start];
  const own = standing(key);
  const mark = sql`+(SELECT iif(${own} = ${value}, ${next.mark}, iif(${own} < ${value}, ${below}, ${above}))
    FROM ${source})`;
  return [{ ...next, mark }, ...rest];
}

/** The ORDER BY terms. */
export function orderBy(steps: readonly OrderStep[]): SQL[] {
  return steps.map(({ value, direction }) =>
    direction === "asc" ? sql`${value} ASC` : sql`${value} DESC`,
  );
}

/** Whether a row comes behind the marker. With an unknown marker no row does. */
export function isBehind(steps: readonly OrderStep[]): SQL {
  const [first] = steps;
  if (first === undefined) return sql`FALSE`;
  if (steps.every(({ direction }) => direction === first.direction)) {
    return compareAtOnce(steps, first.direction);
  }
  // The bound on the first value says nothing new, but SQLite can seek to it.
  const bound = first.direction === "asc" ? sql`>=` : sql`<=`;
  return sql`(${first.value} ${bound} ${first.mark} AND ${compareStepwise(steps)})`;
}

/** A row value: SQLite seeks to it in an index of the same columns. */
function compareAtOnce(steps: readonly OrderStep[], direction: SortDirection): SQL {
  const values = list(steps.map(({ value }) => value));
  const marks = list(steps.map(({ mark }) => mark));
  return direction === "asc" ? sql`(${values}) > (${marks})` : sql`(${values}) < (${marks})`;
}

function compareStepwise([step, ...rest]: readonly OrderStep[]): SQL {
  if (step === undefined) return sql`FALSE`;
  const { value, mark, direction } = step;
  const isPast = direction === "asc" ? sql`${value} > ${mark}` : sql`${value} < ${mark}`;
  if (rest.length === 0) return isPast;
  return sql`(${isPast} OR (${value} = ${mark} AND ${compareStepwise(rest)}))`;
}

function markOf(key: SortKey, { id, source }: Marker): SQL {
  if (key === "id") return sql`${id}`;
  // The plus sign takes away the column's affinity, for the sake of which SQLite would seek to the first value only.
  return sql`+(SELECT ${standing(key)} FROM ${source})`;
}

/** Where the marker stands; one that was deleted meanwhile, where it stood. */
function standing(key: SortKey): SQL {
  const column = SORT_COLUMNS[key];
  return sql`coalesce(marker.place ->> ${sql.raw(`'${column}'`)}, marker.${sql.identifier(column)})`;
}

function list(parts: readonly SQL[]): SQL {
  return sql.join([...parts], sql`, `);
}

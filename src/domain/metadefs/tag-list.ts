import { Fault } from "../fault.ts";
import type { SortDirection } from "../image-list.ts";
import type { Tag } from "./namespace.ts";

/** Which tags of a namespace are asked for, and in which order (contract MT-12). */
export interface TagListQuery {
  /** Undefined: all of them. */
  readonly limit: number | undefined;
  /** The tag after which they start. */
  readonly marker: string | undefined;
  readonly sortKey: keyof Tag;
  readonly sortDirection: SortDirection;
}

/** The tags that a query asks for. Throws `metadef_not_found` for a marker that is none of them. */
export function listTags(tags: readonly Tag[], query: TagListQuery): readonly Tag[] {
  const { limit, marker, sortKey, sortDirection } = query;
  // Equals stay in the order in which they came, so that of many made at once the last is the newest.
  const ascending = tags.toSorted((a, b) => compare(a[sortKey], b[sortKey]));
  const sorted = sortDirection === "asc" ? ascending : ascending.toReversed();
  const start = marker === undefined ? 0 : sorted.findIndex(({ name }) => name === marker) + 1;
  if (marker !== undefined && start === 0) {
    throw new Fault("metadef_not_found", { kind: "tag", name: marker });
  }
  return limit === undefined ? sorted.slice(start) : sorted.slice(start, start + limit);
}

function compare<T extends string | number>(a: T, b: T): number {
  if (a === b) return 0;
  return a < b ? -1 : 1;
}

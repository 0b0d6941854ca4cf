import { Fault } from "../domain/fault.ts";
import type { ImageListQuery } from "../domain/image-list.ts";
import type { Limits } from "../domain/limits.ts";
import { canonicalUuid } from "../lib/uuid.ts";
import { parseInteger } from "./integer.ts";
import { parseImageFilters } from "./list-filters.ts";
import { parseImageSort } from "./list-sort.ts";
import { decodeQuery } from "./query-string.ts";

/**
 * The query string of an image list, checked (contract 02 §2.5). A parameter sent twice counts as sent last,
 * except `tag`, `sort_key` and `sort_dir`, which collect (contract PAG-12, FIL-16).
 * Throws `invalid_parameter`, `invalid_marker` or `invalid_encoding`.
 */
export function parseImageList(search: string, limits: Limits): ImageListQuery {
  const parameters = decodeQuery(search);
  const last = new Map(parameters);
  const marker = last.get("marker");
  if (marker === "") throw new Fault("invalid_marker");
  return {
    limit: parseLimit(last.get("limit"), limits),
    marker: marker === undefined ? undefined : (canonicalUuid(marker) ?? marker),
    sort: parseImageSort(parameters),
    ...parseImageFilters(parameters),
  };
}

/** The page size (contract LIM-1, LIM-2, PAG-3). Throws `invalid_parameter`. */
export function parseLimit(text: string | undefined, limits: Limits): number {
  if (text === undefined) return Math.min(limits.pageDefault, limits.pageMax);
  const limit = parseInteger(text);
  if (limit === undefined || limit < 0) {
    throw new Fault("invalid_parameter", {
      name: "limit",
      reason: "it must be a whole number, 0 or more",
    });
  }
  return Math.min(limit, limits.pageMax);
}

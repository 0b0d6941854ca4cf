import { Fault } from "../domain/fault.ts";
import type { SortDirection } from "../domain/image-list.ts";
import type { Limits } from "../domain/limits.ts";
import {
  type Contents,
  NAMESPACE_VISIBILITIES,
  type NamespaceVisibility,
} from "../domain/metadefs/namespace.ts";
import type { NamespaceListQuery, NamespaceSortKey } from "../domain/metadefs/namespace-list.ts";
import type { TagListQuery } from "../domain/metadefs/tag-list.ts";
import { parseInteger } from "./integer.ts";
import { parseLimit } from "./query.ts";
import { decodeQuery } from "./query-string.ts";

/*
 * The query strings of calls about metadata definitions (contract 14). A parameter sent twice counts as sent last, and
 * one that a call does not know is ignored. Throws `invalid_parameter` or `invalid_encoding`.
 */

const NAMESPACE_SORT_KEYS: ReadonlyMap<string, NamespaceSortKey> = new Map([
  ["id", "id"],
  ["namespace", "name"],
  ["display_name", "displayName"],
  ["description", "description"],
  ["visibility", "visibility"],
  ["protected", "isProtected"],
  ["owner", "owner"],
  ["created_at", "createdAtMs"],
  ["updated_at", "updatedAtMs"],
]);

const PARTS = ["properties", "objects", "tags"] as const satisfies readonly (keyof Contents)[];

/** Namespaces a page at the most when their parts come along: one may have 256 KiB of them. */
const MAX_WHOLE = 50;

/** Contract MN-64 … MN-70; `include` is ours. */
export function parseNamespaceList(search: string, limits: Limits): NamespaceListQuery {
  const parameters = new Map(decodeQuery(search));
  const include = new Set(itemsOf(parameters.get("include")).map(parsePart));
  const limit = parseLimit(parameters.get("limit"), limits);
  return {
    limit: include.size === 0 ? limit : Math.min(limit, MAX_WHOLE),
    // An empty one is none, as the reference has it.
    marker: parameters.get("marker") || undefined,
    sortKey: parseSortKey(parameters.get("sort_key") ?? "created_at", NAMESPACE_SORT_KEYS),
    sortDirection: parseSortDirection(parameters.get("sort_dir") ?? "desc"),
    visibility: parseVisibility(parameters.get("visibility")),
    resourceTypes: parameters.has("resource_types")
      ? itemsOf(parameters.get("resource_types"))
      : undefined,
    include,
  };
}

/** The resource type for which one namespace or property is shown (contract MN-53 … MN-55, MP-14). */
export function parseResourceType(search: string): string | undefined {
  const parameters = new Map(decodeQuery(search));
  parseVisibility(parameters.get("visibility"));
  return parameters.get("resource_type") || undefined;
}

const TAG_SORT_KEYS: ReadonlyMap<string, TagListQuery["sortKey"]> = new Map([
  ["id", "createdAtMs"],
  ["name", "name"],
  ["created_at", "createdAtMs"],
  ["updated_at", "updatedAtMs"],
]);

/** Contract MT-12. */
export function parseTagList(search: string): TagListQuery {
  const parameters = new Map(decodeQuery(search));
  parseVisibility(parameters.get("visibility"));
  const limit = parameters.get("limit");
  return {
    limit: limit === undefined ? undefined : parseCount(limit, 0),
    marker: parameters.get("marker") || undefined,
    sortKey: parseSortKey(parameters.get("sort_key") ?? "created_at", TAG_SORT_KEYS),
    sortDirection: parseSortDirection(parameters.get("sort_dir") ?? "desc"),
  };
}

/** Checks what has no effect on a list of objects: it is always whole, and has no pages (contract MO-6). */
export function checkObjectList(search: string): void {
  const parameters = new Map(decodeQuery(search));
  const limit = parameters.get("limit");
  if (limit !== undefined) parseCount(limit, 1);
  parseSortDirection(parameters.get("sort_dir") ?? "desc");
  const visibility = parameters.get("visibility");
  if (visibility !== "shared") parseVisibility(visibility);
}

function parseCount(text: string, least: number): number {
  const count = parseInteger(text);
  if (count !== undefined && count >= least) return count;
  return refuse("limit", `it must be a whole number, ${least} or more`);
}

function parseSortKey<K>(text: string, keys: ReadonlyMap<string, K>): K {
  return (
    keys.get(text) ?? refuse("sort_key", `'${text}' is none of ${[...keys.keys()].join(", ")}`)
  );
}

function parseSortDirection(text: string): SortDirection {
  if (text === "asc" || text === "desc") return text;
  return refuse("sort_dir", `'${text}' is neither asc nor desc`);
}

function parseVisibility(text: string | undefined): NamespaceVisibility | undefined {
  if (text === undefined) return undefined;
  return (
    NAMESPACE_VISIBILITIES.find((known) => known === text) ??
    refuse("visibility", `'${text}' is neither public nor private`)
  );
}

function parsePart(text: string): keyof Contents {
  return (
    PARTS.find((known) => known === text) ??
    refuse("include", `'${text}' is none of ${PARTS.join(", ")}`)
  );
}

function itemsOf(text = ""): string[] {
  return text.split(",").filter((item) => item !== "");
}

function refuse(name: string, reason: string): never {
  throw new Fault("invalid_parameter", { name, reason });
}

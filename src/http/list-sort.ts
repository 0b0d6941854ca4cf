import { Fault } from "../domain/fault.ts";
import type { SortDirection, SortKey, SortTerm } from "../domain/image-list.ts";
import type { QueryParameters } from "./query-string.ts";

const SORT_KEYS: ReadonlyMap<string, SortKey> = new Map([
  ["name", "name"],
  ["status", "status"],
  ["container_format", "containerFormat"],
  ["disk_format", "diskFormat"],
  ["size", "size"],
  ["id", "id"],
  ["created_at", "createdAtMs"],
  ["updated_at", "updatedAtMs"],
]);

/** What decides between images that are equal in all else; ids never are (contract SRT-9). */
const TIE_BREAKERS: readonly SortKey[] = ["createdAtMs", "id"];

/**
 * The order that `sort`, or `sort_key` and `sort_dir`, ask for (contract SRT-1 … SRT-9), tie-breakers included.
 * Throws `invalid_parameter`.
 */
export function parseImageSort(parameters: QueryParameters): readonly SortTerm[] {
  const valuesOf = (name: string) => parameters.filter(([key]) => key === name).map(([, v]) => v);
  const keys = valuesOf("sort_key");
  const directions = valuesOf("sort_dir");
  const sort = valuesOf("sort").at(-1);
  if (sort === undefined) return parseKeysAndDirections(keys, directions);
  if (keys.length > 0 || directions.length > 0) {
    refuse("sort", "it cannot be used together with sort_key or sort_dir");
  }
  return parseSort(sort);
}

/** `sort=key:dir,key:dir` (contract SRT-7). */
function parseSort(text: string): readonly SortTerm[] {
  const terms = text.split(",").map((item): SortTerm => {
    const [key = "", direction = "", ...more] = item.split(":").map((part) => part.trim());
    if (more.length > 0) refuse("sort", `'${item}' has more than one direction`);
    return {
      key: parseKey("sort", key),
      direction: parseDirection("sort", direction === "" ? "desc" : direction),
    };
  });
  return withTieBreakers(terms, terms.length === 1 ? terms[0]?.direction : undefined);
}

/** `sort_key` and `sort_dir`, each as often as wanted (contract SRT-4 … SRT-6). */
function parseKeysAndDirections(
  keyTexts: readonly string[],
  directionTexts: readonly string[],
): readonly SortTerm[] {
  const keys: readonly SortKey[] =
    keyTexts.length === 0 ? ["createdAtMs"] : keyTexts.map((text) => parseKey("sort_key", text));
  const directions = directionTexts.map((text) => parseDirection("sort_dir", text));
  if (directions.length > 1 && directions.length !== keys.length) {
    refuse("sort_dir", "give none, one, or as many as there are sort keys");
  }
  const common = directions.length === 1 ? directions[0] : undefined;
  const terms = keys.map((key, i) => ({ key, direction: common ?? directions[i] ?? "desc" }));
  return withTieBreakers(terms, common);
}

function withTieBreakers(
  terms: readonly SortTerm[],
  direction: SortDirection = "desc",
): readonly SortTerm[] {
  const all = [...terms, ...TIE_BREAKERS.map((key) => ({ key, direction }))];
  // A key that came before decides nothing any more.
  return all.filter((term, i) => all.findIndex(({ key }) => key === term.key) === i);
}

function parseKey(parameter: string, text: string): SortKey {
  const key = SORT_KEYS.get(text);
  return key ?? refuse(parameter, `'${text}' is none of ${[...SORT_KEYS.keys()].join(", ")}`);
}

function parseDirection(parameter: string, text: string): SortDirection {
  if (text === "asc" || text === "desc") return text;
  return refuse(parameter, `the direction '${text}' is neither asc nor desc`);
}

function refuse(name: string, reason: string): never {
  throw new Fault("invalid_parameter", { name, reason });
}

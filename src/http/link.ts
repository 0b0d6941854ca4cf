import { decodeQuery } from "./query-string.ts";

/** Where a list begins and goes on, relative to the server's root. */
export interface Links {
  readonly first: string;
  /** Absent on the last page. */
  readonly next?: string;
}

/**
 * The links of a list (contract PAG-5 … PAG-7): the request's own parameters in order, repeats and the limit as it
 * was sent included, with the marker left out or set to the last one shown. They say `/v2` whatever version the
 * request named (contract VER-10).
 */
export function buildLinks(search: string, lastShownId?: string, path = "/v2/images"): Links {
  const kept = decodeQuery(search).filter(([name]) => name !== "marker");
  const first = linkTo(path, kept);
  if (lastShownId === undefined) return { first };
  return { first, next: linkTo(path, [...kept, ["marker", lastShownId]]) };
}

function linkTo(path: string, parameters: readonly (readonly [string, string])[]): string {
  const query = new URLSearchParams(parameters.map(([name, value]) => [name, value])).toString();
  return query === "" ? path : `${path}?${query}`;
}

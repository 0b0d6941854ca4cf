import { decodeQuery } from "./query-string.ts";

/** Where a list begins and goes on, relative to the server's root. */
export interface Links {
  readonly first: string;
  /** Absent on the last page. */
  readonly next?: string;
}

/**
 * The links of an image list (contract PAG-5 … PAG-7): the request's own parameters in order, repeats and the limit
 * as it was sent included, with the marker left out or set to the last image shown. They say `/v2` whatever
 * version the request named (contract VER-10).
 */
export function buildLinks(search: string, lastShownId?: string): Links {
  const kept = decodeQuery(search).filter(([name]) => name !== "marker");
  const first = linkTo(kept);
  if (lastShownId === undefined) return { first };
  return { first, next: linkTo([...kept, ["marker", lastShownId]]) };
}

function linkTo(parameters: readonly (readonly [string, string])[]): string {
  const query = new URLSearchParams(parameters.map(([name, value]) => [name, value])).toString();
  return query === "" ? "/v2/images" : `/v2/images?${query}`;
}

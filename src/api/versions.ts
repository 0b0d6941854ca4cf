import type { Stores } from "../domain/stores.ts";
import { json } from "../http/reply.ts";

/*
 * A minor version is advertised only if its features work (contract 01 §1.2). 2.6 (staging and import), 2.9, 2.11
 * to 2.14 and 2.16 to 2.18 (copies, tasks, usage, cache, locations) join the list with theirs.
 */
const ALWAYS = ["2.7", "2.5", "2.4", "2.3", "2.2", "2.1", "2.0"];
/** Store headers and discovery, deletion from a store, store details. */
const WITH_SEVERAL_STORES = ["2.15", "2.10", "2.8"];

/** First path segments that are served as `/v2` (contract VER-10); the minors change no behaviour. */
const ACCEPTED = /^v2(\.([0-7]|9|15|17))?$/;
const ACCEPTED_WITH_SEVERAL_STORES = /^v2\.(8|1[0-3])$/;

/** Whether a first path segment means the Image API. */
export function isApiVersion(segment: string, { isMulti }: Pick<Stores, "isMulti">): boolean {
  return ACCEPTED.test(segment) || (isMulti && ACCEPTED_WITH_SEVERAL_STORES.test(segment));
}

/** The discovery document: 300 where no version was named, 200 where one asked for the list (VER-1, VER-2). */
export function versionDocument(
  baseUrl: string,
  status: 200 | 300,
  { isMulti }: Pick<Stores, "isMulti">,
): Response {
  const links = [{ rel: "self", href: `${baseUrl}/v2/` }];
  const advertised = [...(isMulti ? WITH_SEVERAL_STORES : []), ...ALWAYS];
  const versions = advertised.map((version, index) => ({
    id: `v${version}`,
    status: index === 0 ? "CURRENT" : "SUPPORTED",
    links,
  }));
  return json({ versions }, status);
}

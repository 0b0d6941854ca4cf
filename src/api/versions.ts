import { json } from "../http/reply.ts";

/*
 * A minor version is advertised only if its features work (contract 01 §1.2): 2.6 (staging and import), 2.8 to
 * 2.13 (stores, tasks), 2.14 to 2.18 (cache, locations) join the list with them.
 */
const ADVERTISED = ["2.7", "2.5", "2.4", "2.3", "2.2", "2.1", "2.0"] as const;
const CURRENT = "2.7";

/** First path segments that are served as `/v2` (contract VER-10); the minors change no behaviour. */
const ACCEPTED = /^v2(\.([0-7]|9|15|17))?$/;

/** Whether a first path segment means the Image API. */
export function isApiVersion(segment: string): boolean {
  return ACCEPTED.test(segment);
}

/** The discovery document: 300 where no version was named, 200 where one asked for the list (VER-1, VER-2). */
export function versionDocument(baseUrl: string, status: 200 | 300): Response {
  const links = [{ rel: "self", href: `${baseUrl}/v2/` }];
  const versions = ADVERTISED.map((version) => ({
    id: `v${version}`,
    status: version === CURRENT ? "CURRENT" : "SUPPORTED",
    links,
  }));
  return json({ versions }, status);
}

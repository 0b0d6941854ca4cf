import type { Stores } from "../domain/stores.ts";
import type { Config } from "../env.ts";
import { json } from "../http/reply.ts";

/** What of a deployment's settings decides which versions it has. */
export type VersionFacts = Pick<Config, "importMethods" | "imageCache"> & {
  readonly stores: Pick<Stores, "isMulti">;
};

/** A minor version is advertised only if its features work (contract 01 §1.2). */
const ALWAYS = ["2.17", "2.13", "2.9", "2.7", "2.5", "2.4", "2.3", "2.2", "2.1", "2.0"];

function advertised(facts: VersionFacts): readonly string[] {
  const {
    stores: { isMulti },
    importMethods,
    imageCache,
  } = facts;
  const versions = [...ALWAYS];
  // Staging and import.
  if (importMethods.length > 0) versions.push("2.6");
  // Store headers and discovery, deletion from a store, an image's tasks, store details.
  if (isMulti) versions.push("2.8", "2.10", "2.12", "2.15");
  if (isMulti && importMethods.includes("copy-image")) versions.push("2.11");
  // The cache's admin calls; to clean and prune it.
  if (imageCache !== undefined) versions.push("2.14", "2.16", "2.18");
  return versions.sort((a, b) => minorOf(b) - minorOf(a));
}

function minorOf(version: string): number {
  return Number(version.split(".")[1]);
}

/** First path segments that are served as `/v2` (contract VER-10); the minors change no behaviour. */
const ACCEPTED = /^v2(\.([0-7]|9|13|15|17))?$/;
const ACCEPTED_WITH_SEVERAL_STORES = /^v2\.(8|1[0-2])$/;
const ACCEPTED_WITH_CACHE = /^v2\.1[468]$/;

/** Whether a first path segment means the Image API. */
export function isApiVersion(segment: string, { stores, imageCache }: VersionFacts): boolean {
  return (
    ACCEPTED.test(segment) ||
    (stores.isMulti && ACCEPTED_WITH_SEVERAL_STORES.test(segment)) ||
    (imageCache !== undefined && ACCEPTED_WITH_CACHE.test(segment))
  );
}

/** The discovery document: 300 where no version was named, 200 where one asked for the list (VER-1, VER-2). */
export function versionDocument(baseUrl: string, status: 200 | 300, facts: VersionFacts): Response {
  const links = [{ rel: "self", href: `${baseUrl}/v2/` }];
  const versions = advertised(facts).map((version, index) => ({
    id: `v${version}`,
    status: index === 0 ? "CURRENT" : "SUPPORTED",
    links,
  }));
  return json({ versions }, status);
}

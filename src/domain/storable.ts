import { hasSurrogates } from "../lib/code-points.ts";
import { Fault } from "./fault.ts";
import type { Image } from "./image.ts";

/** The greatest value of the reference's integer columns (contract LIM-16). */
const MAX_MINIMUM = 2147483647;

/**
 * Properties and tags of one image as JSON. Ours, not Glance's: a list holds a whole page of records in memory,
 * and what fills the default quotas has room here.
 */
const MAX_RECORD_BYTES = 128 * 1024;

/** Refuses what an image record cannot hold (contract CRE-20, CRE-21, PRO-15). */
export function assertStorable(image: Image): void {
  assertMinimum("min_disk", image.minDisk);
  assertMinimum("min_ram", image.minRam);
  assertStorableText("name", image.name);
  assertStorableText("owner", image.owner);
  for (const tag of image.tags) assertStorableText("tags", tag);
  for (const [name, value] of image.properties) {
    assertStorableText("The name of a property", name);
    assertStorableText(name, value);
  }
}

/** Refuses characters of four bytes in UTF-8 (contract LIM-20), and texts that are not Unicode. */
export function assertStorableText(name: string, text: string | null): void {
  if (text !== null && hasSurrogates(text)) throw new Fault("unsupported_characters", { name });
}

/** Refuses properties, tags and locations that together would not fit into the image's row; this bound is ours. */
export function assertFits(image: Image): void {
  const { properties, tags, locations } = image;
  const noted = locations.map(({ metadata }) => metadata).filter((one) => one !== undefined);
  const json = JSON.stringify([Object.fromEntries(properties), tags, ...noted]);
  const attempted = new TextEncoder().encode(json).byteLength;
  if (attempted <= MAX_RECORD_BYTES) return;
  const what = "bytes of properties and tags";
  throw new Fault("quota_exceeded", { attempted, what, maximum: MAX_RECORD_BYTES });
}

function assertMinimum(name: string, value: number): void {
  if (value >= 0 && value <= MAX_MINIMUM) return;
  throw new Fault("invalid_value", { name, reason: `${value} is not within 0 … ${MAX_MINIMUM}` });
}

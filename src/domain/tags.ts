import { isLongerThan } from "../lib/code-points.ts";
import { Fault } from "./fault.ts";
import type { Image } from "./image.ts";
import { exceeds, type Limits } from "./limits.ts";
import { assertFits, assertStorableText } from "./storable.ts";

const MAX_TAG_CHARACTERS = 255;

/** Refuses a tag from the address that no image can carry, before the image is looked up (TAG-2, TAG-8). */
export function checkTag(tag: string): void {
  if (isLongerThan(tag, MAX_TAG_CHARACTERS)) {
    const reason = `it does not meet maxLength (${MAX_TAG_CHARACTERS})`;
    throw new Fault("invalid_value", { name: "tag", reason });
  }
  assertStorableText("The tag", tag);
}

/** Refuses more distinct tags than the quota allows (contract LIM-4, LIM-7, CRE-18, PRO-8). */
export function assertTagQuota(tags: readonly string[], limits: Limits): void {
  const attempted = tags.length;
  const maximum = limits.imageTags;
  if (exceeds(attempted, maximum)) {
    throw new Fault("quota_exceeded", { attempted, what: "tags", maximum });
  }
}

/**
 * The image with a tag more. A tag that is there already counts as a change all the same (contract TAG-1,
 * TIM-3), and is refused while the image is over a lowered quota (TAG-3).
 */
export function addTag(image: Image, tag: string, limits: Limits): Image {
  const tags = image.tags.includes(tag) ? image.tags : [...image.tags, tag];
  assertTagQuota(tags, limits);
  const changed = { ...image, tags };
  assertFits(changed);
  return changed;
}

/** The image without a tag it has; works while it is over its quota (contract TAG-4). */
export function removeTag(image: Image, tag: string): Image {
  if (!image.tags.includes(tag)) throw new Fault("tag_not_found", { imageId: image.id, tag });
  return { ...image, tags: image.tags.filter((other) => other !== tag) };
}

import type { Image, Location } from "./image.ts";
import { isReadOnly, type Stores } from "./stores.ts";

/** What is known of an image in the cache (contract 12 §4). */
export interface CacheEntry {
  readonly imageId: string;
  /** A part of the keys of what is there; with another one nothing of it is found. */
  readonly epoch: string;
  /** Since when it waits to be brought in; null: it does not. */
  readonly queuedAtMs: number | null;
  /** When bytes of it were put in last; null: none were. */
  readonly modifiedAtMs: number | null;
  readonly accessedAtMs: number | null;
  /** Reads that needed nothing of the store. */
  readonly hits: number;
  /** Bytes of it that were put in. */
  readonly size: number;
}

/** Whether a copy lies in a store of ours. Other people's servers may change what they serve. */
export function isOwnCopy({ store }: Location, stores: Stores): boolean {
  const definition = stores.find(store);
  return definition !== undefined && !isReadOnly(definition);
}

/**
 * The copy whose bytes stand for the image in the cache: the first of ours, whichever one a read prefers. Undefined
 * also while the image is not active: nothing else is ever served from the cache.
 */
export function cachedCopyOf(image: Image, stores: Stores): Location | undefined {
  if (image.status !== "active") return undefined;
  return stores.byWeight(image.locations).find((copy) => isOwnCopy(copy, stores));
}

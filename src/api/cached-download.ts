import type { ByteRange } from "../blob/store.ts";
import { CachedRead, type ReadEnd } from "../cache/cached-read.ts";
import { hitTally } from "../cache/hit-tally.ts";
import { Segments } from "../cache/segments.ts";
import { addFilled, addHits, discardEntry, insertFilled } from "../db/cache-entries.ts";
import { withoutValues } from "../db/errors.ts";
import { type CacheEntry, cachedCopyOf } from "../domain/cache-entry.ts";
import type { Image } from "../domain/image.ts";
import { log } from "../lib/log.ts";
import type { Context } from "./context.ts";

/** A download that its caller may have: everything was checked. */
interface Permitted {
  readonly image: Image;
  /** The image's entry, which comes with its row. */
  readonly entry: CacheEntry | undefined;
  /** Reads from the stores that are ours. */
  readonly read: (range: ByteRange) => Promise<ReadableStream<Uint8Array>>;
}

/**
 * The range through the cache, which is filled on the way (contract 12 §4); undefined where it has no part in the
 * download. Fails as the store does. Only what is the same for everybody is cached: the bytes of one blob. Whether a
 * caller may have them was decided on the row, before this.
 */
export async function readThroughCache(
  ctx: Context,
  { image, entry, read }: Permitted,
  range: ByteRange,
): Promise<ReadableStream<Uint8Array> | undefined> {
  const copy = cachedCopyOf(image, ctx.config.stores);
  if (ctx.config.imageCache === undefined || copy === undefined) return undefined;
  if (image.size === null || range.length === 0) return undefined;
  const epoch = entry?.epoch ?? ctx.newId();
  const { origin } = new URL(ctx.baseUrl);
  const segments = new Segments({ origin, ...copy, epoch, size: image.size });
  const blob = { size: image.size, checksum: image.checksum, segments, read };
  const cached = await CachedRead.open(blob, range);
  ctx.noteCache(cached.startsInCache ? "hit" : "miss");
  const pipe = new FixedLengthStream(range.length);
  const work = cached.run(pipe.writable).then((end) => putDown(ctx, image, entry, epoch, end));
  ctx.waitUntil(work.catch((error: unknown) => complain(image, withoutValues(error))));
  return pipe.readable;
}

/** What a read changed, behind its answer. */
async function putDown(
  { db }: Context,
  { id: imageId }: Image,
  entry: CacheEntry | undefined,
  epoch: string,
  { isHit, isSound, cachedBytes, failure }: ReadEnd,
): Promise<void> {
  if (failure !== undefined)
    log({ event: "download_broke_off", image_id: imageId, error: String(failure) });
  const nowMs = Date.now();
  if (!isSound) {
    log({ event: "cache_discarded", image_id: imageId });
    await discardEntry(db, imageId, epoch);
    return;
  }
  if (cachedBytes > 0) {
    const filled = { imageId, epoch, bytes: cachedBytes, nowMs };
    await (entry === undefined ? insertFilled(db, filled) : addFilled(db, filled));
  }
  const hits = isHit ? hitTally.add(imageId, epoch, nowMs) : undefined;
  if (hits !== undefined) await addHits(db, [hits], nowMs);
}

function complain({ id }: Image, error: unknown): void {
  log({ event: "cache_entry_not_written", image_id: id, error: String(error) });
}

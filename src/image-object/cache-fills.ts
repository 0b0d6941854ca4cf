import { CachedRead } from "../cache/cached-read.ts";
import { Segments } from "../cache/segments.ts";
import {
  addFilled,
  discardEntry,
  findEntry,
  finishEntry,
  queueEntry,
  unqueueEntry,
} from "../db/cache-entries.ts";
import { withoutValues } from "../db/errors.ts";
import { noteDamagedCopy } from "../db/metrics.ts";
import { cachedCopyOf } from "../domain/cache-entry.ts";
import { Fault } from "../domain/fault.ts";
import { log } from "../lib/log.ts";
import type { Keeper } from "./keeper.ts";

/** So much is brought in by one alarm, which has 15 minutes; larger images take several, one behind the other. */
const FILL_BYTES_AN_ALARM = 2 * 1024 ** 3;
/** An alarm that has worked longer at other things leaves the fill to the next one. */
const LATEST_START_MS = 120_000;
const MAX_FAILURES = 6;
/** The pause when the cache took some of it only. */
const PAUSE_MS = 4_000;

/** An image that is being brought into the cache. */
export interface CacheFill {
  readonly id: string;
  readonly imageId: string;
  /** See SegmentOwner. */
  readonly origin: string;
  /** The first byte that is still to come. */
  readonly offset: number;
  /** Failed tries since the last that got on. */
  readonly failures: number;
  readonly dueMs: number;
}

/**
 * Brings an image into the cache that was queued for it (contract CAC-3): accepted by a call, done by alarm, so that it
 * survives whatever happens. That it waits is in its entry, which the alarm asks before each step: an entry that was
 * taken away is left alone. The bytes come into the cache of the data center where the object lives.
 */
export class CacheFills {
  constructor(private readonly keeper: Keeper) {}

  /** Queues an image; under the lock. */
  async queue(imageId: string, origin: string): Promise<void> {
    const nowMs = Date.now();
    const id = crypto.randomUUID();
    const cacheFill = { id, imageId, origin, offset: 0, failures: 0, dueMs: nowMs };
    await this.keeper.ledger.write({ cacheFill });
    await queueEntry(this.keeper.db, imageId, nowMs);
  }

  /** Goes on with the fill that is due, in an alarm that rang at `rangAtMs`. */
  async run(rangAtMs: number): Promise<void> {
    const { ledger } = this.keeper;
    // Under the lock, so that a call that is queueing the image has written its entry.
    const { cacheFill: fill } = await this.keeper.alone(() => ledger.read());
    if (fill === undefined || fill.dueMs > Date.now()) return;
    if (Date.now() - rangAtMs > LATEST_START_MS) {
      // That sets the alarm again.
      await this.keeper.alone(() => ledger.write({}));
      return;
    }
    let next: CacheFill | undefined;
    try {
      next = await this.#step(fill);
    } catch (error) {
      log({
        event: "cache_fill_failed",
        image_id: fill.imageId,
        error: String(withoutValues(error)),
      });
      const failures = fill.failures + 1;
      const dueMs = Date.now() + 1000 * 4 ** failures;
      if (failures < MAX_FAILURES) next = { ...fill, failures, dueMs };
      else await unqueueEntry(this.keeper.db, fill.imageId);
    }
    await this.keeper.alone(async () => {
      const { cacheFill: now } = await ledger.read();
      // Another one may have been queued meanwhile.
      if (now?.id === fill.id) await ledger.write({ cacheFill: next });
    });
  }

  /** Reads on; gives what is left to do. Throws when nothing could be read or kept. */
  async #step(fill: CacheFill): Promise<CacheFill | undefined> {
    const { db, config } = this.keeper;
    const { imageId, offset } = fill;
    const image = await this.keeper.present(imageId);
    const entry = await findEntry(db, imageId);
    if (image === undefined || entry === undefined || entry.queuedAtMs === null) return undefined;
    const copy = cachedCopyOf(image, config.stores);
    if (config.imageCache === undefined || copy === undefined) {
      await unqueueEntry(db, imageId);
      return undefined;
    }
    const size = image.size ?? 0;
    const { epoch } = entry;
    const range = { offset, length: Math.min(size - offset, FILL_BYTES_AN_ALARM) };
    const nowMs = Date.now();
    if (range.length > 0) {
      const store = this.keeper.store(copy.store);
      const read = await CachedRead.open(
        {
          size,
          checksum: image.checksum,
          segments: new Segments({ origin: fill.origin, ...copy, epoch, size }),
          read: async (wanted) => {
            const blob = await store.read(copy.key, wanted);
            if (blob?.size === size) return blob.body;
            await blob?.body.cancel();
            await noteDamagedCopy(db, { imageId, store: copy.store, bytes: blob?.size });
            throw new Fault("data_not_found", { imageId });
          },
        },
        range,
      );
      const { isSound, isComplete, cachedBytes, failure } = await read.run();
      if (!isSound) {
        log({ event: "cache_discarded", image_id: imageId });
        await discardEntry(db, imageId, epoch);
        return undefined;
      }
      if (cachedBytes > 0) await addFilled(db, { imageId, epoch, bytes: cachedBytes, nowMs });
      if (failure !== undefined || (!isComplete && cachedBytes === 0)) {
        throw failure ?? new Error("the cache took nothing");
      }
      // What is there by now need not be read again.
      if (!isComplete) return { ...fill, dueMs: nowMs + PAUSE_MS };
    }
    const reached = offset + range.length;
    if (reached < size) return { ...fill, offset: reached, failures: 0, dueMs: nowMs };
    await finishEntry(db, { imageId, epoch, bytes: size, nowMs });
    return undefined;
  }
}

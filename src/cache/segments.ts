import type { ByteRange } from "../blob/store.ts";
import { log } from "../lib/log.ts";

const MiB = 1024 ** 2;

/** What a blob is cut into: whole in memory when it is put, and the least that a cold read takes from the store. */
export const SEGMENT_BYTES = 4 * MiB;

/** How long the platform is asked to keep a segment. Unused ones go much earlier. */
export const SEGMENT_LIFETIME_MS = 7 * 24 * 3_600_000;

/** What a cache has to answer within; it is slower than the store then. */
const PATIENCE_MS = { match: 2_000, put: 10_000 };

/** Apart from what a zone caches of its web pages: nothing in here has an address that anybody could ask for. */
const CACHE_NAME = "glimpse-images";

/** Whose bytes: one blob, since when they count. New bytes have another key, and what was thrown out another epoch. */
export interface SegmentOwner {
  /** Scheme and host of the service itself, as the platform wants them of keys. */
  readonly origin: string;
  readonly store: string;
  readonly key: string;
  readonly epoch: string;
  /** Bytes of the whole blob. */
  readonly size: number;
}

/** The n-th piece of a blob. */
export interface Segment extends ByteRange {
  readonly index: number;
}

/** The segment that a byte of the blob lies in. */
export function segmentAt(size: number, offset: number): Segment {
  const index = Math.floor(offset / SEGMENT_BYTES);
  const start = index * SEGMENT_BYTES;
  return { index, offset: start, length: Math.min(SEGMENT_BYTES, size - start) };
}

/** The segments of one blob in the cache of this data center. Whatever goes wrong there is a miss, never an error. */
export class Segments {
  constructor(private readonly owner: SegmentOwner) {}

  /** The bytes of a segment, undefined when it is not there as a whole; "failed" when there is no use in asking on. */
  async match(segment: Segment): Promise<ReadableStream<Uint8Array> | undefined | "failed"> {
    const found = this.#find(segment);
    try {
      return await within(PATIENCE_MS.match, found);
    } catch (error) {
      this.#complain("cache_unreadable", error);
      found.then((body) => body?.cancel()).catch(() => undefined);
      return "failed";
    }
  }

  async #find(segment: Segment): Promise<ReadableStream<Uint8Array> | undefined> {
    const cache = await caches.open(CACHE_NAME);
    const response = await cache.match(this.#url(segment));
    if (response === undefined) return undefined;
    const { status, headers, body } = response;
    if (status === 200 && headers.get("content-length") === String(segment.length)) {
      return body ?? undefined;
    }
    await body?.cancel();
    return undefined;
  }

  /** Puts a segment; gives whether that worked. */
  async put(segment: Segment, bytes: Uint8Array): Promise<boolean> {
    try {
      const headers = {
        "content-type": "application/octet-stream",
        "cache-control": `max-age=${SEGMENT_LIFETIME_MS / 1000}`,
      };
      const cache = await caches.open(CACHE_NAME);
      const put = cache.put(this.#url(segment), new Response(bytes, { headers }));
      await within(PATIENCE_MS.put, put);
      return true;
    } catch (error) {
      this.#complain("cache_unwritable", error);
      return false;
    }
  }

  #url({ index }: Segment): string {
    const { origin, store, key, epoch } = this.owner;
    return `${origin}/image-cache/${encodeURIComponent(store)}/${key}/${epoch}/${index}`;
  }

  #complain(event: string, error: unknown): void {
    log({ event, key: this.owner.key, error: String(error) });
  }
}

/** What the work comes to, unless that takes too long. */
async function within<T>(ms: number, work: Promise<T>): Promise<T> {
  const done = new AbortController();
  const timeout = scheduler.wait(ms, { signal: done.signal }).then(() => {
    throw new Error(`no answer within ${ms} ms`);
  });
  try {
    return await Promise.race([work, timeout]);
  } finally {
    timeout.catch(() => undefined);
    done.abort();
  }
}

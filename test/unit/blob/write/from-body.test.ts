import { env } from "cloudflare:workers";
import fc from "fast-check";
import { beforeEach, describe, expect, it } from "vitest";
import { MemoryBlobStore } from "../../../../src/blob/memory.ts";
import type { PartPlan } from "../../../../src/blob/part-size.ts";
import { R2BlobStore } from "../../../../src/blob/r2.ts";
import type { BlobStore, PartReceipt, SizedStream } from "../../../../src/blob/store.ts";
import { type Ingested, type IngestOptions, ingest } from "../../../../src/blob/write/from-body.ts";
import { LEAST_BUFFER_BYTES, MemoryPool } from "../../../../src/blob/write/memory-pool.ts";
import { Fault } from "../../../../src/domain/fault.ts";
import { toHex } from "../../../../src/lib/hex.ts";
import { MemorySpool } from "../memory-spool.ts";
import { chunked, Feed, native, patterned } from "../sources.ts";

const MiB = 1024 ** 2;
const KEY = "blobs/image/attempt";
const SMALL_PARTS: PartPlan = { partBytes: 4, isStraight: false, maxTotalBytes: 1000 };

let store: MemoryBlobStore;

beforeEach(() => {
  store = new MemoryBlobStore({ minPartBytes: 0 });
});

function options(more: Partial<IngestOptions> = {}): IngestOptions {
  const target: BlobStore = more.store ?? store;
  return {
    store: target,
    key: KEY,
    declaredBytes: undefined,
    maxBytes: 1000,
    singlePutMaxBytes: 1024 ** 3,
    algorithms: ["md5", "sha256"],
    spool: new MemorySpool(),
    openMultipart: () => target.beginMultipart(KEY),
    ...more,
  };
}

/** Does what the image's object does once the bytes are there; gives what is then stored. */
async function commit({ multipart }: Ingested, target: BlobStore = store): Promise<Uint8Array> {
  if (multipart !== undefined) {
    await target.completeMultipart(KEY, multipart.uploadId, multipart.parts);
  }
  return new Response((await target.read(KEY))?.body).bytes();
}

function text(value: string): Uint8Array {
  return new TextEncoder().encode(value);
}

/** What is left of a body that others have begun to read. */
async function rest(stream: ReadableStream<Uint8Array>): Promise<Uint8Array> {
  const chunks: Uint8Array[] = [];
  for await (const chunk of stream) chunks.push(chunk);
  return new Blob(chunks).bytes();
}

async function failLate(): Promise<never> {
  await scheduler.wait(5);
  throw new Error("disk on fire");
}

const kinds: [string, (bytes: Uint8Array) => ReadableStream<Uint8Array>][] = [
  ["the runtime's own stream", native],
  ["a stream of chunks", (bytes) => chunked([bytes])],
];

describe.each(kinds)("ingest from %s", (_, open) => {
  it("UPL-1: stores a body of one part by a single put", async () => {
    const done = await ingest(open(text("abcd")), options({ plan: SMALL_PARTS }));
    expect(done).toMatchObject({ size: 4, multipart: undefined });
    expect(await commit(done)).toEqual(text("abcd"));
    expect(store.uploads.size).toBe(0);
  });

  it("UPL-1: stores a longer body in parts and leaves the upload open", async () => {
    const done = await ingest(open(text("abcdefghij")), options({ plan: SMALL_PARTS }));
    expect(done.size).toBe(10);
    expect(done.multipart?.parts.map(({ partNumber }) => partNumber)).toEqual([1, 2, 3]);
    expect(await store.read(KEY)).toBeUndefined();
    expect(await commit(done)).toEqual(text("abcdefghij"));
  });

  it("UPL-1: makes no empty part of a body that ends with a part", async () => {
    const done = await ingest(open(text("abcdefgh")), options({ plan: SMALL_PARTS }));
    expect(done.multipart?.parts).toHaveLength(2);
    expect(await commit(done)).toEqual(text("abcdefgh"));
  });

  it("UPL-4: stores an empty body", async () => {
    const done = await ingest(open(text("")), options());
    expect(done).toMatchObject({ size: 0, hashes: { md5: "d41d8cd98f00b204e9800998ecf8427e" } });
    expect(await commit(done)).toEqual(text(""));
  });

  it("HSH-1: gives the hashes wanted of the bytes as received, each once", async () => {
    const bytes = patterned(300);
    const algorithms = ["md5", "sha512", "sha1", "md5"] as const;
    const done = await ingest(open(bytes), options({ plan: SMALL_PARTS, algorithms }));
    expect(done.hashes).toEqual({
      md5: toHex(await crypto.subtle.digest("MD5", bytes)),
      sha512: toHex(await crypto.subtle.digest("SHA-512", bytes)),
      sha1: toHex(await crypto.subtle.digest("SHA-1", bytes)),
    });
  });

  it("SIZ-2: refuses more bytes than were announced", async () => {
    await expect(ingest(open(text("abcdef")), options({ declaredBytes: 5 }))).rejects.toMatchObject(
      {
        code: "size_exceeded",
        detail: { declared: 5 },
      },
    );
    expect(store.objects.size).toBe(0);
  });

  it("SIZ-3: refuses fewer bytes than were announced", async () => {
    const sizes = { declared: 7, received: 6 };
    const receiving = ingest(open(text("abcdef")), options({ declaredBytes: 7 }));
    await expect(receiving).rejects.toMatchObject({ code: "size_mismatch", detail: sizes });
    expect(store.objects.size).toBe(0);
  });

  it("STO-5: takes an image of exactly the largest size, and not a byte more", async () => {
    const cap = { maxBytes: 6 };
    expect((await ingest(open(text("abcdef")), options(cap))).size).toBe(6);
    const receiving = ingest(open(text("abcdefg")), options(cap));
    await expect(receiving).rejects.toMatchObject({ code: "image_too_large", status: 413 });
  });
});

it("UPL-4: takes no body for an empty one", async () => {
  expect(await commit(await ingest(null, options()))).toEqual(text(""));
});

describe("announced sizes", () => {
  it("SIZ-4: takes 0 for no announcement", async () => {
    expect((await ingest(native(text("abc")), options({ declaredBytes: 0 }))).size).toBe(3);
  });

  it("SIZ-2: takes no byte when a negative size is announced", async () => {
    const receiving = ingest(native(text("a")), options({ declaredBytes: -1 }));
    await expect(receiving).rejects.toMatchObject({ code: "size_exceeded" });
  });

  it("SIZ-3: takes no empty body for a negative size either", async () => {
    const receiving = ingest(native(text("")), options({ declaredBytes: -1 }));
    await expect(receiving).rejects.toMatchObject({ code: "size_mismatch" });
  });

  it("SIZ-2: stops at the first byte too many, without waiting for the end", async () => {
    const feed = new Feed();
    feed.send(text("abcdef"));
    const receiving = ingest(feed.stream, options({ declaredBytes: 5 }));
    await expect(receiving).rejects.toMatchObject({ code: "size_exceeded" });
  });

  it("SIZ-2: stops at the first byte past the parts of the announced size", async () => {
    const feed = new Feed();
    feed.send(text("abcdefghi"));
    const receiving = ingest(feed.stream, options({ declaredBytes: 8, plan: SMALL_PARTS }));
    await expect(receiving).rejects.toMatchObject({ code: "size_exceeded" });
  });

  it("STO-5: stops at the first byte past the largest size", async () => {
    const feed = new Feed();
    feed.send(text("abcdef"));
    const receiving = ingest(feed.stream, options({ maxBytes: 5 }));
    await expect(receiving).rejects.toMatchObject({ code: "image_too_large" });
  });

  it("STO-5: reads nothing of a body announced as larger than allowed", async () => {
    const feed = new Feed();
    const receiving = ingest(feed.stream, options({ declaredBytes: 6, maxBytes: 5 }));
    await expect(receiving).rejects.toMatchObject({ code: "image_too_large" });
    feed.send(text("abcdef"));
    feed.end();
    expect(await rest(feed.stream)).toEqual(text("abcdef"));
  });

  it("UPL-3: asks for an announcement when a body outgrows what parts of its size can hold", async () => {
    const plan = { ...SMALL_PARTS, maxTotalBytes: 12 };
    expect((await ingest(chunked([patterned(12)]), options({ plan }))).size).toBe(12);
    const receiving = ingest(chunked([patterned(13)]), options({ plan }));
    await expect(receiving).rejects.toMatchObject({ code: "size_unannounced", status: 413 });
  });
});

describe("progress", () => {
  it("UPL-9: is reported for every few bytes of a slow client", async () => {
    const feed = new Feed();
    let seen = Promise.withResolvers<number>();
    const onProgress = (bytes: number) => seen.resolve(bytes);
    const receiving = ingest(feed.stream, options({ onProgress }));
    for (let sent = 1; sent <= 3; sent++) {
      seen = Promise.withResolvers();
      feed.send(text("x"));
      expect(await seen.promise).toBe(sent);
    }
    feed.end();
    expect((await receiving).size).toBe(3);
  });

  it("UPL-9: is reported at least once a MiB of a fast client", async () => {
    const reported = [0];
    const onProgress = async (bytes: number) => void reported.push(bytes);
    await ingest(native(patterned(5 * MiB)), options({ maxBytes: 5 * MiB, onProgress }));
    expect(reported.at(-1)).toBe(5 * MiB);
    const steps = reported.slice(1).map((bytes, i) => bytes - (reported[i] ?? 0));
    expect(Math.max(...steps)).toBeLessThanOrEqual(MiB);
  });

  it("UPL-10: stops everything when the report is answered by a failure", async () => {
    const feed = new Feed();
    const gone = new Fault("image_gone", { imageId: "x" });
    feed.send(text("abcdefghij"));
    const onProgress = () => Promise.reject(gone);
    await expect(ingest(feed.stream, options({ onProgress }))).rejects.toBe(gone);
    expect(feed.cancelled).toBeUndefined();
    expect(store.objects.size).toBe(0);
  });
});

describe("failures", () => {
  it("UPL-13: tells that the body broke off when the client goes away", async () => {
    const feed = new Feed();
    const cause = new Error("Network connection lost.");
    const receiving = ingest(feed.stream, options({ plan: SMALL_PARTS }));
    feed.send(text("abcdefghij"));
    await scheduler.wait(1);
    feed.breakOff(cause);
    await expect(receiving).rejects.toMatchObject({ code: "body_broken_off", cause });
    expect(store.objects.size).toBe(0);
  });

  it("UPL-13: hands on the Fault of a source that knows why it stopped", async () => {
    const feed = new Feed();
    const fault = new Fault("quota_exceeded");
    feed.breakOff(fault);
    await expect(ingest(feed.stream, options())).rejects.toBe(fault);
  });

  it("STO-13: tells that the store failed when a put does", async () => {
    store.put = () => Promise.reject(new Error("disk on fire"));
    const receiving = ingest(native(text("abc")), options());
    await expect(receiving).rejects.toMatchObject({ code: "store_unavailable", status: 503 });
  });

  it("STO-13: stops at the failure of a part, though the client sends nothing more", async () => {
    const feed = new Feed();
    store.putPart = failLate;
    const receiving = ingest(feed.stream, options({ plan: SMALL_PARTS }));
    feed.send(text("abcdef"));
    await expect(receiving).rejects.toMatchObject({ code: "store_unavailable" });
    expect(feed.cancelled).toMatchObject({ code: "store_unavailable" });
  });

  it("UPL-10: stops when the upload cannot be opened, with the reason given", async () => {
    const gone = new Fault("image_gone", { imageId: "x" });
    let opened = 0;
    const openMultipart = () => {
      opened++;
      return Promise.reject(gone);
    };
    const source = chunked([patterned(100)]);
    await expect(ingest(source, options({ openMultipart, plan: SMALL_PARTS }))).rejects.toBe(gone);
    expect(opened).toBe(1);
  });

  it("UPL-13: throws the first reason once the parts under way have settled", async () => {
    const store = new HoldingStore();
    const feed = new Feed();
    let isSettled = false;
    const receiving = ingest(feed.stream, options({ store, plan: SMALL_PARTS })).finally(() => {
      isSettled = true;
    });
    receiving.catch(() => {});
    feed.send(text("abcdefghij"));
    await store.until(2);
    feed.breakOff(new Error("first"));
    await scheduler.wait(5);
    expect(isSettled).toBe(false);
    store.failAll(new Error("second"));
    await expect(receiving).rejects.toMatchObject({ code: "body_broken_off" });
    expect(isSettled).toBe(true);
  });

  it("UPL-13: gives its memory back whatever happens", async () => {
    const pool = new MemoryPool();
    await ingest(native(text("abc")), options({ pool, plan: SMALL_PARTS }));
    const tooLong = options({ pool, plan: SMALL_PARTS, maxBytes: 1 });
    await ingest(native(text("abc")), tooLong).catch(() => {});
    expect([pool.heldBytes, pool.heldViewBytes]).toEqual([0, 0]);
  });
});

/** Keeps parts under way until told otherwise, and counts what they hold. */
class HoldingStore extends MemoryBlobStore {
  held: { readonly length: number; readonly settle: (error?: Error) => void }[] = [];

  constructor() {
    super({ minPartBytes: 0 });
  }

  override async putPart(
    ...[key, uploadId, partNumber, bytes]: Parameters<BlobStore["putPart"]>
  ): Promise<PartReceipt> {
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    const settle = (error?: Error) => (error === undefined ? resolve() : reject(error));
    this.held.push({ length: bytes.length, settle });
    await promise;
    return super.putPart(key, uploadId, partNumber, bytes);
  }

  async until(count: number): Promise<void> {
    while (this.held.length < count) await scheduler.wait(1);
  }

  release(): void {
    this.held.shift()?.settle();
  }

  failAll(error: Error): void {
    for (const { settle } of this.held) settle(error);
  }
}

describe("parts in flight", () => {
  it("UPL-1: fills one buffer while the others are sent, then waits for one of them", async () => {
    const store = new HoldingStore();
    const source = chunked([patterned(40)]);
    const receiving = ingest(source, options({ store, plan: SMALL_PARTS }));
    await store.until(3);
    await scheduler.wait(5);
    expect(store.held).toHaveLength(3);
    store.release();
    await store.until(3);
    const releasing = (async () => {
      for (let left = 9; left > 0; left--) {
        await store.until(1);
        store.release();
      }
    })();
    const done = await receiving;
    await releasing;
    expect(await commit(done, store)).toEqual(patterned(40));
  });

  it("UPL-1: are stored whole although they finish out of order", async () => {
    const store = new HoldingStore();
    const receiving = ingest(chunked([patterned(12)]), options({ store, plan: SMALL_PARTS }));
    await store.until(3);
    for (const { settle } of store.held.toReversed()) {
      settle();
      await scheduler.wait(1);
    }
    expect(await commit(await receiving, store)).toEqual(patterned(12));
  });
});

describe("streamed parts, of bodies too long for parts in memory", () => {
  const plan: PartPlan = { partBytes: 8, isStraight: true, maxTotalBytes: 1000 };
  const bytes = patterned(20);

  it("UPL-1: are cut by the announced size", async () => {
    const done = await ingest(native(bytes), options({ plan, declaredBytes: 20 }));
    expect(done).toMatchObject({ size: 20 });
    expect(done.multipart?.parts).toHaveLength(3);
    expect(await commit(done)).toEqual(bytes);
  });

  it("SIZ-2, SIZ-3: are held against the announced size", async () => {
    for (const [declaredBytes, code] of [
      [19, "size_exceeded"],
      [21, "size_mismatch"],
    ] as const) {
      const receiving = ingest(native(bytes), options({ plan, declaredBytes }));
      await expect(receiving).rejects.toMatchObject({ code });
    }
  });

  it("UPL-13: break off with the body", async () => {
    const feed = new Feed();
    const receiving = ingest(feed.stream, options({ plan, declaredBytes: 20 }));
    feed.send(patterned(10));
    await scheduler.wait(1);
    feed.breakOff(new Error("Network connection lost."));
    await expect(receiving).rejects.toMatchObject({ code: "body_broken_off" });
  });

  it("STO-13: end with the store's failure, though nobody reads the part any more", async () => {
    store.putPart = () => Promise.reject(new Error("disk on fire"));
    const receiving = ingest(native(bytes), options({ plan, declaredBytes: 20 }));
    await expect(receiving).rejects.toMatchObject({ code: "store_unavailable" });
  });
});

describe("memory", () => {
  /** Takes parts slowly and keeps nothing. */
  class SlowSink extends MemoryBlobStore {
    inFlightBytes = 0;
    peakBytes = 0;

    override async putPart(
      ...[, , partNumber, part]: Parameters<BlobStore["putPart"]>
    ): Promise<PartReceipt> {
      if (part instanceof Uint8Array) await this.hold(part.length);
      else await this.pass(part);
      return { partNumber, etag: "etag" };
    }

    private async hold(bytes: number): Promise<void> {
      this.inFlightBytes += bytes;
      this.peakBytes = Math.max(this.peakBytes, this.inFlightBytes);
      await scheduler.wait(20);
      this.inFlightBytes -= bytes;
    }

    private async pass({ stream }: SizedStream): Promise<void> {
      for await (const chunk of stream) void chunk;
    }
  }

  const chunk = new Uint8Array(MiB);
  function* megabytes(count: number): Generator<Uint8Array> {
    for (let i = 0; i < count; i++) yield chunk;
  }

  it.each([
    ["of announced size", 160 * MiB, undefined],
    ["of unknown size", undefined, undefined],
    // As planned for the largest objects; the real plan would need 140 GiB.
    [
      "too long for parts in memory",
      160 * MiB,
      { partBytes: 80 * MiB, isStraight: true, maxTotalBytes: 1e15 },
    ],
  ])("UPL-3: of parts stays within 32 MiB for a body %s", async (_, declaredBytes, plan) => {
    const store = new SlowSink();
    const pool = new MemoryPool();
    let peakBytes = 0;
    const done = await ingest(
      chunked(megabytes(160)),
      options({
        store,
        declaredBytes,
        maxBytes: 1e15,
        // Cut into parts, however long.
        singlePutMaxBytes: 0,
        pool,
        onProgress: () => {
          peakBytes = Math.max(peakBytes, pool.heldBytes + pool.heldViewBytes);
        },
        ...(plan === undefined ? {} : { plan }),
      }),
    );
    expect(done.size).toBe(160 * MiB);
    expect(peakBytes).toBeLessThan(33 * MiB);
    expect(store.peakBytes).toBeLessThanOrEqual(32 * MiB);
  });

  it("UPL-1: of a body that has just begun is little", async () => {
    const pool = new MemoryPool();
    let heldBytes = 0;
    const onProgress = () => {
      heldBytes = Math.max(heldBytes, pool.heldBytes + pool.heldViewBytes);
    };
    await ingest(native(patterned(100)), options({ pool, maxBytes: 1e15, onProgress }));
    expect(heldBytes).toBeLessThanOrEqual(32 * 1024);
  });
});

describe("a body of known length", () => {
  const bytes = patterned(2 * MiB);
  const straight = { declaredBytes: bytes.length, maxBytes: 1e9 };

  /** Sees that all comes by one put, which streams. */
  class StreamingStore extends MemoryBlobStore {
    streams = 0;

    override async put(...[key, body]: Parameters<BlobStore["put"]>) {
      if (!(body instanceof Uint8Array)) this.streams++;
      return super.put(key, body);
    }
  }

  it("UPL-1: goes straight through in one put, and takes no memory for parts", async () => {
    const store = new StreamingStore();
    const pool = new MemoryPool();
    let peakBytes = 0;
    const onProgress = () => {
      peakBytes = Math.max(peakBytes, pool.heldBytes);
    };
    const done = await ingest(native(bytes), options({ ...straight, store, pool, onProgress }));
    expect(done.multipart).toBeUndefined();
    expect(done.hashes.sha256).toBe(toHex(await crypto.subtle.digest("SHA-256", bytes)));
    expect(done.hashes.md5).toBe(toHex(await crypto.subtle.digest("MD5", bytes)));
    expect(await commit(done, store)).toEqual(bytes);
    expect(store.streams).toBe(1);
    expect(peakBytes).toBe(0);
  });

  it("HSH-1: takes the MD5 that the store tells, or reads for it when it does not after all", async () => {
    class TellingStore extends StreamingStore {
      override readonly putting = { maxBytes: 1e9, tellsMd5: true };
      told: string | undefined = "0123456789abcdef0123456789abcdef";

      override async put(...args: Parameters<BlobStore["put"]>) {
        await super.put(...args);
        return this.told === undefined ? {} : { md5: this.told };
      }
    }
    const store = new TellingStore();
    const told = await ingest(native(bytes), options({ ...straight, store }));
    expect(told.hashes.md5).toBe(store.told);
    store.told = undefined;
    const read = await ingest(native(bytes), options({ ...straight, store }));
    expect(read.hashes.md5).toBe(toHex(await crypto.subtle.digest("MD5", bytes)));
  });

  it("UPL-3: is cut into parts when it is longer than one put may be", async () => {
    const store = new StreamingStore({ minPartBytes: 0 });
    const plan = { ...SMALL_PARTS, partBytes: MiB, maxTotalBytes: 1e9 };
    const more = { ...straight, store, plan, singlePutMaxBytes: bytes.length - 1 };
    const done = await ingest(native(bytes), options(more));
    expect(done.multipart?.parts).toHaveLength(2);
    expect(await commit(done, store)).toEqual(bytes);
    expect(store.streams).toBe(0);
  });

  it.each([
    ["size_exceeded", bytes.length - 1],
    ["size_mismatch", bytes.length + 1],
  ])(
    "SIZ-2, SIZ-3: stores nothing of one that is not as long as announced: %s",
    async (code, declaredBytes) => {
      const receiving = ingest(native(bytes), options({ ...straight, declaredBytes }));
      await expect(receiving).rejects.toMatchObject({ code });
      expect(store.objects.size).toBe(0);
    },
  );

  it("UPL-13: stores nothing when it breaks off", async () => {
    const feed = new Feed();
    const receiving = ingest(feed.stream, options(straight));
    receiving.catch(() => {});
    feed.send(bytes.slice(0, MiB));
    await scheduler.wait(5);
    feed.breakOff(new Error("Network connection lost."));
    await expect(receiving).rejects.toMatchObject({ code: "body_broken_off" });
    expect(store.objects.size).toBe(0);
  });

  it("FMT-1: stores nothing when its content is refused, also by what is known at its end only", async () => {
    const refused = new Fault("content_refused");
    const finish = () => {
      throw refused;
    };
    const inspection = { take: () => {}, finish };
    const receiving = ingest(native(bytes), options({ ...straight, inspection }));
    await expect(receiving).rejects.toBe(refused);
    expect(store.objects.size).toBe(0);
  });

  it("STO-13: ends when the store fails while the client sends nothing more", async () => {
    const feed = new Feed();
    store.put = failLate;
    const receiving = ingest(feed.stream, options(straight));
    feed.send(bytes.slice(0, 100));
    await expect(receiving).rejects.toMatchObject({ code: "store_unavailable" });
  });
});

describe("without memory", () => {
  it("UPL-1: bytes take the way through the spool, and all come to their end", async () => {
    const plan: PartPlan = { partBytes: 400_000, isStraight: false, maxTotalBytes: 1e9 };
    const pool = new MemoryPool(64 * 1024, 64 * 1024);
    const spools: MemorySpool[] = [];
    let peakBytes = 0;
    const uploads = Array.from({ length: 20 }, async (_, i) => {
      const store = new MemoryBlobStore({ minPartBytes: 0 });
      const spool = new MemorySpool();
      spools.push(spool);
      const bytes = patterned((i * 112_345) % 1_500_000, i);
      const onProgress = () => {
        peakBytes = Math.max(peakBytes, pool.heldBytes);
      };
      const more = { store, pool, plan, spool, onProgress, maxBytes: 1e9 };
      const done = await ingest(chunked([bytes]), options(more));
      expect(await commit(done, store)).toEqual(bytes);
      expect(done.hashes.md5).toBe(toHex(await crypto.subtle.digest("MD5", bytes)));
    });
    await Promise.all(uploads);
    expect(spools.some(({ appended }) => appended > 0)).toBe(true);
    expect(spools.every(({ keptBytes }) => keptBytes === 0)).toBe(true);
    // What every one of them may always have comes on top.
    expect(peakBytes).toBeLessThanOrEqual(64 * 1024 + 20 * LEAST_BUFFER_BYTES);
    expect([pool.heldBytes, pool.heldViewBytes]).toEqual([0, 0]);
  });

  it("UPL-1: a spool that fails ends the upload", async () => {
    const pool = new MemoryPool(0, 0);
    const spool = new MemorySpool();
    spool.append = failLate;
    const receiving = ingest(
      chunked([patterned(100_000)]),
      options({ pool, spool, maxBytes: 1e9 }),
    );
    await expect(receiving).rejects.toThrow("disk on fire");
    expect(store.objects.size).toBe(0);
  });
});

describe("a source that is given up", () => {
  it.each(kinds)("SIZ-2, STO-5: can be read on by the caller, if it is %s", async (_, open) => {
    const source = open(patterned(2 * MiB));
    const receiving = ingest(source, options({ maxBytes: 5 }));
    await expect(receiving).rejects.toMatchObject({ code: "image_too_large" });
    expect(source.locked).toBe(false);
    const { length } = await rest(source);
    expect(length).toBeLessThan(2 * MiB);
  });

  it("SIZ-2: can be read on as the body of a request", async () => {
    const pipe = new IdentityTransformStream();
    const request = new Request("http://x", { method: "PUT", body: pipe.readable });
    const writer = pipe.writable.getWriter();
    const sending = (async () => {
      for (let i = 0; i < 20; i++) await writer.write(new Uint8Array(10));
      await writer.close();
    })();
    const receiving = ingest(request.body, options({ declaredBytes: 15 }));
    await expect(receiving).rejects.toMatchObject({ code: "size_exceeded" });
    expect(request.body?.locked).toBe(false);
    await request.body?.pipeTo(new WritableStream());
    await sending;
  });

  it("STO-13: is cancelled when a read waits, and stays locked", async () => {
    const feed = new Feed();
    store.putPart = failLate;
    const receiving = ingest(feed.stream, options({ plan: SMALL_PARTS }));
    feed.send(text("abcdef"));
    await expect(receiving).rejects.toMatchObject({ code: "store_unavailable" });
    expect(feed.cancelled).toMatchObject({ code: "store_unavailable" });
    expect(feed.stream.locked).toBe(true);
  });

  it("STO-13: can be read on when the store fails while more is on its way", async () => {
    const feed = new Feed();
    store.putPart = failLate;
    const receiving = ingest(feed.stream, options({ plan: SMALL_PARTS }));
    receiving.catch(() => {});
    feed.send(text("abcdef"));
    await scheduler.wait(50);
    feed.send(text("more"));
    await expect(receiving).rejects.toMatchObject({ code: "store_unavailable" });
    expect([feed.cancelled, feed.stream.locked]).toEqual([undefined, false]);
  });

  it("STO-13: can be read on when the store fails while nothing is read", async () => {
    const feed = new Feed();
    const { promise, reject } = Promise.withResolvers<never>();
    store.putPart = () => promise;
    const receiving = ingest(feed.stream, options({ plan: SMALL_PARTS }));
    receiving.catch(() => {});
    feed.send(patterned(40));
    await scheduler.wait(5);
    reject(new Error("disk on fire"));
    await expect(receiving).rejects.toMatchObject({ code: "store_unavailable" });
    feed.send(text("rest"));
    feed.end();
    expect((await rest(feed.stream)).subarray(-4)).toEqual(text("rest"));
  });

  it("UPL-13: stays locked when it broke off itself", async () => {
    const feed = new Feed();
    feed.breakOff(new Error("Network connection lost."));
    await expect(ingest(feed.stream, options())).rejects.toMatchObject({ code: "body_broken_off" });
    expect(feed.stream.locked).toBe(true);
  });
});

describe("the caller's signal", () => {
  const stalled = new Fault("body_broken_off");

  it("UPL-13: ends a read that waits, with its reason", async () => {
    const feed = new Feed();
    const stop = new AbortController();
    const receiving = ingest(feed.stream, options({ signal: stop.signal }));
    feed.send(text("ab"));
    await scheduler.wait(1);
    stop.abort(stalled);
    await expect(receiving).rejects.toBe(stalled);
    expect(feed.cancelled).toBe(stalled);
    expect(store.objects.size).toBe(0);
  });

  it("UPL-13: ends a read of the runtime's own stream, too", async () => {
    const idle = new IdentityTransformStream();
    const stop = new AbortController();
    const receiving = ingest(idle.readable, options({ signal: stop.signal }));
    receiving.catch(() => {});
    await scheduler.wait(1);
    stop.abort(stalled);
    await expect(receiving).rejects.toBe(stalled);
  });

  it("UPL-13: counts when it came before the first byte", async () => {
    const receiving = ingest(native(text("ab")), options({ signal: AbortSignal.abort(stalled) }));
    await expect(receiving).rejects.toBe(stalled);
    expect(store.objects.size).toBe(0);
  });

  it("UPL-13: counts when it comes while the only part is stored", async () => {
    const stop = new AbortController();
    store.put = async () => {
      stop.abort(stalled);
      return {};
    };
    const receiving = ingest(native(text("ab")), options({ signal: stop.signal }));
    await expect(receiving).rejects.toBe(stalled);
  });

  it("UPL-13: means nothing once the body is stored", async () => {
    const stop = new AbortController();
    const done = await ingest(native(text("ab")), options({ signal: stop.signal }));
    stop.abort(stalled);
    expect(await commit(done)).toEqual(text("ab"));
  });
});

describe("any body", () => {
  it("UPL-1, SIZ-2, SIZ-3, STO-5: is stored as it came, or refused by the rule it breaks", async () => {
    const body = fc.array(fc.uint8Array({ maxLength: 12 }), { maxLength: 8 });
    const size = fc.integer({ min: 0, max: 60 });
    const plan = fc.record({
      partBytes: fc.integer({ min: 1, max: 9 }),
      isStraight: fc.boolean(),
      maxTotalBytes: fc.constant(1000),
    });
    await fc.assert(
      fc.asyncProperty(
        body,
        fc.option(size, { nil: undefined }),
        size,
        plan,
        async (chunks, declared, maxBytes, plan) => {
          const store = new MemoryBlobStore({ minPartBytes: 0 });
          const bytes = await new Blob(chunks).bytes();
          const declaredBytes = declared === undefined ? bytes.length : declared;
          const expected = verdict(bytes.length, declaredBytes, maxBytes);
          const outcome = await ingest(
            chunked(chunks),
            options({ store, declaredBytes, maxBytes, plan }),
          ).catch((error: unknown) => error);
          if (outcome instanceof Fault) {
            expect(outcome.code).toBe(expected);
            expect(store.objects.size).toBe(0);
          } else {
            expect(expected).toBe("stored");
            expect(await commit(outcome as Ingested, store)).toEqual(bytes);
          }
        },
      ),
    );
  });

  function verdict(bytes: number, declaredBytes: number, maxBytes: number): string {
    const declared = declaredBytes === 0 ? undefined : declaredBytes;
    if (declared !== undefined && declared > maxBytes) return "image_too_large";
    if (declared !== undefined && declared < maxBytes && bytes > declared) return "size_exceeded";
    if (bytes > maxBytes) return "image_too_large";
    return declared !== undefined && bytes < declared ? "size_mismatch" : "stored";
  }
});

describe("on R2", () => {
  it("UPL-1, HSH-1: stores a body of several parts", async () => {
    const store = new R2BlobStore(env.BLOBS);
    const bytes = patterned(35 * MiB);
    const done = await ingest(native(bytes), options({ store, maxBytes: 1e15 }));
    expect(done.multipart?.parts).toHaveLength(3);
    const stored = await commit(done, store);
    expect(toHex(await crypto.subtle.digest("SHA-256", stored))).toBe(done.hashes.sha256);
    expect(stored.length).toBe(bytes.length);
  });

  it("UPL-1: stores parts that are streamed", async () => {
    const store = new R2BlobStore(env.BLOBS);
    const bytes = patterned(13 * MiB);
    const plan = { partBytes: 5 * MiB, isStraight: true, maxTotalBytes: 1e15 };
    const done = await ingest(
      native(bytes),
      options({ store, maxBytes: 1e15, declaredBytes: bytes.length, plan, singlePutMaxBytes: 0 }),
    );
    const stored = await commit(done, store);
    expect(toHex(await crypto.subtle.digest("SHA-256", stored))).toBe(done.hashes.sha256);
  });
});

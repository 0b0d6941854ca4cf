import { env } from "cloudflare:workers";
import fc from "fast-check";
import { beforeEach, describe, expect, inject, it } from "vitest";
import { Digests } from "../../../../src/blob/digest.ts";
import { MemoryBlobStore } from "../../../../src/blob/memory.ts";
import { R2BlobStore } from "../../../../src/blob/r2.ts";
import { S3BlobStore } from "../../../../src/blob/s3.ts";
import { blobSource, type RangedSource } from "../../../../src/blob/source.ts";
import type { BlobStore, ByteRange, PartReceipt, SizedStream } from "../../../../src/blob/store.ts";
import {
  hashSource,
  type TransferOptions,
  transfer,
} from "../../../../src/blob/write/from-ranges.ts";
import { MemoryPool } from "../../../../src/blob/write/memory-pool.ts";
import { Fault } from "../../../../src/domain/fault.ts";
import { toHex } from "../../../../src/lib/hex.ts";
import { MemorySpool } from "../memory-spool.ts";
import { chunked, Feed, native, patterned } from "../sources.ts";

const MiB = 1024 ** 2;
const KEY = "blobs/image/attempt";
const PART = 4;
const STREAMED_PART = 17 * MiB;

type Body = ReadableStream<Uint8Array>;
type Open = (bytes: Uint8Array, range: ByteRange, signal: AbortSignal) => Body | Promise<Body>;

/** A source that notes what is asked of it and answers as the test says. */
class FakeSource implements RangedSource {
  readonly size: number;
  /** Where the ranges asked for begin, in the order in which they were. */
  reads: number[] = [];
  open: Open;

  constructor(
    readonly bytes: Uint8Array,
    open: Open = native,
  ) {
    this.size = bytes.length;
    this.open = open;
  }

  async read(range: ByteRange, signal: AbortSignal): Promise<Body> {
    this.reads.push(range.offset);
    const bytes = this.bytes.slice(range.offset, range.offset + range.length);
    expect(bytes).toHaveLength(range.length);
    return this.open(bytes, range, signal);
  }

  async until(count: number): Promise<void> {
    while (this.reads.length < count) await scheduler.wait(1);
  }
}

/** A store whose calls for a part wait for the test, where it says so, and are counted. */
class GatedStore extends MemoryBlobStore {
  readonly begun: number[] = [];
  underWay = 0;
  before: (partNumber: number) => Promise<void> | void = () => {};

  constructor() {
    super({ minPartBytes: 0 });
  }

  override async putPart(...args: Parameters<BlobStore["putPart"]>): Promise<PartReceipt> {
    this.begun.push(args[2]);
    this.underWay++;
    try {
      await this.before(args[2]);
      return await super.putPart(...args);
    } finally {
      this.underWay--;
    }
  }
}

/** An import's memory of what it has, across as many calls as it takes. */
class Work {
  readonly reported: number[] = [];
  readonly stored = new Map<number, PartReceipt>();
  readonly digest = new Digests(["sha256"]);
  readonly pool = new MemoryPool();
  readonly spool = new MemorySpool();
  private uploadId: Promise<string> | undefined;

  constructor(
    private readonly store: BlobStore,
    private readonly more: Partial<TransferOptions> = {},
  ) {}

  async run(source: RangedSource, more: Partial<TransferOptions> = {}): Promise<void> {
    this.uploadId ??= this.store.beginMultipart(KEY);
    const onStored = async (receipt: PartReceipt) => {
      this.reported.push(receipt.partNumber);
      this.stored.set(receipt.partNumber, receipt);
    };
    return transfer(source, {
      store: this.store,
      key: KEY,
      uploadId: await this.uploadId,
      partBytes: PART,
      storedParts: this.storedParts,
      spool: this.spool,
      digest: this.digest,
      onStored,
      signal: new AbortController().signal,
      pool: this.pool,
      ...this.more,
      ...more,
    });
  }

  get storedParts(): number {
    let parts = 0;
    while (this.stored.has(parts + 1)) parts++;
    return parts;
  }

  /** Completes the upload; whether the object and the hash are those of these bytes. */
  async expectWhole(bytes: Uint8Array): Promise<void> {
    const receipts = [...this.stored.values()].sort((a, b) => a.partNumber - b.partNumber);
    await this.store.completeMultipart(KEY, (await this.uploadId) ?? "", receipts);
    const object = await new Response((await this.store.read(KEY))?.body).bytes();
    expect(object.length).toBe(bytes.length);
    const sha256 = toHex(await crypto.subtle.digest("SHA-256", bytes));
    expect(toHex(await crypto.subtle.digest("SHA-256", object))).toBe(sha256);
    expect(await this.digest.finish()).toEqual({ sha256 });
  }
}

let store: GatedStore;
let work: Work;

beforeEach(() => {
  store = new GatedStore();
  work = new Work(store);
});

/** A promise for each number, which the test settles. */
class Gates {
  private readonly gates = new Map<number, PromiseWithResolvers<void>>();

  at(number: number): PromiseWithResolvers<void> {
    const gate = this.gates.get(number) ?? Promise.withResolvers<void>();
    this.gates.set(number, gate);
    return gate;
  }
}

/** Gives some bytes and then fails. */
function breakingOff(bytes: Uint8Array): Body {
  const feed = new Feed();
  if (bytes.length > 0) feed.send(bytes);
  setTimeout(() => feed.breakOff(new Error("Network connection lost.")), 1);
  return feed.stream;
}

/** Gives some bytes and then nothing, for ever. */
function stalling(bytes: Uint8Array): Feed {
  const feed = new Feed();
  if (bytes.length > 0) feed.send(bytes);
  return feed;
}

const kinds: [string, Open][] = [
  ["the runtime's own streams", native],
  ["streams of chunks", (bytes) => chunked([bytes.slice(0, 1), bytes.slice(1)])],
];

describe.each(kinds)("a transfer of %s", (_, open) => {
  it.each([1, 3, 4, 5, 8, 39, 40, 41])("stores and hashes %i bytes in parts", async (size) => {
    const source = new FakeSource(patterned(size), open);
    await work.run(source);
    expect(source.reads).toEqual([0]);
    await work.expectWhole(source.bytes);
    expect([work.pool.heldBytes, work.pool.heldViewBytes]).toEqual([0, 0]);
  });

  it("stores parts without hashing them where no hash is wanted", async () => {
    const source = new FakeSource(patterned(10), open);
    await work.run(source, { digest: undefined });
    expect(work.digest.position).toBe(0);
    expect([...work.stored.keys()].sort()).toEqual([1, 2, 3]);
  });

  it("tells of every byte that it has read", async () => {
    let seen = 0;
    await work.run(new FakeSource(patterned(41), open), { onBytes: (bytes) => (seen += bytes) });
    expect(seen).toBe(41);
  });
});

it("does nothing for a source of no bytes", async () => {
  const source = new FakeSource(new Uint8Array(0));
  await work.run(source);
  expect([source.reads, store.begun]).toEqual([[], []]);
});

describe("parts under way", () => {
  it("are three at most, and reported in order though the store ends with them out of order", async () => {
    const gates = new Gates();
    store.before = (partNumber) => gates.at(partNumber).promise;
    const source = new FakeSource(patterned(24));
    const working = work.run(source);
    while (store.begun.length < 3) await scheduler.wait(1);
    await scheduler.wait(5);
    expect(store.begun).toEqual([1, 2, 3]);
    for (const number of [3, 2]) gates.at(number).resolve();
    await scheduler.wait(5);
    expect(work.reported).toEqual([]);
    for (const number of [1, 4, 5, 6]) gates.at(number).resolve();
    await working;
    expect(work.reported).toEqual([1, 2, 3, 4, 5, 6]);
    await work.expectWhole(source.bytes);
  });

  it("count until the caller has made its note of the part", async () => {
    const noted = Promise.withResolvers<void>();
    const source = new FakeSource(patterned(4));
    let isDone = false;
    const working = work.run(source, { onStored: () => noted.promise }).then(() => {
      isDone = true;
    });
    await scheduler.wait(5);
    expect([store.underWay, isDone]).toEqual([0, false]);
    noted.resolve();
    await working;
  });

  it("go by the spool where there is no memory", async () => {
    const pool = new MemoryPool(0, 0);
    const own = new Work(store, { pool, partBytes: 100_000 });
    const source = new FakeSource(patterned(350_000));
    await own.run(source);
    expect(own.spool.appended).toBeGreaterThan(2);
    expect(own.spool.keptBytes).toBe(0);
    await own.expectWhole(source.bytes);
  });

  it("of 16 MiB are two at most", async () => {
    const chunk = patterned(MiB);
    const source: RangedSource = {
      size: 64 * MiB,
      read: async ({ length }) => chunked(Array(length / MiB).fill(chunk)),
    };
    let peak = 0;
    const sink = new GatedStore();
    sink.putPart = async (_key, _uploadId, partNumber) => {
      peak = Math.max(peak, ++sink.underWay);
      await scheduler.wait(5);
      sink.underWay--;
      return { partNumber, etag: "etag" };
    };
    const pool = new MemoryPool();
    let peakBytes = 0;
    const onBytes = () => {
      peakBytes = Math.max(peakBytes, pool.heldBytes);
    };
    const wide = new Work(sink, { pool, partBytes: 16 * MiB, digest: undefined, onBytes });
    await wide.run(source);
    expect(wide.reported).toEqual([1, 2, 3, 4]);
    expect(peak).toBeLessThanOrEqual(2);
    expect(peakBytes).toBeLessThanOrEqual(32 * MiB);
  });
});

describe("work taken up again", () => {
  it("reads on from the first part that is missing", async () => {
    const source = new FakeSource(patterned(30));
    await work.run(source);
    for (const number of [5, 8]) work.stored.delete(number);
    source.reads = [];
    await work.run(source);
    expect(source.reads).toEqual([16]);
    await work.expectWhole(source.bytes);
  });

  it("reads nothing when nothing is missing", async () => {
    const source = new FakeSource(patterned(30));
    await work.run(source);
    source.reads = [];
    await work.run(source);
    expect(source.reads).toEqual([]);
  });

  it("hashes on from the parts that are there", async () => {
    const source = new FakeSource(patterned(30));
    const signal = new AbortController().signal;
    await work.run({ size: 12, read: (range) => source.read(range, signal) });
    expect(work.digest.position).toBe(12);
    await work.run(source);
    expect(source.reads).toEqual([0, 12]);
    await work.expectWhole(source.bytes);
  });
});

describe("a failure", () => {
  it("of a read leaves what was reported, and the rest is done by a second call", async () => {
    const source = new FakeSource(patterned(40), (bytes) => breakingOff(bytes.slice(0, 23)));
    await expect(work.run(source)).rejects.toMatchObject({ code: "source_unreachable" });
    expect(work.reported).toEqual([1, 2, 3, 4, 5]);
    source.open = native;
    source.reads = [];
    await work.run(source);
    expect(source.reads).toEqual([20]);
    expect(work.reported).toEqual([1, 2, 3, 4, 5, 6, 7, 8, 9, 10]);
    await work.expectWhole(source.bytes);
  });

  it("of a store's call is store_unavailable, and only parts before it count", async () => {
    const gate = Promise.withResolvers<void>();
    store.before = (partNumber) => (partNumber === 2 ? gate.promise : undefined);
    const source = new FakeSource(patterned(12));
    const working = work.run(source);
    while (store.begun.length < 3) await scheduler.wait(1);
    const cause = new Error("disk on fire");
    gate.reject(cause);
    await expect(working).rejects.toMatchObject({ code: "store_unavailable", cause });
    expect(work.reported).toEqual([1]);
    expect(work.digest.position).toBe(12);

    store.before = () => {};
    source.reads = [];
    await work.run(source);
    expect(source.reads).toEqual([4]);
    await work.expectWhole(source.bytes);
  });

  it("of a store that says itself what is wrong is handed on", async () => {
    const fault = new Fault("store_unavailable");
    store.before = () => Promise.reject(fault);
    await expect(work.run(new FakeSource(patterned(12)))).rejects.toBe(fault);
  });

  it("of a source that says itself what is wrong is handed on", async () => {
    const fault = new Fault("source_rejected", { reason: "it answered with 404" });
    const source = new FakeSource(patterned(12), () => Promise.reject(fault));
    await expect(work.run(source)).rejects.toBe(fault);
  });

  it("of a source's own store is not one of the store written to", async () => {
    const fault = new Fault("store_unavailable");
    const source = new FakeSource(patterned(12), () => Promise.reject(fault));
    await expect(work.run(source)).rejects.toMatchObject({
      code: "source_unreachable",
      cause: fault,
    });
  });

  it.each([0, 3])("is a range that ends after %i of 12 bytes", async (length) => {
    const source = new FakeSource(patterned(12), (bytes) => native(bytes.slice(0, length)));
    await expect(work.run(source)).rejects.toMatchObject({ code: "source_unreachable" });
    expect(work.reported).toEqual([]);
  });

  it("of the caller's note stops the work with its reason", async () => {
    const gone = new Fault("image_gone", { imageId: "x" });
    const onStored = () => Promise.reject(gone);
    const source = new FakeSource(patterned(100));
    await expect(work.run(source, { onStored })).rejects.toBe(gone);
    expect(store.begun.length).toBeLessThan(10);
  });

  it("is the one thrown that came first, once the store has done with all parts", async () => {
    const gates = new Gates();
    store.before = (partNumber) => gates.at(partNumber).promise;
    const feed = new Feed();
    const source = new FakeSource(patterned(12), (bytes) => {
      feed.send(bytes.slice(0, 9));
      return feed.stream;
    });
    let isSettled = false;
    const working = work.run(source).finally(() => {
      isSettled = true;
    });
    working.catch(() => {});
    while (store.underWay < 2) await scheduler.wait(1);
    feed.breakOff(new Error("first"));
    await scheduler.wait(5);
    expect(isSettled).toBe(false);
    gates.at(1).resolve();
    await scheduler.wait(5);
    expect(isSettled).toBe(false);
    gates.at(2).reject(new Error("second"));
    await expect(working).rejects.toMatchObject({ code: "source_unreachable" });
    // The first part was stored and hashed all the same.
    expect(work.reported).toEqual([1]);
  });

  it("of a store ends a read that stalls", async () => {
    const feed = new Feed();
    store.before = () => Promise.reject(new Error("disk on fire"));
    const source = new FakeSource(patterned(12), (bytes) => {
      feed.send(bytes.slice(0, 6));
      return feed.stream;
    });
    await expect(work.run(source)).rejects.toMatchObject({ code: "store_unavailable" });
    expect(feed.cancelled).toMatchObject({ code: "store_unavailable" });
  });
});

describe("being stopped", () => {
  const reason = new Error("enough");

  /** Stops the work at its nth step, whatever that is; whether it got so far. */
  async function stopAt(step: number, partBytes: number): Promise<boolean> {
    const stop = new AbortController();
    let steps = 0;
    const tick = () => {
      if (++steps === step) stop.abort(reason);
    };
    const open: Feed[] = [];
    const source = new FakeSource(patterned(30), async (bytes) => {
      tick();
      await scheduler.wait(0);
      tick();
      const feed = new Feed();
      open.push(feed);
      for (const byte of bytes) feed.send(Uint8Array.of(byte));
      feed.end();
      return feed.stream;
    });
    const own = new GatedStore();
    own.before = async () => {
      tick();
      await scheduler.wait(0);
      tick();
    };
    const task = new Work(own, { partBytes, signal: stop.signal, onBytes: tick });
    const working = task.run(source, {
      onStored: async (receipt) => {
        tick();
        await scheduler.wait(0);
        task.stored.set(receipt.partNumber, receipt);
        tick();
      },
    });
    const outcome = await working.then(
      () => undefined,
      (thrown: unknown) => thrown,
    );
    expect([own.underWay, task.pool.heldBytes, task.pool.heldViewBytes]).toEqual([0, 0, 0]);
    if (!stop.signal.aborted) {
      expect(outcome).toBeUndefined();
      return false;
    }
    expect(outcome).toBe(reason);
    const seen = [source.reads.length, own.begun.length, task.stored.size];
    await scheduler.wait(1);
    expect([source.reads.length, own.begun.length, task.stored.size]).toEqual(seen);

    own.before = () => {};
    source.open = native;
    await task.run(source, { signal: new AbortController().signal });
    await task.expectWhole(source.bytes);
    return true;
  }

  it.each([
    ["in memory", 4],
    ["streamed", STREAMED_PART],
  ])("is obeyed at every step of parts %s, and can be made good", async (_, partBytes) => {
    let steps = 0;
    while (await stopAt(steps + 1, partBytes)) steps++;
    expect(steps).toBeGreaterThan(30);
  });

  it("before the work begins makes it do nothing", async () => {
    const source = new FakeSource(patterned(30));
    await expect(work.run(source, { signal: AbortSignal.abort(reason) })).rejects.toBe(reason);
    expect(source.reads).toEqual([]);
  });

  it.each<[string, Open]>([
    [
      "a source that obeys too",
      (_bytes, _range, signal) =>
        new Promise((_, reject) =>
          signal.addEventListener("abort", () => reject(new Error("aborted"))),
        ),
    ],
    [
      "a source that answers all the same, and never gives a byte",
      (_bytes, _range, signal) =>
        new Promise((resolve) =>
          signal.addEventListener("abort", () => resolve(stalling(patterned(0)).stream)),
        ),
    ],
    ["a range that stalls", (bytes) => stalling(bytes.slice(0, 2)).stream],
  ])("ends the wait for %s", async (_, open) => {
    for (const partBytes of [PART, STREAMED_PART]) {
      const stop = new AbortController();
      const source = new FakeSource(patterned(30), open);
      const own = new Work(store, { partBytes, signal: stop.signal });
      const working = own.run(source);
      await source.until(1);
      await scheduler.wait(2);
      stop.abort(reason);
      await expect(working).rejects.toBe(reason);
      expect([store.underWay, own.pool.heldBytes]).toEqual([0, 0]);
    }
  });

  it("waits for the part that the store is at, which may be kept", async () => {
    const gate = Promise.withResolvers<void>();
    store.before = () => gate.promise;
    const stop = new AbortController();
    let isSettled = false;
    const working = work.run(new FakeSource(patterned(4)), { signal: stop.signal }).finally(() => {
      isSettled = true;
    });
    working.catch(() => {});
    while (store.underWay === 0) await scheduler.wait(1);
    stop.abort(reason);
    await scheduler.wait(5);
    expect(isSettled).toBe(false);
    gate.resolve();
    await expect(working).rejects.toBe(reason);
    expect(work.reported).toEqual([1]);
  });
});

describe("parts above 16 MiB", () => {
  const streaming = { partBytes: STREAMED_PART };

  /** Takes streams only, and keeps nothing of them. */
  class CountingStore extends MemoryBlobStore {
    readonly lengths: number[] = [];
    underWay = 0;
    peak = 0;

    override async putPart(
      ...[, , partNumber, part]: Parameters<BlobStore["putPart"]>
    ): Promise<PartReceipt> {
      if (part instanceof Uint8Array) throw new Error("held in memory");
      this.peak = Math.max(this.peak, ++this.underWay);
      this.lengths.push(await count(part));
      this.underWay--;
      return { partNumber, etag: `etag-${partNumber}` };
    }
  }

  async function count({ stream }: SizedStream): Promise<number> {
    let bytes = 0;
    for await (const chunk of stream) bytes += chunk.length;
    return bytes;
  }

  it("pass one after the other through a small buffer", async () => {
    const chunk = patterned(MiB);
    const size = 2 * STREAMED_PART + 100;
    const source: RangedSource = {
      size,
      read: async ({ length }) => {
        const whole: Uint8Array[] = Array(Math.floor(length / MiB)).fill(chunk);
        return chunked([...whole, chunk.slice(0, length % MiB)].filter((piece) => piece.length));
      },
    };
    const pool = new MemoryPool();
    let peakBytes = 0;
    let seen = 0;
    const onBytes = (bytes: number) => {
      seen += bytes;
      peakBytes = Math.max(peakBytes, pool.heldBytes + pool.heldViewBytes);
    };
    const sink = new CountingStore();
    const large = new Work(sink, { ...streaming, pool, onBytes });
    await large.run(source);
    expect(sink.lengths).toEqual([STREAMED_PART, STREAMED_PART, 100]);
    expect(large.reported).toEqual([1, 2, 3]);
    expect([sink.peak, seen]).toEqual([1, size]);
    expect(peakBytes).toBeLessThanOrEqual(256 * 1024);
    const hash = new Digests(["sha256"]);
    for (let at = 0; at < 34; at++) await hash.take(at * MiB, chunk);
    await hash.take(34 * MiB, chunk.subarray(0, 100));
    expect(await large.digest.finish()).toEqual(await hash.finish());
  });

  it("are not reported when the range breaks off, and are made good", async () => {
    const source = new FakeSource(patterned(1000), (bytes) => breakingOff(bytes.slice(0, 400)));
    await expect(work.run(source, streaming)).rejects.toMatchObject({ code: "source_unreachable" });
    expect([work.reported, work.digest.position]).toEqual([[], 400]);
    source.open = native;
    await work.run(source, streaming);
    await work.expectWhole(source.bytes);
  });

  it("that end too early are source_unreachable", async () => {
    const source = new FakeSource(patterned(1000), (bytes) => native(bytes.slice(0, 999)));
    await expect(work.run(source, streaming)).rejects.toMatchObject({ code: "source_unreachable" });
    expect(work.reported).toEqual([]);
  });

  it.each([
    ["at once", () => Promise.reject(new Error("disk on fire"))],
    ["late", () => scheduler.wait(5).then(() => Promise.reject(new Error("disk on fire")))],
  ])("end with the store's failure %s, though nobody reads them", async (_, before) => {
    store.before = before;
    const source = new FakeSource(patterned(1000), (bytes) => stalling(bytes.slice(0, 10)).stream);
    await expect(work.run(source, streaming)).rejects.toMatchObject({ code: "store_unavailable" });
    source.open = native;
    store.before = () => {};
    await work.run(source, streaming);
    await work.expectWhole(source.bytes);
  });

  it("end with the store's failure after their last byte", async () => {
    store.putPart = async (_key, _uploadId, _partNumber, part) => {
      if (!(part instanceof Uint8Array)) await count(part);
      throw new Error("disk on fire");
    };
    const source = new FakeSource(patterned(1000));
    await expect(work.run(source, streaming)).rejects.toMatchObject({ code: "store_unavailable" });
    expect([work.reported, work.digest.position]).toEqual([[], 1000]);
  });
});

describe("a stored blob as a source", () => {
  const bytes = patterned(10);
  const signal = new AbortController().signal;
  const textOf = async (body: Body) => new Response(body).bytes();

  it("gives any range, and the whole", async () => {
    await store.put("from", bytes);
    const source = blobSource(store, "from", 10);
    expect(source.size).toBe(10);
    expect(await textOf(await source.read({ offset: 3, length: 4 }, signal))).toEqual(
      bytes.slice(3, 7),
    );
    expect(await textOf(await source.read({ offset: 0, length: 10 }, signal))).toEqual(bytes);
  });

  it("asks for the whole blob without a range", async () => {
    await store.put("from", bytes);
    const ranges: (ByteRange | undefined)[] = [];
    const read = store.read.bind(store);
    store.read = (key, range) => {
      ranges.push(range);
      return read(key, range);
    };
    await hashSource(blobSource(store, "from", 10), new Digests(["md5"]), { signal });
    expect(ranges).toEqual([undefined]);
  });

  it("is unreachable when the blob is gone", async () => {
    const reading = blobSource(store, "from", 10).read({ offset: 0, length: 4 }, signal);
    await expect(reading).rejects.toMatchObject({
      code: "source_unreachable",
      detail: { reason: "its stored copy is gone" },
    });
  });

  it.each([9, 11])("is unreachable when the blob has other than %i bytes", async (size) => {
    await store.put("from", bytes);
    const working = work.run(blobSource(store, "from", size));
    await expect(working).rejects.toMatchObject({
      code: "source_unreachable",
      detail: { reason: "its stored copy is damaged" },
    });
  });

  it("is unreachable when its store fails", async () => {
    const cause = new Fault("store_unavailable");
    const from = new MemoryBlobStore();
    from.read = () => Promise.reject(cause);
    await expect(work.run(blobSource(from, "from", 10))).rejects.toMatchObject({
      code: "source_unreachable",
      cause,
    });
  });

  it("is unreachable when its store fails half-way", async () => {
    const from = new MemoryBlobStore();
    from.read = async () => ({ size: 10, body: breakingOff(bytes.slice(0, 2)) });
    await expect(work.run(blobSource(from, "from", 10))).rejects.toMatchObject({
      code: "source_unreachable",
    });
  });
});

describe("hashing a source", () => {
  const signal = new AbortController().signal;
  const bytes = patterned(600_000);

  it.each(kinds)("gives the hash of all its bytes: %s", async (_, open) => {
    const source = new FakeSource(bytes, open);
    const digest = new Digests(["sha256"]);
    let seen = 0;
    await hashSource(source, digest, { signal, onBytes: (count) => (seen += count) });
    expect(seen).toBe(600_000);
    const sha256 = toHex(await crypto.subtle.digest("SHA-256", bytes));
    expect(await digest.finish()).toEqual({ sha256 });
  });

  it("goes on from where it broke off", async () => {
    const source = new FakeSource(bytes, (part) => breakingOff(part.slice(0, 400_000)));
    const digest = new Digests(["sha256"]);
    await expect(hashSource(source, digest, { signal })).rejects.toMatchObject({
      code: "source_unreachable",
    });
    source.open = native;
    await hashSource(source, digest, { signal });
    await hashSource(source, digest, { signal });
    expect(source.reads).toEqual([0, 400_000]);
    const sha256 = toHex(await crypto.subtle.digest("SHA-256", bytes));
    expect(await digest.finish()).toEqual({ sha256 });
  });

  it("finds a source that has too few bytes", async () => {
    const source = new FakeSource(bytes, (part) => native(part.slice(1)));
    const hashing = hashSource(source, new Digests(["md5"]), { signal });
    await expect(hashing).rejects.toMatchObject({ code: "source_unreachable" });
  });

  it.each<[string, Open]>([
    [
      "the source obeys",
      (_bytes, _range, stopped) =>
        new Promise((_, reject) =>
          stopped.addEventListener("abort", () => reject(new Error("aborted"))),
        ),
    ],
    [
      "the source answers",
      (_bytes, _range, stopped) =>
        new Promise((resolve) =>
          stopped.addEventListener("abort", () => resolve(stalling(patterned(0)).stream)),
        ),
    ],
    ["bytes are waited for", (part) => stalling(part.slice(0, 2)).stream],
    [
      "the stream fails too",
      (_bytes, _range, stopped) => {
        const feed = new Feed();
        stopped.addEventListener("abort", () => feed.breakOff(new Error("aborted")));
        return feed.stream;
      },
    ],
  ])("is stopped by the signal, with its reason, as %s", async (_, open) => {
    const stop = new AbortController();
    const reason = new Error("enough");
    const source = new FakeSource(bytes, open);
    const hashing = hashSource(source, new Digests(["md5"]), { signal: stop.signal });
    await source.until(1);
    await scheduler.wait(2);
    stop.abort(reason);
    await expect(hashing).rejects.toBe(reason);
  });
});

it("comes to its end whatever fails on the way, and reads nothing again that was reported", async () => {
  const failure = fc.constantFrom("read", "short", "break", "put", "stop", "note", undefined);
  await fc.assert(
    fc.asyncProperty(
      fc.integer({ min: 1, max: 80 }),
      fc.integer({ min: 1, max: 40 }),
      fc.array(fc.tuple(failure, fc.integer({ min: 0, max: 2 })), { maxLength: 25 }),
      async (size, partBytes, script) => {
        const plan = [...script];
        /** Whether the next thing to go wrong is this one; takes its time. */
        const fails = async (...kinds: (string | undefined)[]) => {
          const [kind, ms] = plan[0] ?? [];
          if (ms !== undefined && ms > 0) await scheduler.wait(ms - 1);
          if (plan.length === 0 || !(kind === undefined || kinds.includes(kind))) return undefined;
          plan.shift();
          return kind;
        };
        let stop = new AbortController();
        const own = new GatedStore();
        own.before = async () => {
          if ((await fails("put")) === "put") throw new Error("put");
        };
        const task = new Work(own, { partBytes });
        const source = new FakeSource(patterned(size), async (bytes, { offset }) => {
          expect(offset).toBe(task.storedParts * partBytes);
          const kind = await fails("read", "short", "break", "stop");
          if (kind === "read") throw new Error("read");
          if (kind === "stop") stop.abort(new Error("stop"));
          if (kind === "break") return breakingOff(bytes.slice(0, bytes.length >> 1));
          return native(kind === "short" ? bytes.slice(0, -1) : bytes);
        });
        const onStored = async (receipt: PartReceipt) => {
          if ((await fails("note")) === "note") throw new Error("note");
          const end = Math.min(size, receipt.partNumber * partBytes);
          expect(task.digest.position).toBeGreaterThanOrEqual(end);
          task.stored.set(receipt.partNumber, receipt);
        };
        for (let isDone = false; !isDone; ) {
          stop = new AbortController();
          const run = task.run(source, { onStored, signal: stop.signal });
          isDone = await run.then(
            () => true,
            (reason: unknown) => {
              const known = reason instanceof Fault || /^(note|stop)$/.test(`${reason}`.slice(7));
              if (!known) throw reason;
              return false;
            },
          );
          expect([own.underWay, task.pool.heldBytes, task.pool.heldViewBytes]).toEqual([0, 0, 0]);
        }
        await task.expectWhole(source.bytes);
      },
    ),
    { numRuns: 80 },
  );
});

describe("on R2", () => {
  const generated = (bytes: Uint8Array) =>
    chunked(
      Array.from({ length: Math.ceil(bytes.length / 65_536) }, (_, i) =>
        bytes.slice(i * 65_536, (i + 1) * 65_536),
      ),
    );

  it("stores parts that are held, those of a second call included", async () => {
    const r2 = new R2BlobStore(env.BLOBS);
    const own = new Work(r2, { partBytes: 5 * MiB });
    const source = new FakeSource(patterned(16 * MiB), (bytes, { offset }) =>
      offset === 0 ? breakingOff(bytes.slice(0, 6 * MiB)) : generated(bytes),
    );
    await expect(own.run(source)).rejects.toMatchObject({ code: "source_unreachable" });
    source.open = native;
    await own.run(source);
    await own.expectWhole(source.bytes);
  });

  it("copies a blob in parts that are streamed", async () => {
    const r2 = new R2BlobStore(env.BLOBS);
    const bytes = patterned(STREAMED_PART + MiB);
    await r2.put("blobs/from", bytes);
    const own = new Work(r2, { partBytes: STREAMED_PART });
    await own.run(blobSource(r2, "blobs/from", bytes.length));
    expect(own.reported).toEqual([1, 2]);
    await own.expectWhole(bytes);
  });
});

describe("a transfer between R2 and an S3 service", () => {
  it("10 §13, 11 §1 s3: goes either way, in parts", async () => {
    const r2 = new R2BlobStore(env.BLOBS);
    const s3 = new S3BlobStore(inject("s3"));
    const bytes = patterned(11 * MiB);
    const key = `blobs/${crypto.randomUUID()}`;
    await r2.put(key, bytes);
    const there = new Work(s3, { partBytes: 5 * MiB });
    await there.run(blobSource(r2, key, bytes.length));
    await there.expectWhole(bytes);
    const back = new Work(r2, { partBytes: 5 * MiB });
    await back.run(blobSource(s3, KEY, bytes.length));
    await back.expectWhole(bytes);
  });
});

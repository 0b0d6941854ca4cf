import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { LimitedStore } from "../../../../src/blob/limited-store.ts";
import { MemoryBlobStore } from "../../../../src/blob/memory.ts";
import type { BlobStore } from "../../../../src/blob/store.ts";
import { MemoryPool } from "../../../../src/blob/write/memory-pool.ts";
import { PartWriter } from "../../../../src/blob/write/part-writer.ts";
import { Fault } from "../../../../src/domain/fault.ts";
import { MemorySpool } from "../memory-spool.ts";
import { patterned } from "../sources.ts";

const MiB = 1024 ** 2;
const KEY = "blobs/image/attempt";

let store: MemoryBlobStore;
let spool: MemorySpool;
let stop: AbortController;

beforeEach(() => {
  store = new MemoryBlobStore();
  spool = new MemorySpool();
  stop = new AbortController();
});

afterEach(() => {
  vi.useRealTimers();
});

function open(pool: MemoryPool, now?: () => number): PartWriter {
  return new PartWriter({
    ...{ store, key: KEY, partBytes: 8 * MiB, spool, pool, share: pool.open(), stop },
    openMultipart: () => store.beginMultipart(KEY),
    ...(now && { now }),
  });
}

async function storedBytes(): Promise<Uint8Array> {
  return new Response((await store.read(KEY))?.body).bytes();
}

describe("a stream that is slow", () => {
  /** A writer that holds 4 MiB of a part, and nothing more comes. */
  async function silent(pool: MemoryPool): Promise<PartWriter> {
    vi.useFakeTimers();
    const writer = open(pool, () => Date.now());
    await writer.put(patterned(4 * MiB - 1));
    return writer;
  }

  it("gives its memory to others where it is scarce, keeps its bytes, and goes on from the spool", async () => {
    const pool = new MemoryPool(10 * MiB, 0);
    const hog = pool.open();
    const writer = await silent(pool);
    hog.resize(new ArrayBuffer(0), 3 * MiB);
    expect([pool.isScarce, pool.heldBytes]).toEqual([true, 7 * MiB]);
    await vi.advanceTimersByTimeAsync(3_000);
    expect(spool.keptBytes).toBe(4 * MiB - 1);
    expect(pool.heldBytes).toBeLessThan(4 * MiB);
    hog.close();
    vi.useRealTimers();
    const bytes = patterned(4 * MiB + 1);
    await writer.put(bytes);
    await writer.seal({ mayPut: true });
    await writer.close();
    expect(await storedBytes()).toEqual(new Uint8Array([...patterned(4 * MiB - 1), ...bytes]));
    expect([spool.keptBytes, pool.heldBytes]).toEqual([0, 0]);
  });

  it("keeps its memory while there is enough for all", async () => {
    const pool = new MemoryPool();
    const writer = await silent(pool);
    await vi.advanceTimersByTimeAsync(60_000);
    expect(spool.keptBytes).toBe(0);
    expect(pool.heldBytes).toBe(4 * MiB);
    await writer.close();
  });

  it("ends when the spool fails as it gives its memory away", async () => {
    const pool = new MemoryPool(6 * MiB, 0);
    spool.append = () => Promise.reject(new Error("no room"));
    const writer = await silent(pool);
    await vi.advanceTimersByTimeAsync(3_000);
    expect(stop.signal.reason).toMatchObject({ message: "no room" });
    await writer.close();
    expect(pool.heldBytes).toBe(0);
  });
});

describe("a put that the store takes too long for", () => {
  it("has its bytes still when the store comes to them late", async () => {
    const late = Promise.withResolvers<void>();
    let taken: Promise<Uint8Array> | undefined;
    store.put = async (_, body) => {
      taken = late.promise.then(() =>
        body instanceof Uint8Array ? body.slice() : new Uint8Array(),
      );
      await taken;
      return {};
    };
    const pool = new MemoryPool();
    const writer = new PartWriter({
      ...{ store: new LimitedStore(store, () => 1), key: KEY, partBytes: 8 * MiB, spool, pool },
      ...{ share: pool.open(), stop, openMultipart: () => store.beginMultipart(KEY) },
    });
    await writer.put(patterned(MiB));
    await expect(writer.seal({ mayPut: true })).rejects.toMatchObject({
      code: "store_unavailable",
    });
    await writer.close();
    expect(pool.heldBytes).toBe(0);
    late.resolve();
    expect(await taken).toEqual(patterned(MiB));
  });
});

describe("a part from the spool", () => {
  it("is sent once more when the store fails for a moment", async () => {
    const pool = new MemoryPool(0, 0);
    const writer = open(pool);
    const put = store.put.bind(store);
    let calls = 0;
    store.put = async (...args: Parameters<BlobStore["put"]>) => {
      calls++;
      if (calls === 1) throw new Fault("store_unavailable");
      return put(...args);
    };
    const bytes = patterned(MiB);
    await writer.put(bytes);
    await writer.seal({ mayPut: true });
    await writer.close();
    expect(calls).toBe(2);
    expect(await storedBytes()).toEqual(bytes);
  });

  it("is kept when the store fails for good", async () => {
    const pool = new MemoryPool(0, 0);
    const writer = open(pool);
    store.put = () => Promise.reject(new Fault("store_unavailable"));
    await writer.put(patterned(MiB));
    await expect(writer.seal({ mayPut: true })).rejects.toMatchObject({
      code: "store_unavailable",
    });
    await writer.close();
    expect(writer.progress.parts).toBe(0);
    expect(writer.progress.tailBytes).toBe(spool.keptBytes);
    expect(pool.heldBytes).toBe(0);
  });
});

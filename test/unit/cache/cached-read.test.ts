import fc from "fast-check";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import type { ByteRange } from "../../../src/blob/store.ts";
import { type CachedBlob, CachedRead, type ReadEnd } from "../../../src/cache/cached-read.ts";
import { FillMemory } from "../../../src/cache/fill-memory.ts";
import { SEGMENT_BYTES, Segments } from "../../../src/cache/segments.ts";
import { toHex } from "../../../src/lib/hex.ts";
import { FakeCache, segmentResponse } from "../../support/fake-cache.ts";
import { bytesOf } from "../../support/upload-body.ts";

// Three segments, the last of them a short one.
const SIZE = 2 * SEGMENT_BYTES + 1000;
const data = bytesOf(SIZE);

/** A blob of its own key, and what its store was asked for. */
class TestBlob implements CachedBlob {
  readonly size: number;
  checksum: string | null = null;
  readonly asked: ByteRange[] = [];
  readonly key = `blobs/${crypto.randomUUID()}`;
  /** Bytes after which the store fails. */
  breaksAfter = Number.POSITIVE_INFINITY;

  constructor(
    readonly bytes: Uint8Array = data,
    readonly epoch = "e",
  ) {
    this.size = bytes.length;
  }

  get segments(): Segments {
    const { key, epoch, size } = this;
    return new Segments({ origin: "https://image.test", store: "default", key, epoch, size });
  }

  read = async ({ offset, length }: ByteRange) => {
    this.asked.push({ offset, length });
    if (this.breaksAfter === 0) throw new Error("the store does not answer");
    const whole = this.bytes.subarray(offset, offset + length);
    if (length <= this.breaksAfter) return new Blob([whole]).stream();
    const some = whole.subarray(0, this.breaksAfter);
    let isBroken = false;
    return new ReadableStream<Uint8Array>({
      pull(controller) {
        if (isBroken) controller.error(new Error("broken off"));
        else controller.enqueue(some.slice());
        isBroken = true;
      },
    });
  };
}

const WHOLE = { offset: 0, length: SIZE };

async function readAll(
  blob: CachedBlob,
  range: ByteRange = WHOLE,
  memory?: FillMemory,
): Promise<ReadEnd & { bytes: Uint8Array | undefined; startsInCache: boolean }> {
  const read = await CachedRead.open(blob, range, memory);
  const { startsInCache } = read;
  const pipe = new FixedLengthStream(range.length);
  const [end, bytes] = await Promise.all([
    read.run(pipe.writable),
    new Response(pipe.readable).bytes().catch(() => undefined),
  ]);
  return { ...end, bytes, startsInCache };
}

function expectBytes(bytes: Uint8Array | undefined, of: Uint8Array, range: ByteRange): void {
  const wanted = of.subarray(range.offset, range.offset + range.length);
  // A comparison of so many bytes by the test runner takes seconds.
  expect(bytes?.length).toBe(wanted.length);
  expect(bytes?.every((byte, at) => byte === wanted[at])).toBe(true);
}

afterEach(() => {
  vi.restoreAllMocks();
});

describe("a read through the platform's cache", () => {
  it("asks the store once while nothing is cached, and not at all when everything is", async () => {
    const blob = new TestBlob();
    const cold = await readAll(blob);
    expectBytes(cold.bytes, data, WHOLE);
    expect(cold).toMatchObject({ isHit: false, isComplete: true, cachedBytes: SIZE });
    expect(blob.asked).toEqual([WHOLE]);
    const warm = await readAll(blob);
    expectBytes(warm.bytes, data, WHOLE);
    expect(warm).toMatchObject({ isHit: true, isComplete: true, cachedBytes: 0 });
    expect(blob.asked).toHaveLength(1);
  });

  it("brings whole segments in for a part of them, with one operation of the store", async () => {
    const blob = new TestBlob();
    const range = { offset: SEGMENT_BYTES - 10, length: 20 };
    const { bytes, cachedBytes } = await readAll(blob, range);
    expectBytes(bytes, data, range);
    expect(cachedBytes).toBe(2 * SEGMENT_BYTES);
    expect(blob.asked).toEqual([{ offset: 0, length: 2 * SEGMENT_BYTES }]);
    const again = await readAll(blob, { offset: 3, length: 2 * SEGMENT_BYTES - 3 });
    expect(again.isHit).toBe(true);
  });

  it("gives what the store would give, whatever ranges are read one after the other", async () => {
    const anyRange = fc
      .tuple(fc.nat(SIZE - 1), fc.nat(SIZE - 1))
      .map(([a, b]) => ({ offset: Math.min(a, b), length: Math.abs(a - b) + 1 }));
    const nearEdges = fc
      .tuple(
        fc.constantFrom(0, 1, 2),
        fc.integer({ min: -2, max: 2 }),
        fc.integer({ min: 1, max: 5 }),
      )
      .map(([index, shift, length]) => {
        const offset = Math.min(SIZE - 1, Math.max(0, index * SEGMENT_BYTES + shift));
        return { offset, length: Math.min(length, SIZE - offset) };
      });
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.oneof(anyRange, nearEdges), { maxLength: 4 }),
        async (ranges) => {
          const blob = new TestBlob();
          for (const range of ranges) expectBytes((await readAll(blob, range)).bytes, data, range);
        },
      ),
      { numRuns: 25 },
    );
  });

  it("finds nothing of another blob, another store or another epoch", async () => {
    const blob = new TestBlob();
    await readAll(blob);
    const { key, epoch, size } = blob;
    const owner = { origin: "https://image.test", store: "default", key, epoch, size };
    const first = { index: 0, offset: 0, length: SEGMENT_BYTES };
    const others = [{ key: `${key}0` }, { store: "other" }, { epoch: "f" }];
    for (const other of others) {
      expect(await new Segments({ ...owner, ...other }).match(first)).toBeUndefined();
    }
    const found = await new Segments(owner).match(first);
    expect(found).toBeInstanceOf(ReadableStream);
    await (found as ReadableStream).cancel();
  });
});

describe("a read", () => {
  let cache: FakeCache;
  beforeEach(() => {
    cache = FakeCache.install();
  });

  const urlOf = (blob: TestBlob, index: number) =>
    `https://image.test/image-cache/default/${blob.key}/${blob.epoch}/${index}`;

  it("asks the store for what is missing in between only", async () => {
    const blob = new TestBlob();
    await readAll(blob);
    cache.held.delete(urlOf(blob, 1));
    blob.asked.length = 0;
    const { bytes, isHit, startsInCache } = await readAll(blob);
    expectBytes(bytes, data, WHOLE);
    expect([isHit, startsInCache]).toEqual([false, true]);
    expect(blob.asked.map(({ offset }) => offset)).toEqual([SEGMENT_BYTES]);
  });

  const no = () => Promise.reject(new Error("no"));
  it.each<[string, () => unknown]>([
    ["look-ups fail", () => Object.assign(cache, { onMatch: no })],
    ["puts fail", () => Object.assign(cache, { onPut: no })],
    ["the cache cannot be opened", () => vi.spyOn(caches, "open").mockImplementation(no)],
    [
      "look-ups are never answered",
      () => Object.assign(cache, { onMatch: () => new Promise(() => {}) }),
    ],
  ])("gives the bytes though %s", async (_, plant) => {
    const blob = new TestBlob();
    plant();
    const { bytes, failure, isComplete } = await readAll(blob);
    expectBytes(bytes, data, WHOLE);
    expect([failure, isComplete]).toEqual([undefined, false]);
    expect(blob.asked).toHaveLength(1);
  });

  it("asks for no more than the range when the cache does not answer", async () => {
    cache.onMatch = no;
    const blob = new TestBlob();
    const range = { offset: 100, length: 5 };
    expectBytes((await readAll(blob, range)).bytes, data, range);
    expect(blob.asked).toEqual([range]);
  });

  it.each<[string, (whole: Uint8Array) => Response]>([
    ["says that it is shorter", (whole) => segmentResponse(whole.subarray(0, 99), 99)],
    ["is cut short", (whole) => segmentResponse(whole.subarray(0, 99), SEGMENT_BYTES)],
    ["is empty", () => segmentResponse(new Uint8Array(0), SEGMENT_BYTES)],
    ["has another status", (whole) => new Response(whole, { status: 206 })],
    [
      "breaks off",
      (whole) => {
        const body = new ReadableStream<Uint8Array>({
          start: (controller) => controller.enqueue(whole.slice(0, 70_000)),
          pull: (controller) => controller.error(new Error("evicted")),
        });
        return new Response(body, { headers: { "content-length": String(SEGMENT_BYTES) } });
      },
    ],
  ])("goes on at the byte where it ended when a cached segment %s", async (_, damaged) => {
    const blob = new TestBlob();
    await readAll(blob);
    cache.onMatch = (url) =>
      url === urlOf(blob, 1)
        ? Promise.resolve(damaged(data.slice(SEGMENT_BYTES, 2 * SEGMENT_BYTES)))
        : undefined;
    for (const range of [WHOLE, { offset: SEGMENT_BYTES + 5000, length: SEGMENT_BYTES - 4500 }]) {
      const { bytes, isHit, failure } = await readAll(blob, range);
      expectBytes(bytes, data, range);
      expect([isHit, failure]).toEqual([false, undefined]);
    }
  });

  it("fails before its answer when the store does not answer", async () => {
    const blob = new TestBlob();
    blob.breaksAfter = 0;
    await expect(CachedRead.open(blob, WHOLE)).rejects.toThrow("does not answer");
  });

  it("is cut when the store breaks off, and keeps whole segments only", async () => {
    const blob = new TestBlob();
    blob.breaksAfter = SEGMENT_BYTES + 10;
    const { bytes, failure, isComplete } = await readAll(blob);
    expect(bytes).toBeUndefined();
    expect(String(failure)).toContain("broken off");
    expect(isComplete).toBe(false);
    expect([...cache.held.keys()]).toEqual([urlOf(blob, 0)]);
  });

  it("is cut when the store gives too few bytes", async () => {
    const blob = new TestBlob();
    const { bytes: few } = new TestBlob(data.subarray(0, SEGMENT_BYTES + 5));
    vi.spyOn(blob, "read").mockImplementation(async () => new Blob([few]).stream());
    const { bytes, failure } = await readAll(blob);
    expect(bytes).toBeUndefined();
    expect(String(failure)).toContain("fewer bytes");
    expect([...cache.held.keys()]).toEqual([urlOf(blob, 0)]);
  });

  it("puts nothing for which there is no memory, and gives the memory back", async () => {
    const none = await readAll(new TestBlob(), WHOLE, new FillMemory(0));
    expectBytes(none.bytes, data, WHOLE);
    expect(none).toMatchObject({ isComplete: false, cachedBytes: 0 });
    const memory = new FillMemory(3);
    cache.onPut = (url) => (url.endsWith("/1") ? Promise.reject(new Error("no")) : undefined);
    const failing = new TestBlob();
    failing.breaksAfter = SEGMENT_BYTES + 1;
    for (const blob of [new TestBlob(), failing, new TestBlob()])
      await readAll(blob, WHOLE, memory);
    expect([memory.take(), memory.take(), memory.take()]).not.toContain(undefined);
    expect(memory.take()).toBeUndefined();
  });

  it("holds no more segments in memory than it may, however slow the cache is", async () => {
    const blob = new TestBlob(bytesOf(5 * SEGMENT_BYTES));
    let most = 0;
    let under = 0;
    cache.onPut = async () => {
      most = Math.max(most, ++under);
      await scheduler.wait(20);
      under -= 1;
    };
    const range = { offset: 0, length: blob.size };
    const { bytes, isComplete } = await readAll(blob, range);
    expectBytes(bytes, blob.bytes, range);
    expect([most, isComplete]).toEqual([2, true]);
  });

  it("goes on without a cache that is too slow", async () => {
    const blob = new TestBlob(bytesOf(4 * SEGMENT_BYTES));
    let free = () => {};
    const stuck = new Promise<void>((resolve) => {
      free = resolve;
    });
    cache.onPut = () => stuck;
    const range = { offset: 0, length: blob.size };
    const read = await CachedRead.open(blob, range);
    const pipe = new FixedLengthStream(range.length);
    const running = read.run(pipe.writable);
    expectBytes(await new Response(pipe.readable).bytes(), blob.bytes, range);
    free();
    expect(await running).toMatchObject({ cachedBytes: 2 * SEGMENT_BYTES, isComplete: false });
  });

  it("ends quietly when its reader leaves", async () => {
    const blob = new TestBlob();
    const read = await CachedRead.open(blob, WHOLE);
    const pipe = new FixedLengthStream(SIZE);
    const running = read.run(pipe.writable);
    const reader = pipe.readable.getReader();
    await reader.read();
    await reader.cancel();
    expect(await running).toMatchObject({ failure: undefined, isComplete: false, isSound: true });
  });

  it("12 §4 checksum differs: says so when the whole was brought in", async () => {
    const digest = await crypto.subtle.digest("MD5", data);
    const right = new TestBlob();
    right.checksum = toHex(digest);
    expect((await readAll(right)).isSound).toBe(true);
    const wrong = new TestBlob();
    wrong.checksum = "0".repeat(32);
    expect((await readAll(wrong, { offset: 1, length: SIZE - 1 })).isSound).toBe(true);
    cache.held.clear();
    expect((await readAll(wrong)).isSound).toBe(false);
  });
});

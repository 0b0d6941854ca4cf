import fc from "fast-check";
import { afterEach, describe, expect, it, vi } from "vitest";
import {
  LEAST_BUFFER_BYTES,
  MemoryPool,
  PART_MEMORY_BYTES,
  READ_MEMORY_BYTES,
} from "../../../../src/blob/write/memory-pool.ts";

const KiB = 1024;
const MiB = 1024 ** 2;
const none = () => new ArrayBuffer(0);

afterEach(() => {
  vi.useRealTimers();
});

describe("memory for parts", () => {
  it("is given while there is some, to whoever asks, and never waited for", () => {
    const pool = new MemoryPool();
    const shares = Array.from({ length: 10 }, () => pool.open());
    const granted = shares.map((share) => share.resize(none(), 8 * MiB)?.byteLength);
    // Three quarters of the pool are for whole buffers.
    expect(granted.filter((bytes) => bytes === 8 * MiB)).toHaveLength(4);
    expect(granted.filter((bytes) => bytes === undefined)).toHaveLength(6);
    for (const share of shares) share.close();
    expect(pool.heldBytes).toBe(0);
  });

  it("is left for small buffers when large ones have taken what they may", () => {
    const pool = new MemoryPool();
    const hogs = Array.from({ length: 40 }, () => pool.open());
    for (const hog of hogs) hog.resize(none(), 8 * MiB);
    const late = hogs.filter(({ heldBytes }) => heldBytes === 0);
    const small = late.map((share) => share.resize(none(), 256 * KiB)?.byteLength);
    expect(small).toEqual(late.map(() => 256 * KiB));
    for (const hog of hogs) hog.close();
  });

  it("is there for the least buffer of every stream, whatever the others hold", () => {
    const pool = new MemoryPool(0, 0);
    const shares = Array.from({ length: 100 }, () => pool.open());
    for (const share of shares) {
      expect(share.resize(none(), LEAST_BUFFER_BYTES)?.byteLength).toBe(LEAST_BUFFER_BYTES);
      expect(share.resize(none(), LEAST_BUFFER_BYTES)).toBeUndefined();
      share.close();
    }
  });

  it("keeps the bytes of a buffer that grows, and frees the old one at once", () => {
    const pool = new MemoryPool();
    const share = pool.open();
    const small = share.resize(none(), 16) ?? none();
    new Uint8Array(small).set([1, 2, 3]);
    const large = share.resize(small, 32) ?? none();
    expect([...new Uint8Array(large).subarray(0, 4)]).toEqual([1, 2, 3, 0]);
    expect([small.byteLength, share.heldBytes]).toEqual([0, 32]);
    share.free(large);
    expect([large.byteLength, share.heldBytes]).toEqual([0, 0]);
    share.close();
  });

  it("goes no further than 32 MiB for one stream, whose second buffer comes from what is to spare", () => {
    const pool = new MemoryPool();
    const share = pool.open();
    const sizes = [8, 8, 8, 8, 8].map((size) => share.resize(none(), size * MiB)?.byteLength);
    expect(sizes).toEqual([8 * MiB, 8 * MiB, 8 * MiB, undefined, undefined]);
    expect(pool.isScarce).toBe(false);
    const other = pool.open();
    expect(other.resize(none(), 8 * MiB)?.byteLength).toBe(8 * MiB);
    expect(pool.isScarce).toBe(true);
    for (const one of [share, other]) one.close();
  });

  it("comes back from a request that was cut off: its timer stops, so it is presumed gone", () => {
    vi.useFakeTimers();
    const pool = new MemoryPool();
    const gone = pool.open();
    gone.resize(none(), 8 * MiB);
    // As the platform does: nothing of the request runs any more.
    vi.clearAllTimers();
    const alive = pool.open();
    alive.resize(none(), MiB);
    vi.advanceTimersByTime(29_000);
    expect(pool.heldBytes).toBe(9 * MiB);
    vi.advanceTimersByTime(2_000);
    expect(pool.heldBytes).toBe(MiB);
    alive.close();
  });

  it("is never exceeded by more than the least buffers, whatever is asked for", () => {
    const step = fc.record({ who: fc.nat({ max: 30 }), bytes: fc.nat({ max: 16 * MiB }) });
    fc.assert(
      fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
        const pool = new MemoryPool();
        const shares = Array.from({ length: 31 }, () => ({ share: pool.open(), buffer: none() }));
        for (const { who, bytes } of steps) {
          const one = shares[who];
          if (one !== undefined) one.buffer = one.share.resize(one.buffer, bytes) ?? one.buffer;
          expect(pool.heldBytes).toBe(
            shares.reduce((sum, { buffer }) => sum + buffer.byteLength, 0),
          );
          expect(pool.heldBytes).toBeLessThanOrEqual(PART_MEMORY_BYTES + 31 * LEAST_BUFFER_BYTES);
        }
        for (const { share } of shares) share.close();
      }),
      { numRuns: 30 },
    );
  });
});

describe("memory for reads", () => {
  it("is shared so that any number of streams that stall stay within it, but for 4 KiB each", () => {
    const pool = new MemoryPool();
    const views = Array.from({ length: 1000 }, () => pool.open().viewFor(256 * KiB));
    expect(views[0]).toBe(256 * KiB);
    expect(views.at(-1)).toBe(4 * KiB);
    expect(pool.heldViewBytes).toBeLessThanOrEqual(READ_MEMORY_BYTES + 1000 * 4 * KiB);
    expect(views.toSorted((a, b) => b - a)).toEqual(views);
  });

  it("is no more than is wanted", () => {
    const share = new MemoryPool().open();
    expect(share.viewFor(16 * KiB)).toBe(16 * KiB);
    expect(share.viewFor(MiB)).toBe(256 * KiB);
    share.close();
  });
});

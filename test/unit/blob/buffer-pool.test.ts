import { describe, expect, it } from "vitest";
import { BufferBudget } from "../../../src/blob/buffer-budget.ts";
import { BufferPool } from "../../../src/blob/buffer-pool.ts";

// First buffers of 10 bytes.
const BUDGET_BYTES = 2560;

function poolOf(
  maxBuffers: number,
  bufferBytes: number,
  budget = new BufferBudget(BUDGET_BYTES),
): BufferPool {
  return new BufferPool(maxBuffers, bufferBytes, budget);
}

/** A buffer that has to be there. */
function given(buffer: ArrayBufferLike | undefined): ArrayBufferLike {
  if (buffer === undefined) throw new Error("no buffer");
  return buffer;
}

/** Takes a buffer and lets it grow to its whole size. */
function takeWhole(pool: BufferPool): ArrayBufferLike {
  let buffer = given(pool.take());
  while (buffer.byteLength < pool.bufferBytes) buffer = given(pool.grow(buffer));
  return buffer;
}

describe("the buffers of an upload", () => {
  it("UPL-1: are used again", () => {
    const pool = poolOf(2, 100);
    const first = takeWhole(pool);
    expect(pool.take()).not.toBe(first);
    expect(pool.take()).toBeUndefined();
    pool.giveBack(first);
    expect(pool.take()).toBe(first);
    pool.close();
  });

  it("UPL-1: begin small and double, up to the whole size", () => {
    const pool = poolOf(2, 81);
    let buffer = given(pool.take());
    const sizes = [buffer.byteLength];
    while (buffer.byteLength < 81) {
      buffer = given(pool.grow(buffer));
      sizes.push(buffer.byteLength);
      expect(pool.heldBytes).toBe(buffer.byteLength);
    }
    expect(sizes).toEqual([10, 20, 40, 81]);
    pool.close();
  });

  it("UPL-1: keep their bytes when they grow", () => {
    const pool = poolOf(1, 100);
    const buffer = given(pool.take());
    new Uint8Array(buffer).fill(7);
    const larger = new Uint8Array(given(pool.grow(buffer)));
    expect([...larger.subarray(0, 11)]).toEqual([...Array(10).fill(7), 0]);
    pool.close();
  });

  it("UPL-1: are whole at once where the whole is small", () => {
    const pool = poolOf(1, 7);
    expect(pool.take()?.byteLength).toBe(7);
    pool.close();
  });
});

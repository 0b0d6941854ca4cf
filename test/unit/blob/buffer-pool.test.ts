import { describe, expect, it } from "vitest";
import { BufferPool } from "../../../src/blob/buffer-pool.ts";

const MiB = 1024 ** 2;

describe("the buffers of uploads", () => {
  it("UPL-1: are used again", () => {
    const pool = new BufferPool(2, 10);
    const first = pool.take() ?? new ArrayBuffer(0);
    expect(first.byteLength).toBe(10);
    expect(pool.take()).not.toBe(first);
    expect(pool.take()).toBeUndefined();
    pool.giveBack(first);
    expect(pool.take()).toBe(first);
    pool.close();
  });

  it("UPL-1: are one an upload when many uploads run at once", () => {
    const before = BufferPool.heldBytes();
    const greedy = new BufferPool(4, 16 * MiB);
    while (greedy.take() !== undefined);
    const late = new BufferPool(4, 16 * MiB);
    expect(late.take()).toBeDefined();
    expect(late.take()).toBeUndefined();
    greedy.close();
    expect(late.take()).toBeDefined();
    late.close();
    expect(BufferPool.heldBytes()).toBe(before);
  });
});

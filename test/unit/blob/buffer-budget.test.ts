import fc from "fast-check";
import { afterEach, describe, expect, it } from "vitest";
import { BufferBudget, ISOLATE_BUDGET_BYTES } from "../../../src/blob/buffer-budget.ts";
import { BufferPool } from "../../../src/blob/buffer-pool.ts";
import { planParts } from "../../../src/blob/part-size.ts";

const MiB = 1024 ** 2;

const open: BufferPool[] = [];

afterEach(() => {
  for (const pool of open.splice(0)) pool.close();
});

function poolOf(budget: BufferBudget, bufferBytes: number, maxBuffers = 1): BufferPool {
  const pool = new BufferPool(maxBuffers, bufferBytes, budget);
  open.push(pool);
  return pool;
}

/** Takes a buffer and lets it grow as far as it may. */
function takeMost(pool: BufferPool): ArrayBufferLike {
  const buffer = pool.take();
  if (buffer === undefined) throw new Error("no buffer");
  return growMost(pool, buffer);
}

function growMost(pool: BufferPool, buffer: ArrayBufferLike): ArrayBufferLike {
  if (buffer.byteLength === pool.bufferBytes) return buffer;
  const larger = pool.grow(buffer);
  return larger === undefined ? buffer : growMost(pool, larger);
}

function takeWhole(pool: BufferPool): ArrayBufferLike {
  const buffer = takeMost(pool);
  if (buffer.byteLength !== pool.bufferBytes) throw new Error("no whole buffer");
  return buffer;
}

describe("the budget for buffers", () => {
  it("UPL-1: has room for any upload's buffer besides all the small ones", () => {
    const lengths = fc.option(fc.integer({ min: 0, max: 5 * 1024 ** 4 }), { nil: undefined });
    fc.assert(
      fc.property(lengths, (length) => {
        const { partBytes, buffers } = planParts(length);
        const bufferBytes = buffers === 0 ? 0 : partBytes + 1;
        expect(bufferBytes).toBeLessThanOrEqual(ISOLATE_BUDGET_BYTES / 2);
      }),
    );
  });

  it("UPL-1: gives uploads that stall early a little of it each", () => {
    const budget = new BufferBudget(ISOLATE_BUDGET_BYTES);
    for (let i = 0; i < 16; i++) expect(poolOf(budget, 16 * MiB + 1, 2).take()).toBeDefined();
    expect(budget.heldBytes()).toBe(4 * MiB);
  });

  it("UPL-1: is never exceeded by uploads that have one buffer each", () => {
    const budget = new BufferBudget(ISOLATE_BUDGET_BYTES);
    const pools = Array.from({ length: 16 }, () => poolOf(budget, 16 * MiB + 1, 2));
    const buffers = pools.map((pool) => pool.take());
    for (let round = 0; round < 20; round++) {
      pools.forEach((pool, i) => {
        const buffer = buffers[i] ?? pool.take();
        buffers[i] =
          buffer && buffer.byteLength < pool.bufferBytes ? (pool.grow(buffer) ?? buffer) : buffer;
        expect(budget.heldBytes()).toBeLessThanOrEqual(ISOLATE_BUDGET_BYTES);
      });
    }
    expect(buffers.some((buffer) => buffer?.byteLength === 16 * MiB + 1)).toBe(true);
  });

  it("UPL-1: gives no upload a second buffer while another waits for its first", () => {
    const budget = new BufferBudget(100);
    const greedy = poolOf(budget, 10, 20);
    const held = takeWhole(greedy);
    while (greedy.take() !== undefined);
    expect(poolOf(budget, 40).take()).toBeUndefined();
    greedy.giveBack(held);
    expect(greedy.take()).toBeUndefined();
    expect(greedy.heldBytes).toBe(90);
  });

  it("UPL-1: takes a buffer that came back from its upload when another waits, by turns", () => {
    const budget = new BufferBudget(100);
    const [first, second, third] = [poolOf(budget, 40), poolOf(budget, 40), poolOf(budget, 40)];
    const held = takeWhole(first);
    takeWhole(second);
    const waiting = takeMost(third);
    expect(waiting.byteLength).toBe(8);
    first.giveBack(held);
    const next = takeMost(first);
    expect(held.byteLength).toBe(0);
    expect(next.byteLength).toBeLessThan(40);
    expect(third.grow(waiting)?.byteLength).toBe(40);
    expect(first.grow(next)).toBeUndefined();
    third.close();
    expect(first.grow(next)?.byteLength).toBe(40);
  });

  it("UPL-1: takes what lies idle when another waits", () => {
    const budget = new BufferBudget(100);
    const idle = poolOf(budget, 40, 2);
    const held = takeWhole(idle);
    idle.take();
    idle.giveBack(held);
    const other = poolOf(budget, 40);
    expect(growMost(other, takeMost(other)).byteLength).toBe(40);
    expect(idle.heldBytes).toBe(40);
    expect(held.byteLength).toBe(0);
  });

  it("UPL-1: leaves a buffer with its upload while nobody else needs it", () => {
    const pool = poolOf(new BufferBudget(100), 50);
    const held = takeWhole(pool);
    pool.giveBack(held);
    expect(pool.take()).toBe(held);
  });

  it("UPL-1: forgets an upload that the platform cut off, and its place in the queue", () => {
    let nowMs = 0;
    const budget = new BufferBudget(100, () => nowMs);
    takeWhole(poolOf(budget, 40));
    takeWhole(poolOf(budget, 40));
    takeMost(poolOf(budget, 40));
    nowMs = 25_000;
    const late = poolOf(budget, 40);
    const buffer = takeMost(late);
    expect(buffer.byteLength).toBeLessThan(40);
    nowMs = 31_000;
    expect(late.grow(buffer)?.byteLength).toBe(40);
    expect(budget.heldBytes()).toBe(40);
  });
});

describe("any number of uploads", () => {
  /** What an upload does in turn: it asks until its buffer is whole, holds it, and gives it back. */
  class Upload {
    readonly pool: BufferPool;
    private buffer: ArrayBufferLike | undefined;

    constructor(
      budget: BufferBudget,
      bufferBytes: number,
      private partsLeft: number,
    ) {
      this.pool = poolOf(budget, bufferBytes);
    }

    get isDone(): boolean {
      return this.partsLeft === 0;
    }

    step(): void {
      if (this.isDone) return;
      const { buffer, pool } = this;
      if (buffer === undefined) this.buffer = pool.take();
      else if (buffer.byteLength < pool.bufferBytes) this.buffer = pool.grow(buffer) ?? buffer;
      else {
        pool.giveBack(buffer);
        this.buffer = undefined;
        this.partsLeft -= 1;
        if (this.isDone) pool.close();
      }
    }
  }

  it("UPL-1: all come to their end within the budget, in whatever order they are served", () => {
    const uploads = fc.array(
      fc.record({
        bufferBytes: fc.integer({ min: 1, max: 500 }),
        parts: fc.integer({ min: 1, max: 4 }),
      }),
      { minLength: 1, maxLength: 12 },
    );
    fc.assert(
      fc.property(uploads, fc.infiniteStream(fc.nat()), (wanted, choices) => {
        const budget = new BufferBudget(1000);
        const running = wanted.map((one) => new Upload(budget, one.bufferBytes, one.parts));
        for (let steps = 0; running.some(({ isDone }) => !isDone); steps++) {
          expect(steps).toBeLessThan(5000);
          // Whoever is chosen; now and then everybody, since nobody is passed over for ever.
          const chosen =
            steps % 4 === 0 ? running : [running[choices.next().value % running.length]];
          for (const upload of chosen) {
            upload?.step();
            expect(budget.heldBytes()).toBeLessThanOrEqual(1000);
          }
        }
        expect(budget.heldBytes()).toBe(0);
      }),
    );
  });
});

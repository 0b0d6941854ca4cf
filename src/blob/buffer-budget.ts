import type { BufferPool } from "./buffer-pool.ts";

/** Memory for the buffers of all uploads of an isolate, which has 128 MiB for everything. */
export const ISOLATE_BUDGET_BYTES = 64 * 1024 ** 2;

// A request that the platform cuts off runs no `finally`, so it gives nothing back, and garbage
// collection may be hours away. Its timer stops with it, though: who is silent is gone.
const PULSE_MS = 5000;
const PRESUMED_GONE_MS = 6 * PULSE_MS;

/**
 * Shares memory among uploads, none of whose buffers is larger than half of it, so that each of
 * them goes on in the end and the sum is never exceeded:
 *
 * - An upload that waits for memory holds a small buffer at most; all small ones together take up
 *   to a quarter of the budget.
 * - Whole buffers are given out in the order in which they were asked for. One takes no more memory
 *   to be filled and sent, so each comes back.
 * - While the first in the queue lacks room, buffers that came back are taken from their uploads,
 *   which queue up again: long uploads take turns, part by part.
 *
 * Waiting is asking again, as no request can wake another on this platform.
 */
export class BufferBudget {
  /** How large an upload's first buffer is at first. */
  readonly firstBytes: number;
  private readonly pools = new Set<BufferPool>();
  private readonly queue = new Set<BufferPool>();
  private readonly lastSeenMs = new WeakMap<BufferPool, number>();

  constructor(
    private readonly maxBytes: number,
    private readonly now: () => number = () => Date.now(),
  ) {
    this.firstBytes = Math.ceil(maxBytes / 256);
  }

  /** Takes a pool in; gives the function that takes it out again. */
  admit(pool: BufferPool): () => void {
    const pulse = () => {
      this.pools.add(pool);
      this.lastSeenMs.set(pool, this.now());
    };
    pulse();
    const timer = setInterval(pulse, PULSE_MS);
    return () => {
      clearInterval(timer);
      this.pools.delete(pool);
      this.queue.delete(pool);
    };
  }

  /**
   * The size up to which a pool may enlarge its only buffer: `bytes` or, where nothing smaller than
   * a whole one will do, that. While it is 0, the pool is in the queue and has to ask again.
   */
  grant(pool: BufferPool, bytes: number): number {
    if (!this.queue.has(pool) && this.admitsSmall(pool, bytes)) return bytes;
    this.queue.add(pool);
    if (this.first() !== pool || !this.hasRoom(pool.bufferBytes)) return 0;
    this.queue.delete(pool);
    return pool.bufferBytes;
  }

  /** Whether a pool may have a whole buffer besides those it has: only out of what nobody needs. */
  canSpare(bytes: number): boolean {
    return this.first() === undefined && this.hasRoom(bytes);
  }

  /** Takes what is idle from all pools if the first in the queue lacks room. */
  reclaim(): void {
    const first = this.first();
    if (first === undefined || this.hasRoom(first.bufferBytes)) return;
    for (const pool of this.pools) pool.dropIdle();
  }

  /** What the uploads hold in all. */
  heldBytes(): number {
    return this.sum((pool) => pool.heldBytes);
  }

  private admitsSmall({ bufferBytes }: BufferPool, bytes: number): boolean {
    if (bytes > bufferBytes / 2 && bytes > this.firstBytes) return false;
    const small = this.sum((pool) => (this.isSmall(pool) ? pool.heldBytes : 0));
    return small + bytes <= this.maxBytes / 4 && this.hasRoom(bytes);
  }

  private hasRoom(bytes: number): boolean {
    return this.heldBytes() + bytes <= this.maxBytes;
  }

  private isSmall({ heldBytes, bufferBytes }: BufferPool): boolean {
    return heldBytes < bufferBytes || heldBytes <= this.firstBytes;
  }

  private first(): BufferPool | undefined {
    this.dropGone();
    const [first] = this.queue;
    return first;
  }

  private sum(bytesOf: (pool: BufferPool) => number): number {
    this.dropGone();
    let bytes = 0;
    for (const pool of this.pools) bytes += bytesOf(pool);
    return bytes;
  }

  private dropGone(): void {
    const earliestMs = this.now() - PRESUMED_GONE_MS;
    for (const pool of this.pools) {
      if ((this.lastSeenMs.get(pool) ?? 0) >= earliestMs) continue;
      this.pools.delete(pool);
      this.queue.delete(pool);
    }
  }
}

/** The one budget of this isolate. */
export const isolateBudget = new BufferBudget(ISOLATE_BUDGET_BYTES);

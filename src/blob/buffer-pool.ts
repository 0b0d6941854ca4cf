import type { BufferBudget } from "./buffer-budget.ts";

/**
 * The buffers of one upload, used again and again. The first grows with what comes in, so that an
 * upload which is short, or stalls early, takes little of the budget.
 */
export class BufferPool {
  /** What the budget counts, buffers given out and idle ones. */
  heldBytes = 0;
  private idle: ArrayBufferLike[] = [];
  private readonly leave: () => void;

  constructor(
    private readonly maxBuffers: number,
    /** The size of a whole buffer. */
    readonly bufferBytes: number,
    private readonly budget: BufferBudget,
  ) {
    this.leave = budget.admit(this);
  }

  /**
   * A buffer: whole if the upload has others, else of any size. Undefined when one of the others
   * has to come back first or, if there are none, when the budget is spent: to be asked again.
   */
  take(): ArrayBufferLike | undefined {
    this.budget.reclaim();
    const buffer = this.idle.pop();
    if (buffer !== undefined) return buffer;
    if (this.heldBytes === 0) return this.grow(new ArrayBuffer(0));
    const isFull = this.heldBytes >= this.maxBuffers * this.bufferBytes;
    if (isFull || !this.budget.canSpare(this.bufferBytes)) return undefined;
    this.heldBytes += this.bufferBytes;
    return new ArrayBuffer(this.bufferBytes);
  }

  /**
   * Moves the upload's only buffer, its bytes included, to a larger one. Undefined when the budget
   * is spent: to be asked again.
   */
  grow(buffer: ArrayBufferLike): ArrayBufferLike | undefined {
    this.budget.reclaim();
    const doubled = Math.max(this.budget.firstBytes, 2 * buffer.byteLength);
    const bytes = this.budget.grant(this, Math.min(doubled, this.bufferBytes));
    if (bytes === 0) return undefined;
    this.heldBytes = bytes;
    return resize(buffer, bytes);
  }

  giveBack(buffer: ArrayBufferLike): void {
    this.idle.push(buffer);
  }

  /** Lets go of the buffers that are not given out. */
  dropIdle(): void {
    for (const buffer of this.idle) {
      this.heldBytes -= buffer.byteLength;
      resize(buffer, 0);
    }
    this.idle = [];
  }

  /** No buffer is taken from here any more. */
  close(): void {
    this.leave();
  }
}

/** The old memory is free at once instead of when garbage is collected next. */
function resize(buffer: ArrayBufferLike, bytes: number): ArrayBufferLike {
  return (buffer as ArrayBuffer).transfer(bytes);
}

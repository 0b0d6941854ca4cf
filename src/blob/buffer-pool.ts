/** Memory that this isolate's uploads may take for buffers before they make do with one each. */
const ISOLATE_BUDGET_BYTES = 64 * 1024 ** 2;

// A request whose client is gone is never resumed, so it cannot give anything back: its pool leaves
// with the garbage, and until then the others are merely slower.
const openPools = new Set<WeakRef<BufferPool>>();

/** The buffers of one upload, all of one size, used again and again. */
export class BufferPool {
  private readonly free: ArrayBufferLike[] = [];
  private made = 0;
  private readonly self = new WeakRef(this);

  constructor(
    private readonly maxBuffers: number,
    private readonly bufferBytes: number,
  ) {
    openPools.add(this.self);
  }

  /** A buffer, or undefined when one of those given out has to come back first. */
  take(): ArrayBufferLike | undefined {
    const buffer = this.free.pop();
    if (buffer !== undefined) return buffer;
    if (this.made > 0 && !this.mayGrow()) return undefined;
    this.made += 1;
    return new ArrayBuffer(this.bufferBytes);
  }

  giveBack(buffer: ArrayBufferLike): void {
    this.free.push(buffer);
  }

  /** No buffer is taken from here any more. */
  close(): void {
    openPools.delete(this.self);
  }

  private mayGrow(): boolean {
    return (
      this.made < this.maxBuffers &&
      BufferPool.heldBytes() + this.bufferBytes <= ISOLATE_BUDGET_BYTES
    );
  }

  private get heldBytes(): number {
    return this.made * this.bufferBytes;
  }

  /** What the isolate's uploads hold in all. */
  static heldBytes(): number {
    let bytes = 0;
    for (const reference of openPools) {
      const pool = reference.deref();
      if (pool === undefined) openPools.delete(reference);
      else bytes += pool.heldBytes;
    }
    return bytes;
  }
}

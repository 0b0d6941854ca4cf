const KiB = 1024;
const MiB = 1024 ** 2;

/** Memory for parts that fill or are on their way to a store, for all streams of an isolate together. */
export const PART_MEMORY_BYTES = 48 * MiB;
/** Memory for reads that wait for bytes, the same way. An isolate has 128 MiB for everything. */
export const READ_MEMORY_BYTES = 16 * MiB;

/** What every stream may have whatever the others hold, so that none of them waits for another. */
export const LEAST_BUFFER_BYTES = 64 * KiB;
/** Up to this size a buffer is small: a quarter of the pool is there for such buffers alone. */
export const SMALL_BUFFER_BYTES = 256 * KiB;

const LEAST_VIEW_BYTES = 4 * KiB;
const LARGEST_VIEW_BYTES = 256 * KiB;
/** A read takes at most this part of what is left for reads, so that the last of many still gets some. */
const VIEW_SHARE = 16;

/** How much of the pool one stream may hold. */
const LARGEST_SHARE_BYTES = 32 * MiB;

// A request that the platform cuts off runs no `finally`, so it gives nothing back, and garbage collection may be
// hours away. Its timer stops with it, though: a holder that is silent is gone.
const PULSE_MS = 5_000;
const PRESUMED_GONE_MS = 6 * PULSE_MS;

/**
 * The memory that streams on their way into a store share. Nobody waits for memory: who asks gets it or does not, and
 * then puts its bytes elsewhere (part-writer.ts). So nobody can make others wait by holding what there is.
 */
export class MemoryPool {
  readonly #shares = new Set<MemoryShare>();

  constructor(
    readonly partBytes = PART_MEMORY_BYTES,
    readonly readBytes = READ_MEMORY_BYTES,
    private readonly now: () => number = () => Date.now(),
  ) {}

  /** Takes a stream in, until its share is closed. */
  open(): MemoryShare {
    const share = new MemoryShare(this, this.now);
    this.#shares.add(share);
    return share;
  }

  /** Whether more than half of the memory for parts is taken: slow streams are then to keep none of it. */
  get isScarce(): boolean {
    return this.heldBytes > this.partBytes / 2;
  }

  /** What all streams hold of the memory for parts. */
  get heldBytes(): number {
    return this.#sum((share) => share.heldBytes);
  }

  /** What all streams hold of the memory for reads. */
  get heldViewBytes(): number {
    return this.#sum((share) => share.viewBytes);
  }

  /** Takes a share out. */
  remove(share: MemoryShare): void {
    this.#shares.delete(share);
  }

  #sum(bytesOf: (share: MemoryShare) => number): number {
    const earliestMs = this.now() - PRESUMED_GONE_MS;
    let bytes = 0;
    for (const share of this.#shares) {
      if (share.seenAtMs < earliestMs) this.#shares.delete(share);
      else bytes += bytesOf(share);
    }
    return bytes;
  }
}

/** The memory of one stream. */
export class MemoryShare {
  /** Bytes of all buffers, those that are being sent included. */
  heldBytes = 0;
  viewBytes = 0;
  seenAtMs: number;
  readonly #timer: ReturnType<typeof setInterval>;

  constructor(
    private readonly pool: MemoryPool,
    private readonly now: () => number,
  ) {
    this.seenAtMs = now();
    this.#timer = setInterval(() => {
      this.seenAtMs = this.now();
    }, PULSE_MS);
  }

  /**
   * Moves a buffer with its bytes to one of another size, and lets go of the old one. Undefined when there is no memory
   * for that; a size up to LEAST_BUFFER_BYTES is always granted to a stream's only buffer.
   */
  resize(buffer: ArrayBuffer, bytes: number): ArrayBuffer | undefined {
    if (!this.#mayHave(this.heldBytes - buffer.byteLength, bytes, buffer.byteLength)) {
      return undefined;
    }
    this.heldBytes += bytes - buffer.byteLength;
    // The old memory is free at once instead of when garbage is collected next.
    return buffer.transfer(bytes);
  }

  /** Lets go of a buffer, whose memory is free at once. */
  free(buffer: ArrayBuffer): void {
    this.forget(buffer.byteLength);
    buffer.transfer(0);
  }

  /** Counts a buffer no longer, which a call that has not ended may still read. */
  forget(bytes: number): void {
    this.heldBytes -= bytes;
  }

  /** How long a view the next read may wait with, where `wanted` would be of use. */
  viewFor(wanted: number): number {
    const left = this.pool.readBytes - this.pool.heldViewBytes + this.viewBytes;
    const most = Math.min(wanted, LARGEST_VIEW_BYTES, Math.floor(left / VIEW_SHARE));
    this.viewBytes = Math.max(LEAST_VIEW_BYTES, most);
    return this.viewBytes;
  }

  /** Nothing is held from here any more. */
  close(): void {
    clearInterval(this.#timer);
    this.pool.remove(this);
  }

  #mayHave(others: number, bytes: number, before: number): boolean {
    if (bytes <= before || (others === 0 && bytes <= LEAST_BUFFER_BYTES)) return true;
    const { pool } = this;
    if (others + bytes > LARGEST_SHARE_BYTES) return false;
    const held = pool.heldBytes - before + bytes;
    if (bytes <= SMALL_BUFFER_BYTES) return held <= pool.partBytes;
    // A second buffer is a matter of speed, and comes from the half that is there to spare.
    return held <= (others === 0 ? (pool.partBytes * 3) / 4 : pool.partBytes / 2);
  }
}

/** The one pool of this isolate. */
export const isolateMemory = new MemoryPool();

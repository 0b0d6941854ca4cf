/** Buffers of one segment each that an isolate may hold at a time, beside those of its uploads. */
const MAX_BUFFERS = 8;

/** The right to hold one buffer, until it is given back. */
export interface BufferLease {
  release(): void;
}

/**
 * How much memory may wait to be put into the cache. Who gets none serves its bytes without putting them there. A
 * request that the platform cuts off gives nothing back: its leases count until they are garbage, as its buffers do.
 */
export class FillMemory {
  readonly #leases = new Set<WeakRef<BufferLease>>();

  constructor(private readonly maxBuffers = MAX_BUFFERS) {}

  take(): BufferLease | undefined {
    for (const ref of this.#leases) {
      if (ref.deref() === undefined) this.#leases.delete(ref);
    }
    if (this.#leases.size >= this.maxBuffers) return undefined;
    const lease: BufferLease = { release: () => this.#leases.delete(ref) };
    const ref = new WeakRef(lease);
    this.#leases.add(ref);
    return lease;
  }
}

/** That of this isolate. */
export const fillMemory = new FillMemory();

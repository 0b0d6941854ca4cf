/** Remembers the last bytes of what passes. */
export class Tail {
  readonly #bytes: Uint8Array;
  #length = 0;

  constructor(maxBytes: number) {
    this.#bytes = new Uint8Array(maxBytes);
  }

  push(bytes: Uint8Array): void {
    const fresh = bytes.subarray(Math.max(0, bytes.length - this.#bytes.length));
    const kept = Math.min(this.#length, this.#bytes.length - fresh.length);
    this.#bytes.copyWithin(0, this.#length - kept, this.#length);
    this.#bytes.set(fresh, kept);
    this.#length = kept + fresh.length;
  }

  /** The last bytes there were, without a gap. */
  last(): Uint8Array {
    return this.#bytes.subarray(0, this.#length);
  }

  /** What comes next does not follow on what was. */
  clear(): void {
    this.#length = 0;
  }
}

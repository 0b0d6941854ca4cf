/** Reads a stream into memory that its caller provides. */
export interface ByteReader {
  /**
   * Waits for bytes and puts as many as are there into `view`; gives the part that was filled,
   * empty at the stream's end. The view's buffer may be moved by the read: go on with the result's
   * `buffer`.
   */
  read(view: Uint8Array): Promise<Uint8Array>;
  /** Tells the source to stop; never fails. A read that is waiting ends with `reason`. */
  cancel(reason: unknown): Promise<void>;
  /** Lets others read the rest. Nothing is to be read here any more, and no read may be waiting. */
  release(): void;
}

/**
 * Takes the stream for reading into the caller's buffers. The runtime's own streams (bodies, stored
 * objects) write there directly; a stream that cannot has its chunks copied.
 */
export function openByteReader(source: ReadableStream<Uint8Array>): ByteReader {
  let direct: ReadableStreamBYOBReader;
  try {
    direct = source.getReader({ mode: "byob" });
  } catch {
    return new CopyingReader(source.getReader());
  }
  return new DirectReader(direct);
}

class DirectReader implements ByteReader {
  constructor(private readonly reader: ReadableStreamBYOBReader) {}

  async read(view: Uint8Array): Promise<Uint8Array> {
    const { value } = await this.reader.read(view);
    // Only a cancelled stream gives no view back, and then nobody asks for the buffer any more.
    return value ?? new Uint8Array(0);
  }

  cancel(reason: unknown): Promise<void> {
    return this.reader.cancel(reason).catch(() => {});
  }

  release(): void {
    this.reader.releaseLock();
  }
}

class CopyingReader implements ByteReader {
  private rest: Uint8Array = new Uint8Array(0);

  constructor(private readonly reader: ReadableStreamDefaultReader<Uint8Array>) {}

  async read(view: Uint8Array): Promise<Uint8Array> {
    while (this.rest.length === 0) {
      const { done, value } = await this.reader.read();
      if (done) return view.subarray(0, 0);
      this.rest = value;
    }
    const taken = this.rest.subarray(0, view.length);
    view.set(taken);
    this.rest = this.rest.subarray(taken.length);
    return view.subarray(0, taken.length);
  }

  cancel(reason: unknown): Promise<void> {
    return this.reader.cancel(reason).catch(() => {});
  }

  release(): void {
    this.reader.releaseLock();
  }
}

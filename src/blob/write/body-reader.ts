import { type ByteReader, openByteReader } from "../../lib/streams.ts";
import type { MemoryShare } from "./memory-pool.ts";

const FIRST_VIEW_BYTES = 16 * 1024;
const LARGEST_VIEW_BYTES = 256 * 1024;
const SMALLEST_VIEW_BYTES = 4 * 1024;

/** How long who leaves waits for a source that is at work. */
const LEAVE_MS = 1_000;

/** Tells who follows a stream whether it waits for its source at this moment. */
export interface Activity {
  /** Reads that have begun so far. */
  reads: number;
  isWaiting: boolean;
}

/**
 * Reads a source in views that are as long as what comes: a source that is silent holds little memory, one that is fast
 * costs few calls. The views count as the stream's memory.
 */
export class BodyReader {
  readonly #reader: ByteReader;
  #buffer: ArrayBufferLike = new ArrayBuffer(0);
  #wanted = FIRST_VIEW_BYTES;
  #hasFailed = false;
  #isCancelled = false;
  /** Ends the wait for a source that is at work. */
  #endLeave: (() => void) | undefined;

  constructor(
    source: ReadableStream<Uint8Array>,
    private readonly share: MemoryShare,
    private readonly activity: Activity = { reads: 0, isWaiting: false },
  ) {
    this.#reader = openByteReader(source);
  }

  /** Waits for bytes, `most` at the most; empty at the end. They are the caller's until the next read. */
  async read(most: number): Promise<Uint8Array> {
    const length = this.share.viewFor(this.#wanted);
    if (this.#buffer.byteLength !== length) this.#buffer = new ArrayBuffer(length);
    const view = new Uint8Array(this.#buffer, 0, Math.min(most, length));
    this.activity.reads += 1;
    this.activity.isWaiting = true;
    try {
      // The runtime may have moved the buffer.
      const bytes = await this.#reader.read(view);
      this.#buffer = bytes.buffer;
      this.#adapt(bytes.length, length);
      return bytes;
    } catch (cause) {
      this.#hasFailed = true;
      throw cause;
    } finally {
      this.activity.isWaiting = false;
      this.#endLeave?.();
    }
  }

  /**
   * Lets others read the rest. A client that is sending brings more in a moment, and hears no answer from a connection
   * that is cut off; a source that stays silent, or has failed, ends with `reason`.
   */
  leave(reason: unknown): void {
    if (this.#hasFailed) this.cancel(reason);
    else if (!this.activity.isWaiting) this.#reader.release();
    else {
      const timer = setTimeout(() => this.cancel(reason), LEAVE_MS);
      this.#endLeave = () => {
        clearTimeout(timer);
        if (!this.#hasFailed && !this.#isCancelled) this.#reader.release();
      };
    }
  }

  /** Tells the source to stop. */
  cancel(reason?: unknown): void {
    this.#isCancelled = true;
    void this.#reader.cancel(reason);
  }

  #adapt(came: number, length: number): void {
    if (came === length) this.#wanted = Math.min(LARGEST_VIEW_BYTES, 2 * length);
    else if (came < length / 4) this.#wanted = Math.max(SMALLEST_VIEW_BYTES, length / 2);
  }
}

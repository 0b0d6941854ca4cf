import { Fault } from "../domain/fault.ts";
import { type ByteReader, openByteReader } from "../lib/streams.ts";
import type { ImageDigest } from "./digest.ts";

// A read takes what has arrived and no more, so a large view does not hold slow clients up. About
// this much is the most that arrives at once; smaller views cost more calls for the same bytes.
const CHUNK_BYTES = 512 * 1024;

/** What bytes coming in are held against. */
export interface IntakeLimits {
  /** Announced length; undefined: unknown. */
  readonly declaredBytes: number | undefined;
  /** The longest image allowed. */
  readonly maxBytes: number;
  /** The longest body that this deployment takes, and what is said of a longer one. */
  readonly body?: { readonly maxBytes: number; readonly fault: () => Fault } | undefined;
  /** The longest body that can be cut into parts. */
  readonly maxTotalBytes: number;
}

/** Looks at bytes as they pass, and stops them by throwing a Fault. */
export interface Inspection {
  /** The next bytes, which are free for other use afterwards. */
  take(bytes: Uint8Array): void;
  /** There are no more. */
  finish(): void;
}

/** Reads a body until told to stop; counts, checks, inspects, hashes and reports its bytes as they pass. */
export class Intake {
  /** Whether the body was read to its end, and with it the announced length reached. */
  isEnded = false;
  /** Bytes so far. */
  received = 0;

  private readonly reader: ByteReader;
  // Stays true when the read fails.
  private isReading = false;

  constructor(
    source: ReadableStream<Uint8Array>,
    private readonly limits: IntakeLimits,
    private readonly digest: ImageDigest,
    private readonly inspection: Inspection | undefined,
    private readonly onProgress: (bytesSoFar: number) => Promise<void> | void,
    private readonly stopped: AbortSignal,
  ) {
    this.reader = openByteReader(source);
    stopped.addEventListener("abort", () => this.leaveSource());
  }

  /**
   * Reads until the buffer is full or the body ends, from the place `filled` on; gives the buffer's
   * filled part. The buffer itself may have been moved: go on with the result's.
   */
  async fill(buffer: ArrayBufferLike, filled: number): Promise<Uint8Array> {
    let current = buffer;
    let length = filled;
    while (length < current.byteLength && !this.isEnded) {
      const chunk = await this.read(current, length, current.byteLength - length);
      current = chunk.buffer;
      length += chunk.length;
    }
    return new Uint8Array(current, 0, length);
  }

  /** Reads some bytes into the buffer; gives the filled view, empty at the body's end. */
  async read(buffer: ArrayBufferLike, offset: number, maxBytes: number): Promise<Uint8Array> {
    this.stopped.throwIfAborted();
    const view = new Uint8Array(buffer, offset, Math.min(maxBytes, CHUNK_BYTES));
    this.isReading = true;
    const chunk = await this.reader.read(view).catch(brokenOff);
    this.isReading = false;
    this.stopped.throwIfAborted();
    if (chunk.length === 0) {
      this.assertComplete();
      this.inspection?.finish();
      this.isEnded = true;
    } else {
      this.received += chunk.length;
      this.assertWithinLimits();
      this.inspection?.take(chunk);
      await this.digest.update(chunk);
      await this.onProgress(this.received);
    }
    return chunk;
  }

  /** A source that nobody waits for is fit to be read on by others. */
  private leaveSource(): void {
    if (this.isReading) void this.reader.cancel(this.stopped.reason);
    else this.reader.release();
  }

  /** Names the limit that is reached first, of two alike the image's (STO-5, SIZ-2). */
  private assertWithinLimits(): void {
    const { declaredBytes = Number.POSITIVE_INFINITY, maxBytes, maxTotalBytes, body } = this.limits;
    if (body !== undefined && this.received > body.maxBytes) throw body.fault();
    const allowed = Math.min(declaredBytes, maxBytes, maxTotalBytes);
    if (this.received <= allowed) return;
    if (allowed === maxBytes) throw new Fault("image_too_large", { maximum: maxBytes });
    if (allowed === declaredBytes) throw new Fault("size_exceeded", { declared: declaredBytes });
    throw new Fault("size_unannounced", { maximum: maxTotalBytes });
  }

  /** SIZ-3. */
  private assertComplete(): void {
    const { declaredBytes: declared } = this.limits;
    if (declared !== undefined && this.received !== declared) {
      throw new Fault("size_mismatch", { declared, received: this.received });
    }
  }
}

// A source of our own, such as an import, may know better why it stopped.
function brokenOff(cause: unknown): never {
  throw cause instanceof Fault ? cause : new Fault("body_broken_off", {}, cause);
}

import { Fault } from "../domain/fault.ts";
import { openByteReader } from "../lib/streams.ts";
import { type BufferBudget, isolateBudget } from "./buffer-budget.ts";
import { BufferPool } from "./buffer-pool.ts";
import type { RunningDigest } from "./digest.ts";
import { storing } from "./multipart.ts";
import { buffersFor } from "./part-size.ts";
import type { BlobStore, ByteRange, PartReceipt } from "./store.ts";

/*
 * The other way in which bytes come in: from where they can be read from any place on, again and again, so that
 * work which breaks off is taken up at the first part that is missing. Bodies that come once are for ingest.ts.
 */

/** Bytes that can be read from any place on, again and again. */
export interface RangedSource {
  /** Bytes in all. */
  readonly size: number;
  /** Exactly the bytes asked for, one at least; the stream fails when it has fewer or more. Throws a Fault. */
  read(range: ByteRange, signal: AbortSignal): Promise<ReadableStream<Uint8Array>>;
}

export interface TransferOptions {
  readonly store: BlobStore;
  readonly key: string;
  /** The open multipart upload that the parts belong to. */
  readonly uploadId: string;
  /** Every part but the last. */
  readonly partBytes: number;
  /** Parts that are there from an earlier time, by number. */
  readonly stored: ReadonlyMap<number, PartReceipt>;
  /** Takes all bytes in order; it has had those of the parts stored. Undefined: nothing is hashed. */
  readonly digest: Pick<RunningDigest, "take"> | undefined;
  /** A part is there: stored, and hashed where there is a digest. Awaited, for it is the caller's checkpoint. */
  readonly onStored: (receipt: PartReceipt) => Promise<void>;
  /** So many bytes more were read. */
  readonly onBytes?: (bytes: number) => void;
  /** Stops the work with its reason. */
  readonly signal: AbortSignal;
  /** Where buffers are taken from, instead of the isolate's budget; for tests. */
  readonly budget?: BufferBudget;
  /** How to wait for memory. */
  readonly wait?: (ms: number) => Promise<void>;
}

/** A Worker has six open connections at once; each part under way takes one, or two in turn. */
const MAX_IN_FLIGHT = 4;
const MEMORY_POLL_MS = 100;
const STREAM_BUFFER_BYTES = 256 * 1024;

/**
 * Moves what is missing of the source into the parts of an open upload, several at once in as many buffers as an
 * upload may have. Throws the first reason that something failed for, a Fault, when everything has come to rest:
 * what was reported by then is all that counts.
 */
export async function transfer(source: RangedSource, options: TransferOptions): Promise<void> {
  const { partBytes, stored, signal } = options;
  const stop = new AbortController();
  const obey = () => stop.abort(signal.reason);
  signal.addEventListener("abort", obey);
  const buffers = buffersFor(partBytes);
  const isStreamed = buffers === 0;
  const pool = new BufferPool(
    Math.max(1, Math.min(buffers, MAX_IN_FLIGHT)),
    isStreamed ? STREAM_BUFFER_BYTES : partBytes,
    options.budget ?? isolateBudget,
  );
  const parts = new PartMover(source, options, pool, stop);
  try {
    if (signal.aborted) obey();
    for (let number = 1; (number - 1) * partBytes < source.size; number++) {
      if (stored.has(number)) continue;
      const offset = (number - 1) * partBytes;
      const range = { offset, length: Math.min(partBytes, source.size - offset) };
      await (isStreamed ? parts.stream(number, range) : parts.start(number, range));
    }
    await parts.settle();
  } catch (reason) {
    stop.abort(reason);
    await parts.settle().catch(() => {});
    throw stop.signal.reason;
  } finally {
    signal.removeEventListener("abort", obey);
    pool.close();
  }
}

/** The parts of one transfer. Failures of those under way abort `stop`, whose signal has the first reason. */
class PartMover {
  private readonly inFlight = new Set<Promise<void>>();
  /** Ends when all parts begun before have been hashed. */
  private hashed: Promise<void> = Promise.resolve();

  constructor(
    private readonly source: RangedSource,
    private readonly options: TransferOptions,
    private readonly pool: BufferPool,
    private readonly stop: AbortController,
  ) {}

  /** Starts a part in a buffer of its own, as soon as there is one. */
  async start(number: number, range: ByteRange): Promise<void> {
    const buffer = await this.takeBuffer(range.length);
    const before = this.hashed;
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    promise.catch(() => {});
    this.hashed = promise;
    const hash = async (bytes: Uint8Array) => {
      await before;
      await this.options.digest?.take(range.offset, bytes);
      resolve();
    };
    const work = this.move(number, range, buffer, hash)
      .catch((reason: unknown) => {
        this.stop.abort(reason);
        reject(reason);
      })
      .finally(() => this.inFlight.delete(work));
    this.inFlight.add(work);
  }

  /** Moves a part that is too large to be held. */
  async stream(number: number, range: ByteRange): Promise<void> {
    const { store, key, uploadId, digest, onStored } = this.options;
    const buffer = await this.takeBuffer(STREAM_BUFFER_BYTES);
    const pipe = new FixedLengthStream(range.length);
    const writer = pipe.writable.getWriter();
    writer.closed.catch(() => {});
    const release = () => void writer.abort(this.stop.signal.reason).catch(() => {});
    this.stop.signal.addEventListener("abort", release);
    const part = { stream: pipe.readable, length: range.length };
    const sending = storing(store.putPart(key, uploadId, number, part));
    sending.catch((reason: unknown) => this.stop.abort(reason));
    try {
      const read = await this.readInto(range, buffer, async (chunk, offset) => {
        await digest?.take(range.offset + offset, chunk);
        await writer.write(chunk);
      });
      await writer.close();
      this.pool.giveBack(read);
    } catch (reason) {
      this.stop.abort(reason);
      await sending.catch(() => {});
      throw this.stop.signal.reason;
    } finally {
      this.stop.signal.removeEventListener("abort", release);
    }
    await onStored(await sending);
  }

  /** Waits for the parts under way; fails with the first reason. */
  async settle(): Promise<void> {
    await Promise.all(this.inFlight);
    this.stop.signal.throwIfAborted();
  }

  private async move(
    number: number,
    range: ByteRange,
    buffer: ArrayBufferLike,
    hash: (bytes: Uint8Array) => Promise<void>,
  ): Promise<void> {
    const { store, key, uploadId, onStored } = this.options;
    const filled = await this.readInto(range, buffer);
    const bytes = new Uint8Array(filled, 0, range.length);
    const sending = storing(store.putPart(key, uploadId, number, bytes));
    sending.catch((reason: unknown) => this.stop.abort(reason));
    const hashing = hash(bytes);
    // Whichever fails, nothing goes on behind the caller's back.
    await Promise.allSettled([sending, hashing]);
    await hashing;
    const receipt = await sending;
    this.pool.giveBack(filled);
    await onStored(receipt);
  }

  /**
   * Reads a range into a buffer, which it gives back, moved. Given a use for them, it hands on what came and begins
   * at the buffer's start again.
   */
  private async readInto(
    range: ByteRange,
    buffer: ArrayBufferLike,
    use?: (chunk: Uint8Array, offset: number) => Promise<void>,
  ): Promise<ArrayBufferLike> {
    const { signal } = this.stop;
    signal.throwIfAborted();
    const reader = openByteReader(await reading(this.source.read(range, signal), signal));
    const leave = () => void reader.cancel(signal.reason);
    signal.addEventListener("abort", leave);
    let current = buffer;
    try {
      signal.throwIfAborted();
      for (let filled = 0; filled < range.length; ) {
        const start = use === undefined ? filled : 0;
        const most = Math.min(range.length - filled, current.byteLength - start);
        const chunk = await reading(reader.read(new Uint8Array(current, start, most)), signal);
        signal.throwIfAborted();
        if (chunk.length === 0) throw brokenOff();
        await use?.(chunk, filled);
        filled += chunk.length;
        current = chunk.buffer;
        this.options.onBytes?.(chunk.length);
      }
    } finally {
      signal.removeEventListener("abort", leave);
      void reader.cancel(undefined);
    }
    return current;
  }

  private async takeBuffer(bytes: number): Promise<ArrayBufferLike> {
    let buffer = await this.obtain(() => this.pool.take());
    while (buffer.byteLength < Math.min(bytes, this.pool.bufferBytes)) {
      const small = buffer;
      buffer = await this.obtain(() => this.pool.grow(small));
    }
    return buffer;
  }

  private async obtain(ask: () => ArrayBufferLike | undefined): Promise<ArrayBufferLike> {
    const { wait = (ms: number) => scheduler.wait(ms) } = this.options;
    for (;;) {
      this.stop.signal.throwIfAborted();
      const buffer = ask();
      if (buffer !== undefined) return buffer;
      // Who stands in the budget's queue holds up those behind, and so must not wait for a checkpoint that takes long.
      const isQueued = this.pool.heldBytes < this.pool.bufferBytes;
      const mayRace = this.inFlight.size > 0 && !isQueued;
      await (mayRace ? Promise.race(this.inFlight) : wait(MEMORY_POLL_MS));
    }
  }
}

/** Reads a source on from where the digest is, to its end. */
export async function hashSource(
  source: RangedSource,
  digest: RunningDigest,
  { signal, onBytes }: Pick<TransferOptions, "signal" | "onBytes">,
): Promise<void> {
  if (digest.position >= source.size) return;
  const offset = digest.position;
  const range = { offset, length: source.size - offset };
  const reader = openByteReader(await reading(source.read(range, signal), signal));
  const leave = () => void reader.cancel(signal.reason);
  signal.addEventListener("abort", leave);
  let buffer: ArrayBufferLike = new ArrayBuffer(STREAM_BUFFER_BYTES);
  try {
    signal.throwIfAborted();
    while (digest.position < source.size) {
      const most = Math.min(buffer.byteLength, source.size - digest.position);
      const view = new Uint8Array(buffer, 0, most);
      const chunk: Uint8Array = await reading(reader.read(view), signal);
      signal.throwIfAborted();
      if (chunk.length === 0) throw brokenOff();
      await digest.take(digest.position, chunk);
      buffer = chunk.buffer;
      onBytes?.(chunk.length);
    }
  } finally {
    signal.removeEventListener("abort", leave);
    void reader.cancel(undefined);
  }
}

/** A stored blob of known size as a source. Its store's failures are a source's, not those of the store written to. */
export function blobSource(store: BlobStore, key: string, size: number): RangedSource {
  return {
    size,
    async read(range, signal) {
      const isWhole = range.offset === 0 && range.length === size;
      const blob = await reading(store.read(key, isWhole ? undefined : range), signal);
      if (blob?.size === size) return blob.body;
      await blob?.body.cancel();
      const reason = blob === undefined ? "its stored copy is gone" : "its stored copy is damaged";
      throw new Fault("source_unreachable", { reason });
    },
  };
}

/** Awaits what a source gives; whatever it fails with, unstopped, reaches the caller as a Fault of the source. */
async function reading<T>(call: Promise<T>, signal: AbortSignal): Promise<T> {
  try {
    return await call;
  } catch (cause) {
    signal.throwIfAborted();
    if (cause instanceof Fault && cause.code !== "store_unavailable") throw cause;
    throw brokenOff(cause);
  }
}

function brokenOff(cause?: unknown): Fault {
  const reason = "its data broke off, or is not as long as was announced";
  return new Fault("source_unreachable", { reason }, cause);
}

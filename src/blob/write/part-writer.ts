import { Fault } from "../../domain/fault.ts";
import { FifoLock } from "../../lib/fifo-lock.ts";
import type { BlobStore, PartReceipt, PutReceipt, SizedStream } from "../store.ts";
import { storing } from "../storing.ts";
import { callLimitMs, within } from "../time-limit.ts";
import { type MemoryPool, type MemoryShare, SMALL_BUFFER_BYTES } from "./memory-pool.ts";
import { SPOOL_ROW_BYTES, type Spool } from "./spool.ts";

/** How far an upload in parts is. */
export interface Progress {
  /** Whole parts that are stored, counted from the upload's first. */
  readonly parts: number;
  /** Bytes behind those, which the spool keeps. */
  readonly tailBytes: number;
}

export interface PartWriterOptions {
  readonly store: BlobStore;
  readonly key: string;
  /** Every part but the last, which may be shorter. */
  readonly partBytes: number;
  /** The number in its multipart upload of the first part: more than 1 where this is a later piece of a whole. */
  readonly firstPart?: number;
  /** The open multipart upload that the parts belong to; asked for with the first part, and once. */
  readonly openMultipart: () => Promise<string>;
  readonly from?: Progress;
  readonly spool: Spool;
  readonly pool: MemoryPool;
  /** The stream's memory, which its reader shares. */
  readonly share: MemoryShare;
  /** A part is stored, and all before it are: the caller's checkpoint, one at a time and in order. */
  readonly onStored?: (receipt: PartReceipt, parts: number) => Promise<void> | void;
  /** Holds the first reason to stop; failures of parts under way abort it. */
  readonly stop: AbortController;
  /** The clock, in milliseconds; for tests. */
  readonly now?: () => number;
}

/** What became of the bytes once all were there. */
export type Sealed =
  | { readonly put: PutReceipt; readonly multipart?: undefined }
  | { readonly put?: undefined; readonly multipart: MultipartReceipt };

/** A finished set of parts, to be completed by whoever opened the upload. */
export interface MultipartReceipt {
  readonly uploadId: string;
  readonly parts: readonly PartReceipt[];
}

/** How often a slow stream is asked for its memory, and how slow that is. */
const LOOK_MS = 1_000;
const PATIENCE_MS = 2_000;
const SLOW_BYTES_PER_MS = 1_024;

/** A buffer begins with so much, and doubles as it fills. */
const FIRST_BUFFER_BYTES = 16 * 1024;

/** Parts under way at once. A Worker has six open connections, and a spooled part takes two. */
const MAX_UNDER_WAY = 3;

/** Pauses before a part is read from the spool and sent once more. */
const RETRY_MS = [200, 1_000];
/** A try that took so long is not repeated: the caller is to hear of it. */
const LONG_TRY_MS = 5_000;

/**
 * The one writer of bytes whose number is not known, or that are to be gone on with later: it cuts them into parts and
 * sends several at a time. Who reads the bytes (from-body.ts, from-ranges.ts, from-pieces.ts) awaits each `put`.
 *
 * A part fills in memory while there is some. Where there is none, or where the stream is slow and memory scarce, what
 * came of the part goes to the spool in small steps, and the part is sent from there. So a stream takes what it needs
 * to be fast, holds nothing that others need, and waits for nobody but its own store.
 */
export class PartWriter {
  readonly #lock = new FifoLock();
  readonly #underWay = new Set<Promise<void>>();
  readonly #receipts: PartReceipt[] = [];
  readonly #timer: ReturnType<typeof setInterval>;
  readonly #now: () => number;
  /** Ends when all parts sent so far are stored and put down; fails if one of them is not. */
  #settled: Promise<void> = Promise.resolve();
  #multipartId: Promise<string> | undefined;
  /** Parts sent, and those of them that are put down. */
  #sent: number;
  #stored: number;
  /** What the spool keeps of the part that fills, and of those that are under way. */
  readonly #spooled = new Map<number, number>();
  #buffer = new ArrayBuffer(0);
  #filled = 0;
  #filledSinceMs = 0;
  #lastBytesMs = 0;
  #isFast = false;

  constructor(private readonly options: PartWriterOptions) {
    const { from = { parts: 0, tailBytes: 0 }, now = () => Date.now() } = options;
    this.#now = now;
    this.#sent = from.parts;
    this.#stored = from.parts;
    if (from.tailBytes > 0) this.#spooled.set(from.parts + 1, from.tailBytes);
    this.#timer = setInterval(() => this.#yieldMemory(), LOOK_MS);
  }

  /** Parts that are stored and put down, and what the spool has of the one behind them. */
  get progress(): Progress {
    const tailBytes = this.#spooled.get(this.#stored + 1) ?? 0;
    return { parts: this.#stored, tailBytes };
  }

  /** Bytes in all, those of earlier times included. */
  get position(): number {
    return this.#sent * this.options.partBytes + this.#partLength;
  }

  /** Whether there is anything left to be stored by `seal`. */
  get hasRest(): boolean {
    return this.#partLength > 0 || this.#sent === 0;
  }

  /** Takes bytes, which are free for other use once the promise settles. Throws the reason to stop. */
  put(bytes: Uint8Array): Promise<void> {
    return this.#lock.run(async () => {
      for (let rest = bytes; rest.length > 0; ) {
        this.options.stop.signal.throwIfAborted();
        if (this.#partLength === this.options.partBytes) await this.#send();
        const taken = rest.subarray(0, await this.#makeRoom());
        new Uint8Array(this.#buffer, this.#filled).set(taken);
        this.#filled += taken.length;
        this.#lastBytesMs = this.#now();
        rest = rest.subarray(taken.length);
      }
    });
  }

  /** Stores the rest. With `mayPut`, what fits into one part is stored by one `put`, without a multipart upload. */
  seal({ mayPut }: { readonly mayPut: boolean }): Promise<Sealed> {
    return this.#lock.run(async () => {
      this.options.stop.signal.throwIfAborted();
      if (mayPut && this.#sent === 0) return { put: await this.#putWhole() };
      if (this.#partLength > 0) await this.#send();
      await this.settle();
      return { multipart: { uploadId: await this.#open(), parts: this.#receipts } };
    });
  }

  /** Keeps what is no whole part in the spool, to go on from there another time; gives how far all is. */
  suspend(): Promise<Progress> {
    return this.#lock.run(async () => {
      if (this.#partLength === this.options.partBytes) await this.#send();
      // A part that is missing makes those behind it worthless.
      await this.#settled;
      await this.#spill();
      return this.progress;
    });
  }

  /** Waits for the parts under way; fails with the first reason. */
  async settle(): Promise<void> {
    await Promise.allSettled(this.#underWay);
    this.options.stop.signal.throwIfAborted();
  }

  /** Waits until nothing is under way, whatever becomes of it, and gives all memory back. */
  async close(): Promise<void> {
    clearInterval(this.#timer);
    await Promise.allSettled(this.#underWay);
    await this.#lock.run(async () => this.#freeBuffer());
  }

  get #part(): number {
    return this.#sent + 1;
  }

  /** Bytes of the part that fills. */
  get #partLength(): number {
    return (this.#spooled.get(this.#part) ?? 0) + this.#filled;
  }

  /** Makes room in the buffer for some bytes of the part that fills, and gives for how many. */
  async #makeRoom(): Promise<number> {
    for (;;) {
      this.options.stop.signal.throwIfAborted();
      const left = this.options.partBytes - this.#partLength;
      const room = Math.min(left, this.#buffer.byteLength - this.#filled);
      if (room > 0) {
        if (this.#filled === 0) this.#filledSinceMs = this.#now();
        return room;
      }
      if (this.#grow(this.#filled + left)) continue;
      if (this.#underWay.size > 0) await Promise.race(this.#underWay);
      else await this.#spill();
    }
  }

  #grow(most: number): boolean {
    const { share } = this.options;
    const doubled = Math.min(most, Math.max(FIRST_BUFFER_BYTES, 2 * this.#buffer.byteLength));
    // Who has filled a part in memory will fill the next one.
    const sizes = this.#isFast && this.#filled === 0 ? [most, doubled] : [doubled];
    for (const size of sizes) {
      const larger = share.resize(this.#buffer, size);
      if (larger === undefined) continue;
      this.#buffer = larger;
      return true;
    }
    return false;
  }

  /** Moves what came of the part from memory to the spool, and keeps a small buffer at most. */
  async #spill(): Promise<void> {
    const { spool, share } = this.options;
    const part = this.#part;
    for (let from = 0; from < this.#filled; from += SPOOL_ROW_BYTES) {
      const length = Math.min(SPOOL_ROW_BYTES, this.#filled - from);
      const offset = this.#spooled.get(part) ?? 0;
      await spool.append(part, offset, new Uint8Array(this.#buffer, from, length));
      this.#spooled.set(part, offset + length);
    }
    this.#filled = 0;
    this.#isFast = false;
    const size = Math.min(this.#buffer.byteLength, SMALL_BUFFER_BYTES);
    this.#buffer = share.resize(this.#buffer, size) ?? this.#buffer;
  }

  /** A stream that is slow, or has fallen silent, gives way to others where memory is scarce. */
  #yieldMemory(): void {
    const { pool, stop } = this.options;
    const isSmall = this.#buffer.byteLength <= SMALL_BUFFER_BYTES;
    const nowMs = this.#now();
    const elapsedMs = nowMs - this.#filledSinceMs;
    const isSlow = elapsedMs > PATIENCE_MS && this.#filled < elapsedMs * SLOW_BYTES_PER_MS;
    const isSilent = nowMs - this.#lastBytesMs > PATIENCE_MS;
    if (isSmall || !(isSlow || isSilent) || !pool.isScarce || stop.signal.aborted) return;
    this.#lock.run(() => this.#spill()).catch((reason: unknown) => stop.abort(reason));
  }

  /** Starts to send the part that filled, once not too many are under way; what fails then stops everything. */
  async #send(): Promise<void> {
    while (this.#underWay.size >= MAX_UNDER_WAY) await Promise.race(this.#underWay);
    this.options.stop.signal.throwIfAborted();
    const { stop, share, spool, onStored } = this.options;
    const number = this.#part;
    const spooledBytes = this.#spooled.get(number) ?? 0;
    const bytes = new Uint8Array(this.#buffer, 0, this.#filled);
    const buffer = this.#buffer;
    const bufferBytes = buffer.byteLength;
    this.#isFast = spooledBytes === 0;
    const before = this.#settled;
    const work = (async () => {
      try {
        this.#receipts[number - 1] = await this.#store(number, spooledBytes, bytes);
        share.free(buffer);
      } catch (reason) {
        share.forget(bufferBytes);
        throw reason;
      }
      await before;
      await onStored?.(this.#receiptOf(number), number);
      this.#stored = number;
      if (spooledBytes > 0) await spool.drop(number);
      this.#spooled.delete(number);
    })();
    this.#settled = work;
    const watched: Promise<void> = work
      .catch((reason: unknown) => stop.abort(reason))
      .finally(() => this.#underWay.delete(watched));
    this.#underWay.add(watched);
    this.#sent = number;
    this.#buffer = new ArrayBuffer(0);
    this.#filled = 0;
  }

  #receiptOf(number: number): PartReceipt {
    const receipt = this.#receipts[number - 1];
    if (receipt === undefined) throw new Error("the part is not stored");
    return receipt;
  }

  async #store(number: number, spooledBytes: number, bytes: Uint8Array): Promise<PartReceipt> {
    const { store, key, firstPart = 1 } = this.options;
    const uploadId = await this.#open();
    return this.#sending(number, spooledBytes, bytes, (body) =>
      store.putPart(key, uploadId, firstPart + number - 1, body),
    );
  }

  async #putWhole(): Promise<PutReceipt> {
    const { store, key, spool, share } = this.options;
    const spooledBytes = this.#spooled.get(1) ?? 0;
    const buffer = this.#buffer;
    const bytes = new Uint8Array(buffer, 0, this.#filled);
    this.#buffer = new ArrayBuffer(0);
    this.#filled = 0;
    let receipt: PutReceipt;
    try {
      receipt = await this.#sending(1, spooledBytes, bytes, (body) => store.put(key, body));
      share.free(buffer);
    } catch (reason) {
      share.forget(buffer.byteLength);
      throw reason;
    }
    if (spooledBytes > 0) await spool.drop(1);
    this.#spooled.delete(1);
    return receipt;
  }

  /** Sends what the spool has of a part, and the bytes in memory behind it. */
  async #sending<T>(
    number: number,
    spooledBytes: number,
    bytes: Uint8Array,
    send: (body: Uint8Array | SizedStream) => Promise<T>,
  ): Promise<T> {
    if (spooledBytes === 0) return storing(send(bytes));
    for (const pauseMs of RETRY_MS) {
      const startedMs = this.#now();
      try {
        return await this.#sendSpooled(number, spooledBytes, bytes, send);
      } catch (error) {
        const isPassing = error instanceof Fault && error.code === "store_unavailable";
        if (!isPassing || this.#now() - startedMs > LONG_TRY_MS) throw error;
      }
      await scheduler.wait(pauseMs);
      this.options.stop.signal.throwIfAborted();
    }
    return this.#sendSpooled(number, spooledBytes, bytes, send);
  }

  async #sendSpooled<T>(
    number: number,
    spooledBytes: number,
    bytes: Uint8Array,
    send: (body: SizedStream) => Promise<T>,
  ): Promise<T> {
    const length = spooledBytes + bytes.length;
    const { readable, writable } = new FixedLengthStream(length);
    const writer = writable.getWriter();
    writer.closed.catch(() => {});
    const kept = (await this.options.spool.open(number, spooledBytes)).getReader();
    const pump = async () => {
      for (;;) {
        const { done, value } = await kept.read();
        if (done) break;
        await writer.write(value);
      }
      // A copy, for a store that was slow to take it may read it when the buffer is free again.
      if (bytes.length > 0) await writer.write(bytes.slice());
      await writer.close();
    };
    const pumping = pump().catch((reason: unknown) => writer.abort(reason).catch(() => {}));
    try {
      return await storing(within(callLimitMs(length), send({ stream: readable, length })));
    } finally {
      // A store that has failed takes nothing more.
      await Promise.all([writer.abort(), kept.cancel()]).catch(() => {});
      await pumping;
    }
  }

  /** The multipart upload, which is opened while bytes go on coming. */
  #open(): Promise<string> {
    this.#multipartId ??= this.options.openMultipart();
    return this.#multipartId;
  }

  #freeBuffer(): void {
    this.options.share.free(this.#buffer);
    this.#buffer = new ArrayBuffer(0);
    this.#filled = 0;
  }
}

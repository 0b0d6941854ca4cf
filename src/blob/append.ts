import { Fault } from "../domain/fault.ts";
import { openByteReader } from "../lib/streams.ts";
import { type BufferBudget, isolateBudget } from "./buffer-budget.ts";
import { BufferPool } from "./buffer-pool.ts";
import { storing } from "./multipart.ts";
import { buffersFor } from "./part-size.ts";
import type { BlobStore, PartReceipt } from "./store.ts";

/*
 * The third way in which bytes come in: piece by piece, each a request of its own that may break off anywhere. They
 * fill parts of one size; what a piece leaves over, the tail, is kept until the next one goes on from there.
 */

/** How far an upload is. */
export interface Progress {
  /** Whole parts that are stored, counted from the upload's first. */
  readonly parts: number;
  /** Bytes behind those, kept as the tail. */
  readonly tailBytes: number;
}

export interface AppendOptions {
  readonly store: BlobStore;
  readonly key: string;
  /** The open multipart upload that the parts belong to; asked for with the first one. */
  readonly openMultipart: () => Promise<string>;
  readonly partBytes: number;
  /** The number of the first part: more than 1 where the upload is a later piece of a whole. */
  readonly firstPart: number;
  /** Whether what fits into one part may be stored by one `put`, without a multipart upload. */
  readonly mayPut: boolean;
  readonly from: Progress;
  /** The bytes that an earlier piece left over; asked for if there are any. */
  readonly readTail: () => Promise<Uint8Array>;
  readonly keepTail: (bytes: Uint8Array) => Promise<void>;
  /** The most bytes that the upload may have, the earlier ones included. */
  readonly maxBytes: number;
  /** What it will have in the end; undefined: that is not known yet. */
  readonly totalBytes: number | undefined;
  /** Sees all bytes in order, before they are stored. Throws a Fault to refuse them. */
  readonly onBytes: (bytes: Uint8Array) => Promise<void>;
  /** A part is stored, and all before it are: the caller's checkpoint, one at a time. */
  readonly onStored: (receipt: PartReceipt, parts: number) => Promise<void>;
  /** Stops the work with its reason. */
  readonly signal: AbortSignal;
  /** Where buffers are taken from, instead of the isolate's budget; for tests. */
  readonly budget?: BufferBudget;
}

/** How far a piece came. */
export interface Appended extends Progress {
  /** Whether all is there, in one object, by a `put`. */
  readonly isPut: boolean;
  /** Why it ended before the body did. */
  readonly failure: unknown;
}

const MEMORY_POLL_MS = 100;
// As in intake.ts: about as much as comes at once.
const CHUNK_BYTES = 512 * 1024;

/**
 * Reads a piece into parts, on from where the one before ended. Bytes that came are kept even when the body breaks off
 * or the work is stopped; only those that are refused, or that the store does not take, are not. Never throws.
 */
export async function append(
  body: ReadableStream<Uint8Array>,
  options: AppendOptions,
): Promise<Appended> {
  const { partBytes, budget = isolateBudget } = options;
  const pool = new BufferPool(Math.max(2, buffersFor(partBytes)), partBytes, budget);
  try {
    return await new Piece(body, options, pool).run();
  } finally {
    pool.close();
  }
}

class Piece {
  /** Holds the first reason to stop. */
  private readonly stop = new AbortController();
  private readonly underWay = new Set<Promise<void>>();
  /** Ends when all parts sent so far are stored and put down; fails if one of them is not. */
  private settled: Promise<void> = Promise.resolve();
  /** Parts sent, and those of them that are put down. */
  private sent: number;
  private parts: number;
  /** The part that fills, and how far it is filled. */
  private part: ArrayBufferLike = new ArrayBuffer(0);
  private filled = 0;

  constructor(
    private readonly body: ReadableStream<Uint8Array>,
    private readonly options: AppendOptions,
    private readonly pool: BufferPool,
  ) {
    this.sent = options.from.parts;
    this.parts = options.from.parts;
  }

  async run(): Promise<Appended> {
    const { from, signal } = this.options;
    const obey = () => this.stop.abort(signal.reason);
    signal.addEventListener("abort", obey);
    if (signal.aborted) obey();
    let rest: Pick<Appended, "tailBytes" | "isPut"> | undefined;
    try {
      await this.recallTail();
      await this.read();
      rest = await this.storeRest();
    } catch (reason) {
      this.stop.abort(reason);
    }
    signal.removeEventListener("abort", obey);
    await Promise.allSettled(this.underWay);
    // An old tail is as good as before, unless a part has taken it up.
    const oldTail = this.parts > from.parts ? 0 : from.tailBytes;
    const failure: unknown = this.stop.signal.reason;
    return { parts: this.parts, tailBytes: oldTail, isPut: false, ...rest, failure };
  }

  private async recallTail(): Promise<void> {
    const { from, readTail } = this.options;
    if (from.tailBytes === 0) return;
    const tail = await readTail();
    await this.makeRoom(tail.length);
    new Uint8Array(this.part).set(tail);
    this.filled = tail.length;
  }

  /** Reads until the body ends, breaks off or is stopped. Throws when its bytes are refused. */
  private async read(): Promise<void> {
    const { from, partBytes, maxBytes, onBytes } = this.options;
    const { signal } = this.stop;
    const reader = openByteReader(this.body);
    const leave = () => void reader.cancel(signal.reason);
    signal.addEventListener("abort", leave);
    let position = from.parts * partBytes + from.tailBytes;
    // Not into the part: a read that fails takes its buffer along, and what is in it.
    let buffer: ArrayBufferLike = new ArrayBuffer(CHUNK_BYTES);
    try {
      while (!signal.aborted) {
        const wanted = Math.min(CHUNK_BYTES, partBytes - this.filled);
        const chunk: Uint8Array = await reader
          .read(new Uint8Array(buffer, 0, wanted))
          .catch(brokenOff);
        if (signal.aborted || chunk.length === 0) return;
        position += chunk.length;
        if (position > maxBytes) throw new Fault("image_too_large", { maximum: maxBytes });
        await onBytes(chunk);
        await this.put(chunk);
        buffer = chunk.buffer;
      }
    } catch (reason) {
      if (!(reason instanceof Fault) || reason.code !== "body_broken_off") throw reason;
      this.stop.abort(reason);
    } finally {
      signal.removeEventListener("abort", leave);
      void reader.cancel(undefined);
    }
  }

  /** Adds bytes to the part that fills, and sends it when it is full. */
  private async put(chunk: Uint8Array): Promise<void> {
    await this.makeRoom(this.filled + chunk.length);
    new Uint8Array(this.part).set(chunk, this.filled);
    this.filled += chunk.length;
    if (this.filled < this.options.partBytes) return;
    this.send();
  }

  /** What fills no part: the upload's end, or its tail. */
  private async storeRest(): Promise<Pick<Appended, "tailBytes" | "isPut">> {
    const { store, key, partBytes, mayPut, totalBytes, keepTail } = this.options;
    await this.settled;
    const bytes = new Uint8Array(this.part, 0, this.filled);
    if (this.parts * partBytes + this.filled !== totalBytes) {
      if (this.filled > 0) await keepTail(bytes);
      return { tailBytes: this.filled, isPut: false };
    }
    const isPut = mayPut && this.parts === 0;
    if (isPut) await storing(store.put(key, bytes));
    else if (this.filled > 0) this.send();
    await this.settled;
    return { tailBytes: 0, isPut };
  }

  /** Starts to send the part that filled; what fails then stops everything. */
  private send(): void {
    const { onStored } = this.options;
    const bytes = new Uint8Array(this.part, 0, this.filled);
    const number = ++this.sent;
    const before = this.settled;
    const sending = this.store(number, bytes);
    const work = (async () => {
      const receipt = await sending;
      this.pool.giveBack(bytes.buffer);
      await before;
      await onStored(receipt, number);
      this.parts = number;
    })();
    this.settled = work;
    const watched: Promise<void> = work
      .catch((reason: unknown) => this.stop.abort(reason))
      .finally(() => this.underWay.delete(watched));
    this.underWay.add(watched);
    this.part = new ArrayBuffer(0);
    this.filled = 0;
  }

  private async store(number: number, bytes: Uint8Array): Promise<PartReceipt> {
    const { store, key, firstPart, openMultipart } = this.options;
    const uploadId = await openMultipart();
    return storing(store.putPart(key, uploadId, firstPart + number - 1, bytes));
  }

  /** Sees to it that the part that fills has room for so many bytes. */
  private async makeRoom(bytes: number): Promise<void> {
    while (this.part.byteLength < bytes) {
      const small = this.part;
      const larger = small.byteLength === 0 ? this.pool.take() : this.pool.grow(small);
      if (larger !== undefined) {
        this.part = larger;
        continue;
      }
      await (this.underWay.size > 0 ? Promise.race(this.underWay) : scheduler.wait(MEMORY_POLL_MS));
      this.stop.signal.throwIfAborted();
    }
  }
}

function brokenOff(cause: unknown): never {
  throw new Fault("body_broken_off", {}, cause);
}

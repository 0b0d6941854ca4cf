import { Digests } from "../blob/digest.ts";
import type { ByteRange } from "../blob/store.ts";
import { type ByteReader, openByteReader } from "../lib/streams.ts";
import { type BufferLease, type FillMemory, fillMemory } from "./fill-memory.ts";
import { type Segment, type Segments, segmentAt } from "./segments.ts";

/** Segments that one read looks up: two calls each, of the 10,000 subrequests that a request may make. */
const MAX_LOOK_UPS = 4000;
/** Segments that may be on their way into the cache while the next one is read; then it is waited for, but not long. */
const MAX_PUTS = 2;
const MAX_WAIT_MS = 3_000;
const SCRATCH_BYTES = 256 * 1024;

/** A blob that is read through the cache. */
export interface CachedBlob {
  /** Bytes of the whole. */
  readonly size: number;
  /** The MD5 of the whole in hex; null where it is unknown. */
  readonly checksum: string | null;
  readonly segments: Segments;
  /** Reads from the store. */
  readonly read: (range: ByteRange) => Promise<ReadableStream<Uint8Array>>;
}

/** How a read went. */
export interface ReadEnd {
  /** Whether the store was not needed. */
  readonly isHit: boolean;
  /** Bytes that were put into the cache. */
  readonly cachedBytes: number;
  /** Whether every segment of the range is in the cache now. */
  readonly isComplete: boolean;
  /** False when the whole was read and has another checksum: nothing that was put is to be believed. */
  readonly isSound: boolean;
  /** Why the bytes ended early; undefined also when their reader had enough of them. */
  readonly failure: unknown;
}

/** Where bytes come from at the moment. */
interface Source {
  readonly reader: ByteReader;
  readonly isCached: boolean;
}

/**
 * One read of a range, segment by segment: each from the cache if it is there, else from the store, which is asked once
 * for a run of missing ones. Those are read whole, and put into the cache while the next is read. The memory that it
 * takes is a few segments, whatever the range.
 */
export class CachedRead {
  /** The next byte that is to come; it may lie before the range, where a segment begins. */
  #at: number;
  readonly #end: number;
  /** Opened ahead of the answer, whose status depends on it. */
  #first: Source | undefined;
  #store: ByteReader | undefined;
  #usedStore = false;
  /** False for the rest of this read once the cache fails, so that it slows nobody down again and again. */
  #isUsable = true;
  #lookUps = 0;
  #isComplete = true;
  #cachedBytes = 0;
  #digest: Digests | undefined;
  readonly #puts = new Set<Promise<void>>();

  private constructor(
    private readonly blob: CachedBlob,
    private readonly range: ByteRange,
    private readonly memory: FillMemory,
  ) {
    this.#at = segmentAt(blob.size, range.offset).offset;
    this.#end = range.offset + range.length;
  }

  /** Begins to read a range of one byte or more. Fails as the store does. */
  static async open(
    blob: CachedBlob,
    range: ByteRange,
    memory: FillMemory = fillMemory,
  ): Promise<CachedRead> {
    const read = new CachedRead(blob, range, memory);
    read.#first = await read.#open();
    const fillsWhole = range.length === blob.size && !read.startsInCache;
    if (fillsWhole && blob.checksum !== null) read.#digest = new Digests(["md5"]);
    return read;
  }

  get startsInCache(): boolean {
    return this.#first?.isCached === true;
  }

  /** Writes the range to a stream, or to none where only the cache is to be filled. Never fails: see ReadEnd. */
  async run(sink?: WritableStream<Uint8Array>): Promise<ReadEnd> {
    const writer = sink?.getWriter();
    writer?.closed.catch(() => undefined);
    let failure: unknown;
    try {
      await this.#pass(writer);
    } catch (error) {
      if (!(error instanceof ReaderGone)) failure = error;
      this.#isComplete = false;
      writer?.abort(error).catch(() => undefined);
    }
    await this.#closeStore();
    await Promise.all(this.#puts);
    return {
      isHit: !this.#usedStore && failure === undefined,
      cachedBytes: this.#cachedBytes,
      isComplete: this.#isComplete,
      isSound: await this.#isSound(),
      failure,
    };
  }

  async #pass(writer: Writer | undefined): Promise<void> {
    for (let source = this.#first; this.#at < this.#end; source = undefined) {
      source ??= await this.#open();
      const { offset, length } = segmentAt(this.blob.size, this.#at);
      const wanted = Math.min(offset + length, this.#end);
      await (source.isCached
        ? this.#copyCached(source.reader, wanted, writer)
        : this.#copyStored(source.reader, wanted, writer));
    }
  }

  /** What gives the bytes from the position on: the cache has whole segments only. */
  async #open(): Promise<Source> {
    const segment = segmentAt(this.blob.size, this.#at);
    if (this.#at === segment.offset) {
      const cached = await this.#match(segment);
      if (cached !== undefined) {
        await this.#closeStore();
        return { reader: openByteReader(cached), isCached: true };
      }
    }
    if (this.#store === undefined) {
      const last = segmentAt(this.blob.size, this.#end - 1);
      // Without the cache nothing is read that nobody wants.
      if (!this.#isUsable) this.#at = Math.max(this.#at, this.range.offset);
      const end = this.#isUsable ? last.offset + last.length : this.#end;
      const body = await this.blob.read({ offset: this.#at, length: end - this.#at });
      this.#store = openByteReader(body);
      this.#usedStore = true;
    }
    return { reader: this.#store, isCached: false };
  }

  async #match(segment: Segment): Promise<ReadableStream<Uint8Array> | undefined> {
    if (this.#lookUps >= MAX_LOOK_UPS) this.#isUsable = false;
    if (!this.#isUsable) return undefined;
    this.#lookUps += 1;
    const found = await this.blob.segments.match(segment);
    if (found !== "failed") return found;
    this.#isUsable = false;
    return undefined;
  }

  /** Passes bytes of a cached segment on; what is cut short there is read on from the store, at that byte. */
  async #copyCached(reader: ByteReader, end: number, writer: Writer | undefined): Promise<void> {
    let scratch: ArrayBufferLike = new ArrayBuffer(SCRATCH_BYTES);
    try {
      while (this.#at < end) {
        const read = reader.read(new Uint8Array(scratch, 0, scratch.byteLength));
        const bytes = await read.catch(() => undefined);
        if (bytes === undefined || bytes.length === 0) {
          this.#isUsable = false;
          this.#isComplete = false;
          return;
        }
        scratch = bytes.buffer;
        await this.#deliver(bytes, writer);
      }
    } finally {
      await reader.cancel(undefined);
    }
  }

  /** Passes bytes from the store on, and puts the segment into the cache if it is there from its first byte. */
  async #copyStored(reader: ByteReader, end: number, writer: Writer | undefined): Promise<void> {
    const segment = segmentAt(this.blob.size, this.#at);
    const isFromStart = this.#at === segment.offset;
    const lease = this.#isUsable && isFromStart ? this.memory.take() : undefined;
    const isKept = lease !== undefined;
    let isPutting = false;
    let buffer: ArrayBufferLike = new ArrayBuffer(isKept ? segment.length : SCRATCH_BYTES);
    const stop = isKept ? segment.offset + segment.length : end;
    try {
      while (this.#at < stop) {
        const from = isKept ? this.#at - segment.offset : 0;
        const length = Math.min(buffer.byteLength - from, stop - this.#at);
        const bytes = await reader.read(new Uint8Array(buffer, from, length));
        if (bytes.length === 0) throw new Error("the store gave fewer bytes than the image has");
        buffer = bytes.buffer;
        await this.#deliver(bytes, writer);
      }
      if (lease !== undefined) {
        isPutting = true;
        await this.#put(segment, new Uint8Array(buffer), lease);
      } else {
        this.#isComplete = false;
      }
    } finally {
      if (!isPutting) lease?.release();
    }
  }

  /** Passes on what of the next bytes lies in the range. */
  async #deliver(bytes: Uint8Array, writer: Writer | undefined): Promise<void> {
    const from = Math.min(bytes.length, Math.max(0, this.range.offset - this.#at));
    const to = Math.min(bytes.length, Math.max(from, this.#end - this.#at));
    const wanted = bytes.subarray(from, to);
    if (wanted.length > 0) {
      await this.#digest?.update(wanted);
      await writer?.write(wanted).catch((cause: unknown) => {
        throw new ReaderGone("the reader has left", { cause });
      });
      if (this.#at + to === this.#end) writer?.close().catch(() => undefined);
    }
    this.#at += bytes.length;
  }

  /** Begins to put a segment, when few enough others are on their way. */
  async #put(segment: Segment, bytes: Uint8Array, lease: BufferLease): Promise<void> {
    const work = async () => {
      const isPut = await this.blob.segments.put(segment, bytes);
      lease.release();
      if (isPut) {
        this.#cachedBytes += bytes.length;
      } else {
        this.#isUsable = false;
        this.#isComplete = false;
      }
    };
    const put = work().finally(() => this.#puts.delete(put));
    this.#puts.add(put);
    if (this.#puts.size < MAX_PUTS) return;
    const tooLong = scheduler.wait(MAX_WAIT_MS).then(() => "too long");
    if ((await Promise.race([...this.#puts, tooLong])) === "too long") this.#isUsable = false;
  }

  async #isSound(): Promise<boolean> {
    const digest = this.#digest;
    if (digest === undefined) return true;
    if (this.#at < this.#end) {
      digest.abort();
      return true;
    }
    return (await digest.finish()).md5 === this.blob.checksum;
  }

  async #closeStore(): Promise<void> {
    const store = this.#store;
    this.#store = undefined;
    await store?.cancel(undefined);
  }
}

type Writer = WritableStreamDefaultWriter<Uint8Array>;

/** Whoever read the bytes has left: nobody's failure. */
class ReaderGone extends Error {}

import type { Digests } from "../digest.ts";
import { LARGEST_BUFFERED_BYTES } from "../part-size.ts";
import { brokenOff, type RangedSource, reading } from "../source.ts";
import type { BlobStore, ByteRange, PartReceipt, SizedStream } from "../store.ts";
import { type Activity, BodyReader } from "./body-reader.ts";
import { isolateMemory, type MemoryPool, type MemoryShare } from "./memory-pool.ts";
import { PartWriter } from "./part-writer.ts";
import type { Spool } from "./spool.ts";
import { sendStraight } from "./straight.ts";

export interface TransferOptions {
  readonly store: BlobStore;
  readonly key: string;
  /** The open multipart upload that the parts belong to. */
  readonly uploadId: string;
  /** Every part but the last. */
  readonly partBytes: number;
  /** Parts that are there from an earlier time, counted from the first. */
  readonly storedParts: number;
  readonly spool: Spool;
  /** Takes all bytes in order; it has had those of the parts stored. Undefined: nothing is hashed. */
  readonly digest: Pick<Digests, "take"> | undefined;
  /** A part is there, and all before it are. Awaited, for it is the caller's checkpoint. */
  readonly onStored: (receipt: PartReceipt) => Promise<void>;
  /** So many bytes more were read. */
  readonly onBytes?: (bytes: number) => void;
  /** Is told when the source is waited for. */
  readonly activity?: Activity;
  /** Stops the work with its reason. */
  readonly signal: AbortSignal;
  /** Where memory is taken from, instead of the isolate's pool; for tests. */
  readonly pool?: MemoryPool;
}

/**
 * The way in for bytes that can be read from any place on, again and again, so that work which breaks off is taken up at
 * the first part that is missing. They are read in order by one request for all that is missing, hashed as they pass,
 * and written in parts, of which several are under way at once.
 *
 * Throws the first reason that something failed for, a Fault, when everything has come to rest: what was reported by
 * then is all that counts.
 */
export async function transfer(source: RangedSource, options: TransferOptions): Promise<void> {
  const { partBytes, storedParts, signal, pool = isolateMemory } = options;
  const offset = storedParts * partBytes;
  if (offset >= source.size) return;
  const stop = new AbortController();
  const obey = () => stop.abort(signal.reason);
  signal.addEventListener("abort", obey);
  if (signal.aborted) obey();
  const share = pool.open();
  try {
    const range = { offset, length: source.size - offset };
    const incoming = await RangeReader.open(source, range, share, stop.signal, options.activity);
    try {
      const isStraight = partBytes > LARGEST_BUFFERED_BYTES;
      await (isStraight ? sendLargeParts : writeParts)(incoming, options, { share, stop });
    } finally {
      incoming.close();
    }
    stop.signal.throwIfAborted();
  } catch (reason) {
    stop.abort(reason);
    throw stop.signal.reason;
  } finally {
    signal.removeEventListener("abort", obey);
    share.close();
  }
}

interface Way {
  readonly share: MemoryShare;
  readonly stop: AbortController;
}

async function writeParts(
  incoming: RangeReader,
  options: TransferOptions,
  { share, stop }: Way,
): Promise<void> {
  const { store, key, partBytes, spool, onStored, storedParts, uploadId, digest } = options;
  const writer = new PartWriter({
    ...{ store, key, partBytes, spool, onStored, share, stop },
    pool: options.pool ?? isolateMemory,
    openMultipart: async () => uploadId,
    from: { parts: storedParts, tailBytes: 0 },
  });
  try {
    while (incoming.left > 0) {
      const { position } = incoming;
      const chunk = await incoming.read();
      await digest?.take(position, chunk);
      await writer.put(chunk);
      options.onBytes?.(chunk.length);
    }
    await writer.seal({ mayPut: false });
  } catch (reason) {
    stop.abort(reason);
    throw reason;
  } finally {
    await writer.close();
  }
}

/** Parts too large to be held: each goes straight through, one after the other. */
async function sendLargeParts(
  incoming: RangeReader,
  { store, key, uploadId, partBytes, storedParts, digest, onStored, onBytes }: TransferOptions,
  { stop }: Way,
): Promise<void> {
  const read = async (left: number) => {
    const { position } = incoming;
    const chunk = await incoming.read(left);
    await digest?.take(position, chunk);
    onBytes?.(chunk.length);
    return chunk;
  };
  for (let number = storedParts + 1; incoming.left > 0; number++) {
    const length = Math.min(partBytes, incoming.left);
    const send = (body: SizedStream) => store.putPart(key, uploadId, number, body);
    await onStored(await sendStraight(length, read, send, stop));
  }
}

/** Reads a source on from where the digest is, to its end. */
export async function hashSource(
  source: RangedSource,
  digest: Digests,
  options: Pick<TransferOptions, "signal" | "onBytes" | "activity" | "pool">,
): Promise<void> {
  const { signal, onBytes, activity, pool = isolateMemory } = options;
  const offset = digest.position;
  if (offset >= source.size) return;
  const range = { offset, length: source.size - offset };
  const share = pool.open();
  try {
    const incoming = await RangeReader.open(source, range, share, signal, activity);
    try {
      while (incoming.left > 0) {
        const { position } = incoming;
        const chunk = await incoming.read();
        await digest.take(position, chunk);
        onBytes?.(chunk.length);
      }
    } finally {
      incoming.close();
    }
  } finally {
    share.close();
  }
}

/** Reads a range of a source to its end, or until told to stop. */
class RangeReader {
  readonly #cancel = () => this.reader.cancel(this.signal.reason);

  private constructor(
    private readonly reader: BodyReader,
    private readonly signal: AbortSignal,
    /** Where in the whole the next bytes lie. */
    public position: number,
    /** Bytes that are still to come. */
    public left: number,
  ) {
    signal.addEventListener("abort", this.#cancel);
    if (signal.aborted) this.#cancel();
  }

  static async open(
    source: RangedSource,
    range: ByteRange,
    share: MemoryShare,
    signal: AbortSignal,
    activity: Activity = { reads: 0, isWaiting: false },
  ): Promise<RangeReader> {
    signal.throwIfAborted();
    activity.isWaiting = true;
    const stream = await reading(source.read(range, signal), signal);
    const reader = new BodyReader(stream, share, activity);
    return new RangeReader(reader, signal, range.offset, range.length);
  }

  /** The next bytes, one at least, which are the caller's until the next read. */
  async read(most = Number.POSITIVE_INFINITY): Promise<Uint8Array> {
    this.signal.throwIfAborted();
    const chunk = await reading(this.reader.read(Math.min(most, this.left)), this.signal);
    this.signal.throwIfAborted();
    if (chunk.length === 0) throw brokenOff();
    this.position += chunk.length;
    this.left -= chunk.length;
    return chunk;
  }

  close(): void {
    this.signal.removeEventListener("abort", this.#cancel);
    this.reader.cancel();
  }
}

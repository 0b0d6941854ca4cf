import { Fault } from "../../domain/fault.ts";
import type { BlobStore, PartReceipt } from "../store.ts";
import { type Activity, BodyReader } from "./body-reader.ts";
import { isolateMemory, type MemoryPool, type MemoryShare } from "./memory-pool.ts";
import { PartWriter, type Progress } from "./part-writer.ts";
import type { Spool } from "./spool.ts";

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
  readonly spool: Spool;
  /** The most bytes that the upload may have, the earlier ones included. */
  readonly maxBytes: number;
  /** What it will have in the end; undefined: that is not known yet. */
  readonly totalBytes: number | undefined;
  /** Sees all bytes in order, before they are stored. Throws a Fault to refuse them. */
  readonly onBytes: (bytes: Uint8Array) => Promise<void>;
  /** A part is stored, and all before it are: the caller's checkpoint, one at a time. */
  readonly onStored: (receipt: PartReceipt, parts: number) => Promise<void>;
  /** Is told when the body is waited for. */
  readonly activity?: Activity;
  /** Stops the work with its reason. */
  readonly signal: AbortSignal;
  /** Where memory is taken from, instead of the isolate's pool; for tests. */
  readonly pool?: MemoryPool;
}

/** How far a piece came. */
export interface Appended extends Progress {
  /** Whether all is there, in one object, by a `put`. */
  readonly isPut: boolean;
  /** Why it ended before the body did. */
  readonly failure: unknown;
}

/**
 * The way in for an upload that comes piece by piece, each a request of its own that may break off anywhere. A piece
 * goes on from where the one before ended. Bytes that came are kept even when the body breaks off or the work is
 * stopped; only those that are refused, or that the store does not take, are not. Never throws.
 */
export async function append(
  body: ReadableStream<Uint8Array>,
  options: AppendOptions,
): Promise<Appended> {
  const { mayPut, totalBytes, pool = isolateMemory } = options;
  const share = pool.open();
  // Whoever stops the reading wants what came to be stored all the same, so this is for failures of writing alone.
  const stop = new AbortController();
  const writer = new PartWriter({ ...options, pool, share, stop });
  let isPut = false;
  let end: unknown;
  try {
    end = await readPiece(body, writer, share, stop.signal, options);
    if (writer.position === totalBytes && writer.hasRest) {
      isPut = (await writer.seal({ mayPut })).put !== undefined;
    } else {
      await writer.suspend();
    }
  } catch (reason) {
    stop.abort(reason);
  }
  await writer.close();
  share.close();
  return { ...writer.progress, isPut, failure: end ?? stop.signal.reason };
}

/** Reads until the body ends, breaks off or is stopped, and gives the reason. Throws when its bytes are refused. */
async function readPiece(
  body: ReadableStream<Uint8Array>,
  writer: PartWriter,
  share: MemoryShare,
  stopped: AbortSignal,
  { maxBytes, onBytes, signal, activity }: AppendOptions,
): Promise<unknown> {
  const reader = new BodyReader(body, share, activity);
  const either = AbortSignal.any([signal, stopped]);
  const leave = () => reader.cancel(either.reason);
  either.addEventListener("abort", leave);
  try {
    while (!either.aborted) {
      let chunk: Uint8Array;
      try {
        chunk = await reader.read(Number.POSITIVE_INFINITY);
      } catch (cause) {
        if (either.aborted) break;
        return new Fault("body_broken_off", {}, cause);
      }
      if (either.aborted) break;
      if (chunk.length === 0) return undefined;
      if (writer.position + chunk.length > maxBytes) {
        throw new Fault("image_too_large", { maximum: maxBytes });
      }
      await onBytes(chunk);
      await writer.put(chunk);
    }
    stopped.throwIfAborted();
    return signal.reason;
  } finally {
    either.removeEventListener("abort", leave);
    reader.cancel();
  }
}

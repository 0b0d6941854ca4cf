import { Fault } from "../domain/fault.ts";
import type { BlobStore, ByteRange } from "./store.ts";

/** Bytes that can be read from any place on, again and again. */
export interface RangedSource {
  /** Bytes in all. */
  readonly size: number;
  /** Exactly the bytes asked for, one at least; the stream fails when it has fewer or more. Throws a Fault. */
  read(range: ByteRange, signal: AbortSignal): Promise<ReadableStream<Uint8Array>>;
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

/** Several sources, one behind the other, as one. */
export function joinedSource(sources: readonly RangedSource[]): RangedSource {
  const size = sources.reduce((sum, source) => sum + source.size, 0);
  return {
    size,
    async read({ offset, length }, signal) {
      const pieces = piecesOf(sources, offset, length);
      const { readable, writable } = new TransformStream<Uint8Array, Uint8Array>();
      const pump = async () => {
        for (const { source, range } of pieces) {
          const stream = await source.read(range, signal);
          await stream.pipeTo(writable, { preventClose: true });
        }
        await writable.close();
      };
      pump().catch((reason: unknown) => writable.abort(reason).catch(() => {}));
      return readable;
    },
  };
}

/** Which ranges of which sources make up a range of the whole. */
function piecesOf(sources: readonly RangedSource[], offset: number, length: number) {
  let start = 0;
  return sources.flatMap((source) => {
    const first = Math.max(offset, start);
    const end = Math.min(offset + length, start + source.size);
    const range = { offset: first - start, length: end - first };
    start += source.size;
    return range.length > 0 ? [{ source, range }] : [];
  });
}

/** Awaits what a source gives; whatever it fails with, unstopped, reaches the caller as a Fault of the source. */
export async function reading<T>(call: Promise<T>, signal: AbortSignal): Promise<T> {
  try {
    return await call;
  } catch (cause) {
    signal.throwIfAborted();
    if (cause instanceof Fault && cause.code !== "store_unavailable") throw cause;
    throw brokenOff(cause);
  }
}

export function brokenOff(cause?: unknown): Fault {
  const reason = "its data broke off, or is not as long as was announced";
  return new Fault("source_unreachable", { reason }, cause);
}

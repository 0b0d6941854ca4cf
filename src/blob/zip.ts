import { crc32 } from "node:zlib";
import { openByteReader } from "../lib/streams.ts";
import { decode } from "./decode.ts";
import { DEFLATE, unpackable } from "./decoder.ts";
import type { ByteRange } from "./store.ts";
import { findOnlyFile, type ZipFile } from "./zip-directory.ts";

/** Reads stored bytes, all of them or a range of one byte or more. */
export type RangeReader = (range?: ByteRange) => Promise<ReadableStream<Uint8Array>>;

/**
 * The one file of a stored ZIP archive, unpacked. Where it lies and how long it is is told by the
 * archive's directory and not by the header before the data, which writers of streams leave blank.
 */
export async function openZip(
  read: RangeReader,
  sizeBytes: number,
): Promise<ReadableStream<Uint8Array>> {
  const readAt = (offset: number, length: number) => collect(read, { offset, length }, sizeBytes);
  const file = await findOnlyFile(readAt, sizeBytes);
  const { dataOffset: offset, packedBytes: length } = file;
  const packed = length === 0 ? new Blob([]).stream() : await read({ offset, length });
  const plain = file.isDeflated ? decode(packed, DEFLATE) : inLargePieces(packed);
  return plain.pipeThrough(new TransformStream(new Verification(file)));
}

const PIECE_BYTES = 64 * 1024;

/** Streams of the runtime give 4 KiB at a time to a reader without a buffer, at a third of the speed. */
function inLargePieces(source: ReadableStream<Uint8Array>): ReadableStream<Uint8Array> {
  const reader = openByteReader(source);
  const pull = async (controller: ReadableStreamDefaultController<Uint8Array>) => {
    const piece = await reader.read(new Uint8Array(PIECE_BYTES));
    if (piece.length === 0) controller.close();
    else controller.enqueue(piece);
  };
  const cancel = (reason: unknown) => reader.cancel(reason);
  return new ReadableStream({ pull, cancel }, { highWaterMark: 0 });
}

/** Lets bytes pass if they are those that the archive promises. */
class Verification {
  private passed = 0;
  private crc = 0;

  constructor(private readonly file: ZipFile) {}

  transform(piece: Uint8Array, controller: TransformStreamDefaultController<Uint8Array>): void {
    this.passed += piece.length;
    if (this.passed > this.file.plainBytes) throw this.wrongSize();
    this.crc = crc32(piece, this.crc);
    controller.enqueue(piece);
  }

  flush(): void {
    if (this.passed !== this.file.plainBytes) throw this.wrongSize();
    if (this.crc !== this.file.crc) throw unpackable("zip: the file differs from its checksum.");
  }

  private wrongSize() {
    return unpackable(`zip: the file does not have the ${this.file.plainBytes} bytes announced.`);
  }
}

/** Reads a few bytes; gives fewer when there are no more. */
async function collect(
  read: RangeReader,
  { offset, length }: ByteRange,
  sizeBytes: number,
): Promise<Uint8Array> {
  const within = Math.min(length, sizeBytes - offset);
  if (within <= 0) return new Uint8Array(0);
  const reader = openByteReader(await read({ offset, length: within }));
  let buffer: ArrayBufferLike = new ArrayBuffer(within);
  let filled = 0;
  for (;;) {
    const chunk = await reader.read(new Uint8Array(buffer, filled));
    buffer = chunk.buffer;
    filled += chunk.length;
    if (chunk.length === 0 || filled === within) break;
  }
  await reader.cancel("No more is needed.");
  return new Uint8Array(buffer, 0, filled);
}

import { decode } from "./decode.ts";
import { GZIP, unpackable, ZSTD } from "./decoder.ts";
import { openZip, type RangeReader } from "./zip.ts";

/** How an image may be packed. */
export type Packing = "gzip" | "zstd" | "zip" | "lha";

/** As many of an image's first bytes as tell how it is packed. */
export const PACKING_HEAD_BYTES = 5;

/** How an image is packed, by its first bytes (contract 10 §14); undefined: in no way known here. */
export function detectPacking(head: Uint8Array): Packing | undefined {
  return MAGIC.find(({ at, bytes, mask }) =>
    bytes.every((byte, i) => ((head[at + i] ?? -1) & (mask?.[i] ?? 0xff)) === byte),
  )?.packing;
}

const MAGIC: readonly {
  readonly packing: Packing;
  readonly at: number;
  readonly bytes: readonly number[];
  /** The bits that count, where not all do. */
  readonly mask?: readonly number[];
}[] = [
  { packing: "gzip", at: 0, bytes: [0x1f, 0x8b, 0x08] },
  { packing: "zip", at: 0, bytes: [0x50, 0x4b, 0x03, 0x04] },
  { packing: "lha", at: 2, bytes: [0x2d, 0x6c, 0x68] },
  { packing: "zstd", at: 0, bytes: [0x28, 0xb5, 0x2f, 0xfd] },
  // A skippable frame (RFC 8878 §3.1.2), as writers of seekable and parallel zstd put first.
  { packing: "zstd", at: 0, bytes: [0x50, 0x2a, 0x4d, 0x18], mask: [0xf0, 0xff, 0xff, 0xff] },
];

/**
 * The unpacked bytes of a stored image of `sizeBytes`. How many there will be is not known; what is
 * held in memory is bounded, and nothing is read before it is asked for. Data that cannot be unpacked
 * makes this, or the stream, fail with the Fault `image_unpackable`, at its end at the latest; a
 * failure of `read` stays what it is. Cancelling the stream cancels the source.
 */
export async function openUnpacked(
  packing: Packing,
  read: RangeReader,
  sizeBytes: number,
): Promise<ReadableStream<Uint8Array>> {
  switch (packing) {
    case "gzip":
      return decode(await read(), GZIP);
    case "zstd":
      return decode(await read(), ZSTD);
    case "zip":
      return openZip(read, sizeBytes);
    case "lha":
      throw unpackable("LHA archives are not supported. Send the image itself, or gzip it.");
  }
}

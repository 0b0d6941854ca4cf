import type { Packing } from "../lib/packing.ts";
import { decode } from "./decode.ts";
import { GZIP, unpackable, ZSTD } from "./decoder.ts";
import { openZip, type RangeReader } from "./zip.ts";

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
    default:
      throw unpackable(
        `It is packed with ${packing}, which is not supported. Send the image itself, or pack it with gzip or zstd.`,
      );
  }
}

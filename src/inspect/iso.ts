import { hasAt, u8, u16, u32 } from "./bytes.ts";
import { type Examination, type Format, type Reading, safe } from "./format.ts";

/** The first sixteen blocks are left to the system. */
const DESCRIPTOR_AT = 32_768;
const DESCRIPTOR_BYTES = 2_048;
const IDENTIFIERS = ["CD001", "NSR02", "NSR03"];
const PRIMARY_VOLUME = 1;

/** The file systems of CDs and DVDs: ISO 9660 (ECMA-119 §8), and UDF (ECMA-167). */
export const iso: Format = { name: "iso", detect };

function* detect(): Reading<Examination | undefined> {
  const descriptor = yield { at: DESCRIPTOR_AT, length: DESCRIPTOR_BYTES };
  const isOurs =
    IDENTIFIERS.some((identifier) => hasAt(descriptor, 1, identifier)) &&
    descriptor.length === DESCRIPTOR_BYTES;
  return isOurs ? examine(descriptor) : undefined;
}

// biome-ignore lint/correctness/useYield: the descriptor, which is all it needs, was read to recognise it.
function* examine(descriptor: Uint8Array): Examination {
  return safe(u8(descriptor, 0) === PRIMARY_VOLUME ? volumeBytes(descriptor) : null);
}

/** Both numbers are there twice, in either order of bytes; these are the little-endian ones. */
function volumeBytes(descriptor: Uint8Array): number {
  const blocks = u32(descriptor, 80, "little") ?? 0;
  const blockBytes = u16(descriptor, 128, "little") ?? 0;
  return blocks * blockBytes;
}

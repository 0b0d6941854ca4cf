import { startsWith, u16, u32 } from "./bytes.ts";
import { type Examination, type Format, type Reading, unsafe } from "./format.ts";

const MAGIC = "LUKS\xba\xbe";
/** The header of version 1, with its eight key slots. */
const HEADER_BYTES = 592;
const SECTOR_BYTES = 512;

/** LUKS, encrypted disks of Linux; the "LUKS On-Disk Format Specification" 1.2.3 has the header. */
export const luks: Format = { name: "luks", detect };

function* detect(): Reading<Examination | undefined> {
  const header = yield { at: 0, length: HEADER_BYTES };
  return startsWith(header, MAGIC) ? examine(header) : undefined;
}

function* examine(header: Uint8Array): Examination {
  if (u16(header, 6, "big") !== 1) return unsafe("version", "it is of a version other than 1");
  const payloadAt = u32(header, 104, "big");
  return { virtualSize: (dataBytes) => payloadBytes(dataBytes, payloadAt) };
}

/** The disk within is as long as the payload; `payloadAt` is in sectors. */
function payloadBytes(dataBytes: number, payloadAt: number | undefined): number | null {
  const bytes = payloadAt === undefined ? 0 : dataBytes - payloadAt * SECTOR_BYTES;
  return bytes > 0 ? bytes : null;
}

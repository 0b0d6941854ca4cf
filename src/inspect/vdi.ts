import { sizeOf, u32, u64 } from "./bytes.ts";
import { type Examination, type Format, type Reading, safe } from "./format.ts";

const HEADER_BYTES = 512;
const SIGNATURE = 0xbeda107f;

/** VDI, VirtualBox's own; the signature follows a line of text. */
export const vdi: Format = { name: "vdi", detect };

function* detect(): Reading<Examination | undefined> {
  const header = yield { at: 0, length: HEADER_BYTES };
  return u32(header, 64, "little") === SIGNATURE && header.length === HEADER_BYTES
    ? examine(header)
    : undefined;
}

// biome-ignore lint/correctness/useYield: the header, which is all it needs, was read to recognise it.
function* examine(header: Uint8Array): Examination {
  return safe(sizeOf(u64(header, 368, "little")));
}

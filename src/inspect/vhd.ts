import { sizeOf, startsWith, u64 } from "./bytes.ts";
import { type Examination, type Format, type Reading, safe } from "./format.ts";

const FOOTER_BYTES = 512;

/**
 * VHD, of Virtual PC, with a copy of the footer in front: dynamic and differencing disks. A fixed disk has its footer at
 * the end only, after the bytes of a raw disk, and counts as raw (contract 13 §2).
 */
export const vhd: Format = { name: "vhd", detect };

function* detect(): Reading<Examination | undefined> {
  const footer = yield { at: 0, length: FOOTER_BYTES };
  return startsWith(footer, "conectix") && footer.length === FOOTER_BYTES
    ? examine(footer)
    : undefined;
}

// biome-ignore lint/correctness/useYield: the footer, which is all it needs, was read to recognise it.
function* examine(footer: Uint8Array): Examination {
  return safe(sizeOf(u64(footer, 40, "big")));
}

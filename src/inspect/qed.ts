import { startsWith } from "./bytes.ts";
import { type Examination, type Format, type Reading, unsafe } from "./format.ts";

const HEADER_BYTES = 512;

/** QED, which QEMU gave up for qcow2. It can name a backing file, and nobody needs it: it is refused. */
export const qed: Format = { name: "qed", detect };

function* detect(): Reading<Examination | undefined> {
  const header = yield { at: 0, length: HEADER_BYTES };
  return startsWith(header, "QED\0") && header.length === HEADER_BYTES ? examine() : undefined;
}

// biome-ignore lint/correctness/useYield: there is nothing to read.
function* examine(): Examination {
  return unsafe("banned", "this format is not accepted");
}

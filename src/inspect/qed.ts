import { startsWith } from "./bytes.ts";
import { type Examination, type Format, type Reading, unsafe } from "./format.ts";

/** QED, which QEMU gave up for qcow2. It can name a backing file, and nobody needs it: it is refused. */
export const qed: Format = { name: "qed", detect };

function* detect(): Reading<Examination | undefined> {
  return startsWith(yield { at: 0, length: 4 }, "QED\0") ? examine() : undefined;
}

// biome-ignore lint/correctness/useYield: there is nothing to read.
function* examine(): Examination {
  return unsafe("banned", "this format is not accepted");
}

import { sizeOf, startsWith, u32, u64 } from "./bytes.ts";
import {
  type Examination,
  type Findings,
  type Format,
  type Reading,
  safe,
  unsafe,
} from "./format.ts";

const MAGIC = "QFI\xfb";
const HEADER_BYTES = 512;

/** Incompatible features up to here are known: dirty, corrupt, external data file, compression type. */
const KNOWN_FEATURES = 0b1111n;
const EXTERNAL_DATA_FILE = 0b0100n;

/** qcow2, QEMU's own; docs/interop/qcow2.rst of QEMU has the header. */
export const qcow2: Format = { name: "qcow2", detect };

function* detect(): Reading<Examination | undefined> {
  const header = yield { at: 0, length: HEADER_BYTES };
  return startsWith(header, MAGIC) ? examine(header) : undefined;
}

// biome-ignore lint/correctness/useYield: the header, which is all it needs, was read to recognise it.
function* examine(header: Uint8Array): Examination {
  return judge(header);
}

function judge(header: Uint8Array): Findings {
  // QEMU opens one that is shorter, with its backing file behind the header.
  if (header.length < HEADER_BYTES)
    return unsafe("unknown_features", "it is cut off in its header");
  const version = u32(header, 4, "big");
  if (version !== 2 && version !== 3) {
    return unsafe("unknown_features", "it is of a version other than 2 and 3");
  }
  if (u64(header, 8, "big") !== 0n) return unsafe("backing_file", "it names a backing file");
  if (version === 3) {
    const features = u64(header, 72, "big") ?? 0n;
    if ((features & EXTERNAL_DATA_FILE) !== 0n) {
      return unsafe("data_file", "its data lies in another file");
    }
    if (features > KNOWN_FEATURES) {
      return unsafe("unknown_features", "it needs features that are not known here");
    }
  }
  return safe(sizeOf(u64(header, 24, "big")));
}

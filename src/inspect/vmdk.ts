import { sizeOf, startsWith, u32, u64 } from "./bytes.ts";
import {
  type Examination,
  type Findings,
  type Format,
  MAX_WANTED_BYTES,
  type Reading,
  safe,
  unsafe,
} from "./format.ts";
import {
  findUnsafe,
  isDescriptor,
  isDescriptorForQemu,
  MAX_DESCRIPTOR_BYTES,
  mayBeDescriptor,
  textOf,
} from "./vmdk-descriptor.ts";

/*
 * VMDK, VMware's own ("Virtual Disk Format 5.0"). A sparse file is a header, a descriptor, the data, and, where the
 * header says so, a copy of the header at the end, which takes precedence. A descriptor alone is a VMDK, too.
 */

const MAGIC = "KDMV";
/** Sparse disks of VMware ESX and of before 2003. */
const OLD_MAGIC = "COWD";
const SECTOR_BYTES = 512;
const VERSIONS: readonly (number | undefined)[] = [1, 2, 3];

const CAPACITY_AT = 12;

/** Where the header has the position of the descriptor, of eight bytes; its size is in the eight that follow. */
const DESCRIPTOR_FIELDS_AT = 28;
const GRAIN_DIRECTORY_FIELD_AT = 56;
/** A position of the grain directory that says: see the footer. */
const AT_END = 0xffff_ffff_ffff_ffffn;

/** From and to: the magic and the version, the size of the disk, and the descriptor's position and size. */
const SAME_IN_FOOTER = [
  [0, 8],
  [CAPACITY_AT, CAPACITY_AT + 8],
  [DESCRIPTOR_FIELDS_AT, DESCRIPTOR_FIELDS_AT + 16],
] as const;

/** Types of markers. */
const END_OF_STREAM = 0;
const FOOTER = 3;

export const vmdk: Format = { name: "vmdk", detect };

function* detect(): Reading<Examination | undefined> {
  const first = yield { at: 0, length: SECTOR_BYTES };
  // Of an odd version, or without a descriptor in its place, it is still what QEMU opens as a VMDK.
  if (startsWith(first, MAGIC)) return examineSparse(first);
  if (startsWith(first, OLD_MAGIC)) return examineOld();
  const isForQemu = isDescriptorForQemu(first);
  if (!isForQemu && !mayBeDescriptor(textOf(first))) return undefined;
  const rest = first.includes(0)
    ? new Uint8Array(0)
    : yield { at: SECTOR_BYTES, length: MAX_WANTED_BYTES - SECTOR_BYTES };
  const text = textOf(first) + textOf(rest);
  return isForQemu || isDescriptor(text) ? examineText(text) : undefined;
}

// biome-ignore lint/correctness/useYield: there is nothing to read.
function* examineOld(): Examination {
  return unsafe("descriptor", "it is of a kind that may name a parent disk in its header");
}

// biome-ignore lint/correctness/useYield: the text, which is all it needs, was read to recognise it.
function* examineText(text: string): Examination {
  const objection = findUnsafe(text);
  return objection === undefined ? safe(null) : unsafe("descriptor", objection);
}

function* examineSparse(header: Uint8Array): Examination {
  if (!VERSIONS.includes(u32(header, 4, "little"))) {
    return unsafe("descriptor", "it is of a version other than 1 to 3");
  }
  if (u64(header, DESCRIPTOR_FIELDS_AT, "little") !== 1n) {
    return unsafe("descriptor", "its descriptor does not follow its header");
  }
  // QEMU takes one without a size for a descriptor alone.
  if (u64(header, CAPACITY_AT, "little") === 0n)
    return unsafe("descriptor", "its disk has no size");
  const room = roomForDescriptor(header);
  // QEMU may read on to a zero byte, so the text has to end where the header says.
  const text = textOf(yield { at: SECTOR_BYTES, length: room + 1 });
  const objection = text.length > room ? "its descriptor is too long" : findUnsafe(text);
  if (objection !== undefined) return unsafe("descriptor", objection);

  const hasFooter = u64(header, GRAIN_DIRECTORY_FIELD_AT, "little") === AT_END;
  return hasFooter ? judgeFooter(header, yield { last: 3 * SECTOR_BYTES }) : judged(header);
}

function roomForDescriptor(header: Uint8Array): number {
  const sectors = u64(header, DESCRIPTOR_FIELDS_AT + 8, "little") ?? 0n;
  return Math.min(Number(sectors) * SECTOR_BYTES, MAX_DESCRIPTOR_BYTES);
}

/** The footer lies between two markers, the second of which ends the data. */
function judgeFooter(header: Uint8Array, end: Uint8Array): Findings {
  const footer = end.subarray(SECTOR_BYTES, 2 * SECTOR_BYTES);
  if (
    !isMarker(end.subarray(0, SECTOR_BYTES), FOOTER) ||
    !isMarker(end.subarray(2 * SECTOR_BYTES), END_OF_STREAM)
  ) {
    return unsafe("footer", "its footer is not where it has to be");
  }
  if (u64(footer, GRAIN_DIRECTORY_FIELD_AT, "little") === AT_END) {
    return unsafe("footer", "its footer points to another footer");
  }
  const agrees = SAME_IN_FOOTER.every((field) =>
    startsWith(footer.subarray(...field), header.subarray(...field)),
  );
  return agrees ? judged(header) : unsafe("footer", "its footer contradicts its header");
}

/** Markers have a value, a size and a type, and are zero otherwise; that of the stream's end is zero altogether. */
function isMarker(sector: Uint8Array, type: number): boolean {
  const zerosFrom = type === END_OF_STREAM ? 0 : 16;
  return (
    u32(sector, 8, "little") === 0 &&
    u32(sector, 12, "little") === type &&
    sector.length === SECTOR_BYTES &&
    sector.subarray(zerosFrom).every((byte) => byte === 0)
  );
}

function judged(header: Uint8Array): Findings {
  const sectors = u64(header, CAPACITY_AT, "little");
  return safe(sizeOf(sectors === undefined ? undefined : sectors * BigInt(SECTOR_BYTES)));
}

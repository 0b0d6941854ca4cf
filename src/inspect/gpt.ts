import { isFileSystem, isLinuxKernel, readsAsExt } from "./boot-sector.ts";
import { hasAt, u8, u32 } from "./bytes.ts";
import { type Examination, type Format, type Reading, unsafe } from "./format.ts";

const RECORD_BYTES = 512;
const SIGNATURE_AT = 510;
/** Behind the record, as much as tells a kernel. */
const KERNEL_MARK_BYTES = 6;

const SLOTS = [0, 1, 2, 3];
const TABLE_AT = 446;
const SLOT_BYTES = 16;

const UNUSED = 0;
/** A partition that stands for all of a GPT disk. */
const PROTECTIVE = 0xee;

/**
 * A disk with a partition table: GPT, whose first sector is a protective MBR (UEFI 2.10 §5.2.3), and those that have
 * nothing but an MBR. Kernels and file systems have the mark of a boot record, too, and are none.
 */
export const gpt: Format = { name: "gpt", detect };

function* detect(): Reading<Examination | undefined> {
  const record = yield { at: 0, length: RECORD_BYTES };
  if (!hasAt(record, SIGNATURE_AT, "\x55\xaa") || isFileSystem(record)) return undefined;
  const start = concat(record, yield { at: RECORD_BYTES, length: KERNEL_MARK_BYTES });
  // Without partitions the record is a boot loader's, or nobody's.
  if (isLinuxKernel(start) || usedSlots(record).length === 0) return undefined;
  const objection = findUnsafe(record);
  // A boot loader's code may stand where a table would.
  if (objection !== undefined && (yield* readsAsExt())) return undefined;
  return examine(objection);
}

function* examine(objection: string | undefined): Examination {
  return objection === undefined
    ? { virtualSize: (dataBytes) => dataBytes }
    : unsafe("mbr", objection);
}

/** A clause that says what is odd about the partition table, if anything is (contract 13 §4). */
function findUnsafe(record: Uint8Array): string | undefined {
  const slots = slotsOf(record);
  if (slots.some((slot) => u8(slot, 0) !== 0 && u8(slot, 0) !== 0x80)) {
    return "a partition has an impossible boot flag";
  }
  const used = usedSlots(record);
  const protective = used.find((slot) => typeOf(slot) === PROTECTIVE);
  if (protective === undefined) return undefined;
  if (used.length > 1 || protective !== used[0] || typeOf(slots[0]) !== PROTECTIVE) {
    return "its protective partition is not the first and only one";
  }
  return findMisplaced(protective);
}

/** A protective partition begins with the block 1, which is at head 0, sector 2 of cylinder 0 (UEFI 2.10 §5.2.3). */
function findMisplaced(slot: Uint8Array): string | undefined {
  const block = u32(slot, 8, "little");
  if (block !== 1)
    return `its protective partition begins with block ${block}, and not with block 1`;
  if (hasAt(slot, 1, "\x00\x02\x00")) return undefined;
  const [head = 0, sectorAndMore = 0, cylinder = 0] = slot.subarray(1, 4);
  const place = [cylinder + ((sectorAndMore & 0xc0) << 2), head, sectorAndMore & 0x3f].join("/");
  return `its protective partition begins at cylinder/head/sector ${place}, and not at 0/0/2`;
}

function slotsOf(record: Uint8Array): readonly Uint8Array[] {
  return SLOTS.map((slot) => record.subarray(TABLE_AT + slot * SLOT_BYTES).subarray(0, SLOT_BYTES));
}

function usedSlots(record: Uint8Array): readonly Uint8Array[] {
  return slotsOf(record).filter((slot) => typeOf(slot) !== UNUSED);
}

function concat(one: Uint8Array, other: Uint8Array): Uint8Array {
  const both = new Uint8Array(one.length + other.length);
  both.set(one);
  both.set(other, one.length);
  return both;
}

function typeOf(slot: Uint8Array | undefined): number | undefined {
  return slot && u8(slot, 4);
}

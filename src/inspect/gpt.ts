import { hasAt, u8, u32 } from "./bytes.ts";
import { type Examination, type Format, type Reading, unsafe } from "./format.ts";

const RECORD_BYTES = 512;
const SIGNATURE_AT = 510;

const SLOTS = [0, 1, 2, 3];
const TABLE_AT = 446;
const SLOT_BYTES = 16;

const UNUSED = 0;
/** A partition that stands for all of a GPT disk. */
const PROTECTIVE = 0xee;

/**
 * A disk with a partition table: GPT, whose first sector is a protective MBR (UEFI 2.10 §5.2.3), and those that have
 * nothing but an MBR.
 */
export const gpt: Format = { name: "gpt", detect };

function* detect(): Reading<Examination | undefined> {
  const record = yield { at: 0, length: RECORD_BYTES };
  return hasAt(record, SIGNATURE_AT, "\x55\xaa") && !isFat(record) ? examine(record) : undefined;
}

/** A FAT file system begins with a boot sector of the same signature: two tables, on a fixed disk. */
function isFat(record: Uint8Array): boolean {
  return u8(record, 16) === 2 && u8(record, 21) === 0xf8;
}

function* examine(record: Uint8Array): Examination {
  const objection = findUnsafe(record);
  return objection === undefined
    ? { virtualSize: (dataBytes) => dataBytes }
    : unsafe("mbr", objection);
}

/** A clause that says what is odd about the partition table, if anything is (contract 13 §4). */
function findUnsafe(record: Uint8Array): string | undefined {
  const slots = SLOTS.map((slot) => record.subarray(TABLE_AT + slot * SLOT_BYTES));
  if (slots.some((slot) => u8(slot, 0) !== 0 && u8(slot, 0) !== 0x80)) {
    return "a partition has an impossible boot flag";
  }
  const used = slots.filter((slot) => typeOf(slot) !== UNUSED);
  if (used.length === 0) return "its partition table is empty";
  const protective = used.find((slot) => typeOf(slot) === PROTECTIVE);
  if (protective === undefined) return undefined;
  if (used.length > 1 || protective !== slots[0]) {
    return "its protective partition is not the first and only one";
  }
  return startsBehindRecord(protective)
    ? undefined
    : "its protective partition does not start behind the boot record";
}

/** At head 0, sector 2 of cylinder 0, which is the block 1. */
function startsBehindRecord(slot: Uint8Array): boolean {
  return hasAt(slot, 1, "\x00\x02\x00") && u32(slot, 8, "little") === 1;
}

function typeOf(slot: Uint8Array): number | undefined {
  return u8(slot, 4);
}

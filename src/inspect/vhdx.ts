import { hasAt, sizeOf, startsWith, u16, u32, u64 } from "./bytes.ts";
import { type Examination, type Format, MAX_WANTED_BYTES, type Reading, safe } from "./format.ts";

/*
 * VHDX, Hyper-V's own ([MS-VHDX]): a file identifier, at 192 KiB a table of regions, one of which is the metadata: a
 * table of items again, one of which is the size of the disk.
 */

const IDENTIFIER = "vhdxfile";
const REGION_TABLE_AT = 192 * 1024;
const TABLE_BYTES = 64 * 1024;

const METADATA_REGION = guid("8B7CA206-4790-4B9A-B8FE-575F050F886E");
const VIRTUAL_DISK_SIZE = guid("2FA54224-CD1B-4876-B211-5DBED83BF4B8");

/** [MS-VHDX] §2.2.3.1 and §2.6.1.1 allow no more entries than these. */
const MAX_ENTRIES = 2047;
const ENTRY_BYTES = 32;

export const vhdx: Format = { name: "vhdx", detect };

function* detect(): Reading<Examination | undefined> {
  const identifier = yield { at: 0, length: IDENTIFIER.length };
  if (!startsWith(identifier, IDENTIFIER)) return undefined;
  const regions = yield { at: REGION_TABLE_AT, length: TABLE_BYTES };
  return startsWith(regions, "regi") ? examine(regions) : undefined;
}

function* examine(regions: Uint8Array): Examination {
  // Entries follow signature, checksum, count and a reserved word.
  const region = findEntry(regions, METADATA_REGION, 16, u32(regions, 8, "little"));
  const regionAt = region === undefined ? null : sizeOf(u64(regions, region + 16, "little"));
  if (regionAt === null) return safe(null);
  const items = yield { at: regionAt, length: MAX_WANTED_BYTES };
  if (!startsWith(items, "metadata")) return safe(null);
  // Entries follow signature, a reserved word, count and twenty reserved bytes.
  const item = findEntry(items, VIRTUAL_DISK_SIZE, 32, u16(items, 10, "little"));
  const offset = item === undefined ? undefined : u32(items, item + 16, "little");
  if (offset === undefined) return safe(null);
  // [MS-VHDX] §2.6.1.2: items lie behind the table.
  const size = yield { at: regionAt + offset, length: 8 };
  return safe(sizeOf(u64(size, 0, "little")));
}

/** Where in a table the entry of this id begins. */
function findEntry(
  table: Uint8Array,
  id: Uint8Array,
  firstAt: number,
  count: number | undefined,
): number | undefined {
  for (let i = 0; i < Math.min(count ?? 0, MAX_ENTRIES); i++) {
    const at = firstAt + i * ENTRY_BYTES;
    if (hasAt(table, at, id)) return at;
  }
  return undefined;
}

/** A GUID as it lies in memory: its first three groups little-endian. */
function guid(text: string): Uint8Array {
  const hex = text.replaceAll("-", "");
  const bytes = Uint8Array.from({ length: 16 }, (_, i) =>
    Number.parseInt(hex.slice(2 * i, 2 * i + 2), 16),
  );
  bytes.subarray(0, 4).reverse();
  bytes.subarray(4, 6).reverse();
  bytes.subarray(6, 8).reverse();
  return bytes;
}

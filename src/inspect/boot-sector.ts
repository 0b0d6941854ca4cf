import { hasAt, u8, u16, u32 } from "./bytes.ts";
import type { Reading } from "./format.ts";

/*
 * What bears the mark of a boot record, 55 AA at 510, and is no disk with partitions: Linux kernels, and file systems,
 * whose first sector boots them.
 */

/**
 * A Linux kernel, or what boots like one, such as memtest86+ (Documentation/arch/x86/boot.rst): its setup header begins
 * at 0x1F1, has 55 AA at 0x1FE and its own mark behind that.
 */
export function isLinuxKernel(start: Uint8Array): boolean {
  return hasAt(start, 0x202, "HdrS");
}

/** FAT, exFAT and NTFS, by the boot sector that is a part of each. */
export function isFileSystem(record: Uint8Array): boolean {
  return isFat(record) || hasAt(record, 3, "EXFAT   ") || hasAt(record, 3, "NTFS    ");
}

/**
 * FAT (Microsoft's "FAT: General Overview of On-Disk Format", BPB): a jump, one table or two, and a media byte of F0 or
 * from F8 on.
 */
function isFat(record: Uint8Array): boolean {
  const jumps = u8(record, 0) === 0xe9 || (u8(record, 0) === 0xeb && u8(record, 2) === 0x90);
  const sectorBytes = u16(record, 11, "little") ?? 0;
  const clusterSectors = u8(record, 13) ?? 0;
  const tables = u8(record, 16) ?? 0;
  const media = u8(record, 21) ?? 0;
  return (
    jumps &&
    [512, 1024, 2048, 4096].includes(sectorBytes) &&
    isPowerOfTwo(clusterSectors) &&
    (tables === 1 || tables === 2) &&
    (media === 0xf0 || media >= 0xf8)
  );
}

function isPowerOfTwo(value: number): boolean {
  return value > 0 && (value & (value - 1)) === 0;
}

const SUPERBLOCK_AT = 1024;

/** Of ext2 to ext4, which leave room for a boot loader in front, by the superblock behind it. */
export function* readsAsExt(): Reading<boolean> {
  const superblock = yield { at: SUPERBLOCK_AT, length: 64 };
  const blockBytesLog = u32(superblock, 24, "little") ?? 64;
  return hasAt(superblock, 56, "\x53\xef") && blockBytesLog <= 6;
}

/*
 * The smallest data of each disk format that is still good for something: headers that are right in all that an
 * inspection looks at, and zeros between them. Options spoil them.
 */

const SECTOR_BYTES = 512;
const KIB = 1024;

/** Text, a character a byte, or numbers made by `le16` and its like. */
type Field = string | Uint8Array;

type Fields = Readonly<Record<number, Field>>;

/** Bytes, zero where no field is put. Fields are keyed by their offset. */
export function bytesWith(length: number, fields: Fields): Uint8Array<ArrayBuffer> {
  return changed(new Uint8Array(length), fields);
}

/** A copy with other fields. */
export function changed(bytes: Uint8Array, fields: Fields): Uint8Array<ArrayBuffer> {
  const copy = Uint8Array.from(bytes);
  for (const [at, field] of Object.entries(fields)) {
    copy.set(typeof field === "string" ? latin1(field) : field, Number(at));
  }
  return copy;
}

export function concat(...parts: readonly Uint8Array[]): Uint8Array<ArrayBuffer> {
  const whole = new Uint8Array(parts.reduce((sum, { length }) => sum + length, 0));
  let at = 0;
  for (const part of parts) {
    whole.set(part, at);
    at += part.length;
  }
  return whole;
}

export function latin1(text: string): Uint8Array<ArrayBuffer> {
  return Uint8Array.from(text, (char) => char.charCodeAt(0));
}

export const le16 = (value: number): Uint8Array => integer(2, BigInt(value)).reverse();
export const le32 = (value: number): Uint8Array => integer(4, BigInt(value)).reverse();
export const le64 = (value: number | bigint): Uint8Array => integer(8, BigInt(value)).reverse();
export const be16 = (value: number): Uint8Array => integer(2, BigInt(value));
export const be32 = (value: number): Uint8Array => integer(4, BigInt(value));
export const be64 = (value: number | bigint): Uint8Array => integer(8, BigInt(value));

function integer(length: number, value: bigint): Uint8Array<ArrayBuffer> {
  return Uint8Array.from({ length }, (_, i) =>
    Number((value >> BigInt(8 * (length - 1 - i))) & 0xffn),
  );
}

export interface Qcow2Options {
  readonly version?: number;
  /** Bytes of the disk within. */
  readonly virtualSize?: number | bigint;
  /** Where the name of a backing file lies; 0 is none. */
  readonly backingFileAt?: number | bigint;
  /** Incompatible features, which version 2 has no place for. */
  readonly features?: bigint;
  /** Bytes of data. */
  readonly length?: number;
}

export const QCOW2_EXTERNAL_DATA_FILE = 1n << 2n;
export const QCOW2_EXTENDED_L2 = 1n << 4n;

export function aQcow2({
  version = 3,
  virtualSize = 1024 * KIB,
  backingFileAt = 0,
  features = 0n,
  length = KIB,
}: Qcow2Options = {}): Uint8Array<ArrayBuffer> {
  return bytesWith(Math.max(length, 104), {
    0: "QFI\xfb",
    4: be32(version),
    8: be64(backingFileAt),
    16: be32(backingFileAt === 0 ? 0 : 11),
    20: be32(16),
    24: be64(virtualSize),
    72: be64(features),
    96: be32(4),
    100: be32(104),
  }).subarray(0, length);
}

export function aQed({ length = KIB } = {}): Uint8Array<ArrayBuffer> {
  return bytesWith(length, { 0: "QED\0", 4: le32(64 * KIB), 8: le32(4), 12: le32(1) });
}

/** A dynamic VHD, which has a copy of its footer in front. */
export function aVhd({ virtualSize = 1024 * KIB, length = 4 * KIB } = {}): Uint8Array<ArrayBuffer> {
  return concat(vhdFooter(3, virtualSize), new Uint8Array(length - SECTOR_BYTES));
}

/** The disk as it is, and a footer. */
export function aFixedVhd({ virtualSize = 4 * KIB } = {}): Uint8Array<ArrayBuffer> {
  return concat(new Uint8Array(virtualSize), vhdFooter(2, virtualSize));
}

function vhdFooter(type: number, virtualSize: number): Uint8Array<ArrayBuffer> {
  return bytesWith(SECTOR_BYTES, {
    0: "conectix",
    8: be32(2),
    12: be32(0x10000),
    40: be64(virtualSize),
    48: be64(virtualSize),
    60: be32(type),
  });
}

const VHDX_METADATA_REGION = "\x06\xa2\x7c\x8b\x90\x47\x9a\x4b\xb8\xfe\x57\x5f\x05\x0f\x88\x6e";
const VHDX_VIRTUAL_DISK_SIZE = "\x24\x42\xa5\x2f\x1b\xcd\x76\x48\xb2\x11\x5d\xbe\xd8\x3b\xf4\xb8";

export interface VhdxOptions {
  readonly virtualSize?: number | bigint;
  /** The signatures of the two tables. */
  readonly regionTable?: string;
  readonly metadataTable?: string;
  /** Where the metadata are said to lie. */
  readonly metadataAt?: number | bigint;
}

export function aVhdx({
  virtualSize = 1024 * KIB,
  regionTable = "regi",
  metadataTable = "metadata",
  metadataAt = 256 * KIB,
}: VhdxOptions = {}): Uint8Array<ArrayBuffer> {
  return bytesWith(384 * KIB, {
    0: "vhdxfile",
    [192 * KIB]: regionTable,
    [192 * KIB + 8]: le32(1),
    [192 * KIB + 16]: VHDX_METADATA_REGION,
    [192 * KIB + 32]: le64(metadataAt),
    [192 * KIB + 40]: le32(128 * KIB),
    [256 * KIB]: metadataTable,
    [256 * KIB + 10]: le16(1),
    [256 * KIB + 32]: VHDX_VIRTUAL_DISK_SIZE,
    [256 * KIB + 48]: le32(64 * KIB),
    [256 * KIB + 52]: le32(8),
    [320 * KIB]: le64(virtualSize),
  });
}

export function aVdi({ virtualSize = 1024 * KIB, length = KIB } = {}): Uint8Array<ArrayBuffer> {
  return bytesWith(length, {
    0: "<<< Oracle VM VirtualBox Disk Image >>>\n",
    64: le32(0xbeda107f),
    68: le32(0x10001),
    368: le64(virtualSize),
  });
}

export interface VmdkDescriptorOptions {
  readonly createType?: string;
  /** The lines of the extents. */
  readonly extents?: readonly string[];
  /** Lines between the type and the extents. */
  readonly lines?: readonly string[];
}

export function aVmdkDescriptor({
  createType = "monolithicSparse",
  extents = ['RW 2048 SPARSE "disk.vmdk"'],
  lines = [],
}: VmdkDescriptorOptions = {}): string {
  return [
    "# Disk DescriptorFile",
    "version=1",
    "CID=fffffffe",
    "parentCID=ffffffff",
    `createType="${createType}"`,
    ...lines,
    "",
    "# Extent description",
    ...extents,
    "",
    "# The Disk Data Base",
    "#DDB",
    'ddb.virtualHWVersion = "4"',
    'ddb.adapterType = "lsilogic"',
    "",
  ].join("\n");
}

export interface VmdkOptions {
  /** As in the header: sectors of 512 bytes. */
  readonly capacity?: number | bigint;
  readonly version?: number;
  readonly descriptor?: string;
  /** Where the header says that the descriptor lies, and how long it is, in sectors; it lies at 1. */
  readonly descriptorAt?: number | bigint;
  readonly descriptorSectors?: number | bigint;
  readonly grainDirectoryAt?: number | bigint;
}

const VMDK_AT_END = 0xffff_ffff_ffff_ffffn;

/** A sparse VMDK of one file. */
export function aVmdk(options: VmdkOptions = {}): Uint8Array<ArrayBuffer> {
  const { descriptor = aVmdkDescriptor() } = options;
  const descriptorRoom = Math.max(4, Math.ceil(descriptor.length / SECTOR_BYTES)) * SECTOR_BYTES;
  return concat(
    vmdkHeader({ descriptorSectors: descriptorRoom / SECTOR_BYTES, ...options }),
    bytesWith(descriptorRoom, { 0: descriptor }),
    new Uint8Array(KIB),
  );
}

export interface StreamOptimizedVmdkOptions extends VmdkOptions {
  /** What its footer says that its header does not. */
  readonly footer?: VmdkOptions & { readonly magic?: string };
  /** Fields of the markers around the footer. */
  readonly footerMarker?: Fields;
  readonly endMarker?: Fields;
}

/** A VMDK that is written from front to back, and so has its grain directory named in a footer. */
export function aStreamOptimizedVmdk({
  footer = {},
  footerMarker = {},
  endMarker = {},
  ...options
}: StreamOptimizedVmdkOptions = {}): Uint8Array<ArrayBuffer> {
  const header: VmdkOptions = {
    version: 3,
    descriptor: aVmdkDescriptor({ createType: "streamOptimized" }),
    descriptorSectors: 4,
    grainDirectoryAt: VMDK_AT_END,
    ...options,
  };
  return concat(
    aVmdk(header),
    bytesWith(SECTOR_BYTES, { 0: le64(1), 12: le32(3), ...footerMarker }),
    vmdkHeader({ ...header, grainDirectoryAt: 7, ...footer }),
    bytesWith(SECTOR_BYTES, endMarker),
  );
}

function vmdkHeader({
  magic = "KDMV",
  version = 1,
  capacity = 2048,
  descriptorAt = 1,
  descriptorSectors = 4,
  grainDirectoryAt = 7,
}: VmdkOptions & { readonly magic?: string }): Uint8Array<ArrayBuffer> {
  return bytesWith(SECTOR_BYTES, {
    0: magic,
    4: le32(version),
    8: le32(3),
    12: le64(capacity),
    20: le64(128),
    28: le64(descriptorAt),
    36: le64(descriptorSectors),
    44: le32(512),
    56: le64(grainDirectoryAt),
    64: le64(8),
    73: "\n \r\n",
  });
}

/** A descriptor that is a file of its own; by default one that names a file of the host. */
export function aTextVmdk({
  createType = "monolithicFlat",
  extents = ['RW 4 FLAT "/etc/passwd" 0'],
  ...options
}: VmdkDescriptorOptions = {}): Uint8Array<ArrayBuffer> {
  return latin1(aVmdkDescriptor({ createType, extents, ...options }));
}

export interface IsoOptions {
  /** Of the first volume descriptor; 1 is that of a primary volume. */
  readonly type?: number;
  readonly identifier?: string;
  readonly blocks?: number;
  readonly blockBytes?: number;
}

export function anIso({
  type = 1,
  identifier = "CD001",
  blocks = 20,
  blockBytes = 2048,
}: IsoOptions = {}): Uint8Array<ArrayBuffer> {
  const at = 32 * KIB;
  return bytesWith(40 * KIB, {
    [at]: String.fromCharCode(type),
    [at + 1]: identifier,
    [at + 6]: "\x01",
    [at + 80]: le32(blocks),
    [at + 84]: be32(blocks),
    [at + 128]: le16(blockBytes),
    [at + 130]: be16(blockBytes),
  });
}

/** An ISO that boots from a USB stick, too. */
export function aHybridIso(options: IsoOptions = {}): Uint8Array<ArrayBuffer> {
  return changed(anIso(options), { 0: anMbrDisk().subarray(0, SECTOR_BYTES) });
}

export interface Partition {
  /** 0 or 0x80. */
  readonly boot?: number;
  /** Head, sector and cylinder, a byte each. */
  readonly chs?: string;
  readonly type?: number;
  /** In sectors. */
  readonly startsAt?: number;
  readonly sectors?: number;
}

export const LINUX_PARTITION: Partition = { boot: 0x80, type: 0x83, startsAt: 2 };
/** Stands for all of a GPT disk. */
export const PROTECTIVE_PARTITION: Partition = { chs: "\x00\x02\x00", type: 0xee, startsAt: 1 };

export interface DiskOptions {
  /** Of the four slots; undefined leaves one empty. */
  readonly partitions?: readonly (Partition | undefined)[];
  readonly length?: number;
}

/** A disk with a boot record; with no partition unless told, the one of a Linux. */
export function anMbrDisk({
  partitions = [LINUX_PARTITION],
  length = 4 * KIB,
}: DiskOptions = {}): Uint8Array<ArrayBuffer> {
  const entries = partitions.map((partition, slot): [number, Uint8Array] => [
    446 + 16 * slot,
    partition === undefined ? new Uint8Array(16) : partitionEntry(partition),
  ]);
  return bytesWith(length, {
    0: "\xfa\x33\xc0",
    ...Object.fromEntries(entries),
    510: "\x55\xaa",
  });
}

function partitionEntry({
  boot = 0,
  chs = "\x01\x01\x00",
  type = 0x83,
  startsAt = 2,
  sectors = 6,
}: Partition): Uint8Array<ArrayBuffer> {
  return bytesWith(16, {
    0: String.fromCharCode(boot),
    1: chs,
    4: String.fromCharCode(type),
    5: "\xff\xff\xff",
    8: le32(startsAt),
    12: le32(sectors),
  });
}

/** A GPT disk with its protective boot record; other partitions spoil it. */
export function aGptDisk({
  partitions = [PROTECTIVE_PARTITION],
  length,
}: DiskOptions = {}): Uint8Array<ArrayBuffer> {
  const disk = anMbrDisk({ partitions, ...(length === undefined ? {} : { length }) });
  return changed(disk, { 512: "EFI PART\x00\x00\x01\x00" });
}

/**
 * A Linux kernel as boot loaders load it, with code where a disk has its partition table; its boot protocol is 2.15.
 */
export function aKernel({ length = 8 * KIB } = {}): Uint8Array<ArrayBuffer> {
  return bytesWith(length, {
    0: "MZ\xea\x07\x00\xc0\x07\x8c\xc8",
    446: "\x1f\x8b\x46\xfe\x99",
    497: "\x1b",
    510: "\x55\xaa\xeb\x6aHdrS\x0f\x02",
  });
}

export interface LuksOptions {
  readonly version?: number;
  /** Where the encrypted disk begins, in sectors. */
  readonly payloadAt?: number;
  readonly length?: number;
}

export function aLuks({
  version = 1,
  payloadAt = 4,
  length = 8 * KIB,
}: LuksOptions = {}): Uint8Array<ArrayBuffer> {
  return bytesWith(length, {
    0: "LUKS\xba\xbe",
    6: be16(version),
    8: "aes",
    40: "xts-plain64",
    72: "sha256",
    104: be32(payloadAt),
    108: be32(64),
  });
}

/** The first sector of a FAT file system, which has the signature of a boot record, and some of the file system. */
export function aFatFileSystem({ tables = 2, media = 0xf8 } = {}): Uint8Array<ArrayBuffer> {
  return bytesWith(4 * KIB, {
    0: "\xeb\x3c\x90MSDOS5.0",
    11: le16(SECTOR_BYTES),
    13: "\x01",
    16: String.fromCharCode(tables),
    21: String.fromCharCode(media),
    510: "\x55\xaa",
  });
}

// @ts-check
// Which disk format a file has, by what is in it.

import { open } from "node:fs/promises";
import { extname } from "node:path";
import { EXIT, Failure, withFile } from "./failure.mjs";

/**
 * @typedef {object} Formats
 * @property {string} disk
 * @property {string} container
 * @property {string} [warning]
 */

/** @param {string} text */
const bytesOf = (text) => Buffer.from(text, "latin1");

/** @type {readonly {offset: number, magic: Buffer, disk: string, container?: string}[]} */
const DISKS = [
  { offset: 0, magic: bytesOf("QFI\xfb"), disk: "qcow2" },
  { offset: 0, magic: bytesOf("KDMV"), disk: "vmdk" },
  { offset: 0, magic: bytesOf("COWD"), disk: "vmdk" },
  { offset: 0, magic: bytesOf("# Disk DescriptorFile"), disk: "vmdk" },
  { offset: 0, magic: bytesOf("vhdxfile"), disk: "vhdx" },
  { offset: 0, magic: bytesOf("conectix"), disk: "vhd" },
  { offset: 0, magic: bytesOf("WithoutFreeSpace"), disk: "ploop" },
  { offset: 0, magic: bytesOf("WithouFreSpacExt"), disk: "ploop" },
  { offset: 0x40, magic: bytesOf("\x7f\x10\xda\xbe"), disk: "vdi" },
];

/** A fixed VHD has its header behind the data. */
const VHD_FOOTER = { bytes: 512, magic: bytesOf("conectix") };
const ISO = { offset: 32_769, magic: bytesOf("CD001") };
const TAR = { offset: 257, magic: bytesOf("ustar") };

/** @type {readonly {magic: Buffer, name: string}[]} */
const PACKED = [
  { magic: bytesOf("\x1f\x8b"), name: "gzip" },
  { magic: bytesOf("\xfd7zXZ\0"), name: "xz" },
  { magic: bytesOf("(\xb5/\xfd"), name: "zstd" },
  { magic: bytesOf("BZh"), name: "bzip2" },
  { magic: bytesOf("PK\x03\x04"), name: "zip" },
  { magic: bytesOf("\x04\x22\x4d\x18"), name: "lz4" },
  { magic: bytesOf("]\0\0"), name: "lzma" },
  { magic: bytesOf("7z\xbc\xaf\x27\x1c"), name: "7-Zip" },
];

/** Formats with nothing in the file to be known by. */
const BY_EXTENSION = ["iso", "ami", "ari", "aki"];

/** Names of formats as extensions: a file named so, and without the format's mark, is none of that format. */
const MARKED = ["qcow2", "vmdk", "vhd", "vhdx", "vdi", "ploop"];

const HEAD_BYTES = ISO.offset + ISO.magic.length;

/**
 * The formats of a file. Throws a Failure for one that is compressed, since no format is known then.
 * @param {string} path
 */
export async function guessFormats(path) {
  return await withFile(path, async () => {
    const file = await open(path);
    try {
      const { size } = await file.stat();
      const head = await readAt(file, 0, HEAD_BYTES);
      const tail = await readAt(file, Math.max(0, size - VHD_FOOTER.bytes), VHD_FOOTER.bytes);
      return judge(path, head, tail);
    } finally {
      await file.close();
    }
  });
}

/**
 * @param {import("node:fs/promises").FileHandle} file
 * @param {number} position
 * @param {number} length
 */
async function readAt(file, position, length) {
  const { bytesRead, buffer } = await file.read(Buffer.alloc(length), 0, length, position);
  return buffer.subarray(0, bytesRead);
}

/**
 * The formats of a file by its name, its first bytes and its last sector.
 * @param {string} path
 * @param {Buffer} head
 * @param {Buffer} tail
 * @returns {Formats}
 */
export function judge(path, head, tail) {
  const extension = extname(path).slice(1).toLowerCase();
  /** @param {{offset?: number, magic: Buffer}} mark */
  const has = ({ offset = 0, magic }) => head.subarray(offset, offset + magic.length).equals(magic);
  const packed = packingOf(head);
  if (packed !== undefined) {
    throw new Failure(
      `${path} is compressed with ${packed}: unpack it first, or say --disk-format if it is to be stored as it is.`,
      EXIT.usage,
    );
  }
  const disk = DISKS.find(has)?.disk;
  if (disk !== undefined) return { disk, container: "bare" };
  if (has(ISO)) return { disk: "iso", container: "bare" };
  if (has(TAR) && extension === "ova") return { disk: "vmdk", container: "ova" };
  if (tail.subarray(0, VHD_FOOTER.magic.length).equals(VHD_FOOTER.magic)) {
    const warning = `${path} is a fixed VHD, which is a raw disk and a footer; it is taken as raw.`;
    return { disk: "raw", container: "bare", warning };
  }
  if (BY_EXTENSION.includes(extension)) {
    return { disk: extension, container: extension === "iso" ? "bare" : extension };
  }
  const raw = { disk: "raw", container: "bare" };
  if (!MARKED.includes(extension)) return raw;
  return { ...raw, warning: `${path} is no ${extension} file by its content; it is taken as raw.` };
}

/**
 * How a file is compressed, by its first bytes; undefined: in no way that is known.
 * @param {Buffer} head
 */
export function packingOf(head) {
  return PACKED.find(({ magic }) => head.subarray(0, magic.length).equals(magic))?.name;
}

/**
 * What to say of a file that is to be stored as a disk of the given format, if anything.
 * @param {string} path
 * @param {string} disk
 */
export async function warnOfPacking(path, disk) {
  if (disk !== "raw") return undefined;
  return await withFile(path, async () => {
    const file = await open(path);
    try {
      const packing = packingOf(await readAt(file, 0, HEAD_BYTES));
      if (packing === undefined) return undefined;
      return `${path} is compressed with ${packing}; it is stored as it is, and is no disk until it is unpacked.`;
    } finally {
      await file.close();
    }
  });
}

/**
 * The disk format that an address promises; undefined when its name could mean several.
 * @param {string} url
 */
export function formatOfName(url) {
  const path = URL.canParse(url) ? new URL(url).pathname : url;
  const extension = extname(path).slice(1).toLowerCase();
  return [...MARKED, ...BY_EXTENSION, "raw"].find((format) => format === extension);
}

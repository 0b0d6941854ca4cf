/** A way in which data may be packed. */
export type Packing = "gzip" | "zstd" | "zip" | "lha" | "xz" | "bzip2" | "lz4" | "lzma";

/** As many of the data's first bytes as tell how it is packed. */
export const PACKING_HEAD_BYTES = 13;

/** How data is packed, by its first bytes (contract 10 §14); undefined: in no way known here. */
export function detectPacking(head: Uint8Array): Packing | undefined {
  const marked = MAGIC.find(({ at, bytes, mask }) =>
    bytes.every((byte, i) => ((head[at + i] ?? -1) & (mask?.[i] ?? 0xff)) === byte),
  );
  return marked?.packing ?? (isLzma(head) ? "lzma" : undefined);
}

const MAGIC: readonly {
  readonly packing: Packing;
  readonly at: number;
  readonly bytes: readonly number[];
  /** The bits that count, where not all do. */
  readonly mask?: readonly number[];
}[] = [
  { packing: "gzip", at: 0, bytes: [0x1f, 0x8b, 0x08] },
  { packing: "zip", at: 0, bytes: [0x50, 0x4b, 0x03, 0x04] },
  { packing: "lha", at: 2, bytes: [0x2d, 0x6c, 0x68] },
  { packing: "zstd", at: 0, bytes: [0x28, 0xb5, 0x2f, 0xfd] },
  // A skippable frame (RFC 8878 §3.1.2), as writers of seekable and parallel zstd put first.
  { packing: "zstd", at: 0, bytes: [0x50, 0x2a, 0x4d, 0x18], mask: [0xf0, 0xff, 0xff, 0xff] },
  { packing: "xz", at: 0, bytes: [0xfd, 0x37, 0x7a, 0x58, 0x5a, 0x00] },
  { packing: "lz4", at: 0, bytes: [0x04, 0x22, 0x4d, 0x18] },
  { packing: "lz4", at: 0, bytes: [0x02, 0x21, 0x4c, 0x18] },
  // A size of blocks, and a block or the end: both marks are digits of a famous number.
  {
    packing: "bzip2",
    at: 0,
    bytes: [0x42, 0x5a, 0x68, 0x30, ...[0x31, 0x41, 0x59, 0x26, 0x53]],
    mask: [0xff, 0xff, 0xff, 0xf0, 0xff, 0xff, 0xff, 0xff, 0xff],
  },
  {
    packing: "bzip2",
    at: 0,
    bytes: [0x42, 0x5a, 0x68, 0x30, ...[0x17, 0x72, 0x45, 0x38, 0x50]],
    mask: [0xff, 0xff, 0xff, 0xf0, 0xff, 0xff, 0xff, 0xff, 0xff],
  },
];

/**
 * The form of old, which has no mark (LZMA specification, "lzma file format"): the usual properties, a dictionary of a
 * usual size, and a length that is unknown, or below a terabyte.
 */
function isLzma(head: Uint8Array): boolean {
  if (head.length < PACKING_HEAD_BYTES || head[0] !== 0x5d) return false;
  const view = new DataView(head.buffer, head.byteOffset, head.byteLength);
  const dictionary = view.getUint32(1, true);
  const length = view.getBigUint64(5, true);
  const isUsual = dictionary >= 4096 && (dictionary & (dictionary - 1)) === 0;
  return isUsual && (length === 2n ** 64n - 1n || (length > 0n && length < 2n ** 40n));
}

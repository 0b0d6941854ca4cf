/*
 * Numbers and marks in the bytes of a header. Each is undefined, or false, where the bytes are too few, so that no
 * reader has to ask first.
 */

export type Endian = "little" | "big";

export function startsWith(bytes: Uint8Array, mark: Uint8Array | string): boolean {
  return hasAt(bytes, 0, mark);
}

/** Whether a mark stands at this place; a mark given as text is Latin-1. */
export function hasAt(bytes: Uint8Array, at: number, mark: Uint8Array | string): boolean {
  if (bytes.length < at + mark.length) return false;
  for (let i = 0; i < mark.length; i++) {
    const wanted = typeof mark === "string" ? mark.charCodeAt(i) : mark[i];
    if (bytes[at + i] !== wanted) return false;
  }
  return true;
}

export function u8(bytes: Uint8Array, at: number): number | undefined {
  return bytes[at];
}

export function u16(bytes: Uint8Array, at: number, endian: Endian): number | undefined {
  return inside(bytes, at, 2)?.getUint16(0, endian === "little");
}

export function u32(bytes: Uint8Array, at: number, endian: Endian): number | undefined {
  return inside(bytes, at, 4)?.getUint32(0, endian === "little");
}

export function u64(bytes: Uint8Array, at: number, endian: Endian): bigint | undefined {
  return inside(bytes, at, 8)?.getBigUint64(0, endian === "little");
}

/** A number of bytes as a size; null for one that no number holds exactly, or that is missing. */
export function sizeOf(value: bigint | undefined): number | null {
  return value === undefined || value > BigInt(Number.MAX_SAFE_INTEGER) ? null : Number(value);
}

function inside(bytes: Uint8Array, at: number, length: number): DataView | undefined {
  if (at < 0 || bytes.length < at + length) return undefined;
  return new DataView(bytes.buffer, bytes.byteOffset + at, length);
}

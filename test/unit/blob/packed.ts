import { openUnpacked } from "../../../src/blob/unpack.ts";
import type { RangeReader } from "../../../src/blob/zip.ts";
import { Fault } from "../../../src/domain/fault.ts";
import type { Packing } from "../../../src/lib/packing.ts";
import { chunked } from "./sources.ts";

/** Packed images for tests, and what becomes of them. */

/** What the fixtures made by programs hold. */
export const FIXTURE = text("an image, an image, an image\n");

export function text(value: string): Uint8Array {
  return new TextEncoder().encode(value);
}

export function base64(value: string): Uint8Array {
  return Uint8Array.from(atob(value), (character) => character.charCodeAt(0));
}

export function concat(...all: readonly Uint8Array[]): Uint8Array {
  const joined = new Uint8Array(all.reduce((sum, { length }) => sum + length, 0));
  let offset = 0;
  for (const bytes of all) {
    joined.set(bytes, offset);
    offset += bytes.length;
  }
  return joined;
}

/** Bytes as a store gives them, in chunks. */
export function stored(bytes: Uint8Array, chunkBytes = 1000): RangeReader {
  return async ({ offset, length } = { offset: 0, length: bytes.length }) => {
    const wanted = bytes.subarray(offset, offset + length);
    return chunked(cut(wanted, chunkBytes));
  };
}

function* cut(bytes: Uint8Array, chunkBytes: number): Iterable<Uint8Array> {
  for (let i = 0; i < bytes.length; i += chunkBytes) yield bytes.slice(i, i + chunkBytes);
}

/** Unpacks all at once. */
export async function unpack(
  packing: Packing,
  bytes: Uint8Array,
  chunkBytes?: number,
): Promise<Uint8Array> {
  const stream = await openUnpacked(packing, stored(bytes, chunkBytes), bytes.length);
  return new Response(stream).bytes();
}

/** The sentence with which bytes are refused; undefined when they are not. */
export async function refusal(
  packing: Packing,
  bytes: Uint8Array,
  chunkBytes?: number,
): Promise<string | undefined> {
  try {
    await unpack(packing, bytes, chunkBytes);
    return undefined;
  } catch (reason) {
    if (reason instanceof Fault && reason.code === "image_unpackable") return reason.text;
    throw reason;
  }
}

/** What unpacking gives: bytes as text, or nothing when it is refused; all else is thrown. */
export async function outcome(
  packing: Packing,
  bytes: Uint8Array,
  chunkBytes?: number,
): Promise<Uint8Array | "refused"> {
  try {
    return await unpack(packing, bytes, chunkBytes);
  } catch (reason) {
    if (reason instanceof Fault && reason.code === "image_unpackable") return "refused";
    throw reason;
  }
}

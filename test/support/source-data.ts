// The data of the source server, made where it is needed: each byte follows from the seed and its
// offset alone, so a range of a terabyte costs no more than its own bytes. Runs in any runtime.

/** Which data: other seeds make other bytes; a longer one begins with the bytes of a shorter. */
export interface DataSpec {
  readonly seed: number;
  /** Bytes. */
  readonly size: number;
}

const BLOCK_BYTES = 64 * 1024;

/** Bytes `offset` to `offset + length` of the data; where it ends earlier, fewer. */
export function dataOf(
  { seed, size }: DataSpec,
  offset = 0,
  length = size - offset,
): Uint8Array<ArrayBuffer> {
  const end = Math.min(offset + length, size);
  const firstBlock = Math.floor(offset / BLOCK_BYTES);
  const blockCount = Math.max(0, Math.ceil(end / BLOCK_BYTES) - firstBlock);
  const bytes = new Uint8Array(blockCount * BLOCK_BYTES);
  for (let index = 0; index < blockCount; index += 1) {
    const words = new Uint32Array(bytes.buffer, index * BLOCK_BYTES, BLOCK_BYTES / 4);
    fillBlock(words, seed, firstBlock + index);
  }
  const skipped = offset - firstBlock * BLOCK_BYTES;
  return bytes.subarray(skipped, Math.max(skipped, skipped + end - offset));
}

/** The data in pieces of at most `pieceBytes`, made while they are read. */
export function* piecesOf(spec: DataSpec, pieceBytes = 1024 ** 2): Generator<Uint8Array> {
  for (let offset = 0; offset < spec.size; offset += pieceBytes) {
    yield dataOf(spec, offset, pieceBytes);
  }
}

function fillBlock(words: Uint32Array, seed: number, block: number): void {
  const key = mix(mix(seed) ^ mix(block + 1));
  for (let index = 0; index < words.length; index += 1) words[index] = mix(key + index);
}

/** The finalizer of MurmurHash3: cheap, and one bit more or less changes half of the result. */
function mix(value: number): number {
  let bits = Math.imul(value ^ (value >>> 16), 0x85ebca6b);
  bits = Math.imul(bits ^ (bits >>> 13), 0xc2b2ae35);
  return bits ^ (bits >>> 16);
}

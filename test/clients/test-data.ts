import { createCipheriv, createHash } from "node:crypto";
import { createReadStream } from "node:fs";

export const MiB = 1024 ** 2;

/** Bytes that look random and are the same for the same seed, in pieces of a MiB, made while they are read. */
export function* makeBytes(sizeMiB: number, seed = 0): Generator<Buffer> {
  const cipher = createCipheriv("aes-128-ctr", Buffer.alloc(16), Buffer.alloc(16, seed));
  const zeros = Buffer.alloc(MiB);
  for (let made = 0; made < sizeMiB; made += 1) yield cipher.update(zeros);
}

export function sha512Of(source: Iterable<Buffer>): string {
  const hash = createHash("sha512");
  for (const piece of source) hash.update(piece);
  return hash.digest("hex");
}

export async function sha512OfFile(path: string): Promise<string> {
  const hash = createHash("sha512");
  for await (const piece of createReadStream(path)) hash.update(piece);
  return hash.digest("hex");
}

import type { Hashes } from "../domain/image.ts";
import { toHex } from "../lib/hex.ts";

/** The names of WebCrypto for the names of the `hashing_algorithm` setting (contract HSH-1). */
const DIGEST_NAMES = {
  md5: "MD5",
  sha1: "SHA-1",
  sha256: "SHA-256",
  sha384: "SHA-384",
  sha512: "SHA-512",
} as const;

export type HashAlgorithm = keyof typeof DIGEST_NAMES;

export function isHashAlgorithm(name: string): name is HashAlgorithm {
  return Object.hasOwn(DIGEST_NAMES, name);
}

/**
 * Computes several hashes of bytes that come in order, each algorithm once. It knows how far it is, so that work which
 * is taken up again in the same process need not hash again.
 */
export class Digests {
  /** Bytes taken so far. */
  position = 0;
  private readonly byName: ReadonlyMap<HashAlgorithm, StreamedDigest>;
  private result: Promise<Hashes> | undefined;

  constructor(algorithms: readonly HashAlgorithm[]) {
    this.byName = new Map([...new Set(algorithms)].map((name) => [name, new StreamedDigest(name)]));
  }

  /** Takes the next bytes, which are free for other use once the promise settles. */
  update(bytes: Uint8Array): Promise<void> {
    return this.take(this.position, bytes);
  }

  /** Takes bytes that begin at `offset`, which is not beyond the position; what it has had already is left out. */
  async take(offset: number, bytes: Uint8Array): Promise<void> {
    if (offset > this.position) throw new Error("a digest takes bytes in order");
    const fresh = bytes.subarray(Math.min(bytes.length, this.position - offset));
    if (fresh.length === 0) return;
    this.position += fresh.length;
    // The runtime hashes within write(), one after the other; waiting is for errors only.
    await Promise.all([...this.byName.values()].map((digest) => digest.update(fresh)));
  }

  /** The hashes of everything that was taken, in hex; may be asked again. */
  finish(): Promise<Hashes> {
    this.result ??= this.compute();
    return this.result;
  }

  /** Gives the hashes up; safe at any time. */
  abort(): void {
    for (const digest of this.byName.values()) digest.abort();
  }

  private async compute(): Promise<Hashes> {
    const entries = [...this.byName].map(
      async ([name, digest]) => [name, await digest.finish()] as const,
    );
    return Object.fromEntries(await Promise.all(entries));
  }
}

class StreamedDigest {
  private readonly stream: DigestStream;
  private readonly writer: WritableStreamDefaultWriter<ArrayBuffer | ArrayBufferView>;

  constructor(algorithm: HashAlgorithm) {
    this.stream = new crypto.DigestStream(DIGEST_NAMES[algorithm]);
    this.writer = this.stream.getWriter();
    // Both promises reject when the digest is given up; then nobody waits for them.
    this.stream.digest.catch(() => {});
    this.writer.closed.catch(() => {});
  }

  update(bytes: Uint8Array): Promise<void> {
    return this.writer.write(bytes);
  }

  async finish(): Promise<string> {
    await this.writer.close();
    return toHex(await this.stream.digest);
  }

  abort(): void {
    this.writer.abort().catch(() => {});
  }
}

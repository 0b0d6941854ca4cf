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

/** An image's two hashes in hex (contract HSH-1), and whatever else was to be computed. */
export interface ImageHashes {
  /** MD5. */
  readonly checksum: string;
  /** By the configured algorithm. */
  readonly osHashValue: string;
  /** All of them, by algorithm. */
  readonly hashes: Hashes;
}

/** Computes several hashes of bytes as they pass, each algorithm once. */
export class Digests {
  private readonly byName: ReadonlyMap<HashAlgorithm, StreamedDigest>;
  private result: Promise<Hashes> | undefined;

  constructor(algorithms: readonly HashAlgorithm[]) {
    this.byName = new Map(algorithms.map((name) => [name, new StreamedDigest(name)]));
  }

  /** Takes the next bytes, which are free for other use once the promise settles. */
  async update(bytes: Uint8Array): Promise<void> {
    // The runtime hashes within write(), one after the other; waiting is for errors only.
    await Promise.all([...this.byName.values()].map((digest) => digest.update(bytes)));
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

/** Computes MD5, the configured hash, and any others wanted (contract HSH-1). */
export class ImageDigest {
  private readonly digests: Digests;

  constructor(
    private readonly algorithm: HashAlgorithm,
    others: readonly HashAlgorithm[] = [],
  ) {
    this.digests = new Digests(["md5", algorithm, ...others]);
  }

  /** Takes the next bytes, which are free for other use once the promise settles. */
  update(bytes: Uint8Array): Promise<void> {
    return this.digests.update(bytes);
  }

  /** The hashes of everything that was taken. */
  async finish(): Promise<ImageHashes> {
    const hashes = await this.digests.finish();
    return { checksum: hashes.md5 ?? "", osHashValue: hashes[this.algorithm] ?? "", hashes };
  }

  /** Gives the hashes up; safe at any time. */
  abort(): void {
    this.digests.abort();
  }
}

/**
 * Hashes of bytes that come in order but not all at once: it knows how far it is, so that work which is taken up
 * again in the same process need not hash again.
 */
export class RunningDigest {
  /** Bytes taken so far. */
  position = 0;
  private readonly digests: Digests;

  constructor(algorithms: readonly HashAlgorithm[]) {
    this.digests = new Digests(algorithms);
  }

  /** Takes bytes that begin at `offset`, which is not beyond the position; what it has had already is left out. */
  async take(offset: number, bytes: Uint8Array): Promise<void> {
    if (offset > this.position) throw new Error("a digest takes bytes in order");
    const fresh = bytes.subarray(Math.min(bytes.length, this.position - offset));
    if (fresh.length === 0) return;
    this.position += fresh.length;
    await this.digests.update(fresh);
  }

  /** The hashes of everything that was taken, in hex; may be asked again. */
  finish(): Promise<Hashes> {
    return this.digests.finish();
  }

  /** Gives the hashes up; safe at any time. */
  abort(): void {
    this.digests.abort();
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

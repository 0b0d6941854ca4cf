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

/** An image's two hashes in hex (contract HSH-1). */
export interface ImageHashes {
  /** MD5. */
  readonly checksum: string;
  /** By the configured algorithm. */
  readonly osHashValue: string;
}

/** Computes MD5 and the configured hash of bytes as they pass (contract HSH-1). */
export class ImageDigest {
  private readonly md5 = new StreamedDigest("md5");
  private readonly other: StreamedDigest;

  constructor(algorithm: HashAlgorithm) {
    this.other = algorithm === "md5" ? this.md5 : new StreamedDigest(algorithm);
  }

  /** Takes the next bytes, which are free for other use once the promise settles. */
  async update(bytes: Uint8Array): Promise<void> {
    // The runtime hashes within write(), one after the other; waiting is for errors only.
    const first = this.md5.update(bytes);
    if (this.other !== this.md5) await this.other.update(bytes);
    await first;
  }

  /** The hashes of everything that was taken. */
  async finish(): Promise<ImageHashes> {
    const checksum = await this.md5.finish();
    const osHashValue = this.other === this.md5 ? checksum : await this.other.finish();
    return { checksum, osHashValue };
  }

  /** Gives the hashes up; safe at any time. */
  abort(): void {
    this.md5.abort();
    this.other.abort();
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

import { base64url } from "jose";

/**
 * Production refuses PBKDF2 with more iterations than this, while local runs accept any number; a
 * larger one is therefore refused when the document is read, on every machine alike.
 */
export const MAX_PBKDF2_ITERATIONS = 100_000;

const DIGEST_BYTES = 32;
const MIN_SALT_BYTES = 8;
const PBKDF2_FORM = /^pbkdf2-sha256\$([1-9]\d{0,9})\$([\w-]+)\$([\w-]+)$/;
const SHA256_FORM = /^sha256\$([\w-]+)$/;

/** What is kept of a password (PBKDF2) or of a random, long secret (one SHA-256 is enough). */
export type SecretHash =
  | {
      readonly kind: "pbkdf2-sha256";
      readonly iterations: number;
      readonly salt: Uint8Array;
      readonly digest: Uint8Array;
    }
  | { readonly kind: "sha256"; readonly digest: Uint8Array };

/**
 * Reads `pbkdf2-sha256$<iterations>$<salt>$<hash>`, and `sha256$<hash>` where a random secret is
 * meant, the binary parts in base64url. Throws a RangeError whose message goes on from "the value
 * …" and quotes nothing.
 */
export function parseSecretHash(text: string, isRandomSecret: boolean): SecretHash {
  const [, iterationsText, saltText, derivedText] = PBKDF2_FORM.exec(text) ?? [];
  if (iterationsText !== undefined && saltText !== undefined && derivedText !== undefined) {
    const iterations = Number(iterationsText);
    if (iterations > MAX_PBKDF2_ITERATIONS) {
      throw new RangeError(
        `asks for ${iterations} PBKDF2 iterations, but Workers compute at most ${MAX_PBKDF2_ITERATIONS}`,
      );
    }
    const salt = decode(saltText);
    if (salt.byteLength < MIN_SALT_BYTES) {
      throw new RangeError(`has a salt of fewer than ${MIN_SALT_BYTES} bytes`);
    }
    return { kind: "pbkdf2-sha256", iterations, salt, digest: decodeDigest(derivedText) };
  }
  const [, digestText] = SHA256_FORM.exec(text) ?? [];
  if (digestText !== undefined && isRandomSecret) {
    return { kind: "sha256", digest: decodeDigest(digestText) };
  }
  throw new RangeError("must be a hash made with `npm run identity -- hash`");
}

function decodeDigest(text: string): Uint8Array {
  const digest = decode(text);
  if (digest.byteLength !== DIGEST_BYTES) {
    throw new RangeError(`has a hash of ${digest.byteLength} bytes instead of ${DIGEST_BYTES}`);
  }
  return digest;
}

function decode(text: string): Uint8Array {
  try {
    return base64url.decode(text);
  } catch {
    throw new RangeError("has a part that is not base64url");
  }
}

/** Whether the secret is the one the hash was made of, compared in constant time. */
export async function matchesSecret(secret: string, hash: SecretHash): Promise<boolean> {
  const bytes = new TextEncoder().encode(secret);
  const digest =
    hash.kind === "sha256"
      ? await crypto.subtle.digest("SHA-256", bytes)
      : await derive(bytes, hash);
  return crypto.subtle.timingSafeEqual(digest, hash.digest);
}

async function derive(
  secret: Uint8Array,
  { iterations, salt }: Extract<SecretHash, { kind: "pbkdf2-sha256" }>,
): Promise<ArrayBuffer> {
  const key = await crypto.subtle.importKey("raw", secret, "PBKDF2", false, ["deriveBits"]);
  const algorithm = { name: "PBKDF2", hash: "SHA-256", salt, iterations };
  return await crypto.subtle.deriveBits(algorithm, key, DIGEST_BYTES * 8);
}

/**
 * A hash that no secret has and that costs as much to check as the dearest of the given ones, so
 * that an unknown name takes as long to refuse as a wrong secret.
 */
export function decoyFor(hashes: readonly SecretHash[]): SecretHash {
  const iterations = hashes.map((hash) => (hash.kind === "sha256" ? 0 : hash.iterations));
  const dearest = Math.max(0, ...iterations);
  const digest = new Uint8Array(DIGEST_BYTES);
  if (dearest === 0) return { kind: "sha256", digest };
  return {
    kind: "pbkdf2-sha256",
    iterations: dearest,
    salt: new Uint8Array(MIN_SALT_BYTES),
    digest,
  };
}

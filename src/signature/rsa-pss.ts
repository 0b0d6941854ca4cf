import { base64url } from "jose";
import { Fault } from "../domain/fault.ts";
import type { SignatureHashMethod } from "../domain/image-signature.ts";
import { fromHex, toHex } from "../lib/hex.ts";
import type { VerifyDigest } from "./verify-digest.ts";

/**
 * Gets ready to verify an RSASSA-PSS signature as image signatures have it (contract 13 §8): MGF1 with the same hash,
 * and the longest possible salt. The key is extractable. Throws `signature_unusable` for a signature that is not
 * as long as the key (RFC 8017 §8.1.2 step 1).
 */
export async function openRsaPss(
  key: CryptoKey,
  hash: SignatureHashMethod,
  signature: Uint8Array,
): Promise<VerifyDigest> {
  const { n, e } = await crypto.subtle.exportKey("jwk", key).then(readJwk);
  const bits = n.toString(2).length;
  const keyBytes = Math.ceil(bits / 8);
  if (signature.length !== keyBytes) {
    unusable(`img_signature has ${signature.length} bytes, and the certificate's key ${keyBytes}`);
  }
  const s = toBigInt(signature);
  return async (digest) => {
    if (s >= n) return false;
    const encoded = toBytes(power(s, e, n), Math.ceil((bits - 1) / 8));
    return encoded !== undefined && isEncodingOf(encoded, bits - 1, digest, hash);
  };
}

/** EMSA-PSS-VERIFY (RFC 8017 §9.1.2) for sLen = emLen - hLen - 2, so that there is no padding before the salt. */
async function isEncodingOf(
  encoded: Uint8Array,
  bits: number,
  digest: Uint8Array,
  hash: SignatureHashMethod,
): Promise<boolean> {
  const blockBytes = encoded.length - digest.length - 1;
  const maskedBlock = encoded.subarray(0, blockBytes);
  const proof = encoded.slice(blockBytes, -1);
  const topMask = 0xff >> (8 * encoded.length - bits);
  const [top = 0] = maskedBlock;
  if (encoded.at(-1) !== 0xbc || top > topMask) return false;
  const mask = await maskOf(proof, blockBytes, hash);
  const block = maskedBlock.map((byte, i) => byte ^ (mask[i] ?? 0));
  if (((block[0] ?? 0) & topMask) !== 0x01) return false;
  const salt = block.subarray(1);
  const expected = await digestOf(hash, new Uint8Array(8), digest, salt);
  // Nothing here is secret, so neither is how far they agree.
  return toHex(proof) === toHex(expected);
}

/** MGF1 (RFC 8017 §B.2.1). */
async function maskOf(seed: Uint8Array, length: number, hashName: string): Promise<Uint8Array> {
  const mask: number[] = [];
  for (let counter = 0; mask.length < length; counter++) {
    // A mask has fewer than 256 pieces: WebCrypto imports no RSA key of more than 16384 bits.
    mask.push(...(await digestOf(hashName, seed, Uint8Array.of(0, 0, 0, counter))));
  }
  return Uint8Array.from(mask.slice(0, length));
}

async function digestOf(hashName: string, ...pieces: readonly Uint8Array[]): Promise<Uint8Array> {
  const whole = Uint8Array.from(pieces.flatMap((piece) => [...piece]));
  return new Uint8Array(await crypto.subtle.digest(hashName, whole));
}

/** base ** exponent mod modulus. */
function power(base: bigint, exponent: bigint, modulus: bigint): bigint {
  let result = 1n;
  for (const bit of exponent.toString(2)) {
    result = (result * result) % modulus;
    if (bit === "1") result = (result * base) % modulus;
  }
  return result;
}

/** I2OSP (RFC 8017 §4.1): undefined when the number is too large. */
function toBytes(value: bigint, length: number): Uint8Array | undefined {
  const hex = value.toString(16).padStart(2 * length, "0");
  return hex.length > 2 * length ? undefined : fromHex(hex);
}

function toBigInt(bytes: Uint8Array): bigint {
  return BigInt(`0x${toHex(bytes)}`);
}

function readJwk(jwk: JsonWebKey | ArrayBuffer): { n: bigint; e: bigint } {
  const { n, e } = jwk instanceof ArrayBuffer ? {} : jwk;
  if (n === undefined || e === undefined) throw new TypeError("the key is not an RSA key");
  return { n: toBigInt(base64url.decode(n)), e: toBigInt(base64url.decode(e)) };
}

function unusable(reason: string): never {
  throw new Fault("signature_unusable", { reason });
}

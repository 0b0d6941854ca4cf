import { p384, p521 } from "@noble/curves/nist.js";
import { Fault } from "../domain/fault.ts";
import type { VerifyDigest } from "./verify-digest.ts";

const CURVES = { ECC_SECP384R1: p384, ECC_SECP521R1: p521 } as const;

/**
 * Gets ready to verify an ECDSA signature in DER (RFC 3279 §2.2.3), as openssl and the reference's clients make them.
 * Throws `signature_unusable` for one that is no pair of scalars of this curve.
 */
export async function openEcdsa(
  key: CryptoKey,
  keyType: keyof typeof CURVES,
  signature: Uint8Array,
): Promise<VerifyDigest> {
  const curve = CURVES[keyType];
  try {
    curve.Signature.fromBytes(signature, "der");
  } catch (cause) {
    const reason = `img_signature is not an ECDSA signature in DER that a key of ${keyType} makes`;
    throw new Fault("signature_unusable", { reason }, cause);
  }
  const exported = await crypto.subtle.exportKey("raw", key);
  if (!(exported instanceof ArrayBuffer)) throw new TypeError("the key is not of a curve");
  const point = new Uint8Array(exported);
  // Signers do not prefer the smaller s on these curves.
  const options = { prehash: false, lowS: false, format: "der" } as const;
  return async (digest) => curve.verify(signature, digest, point, options);
}

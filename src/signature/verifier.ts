import { readHash } from "../domain/expected-hash.ts";
import { Fault } from "../domain/fault.ts";
import {
  type ImageSignature,
  type SignedHash,
  signatureBytes,
  signedHash,
} from "../domain/image-signature.ts";
import { fromHex } from "../lib/hex.ts";
import { openEcdsa } from "./ecdsa.ts";
import { openRsaPss } from "./rsa-pss.ts";

/**
 * A signature that waits for its data. WebCrypto hashes what it verifies by itself and all at once, which no image of
 * many gigabytes could pass; so these verifiers take the digest that was made while the bytes passed by.
 */
export interface SignatureVerifier {
  /** Which digest of the data is needed. */
  readonly algorithm: SignedHash;
  /** Takes the digest of the data in hex. Throws `signature_mismatch` when the signature is not of that data. */
  verify(digestHex: string): Promise<void>;
}

/** Takes the extractable key of the image's certificate. Throws `signature_unusable`. */
export async function openVerifier(
  image: ImageSignature,
  key: CryptoKey,
): Promise<SignatureVerifier> {
  const algorithm = signedHash(image);
  const signature = signatureBytes(image);
  const isOf =
    image.keyType === "RSA-PSS"
      ? await openRsaPss(key, image.hashMethod, signature)
      : await openEcdsa(key, image.keyType, signature);
  return {
    algorithm,
    async verify(digestHex) {
      const digest = fromHex(readHash(algorithm, digestHex)?.value ?? "");
      if (!digest?.length) throw new TypeError(`"${digestHex}" is no ${algorithm} digest`);
      if (!(await isOf(digest))) throw new Fault("signature_mismatch");
    },
  };
}

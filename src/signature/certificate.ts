import { Fault } from "../domain/fault.ts";
import type { ImageSignature, SignatureKeyType } from "../domain/image-signature.ts";
import { objectionTo } from "./chain.ts";
import { X509Certificate } from "./x509.ts";

/** The import algorithm of WebCrypto for an image's key type. */
const IMPORT = {
  "RSA-PSS": { name: "RSA-PSS" },
  ECC_SECP384R1: { name: "ECDSA", namedCurve: "P-384" },
  ECC_SECP521R1: { name: "ECDSA", namedCurve: "P-521" },
} as const satisfies Record<SignatureKeyType, { name: string; namedCurve?: string }>;

/**
 * The public key of a trusted certificate, extractable. `chain` is DER, the certificate first; it must lead to one
 * of `roots`, each link valid at `nowMs`. Throws `signature_unusable`.
 */
export async function certifiedKey(
  chain: readonly Uint8Array[],
  roots: readonly Uint8Array[],
  signature: Pick<ImageSignature, "keyType" | "hashMethod" | "certificateId">,
  nowMs: number,
): Promise<CryptoKey> {
  // Without its id, which the caller may not be allowed to read.
  const what = "its certificate";
  const refuse = (problem: string, cause?: unknown): never => {
    throw new Fault("signature_unusable", { reason: `${what} ${problem}` }, cause);
  };
  // The library fails in many ways at what is no certificate, some of them only when a field is asked for.
  const read = <T>(work: () => Promise<T>): Promise<T> =>
    work().catch((cause) => refuse("or one it depends on cannot be read", cause));

  const { leaf, objection } = await read(async () => {
    const [leaf = refuse("is empty"), ...intermediates] = chain.map(decode);
    const objection = await objectionTo(leaf, intermediates, roots.map(decode), nowMs);
    return { leaf, objection };
  });
  if (objection !== undefined) return refuse(`is not trusted: ${objection}`);
  if (!fits(leaf, signature)) {
    return refuse(
      "has a key of another type than img_signature_key_type and img_signature_hash_method say",
    );
  }
  const algorithm = { ...IMPORT[signature.keyType], hash: signature.hashMethod };
  return read(() => leaf.publicKey.export(algorithm, ["verify"]));
}

function decode(der: Uint8Array): X509Certificate {
  return new X509Certificate(Uint8Array.from(der));
}

/** Whether the certificate's key is of the image's key type; a key may be bound to one hash (RFC 4055 §1.2). */
function fits(
  { publicKey }: X509Certificate,
  { keyType, hashMethod }: Pick<ImageSignature, "keyType" | "hashMethod">,
): boolean {
  const algorithm: { name: string; namedCurve?: string; hash?: { name: string } } =
    publicKey.algorithm;
  if (keyType === "RSA-PSS") {
    const isRsa = algorithm.name === "RSASSA-PKCS1-v1_5" || algorithm.name === "RSA-PSS";
    return isRsa && (algorithm.hash === undefined || algorithm.hash.name === hashMethod);
  }
  return algorithm.name === "ECDSA" && algorithm.namedCurve === IMPORT[keyType].namedCurve;
}

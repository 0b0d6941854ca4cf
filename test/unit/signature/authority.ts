import "@abraham/reflection";
import {
  BasicConstraintsExtension,
  type Extension,
  KeyUsageFlags,
  KeyUsagesExtension,
  type X509Certificate,
  X509CertificateGenerator,
} from "@peculiar/x509";
import type { ImageSignature } from "../../../src/domain/image-signature.ts";
import { parseTrustStore } from "../../../src/signature/trust-store.ts";

/** Noon of the tests; certificates are valid a year around it unless they say otherwise. */
export const NOW = Date.UTC(2027, 0, 15, 12);
export const DAY = 86_400_000;

/** A certificate with the key that it is about. */
export interface Holder {
  readonly certificate: X509Certificate;
  readonly keys: CryptoKeyPair;
}

export interface Issue {
  readonly issuer?: Holder;
  readonly keys?: CryptoKeyPair;
  readonly notBefore?: number;
  readonly notAfter?: number;
  readonly extensions?: readonly Extension[];
  readonly hash?: string;
}

/** Keys of P-384: quickly made, and fit for images and certificates alike. */
export async function makeKeys(namedCurve = "P-384"): Promise<CryptoKeyPair> {
  const keys = await crypto.subtle.generateKey({ name: "ECDSA", namedCurve }, true, [
    "sign",
    "verify",
  ]);
  if (!("publicKey" in keys)) throw new Error("no pair");
  return keys;
}

/** Keys of RSA, of any length. */
export async function makeRsaKeys(modulusLength: number): Promise<CryptoKeyPair> {
  const publicExponent = Uint8Array.of(1, 0, 1);
  const algorithm = { name: "RSASSA-PKCS1-v1_5", hash: "SHA-256", modulusLength, publicExponent };
  const keys = await crypto.subtle.generateKey(algorithm, true, ["sign", "verify"]);
  if (!("publicKey" in keys)) throw new Error("no pair");
  return keys;
}

let serial = 1;

/** A certificate as it is asked for; without an issuer, signed by itself. */
export async function issue(name: string, wanted: Issue = {}): Promise<Holder> {
  const { issuer, hash = "SHA-384", extensions = [] } = wanted;
  const keys = wanted.keys ?? (await makeKeys());
  const signingKey = (issuer?.keys ?? keys).privateKey;
  const certificate = await X509CertificateGenerator.create({
    serialNumber: (serial++).toString(16).padStart(4, "0"),
    subject: `CN=${name}`,
    issuer: issuer?.certificate.subject ?? `CN=${name}`,
    notBefore: new Date(wanted.notBefore ?? NOW - 180 * DAY),
    notAfter: new Date(wanted.notAfter ?? NOW + 180 * DAY),
    publicKey: keys.publicKey,
    signingKey,
    signingAlgorithm: { name: signingKey.algorithm.name, hash },
    extensions: [...extensions],
  });
  return { certificate, keys };
}

/** What makes a certificate an authority. */
export const authority = (pathLength?: number): readonly Extension[] => [
  new BasicConstraintsExtension(true, pathLength, true),
  new KeyUsagesExtension(KeyUsageFlags.keyCertSign | KeyUsageFlags.cRLSign, true),
];

export const pemOf = (...holders: readonly Holder[]): string =>
  holders.map(({ certificate }) => certificate.toString("pem")).join("\n");

export const ID = "5f1a8e3e-0b43-4b0c-8d6c-6a1b9f0a4c55";

/** A trust store of one certificate. */
export const trusting = (certificate: string, ...roots: readonly string[]) =>
  parseTrustStore(JSON.stringify({ certificates: { [ID]: certificate }, roots }));

/** A signature of P-384 that is well formed, of nothing. */
export const ANY_SIGNATURE: ImageSignature = {
  signature: "MAYCAQECAQE=",
  hashMethod: "SHA-384",
  keyType: "ECC_SECP384R1",
  certificateId: ID,
};

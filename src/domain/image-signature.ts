import { fromBase64 } from "../lib/base64.ts";
import { Fault } from "./fault.ts";

/** Hash methods by their name in `img_signature_hash_method`; those that are false cannot be verified here. */
const HASH_METHODS = {
  "SHA-224": false,
  "SHA-256": true,
  "SHA-384": true,
  "SHA-512": true,
} as const;

/** Key types by their name in `img_signature_key_type`; those that are false cannot be verified here. */
const KEY_TYPES = {
  "RSA-PSS": true,
  DSA: false,
  ECC_SECT571K1: false,
  ECC_SECT409K1: false,
  ECC_SECT571R1: false,
  ECC_SECT409R1: false,
  ECC_SECP521R1: true,
  ECC_SECP384R1: true,
} as const;

type Verifiable<T> = { [Name in keyof T]: T[Name] extends true ? Name : never }[keyof T];

export type SignatureHashMethod = Verifiable<typeof HASH_METHODS>;
export type SignatureKeyType = Verifiable<typeof KEY_TYPES>;

const DIGESTS = {
  "SHA-256": "sha256",
  "SHA-384": "sha384",
  "SHA-512": "sha512",
} as const satisfies Record<SignatureHashMethod, string>;

export type SignedHash = (typeof DIGESTS)[SignatureHashMethod];

/** What an image's properties say of the signature of its data (contract 13 §8). Plain data, fit for storage. */
export interface ImageSignature {
  /** Base64, as it was given. */
  readonly signature: string;
  readonly hashMethod: SignatureHashMethod;
  readonly keyType: SignatureKeyType;
  /** Which of the deployment's certificates has the key. */
  readonly certificateId: string;
}

/**
 * The signature that an image's custom properties describe; undefined unless all four of them are there.
 * Throws `signature_unusable` for a value that means nothing, or nothing that could be verified here.
 */
export function readSignature(
  properties: ReadonlyMap<string, string | null>,
): ImageSignature | undefined {
  const signature = properties.get("img_signature") ?? undefined;
  const hashMethod = properties.get("img_signature_hash_method") ?? undefined;
  const keyType = properties.get("img_signature_key_type") ?? undefined;
  const certificateId = properties.get("img_signature_certificate_uuid") ?? undefined;
  if (
    signature === undefined ||
    hashMethod === undefined ||
    keyType === undefined ||
    certificateId === undefined
  ) {
    return undefined;
  }
  const read = {
    signature,
    hashMethod: verifiable("hash_method", hashMethod, HASH_METHODS),
    keyType: verifiable("key_type", keyType, KEY_TYPES),
    certificateId,
  };
  signatureBytes(read);
  return read;
}

/**
 * Throws `signature_changed` unless the properties still describe this signature, or none: data that nobody verified
 * must not come to look as if somebody had.
 */
export function assertSameSignature(
  verified: ImageSignature | undefined,
  properties: ReadonlyMap<string, string | null>,
): void {
  if (JSON.stringify(verified) === JSON.stringify(readOrBroken(properties))) return;
  throw new Fault("signature_changed");
}

function readOrBroken(properties: ReadonlyMap<string, string | null>) {
  try {
    return readSignature(properties);
  } catch {
    return "broken";
  }
}

/** Which digest of the data the signature is of. */
export function signedHash({ hashMethod }: Pick<ImageSignature, "hashMethod">): SignedHash {
  return DIGESTS[hashMethod];
}

/** The signature itself; line breaks in its Base64 do not count. Throws `signature_unusable`. */
export function signatureBytes({ signature }: Pick<ImageSignature, "signature">): Uint8Array {
  const bytes = fromBase64(signature.replace(/[\t\n\r ]+/g, ""));
  if (bytes !== undefined && bytes.length > 0) return bytes;
  throw new Fault("signature_unusable", { reason: "img_signature is not Base64" });
}

function verifiable<T extends Readonly<Record<string, boolean>>>(
  what: string,
  name: string,
  known: T,
): Verifiable<T> {
  if (isVerifiable(name, known)) return name;
  // Without the value, which the caller may not be allowed to read.
  const property = `img_signature_${what}`;
  const names = Object.keys(known).filter((key) => known[key] === true);
  const problem = Object.hasOwn(known, name)
    ? "cannot be verified by this service"
    : "is not known";
  throw new Fault("signature_unusable", {
    reason: `${property} ${problem}, use ${names.join(", ")}`,
  });
}

function isVerifiable<T extends Readonly<Record<string, boolean>>>(
  name: string,
  known: T,
): name is Verifiable<T> & string {
  return Object.hasOwn(known, name) && known[name] === true;
}

import { Fault } from "../domain/fault.ts";
import type { ImageSignature } from "../domain/image-signature.ts";
import { isJsonObject } from "../lib/json.ts";
import { parseCertificates } from "./pem.ts";
import type { SignatureVerifier } from "./verifier.ts";

/** A certificate and its intermediates: more of them make the search for a way to a root needlessly long. */
const MAX_CHAIN = 10;

/**
 * The certificates with which images may be signed, by the id that `img_signature_certificate_uuid` gives, and the
 * roots they must lead to. They stand in for the key manager of the reference. Nothing is trusted by default.
 */
export class TrustStore {
  /**
   * @param certificates DER: each id's certificate, followed by its intermediates in any order.
   * @param roots DER of the certificates that are trusted as they are.
   */
  constructor(
    private readonly certificates: ReadonlyMap<string, readonly Uint8Array[]>,
    private readonly roots: readonly Uint8Array[],
  ) {}

  /**
   * Gets ready to verify a signature, before the data is there. Throws `signature_unusable` for a certificate that is
   * not configured, not readable, not valid at that time or of no trusted root, for a key that does not fit the
   * image's key type, and for a signature that no key of this kind can have made.
   */
  async verifier(signature: ImageSignature, nowMs: number): Promise<SignatureVerifier> {
    const chain = this.certificates.get(signature.certificateId);
    if (chain === undefined) {
      const reason = "its certificate is not known here";
      throw new Fault("signature_unusable", { reason });
    }
    // Most isolates never see a signature, so none of this is in the way of their start.
    const [{ certifiedKey }, { openVerifier }] = await Promise.all([
      import("./certificate.ts"),
      import("./verifier.ts"),
    ]);
    return openVerifier(signature, await certifiedKey(chain, this.roots, signature, nowMs));
  }
}

/**
 * Reads `{"certificates": {"<id>": "<PEM>"}, "roots": ["<PEM>"]}`, both optional; an empty text is an empty document.
 * Throws an Error with a sentence.
 */
export function parseTrustStore(json: string): TrustStore {
  const document: unknown = JSON.parse(json || "{}");
  if (!isJsonObject(document)) throw new Error("it is not a JSON object");
  const { certificates = {}, roots = [], ...others } = document;
  const [unknown] = Object.keys(others);
  if (unknown !== undefined) throw new Error(`"${unknown}" is not known there`);
  if (!isJsonObject(certificates)) throw new Error("certificates is not an object of PEM texts");
  if (!Array.isArray(roots)) throw new Error("roots is not a list of PEM texts");
  return new TrustStore(
    new Map(Object.entries(certificates).map(([id, pem]) => [id, readChain(id, pem)])),
    roots.flatMap((pem, index) => readPem(`root ${index + 1}`, pem)),
  );
}

function readChain(id: string, pem: unknown): readonly Uint8Array[] {
  if (id === "") throw new Error("a certificate has an empty id");
  const chain = readPem(`the certificate "${id}"`, pem);
  if (chain.length <= MAX_CHAIN) return chain;
  throw new Error(`the certificate "${id}" has more than ${MAX_CHAIN - 1} intermediates`);
}

function readPem(what: string, pem: unknown): readonly Uint8Array[] {
  if (typeof pem !== "string") throw new Error(`${what} is not a text`);
  try {
    return parseCertificates(pem);
  } catch (cause) {
    throw new Error(`${what} ${(cause as Error).message}`);
  }
}

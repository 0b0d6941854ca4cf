import { fromBase64 } from "../lib/base64.ts";

const BLOCK = /-----BEGIN ([^-\r\n]*)-----([^-]*)-----END \1-----/g;
const SEQUENCE = 0x30;

/**
 * The certificates of a PEM text (RFC 7468), in DER and in order; text between them is skipped. What is inside is not
 * looked at. Throws an Error with half a sentence when there are none or anything else.
 */
export function parseCertificates(pem: string): readonly Uint8Array[] {
  const blocks = [...pem.matchAll(BLOCK)];
  if (blocks.length === 0) throw new Error("has no PEM certificate");
  if (blocks.length !== pem.split("-----BEGIN").length - 1) throw new Error("has broken PEM");
  return blocks.map(([, label, body]) => {
    // The label is not quoted, nor is the rest: this may be somebody's private key.
    if (label !== "CERTIFICATE") throw new Error("has PEM of another kind than certificates");
    const der = fromBase64((body ?? "").replace(/\s+/g, ""));
    if (der === undefined || !isSequence(der)) throw new Error("has a PEM block that is no DER");
    return der;
  });
}

/** Whether the bytes are one DER SEQUENCE from end to end (X.690 §8.1.3). */
function isSequence(der: Uint8Array): boolean {
  const [tag, first = 0] = der;
  if (tag !== SEQUENCE) return false;
  if (first < 0x80) return der.length === 2 + first;
  const lengthBytes = der.subarray(2, 2 + (first & 0x7f));
  const length = lengthBytes.reduce((sum, byte) => sum * 256 + byte, 0);
  return der.length === 2 + (first & 0x7f) + length;
}

import { base64url } from "jose";
import { abbreviate } from "../lib/code-points.ts";
import {
  BasicConstraintsExtension,
  ExtendedKeyUsageExtension,
  KeyUsageFlags,
  KeyUsagesExtension,
  type X509Certificate,
} from "./x509.ts";

/** Critical extensions that are checked here: basicConstraints, keyUsage, extKeyUsage. Others refuse a certificate. */
const CHECKED_EXTENSIONS = ["2.5.29.19", "2.5.29.15", "2.5.29.37"];

/** Purposes of a key that take in images: any, signing code (RFC 5280 §4.2.1.12) and signing documents (RFC 9336). */
const SIGNING_PURPOSES = ["2.5.29.37.0", "1.3.6.1.5.5.7.3.3", "1.3.6.1.5.5.7.3.36"];

/** Shorter ones of RSA can be broken (NIST SP 800-131A). */
const MIN_RSA_BITS = 2048;

/** A way from the certificate that signed the image upwards, without the one that is looked at. */
type Path = readonly X509Certificate[];

/**
 * Why a certificate is not to be trusted with signatures of images at a time (RFC 5280 §6.1, without policies, name
 * constraints and revocation, of which the first two are refused where they are critical); undefined when it is.
 * A root is trusted as configured, yet has to be valid. Throws what the library throws at what it cannot read.
 */
export function objectionTo(
  leaf: X509Certificate,
  intermediates: readonly X509Certificate[],
  roots: readonly X509Certificate[],
  nowMs: number,
): Promise<string | undefined> {
  const objection = async (
    certificate: X509Certificate,
    path: Path,
  ): Promise<string | undefined> => {
    const flaw = flawOf(certificate, path, nowMs) ?? (await flawOfKey(certificate));
    if (flaw !== undefined) return flaw;
    if (roots.some((root) => root.equal(certificate))) return undefined;
    let last: string | undefined = `the issuer of ${nameOf(certificate)} is not configured`;
    for (const issuer of [...roots, ...intermediates]) {
      const isNext = issuer.subject === certificate.issuer && !issuer.equal(certificate);
      if (!isNext || path.some((passed) => passed.equal(issuer))) continue;
      last = (await isSignedBy(certificate, issuer))
        ? await objection(issuer, [...path, certificate])
        : `${nameOf(certificate)} was not signed by its issuer, or not in a safe way`;
      if (last === undefined) return undefined;
    }
    return last;
  };
  return objection(leaf, []);
}

/** What is wrong with a certificate by itself, in its place. */
function flawOf(certificate: X509Certificate, path: Path, nowMs: number): string | undefined {
  const name = nameOf(certificate);
  if (nowMs < certificate.notBefore.getTime()) return `${name} is not valid yet`;
  if (nowMs > certificate.notAfter.getTime()) return `${name} has expired`;
  const unchecked = certificate.extensions.find(
    ({ critical, type }) => critical && !CHECKED_EXTENSIONS.includes(type),
  );
  if (unchecked !== undefined) return `${name} has the critical extension ${unchecked.type}`;
  // An authority's purposes limit the certificates below it as well, as everybody who checks them has come to hold.
  const isForSigning = certificate
    .getExtensions(ExtendedKeyUsageExtension)
    .every(({ usages }) => usages.some((usage) => SIGNING_PURPOSES.includes(String(usage))));
  if (!isForSigning) return `${name} is for other purposes than signing`;
  const isIssuer = path.length > 0;
  const needed = isIssuer ? KeyUsageFlags.keyCertSign : KeyUsageFlags.digitalSignature;
  const usages = certificate.getExtension(KeyUsagesExtension)?.usages ?? needed;
  if ((usages & needed) === 0) {
    return `${name} is not for signing ${isIssuer ? "certificates" : "data"}`;
  }
  return isIssuer ? flawOfIssuer(certificate, path) : undefined;
}

/** The library counts an RSA key's bytes; whether its first bits are used is in the key itself. */
async function flawOfKey(certificate: X509Certificate): Promise<string | undefined> {
  const { publicKey } = certificate;
  if (!publicKey.algorithm.name.startsWith("RSA")) return undefined;
  const jwk = await crypto.subtle.exportKey("jwk", await publicKey.export());
  const n = "n" in jwk ? jwk.n : "";
  if (bitLength(base64url.decode(n)) >= MIN_RSA_BITS) return undefined;
  return `${nameOf(certificate)} has an RSA key of fewer than ${MIN_RSA_BITS} bits`;
}

/** Of a number in bytes, the highest first. */
function bitLength(bytes: Uint8Array): number {
  const first = bytes.findIndex((byte) => byte !== 0);
  return first < 0 ? 0 : 8 * (bytes.length - first) - Math.clz32(bytes[first] ?? 0) + 24;
}

function flawOfIssuer(issuer: X509Certificate, path: Path): string | undefined {
  const constraints = issuer.getExtension(BasicConstraintsExtension);
  if (constraints?.ca !== true) return `${nameOf(issuer)} is not a certificate authority`;
  // A certificate that renews its own issuer's key does not count (RFC 5280 §4.2.1.9).
  const below = path.slice(1).filter((other) => other.subject !== other.issuer).length;
  if (below <= (constraints.pathLength ?? below)) return undefined;
  return `${nameOf(issuer)} has more authorities below it than it allows`;
}

async function isSignedBy(certificate: X509Certificate, issuer: X509Certificate): Promise<boolean> {
  const { hash }: { hash?: { name: string } } = certificate.signatureAlgorithm;
  if (hash?.name === "SHA-1") return false;
  // The dates are checked elsewhere. What WebCrypto cannot verify, it throws at.
  return certificate
    .verify({ publicKey: issuer.publicKey, signatureOnly: true })
    .catch(() => false);
}

function nameOf({ subject }: X509Certificate): string {
  return `"${abbreviate(subject)}"`;
}

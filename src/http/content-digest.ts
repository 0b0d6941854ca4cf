import { type ExpectedHash, readHash } from "../domain/expected-hash.ts";
import { Fault } from "../domain/fault.ts";
import { fromBase64 } from "../lib/base64.ts";
import { abbreviate } from "../lib/code-points.ts";
import { toHex } from "../lib/hex.ts";

/** Algorithms of RFC 9530 that are checked; the others of its registry are deprecated. */
const ALGORITHMS: ReadonlyMap<string, string> = new Map([
  ["sha-256", "sha256"],
  ["sha-512", "sha512"],
]);

/** Room for several digests of each algorithm there is. */
const MAX_LENGTH = 2_048;

/**
 * One member of a dictionary of structured fields (RFC 9651 §4.2.2) and what separates it from the next: a key, a byte
 * sequence or any other item, and parameters, which mean nothing here.
 */
const MEMBER =
  /[ \t]*([a-z*][a-z0-9_.*-]*)(?:=(?::([^:]*):|"(?:[^"\\]|\\.)*"|[^,;:"]*))?(?:;[^,;"]*)*[ \t]*(,|$)/y;

/**
 * The hashes that a request says its body has: Content-Digest and Repr-Digest (RFC 9530), which are the same for a body
 * without content coding, and Content-MD5 (RFC 1864; in hex, too, which is how the Image API gives it).
 * Throws `invalid_value` for a field that is malformed, or that names only algorithms which are not checked here.
 */
export function parseContentDigests(headers: Headers): ExpectedHash[] {
  return [
    ...parseDigestField(headers, "Content-Digest"),
    ...parseDigestField(headers, "Repr-Digest"),
    ...parseContentMd5(headers),
  ];
}

function parseDigestField(headers: Headers, name: string): ExpectedHash[] {
  const field = headers.get(name);
  if (field === null) return [];
  const members = readDictionary(name, field);
  const expected = [...members].flatMap(([key, value]) => {
    const algorithm = ALGORITHMS.get(key);
    if (algorithm === undefined) return [];
    const hash = readHash(algorithm, hexOf(value ?? ""));
    return [hash ?? malformed(name, `${key} is not a digest between colons, in Base64`)];
  });
  if (expected.length > 0) return expected;
  const known = [...ALGORITHMS.keys()].join(" and ");
  return malformed(name, `of the algorithms only ${known} are checked, and none of them is given`);
}

/** Keys with their byte sequences, undefined where a value is none; of a key that is given twice the last counts. */
function readDictionary(name: string, field: string): ReadonlyMap<string, string | undefined> {
  if (field.length > MAX_LENGTH) malformed(name, `it has more than ${MAX_LENGTH} characters`);
  const members = new Map<string, string | undefined>();
  MEMBER.lastIndex = 0;
  for (;;) {
    const start = MEMBER.lastIndex;
    const [, key, value, separator] =
      MEMBER.exec(field) ?? malformed(name, badSyntax(field, start));
    members.set(key ?? "", value);
    if (separator !== ",") return members;
  }
}

function badSyntax(field: string, start: number): string {
  return `it is no list of algorithm=:digest: from "${abbreviate(field.slice(start))}" on`;
}

function parseContentMd5(headers: Headers): ExpectedHash[] {
  const field = headers.get("Content-MD5")?.trim();
  if (field === undefined) return [];
  const hash = readHash("md5", field) ?? readHash("md5", hexOf(field));
  return [hash ?? malformed("Content-MD5", "it is not an MD5 digest in Base64")];
}

/** Hex digits of the bytes that Base64 text stands for; empty for text that is none. */
function hexOf(base64: string): string {
  return toHex(fromBase64(base64) ?? new Uint8Array(0));
}

function malformed(name: string, reason: string): never {
  throw new Fault("invalid_value", { name, reason });
}

import { Fault } from "./fault.ts";
import type { Hashes } from "./image.ts";

/** Hex digits of a digest by its algorithm. */
const HEX_DIGITS = { sha512: 128, sha384: 96, sha256: 64, sha1: 40, md5: 32 } as const;

type Algorithm = keyof typeof HEX_DIGITS;

/** The hash that a caller says its data has; other data is refused (ours, not Glance's). */
export interface ExpectedHash {
  readonly algorithm: Algorithm;
  /** Hex, in lower case. */
  readonly value: string;
}

/**
 * Reads `<algorithm>:<hex>`, with the hex digits in either case, as the request's field of this name has it.
 * Throws `invalid_value`.
 */
export function parseExpectedHash(name: string, given: unknown): ExpectedHash {
  const [, algorithm = "", value = ""] =
    (typeof given === "string" && /^([a-z0-9]+):([0-9a-fA-F]+)$/.exec(given)) || [];
  const expected = readHash(algorithm, value);
  if (expected !== undefined) return expected;
  const known = Object.entries(HEX_DIGITS).map(([algo, digits]) => `${algo} (${digits} digits)`);
  const reason = `it must be <algorithm>:<hex>, where the algorithm is one of ${known.join(", ")}`;
  throw new Fault("invalid_value", { name, reason });
}

/** A hash of an algorithm that is known and in hex digits as many as that has; undefined for anything else. */
export function readHash(algorithm: string, value: string): ExpectedHash | undefined {
  if (!isAlgorithm(algorithm) || value.length !== HEX_DIGITS[algorithm]) return undefined;
  return /^[0-9a-f]+$/i.test(value) ? { algorithm, value: value.toLowerCase() } : undefined;
}

/** Throws `hash_mismatch` unless the data is what was expected. */
export function assertExpected(expected: ExpectedHash | undefined, hashes: Hashes): void {
  if (expected === undefined) return;
  const { algorithm, value } = expected;
  const actual = hashes[algorithm];
  if (actual === value) return;
  throw new Fault("hash_mismatch", { algorithm, expected: value, actual: actual ?? "unknown" });
}

function isAlgorithm(name: string): name is Algorithm {
  return Object.hasOwn(HEX_DIGITS, name);
}

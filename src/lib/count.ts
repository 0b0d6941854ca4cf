/**
 * A count of bytes or of things as text: digits alone, 2^53 - 1 at the most. Undefined for anything else: a sign, a
 * fraction, an exponent, and a number that is not exact any more.
 */
export function parseCount(text: string): number | undefined {
  const count = /^\d{1,16}$/.test(text) ? Number(text) : Number.NaN;
  return Number.isSafeInteger(count) ? count : undefined;
}

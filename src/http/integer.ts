/**
 * A whole number as a query writes it, undefined when it is none: digits, a sign if need be, blanks around it
 * (contract PAG-3, FIL-9). Numbers too large to be exact become the largest that is; no column holds such a one.
 */
export function parseInteger(text: string): number | undefined {
  const trimmed = text.trim();
  if (!/^[+-]?[0-9]+$/.test(trimmed)) return undefined;
  const value = Number(trimmed);
  return Math.max(Number.MIN_SAFE_INTEGER, Math.min(Number.MAX_SAFE_INTEGER, value));
}

const SURROGATE = /[\ud800-\udfff]/;

/** Whether a text has more than `max` characters, counted as code points. */
export function isLongerThan(text: string, max: number): boolean {
  // A code point is one or two code units, so most texts are decided without counting.
  if (text.length <= max) return false;
  if (text.length > 2 * max) return true;
  return [...text].length > max;
}

/** Whether a text has a character beyond U+FFFF, or half of one, which UTF-8 cannot carry at all. */
export function hasSurrogates(text: string): boolean {
  return SURROGATE.test(text);
}

/** A text cut down for an error message. */
export function abbreviate(text: string, max = 80): string {
  return isLongerThan(text, max) ? `${[...text.slice(0, 2 * max)].slice(0, max).join("")}…` : text;
}

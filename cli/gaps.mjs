// @ts-check

/**
 * Bytes from `start` up to, and without, `end`.
 * @typedef {{start: number, end: number}} Range
 */

/** Which bytes of a file are still missing. */
export class Gaps {
  /** @type {Range[]} */
  #waiting;
  /** @type {Set<Range>} */
  #taken = new Set();

  /** @param {readonly Range[]} missing */
  constructor(missing) {
    this.#waiting = missing.map((range) => ({ ...range }));
  }

  /**
   * The next missing bytes, for the caller to bring, who moves the range's start as they come.
   * @param {number} maxBytes
   */
  take(maxBytes) {
    const [first] = this.#waiting;
    if (first === undefined) return undefined;
    const range = { start: first.start, end: Math.min(first.end, first.start + maxBytes) };
    first.start = range.end;
    if (first.start >= first.end) this.#waiting.shift();
    this.#taken.add(range);
    return range;
  }

  /**
   * All that is missing at the moment.
   * @returns {Range[]}
   */
  get missing() {
    return [...this.#taken, ...this.#waiting]
      .filter(({ start, end }) => start < end)
      .map((range) => ({ ...range }))
      .sort((a, b) => a.start - b.start);
  }

  get bytes() {
    return this.missing.reduce((sum, { start, end }) => sum + end - start, 0);
  }
}

import {
  type Format,
  MAX_LAST_BYTES,
  MAX_WANTED_BYTES,
  type Reading,
  type Want,
} from "./format.ts";
import type { Finding } from "./verdict.ts";

const NOTHING = new Uint8Array(0);

/** No reader wants so often; one that did would be stuck. */
const MAX_WANTS = 1_000;

/** One format's reader at work: it is given the bytes that it wants as they pass. */
export class FormatRun {
  readonly format: Format;
  finding: Finding = { is: "undecided" };

  readonly #reading: Reading<void>;
  #want: Want | undefined;
  #wants = 0;
  /** Where the bytes wanted are put, and how many have come. */
  #buffer = NOTHING;
  #filled = 0;
  /** The end of what was wanted last: there is no going back. */
  #passed = 0;

  constructor(format: Format) {
    this.format = format;
    this.#reading = this.#read();
    this.#goOn(NOTHING);
  }

  /** Looks through bytes that begin at `position` for those it wants; gives whether it came to know something. */
  feed(bytes: Uint8Array, position: number): boolean {
    const before = this.finding;
    for (let want = this.#want; want !== undefined && "at" in want; want = this.#want) {
      const from = want.at + this.#filled - position;
      if (from < 0 || from >= bytes.length) break;
      const caught = bytes.subarray(from, from + want.length - this.#filled);
      this.#buffer.set(caught, this.#filled);
      this.#filled += caught.length;
      if (this.#filled < want.length) break;
      this.#goOn(this.#buffer);
    }
    return this.finding !== before;
  }

  /** The data has ended, and these were its last bytes: what is wanted has come by now, or never will. */
  end(last: Uint8Array): void {
    for (let want = this.#want; want !== undefined; want = this.#want) {
      this.#goOn("at" in want ? this.#buffer.subarray(0, this.#filled) : last.slice(-want.last));
    }
  }

  /** Where the bytes lie that it wants of data of this length, and has not had. */
  wanted(dataBytes: number): { readonly offset: number; readonly end: number } | undefined {
    const want = this.#want;
    if (want === undefined) return undefined;
    if ("last" in want) return { offset: Math.max(0, dataBytes - want.last), end: dataBytes };
    const end = Math.min(want.at + want.length, dataBytes);
    return { offset: Math.min(want.at + this.#filled, end), end };
  }

  *#read(): Reading<void> {
    const examination = yield* this.format.detect();
    this.finding = { is: examination === undefined ? "absent" : "recognised" };
    if (examination === undefined) return;
    this.finding = { is: "examined", findings: yield* examination };
  }

  /** Gives the reader what it wanted, and takes what it wants next. */
  #goOn(given: Uint8Array): void {
    this.#buffer = NOTHING;
    this.#filled = 0;
    this.#want = undefined;
    try {
      for (let bytes = given; ; bytes = NOTHING) {
        const step = this.#reading.next(bytes);
        if (step.done === true) return;
        const want = bounded(step.value);
        if (++this.#wants > MAX_WANTS) throw new Error("it never has enough");
        if ("at" in want) {
          const hasPassed = want.at < this.#passed || want.length === 0;
          this.#passed = Math.max(this.#passed, want.at + want.length);
          if (hasPassed) continue;
          this.#buffer = new Uint8Array(want.length);
        }
        this.#want = want;
        return;
      }
    } catch {
      this.finding = { is: "broken" };
    }
  }
}

function bounded(want: Want): Want {
  return "at" in want
    ? { at: want.at, length: Math.min(want.length, MAX_WANTED_BYTES) }
    : { last: Math.min(want.last, MAX_LAST_BYTES) };
}

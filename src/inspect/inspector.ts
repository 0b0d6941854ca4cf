import { Fault } from "../domain/fault.ts";
import type { Formats } from "../domain/image.ts";
import { detectPacking, PACKING_HEAD_BYTES } from "../lib/packing.ts";
import { MAX_LAST_BYTES } from "./format.ts";
import { FormatRun } from "./format-run.ts";
import { Tail } from "./tail.ts";
import {
  type Acceptance,
  type InspectionRules,
  isInspected,
  judge,
  type Verdict,
} from "./verdict.ts";

export interface ByteRange {
  /** Of the first byte. */
  readonly offset: number;
  readonly length: number;
}

/**
 * Reads data once, front to back, through the readers of all formats, and refuses it as early as can be if its image
 * may not have it (contract 13 §§2 to 5). Formats are told apart within the first 256 KiB, mostly within 34. Memory is
 * bounded by what the readers want: 64 KiB each, and in fact by 256 KiB in all.
 */
export class Inspector {
  readonly #runs: readonly FormatRun[];
  readonly #tail = new Tail(MAX_LAST_BYTES);
  readonly #declared: Formats;
  readonly #rules: InspectionRules;
  /** The first bytes, which tell how the data is packed. */
  readonly #head = new Uint8Array(PACKING_HEAD_BYTES);
  #headBytes = 0;
  #position = 0;

  constructor(declared: Formats, rules: InspectionRules) {
    this.#declared = declared;
    this.#rules = rules;
    const formats = isInspected(declared) ? rules.formats : [];
    this.#runs = formats.map((format) => new FormatRun(format));
  }

  /** Takes the next bytes, which are free for other use afterwards. Throws the Fault `content_refused`. */
  take(bytes: Uint8Array): void {
    if (this.#position === this.#headBytes) this.#takeHead(bytes);
    let isNews = false;
    for (const run of this.#runs) isNews = run.feed(bytes, this.#position) || isNews;
    this.#tail.push(bytes);
    this.#position += bytes.length;
    if (isNews) this.#judge(undefined);
  }

  #takeHead(bytes: Uint8Array): void {
    const taken = bytes.subarray(0, PACKING_HEAD_BYTES - this.#headBytes);
    this.#head.set(taken, this.#headBytes);
    this.#headBytes += taken.length;
  }

  /** Passes over bytes that nobody wants. */
  skipTo(position: number): void {
    if (position > this.#position) this.#tail.clear();
    this.#position = position;
  }

  /** Of data of this length that can be read from any place on: what is wanted next. */
  nextWanted(dataBytes: number): ByteRange | undefined {
    const ranges = this.#runs
      .flatMap((run) => run.wanted(dataBytes) ?? [])
      .map(({ offset, end }) => ({ offset: Math.max(offset, this.#position), end }))
      .filter(({ offset, end }) => offset < end)
      .toSorted((a, b) => a.offset - b.offset || b.end - a.end);
    const [first] = ranges;
    return first && { offset: first.offset, length: first.end - first.offset };
  }

  /** The data has ended. Throws the Fault `content_refused`. */
  finish(): Acceptance {
    if (!isInspected(this.#declared)) {
      return { isAccepted: true, virtualSize: null, detected: undefined, packing: undefined };
    }
    for (const run of this.#runs) run.end(this.#tail.last());
    const verdict = this.#judge(this.#position);
    if (verdict?.isAccepted !== true) throw new Error("an inspection ends with a verdict");
    return verdict;
  }

  #judge(dataBytes: number | undefined): Verdict | undefined {
    const found = new Map(this.#runs.map((run) => [run.format.name, run.finding]));
    const packing = detectPacking(this.#head.subarray(0, this.#headBytes));
    const verdict = judge(this.#declared, this.#rules, found, packing, dataBytes);
    if (verdict?.isAccepted === false)
      throw new Fault("content_refused", { reason: verdict.reason });
    return verdict;
  }
}

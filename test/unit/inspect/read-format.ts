import {
  type Danger,
  type Examination,
  type Findings,
  type Format,
  MAX_LAST_BYTES,
  MAX_WANTED_BYTES,
  type Reading,
  type Want,
} from "../../../src/inspect/format.ts";

export interface Read {
  readonly matches: boolean;
  readonly danger: Danger | undefined;
  readonly virtualSize: number | null | undefined;
  /** All that was wanted, in its order. */
  readonly wants: readonly Want[];
}

/** Reads data as a format, and throws if the reader does not keep to the rules of `format.ts`. */
export function readAs(format: Format, data: Uint8Array): Read {
  const wants: Want[] = [];
  const examination: Examination | undefined = run(format.detect(), data, wants);
  const findings: Findings | undefined = examination && run(examination, data, wants);
  return {
    matches: examination !== undefined,
    danger: findings?.danger,
    virtualSize: findings?.virtualSize(data.length),
    wants,
  };
}

function run<T>(reading: Reading<T>, data: Uint8Array, wants: Want[]): T {
  for (let step = reading.next(new Uint8Array(0)); ; ) {
    if (step.done === true) return step.value;
    const given = give(step.value, data, wants);
    wants.push(step.value);
    step = reading.next(given);
  }
}

function give(want: Want, data: Uint8Array, earlier: readonly Want[]): Uint8Array {
  if (earlier.length >= 10) throw new Error("it never has enough");
  if ("last" in want) {
    if (!(want.last > 0 && want.last <= MAX_LAST_BYTES)) throw new Error(`last ${want.last}`);
    return data.slice(-want.last);
  }
  const { at, length } = want;
  const isSound = Number.isSafeInteger(at) && Number.isInteger(length);
  if (!isSound || length < 1 || length > MAX_WANTED_BYTES) throw new Error(`${length} at ${at}`);
  // A stream does not go back.
  if (at < endOf(earlier.at(-1))) return new Uint8Array(0);
  return data.slice(at, at + length);
}

function endOf(want: Want | undefined): number {
  if (want === undefined) return 0;
  return "at" in want ? want.at + want.length : Number.POSITIVE_INFINITY;
}

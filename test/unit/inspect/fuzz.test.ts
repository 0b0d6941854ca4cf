import { describe, expect, it } from "vitest";
import { Fault } from "../../../src/domain/fault.ts";
import { MAX_WANTED_BYTES } from "../../../src/inspect/format.ts";
import { FORMATS } from "../../../src/inspect/formats.ts";
import { inspectRanges } from "../../../src/inspect/inspect-ranges.ts";
import { type ByteRange, Inspector } from "../../../src/inspect/inspector.ts";
import type { InspectionRules } from "../../../src/inspect/verdict.ts";
import {
  aGptDisk,
  aHybridIso,
  aLuks,
  anIso,
  anMbrDisk,
  aQcow2,
  aQed,
  aStreamOptimizedVmdk,
  aTextVmdk,
  aVdi,
  aVhd,
  aVhdx,
  aVmdk,
  concat,
} from "../../support/formats.ts";
import { readAs } from "./read-format.ts";

/*
 * Good samples, spoilt more than a little: fields at their limits, blocks moved and swapped, parts of another sample
 * put in, the end cut off. First each reader alone, held to its rules; then all of them in an Inspector, which has to
 * come to one verdict however it is given the bytes. A failure names its seed.
 */

const SEED = 0x6c_1a_9c_e5;
const READER_RUNS = 100_000;
const INSPECTOR_RUNS = 1_500;

const STRICT: InspectionRules = { requireMatch: true, formats: FORMATS, toleratedGptChecks: [] };
const LENIENT: InspectionRules = { ...STRICT, requireMatch: false };

const KIB = 1024;

/** With its footer where no first read comes. */
function aLongVmdk(): Uint8Array {
  const short = aStreamOptimizedVmdk();
  const footerAt = short.length - 1536;
  return concat(short.subarray(0, footerAt), new Uint8Array(70 * KIB), short.subarray(footerAt));
}

const SAMPLES: Readonly<Record<string, readonly Uint8Array[]>> = {
  qcow2: [aQcow2({ length: 600 }), aQcow2({ version: 2, length: 600 })],
  qed: [aQed({ length: 600 })],
  vhd: [aVhd({ length: KIB })],
  vhdx: [aVhdx()],
  vmdk: [aVmdk(), aStreamOptimizedVmdk(), aLongVmdk(), aTextVmdk()],
  vdi: [aVdi()],
  iso: [anIso(), aHybridIso()],
  gpt: [aGptDisk({ length: KIB }), anMbrDisk({ length: KIB })],
  luks: [aLuks({ length: KIB })],
};
const ALL = Object.values(SAMPLES).flat();

/** Where each sample has anything. Most of the mutations go there, as most bytes are zeros that nobody reads. */
const FILLED = new Map(
  ALL.map((sample) => [sample, [...sample.keys()].filter((at) => sample[at] !== 0)]),
);

/** xorshift32: small, fast, and the same everywhere. */
class Random {
  #state: number;

  constructor(seed: number) {
    this.#state = seed >>> 0 || 1;
  }

  below(limit: number): number {
    let x = this.#state;
    x ^= x << 13;
    x ^= x >>> 17;
    x ^= x << 5;
    this.#state = x >>> 0;
    return this.#state % limit;
  }

  pick<T>(choices: readonly [T, ...T[]]): T;
  pick<T>(choices: readonly T[]): T | undefined;
  pick<T>(choices: readonly T[]): T | undefined {
    return choices[this.below(choices.length)];
  }
}

const EXTREMES: readonly [bigint, ...bigint[]] = [
  ...([0n, 1n, 0x7fn, 0x80n, 0xffn, 0x7fffn, 0x8000n, 0xffffn, 0x10000n] as const),
  ...[0x7fff_ffffn, 0x8000_0000n, 0xffff_ffffn, 2n ** 53n - 1n, 2n ** 53n, 2n ** 63n, 2n ** 64n],
  ...[2n ** 64n - 1n, 512n, 64n * 1024n, 192n * 1024n, 256n * 1024n, 320n * 1024n],
];

/** A sample's bytes in a buffer of their own, spoilt and put right again in place: a copy each time is too slow. */
class Patient {
  readonly #sample: Uint8Array;
  readonly #bytes: Uint8Array;
  readonly #filled: readonly number[];
  /** What was spoilt, to be put right. */
  readonly #spoilt: (readonly [from: number, end: number])[] = [];

  constructor(sample: Uint8Array) {
    this.#sample = sample;
    this.#bytes = sample.slice();
    this.#filled = FILLED.get(sample) ?? [];
  }

  spoil(random: Random): Uint8Array {
    for (let edits = 1 + random.below(5); edits > 0; edits--) {
      for (const [at, bytes] of this.#edit(random)) this.#put(at, bytes);
    }
    const { length } = this.#bytes;
    const isCutOff = random.below(6) === 0;
    return this.#bytes.subarray(0, isCutOff ? random.below(length + 1) : length);
  }

  heal(): void {
    for (const [from, end] of this.#spoilt) {
      this.#bytes.set(this.#sample.subarray(from, end), from);
    }
    this.#spoilt.length = 0;
  }

  /** Which bytes go where. */
  #edit(random: Random): readonly (readonly [at: number, bytes: ArrayLike<number>])[] {
    const at = this.#place(random);
    switch (random.below(6)) {
      case 0:
        return [[at, [(this.#bytes[at] ?? 0) ^ (1 << random.below(8))]]];
      case 1:
        return [[at, [random.below(256)]]];
      case 2:
        return [[at, integer(random)]];
      case 3:
        return [[at, this.#block(this.#place(random), 1 + random.below(64))]];
      case 4: {
        const other = this.#place(random);
        return [
          [at, this.#block(other, 16)],
          [other, this.#block(at, 16)],
        ];
      }
      default: {
        // A piece of some other sample, at the place where it belongs.
        const donor = random.pick(ALL) ?? this.#sample;
        const from = random.pick(FILLED.get(donor) ?? []) ?? 0;
        return [[from, donor.subarray(from, from + 1 + random.below(64))]];
      }
    }
  }

  #place(random: Random): number {
    const near = random.pick(this.#filled) ?? 0;
    return Math.min(this.#bytes.length - 1, Math.max(0, near - 8 + random.below(17)));
  }

  #block(at: number, length: number): Uint8Array {
    return this.#bytes.slice(at, at + length);
  }

  #put(at: number, bytes: ArrayLike<number>): void {
    const length = Math.min(bytes.length, this.#bytes.length - at);
    if (length <= 0) return;
    for (let i = 0; i < length; i++) this.#bytes[at + i] = bytes[i] ?? 0;
    this.#spoilt.push([at, at + length]);
  }
}

/** A limit of some width, in either order of bytes. */
function integer(random: Random): Uint8Array {
  const bytes = new Uint8Array(8);
  new DataView(bytes.buffer).setBigUint64(0, BigInt.asUintN(64, random.pick(EXTREMES)));
  const field = bytes.subarray(8 - random.pick([1, 2, 4, 8]));
  return random.below(2) === 0 ? field : field.reverse();
}

/** Runs the work on so many spoilt samples, whose bytes it may not keep. */
async function onSpoilt(
  samples: readonly Uint8Array[],
  runs: number,
  work: (data: Uint8Array, random: Random) => void | Promise<void>,
): Promise<void> {
  const patients = samples.map((sample) => new Patient(sample));
  for (let run = 0; run < runs; run++) {
    const seed = (SEED + run * 0x9e37_79b9) >>> 0;
    const random = new Random(seed);
    const patient = patients[run % patients.length];
    if (patient === undefined) throw new Error("there are no samples");
    const data = patient.spoil(random);
    try {
      await work(data, random);
    } catch (error) {
      throw new Error(`seed ${seed}, run ${run}: ${String(error)}`, { cause: error });
    }
    patient.heal();
  }
}

describe("13 §2: a reader of spoilt data", () => {
  it.each(FORMATS.map((format) => [format.name, format] as const))(
    `%s: comes to an end ${READER_RUNS} times, wants no more than it may, and tells a size or none`,
    async (name, format) => {
      const ends = new Set<string>();
      await onSpoilt(SAMPLES[name] ?? [], READER_RUNS, (data) => {
        // It throws what the reader throws, and where the reader wants what it may not.
        const { matches, danger, virtualSize } = readAs(format, data);
        ends.add(matches ? (danger?.check ?? "safe") : "no match");
        if (danger !== undefined && !/^[A-Za-z0-9 ,/]{5,100}$/.test(danger.reason)) {
          throw new Error(`reason: ${danger.reason}`);
        }
        if (matches && virtualSize !== null && !(Number(virtualSize) >= 0)) {
          throw new Error(`size: ${virtualSize}`);
        }
      });
      // There are so many ways to end and no more, and the runs came to each.
      expect([...ends].sort()).toEqual([...(ENDS[name] ?? [])].sort());
    },
    60_000,
  );
});

const ENDS: Readonly<Record<string, readonly string[]>> = {
  qcow2: ["no match", "safe", "backing_file", "data_file", "unknown_features"],
  qed: ["no match", "banned"],
  vhd: ["no match", "safe"],
  vhdx: ["no match", "safe"],
  vmdk: ["no match", "safe", "descriptor", "footer"],
  vdi: ["no match", "safe"],
  iso: ["no match", "safe"],
  gpt: ["no match", "safe", "mbr"],
  luks: ["no match", "safe", "version"],
};

type Outcome = readonly [virtualSize: number | null, detected: string | undefined] | string;

function outcomeOf(error: unknown): Outcome {
  if (error instanceof Fault && error.code === "content_refused") return error.text;
  throw error;
}

/** How the data fares in pieces, each of which lies in a buffer that is used again. */
function streamed(
  data: Uint8Array,
  declared: string,
  rules: InspectionRules,
  nextLength: () => number,
): Outcome {
  const inspector = new Inspector({ diskFormat: declared, containerFormat: "bare" }, rules);
  try {
    for (let at = 0; at < data.length; ) {
      const piece = data.slice(at, at + nextLength());
      inspector.take(piece);
      at += piece.length;
      piece.fill(0xa5);
    }
    const { virtualSize, detected } = inspector.finish();
    return [virtualSize, detected];
  } catch (error) {
    return outcomeOf(error);
  }
}

async function ranged(data: Uint8Array, declared: string, rules: InspectionRules) {
  const ranges: ByteRange[] = [];
  const read = async (range: ByteRange) => {
    ranges.push(range);
    return data.slice(range.offset, range.offset + range.length);
  };
  const formats = { diskFormat: declared, containerFormat: "bare" };
  const outcome = await inspectRanges(data.length, read, formats, rules).then(
    ({ virtualSize, detected }): Outcome => [virtualSize, detected],
    outcomeOf,
  );
  return { outcome, ranges };
}

const DECLARED: readonly [string, ...string[]] = ["ami", ...FORMATS.map(({ name }) => name)];

describe("13 §2, §3: an inspection of spoilt data", () => {
  it.each(FORMATS.map(({ name }) => name))(
    `of %s comes to one verdict, streamed in any pieces and read from any place on`,
    async (name) => {
      // Data of 384 KiB takes its time.
      const [runs, scale] = name === "vhdx" ? [INSPECTOR_RUNS / 5, 9] : [INSPECTOR_RUNS, 1];
      await onSpoilt(SAMPLES[name] ?? [], runs, async (data, random) => {
        const declared = random.pick(["raw", name, random.pick(DECLARED)]);
        const rules = random.pick([STRICT, LENIENT]);
        const whole = streamed(data, declared, rules, () => data.length);
        expect(whole).not.toContain("could not be made out");
        const largest = random.pick([7, 100, 511, 513, 5000, 70_000]) * scale;
        const inPieces = streamed(data, declared, rules, () => 1 + random.below(largest));
        expect(inPieces).toEqual(whole);
        const { outcome, ranges } = await ranged(data, declared, rules);
        expect(outcome).toEqual(whole);
        expectModest(ranges, data.length);
      });
    },
    60_000,
  );
});

/** Ranges are within the data, in order, without overlap, and few. */
function expectModest(ranges: readonly ByteRange[], dataBytes: number): void {
  let passed = 0;
  for (const { offset, length } of ranges) {
    expect(offset).toBeGreaterThanOrEqual(passed);
    expect(length).toBeGreaterThan(0);
    expect(length).toBeLessThanOrEqual(MAX_WANTED_BYTES);
    passed = offset + length;
  }
  expect(passed).toBeLessThanOrEqual(dataBytes);
  expect(ranges.length).toBeLessThanOrEqual(6);
}

import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { FORMATS } from "../../../src/inspect/formats.ts";
import {
  aFatFileSystem,
  aFixedVhd,
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
 * Bytes that nobody meant: any at all, and good samples with some bytes changed and the end cut off. A reader must
 * come to an end with them, without an exception and without wanting what it may not (`readAs` throws if it does).
 */

/** With the formats that each is of. */
const SAMPLES: readonly (readonly [name: string, data: Uint8Array, formats: string])[] = [
  ["qcow2", aQcow2(), "qcow2"],
  ["qcow2 v2", aQcow2({ version: 2 }), "qcow2"],
  ["qed", aQed(), "qed"],
  ["vhd", aVhd(), "vhd"],
  ["vhdx", aVhdx(), "vhdx"],
  ["vmdk", aVmdk(), "vmdk"],
  ["vmdk with a footer", aStreamOptimizedVmdk(), "vmdk"],
  ["vmdk of text", aTextVmdk(), "vmdk"],
  ["vdi", aVdi(), "vdi"],
  ["iso", anIso(), "iso"],
  ["hybrid iso", aHybridIso(), "iso gpt"],
  ["mbr", anMbrDisk(), "gpt"],
  ["gpt", aGptDisk(), "gpt"],
  ["luks", aLuks(), "luks"],
  ["fat", aFatFileSystem(), ""],
  ["fixed vhd", aFixedVhd(), ""],
];

/** Places where there is something to spoil, and any others. */
function placeIn(sample: Uint8Array): fc.Arbitrary<number> {
  const filled = [...sample.keys()].filter((at) => sample[at] !== 0);
  return fc.oneof(fc.constantFrom(...filled), fc.nat({ max: sample.length - 1 }));
}

const byte = fc.oneof(fc.constantFrom(0, 1, 0x7f, 0x80, 0xff), fc.integer({ min: 0, max: 255 }));

function mutated(sample: Uint8Array): fc.Arbitrary<Uint8Array> {
  const changes = fc.array(fc.tuple(placeIn(sample), byte), { maxLength: 8 });
  const length = fc.oneof(
    { weight: 3, arbitrary: fc.constant(sample.length) },
    { weight: 1, arbitrary: fc.nat({ max: sample.length }) },
  );
  return fc.tuple(changes, length).map(([edits, end]) => {
    const bytes = sample.slice(0, end);
    for (const [at, value] of edits) if (at < end) bytes[at] = value;
    return bytes;
  });
}

function expectSound(data: Uint8Array): void {
  for (const format of FORMATS) {
    const { matches, danger, virtualSize } = readAs(format, data);
    if (matches) expect(virtualSize === null || Number.isInteger(virtualSize)).toBe(true);
    // Reasons are read by people, and nothing of the data stands in them.
    if (danger !== undefined) expect(danger.reason).toMatch(/^[A-Za-z0-9 ,/]{5,100}$/);
  }
}

describe("13 §2: recognition by all readers", () => {
  it.each(SAMPLES)("takes %s for what it is and for nothing else", (_, sample, formats) => {
    const matching = FORMATS.filter((format) => readAs(format, sample).matches);
    expect(matching.map(({ name }) => name).join(" ")).toBe(formats);
  });
});

describe("inspection of any bytes", () => {
  it("comes to an end with any bytes", () => {
    fc.assert(fc.property(fc.uint8Array({ maxLength: 2048 }), expectSound));
  });

  it("comes to an end with any bytes behind the magic of a format", () => {
    const magic = fc.constantFrom(...SAMPLES.map(([, sample]) => sample.subarray(0, 8)));
    const data = fc
      .tuple(magic, fc.uint8Array({ maxLength: 2048 }))
      .map((parts) => concat(...parts));
    fc.assert(fc.property(data, expectSound));
  });

  it("comes to an end with any text", () => {
    const line = fc.constantFrom(
      ...'version=1|# x|#\x01|createType="vmfs"|createType="|RW 1 FLAT "x"|RW /|ddb|=|\r|\0|\xff'.split(
        "|",
      ),
    );
    const text = fc
      .array(fc.oneof(line, fc.string()), { maxLength: 200 })
      .map((lines) => new TextEncoder().encode(lines.join("\n")));
    fc.assert(fc.property(text, expectSound));
  });

  it.each(SAMPLES)("comes to an end with a spoilt %s", (_, sample) => {
    fc.assert(fc.property(mutated(sample), expectSound), { numRuns: 200 });
  });

  it.each(SAMPLES)("comes to an end with %s, wherever it is cut off", (_, sample) => {
    for (let end = 0; end < Math.min(sample.length, 4096); end += 7) {
      expectSound(sample.subarray(0, end));
    }
  });
});

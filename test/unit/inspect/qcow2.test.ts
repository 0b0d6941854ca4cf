import { describe, expect, it } from "vitest";
import { qcow2 } from "../../../src/inspect/qcow2.ts";
import {
  aQcow2,
  bytesWith,
  changed,
  QCOW2_EXTENDED_L2,
  QCOW2_EXTERNAL_DATA_FILE,
} from "../../support/formats.ts";
import { readAs } from "./read-format.ts";

const read = (data: Uint8Array) => readAs(qcow2, data);
const check = (data: Uint8Array) => read(data).danger?.check;

describe("13 §2 qcow2", () => {
  it("is known by its magic, to each of the four bytes", () => {
    expect(read(aQcow2()).matches).toBe(true);
    for (const at of [0, 1, 2, 3]) {
      expect(read(changed(aQcow2(), { [at]: "\x00" })).matches).toBe(false);
    }
  });

  it("needs 512 bytes, and is refused with fewer", () => {
    expect(check(aQcow2({ length: 512 }))).toBeUndefined();
    for (const length of [4, 100, 511]) {
      expect(check(aQcow2({ length }))).toBe("unknown_features");
    }
    expect(read(aQcow2({ length: 3 })).matches).toBe(false);
    expect(read(new Uint8Array(0)).matches).toBe(false);
  });
});

describe("13 §4 qcow2", () => {
  it("backing_file: any offset but 0 is one", () => {
    for (let bit = 0n; bit < 64n; bit++) {
      expect(check(aQcow2({ backingFileAt: 1n << bit }))).toBe("backing_file");
      expect(check(aQcow2({ version: 2, backingFileAt: 1n << bit }))).toBe("backing_file");
    }
  });

  it("backing_file: a length without an offset names none", () => {
    expect(check(changed(aQcow2(), { 16: "\x00\x00\x00\x0b" }))).toBeUndefined();
  });

  it("data_file: whatever else the data needs", () => {
    expect(check(aQcow2({ features: QCOW2_EXTERNAL_DATA_FILE }))).toBe("data_file");
    expect(check(aQcow2({ features: 0b1111n }))).toBe("data_file");
    expect(check(aQcow2({ features: QCOW2_EXTERNAL_DATA_FILE | (1n << 40n) }))).toBe("data_file");
  });

  it("unknown_features: dirty, corrupt and the type of compression are known, and nothing beyond", () => {
    for (const bit of [0n, 1n, 3n]) expect(check(aQcow2({ features: 1n << bit }))).toBeUndefined();
    for (let bit = 4n; bit < 64n; bit++) {
      expect(check(aQcow2({ features: 1n << bit }))).toBe("unknown_features");
    }
    expect(QCOW2_EXTENDED_L2).toBe(1n << 4n);
  });

  it("unknown_features: version 2 has no features", () => {
    for (const features of [QCOW2_EXTERNAL_DATA_FILE, QCOW2_EXTENDED_L2, 2n ** 64n - 1n]) {
      expect(check(aQcow2({ version: 2, features }))).toBeUndefined();
    }
  });

  it("unknown_features: there is no version but 2 and 3", () => {
    for (const version of [0, 1, 4, 0x0200_0000, 0x0300_0000, 0xffff_ffff]) {
      expect(check(aQcow2({ version }))).toBe("unknown_features");
    }
  });

  it("compatible features, and those for automatic clearing, are nobody's business", () => {
    expect(check(changed(aQcow2(), { 80: "\xff".repeat(16) }))).toBeUndefined();
  });
});

describe("13 §5 qcow2", () => {
  it("is as large as its header says", () => {
    for (const virtualSize of [1, 512, 2 ** 40 + 512, Number.MAX_SAFE_INTEGER]) {
      expect(read(aQcow2({ virtualSize })).virtualSize).toBe(virtualSize);
      expect(read(aQcow2({ version: 2, virtualSize })).virtualSize).toBe(virtualSize);
    }
  });

  it("is of unknown size where no number holds it", () => {
    for (const virtualSize of [2n ** 53n, 2n ** 63n, 2n ** 64n - 1n]) {
      expect(read(aQcow2({ virtualSize })).virtualSize).toBeNull();
    }
  });
});

it("wants no more than the header", () => {
  expect(read(bytesWith(4096, { 0: aQcow2() })).wants).toEqual([{ at: 0, length: 512 }]);
});

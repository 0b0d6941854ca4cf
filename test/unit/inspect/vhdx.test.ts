import { describe, expect, it } from "vitest";
import { vhdx } from "../../../src/inspect/vhdx.ts";
import { aVhdx, bytesWith, changed, concat, le16, le32, le64 } from "../../support/formats.ts";
import { readAs } from "./read-format.ts";

const KIB = 1024;
const MIB = 1024 * KIB;
const REGIONS = 192 * KIB;
const METADATA = 256 * KIB;

const read = (data: Uint8Array) => readAs(vhdx, data);
const sizeIn = (data: Uint8Array) => read(data).virtualSize;

describe("13 §2 vhdx", () => {
  it("is known by its identifier and the signature of its region table, to each byte", () => {
    expect(read(aVhdx()).matches).toBe(true);
    const places = [0, 1, 2, 3, 4, 5, 6, 7, REGIONS, REGIONS + 1, REGIONS + 2, REGIONS + 3];
    for (const at of places) expect(read(changed(aVhdx(), { [at]: "\x00" })).matches).toBe(false);
  });

  it("is not known where the data ends before that table", () => {
    for (const end of [8, 100 * KIB, REGIONS, REGIONS + 3]) {
      expect(read(aVhdx().subarray(0, end)).matches).toBe(false);
    }
    expect(read(aVhdx().subarray(0, REGIONS + 4))).toMatchObject({
      matches: true,
      virtualSize: null,
    });
  });
});

describe("13 §5 vhdx", () => {
  it("is as large as the metadata item says", () => {
    for (const virtualSize of [1, 512, 2 ** 41, Number.MAX_SAFE_INTEGER]) {
      expect(sizeIn(aVhdx({ virtualSize }))).toBe(virtualSize);
    }
    expect(sizeIn(aVhdx({ virtualSize: 2n ** 53n }))).toBeNull();
  });

  it("may have its metadata anywhere behind the region table", () => {
    const sample = aVhdx({ virtualSize: 12 * MIB, metadataAt: 3 * MIB });
    const moved = concat(
      sample.subarray(0, METADATA),
      new Uint8Array(3 * MIB - METADATA),
      sample.subarray(METADATA),
    );
    expect(sizeIn(moved)).toBe(12 * MIB);
  });

  it("finds region and item behind others", () => {
    const sample = aVhdx({ virtualSize: 4096 });
    const shifted = changed(sample, {
      [REGIONS + 8]: le32(3),
      [REGIONS + 16]: "\xff".repeat(64),
      [REGIONS + 80]: sample.slice(REGIONS + 16, REGIONS + 48),
      [METADATA + 10]: le16(5),
      [METADATA + 32]: "\xff".repeat(128),
      [METADATA + 160]: sample.slice(METADATA + 32, METADATA + 64),
    });
    expect(sizeIn(shifted)).toBe(4096);
    // An entry beyond their count is none.
    expect(sizeIn(changed(shifted, { [REGIONS + 8]: le32(2) }))).toBeNull();
    expect(sizeIn(changed(shifted, { [METADATA + 10]: le16(4) }))).toBeNull();
  });

  it.each([
    ["no region of metadata", { [REGIONS + 16]: "\0" }],
    ["no entry of a region", { [REGIONS + 8]: le32(0) }],
    ["metadata before the region table", { [REGIONS + 32]: le64(0) }],
    ["metadata within the region table", { [REGIONS + 32]: le64(REGIONS + 64) }],
    ["metadata behind the end", { [REGIONS + 32]: le64(10 * MIB) }],
    ["metadata where no number counts", { [REGIONS + 32]: "\xff".repeat(8) }],
    ["metadata of another signature", { [METADATA]: "\0" }],
    ["no item of the size", { [METADATA + 32]: "\0" }],
    ["no entry of an item", { [METADATA + 10]: le16(0) }],
    ["an item within the table", { [METADATA + 48]: le32(32) }],
    ["an item behind the end", { [METADATA + 48]: le32(0xffff_ffff) }],
  ])("is a VHDX of unknown size with %s", (_, spoilt) => {
    const { matches, danger, virtualSize } = read(changed(aVhdx(), spoilt));
    expect([matches, danger, virtualSize]).toEqual([true, undefined, null]);
  });

  it("ends its search with tables that say they have more entries than fit", () => {
    const spoilt = changed(aVhdx(), {
      [REGIONS + 8]: "\xff".repeat(4),
      [REGIONS + 16]: "\0",
      [METADATA + 10]: "\xff\xff",
    });
    expect(sizeIn(spoilt)).toBeNull();
  });

  it("reads as little as that takes", () => {
    const wants = read(aVhdx()).wants;
    const wanted = wants.map((want) => ("at" in want ? want.length : want.last));
    expect(wanted).toEqual([8, 64 * KIB, 64 * KIB, 8]);
    expect(read(bytesWith(KIB, { 0: "not a disk" })).wants).toHaveLength(1);
  });
});

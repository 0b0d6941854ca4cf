import { describe, expect, it } from "vitest";
import { luks } from "../../../src/inspect/luks.ts";
import { aLuks, changed } from "../../support/formats.ts";
import { readAs } from "./read-format.ts";

const read = (data: Uint8Array) => readAs(luks, data);

describe("13 §2 luks: recognition", () => {
  it("[ran] recognises the magic of LUKS1, which is safe", () => {
    expect(read(aLuks())).toMatchObject({ matches: true, danger: undefined });
  });

  it.each([
    ["another magic", changed(aLuks(), { 4: "\xbe\xba" })],
    ["the magic of a second LUKS2 header", changed(aLuks(), { 0: "SKUL" })],
    ["a magic that is cut off", aLuks().subarray(0, 5)],
    ["zeros", new Uint8Array(4096)],
  ])("does not recognise %s", (_, data) => {
    expect(read(data).matches).toBe(false);
  });
});

describe("13 §4 luks version", () => {
  it.each([0, 2, 3, 256])("fails: version %d (FMT-5)", (version) => {
    expect(read(aLuks({ version }))).toMatchObject({
      matches: true,
      danger: { check: "version", reason: "it is of a version other than 1" },
    });
  });

  it("fails: no version", () => {
    expect(read(aLuks().subarray(0, 7)).danger?.check).toBe("version");
  });
});

describe("13 §5 luks virtual_size", () => {
  it.each([
    [8192, 4, 6144],
    [2049, 4, 1],
    [1_000_000, 0, 1_000_000],
  ])("of %d bytes with the payload at sector %d is %d", (length, payloadAt, virtualSize) => {
    expect(read(aLuks({ length, payloadAt })).virtualSize).toBe(virtualSize);
  });

  it.each([
    ["the payload is empty", aLuks({ length: 2048, payloadAt: 4 })],
    ["the payload is said to lie beyond the end", aLuks({ payloadAt: 0xffff_ffff })],
    ["the header is cut off", aLuks().subarray(0, 100)],
  ])("is unknown where %s", (_, data) => {
    expect(read(data)).toMatchObject({ danger: undefined, virtualSize: null });
  });
});

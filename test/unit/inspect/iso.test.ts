import { describe, expect, it } from "vitest";
import { iso } from "../../../src/inspect/iso.ts";
import { aHybridIso, anIso, anMbrDisk } from "../../support/formats.ts";
import { readAs } from "./read-format.ts";

const read = (data: Uint8Array) => readAs(iso, data);

describe("13 §2 iso: recognition", () => {
  it.each(["CD001", "NSR02", "NSR03"])("recognises %s at 32769", (identifier) => {
    expect(read(anIso({ identifier }))).toMatchObject({ matches: true, danger: undefined });
  });

  it("recognises it behind a boot record (FMT-8)", () => {
    expect(read(aHybridIso())).toMatchObject({ matches: true, danger: undefined });
  });

  it.each([
    ["another identifier", anIso({ identifier: "BEA01" })],
    ["one in small letters", anIso({ identifier: "cd001" })],
    ["one a byte too late", anIso().subarray(0, -1).slice(1)],
    ["a descriptor that is cut off", anIso().subarray(0, 34_815)],
    ["data that ends before", anMbrDisk()],
    ["nothing", new Uint8Array(0)],
  ])("does not recognise %s", (_, data) => {
    expect(read(data).matches).toBe(false);
  });

  it("needs one descriptor", () => {
    expect(read(anIso()).wants).toEqual([{ at: 32_768, length: 2_048 }]);
    expect(read(anIso().subarray(0, 34_816)).matches).toBe(true);
  });
});

describe("13 §5 iso virtual_size", () => {
  it.each([
    [20, 2048, 40_960],
    [7, 512, 3_584],
    [0, 2048, 0],
    [0xffff_ffff, 0xffff, 281_470_681_677_825],
  ])("is %d blocks of %d bytes: %d", (blocks, blockBytes, virtualSize) => {
    expect(read(anIso({ blocks, blockBytes })).virtualSize).toBe(virtualSize);
  });

  it.each([0, 2, 255])("is unknown behind a descriptor of type %d", (type) => {
    expect(read(anIso({ type }))).toMatchObject({ matches: true, virtualSize: null });
  });
});

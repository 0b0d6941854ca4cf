import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { detectPacking, PACKING_HEAD_BYTES, type Packing } from "../../../src/lib/packing.ts";

describe("detectPacking", () => {
  // The first bytes of what gzip, zstd, zip, lha, xz, bzip2, lz4 and `xz --format=lzma` write.
  it.each<[Packing | undefined, string, string]>([
    ["zip", "a local file header", "504b030414"],
    ["gzip", "a gzip member", "1f8b080000"],
    ["lha", "-lh at 2", "217a2d6c68"],
    ["zstd", "a zstd frame", "28b52ffd24"],
    ["zstd", "the first skippable frame", "502a4d1804"],
    ["zstd", "the last skippable frame", "5f2a4d1804"],
    ["xz", "an xz stream", "fd377a585a000004e6d6b446"],
    ["bzip2", "a block", "425a683931415926535988"],
    ["bzip2", "nothing but its end", "425a683917724538509000"],
    ["lz4", "a frame", "04224d186440a7"],
    ["lz4", "a frame of old", "02214c18"],
    ["lzma", "data of unknown length", "5d00008000ffffffffffffffff0034"],
    ["lzma", "data of a known length", "5d0000800000001000000000000034"],
    [undefined, "qcow2", "514649fb00"],
    [undefined, "another compression than deflate", "1f8b090000"],
    [undefined, "an empty archive", "504b050600"],
    [undefined, "no skippable frame", "602a4d1804"],
    [undefined, "text that begins like bzip2", "425a683920697320"],
    [undefined, "a bracket", "5d2c0a20207b0a2020202022"],
    [undefined, "lzma cut off", "5d00008000ffffffffffffff"],
    [undefined, "zeros behind the mark of lzma", "5d000000000000000000000000"],
    [undefined, "too little", "1f8b"],
    [undefined, "nothing", ""],
  ])("10 §14 image_decompression: sees %s in %s", (packing, _, hex) => {
    const bytes = Uint8Array.from(hex.match(/../g) ?? [], (byte) => Number.parseInt(byte, 16));
    expect(detectPacking(bytes)).toBe(packing);
  });

  it("needs no more than the head", () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 20 }), (bytes) => {
        expect(detectPacking(bytes)).toBe(detectPacking(bytes.subarray(0, PACKING_HEAD_BYTES)));
      }),
    );
  });
});

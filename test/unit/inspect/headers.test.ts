import { describe, expect, it } from "vitest";
import { qed } from "../../../src/inspect/qed.ts";
import { vdi } from "../../../src/inspect/vdi.ts";
import { vhd } from "../../../src/inspect/vhd.ts";
import { aFixedVhd, aQed, aVdi, aVhd, be64, changed, latin1, le64 } from "../../support/formats.ts";
import { readAs } from "./read-format.ts";

// QED, VDI and VHD, of which nothing but a short header is read.

describe("13 §2, §4 qed", () => {
  it("banned: is refused by its magic, however short it is", () => {
    for (const data of [aQed(), aQed({ length: 600 }), latin1("QED\0")]) {
      expect(readAs(qed, data).danger).toMatchObject({ check: "banned" });
    }
  });

  it("is known to each byte", () => {
    for (const text of ["QED", "QED\x01", "qed\0", " QED\0"]) {
      expect(readAs(qed, latin1(text.padEnd(600)).subarray(0, 600)).matches).toBe(false);
    }
    expect(readAs(qed, latin1("QED")).matches).toBe(false);
  });
});

describe("13 §2, §5 vdi", () => {
  it("is known by its signature alone", () => {
    expect(readAs(vdi, changed(aVdi(), { 0: "\0".repeat(64) })).matches).toBe(true);
    expect(readAs(vdi, changed(aVdi(), { 64: "\xbe\xda\x10\x7f" })).matches).toBe(false);
    for (const at of [64, 65, 66, 67]) {
      expect(readAs(vdi, changed(aVdi(), { [at]: "\x00" })).matches).toBe(false);
    }
  });

  it("needs its whole header", () => {
    expect(readAs(vdi, aVdi({ length: 512 })).matches).toBe(true);
    expect(readAs(vdi, aVdi().subarray(0, 511)).matches).toBe(false);
  });

  it("is as large as its header says", () => {
    for (const size of [1, 512, 2 ** 41, Number.MAX_SAFE_INTEGER]) {
      expect(readAs(vdi, changed(aVdi(), { 368: le64(size) })).virtualSize).toBe(size);
    }
    expect(readAs(vdi, changed(aVdi(), { 368: le64(2n ** 64n - 1n) })).virtualSize).toBeNull();
  });
});

describe("13 §2, §5 vhd", () => {
  it("is known by its cookie in front, to each byte", () => {
    expect(readAs(vhd, aVhd()).matches).toBe(true);
    for (let at = 0; at < 8; at++) {
      expect(readAs(vhd, changed(aVhd(), { [at]: "\x00" })).matches).toBe(false);
    }
  });

  it("is not known by its cookie at the end", () => {
    expect(readAs(vhd, aFixedVhd()).matches).toBe(false);
  });

  it("needs its whole footer", () => {
    expect(readAs(vhd, aVhd({ length: 512 })).matches).toBe(true);
    expect(readAs(vhd, aVhd().subarray(0, 511)).matches).toBe(false);
  });

  it("is as large as it was made, even if it has grown", () => {
    for (const size of [512, 2 ** 41, Number.MAX_SAFE_INTEGER]) {
      const data = changed(aVhd(), { 40: be64(size), 48: be64(12_345) });
      expect(readAs(vhd, data).virtualSize).toBe(size);
    }
  });
});

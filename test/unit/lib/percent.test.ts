import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { decodePercent } from "../../../src/lib/percent.ts";

describe("percent-decoding", () => {
  it.each([
    ["", ""],
    ["a%20b", "a b"],
    ["%C3%A9%e2%82%ac", "é€"],
    ["%F0%9F%98%80", "😀"],
    ["a+b", "a+b"],
    ["%EF%BB%BFx", "\uFEFFx"],
    ["é", "é"],
    ["%00", "\0"],
  ])("reads %j as %j", (text, expected) => {
    expect(decodePercent(text)).toBe(expected);
  });

  it.each(["%", "100%", "%4", "%zz", "%%zz", "% 20"])(
    "REQ-9: leaves %j, where nothing is escaped, as it is",
    (text) => {
      expect(decodePercent(text)).toBe(text);
    },
  );

  it.each(["%ff", "%C3", "%C3%28", "%C0%80", "%ED%A0%80", "%F4%90%80%80"])(
    "REQ-9: refuses %s, which is not UTF-8",
    (text) => {
      expect(decodePercent(text)).toBeUndefined();
    },
  );

  it("is the way back from encodeURIComponent", () => {
    fc.assert(
      fc.property(fc.string({ unit: "binary" }), (text) => {
        expect(decodePercent(encodeURIComponent(text))).toBe(text);
      }),
    );
  });
});

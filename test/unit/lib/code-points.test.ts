import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { abbreviate, hasSurrogates, isLongerThan } from "../../../src/lib/code-points.ts";

describe("code points", () => {
  it("counts a character beyond U+FFFF once", () => {
    expect(isLongerThan("😀".repeat(255), 255)).toBe(false);
    expect(isLongerThan("😀".repeat(256), 255)).toBe(true);
    fc.assert(
      fc.property(fc.string({ unit: "binary" }), fc.nat(20), (text, max) => {
        expect(isLongerThan(text, max)).toBe([...text].length > max);
      }),
    );
  });

  it("finds characters of four bytes and halves of one", () => {
    expect(hasSurrogates("é€\uffff")).toBe(false);
    expect(hasSurrogates("a😀")).toBe(true);
    expect(hasSurrogates("a\ud83d")).toBe(true);
  });

  it("cuts a long text without halving a character", () => {
    expect(abbreviate("short", 5)).toBe("short");
    expect(abbreviate("a😀b😀c", 3)).toBe("a😀b…");
  });
});

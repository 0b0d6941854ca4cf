import { describe, expect, it } from "vitest";
import { isUuid } from "../../../src/lib/uuid.ts";

describe("isUuid", () => {
  it("LIM-17: takes hyphenated hex in either letter case", () => {
    expect(isUuid("0f3a4b52-7a6e-4d3c-9f31-2b1d8a4c5e60")).toBe(true);
    expect(isUuid("0F3A4B52-7A6E-4D3C-9F31-2B1D8A4C5E60")).toBe(true);
  });

  it.each([
    "",
    "0f3a4b527a6e4d3c9f312b1d8a4c5e60",
    "0f3a4b52-7a6e-4d3c-9f31-2b1d8a4c5e6",
    "0f3a4b52-7a6e-4d3c-9f31-2b1d8a4c5e60\n",
    " 0f3a4b52-7a6e-4d3c-9f31-2b1d8a4c5e60",
    "0g3a4b52-7a6e-4d3c-9f31-2b1d8a4c5e60",
  ])("CRE-12b: refuses %j", (text) => {
    expect(isUuid(text)).toBe(false);
  });
});

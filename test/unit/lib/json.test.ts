import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { isJsonObject, jsonEquals } from "../../../src/lib/json.ts";

describe("jsonEquals", () => {
  it("ignores the order of keys and nothing else", () => {
    expect(jsonEquals({ a: 1, b: [null, "x"] }, { b: [null, "x"], a: 1 })).toBe(true);
    expect(jsonEquals({ a: [1, 2] }, { a: [2, 1] })).toBe(false);
    expect(jsonEquals({ a: 1 }, { a: 1, b: 2 })).toBe(false);
    expect(jsonEquals({ toString: 1 }, { b: 1 })).toBe(false);
    expect(jsonEquals([], {})).toBe(false);
    expect(jsonEquals("1", 1)).toBe(false);
  });

  it("finds every value equal to its copy", () => {
    fc.assert(fc.property(fc.json(), (text) => jsonEquals(JSON.parse(text), JSON.parse(text))));
  });
});

describe("isJsonObject", () => {
  it("tells objects from arrays, null and scalars", () => {
    expect(isJsonObject({})).toBe(true);
    for (const other of [[], null, "x", 1, true, undefined])
      expect(isJsonObject(other)).toBe(false);
  });
});

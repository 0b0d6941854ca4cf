import { describe, expect, it } from "vitest";
import { findFailure, type ValueSchema } from "../../../src/domain/json-schema.ts";

function passes(schema: ValueSchema, value: unknown): boolean {
  return findFailure(schema, value) === undefined;
}

describe("findFailure", () => {
  it("SIN-3: true and 1.5 are no integers, 1.0 is one", () => {
    expect(passes({ type: "integer" }, true)).toBe(false);
    expect(passes({ type: "integer" }, 1.5)).toBe(false);
    expect(passes({ type: "integer" }, "1")).toBe(false);
    expect(passes({ type: "integer" }, JSON.parse("1.0"))).toBe(true);
    expect(passes({ type: "integer" }, JSON.parse("1e400"))).toBe(false);
  });

  it("SIN-3: a list of types takes any of them", () => {
    const schema: ValueSchema = { type: ["null", "string"] };
    expect(passes(schema, null)).toBe(true);
    expect(passes(schema, "")).toBe(true);
    expect(passes(schema, 0)).toBe(false);
  });

  it("SIN-3: null, an array and an object are three types", () => {
    expect(passes({ type: "object" }, {})).toBe(true);
    expect(passes({ type: "object" }, [])).toBe(false);
    expect(passes({ type: "object" }, null)).toBe(false);
    expect(passes({ type: "array" }, {})).toBe(false);
    expect(passes({ type: "boolean" }, "true")).toBe(false);
  });

  it("SIN-3: enum compares exactly", () => {
    const schema: ValueSchema = { type: ["null", "string"], enum: [null, "raw"] };
    expect(passes(schema, "raw")).toBe(true);
    expect(passes(schema, null)).toBe(true);
    expect(passes(schema, "Raw")).toBe(false);
    expect(passes(schema, "raw ")).toBe(false);
  });

  it("SIN-3: a pattern is a search unless it anchors itself", () => {
    expect(passes({ type: "string", pattern: "b" }, "abc")).toBe(true);
    expect(passes({ type: "string", pattern: "^b" }, "abc")).toBe(false);
    expect(passes({ type: "string", pattern: "^b$" }, "b\n")).toBe(false);
  });

  it("counts lengths in characters, not in code units", () => {
    expect(passes({ type: "string", maxLength: 2 }, "😀😀")).toBe(true);
    expect(passes({ type: "string", maxLength: 2 }, "abc")).toBe(false);
    expect(passes({ type: "string", minLength: 2 }, "😀")).toBe(false);
    expect(passes({ type: "string", minLength: 2 }, "ab")).toBe(true);
    expect(passes({ type: "string", minLength: 0 }, "")).toBe(true);
  });

  it("checks each item and says which one failed", () => {
    const schema: ValueSchema = { type: "array", items: { type: "string" } };
    expect(passes(schema, [])).toBe(true);
    expect(findFailure(schema, ["a", 5])).toBe("item 1: 5 does not meet type (string)");
  });

  it("checks required, declared and surplus keys of an object", () => {
    const open: ValueSchema = {
      type: "object",
      required: ["a"],
      properties: { a: { type: "string" } },
    };
    expect(passes(open, { a: "x", b: 1 })).toBe(true);
    expect(findFailure(open, {})).toBe("the object does not meet required (a)");
    expect(findFailure(open, { a: 1 })).toBe("a: 1 does not meet type (string)");
    const closed: ValueSchema = { ...open, additionalProperties: false };
    expect(passes(closed, { a: "x" })).toBe(true);
    expect(passes(closed, { a: "x", b: 1 })).toBe(false);
    expect(passes(closed, JSON.parse('{"a":"x","__proto__":1}'))).toBe(false);
  });

  it("does not take inherited names for given ones", () => {
    expect(passes({ type: "object", required: ["toString"] }, {})).toBe(false);
  });

  it("SIN-4: names the keyword and a short form of the value", () => {
    expect(findFailure({ type: "string", enum: ["a", "b"] }, "c")).toBe(
      '"c" does not meet enum (a, b)',
    );
    const long = findFailure({ type: "string", maxLength: 3 }, "x".repeat(1_000_000));
    expect(long).toContain("maxLength (3)");
    expect(long?.length).toBeLessThan(200);
  });

  it("describes a deeply nested value without spelling it out", () => {
    const deep = JSON.parse(`${"[".repeat(100_000)}${"]".repeat(100_000)}`);
    expect(findFailure({ type: "string" }, deep)).toBe("the array does not meet type (string)");
  });

  it("MP-7: a number is one of any kind, and has a least value", () => {
    expect(passes({ type: "number" }, 1.5)).toBe(true);
    expect(passes({ type: "number" }, "1.5")).toBe(false);
    expect(passes({ type: "integer", minimum: 0 }, 0)).toBe(true);
    expect(passes({ type: "integer", minimum: 0 }, -1)).toBe(false);
  });

  it("MO-1: a list has no item twice, whatever its items are", () => {
    const schema: ValueSchema = { type: "array", uniqueItems: true, minItems: 1 };
    expect(passes(schema, ["a", "b", 1, "1"])).toBe(true);
    expect(passes(schema, ["a", "b", "a"])).toBe(false);
    expect(passes(schema, [{ a: 1 }, { a: 1 }])).toBe(false);
    expect(passes(schema, [])).toBe(false);
  });

  it("MP-2: members that are not declared may have a schema, too", () => {
    const schema: ValueSchema = { type: "object", additionalProperties: { type: "string" } };
    expect(passes(schema, JSON.parse('{"a": "x", "__proto__": "y"}'))).toBe(true);
    expect(findFailure(schema, { a: "x", colour: 5 })).toContain("colour");
  });

  it("MS-4: a reference stands for the definition it names", () => {
    const definitions = { size: { type: "integer", minimum: 0 } } as const;
    const schema = { type: "array", items: { $ref: "#/definitions/size" } } as const;
    expect(findFailure(schema, [0, 5], definitions)).toBeUndefined();
    expect(findFailure(schema, [0, -5], definitions)).toContain("minimum");
    expect(() => findFailure(schema, [0])).toThrow("#/definitions/size");
  });
});

import { describe, expect, it } from "vitest";
import { isSame, planMerge, readDefinition } from "../../cli/definitions.mjs";

// What files of metadata definitions mean, and what of them a namespace lacks.

const property = (title: string) => ({ title, type: "string" });

const base = {
  namespace: "OS::Test",
  description: "A test",
  visibility: "public",
  protected: false,
  resource_type_associations: [{ name: "OS::Image", prefix: "hw_" }],
  properties: { colour: property("Colour") },
  objects: [{ name: "box", properties: { width: property("Width") } }],
  tags: [{ name: "first" }],
};
const read = (changes: object = {}) => readDefinition({ ...base, ...changes });

describe("a definition", () => {
  it("has what the service takes for what is missing; without a visibility it is public", () => {
    expect(readDefinition({ namespace: "x" })).toEqual({
      ...{ namespace: "x", visibility: "public", protected: false },
      ...{ resource_type_associations: [], properties: {}, objects: [], tags: [] },
    });
  });

  it("leaves out what only the service says, and the nulls that the reference writes", () => {
    const times = { created_at: "2020-01-01T00:00:00Z", updated_at: "2020-01-01T00:00:00Z" };
    const links = { self: "/v2/x", schema: "/v2/y" };
    const given = {
      ...base,
      ...{ ...times, ...links, display_name: null, owner: null },
      objects: [{ name: "box", required: [], properties: {}, ...times, ...links }],
      resource_type_associations: [{ name: "OS::Image", prefix: null, ...times }],
      tags: [{ name: "first", ...times }],
    };
    expect(readDefinition(given)).toEqual({
      ...base,
      objects: [{ name: "box", required: [], properties: {} }],
      resource_type_associations: [{ name: "OS::Image" }],
    });
  });

  it("keeps what it does not know, for the service to judge, and nulls of properties", () => {
    const properties = { p: { ...property("P"), default: null, zzz: 1 } };
    expect(read({ zzz: 1, properties })).toMatchObject({ zzz: 1, properties });
  });

  it.each([
    null,
    [],
    "text",
    {},
    { namespace: 5 },
    { namespace: "" },
    { namespace: ".." },
    { namespace: "\ud800" },
    { namespace: "x", properties: [] },
    { namespace: "x", objects: {} },
    { namespace: "x", tags: ["first"] },
    { namespace: "x", resource_type_associations: [{}] },
  ])("is not %j", (value) => {
    expect(() => readDefinition(value)).toThrow("no definition of a namespace");
  });
});

describe("two definitions", () => {
  it("are the same whatever the order of their parts, and whose they are when one does not say", () => {
    const two = { tags: [{ name: "a" }, { name: "b" }] };
    const reversed = { tags: [{ name: "b" }, { name: "a" }] };
    expect(isSame(read(two), read(reversed))).toBe(true);
    expect(isSame(read({ owner: "somebody" }), read())).toBe(true);
    expect(isSame(read({ owner: "somebody" }), read({ owner: "other" }))).toBe(false);
    expect(isSame(read(), read({ owner: "other" }))).toBe(false);
  });

  it.each([
    { description: "Another" },
    { visibility: "private" },
    { protected: true },
    { tags: [] },
    { properties: {} },
    { properties: { colour: { ...property("Colour"), default: "red" } } },
    { objects: [{ name: "box", required: ["width"], properties: { width: property("Width") } }] },
    { resource_type_associations: [{ name: "OS::Image" }] },
  ])("are not the same where one has %j", (changes) => {
    expect(isSame(read(), read(changes))).toBe(false);
    expect(isSame(read(changes), read())).toBe(false);
  });
});

describe("a merge", () => {
  const stepsOf = (...args: Parameters<typeof planMerge>) => planMerge(...args).steps;
  const more = {
    description: "Another",
    resource_type_associations: [{ name: "OS::Image", prefix: "x_" }, { name: "OS::Flavor" }],
    properties: { colour: property("Color"), depth: property("Depth") },
    objects: [{ name: "box" }, { name: "bag" }],
    tags: [{ name: "first" }, { name: "a/b" }],
  };

  it("adds what is missing, and nothing else", () => {
    expect(stepsOf(read(), read(more), false)).toEqual([
      { method: "POST", path: ["objects"], json: { name: "bag", required: [], properties: {} } },
      { method: "POST", path: ["properties"], json: { name: "depth", ...property("Depth") } },
      { method: "POST", path: ["tags", "a/b"] },
      { method: "POST", path: ["resource_types"], json: { name: "OS::Flavor" } },
    ]);
    expect(stepsOf(read(more), read(), false)).toEqual([]);
  });

  it("changes what differs when the new is preferred", () => {
    const fields = { namespace: "OS::Test", visibility: "public", protected: false };
    expect(stepsOf(read({ owner: "p" }), read(more), true)).toEqual([
      {
        ...{ method: "PUT", path: ["objects", "box"] },
        json: { name: "box", required: [], properties: {} },
      },
      { method: "POST", path: ["objects"], json: { name: "bag", required: [], properties: {} } },
      {
        ...{ method: "PUT", path: ["properties", "colour"] },
        json: { name: "colour", ...property("Color") },
      },
      { method: "POST", path: ["properties"], json: { name: "depth", ...property("Depth") } },
      { method: "POST", path: ["tags", "a/b"] },
      { method: "DELETE", path: ["resource_types", "OS::Image"] },
      { method: "POST", path: ["resource_types"], json: { name: "OS::Image", prefix: "x_" } },
      { method: "POST", path: ["resource_types"], json: { name: "OS::Flavor" } },
      { method: "PUT", path: [], json: { ...fields, description: "Another", owner: "p" } },
    ]);
    expect(stepsOf(read(), read(), true)).toEqual([]);
  });

  it("lifts the protection where something has to go, and sets it again", () => {
    const { steps, restore } = planMerge(
      read({ protected: true }),
      read({ ...more, protected: true }),
      true,
    );
    const [first] = steps;
    expect(first).toMatchObject({ method: "PUT", path: [], json: { protected: false } });
    expect(steps.at(-1)).toMatchObject({ method: "PUT", path: [], json: { protected: true } });
    expect(restore).toMatchObject({ method: "PUT", path: [], json: { protected: true } });
    expect(planMerge(read(), read(more), true)).not.toHaveProperty("restore");
    const harmless = stepsOf(
      read({ protected: true }),
      read({ protected: true, tags: [{ name: "new" }] }),
      true,
    );
    expect(harmless).toEqual([{ method: "POST", path: ["tags", "new"] }]);
  });
});

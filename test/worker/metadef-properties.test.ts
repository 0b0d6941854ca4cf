import { describe, expect, it } from "vitest";
import { admin, owner } from "../support/callers.ts";
import { at, FULL, Metadefs, SHORT } from "../support/metadefs.ts";
import { Service } from "../support/service.ts";

const service = new Service();
const metadefs = new Metadefs(service);

/** Every key that a property may have, with a value that it may have. */
const EVERYTHING = {
  name: "everything",
  title: "Everything",
  description: "What may be said",
  type: "array",
  operators: ["<in>", "<or>"],
  default: ["a"],
  readonly: true,
  minimum: -1.5,
  maximum: 1e9,
  minLength: 0,
  maxLength: 255,
  pattern: "[",
  enum: ["a", 1, null, { b: [] }],
  items: { type: "string", enum: ["a", 2] },
  minItems: 0,
  maxItems: 7,
  uniqueItems: true,
  additionalItems: false,
  required: ["a"],
};

async function createProperty(json: object) {
  const name = await metadefs.create();
  const answer = await metadefs.post(at(name, "properties"), json);
  return { ...answer, name };
}

describe("POST properties", () => {
  it("MP-1, MP-12, MN-3, MN-27: makes one, and gives what was set and no more", async () => {
    const json = { name: "colour", ...SHORT };
    const { status, body, name } = await createProperty(json);
    expect(status).toBe(201);
    expect(body).toEqual(json);
    expect(await metadefs.get(at(name, "properties", "colour"))).toEqual(json);
  });

  it("MP-2, MP-5, MP-8, MP-10, MP-11: keeps everything that may be said as it was said", async () => {
    const { status, body, name } = await createProperty(EVERYTHING);
    expect(status).toBe(201);
    expect(body).toEqual(EVERYTHING);
    expect(await metadefs.get(at(name, "properties", "everything"))).toEqual(EVERYTHING);
  });

  it.each(["array", "boolean", "integer", "number", "object", "string"])(
    "MP-3: %s is a type",
    async (type) => {
      expect((await createProperty({ name: "p", title: "P", type })).status).toBe(201);
    },
  );

  it.each([5, true, "five", "fünf", ["a"], { a: 1 }, null])(
    "MP-9: the default %j comes back as it is",
    async (value) => {
      const json = { name: "p", ...SHORT, default: value };
      const { body, name } = await createProperty(json);
      expect(body).toEqual(json);
      expect((await metadefs.get(at(name))).properties.p.default).toEqual(value);
    },
  );

  it.each([
    ["MP-1: no name", { ...SHORT }],
    ["MP-1: no title", { name: "p", type: "string" }],
    ["MP-1: no type", { name: "p", title: "P" }],
    ["MP-3: null for a type", { name: "p", title: "P", type: null }],
    ["MP-3: another type", { name: "p", title: "P", type: "text" }],
    ["MP-4: confidential", { name: "p", ...SHORT, confidential: true }],
    ["MP-6: items without type", { name: "p", ...SHORT, items: { enum: ["a"] } }],
    ["MP-2: another key in items", { name: "p", ...SHORT, items: { type: "string", title: "x" } }],
    ["MP-7: minLength", { name: "p", ...SHORT, minLength: -1 }],
    ["MP-7: maxLength", { name: "p", ...SHORT, maxLength: -1 }],
    ["MP-7: minItems", { name: "p", ...SHORT, minItems: -1 }],
    ["MP-7: maxItems", { name: "p", ...SHORT, maxItems: 1.5 }],
    ["MN-41: null for a text", { name: "p", ...SHORT, description: null }],
    ["MN-7: a long name", { name: "p".repeat(81), ...SHORT }],
    ["MN-11: no letters", { name: "", ...SHORT }],
    ["MN-12: a slash", { name: "a/b", ...SHORT }],
    ["MS-4: an empty list of what is required", { name: "p", ...SHORT, required: [] }],
    ["MS-4: one name twice", { name: "p", ...SHORT, required: ["a", "a"] }],
  ])("%s is 400, and makes nothing", async (_, json) => {
    const { status, name } = await createProperty(json);
    expect(status).toBe(400);
    expect((await metadefs.get(at(name, "properties"))).properties).toEqual({});
  });

  it.each(["created_at", "updated_at"])("MN-44: %s is read-only: 403", async (key) => {
    expect((await createProperty({ name: "p", ...SHORT, [key]: "x" })).status).toBe(403);
  });

  it("MN-47: a name is there once", async () => {
    const { name } = await createProperty({ name: "p", ...SHORT });
    const again = { name: "p", title: "Another", type: "integer" };
    expect((await metadefs.post(at(name, "properties"), again)).status).toBe(409);
    expect(await metadefs.get(at(name, "properties", "p"))).toEqual({ name: "p", ...SHORT });
  });

  it("keeps names that objects of JavaScript have already", async () => {
    for (const odd of ["__proto__", "constructor", "toString", "7", "a b%?#é😀"]) {
      const { status, name } = await createProperty({ name: odd, ...SHORT });
      expect(status, odd).toBe(201);
      expect(await metadefs.get(at(name, "properties", odd))).toEqual({ name: odd, ...SHORT });
      expect(Object.entries((await metadefs.get(at(name))).properties)).toEqual([[odd, SHORT]]);
    }
  });

  it("loses none of many that are made at the same time", async () => {
    const name = await metadefs.create();
    const names = ["a", "b", "c"];
    const made = names.map((one) => metadefs.post(at(name, "properties"), { name: one, ...SHORT }));
    expect((await Promise.all(made)).map(({ status }) => status)).toEqual([201, 201, 201]);
    const { properties } = await metadefs.get(at(name, "properties"));
    expect(Object.keys(properties).sort()).toEqual(names);
  });
});

describe("GET properties", () => {
  it("MP-13: gives them by name, each with its name", async () => {
    const name = await metadefs.create(FULL);
    const { properties } = await metadefs.get(at(name, "properties"), owner);
    expect(properties).toEqual({
      colour: { name: "colour", ...FULL.properties.colour },
      depth: { name: "depth", ...FULL.properties.depth },
    });
    const empty = await metadefs.create();
    expect(await metadefs.get(at(empty, "properties"))).toEqual({ properties: {} });
  });

  it("MP-14, MN-28: gives one by the name that a resource type has it under", async () => {
    const name = await metadefs.create(FULL);
    const one = (property: string, query: string) =>
      metadefs.call(admin, "GET", `${at(name, "properties", property)}?${query}`);
    const found = await one("hw_colour", "resource_type=OS::Test::Image");
    expect(found.body).toEqual({ name: "colour", ...FULL.properties.colour });
    for (const [property, type] of [
      ["colour", "OS::Test::Image"],
      ["hw_nothing", "OS::Test::Image"],
      ["colour", "OS::Test::Flavor"],
      ["hw_colour", "OS::No::Such"],
    ] as const) {
      expect((await one(property, `resource_type=${type}`)).status, property).toBe(404);
    }
    expect((await one("colour", "zzz=1")).status).toBe(200);
    expect((await one("hw_colour", "zzz=1")).status).toBe(404);
  });

  it("MP-14: a resource type's name of it stands under get_metadef_resource_type, too", async () => {
    const name = await metadefs.create(FULL);
    const settings = { POLICY: JSON.stringify({ get_metadef_resource_type: "!" }) };
    const denied = new Metadefs(new Service({ settings }));
    const path = at(name, "properties", "hw_colour");
    const typed = `${path}?resource_type=OS::Test::Image`;
    expect((await denied.call(admin, "GET", typed)).status).toBe(403);
    expect((await denied.call(admin, "GET", at(name, "properties", "colour"))).status).toBe(200);
  });

  it("MN-38: takes no notice of a body, of one property", async () => {
    const name = await metadefs.create(FULL);
    const headers = { "content-length": "2" };
    const path = at(name, "properties", "colour");
    expect((await metadefs.call(admin, "GET", path, { headers })).status).toBe(200);
  });
});

describe("PUT a property", () => {
  it("MP-15: replaces all of it, and its name", async () => {
    const name = await metadefs.create(FULL);
    const json = { name: "color", title: "Color", type: "integer" };
    const { status, body } = await metadefs.put(at(name, "properties", "colour"), json);
    expect([status, body]).toEqual([200, json]);
    const { properties } = await metadefs.get(at(name, "properties"));
    expect(Object.keys(properties)).toEqual(["color", "depth"]);
    expect(properties.color).toEqual(json);
  });

  it("MP-15: not by a name that another has, and not one that is not there", async () => {
    const name = await metadefs.create(FULL);
    const json = { name: "depth", ...SHORT };
    expect((await metadefs.put(at(name, "properties", "colour"), json)).status).toBe(409);
    expect((await metadefs.put(at(name, "properties", "nothing"), json)).status).toBe(404);
    expect((await metadefs.put(at(name, "properties", "colour"), { name: "x" })).status).toBe(400);
    expect((await metadefs.get(at(name))).properties).toEqual(FULL.properties);
  });
});

describe("DELETE a property", () => {
  it("MP-16, MN-46, MN-38: takes it away, whatever the body, and not out of a protected namespace", async () => {
    const name = await metadefs.create(FULL);
    const path = at(name, "properties", "colour");
    await metadefs.put(at(name), { namespace: name, protected: true });
    expect(await metadefs.delete(path)).toBe(403);
    await metadefs.put(at(name), { namespace: name });
    expect((await metadefs.call(admin, "DELETE", path, { body: "{" })).status).toBe(204);
    expect(await metadefs.delete(path)).toBe(404);
    expect(Object.keys((await metadefs.get(at(name))).properties)).toEqual(["depth"]);
  });

  it("MP-17: images may have any property, whatever is said of it", async () => {
    await metadefs.create({
      visibility: "public",
      resource_type_associations: [{ name: "OS::Glance::Image" }],
      properties: { colour: { ...SHORT, enum: ["red"] } },
    });
    expect(await service.create(owner, { colour: "green" })).toMatchObject({ colour: "green" });
  });
});

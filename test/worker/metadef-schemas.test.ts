import { describe, expect, it } from "vitest";
import { findFailure } from "../../src/domain/json-schema.ts";
import { admin, owner, stranger, unscoped } from "../support/callers.ts";
import { at, FULL, Metadefs, NAMESPACES } from "../support/metadefs.ts";
import { Service } from "../support/service.ts";

const metadefs = new Metadefs(new Service());
const schemaNamed = (name: string) => metadefs.get(`/v2/schemas/metadefs/${name}`, owner);

const SINGLE = ["namespace", "resource_type", "property", "object", "tag"];
const LISTS = ["namespaces", "resource_types", "properties", "objects", "tags"];

describe("schemas of metadata definitions", () => {
  it.each([...SINGLE, ...LISTS])(
    "MN-36, MN-37, MN-19, SCH-1, SCH-2: %s is for every token, without a body",
    async (name) => {
      const path = `/v2/schemas/metadefs/${name}`;
      for (const caller of [owner, stranger, admin, unscoped]) {
        expect((await metadefs.call(caller, "GET", path)).status).toBe(200);
      }
      expect((await metadefs.call(null, "GET", path)).status).toBe(401);
      const headers = { "content-length": "2" };
      expect((await metadefs.call(owner, "GET", path, { headers })).status).toBe(400);
      const { status, headers: answered } = await metadefs.call(owner, "PUT", path);
      expect([status, answered.get("allow")]).toEqual([405, "GET"]);
    },
  );

  it.each([
    ["namespace", "namespace", ["namespace"]],
    ["resource_type", "resource_type_association", ["name"]],
    ["property", "property", ["type", "title", "name"]],
    ["object", "object", ["name"]],
    ["tag", "tag", ["name"]],
  ])("MS-1, MS-2, MS-3: %s is called %s and requires %j", async (name, called, required) => {
    const { definitions: _, properties, ...rest } = await schemaNamed(name);
    expect(rest).toEqual({ name: called, additionalProperties: false, required });
    expect(Object.keys(properties)).toEqual(expect.arrayContaining(required));
  });

  it("MS-4: definitions are those that are referred to, and a property requires something", async () => {
    const counts = ["positiveInteger", "positiveIntegerDefault0", "stringArray"];
    const namesIn = async (name: string) =>
      Object.keys((await schemaNamed(name)).definitions ?? {});
    for (const name of ["namespace", "object"]) {
      expect(await namesIn(name)).toEqual([...counts, "property"]);
    }
    expect(await namesIn("property")).toEqual(counts);
    expect(await namesIn("tag")).toEqual([]);
    expect((await schemaNamed("property")).definitions.stringArray.minItems).toBe(1);
    expect((await schemaNamed("object")).definitions.stringArray).not.toHaveProperty("minItems");
    for (const name of [...SINGLE, ...LISTS]) {
      const document = await schemaNamed(name);
      const references = JSON.stringify(document).match(/#\/definitions\/\w+/g) ?? [];
      for (const reference of references) {
        expect(document.definitions).toHaveProperty(reference.slice("#/definitions/".length));
      }
    }
  });

  it.each([
    ["namespaces", "namespaces", "namespace"],
    ["resource_types", "resource_type_associations", "resource_type"],
    ["objects", "objects", "object"],
    ["tags", "tags", "tag"],
  ])(
    "MS-5, MS-6: %s is a list called %s of %s, whose definitions it has",
    async (list, called, item) => {
      const { definitions, ...items } = await schemaNamed(item);
      const text = { type: "string" };
      expect(await schemaNamed(list)).toEqual({
        name: called,
        properties: { [called]: { type: "array", items }, first: text, next: text, schema: text },
        links: [
          { rel: "first", href: "{first}" },
          { rel: "next", href: "{next}" },
          { rel: "describedby", href: "{schema}" },
        ],
        ...(definitions && { definitions }),
      });
    },
  );

  it("MS-7: properties are an object, whose members need no name", async () => {
    const { definitions, ...single } = await schemaNamed("property");
    const { properties, definitions: hoisted } = await schemaNamed("properties");
    expect(properties.properties).toEqual({
      type: "object",
      additionalProperties: { ...single, required: ["type", "title"] },
    });
    expect(hoisted).toEqual(definitions);
  });

  it("MS-8: times are times, and only read", async () => {
    for (const name of ["namespace", "object", "tag", "resource_type"]) {
      const { properties } = await schemaNamed(name);
      for (const key of ["created_at", "updated_at"]) {
        expect(properties[key]).toMatchObject({
          type: "string",
          format: "date-time",
          readOnly: true,
        });
      }
    }
    expect((await schemaNamed("property")).properties).not.toHaveProperty("created_at");
  });

  it("MP-2, MP-3, MP-4: a property is described as bodies are checked", async () => {
    const { properties } = await schemaNamed("property");
    expect(Object.keys(properties).sort()).toEqual(
      [
        ...["name", "title", "description", "type", "operators", "default", "readonly", "minimum"],
        ...[
          "maximum",
          "minLength",
          "maxLength",
          "pattern",
          "enum",
          "items",
          "minItems",
          "maxItems",
        ],
        ...["uniqueItems", "additionalItems", "required"],
      ].sort(),
    );
    expect(properties.type).toMatchObject({ type: "string", enum: expect.arrayContaining([null]) });
  });
});

it("MS-1: every answer meets its schema, which clients check it by", async () => {
  const name = await metadefs.create({
    ...FULL,
    properties: {
      ...FULL.properties,
      odd: { title: "Odd", type: "array", items: { type: "string" }, default: null },
    },
  });
  const listed = (await metadefs.get(`${NAMESPACES}?limit=1000&include=tags,objects,properties`))
    .namespaces;
  for (const [schema, answers] of [
    ["namespace", [await metadefs.get(at(name)), ...listed]],
    ["object", (await metadefs.get(at(name, "objects"))).objects],
    ["property", Object.values((await metadefs.get(at(name, "properties"))).properties)],
    ["tag", [await metadefs.get(at(name, "tags", "first"))]],
    ["resource_type", (await metadefs.get(at(name, "resource_types"))).resource_type_associations],
  ] as const) {
    const document = await schemaNamed(schema);
    expect(answers.length).toBeGreaterThan(0);
    for (const answer of answers) {
      expect(
        findFailure({ type: "object", ...document }, answer, document.definitions),
      ).toBeUndefined();
    }
  }
});

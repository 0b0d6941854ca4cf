import { describe, expect, it } from "vitest";
import { buildImageSchema, type ImageSchema } from "../../../src/domain/image-schema.ts";
import type { ValueSchema } from "../../../src/domain/json-schema.ts";
import { UUID_PATTERN } from "../../../src/lib/uuid.ts";
import { imageId, limits, outcome, schema, textOf } from "./builders.ts";

/** What the document says of a property, its free text apart. */
function keywordsOf(name: string, of: ImageSchema = schema): Partial<ValueSchema> | undefined {
  const { description: _, ...keywords } = of.document.properties[name] ?? {};
  return Object.hasOwn(of.document.properties, name) ? keywords : undefined;
}

function check(name: string, value: unknown): string {
  return outcome(() => schema.validate(name, value));
}

const ok = "no fault";
const bad = "400 invalid_value";
const textOrNull = ["null", "string"];
const formats = [null, ..."ami,ari,aki,vhd,vhdx,vmdk,raw,qcow2,vdi,iso,ploop".split(",")];
const containers = [null, ..."ami,ari,aki,bare,ovf,ova,docker,compressed".split(",")];

const BASE: readonly (readonly [string, string, object])[] = [
  ["SI-1", "id", { type: "string", pattern: UUID_PATTERN }],
  ["SI-2", "name", { type: textOrNull, maxLength: 255 }],
  [
    "SI-3",
    "status",
    {
      type: "string",
      readOnly: true,
      enum: [
        "queued",
        "saving",
        "active",
        "killed",
        "deleted",
        "uploading",
        "importing",
        "pending_delete",
        "deactivated",
      ],
    },
  ],
  ["SI-4", "visibility", { type: "string", enum: ["community", "public", "private", "shared"] }],
  ["SI-5", "protected", { type: "boolean" }],
  ["SI-6", "os_hidden", { type: "boolean" }],
  ["SI-7", "checksum", { type: textOrNull, readOnly: true, maxLength: 32 }],
  ["SI-8", "os_hash_algo", { type: textOrNull, readOnly: true, maxLength: 64 }],
  ["SI-9", "os_hash_value", { type: textOrNull, readOnly: true, maxLength: 128 }],
  ["SI-10", "owner", { type: textOrNull, maxLength: 255 }],
  ["SI-11", "size", { type: ["null", "integer"], readOnly: true }],
  ["SI-12", "virtual_size", { type: ["null", "integer"], readOnly: true }],
  ["SI-13", "container_format", { type: textOrNull, enum: containers }],
  ["SI-14", "disk_format", { type: textOrNull, enum: formats }],
  ["SI-15", "created_at", { type: "string", readOnly: true }],
  ["SI-16", "updated_at", { type: "string", readOnly: true }],
  ["SI-17", "tags", { type: "array", items: { type: "string", maxLength: 255 } }],
  ["SI-18", "direct_url", { type: "string", readOnly: true }],
  ["SI-19", "min_ram", { type: "integer" }],
  ["SI-20", "min_disk", { type: "integer" }],
  ["SI-21", "self", { type: "string", readOnly: true }],
  ["SI-22", "file", { type: "string", readOnly: true }],
  ["SI-23", "stores", { type: "string", readOnly: true }],
  ["SI-24", "schema", { type: "string", readOnly: true }],
];

const SHIPPED: readonly (readonly [string, string, object])[] = [
  ["SI-29", "kernel_id", { type: textOrNull, pattern: UUID_PATTERN }],
  ["SI-30", "ramdisk_id", { type: textOrNull, pattern: UUID_PATTERN }],
  ["SI-31", "instance_uuid", { type: "string" }],
  ["SI-32", "architecture", { type: "string" }],
  ["SI-33", "os_distro", { type: "string" }],
  ["SI-34", "os_version", { type: "string" }],
  ["SI-35", "description", { type: "string" }],
  ["SI-36", "cinder_encryption_key_id", { type: "string" }],
  [
    "SI-37",
    "cinder_encryption_key_deletion_policy",
    { type: "string", enum: ["on_image_deletion", "do_not_delete"] },
  ],
];

describe("the image document", () => {
  it("has the top level of contract 05 §5.2", () => {
    const document: Record<string, unknown> = { ...schema.document };
    expect(Object.keys(document).sort()).toEqual([
      "additionalProperties",
      "links",
      "name",
      "properties",
    ]);
    expect(document.name).toBe("image");
    expect(document.additionalProperties).toEqual({ type: "string" });
    expect(document.links).toEqual([
      { rel: "self", href: "{self}" },
      { rel: "enclosure", href: "{file}" },
      { rel: "describedby", href: "{schema}" },
    ]);
  });

  it.each(BASE)("%s: describes %s", (_, name, expected) => {
    expect(keywordsOf(name)).toEqual(expected);
  });

  it("SI-25, SI-26, SI-27, SI-28: describes locations down to their hashes", () => {
    expect(keywordsOf("locations")).toEqual({
      type: "array",
      items: {
        type: "object",
        required: ["url", "metadata"],
        properties: {
          url: { type: "string", maxLength: 255 },
          metadata: { type: "object" },
          validation_data: {
            description: expect.any(String),
            type: "object",
            writeOnly: true,
            additionalProperties: false,
            required: ["os_hash_algo", "os_hash_value"],
            properties: {
              checksum: { type: "string", minLength: 32, maxLength: 32 },
              os_hash_algo: { type: "string", maxLength: 64 },
              os_hash_value: { type: "string", maxLength: 128 },
            },
          },
        },
      },
    });
  });

  it.each(SHIPPED)("%s: describes %s, which is no base property", (_, name, expected) => {
    expect(keywordsOf(name)).toEqual({ ...expected, is_base: false });
  });

  it("has these properties and no others", () => {
    const names = [...BASE, ...SHIPPED].map(([, name]) => name);
    expect(Object.keys(schema.document.properties).sort()).toEqual([...names, "locations"].sort());
  });

  it("survives the way through JSON", () => {
    expect(JSON.parse(JSON.stringify(schema.document))).toEqual(schema.document);
  });
});

describe("the check of one value", () => {
  it("LIM-11: a name has up to 255 characters, may be empty or null", () => {
    expect(check("name", "é".repeat(255))).toBe(ok);
    expect(check("name", "")).toBe(ok);
    expect(check("name", null)).toBe(ok);
    expect(check("name", "é".repeat(256))).toBe(bad);
    expect(check("name", 5)).toBe(bad);
  });

  it("LIM-12: an owner has up to 255 characters or is null", () => {
    expect(check("owner", "x".repeat(255))).toBe(ok);
    expect(check("owner", null)).toBe(ok);
    expect(check("owner", "x".repeat(256))).toBe(bad);
  });

  it("LIM-13: a tag has up to 255 characters and may be empty", () => {
    expect(check("tags", ["", "x".repeat(255)])).toBe(ok);
    expect(check("tags", ["x".repeat(256)])).toBe(bad);
    expect(check("tags", [null])).toBe(bad);
    expect(check("tags", "x")).toBe(bad);
  });

  it("LIM-15: a custom value is a text of any length", () => {
    expect(check("anything", "x".repeat(100_000))).toBe(ok);
    for (const value of [1, true, null, {}, []]) expect(check("anything", value)).toBe(bad);
  });

  it("LIM-17, CRE-12b: an id is a UUID in either case, with nothing after it", () => {
    expect(check("id", imageId)).toBe(ok);
    expect(check("id", imageId.toUpperCase())).toBe(ok);
    expect(check("id", `${imageId}\n`)).toBe(bad);
    expect(check("id", imageId.replaceAll("-", ""))).toBe(bad);
    expect(check("id", null)).toBe(bad);
  });

  it("LIM-21, LIM-22: formats are the configured ones in lower case, or null, in any pair", () => {
    expect(check("disk_format", "qcow2")).toBe(ok);
    expect(check("disk_format", null)).toBe(ok);
    expect(check("disk_format", "QCOW2")).toBe(bad);
    expect(check("disk_format", "bare")).toBe(bad);
    expect(check("container_format", "bare")).toBe(ok);
    expect(check("container_format", "")).toBe(bad);
    const narrow = buildImageSchema({
      ...limits,
      diskFormats: ["raw"],
      containerFormats: ["bare"],
    });
    expect(outcome(() => narrow.validate("disk_format", "qcow2"))).toBe(bad);
    expect(keywordsOf("disk_format", narrow)?.enum).toEqual([null, "raw"]);
    expect(keywordsOf("container_format", narrow)?.enum).toEqual([null, "bare"]);
  });

  it("SIN-3, CRE-4: minimums are integers, of any sign as far as the schema goes", () => {
    expect(check("min_disk", 1)).toBe(ok);
    expect(check("min_disk", -1)).toBe(ok);
    for (const value of ["1", true, 1.5, null]) expect(check("min_ram", value)).toBe(bad);
  });

  it("CRE-6: shipped properties follow their declaration", () => {
    expect(check("kernel_id", imageId)).toBe(ok);
    expect(check("ramdisk_id", null)).toBe(ok);
    expect(check("kernel_id", "kernel")).toBe(bad);
    expect(check("architecture", null)).toBe(bad);
    expect(check("cinder_encryption_key_deletion_policy", "do_not_delete")).toBe(ok);
    expect(check("cinder_encryption_key_deletion_policy", "later")).toBe(bad);
  });

  it("SIN-4: the caller reads the property, the keyword and the value", () => {
    expect(textOf(() => schema.validate("visibility", "secret"))).toBe(
      'Invalid value for visibility: "secret" does not meet enum (community, public, private, shared)',
    );
  });

  it.each(["__proto__", "constructor", "toString"])(
    "PRO-13: %s is a name like any other",
    (name) => {
      expect(check(name, "x")).toBe(ok);
      expect(check(name, {})).toBe(bad);
    },
  );
});

describe("the operator's declarations", () => {
  it("SI-38: come as a flat map", () => {
    const own = buildImageSchema(limits, '{"os_family":{"type":"string","enum":["linux","bsd"]}}');
    expect(keywordsOf("os_family", own)).toEqual({
      type: "string",
      enum: ["linux", "bsd"],
      is_base: false,
    });
    expect(keywordsOf("kernel_id", own)).toBeUndefined();
    expect(outcome(() => own.validate("os_family", "dos"))).toBe(bad);
    expect(outcome(() => own.validate("kernel_id", "anything"))).toBe(ok);
  });

  it("SI-38: come beside a list of required names", () => {
    const json = '{"properties":{"team":{"type":"string"}},"required":["team","name","team"]}';
    const own = buildImageSchema(limits, json);
    expect(own.document.required).toEqual(["team", "name"]);
    expect(own.required).toEqual(["team", "name"]);
  });

  it("SI-38: an empty list of required names counts as none", () => {
    const own = buildImageSchema(limits, '{"properties":{"team":{"type":"string"}},"required":[]}');
    expect(Object.hasOwn(own.document, "required")).toBe(false);
  });

  it("SI-29: are the shipped ones when nothing is set, and none at all for {}", () => {
    expect(keywordsOf("kernel_id", buildImageSchema(limits, " "))).toBeDefined();
    expect(keywordsOf("kernel_id", buildImageSchema(limits, "{}"))).toBeUndefined();
  });

  it("SI-39: may repeat a base property, but not differently", () => {
    const same = '{"protected":{"type":"boolean","description":"other words"}}';
    expect(keywordsOf("protected", buildImageSchema(limits, same))).toEqual({ type: "boolean" });
    for (const different of [
      '{"protected":{"type":"string"}}',
      '{"name":{"type":["null","string"],"maxLength":64}}',
      '{"properties":{"locations":null}}',
    ]) {
      expect(() => buildImageSchema(limits, different)).toThrow(/is a base property/);
    }
  });

  it.each([
    ["{", /not valid JSON/],
    ["[]", /not a JSON object/],
    ["null", /not a JSON object/],
    ['{"properties":[]}', /properties are not an object/],
    ['{"properties":{},"required":"team"}', /required is not a list/],
    ['{"team":{"type":"integer"}}', /property team, type/],
    ['{"team":{}}', /property team, type/],
    ['{"team":"string"}', /property team/],
    ['{"team":{"type":[]}}', /property team, type/],
    ['{"team":{"type":"string","minimum":3}}', /property team, minimum/],
    [
      '{"team":{"type":"string","pattern":"("}}',
      /property team, pattern: not a regular expression/,
    ],
    ['{"team":{"type":"string","maxLength":-1}}', /property team, maxLength/],
  ])("SI-38: %s is refused with a reason", (json, reason) => {
    expect(() => buildImageSchema(limits, json)).toThrow(reason);
  });

  it("PRO-13: may declare __proto__ without harm", () => {
    const own = buildImageSchema(limits, '{"__proto__":{"type":"string","enum":["x"]}}');
    expect(outcome(() => own.validate("__proto__", "y"))).toBe(bad);
    expect(outcome(() => own.validate("other", "y"))).toBe(ok);
    expect(JSON.stringify(own.document)).toContain('"__proto__":{"type":"string"');
  });
});

import { describe, expect, it } from "vitest";
import { finishCreate, parseCreate } from "../../../src/domain/create.ts";
import type { Image } from "../../../src/domain/image.ts";
import { buildImageSchema } from "../../../src/domain/image-schema.ts";
import type { Limits } from "../../../src/domain/limits.ts";
import { UNPROTECTED } from "../../../src/domain/property-protection.ts";
import { anImage, imageId, limits, outcome, schema, someTags, textOf } from "./builders.ts";

/** A body as it arrives: through JSON, so that `__proto__` is a key. */
function body(fields: object | string): unknown {
  return JSON.parse(typeof fields === "string" ? fields : JSON.stringify(fields));
}

/** Both steps, as if policy had let the request pass. */
function create(fields: object | string, changes: Partial<Limits> = {}): Image {
  const request = parseCreate(body(fields), schema);
  return finishCreate(request, {
    limits: { ...limits, ...changes },
    protection: UNPROTECTED,
    owner: request.owner === undefined ? "project-1" : request.owner,
    id: request.id ?? imageId,
    nowMs: 5000,
  });
}

function parsing(fields: object | string): string {
  return outcome(() => parseCreate(body(fields), schema));
}

function creating(fields: object | string, changes: Partial<Limits> = {}): string {
  return outcome(() => create(fields, changes));
}

function manyProperties(count: number, prefix = "p"): object {
  return Object.fromEntries(Array.from({ length: count }, (_, index) => [prefix + index, "v"]));
}

describe("a create request's form", () => {
  it.each(["[]", '"x"', "1", "null", "true"])("REQ-4, REQ-5: refuses %s as a body", (text) => {
    expect(parsing(text)).toBe("400 bad_request");
  });

  it.each(["direct_url", "self", "file", "schema", "stores"])(
    "CRE-2: refuses %s with any value, before the schema",
    (name) => {
      for (const value of ["x", null, 5]) {
        expect(parsing({ name: 5, [name]: value })).toBe("403 property_read_only");
      }
    },
  );

  it.each([
    [{ visibility: "secret" }],
    [{ id: "x" }],
    [{ id: null }],
    [{ visibility: null }],
    [{ protected: null }],
    [{ protected: "true" }],
    [{ os_hidden: null }],
    [{ min_disk: null }],
    [{ min_ram: null }],
    [{ tags: null }],
    [{ tags: "x" }],
    [{ status: null }],
    [{ name: "x".repeat(256) }],
    [{ disk_format: "floppy" }],
    [{ locations: "x" }],
  ])("CRE-3: %j breaks the schema", (fields) => {
    expect(parsing(fields)).toBe("400 invalid_value");
  });

  it("CRE-4: takes 1.0 as an integer, but no text, flag or fraction", () => {
    expect(create('{"min_disk": 1.0, "min_ram": -0}')).toMatchObject({ minDisk: 1, minRam: 0 });
    for (const value of ["1", true, 1.5]) {
      expect(parsing({ min_disk: value })).toBe("400 invalid_value");
      expect(parsing({ min_ram: value })).toBe("400 invalid_value");
    }
  });

  it("CRE-5, NUL-2: a custom value is a text, and may be empty", () => {
    expect(create({ note: "" }).properties).toEqual(new Map([["note", ""]]));
    for (const value of [1, true, null, {}, ["x"]]) {
      expect(parsing({ note: value })).toBe("400 invalid_value");
    }
  });

  it("CRE-6, REP-19: declared properties follow their declaration, null kept where it is allowed", () => {
    const { properties } = create({ kernel_id: imageId, ramdisk_id: null });
    expect(properties).toEqual(
      new Map([
        ["kernel_id", imageId],
        ["ramdisk_id", null],
      ]),
    );
    expect(parsing({ kernel_id: "vmlinuz" })).toBe("400 invalid_value");
    expect(parsing({ cinder_encryption_key_deletion_policy: "x" })).toBe("400 invalid_value");
  });

  it.each(["location", "deleted", "deleted_at", "os_glance", "os_glance_x", "os_glancex"])(
    "CRE-7: %s is reserved, though a value that is no text is 400 first",
    (name) => {
      expect(parsing({ [name]: "x" })).toBe("403 property_reserved");
      expect(parsing({ [name]: true })).toBe("400 invalid_value");
    },
  );

  it("LIM-14: a property's name has up to 255 characters", () => {
    expect(create({ ["é".repeat(255)]: "v" }).properties.size).toBe(1);
    expect(parsing({ ["é".repeat(256)]: "v" })).toBe("400 invalid_value");
    expect(textOf(() => create({ ["x".repeat(5000)]: "v" })).length).toBeLessThan(300);
  });

  it("CRE-12, LIM-17: keeps a given id, in small letters", () => {
    const image = create({ id: imageId.toUpperCase() });
    expect(image.id).toBe(imageId);
    expect(image.properties.size).toBe(0);
    expect(create({}).id).toBe(imageId);
  });

  it("CRE-12b: refuses an id with a newline after it", () => {
    expect(parsing({ id: `${imageId}\n` })).toBe("400 invalid_value");
  });

  it('CRE-13, CRE-14: tells policy which owner is asked for, "" being none', () => {
    expect(parseCreate({}, schema).owner).toBeUndefined();
    expect(parseCreate({ owner: "project-2" }, schema).owner).toBe("project-2");
    expect(parseCreate({ owner: null }, schema).owner).toBeNull();
    expect(parseCreate({ owner: "" }, schema).owner).toBeNull();
    expect(create({ owner: "project-2" }).owner).toBe("project-2");
    expect(create({ owner: "" }).owner).toBeNull();
  });

  it("CRE-15, CRE-16, CHG-5: tells policy which visibility is asked for, shared unless said", () => {
    expect(parseCreate({}, schema).visibility).toBe("shared");
    for (const visibility of ["public", "community", "private", "shared"] as const) {
      expect(parseCreate({ visibility }, schema).visibility).toBe(visibility);
      expect(create({ visibility }).visibility).toBe(visibility);
    }
  });

  it("SI-40: asks for what the operator requires", () => {
    const json = '{"properties":{"team":{"type":"string"}},"required":["team"]}';
    const own = buildImageSchema(limits, json);
    expect(textOf(() => parseCreate({}, own))).toMatch(/team.*required/);
    expect(outcome(() => parseCreate({ team: "a" }, own))).toBe("no fault");
    const requiresProto = buildImageSchema(limits, '{"properties":{},"required":["toString"]}');
    expect(outcome(() => parseCreate({}, requiresProto))).toBe("400 invalid_value");
  });
});

describe("the new image", () => {
  it("CRE-1, REP-1, REP-2, REP-3, REP-4, REP-5, REP-11, REP-12, REP-13, REP-14, TIM-2: has the defaults", () => {
    expect(create({})).toEqual(
      anImage({ revision: 1, name: null, createdAtMs: 5000, updatedAtMs: 5000 }),
    );
  });

  it("REP-2, REP-4, REP-6, REP-7, REP-8, REP-9, REP-10: carries what the request set", () => {
    const image = create({
      name: "debian",
      visibility: "private",
      protected: true,
      os_hidden: true,
      tags: ["a", "b"],
      disk_format: "qcow2",
      container_format: "bare",
      min_disk: 10,
      min_ram: 512,
    });
    expect(image).toMatchObject({
      name: "debian",
      visibility: "private",
      isProtected: true,
      isHidden: true,
      tags: ["a", "b"],
      diskFormat: "qcow2",
      containerFormat: "bare",
      minDisk: 10,
      minRam: 512,
    });
    expect(image.properties.size).toBe(0);
  });

  it("NUL-1: name, owner and formats may be null", () => {
    expect(
      create({ name: null, owner: null, disk_format: null, container_format: null }),
    ).toMatchObject({ name: null, owner: null, diskFormat: null, containerFormat: null });
  });

  it.each([
    ["created_at", "2026-01-01T00:00:00Z"],
    ["updated_at", "x"],
    ["status", "queued"],
    ["checksum", null],
    ["size", 5],
    ["virtual_size", null],
  ])("CRE-8: %s is read-only", (name, value) => {
    expect(parsing({ [name]: value })).toBe("no fault");
    expect(creating({ [name]: value })).toBe("403 property_read_only");
  });

  it("CRE-8: a read-only property's bad value is 400 first", () => {
    expect(parsing({ status: "foo" })).toBe("400 invalid_value");
    expect(parsing({ size: "5" })).toBe("400 invalid_value");
  });

  it.each(["os_hash_algo", "os_hash_value"])("CRE-9: %s is read-only", (name) => {
    expect(creating({ [name]: "sha512" })).toBe("403 property_read_only");
    expect(creating({ [name]: null })).toBe("403 property_read_only");
  });

  it("CRE-10: refuses locations, even none", () => {
    expect(creating({ locations: [] })).toBe("403 property_reserved");
    expect(creating({ locations: [{ url: "http://a/", metadata: {} }] })).toBe(
      "403 property_reserved",
    );
  });

  it("CRE-11, PRO-13: every other name is a custom property", () => {
    const names = ["is_public", "member", "image_id", "properties", "", "name ", "constructor"];
    const fields = `{${[...names, "__proto__"].map((name) => `${JSON.stringify(name)}:"v"`).join()}}`;
    expect([...create(fields).properties.keys()].sort()).toEqual([...names, "__proto__"].sort());
    expect(({} as Record<string, unknown>).v).toBeUndefined();
  });

  it("CRE-18, LIM-3, LIM-4: quotas hold exactly", () => {
    expect(creating(manyProperties(128))).toBe("no fault");
    expect(creating(manyProperties(129))).toBe("413 quota_exceeded");
    expect(creating({ tags: someTags(128) })).toBe("no fault");
    expect(creating({ tags: someTags(129) })).toBe("413 quota_exceeded");
  });

  it("CRE-18, CRE-19: duplicate tags count once and merge silently", () => {
    expect(create({ tags: [...someTags(128), "t0", "t1"] }).tags).toEqual(someTags(128));
  });

  it("LIM-7: a negative quota means none, zero means nothing", () => {
    const unlimited = { imageProperties: -1, imageTags: -1 };
    expect(creating({ ...manyProperties(1000), tags: someTags(1000) }, unlimited)).toBe("no fault");
    expect(creating({ a: "b" }, { imageProperties: 0 })).toBe("413 quota_exceeded");
    expect(creating({ tags: ["a"] }, { imageTags: 0 })).toBe("413 quota_exceeded");
    expect(creating({}, { imageProperties: 0, imageTags: 0 })).toBe("no fault");
  });

  it("LIM-15: values are as long as the record has room for, 128 KiB in all", () => {
    // {"p":"…"} and the list of tags take the rest.
    const room = 128 * 1024 - JSON.stringify([{ p: "" }, []]).length;
    expect(creating({ p: "x".repeat(room) })).toBe("no fault");
    expect(creating({ p: "x".repeat(room + 1) })).toBe("413 quota_exceeded");
    expect(creating({ p: "é".repeat(room / 2 + 1) })).toBe("413 quota_exceeded");
    expect(textOf(() => create({ p: "x".repeat(room + 1) }))).toContain(
      "bytes of properties and tags, maximum: 131072",
    );
  });

  it("CRE-20, LIM-16: minimums lie within 0 and 2147483647", () => {
    expect(create({ min_disk: 2147483647, min_ram: 0 })).toMatchObject({ minDisk: 2147483647 });
    for (const value of [-1, 2147483648, 1e300]) {
      expect(creating({ min_disk: value })).toBe("400 invalid_value");
      expect(creating({ min_ram: value })).toBe("400 invalid_value");
    }
  });

  it.each([
    [{ name: "a😀" }],
    [{ owner: "😀" }],
    [{ tags: ["x", "😀"] }],
    [{ "na😀me": "v" }],
    [{ note: "😀" }],
  ])("CRE-21, LIM-20: refuses a four-byte character in %j", (fields) => {
    expect(parsing(fields)).toBe("no fault");
    expect(creating(fields)).toBe("400 unsupported_characters");
  });

  it("CRE-21: refuses half a character, which no record could give back", () => {
    expect(creating('{"name":"a\\ud83d"}')).toBe("400 unsupported_characters");
  });

  it("CRE-21: takes every other character", () => {
    expect(create({ name: "Ünïcödé 漢字 \uffff" }).name).toBe("Ünïcödé 漢字 \uffff");
  });
});

describe("CRE-22: when several rules fail", () => {
  const tooManyTags = { tags: someTags(129) };
  const tooMany = manyProperties(129);

  it("links come before the schema", () => {
    expect(parsing({ name: 5, self: "x" })).toBe("403 property_read_only");
  });

  it("the schema comes before name lengths and reserved names", () => {
    expect(parsing({ location: "x", min_disk: "x" })).toBe("400 invalid_value");
    expect(textOf(() => create({ ["x".repeat(256)]: "v", min_disk: "x" }))).toContain("min_disk");
  });

  it("name lengths come before reserved names, whatever their order", () => {
    expect(parsing({ location: "x", ["x".repeat(256)]: "v" })).toBe("400 invalid_value");
  });

  it("reserved names come before policy, quotas and read-only facts after it", () => {
    expect(parsing({ ...tooManyTags, location: "x" })).toBe("403 property_reserved");
    expect(parsing({ ...tooManyTags, ...tooMany, size: 1, min_disk: -1 })).toBe("no fault");
  });

  it("the tag quota comes before read-only and reserved properties", () => {
    expect(creating({ ...tooManyTags, size: 1 })).toBe("413 quota_exceeded");
    expect(creating({ ...tooManyTags, locations: [] })).toBe("413 quota_exceeded");
  });

  it("read-only and reserved properties come before the property quota", () => {
    expect(creating({ ...tooMany, size: 1 })).toBe("403 property_read_only");
    expect(creating({ ...tooMany, locations: [] })).toBe("403 property_reserved");
  });

  it("the property quota comes before stored values", () => {
    expect(creating({ ...tooMany, min_disk: -1, name: "😀" })).toBe("413 quota_exceeded");
  });
});

import { describe, expect, it } from "vitest";
import { admin } from "../support/callers.ts";
import { passTime, resumeTime, stopTime } from "../support/clock.ts";
import { at, FULL, Metadefs, NAMESPACES, SHORT } from "../support/metadefs.ts";
import { Service } from "../support/service.ts";

const service = new Service();
const metadefs = new Metadefs(service);

const SECOND = /^\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}Z$/;
const unique = () => `ns-${crypto.randomUUID()}`;

describe("POST namespaces", () => {
  it("MN-1, MN-25, MN-48, MN-50, MN-21, MN-22: with its name alone gives what it has by default", async () => {
    const namespace = unique();
    const { status, body } = await metadefs.post(NAMESPACES, { namespace });
    expect(status).toBe(201);
    expect(body).toEqual({
      namespace,
      visibility: "private",
      protected: false,
      owner: admin.projectId,
      created_at: expect.stringMatching(SECOND),
      updated_at: body.created_at,
      self: `${NAMESPACES}/${namespace}`,
      schema: "/v2/schemas/metadefs/namespace",
    });
  });

  it("MN-49, MN-50: makes everything in it, and gives the parts as they were given", async () => {
    const namespace = unique();
    const { status, body } = await metadefs.post(NAMESPACES, { namespace, ...FULL });
    expect(status).toBe(201);
    expect(body).toMatchObject({ namespace, ...FULL });
    expect(body.objects[0]).toEqual(FULL.objects[0]);
    const shown = await metadefs.get(at(namespace));
    expect(shown.properties).toEqual(FULL.properties);
    expect(shown.tags).toEqual([{ name: "second" }, { name: "first" }]);
  });

  it("MN-51: says where it is, in an address that can be one", async () => {
    const namespace = `OS::a b ü ${unique()}`;
    const { headers, body } = await metadefs.post(NAMESPACES, { namespace });
    const location = new URL(headers.get("location") ?? "");
    expect(location.href).toBe(`http://image.test${at(namespace)}`);
    expect(body.self).toBe(`${NAMESPACES}/${namespace}`);
    expect((await metadefs.get(location.pathname)).namespace).toBe(namespace);
  });

  it("MN-7, MN-8, MN-9: texts have limits, counted in characters", async () => {
    const long = {
      display_name: "ü".repeat(80),
      description: "😀".repeat(500),
      owner: "o".repeat(255),
    };
    const namespace = unique().padEnd(80, "n");
    expect((await metadefs.post(NAMESPACES, { namespace, ...long })).status).toBe(201);
    for (const [key, text] of Object.entries({ namespace, ...long })) {
      const body = { namespace: unique(), ...long, [key]: `${text}x` };
      expect((await metadefs.post(NAMESPACES, body)).status, key).toBe(400);
    }
  });

  it("MN-13: takes characters beyond the basic multilingual plane", async () => {
    const namespace = `😀 ${unique()}`;
    const { status } = await metadefs.post(NAMESPACES, { namespace, display_name: "🗂" });
    expect(status).toBe(201);
    expect(await metadefs.get(at(namespace))).toMatchObject({ namespace, display_name: "🗂" });
  });

  it.each(["", "a/b", "/", ".", ".."])(
    "MN-11, MN-12: %j is no name, for no address would lead to it",
    async (name) => {
      expect((await metadefs.post(NAMESPACES, { namespace: name })).status).toBe(400);
      for (const part of [
        { properties: { [name]: SHORT } },
        { objects: [{ name }] },
        { tags: [{ name }] },
        { resource_type_associations: [{ name }] },
      ]) {
        const namespace = unique();
        const { status } = await metadefs.post(NAMESPACES, { namespace, ...part });
        expect(status, JSON.stringify(part)).toBe(400);
        expect((await metadefs.call(admin, "GET", at(namespace))).status).toBe(404);
      }
    },
  );

  it("MN-10, MN-47: a name is there once, and capitals make another", async () => {
    const namespace = unique();
    expect((await metadefs.post(NAMESPACES, { namespace })).status).toBe(201);
    expect((await metadefs.post(NAMESPACES, { namespace })).status).toBe(409);
    expect((await metadefs.post(NAMESPACES, { namespace: namespace.toUpperCase() })).status).toBe(
      201,
    );
  });

  it("MN-47, MN-49: of two parts with the same name none is made, nor the namespace", async () => {
    for (const part of [
      { objects: [{ name: "twice" }, { name: "twice" }] },
      { tags: [{ name: "twice" }, { name: "twice" }], protected: true },
      { resource_type_associations: [{ name: "OS::Twice" }, { name: "OS::Twice" }] },
    ]) {
      const namespace = unique();
      expect((await metadefs.post(NAMESPACES, { namespace, ...part })).status).toBe(409);
      expect((await metadefs.call(admin, "GET", at(namespace))).status).toBe(404);
    }
    const types = (await metadefs.get("/v2/metadefs/resource_types")).resource_types;
    expect(types).not.toContainEqual(expect.objectContaining({ name: "OS::Twice" }));
  });

  it.each([
    ["MN-39: nothing", { body: "" }],
    ["MN-39: no JSON", { body: "{" }],
    ["MN-40: an array", { json: [] }],
    ["MN-40: null", { body: "null" }],
    ["MN-43: no name", { json: {} }],
    ["MN-43: a name that is no text", { json: { namespace: 5 } }],
    ["MN-43: a key that there is not", { json: { namespace: "x", colour: "red" } }],
    ["MN-43: __proto__", { body: '{"namespace": "x", "__proto__": {}}' }],
    ["MN-41: a null", { json: { namespace: "x", display_name: null } }],
    ["MN-41: null for a list", { json: { namespace: "x", tags: null } }],
    ["MN-42: a flag as text", { json: { namespace: "x", protected: "true" } }],
    ["MN-21: another visibility", { json: { namespace: "x", visibility: "shared" } }],
    [
      "MN-45: a key of a property",
      { json: { namespace: "x", properties: { p: { ...SHORT, zzz: 1 } } } },
    ],
    ["MN-45: a key of an object", { json: { namespace: "x", objects: [{ name: "o", zzz: 1 }] } }],
    ["MN-45: a key of a tag", { json: { namespace: "x", tags: [{ name: "t", zzz: 1 }] } }],
    ["MN-45: an object without name", { json: { namespace: "x", objects: [{}] } }],
    ["MN-45: a tag without name", { json: { namespace: "x", tags: [{}] } }],
    [
      "MN-45: an association without name",
      { json: { namespace: "x", resource_type_associations: [{}] } },
    ],
    [
      "MP-1: a property without title",
      { json: { namespace: "x", properties: { p: { type: "string" } } } },
    ],
    [
      "MN-7: a property's name that is too long",
      { json: { namespace: "x", properties: { [`${"p".repeat(81)}`]: SHORT } } },
    ],
    ["half of a surrogate pair", { body: '{"namespace": "x", "description": "\\ud800"}' }],
    ["the character U+0000", { json: { namespace: "x", description: "a\0b" } }],
    [
      "a number beyond all numbers",
      {
        body: '{"namespace": "x", "properties": {"p": {"title": "t", "type": "number", "minimum": 1e999}}}',
      },
    ],
    [
      "more levels than anything has",
      {
        body: `{"namespace": "x", "properties": {"p": {"title": "t", "type": "array", "default": ${"[".repeat(5000)}${"]".repeat(5000)}}}}`,
      },
    ],
  ])("%s is 400, and makes nothing", async (_, options) => {
    expect((await metadefs.call(admin, "POST", NAMESPACES, options)).status).toBe(400);
    expect((await metadefs.call(admin, "GET", at("x"))).status).toBe(404);
  });

  it.each(["self", "schema", "created_at", "updated_at"])(
    "MN-44: %s is read-only: 403",
    async (key) => {
      const body = { namespace: "x", [key]: "2020-01-01T00:00:00Z", colour: "red" };
      expect((await metadefs.post(NAMESPACES, body)).status).toBe(403);
      const nested = { namespace: "x", objects: [{ name: "o", [key]: "2020-01-01T00:00:00Z" }] };
      expect((await metadefs.post(NAMESPACES, nested)).status).toBe(403);
    },
  );

  it("MN-58: takes JSON under any media type and none", async () => {
    for (const type of ["application/octet-stream", "text/plain", undefined]) {
      const { status } = await metadefs.call(admin, "POST", NAMESPACES, {
        body: new TextEncoder().encode(JSON.stringify({ namespace: unique() })),
        headers: type === undefined ? {} : { "content-type": type },
      });
      expect(status, type).toBe(201);
    }
  });

  it("takes 256 KiB of definitions and no more: 413", async () => {
    const namespace = unique();
    const large = (bytes: number) => ({
      namespace,
      properties: { large: { ...SHORT, description: "x".repeat(bytes) } },
    });
    expect((await metadefs.post(NAMESPACES, large(256 * 1024))).status).toBe(413);
    expect((await metadefs.call(admin, "GET", at(namespace))).status).toBe(404);
    expect((await metadefs.post(NAMESPACES, large(255 * 1024))).status).toBe(201);
    const more = { name: "more", ...SHORT, description: "x".repeat(2048) };
    expect((await metadefs.post(at(namespace, "properties"), more)).status).toBe(413);
    expect((await metadefs.get(at(namespace, "properties"))).properties).not.toHaveProperty("more");
  });
});

describe("GET a namespace", () => {
  it("MN-26, MN-52: has everything that is not empty, objects and associations with their times", async () => {
    const name = await metadefs.create(FULL);
    const body = await metadefs.get(at(name));
    const times = { created_at: body.created_at, updated_at: body.updated_at };
    expect(body).toEqual({
      namespace: name,
      display_name: "Everything",
      description: "Has something of everything",
      visibility: "public",
      protected: false,
      owner: admin.projectId,
      ...times,
      self: `${NAMESPACES}/${name}`,
      schema: "/v2/schemas/metadefs/namespace",
      resource_type_associations: [
        { name: "OS::Test::Image", prefix: "hw_", properties_target: "image", ...times },
        { name: "OS::Test::Flavor", ...times },
      ],
      properties: FULL.properties,
      objects: [
        {
          ...FULL.objects[0],
          ...times,
          self: `${NAMESPACES}/${name}/objects/box`,
          schema: "/v2/schemas/metadefs/object",
        },
      ],
      tags: [{ name: "second" }, { name: "first" }],
    });
    const empty = await metadefs.get(at(await metadefs.create()));
    for (const part of [
      "resource_type_associations",
      "properties",
      "objects",
      "tags",
      "description",
    ]) {
      expect(empty).not.toHaveProperty(part);
    }
  });

  it("MN-53: puts the prefix of a resource type before the names of properties", async () => {
    const name = await metadefs.create(FULL);
    const seen = await metadefs.get(`${at(name)}?resource_type=OS::Test::Image`);
    expect(Object.keys(seen.properties)).toEqual(["hw_colour", "hw_depth"]);
    expect(seen.objects[0]).toMatchObject({
      name: "box",
      required: ["hw_width"],
      properties: { hw_width: { title: "Width" } },
    });
    const plain = await metadefs.get(at(name));
    for (const type of ["OS::Test::Flavor", "OS::No::Such", ""]) {
      expect(await metadefs.get(`${at(name)}?resource_type=${type}`)).toEqual(plain);
    }
  });

  it("MN-54: takes no notice of other parameters", async () => {
    const name = await metadefs.create();
    const plain = await metadefs.get(at(name));
    expect(await metadefs.get(`${at(name)}?colour=red&limit=x&visibility=public`)).toEqual(plain);
  });

  it("MN-55: refuses a visibility that there is not", async () => {
    const name = await metadefs.create();
    const path = `${at(name)}?visibility=shared`;
    expect((await metadefs.call(admin, "GET", path)).status).toBe(400);
  });

  it("MN-18: of a name that there is not is 404", async () => {
    for (const path of [at("nowhere"), at("nowhere", "tags"), at("nowhere", "objects", "x")]) {
      expect((await metadefs.call(admin, "GET", path)).status).toBe(404);
    }
  });
});

describe("PUT a namespace", () => {
  it("MN-26, MN-56: replaces all it has itself, and leaves what is in it", async () => {
    const name = await metadefs.create({ ...FULL, protected: true, owner: "somebody" });
    const { status, body } = await metadefs.put(at(name), { namespace: name });
    expect(status).toBe(200);
    expect(body).toEqual({
      namespace: name,
      visibility: "private",
      protected: false,
      owner: admin.projectId,
      created_at: expect.any(String),
      updated_at: expect.any(String),
      self: `${NAMESPACES}/${name}`,
      schema: "/v2/schemas/metadefs/namespace",
    });
    const shown = await metadefs.get(at(name));
    expect(shown).toMatchObject({ properties: FULL.properties, tags: [{}, {}] });
    expect(shown).not.toHaveProperty("description");
  });

  it("MN-56, MN-60: gives another name, if nobody has it", async () => {
    const name = await metadefs.create(FULL);
    const other = await metadefs.create();
    expect((await metadefs.put(at(name), { namespace: other })).status).toBe(409);
    const renamed = unique();
    const { status, body } = await metadefs.put(at(name), {
      namespace: renamed,
      visibility: "public",
    });
    expect(status).toBe(200);
    expect(body.self).toBe(`${NAMESPACES}/${renamed}`);
    expect((await metadefs.call(admin, "GET", at(name))).status).toBe(404);
    const shown = await metadefs.get(at(renamed));
    expect(shown.objects[0].self).toBe(`${NAMESPACES}/${renamed}/objects/box`);
    const listed = await metadefs.get(`${NAMESPACES}?resource_types=OS::Test::Image&limit=1000`);
    expect(listed.namespaces.map((one: { namespace: string }) => one.namespace)).toContain(renamed);
  });

  it("MN-57: takes back what a read gave, as the clients send it", async () => {
    const name = await metadefs.create(FULL);
    const { self, schema, created_at, updated_at, ...rest } = await metadefs.get(at(name));
    const { status } = await metadefs.put(at(name), { ...rest, description: "Another" });
    expect(status).toBe(200);
    const expected = { ...rest, description: "Another" };
    expect(await metadefs.get(at(name))).toMatchObject(expected);
  });

  it("MN-57: takes back the deepest parts and the most objects, under the longest name", async () => {
    const nested = (levels: number): unknown => (levels === 0 ? 1 : [nested(levels - 1)]);
    const namespace = unique().padEnd(80, "é");
    const objects = Array.from({ length: 999 }, (_, n) => ({ name: `o${n}` }));
    expect((await metadefs.post(NAMESPACES, { namespace, objects })).status).toBe(201);
    const deep = { ...SHORT, default: nested(27) };
    const object = { name: "deep", properties: { deep } };
    expect(
      (await metadefs.post(at(namespace, "properties"), { name: "deep", ...deep })).status,
    ).toBe(201);
    expect((await metadefs.post(at(namespace, "objects"), object)).status).toBe(400);
    object.properties.deep.default = nested(26);
    expect((await metadefs.post(at(namespace, "objects"), object)).status).toBe(201);
    const { self, schema, created_at, updated_at, ...rest } = await metadefs.get(at(namespace));
    expect((await metadefs.put(at(namespace), rest)).status).toBe(200);
  });

  it("MN-57: takes no notice of parts, be they empty or of no model", async () => {
    const name = await metadefs.create(FULL);
    const before = await metadefs.get(at(name));
    const body = {
      namespace: name,
      visibility: "public",
      resource_type_associations: [],
      properties: { zzz: { zzz: null } },
      objects: [{ zzz: 1 }],
      tags: [],
    };
    expect((await metadefs.put(at(name), body)).status).toBe(200);
    const { properties, objects, tags, resource_type_associations } = await metadefs.get(at(name));
    expect(before).toMatchObject({ properties, objects, tags, resource_type_associations });
  });

  it.each([
    ["MN-39: nothing", { body: "" }, 400],
    ["MN-43: no name", { json: { visibility: "public" } }, 400],
    ["MN-43: a key that there is not", { json: { namespace: "x", zzz: 1 } }, 400],
    ["MN-43: parts that are no lists", { json: { namespace: "x", tags: {} } }, 400],
    ["MN-41: a null", { json: { namespace: "x", description: null } }, 400],
    ["MN-12: a name with a slash", { json: { namespace: "x/y" } }, 400],
    ["MN-44: self", { json: { namespace: "x", self: "/" } }, 403],
    ["MN-44: created_at", { json: { namespace: "x", created_at: "2020-01-01T00:00:00Z" } }, 403],
  ] as const)("%s is refused, and changes nothing", async (_, options, status) => {
    const name = await metadefs.create(FULL);
    const before = await metadefs.get(at(name));
    expect((await metadefs.call(admin, "PUT", at(name), options)).status).toBe(status);
    expect(await metadefs.get(at(name))).toEqual(before);
  });

  it("MN-59: the answer has the time of the change", async () => {
    stopTime();
    try {
      const name = await metadefs.create(FULL);
      passTime(60);
      const { body } = await metadefs.put(at(name), { namespace: name });
      const waitedMs = Date.parse(body.updated_at) - Date.parse(body.created_at);
      expect(waitedMs).toBe(60_000);
      passTime(60);
      await metadefs.put(at(name, "objects", "box"), { name: "box" });
      const shown = await metadefs.get(at(name));
      expect(shown.updated_at).toBe(body.updated_at);
      const [{ created_at, updated_at }] = shown.objects;
      expect(Date.parse(updated_at) - Date.parse(created_at)).toBe(120_000);
    } finally {
      resumeTime();
    }
  });

  it("MN-61, MN-23: works while it is protected, and so do additions", async () => {
    const name = await metadefs.create({ protected: true });
    expect((await metadefs.post(at(name, "objects"), { name: "o" })).status).toBe(201);
    expect((await metadefs.put(at(name, "objects", "o"), { name: "p" })).status).toBe(200);
    expect(await metadefs.delete(at(name))).toBe(403);
    expect((await metadefs.put(at(name), { namespace: name })).body.protected).toBe(false);
    expect(await metadefs.delete(at(name))).toBe(204);
  });
});

describe("DELETE a namespace", () => {
  it("MN-26, MN-62: takes everything in it along", async () => {
    const name = await metadefs.create(FULL);
    expect(await metadefs.delete(at(name))).toBe(204);
    for (const path of [at(name), at(name, "objects", "box"), at(name, "tags")]) {
      expect((await metadefs.call(admin, "GET", path)).status).toBe(404);
    }
    expect(await metadefs.delete(at(name))).toBe(404);
    expect((await metadefs.post(NAMESPACES, { namespace: name })).status).toBe(201);
    const fresh = await metadefs.get(at(name));
    expect(fresh).not.toHaveProperty("properties");
    const listed = await metadefs.get(`${NAMESPACES}?resource_types=OS::Test::Image&limit=1000`);
    expect(listed.namespaces).not.toContainEqual(expect.objectContaining({ namespace: name }));
  });

  it("MN-62, MN-23: is refused while it is protected, and so is all that is in it", async () => {
    const name = await metadefs.create({ ...FULL, protected: true });
    const before = await metadefs.get(at(name));
    for (const path of [
      ...[at(name), at(name, "objects"), at(name, "properties"), at(name, "tags")],
      ...[at(name, "objects", "box"), at(name, "properties", "colour"), at(name, "tags", "first")],
      at(name, "resource_types", "OS::Test::Image"),
    ]) {
      expect(await metadefs.delete(path), path).toBe(403);
    }
    expect(await metadefs.get(at(name))).toEqual(before);
  });

  it.each(["objects", "properties", "tags"])(
    "MN-63, MN-27, MN-29, MN-31: DELETE …/%s empties them, twice if asked to",
    async (part) => {
      const name = await metadefs.create(FULL);
      expect(await metadefs.delete(at(name, part))).toBe(204);
      expect(await metadefs.delete(at(name, part))).toBe(204);
      const rest = await metadefs.get(at(name));
      expect(rest).not.toHaveProperty(part);
      const others = ["objects", "properties", "tags", "resource_type_associations"];
      for (const other of others.filter((one) => one !== part)) expect(rest).toHaveProperty(other);
    },
  );
});

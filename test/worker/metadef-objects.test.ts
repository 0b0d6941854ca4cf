import { describe, expect, it } from "vitest";
import { admin, owner } from "../support/callers.ts";
import { at, FULL, Metadefs, NAMESPACES, SHORT } from "../support/metadefs.ts";
import { Service } from "../support/service.ts";

const metadefs = new Metadefs(new Service());

const TIMES = { created_at: expect.any(String), updated_at: expect.any(String) };
const SCHEMA = "/v2/schemas/metadefs/object";

async function createObject(json: object) {
  const name = await metadefs.create();
  const answer = await metadefs.post(at(name, "objects"), json);
  return { ...answer, name };
}

describe("POST objects", () => {
  it("MO-1, MO-3, MN-2, MN-29: makes one, and gives no lists that were not given", async () => {
    const { status, body, name } = await createObject({ name: "box" });
    const self = `${NAMESPACES}/${name}/objects/box`;
    expect(status).toBe(201);
    expect(body).toEqual({ name: "box", ...TIMES, self, schema: SCHEMA });
    const shown = await metadefs.get(at(name, "objects", "box"));
    expect(shown).toEqual({ ...body, required: [], properties: {} });
  });

  it("MO-1, MO-3, MO-4: keeps all that was given, and what is required though nothing describes it", async () => {
    const json = {
      name: "a box",
      description: "Of wood",
      required: ["width", "nothing"],
      properties: { width: { ...SHORT, name: "width", default: null }, "": SHORT },
    };
    const { body, name } = await createObject(json);
    const self = `${NAMESPACES}/${name}/objects/a box`;
    expect(body).toEqual({ ...json, ...TIMES, self, schema: SCHEMA });
    expect(await metadefs.get(at(name, "objects", "a box"))).toEqual(body);
    expect((await metadefs.get(at(name))).objects).toEqual([body]);
  });

  it.each([
    ["MO-1: no name", {}],
    ["MO-1: one name twice", { name: "o", required: ["a", "a"] }],
    ["MO-1: required that is no text", { name: "o", required: [1] }],
    ["MO-1: a property without title", { name: "o", properties: { p: { type: "string" } } }],
    ["MO-1: a property with another key", { name: "o", properties: { p: { ...SHORT, zzz: 1 } } }],
    ["MO-1: properties as a list", { name: "o", properties: [SHORT] }],
    ["MN-41: a null", { name: "o", description: null }],
    ["MN-41: null for a list", { name: "o", required: null }],
    ["MN-43: another key", { name: "o", zzz: 1 }],
    ["MN-7: a long name", { name: "o".repeat(81) }],
    ["MN-12: a slash", { name: "a/b" }],
  ])("%s is 400, and makes nothing", async (_, json) => {
    const { status, name } = await createObject(json);
    expect(status).toBe(400);
    expect((await metadefs.get(at(name, "objects"))).objects).toEqual([]);
  });

  it.each(["self", "schema", "created_at", "updated_at"])(
    "MN-44: %s is read-only: 403",
    async (key) => {
      expect((await createObject({ name: "o", [key]: "x" })).status).toBe(403);
    },
  );

  it("MN-47: a name is there once", async () => {
    const { name } = await createObject({ name: "o" });
    expect((await metadefs.post(at(name, "objects"), { name: "o" })).status).toBe(409);
  });
});

describe("GET objects", () => {
  it("MO-5: gives all of them, whole", async () => {
    const name = await metadefs.create({
      visibility: "public",
      objects: [...FULL.objects, { name: "bag" }],
    });
    const body = await metadefs.get(at(name, "objects"), owner);
    expect(body).toEqual({
      objects: [
        { ...FULL.objects[0], ...TIMES, self: `${NAMESPACES}/${name}/objects/box`, schema: SCHEMA },
        {
          ...{ name: "bag", required: [], properties: {} },
          ...{ ...TIMES, self: `${NAMESPACES}/${name}/objects/bag`, schema: SCHEMA },
        },
      ],
      schema: "/v2/schemas/metadefs/objects",
    });
  });

  it("MO-6: checks the parameters of a list, which have no effect on it", async () => {
    const name = await metadefs.create({ objects: [{ name: "a" }, { name: "b" }] });
    const list = (query: string) => metadefs.call(admin, "GET", `${at(name, "objects")}?${query}`);
    for (const bad of ["limit=0", "limit=-1", "limit=x", "sort_dir=up", "visibility=community"]) {
      expect((await list(bad)).status, bad).toBe(400);
    }
    for (const good of [
      "limit=1&marker=a",
      "sort_key=zzz",
      "sort_dir=asc",
      "visibility=shared",
      "visibility=public",
    ]) {
      expect((await list(good)).body.objects, good).toHaveLength(2);
    }
  });

  it("MN-30, MN-18: of a name that there is not is 404", async () => {
    const name = await metadefs.create(FULL);
    expect((await metadefs.call(admin, "GET", at(name, "objects", "bag"))).status).toBe(404);
  });
});

describe("PUT an object", () => {
  it("MO-2, MO-3, MN-30: replaces all of it, and its name; it stays as old as it was", async () => {
    const name = await metadefs.create(FULL);
    const before = await metadefs.get(at(name, "objects", "box"));
    const { status, body } = await metadefs.put(at(name, "objects", "box"), { name: "bag" });
    expect(status).toBe(200);
    expect(body).toEqual({
      ...{ name: "bag", created_at: before.created_at, updated_at: expect.any(String) },
      ...{ self: `${NAMESPACES}/${name}/objects/bag`, schema: SCHEMA },
    });
    expect((await metadefs.get(at(name))).objects).toEqual([
      { ...body, required: [], properties: {} },
    ]);
  });

  it("MO-2: is refused for an unknown key in a property, for another's name, and for none", async () => {
    const name = await metadefs.create({ objects: [{ name: "a" }, { name: "b" }] });
    const put = async (object: string, json: object) =>
      (await metadefs.put(at(name, "objects", object), json)).status;
    expect(await put("a", { name: "a", properties: { p: { ...SHORT, zzz: 1 } } })).toBe(400);
    expect(await put("a", { name: "b" })).toBe(409);
    expect(await put("c", { name: "c" })).toBe(404);
    expect((await metadefs.get(at(name, "objects"))).objects).toHaveLength(2);
  });
});

describe("DELETE an object", () => {
  it("MO-7, MN-30: takes it away, and not out of a protected namespace", async () => {
    const name = await metadefs.create({ ...FULL, protected: true });
    expect(await metadefs.delete(at(name, "objects", "box"))).toBe(403);
    await metadefs.put(at(name), { namespace: name });
    expect(await metadefs.delete(at(name, "objects", "box"))).toBe(204);
    expect(await metadefs.delete(at(name, "objects", "box"))).toBe(404);
  });
});

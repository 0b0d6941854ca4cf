import { describe, expect, it } from "vitest";
import { admin, owner } from "../support/callers.ts";
import { at, FULL, Metadefs } from "../support/metadefs.ts";
import { Service } from "../support/service.ts";

const metadefs = new Metadefs(new Service());

const named = (...names: string[]) => names.map((name) => ({ name }));
const TIMES = { created_at: expect.any(String), updated_at: expect.any(String) };

async function tagsOf(name: string, query = ""): Promise<string[]> {
  const { tags } = await metadefs.get(`${at(name, "tags")}${query}`);
  return tags.map((tag: { name: string }) => tag.name);
}

describe("one tag", () => {
  it("MT-1, MT-13, MT-14, MN-4, MN-32: is made by its address, shown, renamed and taken away", async () => {
    const name = await metadefs.create();
    const made = await metadefs.post(at(name, "tags", "a b"));
    expect(made.status).toBe(201);
    expect(made.body).toEqual({ name: "a b", ...TIMES });
    expect(await metadefs.get(at(name, "tags", "a b"))).toEqual(made.body);
    const renamed = await metadefs.put(at(name, "tags", "a b"), { name: "c" });
    expect(renamed.status).toBe(200);
    expect(renamed.body).toEqual({ ...made.body, name: "c", updated_at: expect.any(String) });
    expect((await metadefs.call(admin, "GET", at(name, "tags", "a b"))).status).toBe(404);
    expect(await metadefs.delete(at(name, "tags", "c"))).toBe(204);
    expect(await metadefs.delete(at(name, "tags", "c"))).toBe(404);
  });

  it("MT-1, MN-47: is there once, and has 80 characters at the most", async () => {
    const name = await metadefs.create();
    expect((await metadefs.post(at(name, "tags", "t"))).status).toBe(201);
    expect((await metadefs.post(at(name, "tags", "t"))).status).toBe(409);
    expect((await metadefs.post(at(name, "tags", "😀".repeat(80)))).status).toBe(201);
    expect((await metadefs.post(at(name, "tags", "t".repeat(81)))).status).toBe(400);
    expect(await tagsOf(name)).toHaveLength(2);
  });

  it("MT-8, MN-37: is made without a body, shown and deleted without one", async () => {
    const name = await metadefs.create(FULL);
    for (const method of ["POST", "DELETE"]) {
      const { status } = await metadefs.call(admin, method, at(name, "tags", "first"), {
        json: {},
      });
      expect(status).toBe(400);
    }
    const headers = { "content-length": "2" };
    const path = at(name, "tags", "first");
    expect((await metadefs.call(admin, "GET", path, { headers })).status).toBe(400);
  });

  it("MT-9, MT-13: takes a name alone for another", async () => {
    const name = await metadefs.create(FULL);
    const put = async (tag: string, json: object) =>
      (await metadefs.put(at(name, "tags", tag), json)).status;
    expect(await put("first", { name: "x", zzz: 1 })).toBe(400);
    expect(await put("first", {})).toBe(400);
    expect(await put("first", { name: "a/b" })).toBe(400);
    expect(await put("first", { name: "x", created_at: "x" })).toBe(403);
    expect(await put("first", { name: "second" })).toBe(409);
    expect(await put("nothing", { name: "x" })).toBe(404);
    expect(await put("first", { name: "first" })).toBe(200);
    expect(await tagsOf(name)).toEqual(["second", "first"]);
  });

  it("MT-14: stays in a protected namespace", async () => {
    const name = await metadefs.create({ ...FULL, protected: true });
    expect(await metadefs.delete(at(name, "tags", "first"))).toBe(403);
  });
});

describe("POST tags", () => {
  it("MT-2, MT-3, MN-31: makes many, in place of those that were there", async () => {
    const name = await metadefs.create(FULL);
    const { status, body } = await metadefs.post(at(name, "tags"), { tags: named("a", "b") });
    expect(status).toBe(201);
    expect(body).toEqual({ tags: named("a", "b") });
    expect(await tagsOf(name)).toEqual(["b", "a"]);
  });

  it.each(["true", "True", "1", "yes", "Y", "t", "ON"])(
    "MT-4: with X-Openstack-Append: %s adds them",
    async (append) => {
      const name = await metadefs.create({ tags: named("old") });
      const headers = { "x-openstack-append": append };
      const json = { tags: named("new") };
      const { status } = await metadefs.call(admin, "POST", at(name, "tags"), { json, headers });
      expect(status).toBe(201);
      expect(await tagsOf(name)).toEqual(["new", "old"]);
    },
  );

  it.each(["false", "0", "no", "", "maybe"])("MT-4: %j is no yes", async (append) => {
    const name = await metadefs.create({ tags: named("old") });
    const headers = { "x-openstack-append": append };
    await metadefs.call(admin, "POST", at(name, "tags"), { json: { tags: named("new") }, headers });
    expect(await tagsOf(name)).toEqual(["new"]);
  });

  it("MT-5: with one that is there twice is 409, and changes nothing", async () => {
    const name = await metadefs.create({ tags: named("old") });
    const headers = { "x-openstack-append": "true" };
    for (const [tags, more] of [
      [named("a", "a"), {}],
      [named("a", "a"), { headers }],
      [named("a", "old"), { headers }],
    ] as const) {
      const options = { json: { tags }, ...more };
      expect((await metadefs.call(admin, "POST", at(name, "tags"), options)).status).toBe(409);
    }
    expect(await tagsOf(name)).toEqual(["old"]);
    expect((await metadefs.post(at(name, "tags"), { tags: named("a", "old") })).status).toBe(201);
  });

  it("MT-6: with an empty list changes nothing", async () => {
    const name = await metadefs.create(FULL);
    const { status, body } = await metadefs.post(at(name, "tags"), { tags: [] });
    expect([status, body]).toEqual([201, { tags: [] }]);
    expect(await tagsOf(name)).toEqual(["second", "first"]);
  });

  it.each([
    ["MT-7: no tags", {}],
    ["MT-2: another key of a tag", { tags: [{ name: "a", zzz: 1 }] }],
    ["MT-2: another key", { tags: [], zzz: 1 }],
    ["MT-2: a tag without name", { tags: [{}] }],
    ["MT-2: names alone", { tags: ["a"] }],
    ["MN-11: an empty name", { tags: named("") }],
    ["MN-7: a long name", { tags: named("t".repeat(81)) }],
  ])("%s is 400, and changes nothing", async (_, json) => {
    const name = await metadefs.create(FULL);
    expect((await metadefs.post(at(name, "tags"), json)).status).toBe(400);
    expect(await tagsOf(name)).toEqual(["second", "first"]);
  });

  it("MT-10: one stands under add_metadef_tag, many under add_metadef_tags", async () => {
    const name = await metadefs.create();
    const many = { json: { tags: named("a") } };
    for (const [rule, one, all] of [
      ["add_metadef_tag", 403, 201],
      ["add_metadef_tags", 201, 403],
    ] as const) {
      const settings = { POLICY: JSON.stringify({ [rule]: "!" }) };
      const denied = new Service({ settings });
      const single = await denied.call(admin, "POST", at(name, "tags", `one-${rule}`));
      expect(single.status).toBe(one);
      expect((await denied.call(admin, "POST", at(name, "tags"), many)).status).toBe(all);
    }
  });
});

describe("GET tags", () => {
  it("MT-11: gives names alone, the newest first, to everybody who sees them", async () => {
    const name = await metadefs.create({ visibility: "public", tags: named("b", "c", "a") });
    expect(await metadefs.get(at(name, "tags"), owner)).toEqual({ tags: named("a", "c", "b") });
  });

  it("MT-12: all of them, or as many as are asked for, in an order, from a marker on", async () => {
    const many = Array.from({ length: 30 }, (_, n) => `t${String(n).padStart(2, "0")}`);
    const name = await metadefs.create({ tags: named(...many) });
    expect(await tagsOf(name)).toEqual(many.toReversed());
    expect(await tagsOf(name, "?sort_key=name&sort_dir=asc&limit=2")).toEqual(["t00", "t01"]);
    expect(await tagsOf(name, "?sort_key=name&sort_dir=asc&limit=2&marker=t01")).toEqual([
      "t02",
      "t03",
    ]);
    expect(await tagsOf(name, "?sort_key=name&limit=2&marker=t02")).toEqual(["t01", "t00"]);
    expect(await tagsOf(name, "?sort_key=created_at&sort_dir=asc&limit=1")).toEqual(["t00"]);
    expect(await tagsOf(name, "?marker=t00")).toEqual([]);
    expect(await tagsOf(name, "?limit=0&visibility=private&zzz=1")).toEqual([]);
  });

  it.each([
    ["limit=-1", 400],
    ["limit=x", 400],
    ["sort_key=zzz", 400],
    ["sort_dir=up", 400],
    ["visibility=shared", 400],
    ["marker=nothing", 404],
  ])("MT-12: refuses %s", async (query, status) => {
    const name = await metadefs.create(FULL);
    expect((await metadefs.call(admin, "GET", `${at(name, "tags")}?${query}`)).status).toBe(status);
  });
});

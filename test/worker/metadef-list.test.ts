import { describe, expect, it } from "vitest";
import { admin, owner, stranger } from "../support/callers.ts";
import { at, CONTENT, Metadefs, NAMESPACES } from "../support/metadefs.ts";
import { Service } from "../support/service.ts";

const metadefs = new Metadefs(new Service());

const namesIn = (body: { namespaces: { namespace: string }[] }) =>
  body.namespaces.map(({ namespace }) => namespace);

/** A resource type of its own, and namespaces that are for it. */
async function family(...parts: object[]): Promise<{ type: string; names: string[] }> {
  const type = `OS::Test::${crypto.randomUUID()}`;
  const names: string[] = [];
  for (const part of parts) {
    const associations = [{ name: type, prefix: "x_" }];
    names.push(await metadefs.create({ resource_type_associations: associations, ...part }));
  }
  return { type, names: names.sort() };
}

describe("GET namespaces", () => {
  it("MN-72, MN-73: has what a namespace has itself and its resource types, and the address of the list", async () => {
    const { type, names } = await family(CONTENT, {});
    const body = await metadefs.get(`${NAMESPACES}?resource_types=${type}`);
    const { properties, objects, tags, ...shown } = await metadefs.get(at(names[0] ?? ""));
    expect(body).toEqual({
      namespaces: expect.arrayContaining([shown]),
      first: `${NAMESPACES}?resource_types=${encodeURIComponent(type)}`,
      schema: "/v2/schemas/metadefs/namespaces",
    });
    expect(body.namespaces).toHaveLength(2);
  });

  it("MN-65, MN-73: goes on from page to page by the names it gives", async () => {
    const { type, names } = await family({}, {}, {});
    const parameters = `sort_key=namespace&sort_dir=asc&resource_types=${type}&zzz=a+b`;
    const first = await metadefs.get(`${NAMESPACES}?${parameters}&limit=2`);
    expect(namesIn(first)).toEqual(names.slice(0, 2));
    const sent = new URLSearchParams(`${parameters}&limit=2`);
    expect(first.first).toBe(`${NAMESPACES}?${sent}`);
    expect(first.next).toBe(`${NAMESPACES}?${sent}&marker=${encodeURIComponent(names[1] ?? "")}`);
    const second = await metadefs.get(first.next);
    expect(namesIn(second)).toEqual(names.slice(2));
    expect(second).not.toHaveProperty("next");
    const full = await metadefs.get(`${NAMESPACES}?${parameters}&limit=3`);
    expect(namesIn(await metadefs.get(full.next))).toEqual([]);
  });

  it("MN-64, MN-70: an empty page has no next, and parameters that nobody knows change nothing", async () => {
    const { type, names } = await family({}, {});
    const empty = await metadefs.get(`${NAMESPACES}?limit=0&namespace=${names[0]}`);
    expect(empty.namespaces).toEqual([]);
    expect(empty).not.toHaveProperty("next");
    const body = await metadefs.get(`${NAMESPACES}?resource_types=${type}&namespace=${names[0]}`);
    expect(body.namespaces).toHaveLength(2);
  });

  it.each([
    ["MN-64", "limit=-1", 400],
    ["MN-64", "limit=many", 400],
    ["MN-65", "marker=nowhere", 404],
    ["MN-66", "sort_key=colour", 400],
    ["MN-67", "sort_dir=up", 400],
    ["MN-68", "visibility=shared", 400],
  ])("%s: refuses %s", async (_, query, status) => {
    expect((await metadefs.call(admin, "GET", `${NAMESPACES}?${query}`)).status).toBe(status);
  });

  it("MN-38: takes no notice of a body", async () => {
    const headers = { "content-length": "2" };
    for (const path of [
      NAMESPACES,
      at(await metadefs.create(), "objects"),
      at(await metadefs.create(), "tags"),
    ]) {
      expect((await metadefs.call(admin, "GET", path, { headers })).status).toBe(200);
    }
    for (const path of [
      at("x"),
      at("x", "properties"),
      at("x", "objects", "o"),
      at("x", "resource_types"),
      "/v2/metadefs/resource_types",
    ]) {
      expect((await metadefs.call(admin, "GET", path, { headers })).status, `MN-37 ${path}`).toBe(
        400,
      );
    }
  });

  it("MN-71, MN-74: a page is full of what its reader may see", async () => {
    const hidden = { owner: "nobody" };
    const { type, names } = await family(hidden, { visibility: "public" }, hidden, {
      owner: owner.projectId,
    });
    const page = `${NAMESPACES}?resource_types=${type}&limit=2`;
    expect(namesIn(await metadefs.get(page, owner))).toHaveLength(2);
    expect(namesIn(await metadefs.get(page, stranger))).toHaveLength(1);
    expect(namesIn(await metadefs.get(`${NAMESPACES}?resource_types=${type}`)).sort()).toEqual(
      names,
    );
  });

  it("MN-69: has those of any of several resource types, each once", async () => {
    const one = await family({});
    const other = await family({}, {});
    const both = await metadefs.create({
      resource_type_associations: [{ name: one.type }, { name: other.type }],
    });
    const body = await metadefs.get(
      `${NAMESPACES}?resource_types=${one.type},OS::No,${other.type}`,
    );
    expect(namesIn(body).sort()).toEqual([...one.names, ...other.names, both].sort());
  });
});

describe("include", () => {
  it("brings everything in the namespaces along, in one call", async () => {
    const { type, names } = await family(CONTENT, { visibility: "public" });
    const path = `${NAMESPACES}?resource_types=${type}&include=properties,objects,tags`;
    const { namespaces } = await metadefs.get(path, owner);
    const whole = await Promise.all(names.map((name) => metadefs.get(at(name))));
    expect(namespaces).toHaveLength(2);
    expect(namespaces).toEqual(expect.arrayContaining(whole));
  });

  it("brings what was asked for, and refuses what there is not", async () => {
    const { type } = await family(CONTENT);
    const { namespaces, first } = await metadefs.get(
      `${NAMESPACES}?resource_types=${type}&include=tags`,
    );
    expect(namespaces[0]).toMatchObject({ tags: [{ name: "second" }, { name: "first" }] });
    expect(namespaces[0]).not.toHaveProperty("properties");
    expect(first).toContain("include=tags");
    expect((await metadefs.call(admin, "GET", `${NAMESPACES}?include=colour`)).status).toBe(400);
  });

  it.each(["properties", "objects", "tags"])(
    "leaves out %s that the reader may not list",
    async (part) => {
      const { type } = await family(CONTENT);
      const settings = { POLICY: JSON.stringify({ [`get_metadef_${part}`]: "!" }) };
      const denying = new Metadefs(new Service({ settings }));
      const path = `${NAMESPACES}?resource_types=${type}&include=properties,objects,tags`;
      const { namespaces } = await denying.get(path, owner);
      expect(namespaces[0]).not.toHaveProperty(part);
      const others = ["properties", "objects", "tags"].filter((other) => other !== part);
      for (const other of others) expect(namespaces[0]).toHaveProperty(other);
    },
  );

  it("has pages of 50 at the most", async () => {
    const { type } = await family(...Array.from({ length: 51 }, () => ({})));
    const path = `${NAMESPACES}?resource_types=${type}&limit=1000&include=tags`;
    const page = await metadefs.get(path);
    expect(page.namespaces).toHaveLength(50);
    expect((await metadefs.get(page.next)).namespaces).toHaveLength(1);
  });
});

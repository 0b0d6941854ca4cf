import { env } from "cloudflare:workers";
import { describe, expect, it } from "vitest";
import { admin, owner } from "../support/callers.ts";
import { at, FULL, Metadefs, NAMESPACES } from "../support/metadefs.ts";
import { Service } from "../support/service.ts";

const metadefs = new Metadefs(new Service());

const TIMES = { created_at: expect.any(String), updated_at: expect.any(String) };
const unique = () => `OS::Test::${crypto.randomUUID()}`;

async function types(): Promise<string[]> {
  const { resource_types } = await metadefs.get("/v2/metadefs/resource_types", owner);
  return resource_types.map(({ name }: { name: string }) => name);
}

describe("associations", () => {
  it("MR-2, MR-3, MR-4, MN-5, MN-6, MN-33: are made, of a resource type that nobody knew, and listed", async () => {
    const name = await metadefs.create({ visibility: "public" });
    const json = { name: unique(), prefix: "hw:", properties_target: "scheduler_hints" };
    const { status, body } = await metadefs.post(at(name, "resource_types"), json);
    expect(status).toBe(201);
    expect(body).toEqual({ ...json, ...TIMES });
    const short = await metadefs.post(at(name, "resource_types"), { name: unique() });
    expect(short.body).toEqual({ name: expect.any(String), ...TIMES });
    expect(await metadefs.get(at(name, "resource_types"), owner)).toEqual({
      resource_type_associations: [body, short.body],
    });
    expect(await types()).toContain(json.name);
  });

  it("MR-9: any text is a target", async () => {
    const name = await metadefs.create();
    for (const properties_target of ["image", "metadata", "scheduler_hints", "whatever", ""]) {
      const json = { name: unique(), properties_target };
      const { status, body } = await metadefs.post(at(name, "resource_types"), json);
      expect([status, body.properties_target]).toEqual([201, properties_target]);
    }
  });

  it("MR-5: a pair is there once", async () => {
    const name = await metadefs.create(FULL);
    const json = { name: "OS::Test::Image", prefix: "other_" };
    expect((await metadefs.post(at(name, "resource_types"), json)).status).toBe(409);
    const { resource_type_associations } = await metadefs.get(at(name, "resource_types"));
    expect(resource_type_associations[0].prefix).toBe("hw_");
  });

  it("MR-6, MN-34: go, and their type stays; not out of a protected namespace", async () => {
    const type = unique();
    const name = await metadefs.create({
      protected: true,
      resource_type_associations: [{ name: type }],
    });
    const path = at(name, "resource_types", type);
    expect(await metadefs.delete(path)).toBe(403);
    await metadefs.put(at(name), { namespace: name });
    expect(await metadefs.delete(path)).toBe(204);
    expect(await metadefs.delete(path)).toBe(404);
    expect(await types()).toContain(type);
    expect((await metadefs.get(`${NAMESPACES}?resource_types=${type}`)).namespaces).toEqual([]);
  });

  it.each([
    ["MR-3: no name", {}, 400],
    ["MN-43: another key", { name: "OS::X", zzz: 1 }, 400],
    ["MN-7: a long name", { name: "x".repeat(81) }, 400],
    ["MN-7: a long prefix", { name: "OS::X", prefix: "x".repeat(81) }, 400],
    ["MN-7: a long target", { name: "OS::X", properties_target: "x".repeat(81) }, 400],
    ["MN-12: a slash", { name: "OS/X" }, 400],
    ["MN-41: a null", { name: "OS::X", prefix: null }, 400],
    ["MN-44: created_at", { name: "OS::X", created_at: "x" }, 403],
    ["MN-44: updated_at", { name: "OS::X", updated_at: "x" }, 403],
  ])("%s is refused, and makes nothing", async (_, json, status) => {
    const name = await metadefs.create();
    expect((await metadefs.post(at(name, "resource_types"), json)).status).toBe(status);
    expect((await metadefs.get(at(name, "resource_types"))).resource_type_associations).toEqual([]);
  });

  it("MR-7, MR-8: are changed by no call, and types are neither made nor deleted by one", async () => {
    const name = await metadefs.create(FULL);
    const one = at(name, "resource_types", "OS::Test::Image");
    for (const [method, path, allow] of [
      ["PUT", one, "DELETE"],
      ["GET", one, "DELETE"],
      ["POST", "/v2/metadefs/resource_types", "GET"],
    ] as const) {
      const { status, headers } = await metadefs.call(admin, method, path);
      expect([status, headers.get("allow")]).toEqual([405, allow]);
    }
    const type = "/v2/metadefs/resource_types/OS::Test::Image";
    expect((await metadefs.call(admin, "DELETE", type)).status).toBe(404);
  });
});

describe("GET resource_types", () => {
  it("MR-1, MN-35: gives each once, by name, as old as its first association", async () => {
    const type = unique();
    const part = { resource_type_associations: [{ name: type, prefix: "a_" }] };
    const first = await metadefs.create(part);
    await metadefs.create(part);
    await metadefs.delete(at(first));
    const { resource_types } = await metadefs.get("/v2/metadefs/resource_types?limit=1");
    const found = resource_types.filter((one: { name: string }) => one.name === type);
    expect(found).toEqual([{ name: type, ...TIMES }]);
    const names = await types();
    expect(names).toEqual([...names].sort());
  });

  it("are 1,000 at the most: one more is 413, and changes nothing", async () => {
    await env.DB.prepare(
      `WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 1000)
       INSERT INTO metadef_resource_types (name, created_at, updated_at)
       SELECT 'filler ' || i, 0, 0 FROM n LIMIT 1000 - (SELECT count(*) FROM metadef_resource_types)`,
    ).run();
    const name = await metadefs.create();
    const known = { name: "filler 1" };
    expect((await metadefs.post(at(name, "resource_types"), known)).status).toBe(201);
    const { status, body } = await metadefs.post(at(name, "resource_types"), { name: unique() });
    expect(status).toBe(413);
    expect(body).toContain("1000");
    const { resource_type_associations } = await metadefs.get(at(name, "resource_types"));
    expect(resource_type_associations).toHaveLength(1);
    expect(await types()).toHaveLength(1000);
    await env.DB.prepare("DELETE FROM metadef_resource_types WHERE name LIKE 'filler %'").run();
  });
});

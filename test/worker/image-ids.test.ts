import { env } from "cloudflare:workers";
import { describe, expect, it } from "vitest";
import { routes } from "../../src/routes.ts";
import { CachedService } from "../support/cached-service.ts";
import { admin, member, owner } from "../support/callers.ts";
import { TWO_BUCKETS } from "../support/stores.ts";
import { Tus } from "../support/tus.ts";

// LIM-17, SHO-2: a UUID in capitals is the same UUID.

const service = new CachedService({
  STORES: JSON.stringify(TWO_BUCKETS),
});

const stream = { "content-type": "application/octet-stream" };

describe("LIM-17: an image asked for in capitals", () => {
  it("is the same on every route of one image", async () => {
    const { id } = await service.createActive(owner, "0123456789");
    const capitals = id.toUpperCase();
    const answers: Record<string, number> = {};
    for (const { method, path } of routes) {
      if (!path.includes(":image_id") || method === "DELETE") continue;
      const at = (spelling: string) =>
        path.replace(":image_id", spelling).replace(/:\w+/, "something");
      const ask = async (spelling: string) => {
        const response = await service.call(admin, method, at(spelling));
        const text = await response.text();
        return { status: response.status, text: text.replace(/req-[\w-]+/g, "") };
      };
      const [given, asCapitals] = [await ask(id), await ask(capitals)];
      answers[`${method} ${path}`] = given.status;
      // An update of the same by the second call may change a time.
      expect([method, path, asCapitals.status]).toEqual([method, path, given.status]);
      expect(asCapitals.text).not.toContain(capitals);
    }
    expect(Object.values(answers)).toContain(200);
    expect((await service.call(owner, "DELETE", `/v2/images/${capitals}`)).status).toBe(204);
    expect((await service.call(owner, "GET", `/v2/images/${id}`)).status).toBe(404);
  });

  it("takes its data, tags, members and resumable uploads, of one object", async () => {
    const { id } = await service.createEmpty(owner, { visibility: "shared" });
    const path = `/v2/images/${id.toUpperCase()}`;
    const upload = await new Tus(service).create(owner, id.toUpperCase(), {
      "upload-length": "10",
    });
    expect(upload).toContain(id);
    const taken = await service.call(owner, "PUT", `${path}/file`, {
      body: "data",
      headers: stream,
    });
    expect(taken.status).toBe(204);
    await service.call(owner, "PUT", `${path}/tags/blue`);
    await service.call(owner, "POST", `${path}/members`, { json: { member: member.projectId } });
    expect(await service.show(owner, id)).toMatchObject({ id, status: "active", tags: ["blue"] });
    const members = await service.call(owner, "GET", `/v2/images/${id}/members`);
    expect(await members.json()).toMatchObject({ members: [{ image_id: id }] });
  });

  it("is found by the filter and the marker of lists", async () => {
    const [first, second] = [await service.create(owner), await service.create(owner)];
    const idsOf = async (query: string) => {
      const response = await service.call(owner, "GET", `/v2/images?${query}`);
      const { images } = await response.json<{ images: { id: string }[] }>();
      return images.map(({ id }) => id);
    };
    expect(await idsOf(`id=${first.id.toUpperCase()}`)).toEqual([first.id]);
    expect(await idsOf(`id=in:${first.id.toUpperCase()},${second.id}&sort=created_at:asc`)).toEqual(
      [first.id, second.id],
    );
    expect(await idsOf(`marker=${second.id.toUpperCase()}&limit=1`)).toEqual([first.id]);
    const tasks = await service.call(admin, "GET", `/v2/tasks?image_id=${first.id.toUpperCase()}`);
    expect(tasks.status).toBe(200);
  });
});

describe("LIM-17: an image that was stored with capitals", () => {
  const migration = env.TEST_MIGRATIONS.find(({ name }) => name.includes("image_ids"));

  /** Puts the letters of an image's id, as rows of earlier versions have them, in capitals. */
  async function respell(id: string, tables: readonly string[]): Promise<void> {
    await env.DB.batch([
      env.DB.prepare("PRAGMA defer_foreign_keys = on"),
      env.DB.prepare("UPDATE images SET id = upper(id) WHERE id = ?").bind(id),
      ...tables.map((table) =>
        env.DB.prepare(`UPDATE ${table} SET image_id = upper(image_id) WHERE image_id = ?`).bind(
          id,
        ),
      ),
    ]);
  }

  const TABLES = ["image_tags", "image_properties", "image_members", "tasks", "cache_entries"];
  const migrate = () => env.DB.batch((migration?.queries ?? []).map((sql) => env.DB.prepare(sql)));

  it("answers, with all that is its own, in both spellings", async () => {
    const { id } = await service.createActive(owner, "0123456789", {
      visibility: "shared",
      tags: ["old"],
      colour: "red",
    });
    const path = `/v2/images/${id}`;
    await service.call(owner, "POST", `${path}/members`, { json: { member: member.projectId } });
    await (await service.call(owner, "GET", `${path}/file`)).arrayBuffer();
    await respell(id, TABLES);
    expect((await service.call(owner, "GET", path)).status).toBe(404);
    await migrate();
    for (const spelling of [id, id.toUpperCase()]) {
      expect(await service.show(owner, spelling)).toMatchObject({
        id,
        tags: ["old"],
        colour: "red",
      });
      const file = await service.call(owner, "GET", `/v2/images/${spelling}/file`);
      expect(await file.text()).toBe("0123456789");
      expect((await service.call(member, "GET", `/v2/images/${spelling}/members`)).status).toBe(
        200,
      );
    }
    const found = await service.call(owner, "GET", `/v2/images?tag=old&colour=red&id=${id}`);
    expect(await found.json()).toMatchObject({ images: [{ id }] });
    expect((await service.call(owner, "DELETE", path)).status).toBe(204);
  });

  it("stays as it is where its spelling in small letters is another's", async () => {
    const { id } = await service.create(owner, { name: "capital", tags: ["twin"] });
    await respell(id, TABLES);
    const twin = await service.create(owner, { id, name: "small" });
    await migrate();
    expect(await service.show(owner, twin.id)).toMatchObject({ name: "small", tags: [] });
    const names = await service.call(owner, "GET", "/v2/images?name=capital");
    expect(await names.json()).toMatchObject({
      images: [{ id: id.toUpperCase(), tags: ["twin"] }],
    });
  });
});

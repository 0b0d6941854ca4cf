import { env } from "cloudflare:workers";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { openDatabase } from "../../src/db/database.ts";
import { countLapse } from "../../src/db/metrics.ts";
import { admin, type Caller, member, owner, ownersReader } from "../support/callers.ts";
import { CountingService } from "../support/counting.ts";
import { beginImport, stage } from "../support/imports.ts";
import { Service } from "../support/service.ts";
import { TestedObject } from "../support/tested-object.ts";

const service = new Service();

async function scrape(caller: Caller = admin, at: Service = service): Promise<string> {
  const response = await at.call(caller, "GET", "/metrics");
  expect(response.status).toBe(200);
  return response.text();
}

/** One sample's value; 0 while there is none. */
function valueIn(text: string, sample: string): number {
  const line = text.split("\n").find((one) => one.startsWith(`${sample} `));
  return line === undefined ? 0 : Number(line.slice(sample.length + 1));
}

/** By how much samples grow over some work. */
async function growth(samples: readonly string[], work: () => Promise<unknown>): Promise<number[]> {
  const before = await scrape();
  await work();
  const after = await scrape();
  return samples.map((sample) => valueIn(after, sample) - valueIn(before, sample));
}

describe("who may read /metrics", () => {
  it.each([
    [null, 401],
    [owner, 403],
    [ownersReader, 403],
    [admin, 200],
  ])("%#: by role", async (caller, status) => {
    for (const method of ["GET", "HEAD"]) {
      expect((await service.call(caller, method, "/metrics")).status).toBe(status);
    }
  });

  it("a token in Authorization, as Prometheus sends it", async () => {
    const ask = async (authorization: string) =>
      (await service.call(null, "GET", "/metrics", { headers: { authorization } })).status;
    expect(await ask(`Bearer ${await admin.token()}`)).toBe(200);
    expect(await ask(`bearer ${await admin.token()}`)).toBe(200);
    expect(await ask(`Bearer ${await owner.token()}`)).toBe(403);
    expect(await ask("Bearer nonsense")).toBe(401);
    expect(await ask(`Basic ${await admin.token()}`)).toBe(401);
    // Of the rest of the API it opens nothing.
    const headers = { authorization: `Bearer ${await admin.token()}` };
    expect((await service.call(null, "GET", "/v2/images", { headers })).status).toBe(401);
  });

  it("whom the operator's rule lets", async () => {
    const open = new Service({ settings: { POLICY: '{"get_metrics": "role:reader"}' } });
    await scrape(ownersReader, open);
  });

  it("with GET and HEAD only", async () => {
    const response = await service.call(admin, "POST", "/metrics");
    expect([response.status, response.headers.get("allow")]).toEqual([405, "GET, HEAD"]);
  });
});

describe("what /metrics tells", () => {
  it("is Prometheus text, with a type and a help line for each name", async () => {
    await service.createActive(owner, "0123456789");
    const response = await service.call(admin, "GET", "/metrics");
    expect(response.headers.get("content-type")).toBe("text/plain; version=0.0.4; charset=utf-8");
    const text = await response.text();
    expect(text.endsWith("\n")).toBe(true);
    const names = new Set<string>();
    for (const line of text.trimEnd().split("\n")) {
      const head = /^# (?:HELP|TYPE) (\w+) \S/.exec(line);
      if (head?.[1] !== undefined) names.add(head[1]);
      else {
        const sample = /^(\w+)(?:\{(?:\w+="(?:[^"\\\n]|\\[\\"n])*",?)+\})? \d+$/.exec(line);
        expect(names, line).toContain(sample?.[1]);
      }
    }
    expect(text).toContain("openstack_glance_up 1\n");
  });

  it("counts images and their bytes", async () => {
    const samples = [
      "openstack_glance_images",
      `openstack_glance_image_bytes{tenant_id="${owner.projectId}"}`,
      'glimpse_images{status="active",visibility="private"}',
      'glimpse_stored_bytes{visibility="private"}',
      `glimpse_project_images{tenant_id="${owner.projectId}"}`,
    ];
    let id = "";
    expect(
      await growth(samples, async () => {
        ({ id } = await service.createActive(owner, "0123456789", { visibility: "private" }));
      }),
    ).toEqual([1, 10, 1, 10, 1]);
    expect(await growth(samples, () => service.call(owner, "DELETE", `/v2/images/${id}`))).toEqual([
      -1, -10, -1, -10, -1,
    ]);
  });

  it("counts uploads and how they end", async () => {
    const samples = ["success", "failure"].map(
      (result) => `glimpse_uploads_total{way="file",result="${result}"}`,
    );
    const { id } = await service.createEmpty(owner);
    const short = { "content-length": "4", "content-md5": "AAAAAAAAAAAAAAAAAAAAAA==" };
    expect(await growth(samples, () => service.upload(owner, id, "data", short))).toEqual([0, 1]);
    expect(await growth(samples, () => service.upload(owner, id, "data"))).toEqual([1, 0]);
  });

  it("counts what was staged, and what could not be", async () => {
    const samples = ["success", "failure"].map(
      (result) => `glimpse_uploads_total{way="stage",result="${result}"}`,
    );
    const { id } = await service.createEmpty(owner);
    const wrong = { "content-md5": "AAAAAAAAAAAAAAAAAAAAAA==" };
    expect(await growth(samples, () => stage(service, owner, id, "data", wrong))).toEqual([0, 1]);
    expect(await growth(samples, () => stage(service, owner, id, "data"))).toEqual([1, 0]);
    const importing = async () => {
      await beginImport(service, owner, id, "glance-direct");
      await new TestedObject(id).ringAll(service.env);
    };
    expect(await growth(samples, importing)).toEqual([0, 0]);
    expect(await service.show(owner, id)).toMatchObject({ status: "active" });
  });

  it("counts imports, uploads by tus and added locations by their tasks, once", async () => {
    const method = (name: string) => JSON.stringify({ import_req: { method: { name } } });
    const put = (id: string, input: string | null, status: string) =>
      env.DB.prepare(
        `INSERT INTO tasks (id, type, status, input, created_at, updated_at)
           VALUES (?, 'location_import', ?, ?, 0, 0)`,
      )
        .bind(id, status, input)
        .run();
    const end = (id: string, status: string) =>
      env.DB.prepare("UPDATE tasks SET status = ? WHERE id = ?").bind(status, id).run();
    const samples = [
      'glimpse_imports_total{method="web-download",result="success"}',
      'glimpse_imports_total{method="location_import",result="failure"}',
      'glimpse_uploads_total{way="resumable-upload",result="failure"}',
      'glimpse_imports_total{method="resumable-upload",result="failure"}',
    ];
    expect(
      await growth(samples, async () => {
        await put("task-1", method("web-download"), "pending");
        await put("task-2", null, "processing");
        await put("task-3", method("resumable-upload"), "failure");
        await end("task-1", "processing");
        await end("task-1", "success");
        await end("task-2", "failure");
        // What has ended stays so.
        await end("task-1", "failure");
      }),
    ).toEqual([1, 1, 1, 0]);
  });

  it("counts uploads whose time ran out", async () => {
    const sample = 'glimpse_upload_leases_expired_total{way="stage"}';
    expect(await growth([sample], () => countLapse(openDatabase(env.DB), "stage"))).toEqual([1]);
    expect(await growth([sample], () => countLapse(openDatabase(env.DB), "stage"))).toEqual([1]);
  });

  it("has what stands in a project's id as text", async () => {
    const text = await growthText('a"b\\c\nd');
    expect(text).toContain('glimpse_project_images{tenant_id="a\\"b\\\\c\\nd"} 1\n');
  });

  async function growthText(project: string): Promise<string> {
    await env.DB.prepare(
      `INSERT INTO images (id, status, visibility, owner, created_at, updated_at)
         VALUES (?, 'queued', 'private', ?, 0, 0)`,
    )
      .bind(crypto.randomUUID(), project)
      .run();
    return scrape();
  }

  it("costs one round trip, and rows by the number of projects and not of images", async () => {
    const counting = new CountingService();
    const cost = () => counting.costOf(() => counting.call(admin, "GET", "/metrics"));
    const before = await cost();
    expect(before).toMatchObject({ d1: 1, r2: [], objects: [] });
    await env.DB.prepare(
      `WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 300)
       INSERT INTO images (id, status, visibility, owner, created_at, updated_at)
       SELECT lower(hex(randomblob(16))), 'queued', 'private', ?, i, i FROM n`,
    )
      .bind(owner.projectId)
      .run();
    expect((await cost()).rowsRead).toBeLessThanOrEqual(before.rowsRead + 6);
  });
});

it("the counts are those of the images, whatever was done to them", async () => {
  const step = fc.oneof(
    fc.record({ do: fc.constant("create" as const), who: fc.constantFrom(owner, member) }),
    fc.record({
      do: fc.constantFrom("upload", "delete", "deactivate", "reactivate", "publish", "hide"),
    }),
  );
  await fc.assert(
    fc.asyncProperty(fc.array(step, { maxLength: 12 }), async (steps) => {
      const ids: string[] = [];
      for (const [n, one] of steps.entries()) {
        const id = ids[n % Math.max(1, ids.length)] ?? "";
        const path = `/v2/images/${id}`;
        const replace = (path: string, value: unknown) => [{ op: "replace", path, value }];
        switch (one.do) {
          case "create":
            ids.push((await service.createEmpty("who" in one ? one.who : owner)).id);
            break;
          case "upload":
            await service.upload(admin, id, "x".repeat(n));
            break;
          case "delete":
            await service.call(admin, "DELETE", path);
            break;
          case "publish":
            await service.call(admin, "PATCH", path, { patch: replace("/visibility", "public") });
            break;
          case "hide":
            await service.call(admin, "PATCH", path, { patch: replace("/os_hidden", true) });
            break;
          default:
            await service.call(admin, "POST", `${path}/actions/${one.do}`);
        }
      }
      const [kept, counted] = await env.DB.batch([
        env.DB.prepare("SELECT * FROM image_counts WHERE images > 0 ORDER BY status, visibility"),
        env.DB.prepare(
          `SELECT status, visibility, count(*) AS images, sum(coalesce(size, 0) * json_array_length(locations)) AS bytes
             FROM images WHERE status NOT IN ('deleted', 'killed') GROUP BY status, visibility
             ORDER BY status, visibility`,
        ),
      ]);
      expect(kept?.results).toEqual(counted?.results);
    }),
    { numRuns: 15 },
  );
});

import { env } from "cloudflare:workers";
import { beforeAll, describe, expect, it } from "vitest";
import { type Caller, member, owner } from "../support/callers.ts";
import { CountingService } from "../support/counting.ts";
import type { CallOptions } from "../support/service.ts";
import { bytesOf } from "../support/upload-body.ts";

// What calls may cost, counted and not timed: round trips to D1, calls of image objects, operations of R2.

const MiB = 1024 ** 2;
const service = new CountingService();

function costOf(method: string, path: string, options: CallOptions = {}, caller: Caller = owner) {
  return service.costOf(async () => {
    const response = await service.call(caller, method, path, options);
    expect(response.status, `${method} ${path}`).toBeLessThan(300);
    await response.arrayBuffer();
  });
}

const FREE = { d1: 0, objects: [], r2: [] };

let activeId: string;
let sharedId: string;

beforeAll(async () => {
  activeId = (await service.createActive(owner, "0123456789")).id;
  sharedId = (await service.createShared(owner, member, "accepted")).id;
});

describe("reads", () => {
  it("cost nothing for a valid token as such", async () => {
    expect(await costOf("GET", "/v2/schemas/image")).toMatchObject(FREE);
  });

  it.each([
    ["GET", () => `/v2/images/${activeId}`],
    ["HEAD", () => `/v2/images/${activeId}`],
    ["GET", () => `/v2/images/${sharedId}/members`],
    ["GET", () => `/v2/images/${sharedId}/members/${member.projectId}`],
    ["GET", () => "/v2/images"],
    ["GET", () => `/v2/images?marker=${activeId}&limit=1`],
    ["GET", () => "/v2/images?status=active&tag=x&sort=name:desc"],
  ])("take one round trip to D1: %s %s", async (method, path) => {
    expect(await costOf(method, path())).toMatchObject({ ...FREE, d1: 1 });
  });

  it.each([{}, { range: "bytes=2-5" }])(
    "take one operation of R2 more for an image's bytes, headers %j",
    async (headers) => {
      const { r2, ...cost } = await costOf("GET", `/v2/images/${activeId}/file`, { headers });
      expect(cost).toMatchObject({ d1: 1, objects: [] });
      expect(r2.map(({ operation }) => operation)).toEqual(["get"]);
    },
  );

  it("take one operation of R2 more for HEAD of the bytes, too", async () => {
    const { r2, ...cost } = await costOf("HEAD", `/v2/images/${activeId}/file`);
    expect(cost).toMatchObject({ d1: 1, objects: [] });
    expect(r2.map(({ operation }) => operation)).toEqual(["get"]);
  });

  it("ask R2 for the range and no more", async () => {
    const { id } = await service.createActive(owner, bytesOf(9 * MiB));
    const headers = { range: `bytes=${3 * MiB}-${4 * MiB - 1}` };
    const { r2 } = await costOf("GET", `/v2/images/${id}/file`, { headers });
    expect(r2.map(({ options }) => options)).toEqual([{ range: { offset: 3 * MiB, length: MiB } }]);
  });

  it("read at the most two rows for one image", async () => {
    expect((await costOf("GET", `/v2/images/${activeId}`)).rowsRead).toBeLessThanOrEqual(2);
    const shared = await costOf("GET", `/v2/images/${sharedId}`, {}, member);
    expect(shared.rowsRead).toBeLessThanOrEqual(2);
  });

  it("read rows in proportion to the page, not to the table", async () => {
    await plantImages(500, "another-project", "private");
    await plantImages(500, owner.projectId, "shared");
    await plantImages(500, "another-project", "public");
    for (const limit of [5, 50]) {
      const { rowsRead } = await costOf("GET", `/v2/images?limit=${limit}`);
      expect(rowsRead).toBeGreaterThanOrEqual(limit);
      expect(rowsRead).toBeLessThanOrEqual(4 * (limit + 1));
    }
  });
});

/** Fills the table past the API. */
async function plantImages(count: number, project: string, visibility: string): Promise<void> {
  await env.DB.prepare(
    `WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ?)
     INSERT INTO images (id, status, visibility, owner, created_at, updated_at)
     SELECT lower(hex(randomblob(16))), 'queued', ?, ?, i, i FROM n`,
  )
    .bind(count, visibility, project)
    .run();
}

describe("changes", () => {
  it("create an image in one round trip, past its object", async () => {
    const json = { name: "new", tags: ["a", "b"], colour: "red" };
    expect(await costOf("POST", "/v2/images", { json })).toMatchObject({ ...FREE, d1: 1 });
  });

  const patch = [{ op: "add", path: "/colour", value: "red" }];
  it.each<[string, string, CallOptions, Caller?]>([
    ["PATCH", "", { patch }],
    ["PUT", "/tags/new", {}],
    ["DELETE", "/tags/new", {}],
    ["POST", "/members", { json: { member: "other-project" } }],
    ["PUT", `/members/${member.projectId}`, { json: { status: "rejected" } }, member],
    ["DELETE", "/members/other-project", {}],
    ["DELETE", "", {}],
  ])(
    "take one call of the object and two round trips: %s %s",
    async (method, path, options, as) => {
      const cost = await costOf(method, `/v2/images/${sharedId}${path}`, options, as);
      expect(cost.objects).toHaveLength(1);
      expect(cost.d1).toBeLessThanOrEqual(2);
      expect(cost.r2).toEqual([]);
    },
  );

  it.each(["deactivate", "reactivate"])(
    "take one call of the object and two round trips: %s",
    async (action) => {
      const cost = await costOf("POST", `/v2/images/${activeId}/actions/${action}`);
      expect(cost).toMatchObject({ d1: 2, objects: ["setStatus"], r2: [] });
    },
  );
});

describe("uploads", () => {
  async function costOfUpload(size: number, { through = service } = {}) {
    const { id } = await service.createEmpty(owner);
    const type = "application/octet-stream";
    const headers = { "content-type": type, "content-length": String(size) };
    const { r2, ...cost } = await through.costOf(async () => {
      const options = { body: bytesOf(size), headers };
      const response = await through.call(owner, "PUT", `/v2/images/${id}/file`, options);
      expect(response.status).toBe(204);
    });
    return { ...cost, r2: r2.map(({ operation }) => operation) };
  }

  it.each([
    ["nothing", 0],
    ["some bytes", 10],
    ["many bytes", 9 * MiB],
  ])("of %s are one put, two calls of the object and at most five round trips", async (_, size) => {
    const cost = await costOfUpload(size);
    expect(cost.r2).toEqual(["put"]);
    expect(cost.objects).toEqual(["beginUpload", "finishUpload"]);
    expect(cost.d1).toBeLessThanOrEqual(5);
  });

  it.each([
    ["two", 8 * MiB + 1],
    ["two whole", 16 * MiB],
    ["three", 20 * MiB],
  ])("of %s parts are two operations of R2 more than parts", async (_, size) => {
    const through = new CountingService({ SINGLE_PUT_MAX_BYTES: "0" });
    const cost = await costOfUpload(size, { through });
    const parts = Math.ceil(size / (8 * MiB));
    expect(cost.r2).toEqual(["createMultipartUpload", ...Array(parts).fill("part"), "complete"]);
    // Opening the multipart upload renews the lease.
    expect(cost.objects).toEqual(["beginUpload", "openMultipart", "finishUpload"]);
    expect(cost.d1).toBeLessThanOrEqual(5);
  });

  it("that are refused for the image's status cost one call and one round trip", async () => {
    const headers = { "content-type": "application/octet-stream" };
    const cost = await service.costOf(async () => {
      const response = await service.call(owner, "PUT", `/v2/images/${activeId}/file`, {
        body: "other",
        headers,
      });
      expect(response.status).toBe(409);
    });
    expect(cost).toMatchObject({ d1: 1, objects: ["beginUpload"], r2: [] });
  });
});

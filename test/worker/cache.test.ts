import { env } from "cloudflare:workers";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { SEGMENT_BYTES } from "../../src/cache/segments.ts";
import { CachedService } from "../support/cached-service.ts";
import {
  admin,
  type Caller,
  member,
  owner,
  ownersReader,
  serviceUser,
  stranger,
} from "../support/callers.ts";
import { passTime, resumeTime, stopTime } from "../support/clock.ts";
import { FakeCache } from "../support/fake-cache.ts";
import { Service } from "../support/service.ts";
import { imageIn } from "../support/statuses.ts";
import { storedKeys } from "../support/stored-bytes.ts";
import { TWO_BUCKETS } from "../support/stores.ts";
import { TestedObject } from "../support/tested-object.ts";
import { bytesOf } from "../support/upload-body.ts";

// Members may list the cache, so that answers tell them what they found there.
const POLICY = JSON.stringify({ cache_list: "role:admin or role:member" });
const service = new CachedService({ POLICY });
const MISSING = "00000000-0000-4000-8000-000000000000";
const DATA = "0123456789";

interface CacheList {
  cached_images: { image_id: string; hits: number; size: number; last_accessed: number }[];
  queued_images: string[];
}

async function listCache(at: Service = service): Promise<CacheList> {
  const response = await at.call(admin, "GET", "/v2/cache");
  expect(response.status).toBe(200);
  return response.json();
}

const statusOf = async (
  caller: Caller | null,
  method: string,
  path: string,
  at: Service = service,
) => (await at.call(caller, method, `/v2${path}`)).status;

/** One read of an image's data: what came, and what the service says of the cache. */
async function read(
  imageId: string,
  headers: Readonly<Record<string, string>> = {},
  { caller = owner, at = service, query = "" } = {},
) {
  const path = `/v2/images/${imageId}/file${query}`;
  const response = await at.call(caller, "GET", path, { headers });
  const metrics = response.headers.get("server-timing")?.split(", ") ?? [];
  const timing = metrics.find((metric) => metric.startsWith("cache;")) ?? null;
  return {
    status: response.status,
    timing,
    text: new TextDecoder().decode(await response.arrayBuffer()),
    headers: response.headers,
  };
}

/** An image that is cached from its first byte to its last. */
async function createCached(record: object = {}, data: BodyInit = DATA): Promise<string> {
  const { id } = await service.createActive(owner, data, record);
  expect((await read(id)).timing).toBe("cache;desc=miss");
  expect((await read(id)).timing).toBe("cache;desc=hit");
  return id;
}

const queue = (imageId: string, at: Service = service) =>
  at.call(admin, "PUT", `/v2/cache/${imageId}`);
const fill = (imageId: string) => new TestedObject(imageId).ringAll(service.env);
const clear = (target?: string) =>
  service.call(admin, "DELETE", "/v2/cache", {
    headers: target === undefined ? {} : { "x-image-cache-clear-target": target },
  });

beforeEach(async () => {
  stopTime();
  await env.DB.exec("DELETE FROM cache_entries");
});

afterEach(() => {
  vi.restoreAllMocks();
  resumeTime();
});

describe("a download", () => {
  it("12 §4 Implicit caching: fills the cache, whole, so that the next one needs nothing of the store", async () => {
    const { id } = await service.createActive(owner, DATA);
    const cold = await service.costOf(() => read(id));
    expect(cold.r2.map(({ operation }) => operation)).toEqual(["get"]);
    // One behind the answer makes the entry.
    expect(cold.d1).toBe(2);
    const warm = await service.costOf(async () => {
      const { status, timing, text, headers } = await read(id);
      expect([status, timing, text]).toEqual([200, "cache;desc=hit", DATA]);
      expect(headers.get("content-length")).toBe("10");
      expect(headers.get("content-md5")).toMatch(/^[0-9a-f]{32}$/);
    });
    // One behind the answer counts the hit, and then none for a while.
    expect(warm).toMatchObject({ r2: [], d1: 2, objects: [] });
    expect(await service.costOf(() => read(id))).toMatchObject({ r2: [], d1: 1, objects: [] });
    expect(warm.rowsRead).toBeLessThanOrEqual(3);
  });

  it("is cached by ranges too, and any range is cut from what is there", async () => {
    const bytes = bytesOf(2 * SEGMENT_BYTES + 10);
    const { id } = await service.createActive(owner, bytes);
    const range = (from: number, to: number) => ({ range: `bytes=${from}-${to}` });
    expect((await read(id, range(SEGMENT_BYTES, SEGMENT_BYTES))).timing).toBe("cache;desc=miss");
    const cost = await service.costOf(async () => {
      const { status, timing, headers } = await read(
        id,
        range(SEGMENT_BYTES + 5, SEGMENT_BYTES + 8),
      );
      expect([status, timing]).toEqual([206, "cache;desc=hit"]);
      expect(headers.get("content-range")).toBe(
        `bytes ${SEGMENT_BYTES + 5}-${SEGMENT_BYTES + 8}/${bytes.length}`,
      );
    });
    expect(cost.r2).toEqual([]);
    expect((await listCache()).cached_images).toMatchObject([
      { image_id: id, size: SEGMENT_BYTES },
    ]);
    expect((await read(id, { range: "bytes=-10" })).timing).toBe("cache;desc=miss");
    expect((await listCache()).cached_images).toMatchObject([{ size: SEGMENT_BYTES + 10 }]);
  });

  it("tells of the cache in its log line", async () => {
    const { id } = await service.createActive(owner, DATA);
    const lines: Record<string, unknown>[] = [];
    vi.spyOn(console, "log").mockImplementation((line: string) => lines.push(JSON.parse(line)));
    await read(id);
    await read(id);
    await service.show(owner, id);
    const ofRequests = lines.filter((line) => "route" in line);
    expect(ofRequests.map(({ cache }) => cache)).toEqual(["miss", "hit", undefined]);
  });

  it("may be one of several at once that find nothing cached: all have the bytes, one makes the entry", async () => {
    const { id } = await service.createActive(owner, DATA);
    const reads = await Promise.all([read(id), read(id), read(id)]);
    expect(reads.map(({ text }) => text)).toEqual([DATA, DATA, DATA]);
    expect((await listCache()).cached_images).toMatchObject([{ image_id: id, size: 10 }]);
    // One of theirs is the epoch that counts.
    expect((await read(id)).timing).toBe("cache;desc=hit");
  });

  it("HDR-11: says nothing of it to who may not list it, not even that the store was not asked", async () => {
    const closed = new CachedService();
    const { id } = await closed.createActive(owner, DATA);
    const timings = [];
    for (const caller of [owner, owner, admin]) {
      const { headers } = await read(id, {}, { caller, at: closed });
      timings.push(headers.get("server-timing")?.replace(/dur=\d+;/g, ""));
    }
    expect(timings).toEqual(['d1;desc="1"', 'd1;desc="1"', 'd1;desc="1", cache;desc=hit']);
  });

  it("DWN-3: HEAD says what GET says while only the cache has the bytes", async () => {
    const id = await createCached();
    await env.BLOBS.delete([...(await storedKeys(id))]);
    expect((await read(id)).status).toBe(200);
    expect((await service.call(owner, "HEAD", `/v2/images/${id}/file`)).status).toBe(200);
    FakeCache.install();
    expect((await read(id)).status).toBe(404);
    expect((await service.call(owner, "HEAD", `/v2/images/${id}/file`)).status).toBe(404);
  });

  it("has no part in HEAD, errors, answers without data, and images of no bytes", async () => {
    const id = await createCached();
    const head = await service.call(owner, "HEAD", `/v2/images/${id}/file`);
    expect(head.headers.get("server-timing")).not.toContain("cache");
    expect((await read(id, { range: "bytes=99-" })).timing).toBeNull();
    const { id: empty } = await service.createActive(owner, "");
    expect(await read(empty)).toMatchObject({ status: 200, timing: null, text: "" });
    const { id: queued } = await service.createEmpty(owner);
    expect(await read(queued)).toMatchObject({ status: 204, timing: null });
  });

  it("12 §4 Checksum set and bytes differ while filling: the entry is discarded", async () => {
    const { id } = await service.createActive(owner, DATA);
    const [key = ""] = await storedKeys(id);
    await env.BLOBS.put(key, "9876543210");
    expect((await read(id)).text).toBe("9876543210");
    expect((await listCache()).cached_images).toEqual([]);
    await env.BLOBS.put(key, DATA);
    expect(await read(id)).toMatchObject({ timing: "cache;desc=miss", text: DATA });
    expect(await read(id)).toMatchObject({ timing: "cache;desc=hit", text: DATA });
  });

  it.each<[string, (cache: FakeCache) => void]>([
    [
      "look-ups fail",
      (cache) => Object.assign(cache, { onMatch: () => Promise.reject(new Error()) }),
    ],
    ["puts fail", (cache) => Object.assign(cache, { onPut: () => Promise.reject(new Error()) })],
  ])("goes on though %s", async (_, plant) => {
    const { id } = await service.createActive(owner, DATA);
    plant(FakeCache.install());
    for (let n = 0; n < 2; n++) {
      expect(await read(id)).toMatchObject({ status: 200, timing: "cache;desc=miss", text: DATA });
    }
    expect((await listCache()).cached_images).toEqual([]);
  });

  it("DWN-3, DWN-17: answers as without a cache when the bytes are gone or fewer", async () => {
    const { id } = await service.createActive(owner, DATA);
    const [key = ""] = await storedKeys(id);
    await env.BLOBS.put(key, "short");
    expect((await read(id)).status).toBe(500);
    await env.BLOBS.delete(key);
    expect((await read(id)).status).toBe(404);
    expect((await listCache()).cached_images).toEqual([]);
  });
});

describe("who may have what is cached", () => {
  it("12 §4 Serving from cache: needs download_image, as without", async () => {
    const id = await createCached();
    const statuses = [owner, admin, ownersReader, stranger].map((caller) =>
      read(id, {}, { caller }),
    );
    expect((await Promise.all(statuses)).map(({ status }) => status)).toEqual([200, 200, 403, 404]);
    expect(await statusOf(null, "GET", `/images/${id}/file`)).toBe(401);
  });

  it("is asked at each read: a member that was removed has nothing more", async () => {
    const formats = { disk_format: "raw", container_format: "bare" };
    const { id } = await service.createShared(owner, member, "accepted", formats);
    await service.upload(owner, id, DATA);
    await read(id, {}, { caller: member });
    expect((await read(id, {}, { caller: member })).timing).toBe("cache;desc=hit");
    await service.call(owner, "DELETE", `/v2/images/${id}/members/${member.projectId}`);
    expect(await read(id, {}, { caller: member })).toMatchObject({ status: 404, timing: null });
  });

  it("is nobody while an image is private again", async () => {
    const { id } = await service.createActive(admin, DATA, { visibility: "public" });
    await read(id, {}, { caller: stranger });
    expect((await read(id, {}, { caller: stranger })).timing).toBe("cache;desc=hit");
    const patch = [{ op: "replace", path: "/visibility", value: "private" }];
    await service.call(admin, "PATCH", `/v2/images/${id}`, { patch });
    expect((await read(id, {}, { caller: stranger })).status).toBe(404);
  });

  it("12 §4 Deactivated image: 403, and for administrators from the store", async () => {
    const id = await createCached();
    await service.call(owner, "POST", `/v2/images/${id}/actions/deactivate`);
    expect(await read(id)).toMatchObject({ status: 403, timing: null });
    const byAdmin = await read(id, {}, { caller: admin });
    expect(byAdmin).toMatchObject({ status: 200, timing: null, text: DATA });
  });

  it("12 §4 Image deleted: its entry goes, and nothing of it is served", async () => {
    const id = await createCached();
    await service.call(owner, "DELETE", `/v2/images/${id}`);
    expect((await read(id)).status).toBe(404);
    expect((await listCache()).cached_images).toEqual([]);
    expect(await statusOf(admin, "DELETE", `/cache/${id}`)).toBe(404);
  });

  it("is never served old bytes: those of another blob have other keys", async () => {
    const id = await createCached();
    const [key = ""] = await storedKeys(id);
    const other = key.replace(/[^/]+$/, crypto.randomUUID());
    await env.BLOBS.put(other, "abcdefghij");
    await env.DB.prepare("UPDATE images SET locations = ? WHERE id = ?")
      .bind(JSON.stringify([{ store: "default", key: other }]), id)
      .run();
    expect(await read(id)).toMatchObject({ timing: "cache;desc=miss", text: "abcdefghij" });
  });

  it("leaves no entry behind when the image is deleted while it is read", async () => {
    const { id } = await service.createActive(owner, DATA);
    const cache = FakeCache.install();
    cache.onPut = async () => {
      await service.call(owner, "DELETE", `/v2/images/${id}`);
    };
    expect((await read(id)).text).toBe(DATA);
    expect((await listCache()).cached_images).toEqual([]);
  });
});

describe("with several stores", () => {
  const several = new CachedService({ POLICY, STORES: JSON.stringify(TWO_BUCKETS) });

  it("12 §4 Serving from cache: overlooks prefer", async () => {
    const { id } = await several.createActive(owner, DATA);
    expect((await read(id, {}, { at: several, query: "?prefer=nowhere" })).status).toBe(400);
    await read(id, {}, { at: several });
    const cost = await several.costOf(async () => {
      const { timing, text } = await read(id, {}, { at: several, query: "?prefer=archive" });
      expect([timing, text]).toEqual(["cache;desc=hit", DATA]);
    });
    expect(cost.r2).toEqual([]);
    const unknown = await read(id, {}, { at: several, query: "?prefer=nowhere" });
    expect([unknown.status, unknown.text]).toEqual([200, DATA]);
  });

  it("12 §4 Serving from cache, DWN-15: overlooks prefer where there is one store, too", async () => {
    const { id } = await service.createActive(owner, DATA);
    expect((await read(id, {}, { query: "?prefer=nowhere" })).status).toBe(400);
    await read(id);
    expect((await read(id, {}, { query: "?prefer=nowhere" })).text).toBe(DATA);
  });

  it("does not cache what lies on other people's servers", async () => {
    const { id } = await several.createActive(owner, DATA);
    await env.DB.prepare("UPDATE images SET locations = ? WHERE id = ?")
      .bind(JSON.stringify([{ store: "http", key: "http://127.0.0.1:9/disk.raw" }]), id)
      .run();
    expect((await read(id, {}, { at: several })).timing).toBeNull();
    expect((await queue(id, several)).status).toBe(202);
    await new TestedObject(id).ringAll(several.env);
    expect(await listCache(several)).toEqual({ cached_images: [], queued_images: [] });
  });

  it("VER-13: all minor versions of the cache are advertised and served", async () => {
    const { versions } = await (await several.call(null, "GET", "/")).json<{
      versions: { id: string; status: string }[];
    }>();
    expect(versions[0]).toMatchObject({ id: "v2.18", status: "CURRENT" });
    const ids = versions.map(({ id }) => id);
    for (const id of ["v2.14", "v2.16", "v2.15", "v2.8"]) expect(ids).toContain(id);
  });
});

describe("the versions", () => {
  it("VER-14, VER-10: of a service with a cache include 2.14, 2.16 and 2.18", async () => {
    const { versions } = await (await service.call(null, "GET", "/")).json<{
      versions: { id: string; status: string }[];
    }>();
    expect(versions[0]).toMatchObject({ id: "v2.18", status: "CURRENT" });
    const ids = versions.map(({ id }) => id);
    for (const id of ["v2.18", "v2.16", "v2.14"]) {
      expect(ids).toContain(id);
      expect((await service.call(owner, "GET", `/${id}/images`)).status).toBe(200);
      expect((await new Service().call(owner, "GET", `/${id}/images`)).status).toBe(300);
    }
    expect(ids).not.toContain("v2.8");
  });
});

const CALLS: readonly (readonly [method: string, path: string])[] = [
  ["GET", "/cache"],
  ["DELETE", "/cache"],
  ["PUT", "/cache/:id"],
  ["DELETE", "/cache/:id"],
  ["GET", "/cache/nodes/:id"],
  ["POST", "/cache/clean"],
  ["POST", "/cache/prune"],
];

describe("the admin calls", () => {
  it.each(CALLS)(
    "CAC-1, POL-19, MSK-8: %s %s is 403 to all but administrators",
    async (method, path) => {
      const { id } = await service.createActive(admin, DATA, { visibility: "public" });
      const own = path.replace(":id", id);
      const cached = new CachedService();
      const without = new Service();
      for (const caller of [owner, ownersReader, serviceUser]) {
        expect(await statusOf(caller, method, own, cached)).toBe(403);
        // Asked before the cache is.
        expect(await statusOf(caller, method, own, without)).toBe(403);
      }
      expect(await statusOf(null, method, own, cached)).toBe(401);
      expect(await statusOf(admin, method, own, cached)).toBeLessThan(300);
    },
  );

  it.each(CALLS)("CAC-1: %s %s is 404 in a service without cache", async (method, path) => {
    const { id } = await service.createActive(owner, DATA);
    for (const imageId of [id, MISSING, "nonsense"]) {
      const own = path.replace(":id", imageId);
      expect(await statusOf(admin, method, own, new Service())).toBe(404);
    }
  });

  it("POL-19: follow their rules where an operator sets others", async () => {
    const POLICY = JSON.stringify({
      cache_list: "role:reader",
      cache_image: "project_id:%(owner)s",
    });
    const own = new CachedService({ POLICY });
    const { id } = await own.createActive(owner, DATA);
    const { id: others } = await own.createActive(admin, DATA, { visibility: "public" });
    expect(await statusOf(ownersReader, "GET", "/cache", own)).toBe(200);
    expect(await statusOf(owner, "PUT", `/cache/${id}`, own)).toBe(202);
    expect(await statusOf(owner, "PUT", `/cache/${others}`, own)).toBe(403);
    expect(await statusOf(owner, "DELETE", `/cache/${id}`, own)).toBe(403);
  });

  it.each([
    ["/cache", "GET, DELETE", ["PUT", "POST", "PATCH"]],
    [`/cache/${MISSING}`, "DELETE, PUT", ["GET", "POST", "PATCH"]],
    [`/cache/nodes/${MISSING}`, "GET", ["PUT", "DELETE"]],
    ["/cache/clean", "POST", ["GET", "PUT", "DELETE"]],
    ["/cache/prune", "POST", ["GET", "PUT", "DELETE"]],
  ])("RT-16: %s allows %s", async (path, allow, others) => {
    for (const at of [service, new Service()]) {
      for (const method of others) {
        const response = await at.call(admin, method, `/v2${path}`);
        expect([response.status, response.headers.get("allow")]).toEqual([405, allow]);
      }
    }
  });

  it("RT-16: GET /cache takes no body, the others overlook one", async () => {
    const { id } = await service.createActive(owner, DATA);
    for (const [method, path] of CALLS) {
      const options = { body: "{}", headers: { "content-length": "2" } };
      const request = method === "GET" ? { headers: { "content-length": "2" } } : options;
      const { status } = await service.call(
        admin,
        method,
        `/v2${path.replace(":id", id)}`,
        request,
      );
      expect([path, method, status === 400]).toEqual([
        path,
        method,
        path === "/cache" && method === "GET",
      ]);
    }
  });
});

describe("GET /v2/cache", () => {
  it("CAC-2: lists what is cached and what waits", async () => {
    const cached = await createCached();
    const { id: queued } = await service.createActive(owner, DATA);
    await queue(queued);
    passTime(100);
    for (let n = 0; n < 3; n++) await read(cached);
    const list = await listCache();
    expect(list.queued_images).toEqual([queued]);
    const now = Date.now() / 1000;
    expect(list.cached_images).toEqual([
      { image_id: cached, hits: 4, size: 10, last_accessed: now, last_modified: now - 100 },
    ]);
    const response = await service.call(admin, "GET", "/v2/cache");
    expect(response.headers.get("content-type")).toBe("application/json");
  });

  it("CAC-2: is two empty lists for an empty cache", async () => {
    expect(await listCache()).toEqual({ cached_images: [], queued_images: [] });
  });
});

describe("PUT /v2/cache/{id}", () => {
  it("CAC-3, 12 §4 Queueing: 202, and the image is brought in", async () => {
    const bytes = bytesOf(SEGMENT_BYTES + 1);
    const { id } = await service.createActive(owner, bytes);
    const response = await queue(id);
    expect([response.status, await response.text()]).toEqual([202, ""]);
    expect((await listCache()).queued_images).toEqual([id]);
    await fill(id);
    expect(await listCache()).toMatchObject({
      queued_images: [],
      cached_images: [{ image_id: id, size: bytes.length, hits: 0 }],
    });
    expect(await service.costOf(() => read(id))).toMatchObject({ r2: [] });
    expect(await new TestedObject(id).isAtRest()).toBe(true);
  });

  it("12 §4 PUT already cached or queued: 202 and no change", async () => {
    const { id } = await service.createActive(owner, DATA);
    await queue(id);
    passTime(5);
    const cost = await service.costOf(() => queue(id));
    expect(cost.objects).toEqual([]);
    await fill(id);
    const before = await listCache();
    passTime(5);
    expect((await queue(id)).status).toBe(202);
    expect(await listCache()).toEqual(before);
  });

  it("brings in what is missing of an image that is cached in part, or whose bytes are about to go", async () => {
    const { id } = await service.createActive(owner, bytesOf(SEGMENT_BYTES + 10));
    await read(id, { range: "bytes=-1" });
    await queue(id);
    await fill(id);
    expect(await listCache()).toMatchObject({ cached_images: [{ size: SEGMENT_BYTES + 10 }] });
    passTime(7 * 24 * 3600);
    await queue(id);
    expect((await listCache()).queued_images).toEqual([id]);
  });

  it.each(["queued", "saving", "uploading", "importing", "deactivated", "killed"] as const)(
    "CAC-3: 400 while the image is %s",
    async (status) => {
      const { id } = await imageIn(service, status);
      expect((await queue(id)).status).toBe(400);
      expect((await listCache()).queued_images).toEqual([]);
    },
  );

  it("CAC-3: 404 for an unknown image, before the policy", async () => {
    const { id } = await service.createActive(owner, DATA);
    expect(await statusOf(admin, "PUT", `/cache/${MISSING}`)).toBe(404);
    expect(await statusOf(admin, "PUT", "/cache/nonsense")).toBe(404);
    expect(await statusOf(owner, "PUT", `/cache/${MISSING}`)).toBe(404);
    expect(await statusOf(stranger, "PUT", `/cache/${id}`)).toBe(404);
  });

  it("caches an image of no bytes", async () => {
    const { id } = await service.createActive(owner, "");
    await queue(id);
    await fill(id);
    expect(await listCache()).toMatchObject({ queued_images: [], cached_images: [{ size: 0 }] });
  });

  it("tries again when the store fails, and gives up in the end", async () => {
    const { id } = await service.createActive(owner, DATA);
    const [key = ""] = await storedKeys(id);
    await env.BLOBS.delete(key);
    await queue(id);
    const object = new TestedObject(id);
    await object.ring(service.env);
    expect((await listCache()).queued_images).toEqual([id]);
    await env.BLOBS.put(key, DATA);
    await object.untilAtRest(service.env);
    expect((await listCache()).cached_images).toMatchObject([{ image_id: id, size: 10 }]);
    await clear();
    await env.BLOBS.delete(key);
    await queue(id);
    expect((await object.untilAtRest(service.env)).length).toBe(6);
    expect(await listCache()).toEqual({ queued_images: [], cached_images: [] });
  });

  it("goes on where it was when the cache takes some of it only", async () => {
    const { id } = await service.createActive(owner, bytesOf(3 * SEGMENT_BYTES));
    const cache = FakeCache.install();
    cache.onPut = (url) => (/\/[12]$/.test(url) ? Promise.reject(new Error("full")) : undefined);
    await queue(id);
    const object = new TestedObject(id);
    await object.ring(service.env);
    expect(await listCache()).toMatchObject({
      queued_images: [id],
      cached_images: [{ size: SEGMENT_BYTES }],
    });
    cache.onPut = () => undefined;
    expect(await object.untilAtRest(service.env)).toEqual([4]);
    expect(await listCache()).toMatchObject({
      queued_images: [],
      cached_images: [{ size: 3 * SEGMENT_BYTES }],
    });
  });

  it("12 §4 Checksum set and bytes differ while filling: what was queued is discarded", async () => {
    const { id } = await service.createActive(owner, DATA);
    const [key = ""] = await storedKeys(id);
    await env.BLOBS.put(key, "9876543210");
    await queue(id);
    await fill(id);
    expect(await listCache()).toEqual({ queued_images: [], cached_images: [] });
  });

  it.each<[string, (id: string) => Promise<unknown>]>([
    ["taken off the queue", (id) => service.call(admin, "DELETE", `/v2/cache/${id}`)],
    ["deleted", (id) => service.call(owner, "DELETE", `/v2/images/${id}`)],
    ["deactivated", (id) => service.call(owner, "POST", `/v2/images/${id}/actions/deactivate`)],
  ])("leaves an image alone that was %s meanwhile", async (_, change) => {
    const { id } = await service.createActive(owner, DATA);
    await queue(id);
    await change(id);
    const cost = await service.costOf(() => fill(id));
    expect(cost.r2.filter(({ operation }) => operation === "get")).toEqual([]);
    expect(await listCache()).toEqual({ queued_images: [], cached_images: [] });
  });
});

describe("DELETE /v2/cache/{id}", () => {
  it("CAC-4: takes an image out of the cache, in every data center", async () => {
    const id = await createCached();
    const response = await service.call(admin, "DELETE", `/v2/cache/${id}`);
    expect([response.status, await response.text()]).toEqual([204, ""]);
    expect((await listCache()).cached_images).toEqual([]);
    // The platform still has the bytes, but nobody finds them any more.
    expect((await read(id)).timing).toBe("cache;desc=miss");
    expect((await read(id)).timing).toBe("cache;desc=hit");
  });

  it("CAC-4: is 204 for an image that is neither cached nor queued, 404 when there is none", async () => {
    const { id } = await service.createActive(owner, DATA);
    expect(await statusOf(admin, "DELETE", `/cache/${id}`)).toBe(204);
    expect(await statusOf(admin, "DELETE", `/cache/${MISSING}`)).toBe(404);
    expect(await statusOf(admin, "DELETE", "/cache/nonsense")).toBe(404);
  });

  it("12 §4 DELETE of a record that is gone but still cached: 204, once", async () => {
    await env.DB.exec(
      `INSERT INTO cache_entries (image_id, epoch, modified_at, size) VALUES ('${MISSING}', 'e', 1, 1)`,
    );
    expect(await statusOf(admin, "DELETE", `/cache/${MISSING}`)).toBe(204);
    expect(await statusOf(admin, "DELETE", `/cache/${MISSING}`)).toBe(404);
  });

  it("is final for a read that is under way", async () => {
    const id = await createCached();
    const [key = ""] = await storedKeys(id);
    expect(key).not.toBe("");
    const cache = FakeCache.install();
    cache.onPut = async () => {
      await service.call(admin, "DELETE", `/v2/cache/${id}`);
    };
    expect((await read(id)).timing).toBe("cache;desc=miss");
    expect((await listCache()).cached_images).toEqual([]);
  });
});

describe("DELETE /v2/cache", () => {
  async function both() {
    const cached = await createCached();
    const { id: queued } = await service.createActive(owner, DATA);
    await queue(queued);
    // One that is cached in part and waits for the rest.
    const { id: mixed } = await service.createActive(owner, bytesOf(SEGMENT_BYTES + 1));
    await read(mixed, { range: "bytes=-1" });
    await queue(mixed);
    return { cached, queued, mixed };
  }
  const idsOf = ({ cached_images, queued_images }: CacheList) => [
    cached_images.map(({ image_id }) => image_id).sort(),
    queued_images.toSorted(),
  ];

  it.each([[undefined], [""]])(
    "CAC-5: empties cache and queue with the header %j",
    async (target) => {
      const { cached } = await both();
      const response = await clear(target);
      expect([response.status, await response.text()]).toEqual([204, ""]);
      expect(idsOf(await listCache())).toEqual([[], []]);
      expect((await read(cached)).timing).toBe("cache;desc=miss");
    },
  );

  it.each(["cache", "Cache", "CACHE"])("CAC-5: %s empties the cache only", async (target) => {
    const { cached, queued, mixed } = await both();
    expect((await clear(target)).status).toBe(204);
    expect(idsOf(await listCache())).toEqual([[], [queued, mixed].sort()]);
    expect((await read(cached)).timing).toBe("cache;desc=miss");
    expect((await read(mixed, { range: "bytes=-1" })).timing).toBe("cache;desc=miss");
  });

  it.each(["queue", "qUeUe"])("CAC-5: %s empties the queue only", async (target) => {
    const { cached, mixed } = await both();
    expect((await clear(target)).status).toBe(204);
    expect(idsOf(await listCache())).toEqual([[cached, mixed].sort(), []]);
  });

  it.each(["both", "all", "cache,queue", "caches"])("CAC-5: %s is 400", async (target) => {
    const { cached, queued, mixed } = await both();
    expect((await clear(target)).status).toBe(400);
    expect(idsOf(await listCache())).toEqual([[cached, mixed].sort(), [queued, mixed].sort()]);
  });
});

describe("GET /v2/cache/nodes/{id}", () => {
  it("CAC-6: lists the deployment as the one node, if it has the image", async () => {
    const id = await createCached();
    const { id: other } = await service.createActive(owner, DATA);
    const nodesOf = async (imageId: string) =>
      (await service.call(admin, "GET", `/v2/cache/nodes/${imageId}`)).json();
    expect(await nodesOf(id)).toEqual(["http://image.test"]);
    expect(await nodesOf(other)).toEqual([]);
    expect(await statusOf(admin, "GET", `/cache/nodes/${MISSING}`)).toBe(404);
  });
});

describe("POST /v2/cache/clean and prune", () => {
  it("CAC-6: clean takes out what waited for too long and what the platform no longer has", async () => {
    const old = await createCached();
    const { id: stalled } = await service.createActive(owner, DATA);
    await queue(stalled);
    passTime(86_400 - 1);
    const clean = () => service.call(admin, "POST", "/v2/cache/clean");
    const response = await clean();
    expect([response.status, await response.text()]).toEqual([200, ""]);
    expect((await listCache()).queued_images).toEqual([stalled]);
    passTime(2);
    await clean();
    expect(await listCache()).toMatchObject({
      queued_images: [],
      cached_images: [{ image_id: old }],
    });
    passTime(7 * 24 * 3600);
    await clean();
    expect((await listCache()).cached_images).toEqual([]);
  });

  it("CAC-6: prune throws out what was read least recently until the rest fits", async () => {
    const small = new CachedService({ IMAGE_CACHE_MAX_SIZE: "25" });
    const ids: string[] = [];
    for (let n = 0; n < 4; n++) {
      ids.push(await createCached());
      passTime(60);
    }
    const [first = "", , , last = ""] = ids;
    await read(first);
    const prune = async () =>
      (await small.call(admin, "POST", "/v2/cache/prune")).json<Record<string, number>>();
    expect(await prune()).toEqual({ total_files_pruned: 2, total_bytes_pruned: 20 });
    const { cached_images } = await listCache();
    expect(cached_images.map(({ image_id }) => image_id)).toEqual([first, last]);
    expect(await prune()).toEqual({ total_files_pruned: 0, total_bytes_pruned: 0 });
  });

  it("CAC-6: prune says zeros for an empty cache", async () => {
    const response = await service.call(admin, "POST", "/v2/cache/prune");
    expect(response.status).toBe(200);
    expect(await response.json()).toEqual({ total_files_pruned: 0, total_bytes_pruned: 0 });
  });
});

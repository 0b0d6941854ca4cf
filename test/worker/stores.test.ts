import { runInDurableObject } from "cloudflare:test";
import { env } from "cloudflare:workers";
import { describe, expect, inject, it } from "vitest";
import { ImageObject } from "../../src/image-object/image-object.ts";
import { admin, owner, ownersReader, serviceUser, stranger } from "../support/callers.ts";
import { passTime, resumeTime, stopTime } from "../support/clock.ts";
import { interceptD1, interceptR2 } from "../support/intercept.ts";
import { copyTo } from "../support/second-copy.ts";
import { Service } from "../support/service.ts";
import { TWO_BUCKETS } from "../support/stores.ts";

const settings = { STORES: JSON.stringify(TWO_BUCKETS) };
const service = new Service({ settings });
const single = new Service();

const inArchive = { "x-image-meta-store": "archive" };

async function createIn(storeId: string, bytes: string): Promise<string> {
  const { id } = await service.createEmpty(owner);
  const response = await service.upload(owner, id, bytes, { "x-image-meta-store": storeId });
  expect(response.status).toBe(204);
  return id;
}

describe("store discovery", () => {
  it("STR-1, RT-14: lists the stores in configured order, with flags that are the text true", async () => {
    const response = await service.call(ownersReader, "GET", "/v2/info/stores");
    expect(response.status).toBe(200);
    expect(await response.json()).toEqual({
      stores: [
        { id: "fast", description: "In use", default: "true" },
        { id: "archive" },
        { id: "http", description: "Elsewhere", "read-only": "true" },
      ],
    });
  });

  it.each([admin, serviceUser])(
    "STR-2: tells administrators and services the details",
    async (who) => {
      const response = await service.call(who, "GET", "/v2/info/stores/detail");
      expect(response.status).toBe(200);
      const { stores } = await response.json<{ stores: object[] }>();
      expect(stores).toContainEqual({ id: "archive", type: "r2", weight: 0, properties: {} });
    },
  );

  it("STR-2, POL-20: refuses the details to others", async () => {
    expect((await service.call(owner, "GET", "/v2/info/stores/detail")).status).toBe(403);
  });

  it.each(["/v2/info/stores", "/v2/info/stores/detail"])(
    "STR-1, STR-2: %s is 404 where there is one store, for administrators too",
    async (path) => {
      expect((await single.call(admin, "GET", path)).status).toBe(404);
    },
  );

  it.each(["/v2/info/stores", "/v2/info/stores/detail"])(
    "11 §2: %s takes no body",
    async (path) => {
      const response = await service.call(admin, "DELETE", path);
      expect([response.status, response.headers.get("allow")]).toEqual([405, "GET"]);
    },
  );

  it("HDR-5: an image's creation names the stores, but not where there is only one", async () => {
    const created = await service.call(owner, "POST", "/v2/images", { json: {} });
    expect(created.headers.get("openstack-image-store-ids")).toBe("fast,archive,http");
    const alone = await single.call(owner, "POST", "/v2/images", { json: {} });
    expect(alone.headers.get("openstack-image-store-ids")).toBeNull();
  });
});

describe("discovery", () => {
  it("VER-15: adds the versions of several stores, and only where there are several", async () => {
    const versionsOf = async (from: Service) => {
      const { versions } = await (await from.call(null, "GET", "/versions")).json<{
        versions: { id: string; status: string }[];
      }>();
      return versions.map(({ id, status }) => (status === "CURRENT" ? `${id}*` : id));
    };
    const base = ["v2.5", "v2.4", "v2.3", "v2.2", "v2.1", "v2.0"];
    const several = [
      ...["v2.17*", "v2.15", "v2.13", "v2.12", "v2.11", "v2.10", "v2.9", "v2.8"],
      ...["v2.7", "v2.6"],
      ...base,
    ];
    expect(await versionsOf(service)).toEqual(several);
    expect(await versionsOf(single)).toEqual(["v2.17*", "v2.13", "v2.9", "v2.7", "v2.6", ...base]);
    const withoutImport = new Service({ settings: { ...settings, IMPORT_METHODS: "" } });
    const ids = [
      ...["v2.17*", "v2.15", "v2.13", "v2.12", "v2.10", "v2.9", "v2.8", "v2.7"],
      ...base,
    ];
    expect(await versionsOf(withoutImport)).toEqual(ids);
    const path = "/v2.10/images?limit=0";
    expect((await service.call(owner, "GET", path)).status).toBe(200);
    expect((await single.call(owner, "GET", path)).status).toBe(300);
    // 2.13 is usage.
    expect((await single.call(owner, "GET", "/v2.13/info/usage")).status).toBe(200);
  });
});

describe("PUT file into a store", () => {
  it("STO-1, REP-18: goes where the header says, and the image tells it", async () => {
    const id = await createIn("archive", "hello");
    expect(await service.show(owner, id)).toMatchObject({ status: "active", stores: "archive" });
    expect((await env.ARCHIVE.list({ prefix: `blobs/${id}/` })).objects).toHaveLength(1);
    expect((await env.BLOBS.list({ prefix: `blobs/${id}/` })).objects).toHaveLength(0);
    const data = await service.call(owner, "GET", `/v2/images/${id}/file`);
    expect(await data.text()).toBe("hello");
  });

  it("STO-4: goes to the default store without the header", async () => {
    const { id } = await service.createActive(owner, "hello");
    expect(await service.show(owner, id)).toMatchObject({ stores: "fast" });
  });

  it.each(["nowhere", "", "os_glance_staging_store", "http"])(
    "STO-2: refuses the store %j with 400, for an unknown image too",
    async (storeId) => {
      const unknown = crypto.randomUUID();
      const response = await service.upload(owner, unknown, "hello", {
        "x-image-meta-store": storeId,
      });
      expect(response.status).toBe(400);
    },
  );

  it("REP-18: an image without data, or in a single-store service, names no stores", async () => {
    expect(await service.createEmpty(owner)).not.toHaveProperty("stores");
    expect(await single.createActive(owner, "hello")).not.toHaveProperty("stores");
  });

  it("UPL-13: a broken upload leaves nothing in its store", async () => {
    const { id } = await service.createEmpty(owner);
    const headers = { ...inArchive, "x-openstack-image-size": "2" };
    expect((await service.upload(owner, id, "hello", headers)).status).toBe(400);
    expect((await service.show(owner, id)).status).toBe("queued");
    expect((await env.ARCHIVE.list({ prefix: `blobs/${id}/` })).objects).toHaveLength(0);
  });
});

describe("GET file of an image with several copies", () => {
  it("DWN-14: reads the preferred store first, and any other when that has nothing", async () => {
    const id = await createIn("fast", "hello");
    await copyTo(env.ARCHIVE, "archive", id, "HELLO");
    const read = async (query: string) =>
      (await service.call(owner, "GET", `/v2/images/${id}/file${query}`)).text();
    expect(await read("")).toBe("hello");
    expect(await read("?prefer=archive")).toBe("HELLO");
    expect(await read("?prefer=http,archive,fast")).toBe("HELLO");
    expect(await read("?prefer=,")).toBe("hello");
  });

  it("POL-10: preferring a store stands under its own rule", async () => {
    const id = await createIn("fast", "hello");
    const strict = { ...settings, POLICY: JSON.stringify({ download_from_store: "role:admin" }) };
    const guarded = new Service({ settings: strict });
    const read = (query: string) => guarded.call(owner, "GET", `/v2/images/${id}/file${query}`);
    expect((await read("?prefer=fast")).status).toBe(403);
    expect(await (await read("")).text()).toBe("hello");
  });

  it("DWN-14: an unknown store in prefer is 400", async () => {
    const id = await createIn("fast", "hello");
    const response = await service.call(owner, "GET", `/v2/images/${id}/file?prefer=fast,nowhere`);
    expect(response.status).toBe(400);
  });

  it("11 §1: reads and names the heaviest store first", async () => {
    const [fast, archive, http] = TWO_BUCKETS;
    const stores = [fast, { ...archive, weight: 10 }, http];
    const heavy = new Service({ settings: { STORES: JSON.stringify(stores) } });
    const id = await createIn("fast", "hello");
    await copyTo(env.ARCHIVE, "archive", id, "HELLO");
    expect((await heavy.show(owner, id)).stores).toBe("archive,fast");
    expect(await (await heavy.call(owner, "GET", `/v2/images/${id}/file`)).text()).toBe("HELLO");
  });

  it("DWN-3: falls over to the next store when the first has lost the bytes", async () => {
    const id = await createIn("fast", "hello");
    await copyTo(env.ARCHIVE, "archive", id, "HELLO");
    const { objects } = await env.BLOBS.list({ prefix: `blobs/${id}/` });
    await env.BLOBS.delete(objects.map(({ key }) => key));
    expect(await (await service.call(owner, "GET", `/v2/images/${id}/file`)).text()).toBe("HELLO");
  });

  it("DWN-11: falls over to the next store when the first fails, and is 503 when all do", async () => {
    const id = await createIn("fast", "hello");
    const BLOBS = interceptR2(env.BLOBS, () => Promise.reject(new Error("get: denied (10003)")));
    const failing = new Service({ settings, bindings: { BLOBS } });
    expect((await failing.call(owner, "GET", `/v2/images/${id}/file`)).status).toBe(503);
    await copyTo(env.ARCHIVE, "archive", id, "HELLO");
    const response = await failing.call(owner, "GET", `/v2/images/${id}/file`, {
      headers: { range: "bytes=1-3" },
    });
    expect(await response.text()).toBe("ELL");
  });
});

describe("DELETE /v2/stores/{store}/{image}", () => {
  const remove = (caller: typeof admin, storeId: string, imageId: string, from = service) =>
    from.call(caller, "DELETE", `/v2/stores/${storeId}/${imageId}`);

  it("STR-3, RT-12: takes one copy away and keeps the other", async () => {
    const id = await createIn("fast", "hello");
    const key = await copyTo(env.ARCHIVE, "archive", id, "HELLO");
    expect((await service.show(owner, id)).stores).toBe("fast,archive");
    expect((await remove(admin, "archive", id)).status).toBe(204);
    expect((await service.show(owner, id)).stores).toBe("fast");
    // The alarm of an object that knows these stores; the real one knows one only.
    const stub = env.IMAGE_OBJECT.get(env.IMAGE_OBJECT.idFromName(id));
    await runInDurableObject(stub, (_, state) => new ImageObject(state, service.env).alarm());
    expect(await env.ARCHIVE.head(key)).toBeNull();
    expect(await (await service.call(owner, "GET", `/v2/images/${id}/file`)).text()).toBe("hello");
  });

  it("STR-3: leaves no bytes when the removal's answer is lost and its write lands late", async () => {
    const id = await createIn("fast", "hello");
    const key = await copyTo(env.ARCHIVE, "archive", id, "HELLO");
    const withoutCopy = JSON.stringify([
      { store: "fast", key: (await env.BLOBS.list({ prefix: `blobs/${id}/` })).objects[0]?.key },
    ]);
    const DB = interceptD1(env.DB, async (call, proceed) => {
      if (call.statements?.some(({ sql }) => /^update/i.test(sql)))
        throw new Error("D1_ERROR: lost");
      return proceed();
    });
    const failing = new Service({ settings, bindings: { DB } });
    expect((await remove(admin, "archive", id, failing)).status).toBe(500);
    const stub = env.IMAGE_OBJECT.get(env.IMAGE_OBJECT.idFromName(id));
    const ring = () =>
      runInDurableObject(stub, (_, state) => new ImageObject(state, service.env).alarm());
    // The row still names the copy: it is spared, but asked for once more.
    await ring();
    expect(await env.ARCHIVE.head(key)).not.toBeNull();
    await env.DB.prepare("UPDATE images SET locations = ?, revision = revision + 1 WHERE id = ?")
      .bind(withoutCopy, id)
      .run();
    stopTime();
    passTime(400);
    await ring();
    resumeTime();
    expect(await env.ARCHIVE.head(key)).toBeNull();
  });

  it("STR-4, POL-16: refuses in the order of contract 11 §4, and changes nothing", async () => {
    const id = await createIn("fast", "hello");
    const { id: empty } = await service.createEmpty(owner);
    const statuses = [
      [404, await remove(admin, "archive", id, single)],
      [409, await remove(admin, "nowhere", crypto.randomUUID())],
      [404, await remove(admin, "fast", crypto.randomUUID())],
      [404, await remove(stranger, "fast", id)],
      [403, await remove(owner, "fast", id)],
      [409, await remove(admin, "fast", empty)],
      [403, await remove(admin, "fast", id)],
      [403, await remove(admin, "archive", id)],
    ] as const;
    expect(statuses.map(([, { status }]) => status)).toEqual(
      statuses.map(([expected]) => expected),
    );
    await copyTo(env.ARCHIVE, "archive", id, "HELLO");
    expect((await remove(admin, "http", id)).status).toBe(404);
    expect((await service.show(owner, id)).stores).toBe("fast,archive");
  });

  it("11 §4: takes no body and no other method", async () => {
    const path = `/v2/stores/fast/${crypto.randomUUID()}`;
    const response = await service.call(admin, "GET", path);
    expect([response.status, response.headers.get("allow")]).toEqual([405, "DELETE"]);
    expect((await service.call(admin, "DELETE", path, { json: {} })).status).toBe(400);
  });
});

describe("a store in an S3 service", () => {
  const { endpoint, region, bucket, accessKeyId, secretAccessKey } = inject("s3");
  const stores = [
    TWO_BUCKETS[0],
    { id: "elsewhere", type: "s3", endpoint, region, bucket, credentials: "ELSEWHERE" },
  ];
  const secrets = {
    ELSEWHERE_ACCESS_KEY_ID: accessKeyId,
    ELSEWHERE_SECRET_ACCESS_KEY: secretAccessKey,
  };
  const withS3 = new Service({ settings: { STORES: JSON.stringify(stores), ...secrets } });

  it("STO-1, RNG-1: takes and gives bytes as R2 does", async () => {
    const { id } = await withS3.createEmpty(owner);
    const headers = { "x-image-meta-store": "elsewhere" };
    expect((await withS3.upload(owner, id, "hello", headers)).status).toBe(204);
    expect(await withS3.show(owner, id)).toMatchObject({ stores: "elsewhere", size: 5 });
    const part = await withS3.call(owner, "GET", `/v2/images/${id}/file`, {
      headers: { range: "bytes=1-3" },
    });
    expect([part.status, await part.text()]).toEqual([206, "ell"]);
    expect((await env.BLOBS.list({ prefix: `blobs/${id}/` })).objects).toHaveLength(0);
  });

  it("11 §2 s3: tells in its details how bytes go there", async () => {
    const response = await withS3.call(admin, "GET", "/v2/info/stores/detail");
    const { stores } = await response.json<{ stores: { id: string; properties: object }[] }>();
    expect(stores.find(({ id }) => id === "elsewhere")?.properties).toEqual({
      s3_store_large_object_size: 8,
      s3_store_large_object_chunk_size: 8,
      s3_store_thread_pools: 4,
    });
  });

  it("DWN-11: with wrong keys is 503, and the keys are nobody's to read", async () => {
    const { id } = await withS3.createEmpty(owner);
    const wrong = { ...secrets, ELSEWHERE_SECRET_ACCESS_KEY: "not-the-secret" };
    const shut = new Service({ settings: { STORES: JSON.stringify(stores), ...wrong } });
    const response = await shut.upload(owner, id, "hello", { "x-image-meta-store": "elsewhere" });
    expect(response.status).toBe(503);
    expect(await response.text()).not.toContain("not-the-secret");
    expect((await withS3.show(owner, id)).status).toBe("queued");
  });

  it("is refused at start without its keys, by a sentence that names the secret", async () => {
    const keyless = new Service({ settings: { STORES: JSON.stringify(stores) } });
    const response = await keyless.call(owner, "GET", "/v2/images");
    expect(response.status).toBe(503);
    expect(await response.text()).toContain("ELSEWHERE_ACCESS_KEY_ID is not set");
  });
});

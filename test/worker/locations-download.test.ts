import { env } from "cloudflare:workers";
import { describe, expect, it } from "vitest";
import { admin, owner } from "../support/callers.ts";
import { resumeTime, stopTime } from "../support/clock.ts";
import { CountingService } from "../support/counting.ts";
import { finishImport, sources } from "../support/imports.ts";
import {
  addingLocation,
  beginAddLocation,
  createPointing,
  OPEN_LOCATIONS,
  patchLocations,
} from "../support/locations.ts";
import { Service } from "../support/service.ts";
import { dataOf } from "../support/source-data.ts";
import { storedKeys } from "../support/stored-bytes.ts";

// Data that lies on other people's servers, as it is downloaded.

const service = new Service({ settings: OPEN_LOCATIONS });
const source = sources();
const SIZE = 100_000;
const data = dataOf({ seed: 4, size: SIZE });

const download = (id: string, headers: Record<string, string> = {}, query = "") =>
  service.call(owner, "GET", `/v2/images/${id}/file${query}`, { headers });

describe("a download from another server", () => {
  it("DWN-1: gives the whole, with its length", async () => {
    const { id } = await createPointing(service, source.fileUrl({ size: SIZE, seed: 4 }));
    const response = await download(id);
    expect(response.status).toBe(200);
    expect(response.headers.get("content-length")).toBe(String(SIZE));
    expect(response.headers.get("etag")).toBeNull();
    expect(await response.bytes()).toEqual(data);
  });

  it.each([
    ["bytes=5-14", 5, 15],
    ["bytes=-10", SIZE - 10, SIZE],
    ["bytes=99990-", 99_990, SIZE],
  ])("DWN-12: passes %s on, and no more than that is asked for", async (range, from, to) => {
    const scenario = crypto.randomUUID();
    const url = source.fileUrl({ size: SIZE, seed: 4, id: scenario });
    const { id } = await createPointing(service, url);
    await source.forget(scenario);
    const response = await download(id, { range });
    expect(response.status).toBe(206);
    expect(response.headers.get("content-range")).toBe(`bytes ${from}-${to - 1}/${SIZE}`);
    expect(await response.bytes()).toEqual(data.slice(from, to));
    const [asked] = await source.log(scenario);
    expect(asked?.range).toBe(`bytes=${from}-${to - 1}`);
  });

  it("DWN-12: of a server without ranges a range is 400, and the whole is not", async () => {
    const url = source.fileUrl({ size: SIZE, seed: 4, ranges: "no" });
    const { id } = await createPointing(service, url);
    const ranged = await download(id, { range: "bytes=0-9" });
    expect([ranged.status, await ranged.text()]).toEqual([
      400,
      expect.stringContaining("gives no ranges"),
    ]);
    expect(await (await download(id)).bytes()).toEqual(data);
  });

  it("has the strong ETag of the hash once that is known, so If-Range and If-None-Match work", async () => {
    stopTime();
    const { id } = await service.createEmpty(owner);
    await beginAddLocation(service, owner, id, { url: source.fileUrl({ size: SIZE, seed: 4 }) });
    const { image } = await finishImport(service, id);
    const etag = `"${image.os_hash_value}"`;
    const whole = await download(id);
    expect(whole.headers.get("etag")).toBe(etag);
    expect(whole.headers.get("content-md5")).toBe(image.checksum);
    await whole.body?.cancel();
    expect((await download(id, { "if-none-match": etag })).status).toBe(304);
    const other = await download(id, { range: "bytes=0-9", "if-range": '"other"' });
    expect(other.status).toBe(200);
    await other.body?.cancel();
    resumeTime();
  });

  it("DWN-11: a server in trouble is 503, and one without the data is 404", async () => {
    const scenario = crypto.randomUUID();
    const failing = source.fileUrl({ size: SIZE, seed: 4, id: scenario, status: 500, skip: 1 });
    const broken = await createPointing(service, failing);
    expect((await download(broken.id)).status).toBe(503);
    const lost = crypto.randomUUID();
    const gone = source.fileUrl({ size: SIZE, seed: 4, id: lost, status: 404, skip: 1 });
    expect((await download((await createPointing(service, gone)).id)).status).toBe(404);
  });

  it("DWN-11: a resolver that cannot be reached is told as such", async () => {
    const url = "http://data.example/disk.raw";
    const { id } = await createPointing(service, source.fileUrl({ size: SIZE, seed: 4 }));
    await env.DB.prepare("UPDATE images SET locations = ? WHERE id = ?")
      .bind(JSON.stringify([{ store: "http", key: url }]), id)
      .run();
    const strict = new Service({
      settings: {
        ...OPEN_LOCATIONS,
        IMPORT_ALLOW_PRIVATE_ADDRESSES: "false",
        RESOLVER_URL: "http://127.0.0.1:9/dns-query",
      },
    });
    const response = await strict.call(owner, "GET", `/v2/images/${id}/file`);
    expect([response.status, response.headers.get("retry-after")]).toEqual([503, "10"]);
    expect(await response.text()).toContain("RESOLVER_URL");
  });

  it("DWN-17: data that has become longer or shorter is not given out", async () => {
    const { id } = await createPointing(service, source.fileUrl({ size: SIZE, seed: 4 }));
    const url = source.fileUrl({ size: SIZE + 1, seed: 4 });
    await env.DB.prepare("UPDATE images SET locations = ? WHERE id = ?")
      .bind(JSON.stringify([{ store: "http", key: url }]), id)
      .run();
    expect((await download(id)).status).toBe(500);
    expect((await download(id, { range: "bytes=0-9" })).status).toBe(500);
  });

  it("DWN-14, 10 §11: falls over to another copy, when the filter has come to forbid it too", async () => {
    const image = await service.createActive(owner, data);
    const add = addingLocation(source.fileUrl({ size: SIZE, seed: 4 }));
    expect((await patchLocations(service, owner, image.id, [add])).status).toBe(200);
    const scenario = crypto.randomUUID();
    const strict = new Service({
      settings: { ...OPEN_LOCATIONS, IMPORT_DISALLOWED_HOSTS: "127.0.0.1" },
    });
    const path = `/v2/images/${image.id}/file?prefer=http`;
    const response = await strict.call(owner, "GET", path);
    expect([response.status, await response.bytes()]).toEqual([200, data]);
    expect(await source.log(scenario)).toEqual([]);
    const [key = ""] = await storedKeys(image.id);
    await env.BLOBS.delete(key);
    expect(await (await download(image.id)).bytes()).toEqual(data);
  });

  it("costs one round trip to D1, like any other", async () => {
    const { id } = await createPointing(service, source.fileUrl({ size: SIZE, seed: 4 }));
    const counting = new CountingService(OPEN_LOCATIONS);
    for (const path of ["", "/file"]) {
      const cost = await counting.costOf(async () => {
        const response = await counting.call(owner, "GET", `/v2/images/${id}${path}`);
        expect(response.status).toBe(200);
        await response.arrayBuffer();
      });
      expect(cost).toMatchObject({ d1: 1, r2: [], objects: [] });
    }
  });

  it("10 §13: can be copied into a store of our own, though nobody has hashed it", async () => {
    stopTime();
    const { id } = await createPointing(service, source.fileUrl({ size: SIZE, seed: 4 }));
    const json = { method: { name: "copy-image" }, stores: ["archive"] };
    const begun = await service.call(admin, "POST", `/v2/images/${id}/import`, { json });
    expect(begun.status, await begun.text()).toBe(202);
    const { image, task } = await finishImport(service, id, admin);
    expect(task).toMatchObject({ status: "success" });
    expect(image.stores).toBe("http,archive");
    const [stored] = (await env.ARCHIVE.list({ prefix: `blobs/${id}/` })).objects;
    expect(stored?.size).toBe(SIZE);
    resumeTime();
  });
});

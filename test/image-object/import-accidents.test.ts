import { runInDurableObject } from "cloudflare:test";
import { env } from "cloudflare:workers";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { blobKey } from "../../src/blob/keys.ts";
import { toHex } from "../../src/lib/hex.ts";
import { admin, owner } from "../support/callers.ts";
import { passTime, resumeTime, stopTime } from "../support/clock.ts";
import {
  beginImport,
  callImport,
  createStaged,
  finishImport,
  sources,
  tasksOf,
} from "../support/imports.ts";
import { type BindingCall, interceptD1, interceptR2 } from "../support/intercept.ts";
import { withObject } from "../support/one-object.ts";
import { Service } from "../support/service.ts";
import { dataOf } from "../support/source-data.ts";
import { storedKeys } from "../support/stored-bytes.ts";
import { TWO_BUCKETS } from "../support/stores.ts";
import { TestedObject } from "../support/tested-object.ts";

// Two mishaps at once, or one at the worst moment: no wrong data, no status that sticks, no bytes that nobody owns.

const MiB = 1024 ** 2;
const THREE = [...TWO_BUCKETS, { id: "second", type: "r2", binding: "BLOBS" }];
const settings = { STORES: JSON.stringify(THREE) };
const service = new Service({ settings });
const source = sources();

beforeEach(stopTime);
afterEach(resumeTime);

async function sha512(data: Uint8Array): Promise<string> {
  return toHex(await crypto.subtle.digest("SHA-512", data));
}

async function inArchive(imageId: string): Promise<number> {
  return (await env.ARCHIVE.list({ prefix: `blobs/${imageId}/` })).objects.length;
}

/** The archive, whose first so many writes fail. */
function failingArchive(times: number): R2Bucket {
  let left = times;
  return interceptR2(env.ARCHIVE, (call, proceed) => {
    if (call.operation === "put" && left-- > 0) throw new Error("the disk is full");
    return proceed();
  });
}

describe("data without anything that tells its versions apart", () => {
  const size = 40 * MiB;
  const untold = { size, seed: 1, etag: "no", lastmod: "no" } as const;

  it("10 §11: is not read in parts, so that two versions are never joined", async () => {
    const id = crypto.randomUUID();
    const image = await service.createEmpty(owner);
    const uri = source.fileUrl({ ...untold, id, "change-at": 4 });
    await beginImport(service, owner, image.id, { method: { name: "web-download", uri } });
    const { image: done } = await finishImport(service, image.id);
    expect(done).toMatchObject({ status: "active" });
    expect(done.os_hash_value).toBe(await sha512(dataOf({ size, seed: 1 })));
    expect(await source.log(id)).toHaveLength(2);
  });

  it("10 §11: is read in parts where its hash is known, which tells in the end", async () => {
    const hash = await sha512(dataOf({ size, seed: 1 }));
    for (const [changing, status] of [
      [{}, "active"],
      [{ "change-at": 3 }, "queued"],
    ] as const) {
      const id = crypto.randomUUID();
      const image = await service.createEmpty(owner);
      const broken = { reset: 20 * MiB, times: 1 };
      const uri = source.fileUrl({ ...untold, id, ...broken, ...changing });
      const method = { name: "web-download", uri, checksum: `sha512:${hash}` };
      await beginImport(service, owner, image.id, { method });
      expect((await finishImport(service, image.id)).image.status).toBe(status);
      expect((await source.log(id)).length).toBeGreaterThan(2);
    }
  });

  it("10 §11: has the hash of what is stored, though some of it came twice and differed", async () => {
    // All that came first, and behind it what came then: what a hash that goes on has had.
    const small = 24 * MiB;
    const mixed = dataOf({ size: small, seed: 2 });
    mixed.set(dataOf({ size: small, seed: 1 }, 0, 12 * MiB));
    const id = crypto.randomUUID();
    const image = await service.createEmpty(owner);
    const uri = source.fileUrl({
      ...{ ...untold, size: small, id },
      ...{ gate: id, "gate-at": 12 * MiB, "change-at": 3 },
    });
    const method = { name: "web-download", uri, checksum: `sha512:${await sha512(mixed)}` };
    await beginImport(service, owner, image.id, { method });
    await withObject(image.id, { ...settings, IMPORT_IDLE_SECONDS: "1" }, async ({ restart }) => {
      const object = restart();
      await object.alarm();
      await source.openGate(id);
      passTime(5);
      await object.alarm();
    });
    expect((await source.log(id)).map(({ range }) => range).slice(0, 3)).toEqual([
      ...["bytes=0-0", `bytes=0-${small - 1}`, `bytes=${8 * MiB}-${small - 1}`],
    ]);
    expect((await finishImport(service, image.id)).image.status).toBe("queued");
  });
});

describe("an import whose acceptance is in doubt", () => {
  it("10 §4 #18: is not overtaken by a second one, and goes on when its write lands late", async () => {
    let land: (() => Promise<unknown>) | undefined;
    const DB = interceptD1(env.DB, (call, proceed) => {
      if (call.operation !== "batch" || land !== undefined) return proceed();
      land = proceed;
      throw new Error("Network connection lost.");
    });
    const doubtful = new Service({ settings, bindings: { DB } });
    const { id } = await createStaged(service, "staged");
    expect((await callImport(doubtful, owner, id, "glance-direct")).status).toBe(503);
    const again = await callImport(service, owner, id, "glance-direct");
    expect(again.status).toBe(503);
    await land?.();
    expect(await service.show(owner, id)).toMatchObject({ status: "importing" });
    const { image, task } = await finishImport(service, id);
    expect(image).toMatchObject({ status: "active", size: 6 });
    expect(task).toMatchObject({ status: "success" });
    expect(await storedKeys(id)).toHaveLength(1);
  });

  it("10 §4 #18: is forgotten when its write never lands, and the image can be imported", async () => {
    let isLost = false;
    const DB = interceptD1(env.DB, (call, proceed) => {
      if (call.operation !== "batch" || isLost) return proceed();
      isLost = true;
      throw new Error("Network connection lost.");
    });
    const doubtful = new Service({ settings, bindings: { DB } });
    const { id } = await createStaged(service, "staged");
    expect((await callImport(doubtful, owner, id, "glance-direct")).status).toBe(503);
    await new TestedObject(id).untilAtRest(service.env);
    expect(await service.show(owner, id)).toMatchObject({ status: "uploading", size: 6 });
    await beginImport(service, owner, id, "glance-direct");
    expect((await finishImport(service, id)).image).toMatchObject({ status: "active", size: 6 });
  });
});

describe("bytes that are named no more while other stores are still filled", () => {
  it("11 §4 Import lock: those of a copy that was taken out of its store go", async () => {
    const halting = new Service({ settings, bindings: { ARCHIVE: failingArchive(1) } });
    const { id } = await halting.createEmpty(owner);
    await beginImport(halting, owner, id, {
      method: { name: "web-download", uri: source.fileUrl({ size: 1000, seed: 1 }) },
      stores: ["fast", "second", "archive"],
      all_stores_must_succeed: false,
    });
    await new TestedObject(id).ring(halting.env);
    expect(await service.show(owner, id)).toMatchObject({
      status: "active",
      stores: "fast,second",
    });
    expect((await service.call(admin, "DELETE", `/v2/stores/fast/${id}`)).status).toBe(204);
    const { image, task } = await finishImport(halting, id);
    expect(task).toMatchObject({ status: "success" });
    expect(image.stores).toBe("second,archive");
    expect(await storedKeys(id)).toHaveLength(1);
    expect(await inArchive(id)).toBe(1);
  });

  it("10 §14 image_decompression: the packed ones that were staged go", async () => {
    const unpacking = { ...settings, IMAGE_IMPORT_PLUGINS: "image_decompression" };
    const data = dataOf({ size: 3 * MiB, seed: 1 });
    const packed = await new Response(
      new Response(data).body?.pipeThrough(new CompressionStream("gzip")),
    ).bytes();
    for (const mustSucceed of [true, false]) {
      const halting = new Service({
        settings: unpacking,
        bindings: { ARCHIVE: failingArchive(mustSucceed ? 0 : 1) },
      });
      const { id } = await createStaged(halting, packed);
      await beginImport(halting, owner, id, {
        method: { name: "glance-direct" },
        stores: ["second", "archive", "fast"],
        all_stores_must_succeed: mustSucceed,
      });
      const { image } = await finishImport(halting, id);
      expect(image).toMatchObject({ status: "active", size: data.length });
      expect(await storedKeys(id)).toHaveLength(2);
      expect(await inArchive(id)).toBe(1);
    }
  });

  it("10 §14 image_decompression: those go, whichever call of the import fails, and at whatever moment", {
    timeout: 120_000,
  }, async () => {
    const unpacking = { ...settings, IMAGE_IMPORT_PLUGINS: "image_decompression" };
    const packed = await new Response(
      new Blob(["unpacked"]).stream().pipeThrough(new CompressionStream("gzip")),
    ).bytes();
    for (const isBehind of [false, true]) {
      for (let failing = 0, hasFailed = true; hasFailed; failing++) {
        // The token that these calls are made with would run out of all the time that passes.
        stopTime();
        let calls = 0;
        const around = async <T>(_: BindingCall, proceed: () => Promise<T>): Promise<T> => {
          const isIt = calls++ === failing;
          // Not an error for which a store is asked again at once.
          if (isIt && !isBehind) throw new Error("it went wrong");
          const result = await proceed();
          if (isIt) throw new Error("its answer was lost");
          return result;
        };
        const unlucky = new Service({
          settings: unpacking,
          bindings: {
            DB: interceptD1(env.DB, around),
            BLOBS: interceptR2(env.BLOBS, around),
            ARCHIVE: interceptR2(env.ARCHIVE, around),
          },
        });
        const { id } = await createStaged(service, packed);
        await beginImport(service, owner, id, {
          method: { name: "glance-direct" },
          stores: ["archive", "second"],
          all_stores_must_succeed: false,
        });
        await new TestedObject(id).untilAtRest(unlucky.env);
        hasFailed = calls > failing;
        const image = await service.show(owner, id);
        expect([failing, image.status, image.size, image.stores]).toEqual([
          ...[failing, "active", 8, "archive,second"],
        ]);
        expect([failing, await storedKeys(id), await inArchive(id)]).toEqual([
          ...[failing, [expect.any(String)], 1],
        ]);
      }
    }
  });

  it("10 §14 image_decompression: needs no room in a store that is to have no copy", async () => {
    const { id } = await createStaged(
      service,
      await new Response(
        new Blob(["unpacked"]).stream().pipeThrough(new CompressionStream("gzip")),
      ).bytes(),
    );
    const BLOBS = interceptR2(env.BLOBS, (call, proceed) => {
      if (call.operation === "put") throw new Error("the disk is full");
      return proceed();
    });
    const full = new Service({
      settings: { ...settings, IMAGE_IMPORT_PLUGINS: "image_decompression" },
      bindings: { BLOBS },
    });
    await beginImport(full, owner, id, { method: { name: "glance-direct" }, stores: ["archive"] });
    const { image } = await finishImport(full, id);
    expect(image).toMatchObject({ status: "active", size: 8, stores: "archive" });
    expect(await storedKeys(id)).toEqual([]);
  });
});

describe("tries that come to nothing", () => {
  it("10 §13 Hash: a damaged copy is copied six times and no more, with pauses", async () => {
    const { id } = await service.createActive(owner, dataOf({ size: 9 * MiB, seed: 1 }));
    for (const key of await storedKeys(id)) {
      await env.BLOBS.put(key, dataOf({ size: 9 * MiB, seed: 2 }));
    }
    let begun = 0;
    const ARCHIVE = interceptR2(env.ARCHIVE, (call, proceed) => {
      if (call.operation === "put") begun++;
      return proceed();
    });
    const counted = new Service({ settings, bindings: { ARCHIVE } });
    await beginImport(counted, admin, id, { method: { name: "copy-image" }, stores: ["archive"] });
    const pauses = await new TestedObject(id).untilAtRest(counted.env);
    expect(begun).toBe(6);
    for (const pause of [1, 2, 4, 8, 16]) expect(pauses).toContain(pause);
    expect(await service.show(owner, id)).toMatchObject({ os_glance_failed_import: "archive" });
    expect(await inArchive(id)).toBe(0);
  });

  it("10 §9: a download in one pass whose process dies each time is given up, and says why", async () => {
    const { id } = await service.createEmpty(owner);
    const uri = source.fileUrl({ size: 1000, seed: 1 });
    await beginImport(service, owner, id, { method: { name: "web-download", uri } });
    const object = new TestedObject(id);
    let deaths = 0;
    while ((await service.show(owner, id)).status === "importing") {
      await runInDurableObject(object.stub, async (_, { storage }) => {
        // What a process leaves that died while it wrote.
        const key = blobKey(id, crypto.randomUUID());
        const target = { purpose: "fetch", storeId: "fast", key };
        const job = await storage.get<object>("import");
        await storage.put("import", { ...job, dueMs: Date.now(), target });
      });
      passTime(60);
      await object.ring(service.env);
      if (++deaths > 20) throw new Error("it is never given up");
    }
    expect(deaths).toBe(6);
    const [task] = await tasksOf(service, owner, id);
    expect(task).toMatchObject({ status: "failure" });
    expect(task?.message).toContain("broken off");
  });
});

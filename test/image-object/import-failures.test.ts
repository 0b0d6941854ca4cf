import { env } from "cloudflare:workers";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { admin, owner } from "../support/callers.ts";
import { passTime, resumeTime, stopTime } from "../support/clock.ts";
import { beginImport, createStaged, finishImport, sources } from "../support/imports.ts";
import { interceptR2 } from "../support/intercept.ts";
import { Service } from "../support/service.ts";
import type { FileQuery } from "../support/source-behaviour.ts";
import { storedKeys } from "../support/stored-bytes.ts";
import { TWO_BUCKETS } from "../support/stores.ts";
import { TestedObject } from "../support/tested-object.ts";

// How imports fail (contract 10 §9): what the image then is, which stores are named, and that no bytes are left.

const STORES = JSON.stringify(TWO_BUCKETS);
const service = new Service({ settings: { STORES } });
const source = sources();

beforeEach(stopTime);
afterEach(resumeTime);

/** A bucket that takes nothing. */
function broken(bucket: R2Bucket): R2Bucket {
  const writes = ["put", "createMultipartUpload", "part"];
  return interceptR2(bucket, (call, proceed) => {
    if (writes.includes(call.operation)) throw new Error("the disk is full");
    return proceed();
  });
}

const withoutArchive = new Service({
  settings: { STORES },
  bindings: { ARCHIVE: broken(env.ARCHIVE) },
});
const withoutBoth = new Service({
  settings: { STORES },
  bindings: { ARCHIVE: broken(env.ARCHIVE), BLOBS: broken(env.BLOBS) },
});

/** A file at the source; without an id of its own it has no state. */
function uriOf(query: FileQuery = {}): string {
  return source.fileUrl({ size: 1000, seed: 1, id: crypto.randomUUID(), ...query });
}

function webDownload(query: FileQuery, more: object = {}): object {
  return { method: { name: "web-download", uri: uriOf(query) }, ...more };
}

async function keysIn(bucket: R2Bucket, imageId: string): Promise<readonly string[]> {
  const { objects } = await bucket.list({ prefix: `blobs/${imageId}/` });
  return objects.map(({ key }) => key);
}

async function expectNoBytes(imageId: string): Promise<void> {
  expect(await storedKeys(imageId)).toEqual([]);
  expect(await keysIn(env.ARCHIVE, imageId)).toEqual([]);
  expect(await new TestedObject(imageId).isAtRest()).toBe(true);
}

const QUEUED = {
  status: "queued",
  size: null,
  virtual_size: null,
  checksum: null,
  os_hash_algo: null,
  os_hash_value: null,
  os_glance_importing_to_stores: "",
};

/** Imports, and gives what came of it. */
async function outcomeOf(from: Service, request: object | string, imageId?: string) {
  const id = imageId ?? (await from.createEmpty(owner)).id;
  passTime(1);
  const caller = request === "copy-image" || JSON.stringify(request).includes("copy-image");
  await beginImport(from, caller ? admin : owner, id, request);
  return { id, ...(await finishImport(from, id, admin)) };
}

describe("a source that fails", () => {
  it.each([
    ["answers 404", { status: 404 }, /status 404/],
    ["answers 500 for ever", { status: 500 }, /status 500.*try 6/],
    ["breaks off always", { reset: 100 }, /broke off.*try 6/],
    ["gives fewer bytes than it says", { lie: 10 }, /broke off|not as long/],
    ["redirects for ever", { redirects: 9 }, /redirects too many times/],
    ["redirects to where nobody may go", { redirect: "ftp://example.com/x" }, /is not allowed/],
    ["is another at each request", { size: 2 ** 24, "change-always": 1 }, /replaced/],
  ] as const)("10 §9 fetch fails: one that %s", async (_, query, message) => {
    const { id, image, task } = await outcomeOf(service, webDownload(query, { all_stores: true }));
    expect(image).toMatchObject({ ...QUEUED, os_glance_failed_import: "archive,fast" });
    expect(image).not.toHaveProperty("stores");
    expect(image).not.toHaveProperty("os_glance_import_task");
    expect(task).toMatchObject({ status: "failure", result: null });
    expect(task?.message).toMatch(message);
    await expectNoBytes(id);
  });

  it("10 §11 No size cap: data beyond image_size_cap is refused, announced or not", async () => {
    const small = new Service({ settings: { STORES, IMAGE_SIZE_CAP: "5000" } });
    for (const query of [{ size: 5001 }, { size: 5001, chunked: 1 }] as const) {
      const { id, image, task } = await outcomeOf(small, webDownload(query));
      expect(image).toMatchObject({ ...QUEUED, os_glance_failed_import: "fast" });
      expect(task?.message).toContain("5000 bytes");
      await expectNoBytes(id);
    }
  });

  it("10 §9: data of another hash than was expected", async () => {
    const method = { name: "web-download", uri: uriOf(), checksum: `sha256:${"0".repeat(64)}` };
    const { id, image, task } = await outcomeOf(service, { method });
    expect(image).toMatchObject(QUEUED);
    expect(task?.message).toMatch(/sha256 [0-9a-f]{64}, not 0{64}/);
    await expectNoBytes(id);
  });

  it("10 §9: an image that failed takes another import, and its list of failed stores shrinks", async () => {
    const { id } = await outcomeOf(service, webDownload({ status: 404 }, { all_stores: true }));
    const again = await outcomeOf(service, webDownload({}, { stores: ["archive"] }), id);
    expect(again.image).toMatchObject({
      status: "active",
      stores: "archive",
      os_glance_failed_import: "fast",
    });
    expect(again.task).toMatchObject({ status: "success" });
  });

  it("10 §9: ends at its deadline, with the last error", async () => {
    const hasty = new Service({ settings: { STORES, IMPORT_DEADLINE_SECONDS: "4" } });
    const { id, image, task } = await outcomeOf(hasty, webDownload({ status: 503 }));
    expect(image).toMatchObject(QUEUED);
    expect(task?.message).toMatch(/within the time.*status 503/);
    await expectNoBytes(id);
  });
});

describe("a store that fails", () => {
  it("10 §9 one store fails, must, download methods: all are named, and the good one's data goes", async () => {
    const request = webDownload({}, { stores: ["fast", "archive"] });
    const { id, image, task } = await outcomeOf(withoutArchive, request);
    expect(image).toMatchObject({ ...QUEUED, os_glance_failed_import: "archive,fast" });
    expect(task).toMatchObject({ status: "failure" });
    await expectNoBytes(id);
  });

  it("10 §9 one store fails, must, glance-direct, IMP-17: queued again, and the staged bytes go", async () => {
    const { id } = await createStaged(withoutArchive, "staged");
    const request = { method: { name: "glance-direct" }, all_stores: true };
    const { image, task } = await outcomeOf(withoutArchive, request, id);
    expect(image).toMatchObject({ ...QUEUED, os_glance_failed_import: "archive,fast" });
    expect(task).toMatchObject({ status: "failure" });
    await expectNoBytes(id);
  });

  it("10 §9 one store fails, must, copy-image, IMP-17: the image keeps what it had", async () => {
    const before = await withoutArchive.createActive(owner, "bytes");
    const request = { method: { name: "copy-image" }, stores: ["archive"] };
    const { image, task } = await outcomeOf(withoutArchive, request, before.id);
    expect(image).toMatchObject({
      status: "active",
      stores: "fast",
      os_hash_value: before.os_hash_value,
      os_glance_importing_to_stores: "",
      os_glance_failed_import: "archive",
    });
    expect(task).toMatchObject({ status: "failure" });
    expect(await storedKeys(before.id)).toHaveLength(1);
  });

  it("10 §9 some stores fail, not must, IMP-14: active with the others", async () => {
    const stores = ["archive", "fast"];
    const request = webDownload({}, { stores, all_stores_must_succeed: false });
    const { image, task } = await outcomeOf(withoutArchive, request);
    expect(image).toMatchObject({
      status: "active",
      stores: "fast",
      os_glance_importing_to_stores: "",
      os_glance_failed_import: "archive",
    });
    expect(task).toMatchObject({ status: "success" });
    expect(task?.message).toContain("archive");
  });

  it("10 §9 all stores fail, not must, not copy-image: queued", async () => {
    const request = webDownload({}, { all_stores: true, all_stores_must_succeed: false });
    const { id, image, task } = await outcomeOf(withoutBoth, request);
    expect(image).toMatchObject({ ...QUEUED, os_glance_failed_import: "archive,fast" });
    expect(task).toMatchObject({ status: "failure" });
    await expectNoBytes(id);
  });

  it("10 §9 all stores fail, not must, copy-image: active, and the task says failure", async () => {
    const { id } = await service.createActive(owner, "bytes");
    const request = {
      method: { name: "copy-image" },
      all_stores: true,
      all_stores_must_succeed: false,
    };
    const { image, task } = await outcomeOf(withoutArchive, request, id);
    expect(image).toMatchObject({ status: "active", os_glance_failed_import: "archive" });
    expect(task).toMatchObject({ status: "failure" });
  });

  it("10 §13: a copy is read from another store when the first has lost the bytes", async () => {
    const { id } = await service.createActive(owner, "bytes");
    const copy = { method: { name: "copy-image" }, stores: ["archive"] };
    await outcomeOf(service, copy, id);
    for (const key of await storedKeys(id)) await env.BLOBS.delete(key);
    const three = JSON.stringify([...TWO_BUCKETS, { id: "third", type: "r2", binding: "BLOBS" }]);
    const again = { method: { name: "copy-image" }, stores: ["third"] };
    const { image, task } = await outcomeOf(
      new Service({ settings: { STORES: three } }),
      again,
      id,
    );
    expect(task).toMatchObject({ status: "success" });
    expect(image.stores).toBe("fast,archive,third");
  });
});

describe("a copy whose source is taken away", () => {
  it("11 §4 Import lock: is made of another, and the bytes taken away are gone", async () => {
    const { id } = await service.createActive(owner, "bytes");
    await outcomeOf(service, { method: { name: "copy-image" }, stores: ["archive"] }, id);
    const [doomed] = await storedKeys(id);
    const third = [...TWO_BUCKETS, { id: "third", type: "r2", binding: "BLOBS" }];
    const settings = { STORES: JSON.stringify(third) };
    const plain = new Service({ settings });
    let isDeleted = false;
    const BLOBS = interceptR2(env.BLOBS, async (call, proceed) => {
      if (call.operation === "get" && !isDeleted) {
        isDeleted = true;
        const path = `/v2/stores/fast/${id}`;
        expect((await plain.call(admin, "DELETE", path)).status).toBe(204);
        await env.BLOBS.delete(doomed ?? "");
      }
      return proceed();
    });
    const watched = new Service({ settings, bindings: { BLOBS } });
    const request = { method: { name: "copy-image" }, stores: ["third"] };
    const { image, task } = await outcomeOf(watched, request, id);
    expect(task).toMatchObject({ status: "success" });
    expect(image.stores).toBe("archive,third");
    expect(await storedKeys(id)).toHaveLength(1);
    expect(await storedKeys(id)).not.toContain(doomed);
  });
});

describe("compressed data", () => {
  const unpacking = new Service({
    settings: { STORES, IMAGE_IMPORT_PLUGINS: "image_decompression" },
  });
  const bad = new Uint8Array([0x1f, 0x8b, 0x08, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9]);

  it("10 §9 image_decompression fails, download methods: queued", async () => {
    const body = Buffer.from(bad).toString("base64url");
    const { id, image, task } = await outcomeOf(unpacking, webDownload({ body }));
    expect(image).toMatchObject({ ...QUEUED, os_glance_failed_import: "fast" });
    expect(task?.message).toContain("cannot be unpacked");
    await expectNoBytes(id);
  });

  it("10 §9 image_decompression fails, glance-direct: queued, nothing sticks", async () => {
    const { id } = await createStaged(unpacking, bad);
    const { image } = await outcomeOf(unpacking, "glance-direct", id);
    expect(image).toMatchObject({ ...QUEUED, os_glance_failed_import: "fast" });
    await expectNoBytes(id);
  });
});

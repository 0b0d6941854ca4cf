import { env } from "cloudflare:workers";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { toHex } from "../../src/lib/hex.ts";
import { admin, owner, stranger } from "../support/callers.ts";
import { passTime, resumeTime, stopTime } from "../support/clock.ts";
import { beginImport, createStaged, finishImport, sources, tasksOf } from "../support/imports.ts";
import { interceptR2 } from "../support/intercept.ts";
import { Service } from "../support/service.ts";
import { dataOf } from "../support/source-data.ts";
import { storedKeys } from "../support/stored-bytes.ts";
import { TWO_BUCKETS } from "../support/stores.ts";

// Imports that succeed: by each method, into one store or several, with each of the options.

const MiB = 1024 ** 2;
const STORES = JSON.stringify(TWO_BUCKETS);
const service = new Service({ settings: { STORES } });
const single = new Service();
const source = sources();

beforeEach(stopTime);
afterEach(resumeTime);

async function sha512(data: Uint8Array): Promise<string> {
  return toHex(await crypto.subtle.digest("SHA-512", data));
}

async function contentOf(from: Service, imageId: string): Promise<Uint8Array> {
  const response = await from.call(owner, "GET", `/v2/images/${imageId}/file`);
  expect(response.status).toBe(200);
  return response.bytes();
}

/** The image is active with these bytes, in these stores, and nothing of the import is left on it. */
async function expectImported(
  from: Service,
  imageId: string,
  data: Uint8Array,
  stores?: string,
): Promise<void> {
  const { image, task } = await finishImport(from, imageId, admin);
  expect(task).toMatchObject({ status: "success", result: { image_id: imageId } });
  expect(image).toMatchObject({
    status: "active",
    size: data.length,
    os_hash_algo: "sha512",
    os_hash_value: await sha512(data),
    os_glance_importing_to_stores: "",
    os_glance_failed_import: "",
    ...(stores !== undefined && { stores }),
  });
  expect(image).not.toHaveProperty("os_glance_import_task");
  expect(await sha512(await contentOf(from, imageId))).toBe(await sha512(data));
}

const bytes = new TextEncoder().encode("the image's bytes");

describe("glance-direct", () => {
  it("IMP-1, ST-8, ST-9, 10 §8: shows importing, the lock and the task at once, and then the image", async () => {
    const { id } = await createStaged(service, bytes);
    await beginImport(service, owner, id, "glance-direct");
    const [task] = await tasksOf(service, owner, id);
    expect(task).toMatchObject({
      type: "api_image_import",
      status: "pending",
      owner: owner.projectId,
      result: null,
      input: {
        image_id: id,
        import_req: { method: { name: "glance-direct" } },
        backend: ["fast"],
      },
    });
    expect(await service.show(owner, id)).toMatchObject({
      status: "importing",
      os_glance_import_task: task?.id,
      os_glance_importing_to_stores: "fast",
      os_glance_failed_import: "",
    });
    await expectImported(service, id, bytes, "fast");
  });

  it("10 §8: copies nothing when the bytes are staged in the store that is to have them", async () => {
    const moved: string[] = [];
    const BLOBS = interceptR2(env.BLOBS, (call, proceed) => {
      moved.push(call.operation);
      return proceed();
    });
    const watched = new Service({ bindings: { BLOBS } });
    const { id } = await createStaged(watched, bytes);
    const keys = await storedKeys(id);
    moved.length = 0;
    await beginImport(watched, owner, id, "glance-direct");
    await expectImported(watched, id, bytes);
    expect(await storedKeys(id)).toEqual(keys);
    // A look at its head (13 §3), and the download at the end.
    expect(moved).toEqual(["get", "get"]);
  });

  it("10 §6, 10 §8 step 8: fills another store, and the staged bytes go", async () => {
    const { id } = await createStaged(service, bytes);
    await beginImport(service, owner, id, {
      method: { name: "glance-direct" },
      stores: ["archive"],
    });
    await expectImported(service, id, bytes, "archive");
    expect(await storedKeys(id)).toEqual([]);
  });

  it("10 §10 Single-store: both lists appear, empty, and the task's input names no store", async () => {
    const { id } = await createStaged(single, bytes);
    await beginImport(single, owner, id, {
      method: { name: "glance-direct" },
      stores: ["nowhere"],
    });
    const [task] = await tasksOf(single, owner, id);
    expect(task?.input.backend).toEqual([null]);
    expect(await single.show(owner, id)).toMatchObject({
      os_glance_importing_to_stores: "",
      os_glance_failed_import: "",
    });
    await expectImported(single, id, bytes);
  });
});

describe("web-download", () => {
  it.each([
    ["in one piece", { size: 1000 }, 2],
    ["in parts", { size: 20 * MiB }, 4],
    ["without ranges", { size: 20 * MiB, ranges: "no" }, 2],
    ["without a length", { size: 20 * MiB, chunked: 1 }, 2],
    ["without a validator", { size: 20 * MiB, etag: "no", lastmod: "no" }, 2],
    ["of no bytes", { size: 0 }, 3],
    ["behind redirects", { size: 1000, redirects: 3 }, 2],
  ] as const)("IMP-1, IMP-7, 10 §11: brings data %s", async (_, query, requests) => {
    const id = crypto.randomUUID();
    const image = await service.createEmpty(owner);
    const uri = source.fileUrl({ seed: 3, id, ...query });
    await beginImport(service, owner, image.id, { method: { name: "web-download", uri } });
    await expectImported(service, image.id, dataOf({ seed: 3, size: query.size }), "fast");
    const log = (await source.log(id)).filter(({ status }) => status !== 302);
    expect(log.length).toBeLessThanOrEqual(requests);
    for (const { headers } of log) {
      expect(headers).not.toHaveProperty("x-auth-token");
      expect(headers).not.toHaveProperty("cookie");
    }
  });

  it("10 §6: into all stores, in parts, one of which comes from the other", async () => {
    const id = crypto.randomUUID();
    const size = 20 * MiB;
    const image = await service.createEmpty(owner);
    const uri = source.fileUrl({ seed: 4, id, size });
    const request = { method: { name: "web-download", uri }, all_stores: true };
    await beginImport(service, owner, image.id, request);
    expect(await service.show(owner, image.id)).toMatchObject({
      os_glance_importing_to_stores: "archive,fast",
    });
    await expectImported(service, image.id, dataOf({ seed: 4, size }), "fast,archive");
    // One request to look at it, and one for all of its bytes.
    expect((await source.log(id)).length).toBe(2);
  });

  it("10 §8 step 7: with all_stores_must_succeed false the first store makes it active", async () => {
    const image = await service.createEmpty(owner);
    const seen: unknown[] = [];
    const ARCHIVE = interceptR2(env.ARCHIVE, async (call, proceed) => {
      if (call.operation === "put") seen.push(await service.show(owner, image.id));
      return proceed();
    });
    const watched = new Service({ settings: { STORES }, bindings: { ARCHIVE } });
    const uri = source.fileUrl({ seed: 5, size: 1000 });
    await beginImport(watched, owner, image.id, {
      method: { name: "web-download", uri },
      all_stores: true,
      all_stores_must_succeed: false,
    });
    await expectImported(watched, image.id, dataOf({ seed: 5, size: 1000 }), "fast,archive");
    expect(seen).toMatchObject([
      { status: "active", stores: "fast", os_glance_importing_to_stores: "archive" },
    ]);
  });

  it("is held against the hash that the request names, whatever the algorithm", async () => {
    const data = dataOf({ seed: 6, size: 20 * MiB });
    for (const [name, digest] of [
      ["sha256", "SHA-256"],
      ["sha512", "SHA-512"],
      ["md5", "MD5"],
    ] as const) {
      const image = await service.createEmpty(owner);
      const uri = source.fileUrl({ seed: 6, size: 20 * MiB });
      const checksum = `${name}:${toHex(await crypto.subtle.digest(digest, data)).toUpperCase()}`;
      await beginImport(service, owner, image.id, {
        method: { name: "web-download", uri, checksum },
      });
      await expectImported(service, image.id, data, "fast");
    }
  });

  it("hashes staged bytes anew for a hash that was not made of them", async () => {
    const { id } = await createStaged(service, bytes);
    const checksum = `sha1:${toHex(await crypto.subtle.digest("SHA-1", bytes))}`;
    await beginImport(service, owner, id, { method: { name: "glance-direct", checksum } });
    await expectImported(service, id, bytes, "fast");
  });

  it("10 §11 Credentials: an address with a password is refused, and no task tells it", async () => {
    const { id } = await service.createEmpty(owner);
    const uri = source.fileUrl({ size: 1 }).replace("//", "//user:secret@");
    const json = { method: { name: "web-download", uri } };
    const response = await service.call(owner, "POST", `/v2/images/${id}/import`, { json });
    expect(response.status).toBe(400);
    expect(await response.text()).not.toContain("secret");
    expect(await tasksOf(service, owner, id)).toEqual([]);
  });
});

describe("copy-image", () => {
  it("IMP-12, POL-18, 10 §13: an administrator's copy, which the owner has no task of", async () => {
    const data = dataOf({ seed: 7, size: 20 * MiB });
    const { id } = await service.createActive(owner, data);
    await beginImport(service, admin, id, { method: { name: "copy-image" }, all_stores: true });
    expect(await service.show(owner, id)).toMatchObject({
      status: "active",
      os_glance_importing_to_stores: "archive",
    });
    await expectImported(service, id, data, "fast,archive");
    expect(await service.show(owner, id)).toMatchObject({ owner: owner.projectId });
    expect(await tasksOf(service, owner, id)).toEqual([]);
  });

  it("10 §13 Hash: keeps the image's own algorithm, whatever is configured now", async () => {
    const { id } = await service.createActive(owner, bytes);
    const later = new Service({ settings: { STORES, HASHING_ALGORITHM: "sha256" } });
    await beginImport(later, admin, id, { method: { name: "copy-image" }, stores: ["archive"] });
    await expectImported(later, id, bytes, "fast,archive");
  });

  it("10 §13 Hash: refuses a copy of bytes that are not the image's any more", async () => {
    const { id } = await service.createActive(owner, bytes);
    for (const key of await storedKeys(id)) await env.BLOBS.put(key, "THE IMAGE'S BYTES");
    await beginImport(service, admin, id, { method: { name: "copy-image" }, stores: ["archive"] });
    const { image, task } = await finishImport(service, id, admin);
    expect(task).toMatchObject({ status: "failure" });
    expect(image).toMatchObject({ stores: "fast", os_glance_failed_import: "archive" });
    expect((await env.ARCHIVE.list({ prefix: `blobs/${id}/` })).objects).toEqual([]);
  });

  it("10 §4 #14: to all stores, when all have it, is accepted and makes no task", async () => {
    const { id } = await service.createActive(owner, bytes);
    const request = { method: { name: "copy-image" }, all_stores: true };
    await beginImport(service, admin, id, request);
    await finishImport(service, id, admin);
    const before = await service.show(owner, id);
    passTime(1);
    await beginImport(service, admin, id, request);
    expect(await service.show(owner, id)).toEqual(before);
    expect(await tasksOf(service, admin, id)).toHaveLength(1);
  });
});

describe("glance-download", () => {
  const regional = new Service({
    settings: {
      STORES,
      IMPORT_METHODS: "glance-download",
      GLANCE_REGIONS: JSON.stringify({ RegionTwo: `${source.url}/image-api` }),
    },
  });

  async function importFrom(record: object, file: { size: number; seed: number }) {
    const remoteId = crypto.randomUUID();
    const expectToken = await owner.token();
    await source.putImage(remoteId, { record: { id: remoteId, ...record }, expectToken, file });
    const image = await regional.createEmpty(owner);
    await beginImport(regional, owner, image.id, {
      method: { name: "glance-download", glance_region: "regiontwo", glance_image_id: remoteId },
    });
    return { id: image.id, ...(await finishImport(regional, image.id)) };
  }

  it("IMP-8, 10 §12: brings data, formats and some properties with the caller's token", async () => {
    const size = 20 * MiB;
    const record = {
      status: "active",
      size,
      disk_format: "ploop",
      container_format: "bare",
      hw_disk_bus: "scsi",
      os_distro: "debian",
      os_glance_x: "1",
      other: "2",
    };
    const { id, image } = await importFrom(record, { size, seed: 8 });
    expect(image).toMatchObject({ disk_format: "ploop", hw_disk_bus: "scsi", os_distro: "debian" });
    expect(image).not.toHaveProperty("other");
    expect(image).not.toHaveProperty("os_glance_x");
    await expectImported(regional, id, dataOf({ size, seed: 8 }), "fast");
    expect(JSON.stringify(await tasksOf(regional, owner, id))).not.toContain(await owner.token());
  });

  it("10 §12 Remote status, Size, On failure: fails, and takes nothing over", async () => {
    for (const record of [
      { status: "queued", size: 1000 },
      { status: "active", size: 999 },
      { status: "active", size: 1000, disk_format: "floppy" },
      { status: "active", size: 1000, hw_note: "\u{1f600}" },
      { status: "active", size: 1000, hw_note: "x".repeat(200_000) },
      { status: "active", size: 1000, os_hash_algo: "sha512", os_hash_value: "0".repeat(128) },
    ]) {
      const full = { disk_format: "qcow2", hw_disk_bus: "scsi", ...record };
      const { image, task } = await importFrom(full, { size: 1000, seed: 8 });
      expect(task).toMatchObject({ status: "failure" });
      expect(image).toMatchObject({ status: "queued", disk_format: "raw" });
      expect(image).not.toHaveProperty("hw_disk_bus");
    }
  });
});

describe("plugins", () => {
  const gzip = async (data: Uint8Array) =>
    new Response(new Response(data).body?.pipeThrough(new CompressionStream("gzip"))).bytes();
  const data = dataOf({ seed: 9, size: 3 * MiB });
  const unpacking = new Service({
    settings: { STORES, IMAGE_IMPORT_PLUGINS: "no_op,image_decompression" },
  });

  it("10 §14 image_decompression: unpacks what is compressed, staged or fetched", async () => {
    const { id } = await createStaged(unpacking, await gzip(data));
    await beginImport(unpacking, owner, id, {
      method: { name: "glance-direct" },
      all_stores: true,
    });
    await expectImported(unpacking, id, data, "fast,archive");
    expect(await storedKeys(id)).toHaveLength(1);
  });

  it("10 §14 image_decompression: leaves plain data, compressed containers and uploads alone", async () => {
    const packed = await gzip(data);
    const plain = await createStaged(unpacking, data);
    await beginImport(unpacking, owner, plain.id, "glance-direct");
    await expectImported(unpacking, plain.id, data, "fast");
    const container = await createStaged(unpacking, packed, { container_format: "compressed" });
    await beginImport(unpacking, owner, container.id, "glance-direct");
    await expectImported(unpacking, container.id, packed, "fast");
    const uploaded = await unpacking.createActive(owner, packed);
    expect(uploaded.size).toBe(packed.length);
    const off = await createStaged(service, packed);
    await beginImport(service, owner, off.id, "glance-direct");
    await expectImported(service, off.id, packed, "fast");
  });

  it("10 §14 image_decompression: refuses by name what cannot be unpacked", async () => {
    const xz = Uint8Array.from([0xfd, 0x37, 0x7a, 0x58, 0x5a, 0, ...new Uint8Array(600)]);
    const { id } = await createStaged(unpacking, xz);
    await beginImport(unpacking, owner, id, "glance-direct");
    const { task } = await finishImport(unpacking, id);
    expect(task?.status).toBe("failure");
    expect(task?.message).toContain("It is packed with xz, which is not supported");
  });

  it("13 §3 raw: the task says how data is packed that is taken as it is", async () => {
    const { id } = await createStaged(service, await gzip(data));
    await beginImport(service, owner, id, "glance-direct");
    const { image, task } = await finishImport(service, id);
    expect(image.status).toBe("active");
    expect(task).toMatchObject({
      status: "success",
      message: "The data is packed with gzip, and was taken as it is.",
    });
  });

  it("10 §14 image_decompression: is bounded by image_size_cap", async () => {
    const capped = new Service({
      settings: { STORES, IMAGE_IMPORT_PLUGINS: "image_decompression", IMAGE_SIZE_CAP: "1000000" },
    });
    const { id } = await createStaged(capped, await gzip(new Uint8Array(3 * MiB)));
    await beginImport(capped, owner, id, "glance-direct");
    const { image, task } = await finishImport(capped, id);
    expect(image).toMatchObject({ status: "queued", size: null });
    expect(task?.message).toContain("1000000");
    expect(await storedKeys(id)).toEqual([]);
  });

  it("10 §14 inject_image_metadata: adds properties to others' images than of those roles", async () => {
    const inject = { ignore_user_roles: ["admin"], inject: { seen: "yes", os_glance_no: "x" } };
    const injecting = new Service({
      settings: {
        STORES,
        IMAGE_IMPORT_PLUGINS: "inject_image_metadata",
        INJECT_IMAGE_METADATA: JSON.stringify(inject),
      },
    });
    for (const [caller, seen] of [
      [owner, "yes"],
      [admin, undefined],
    ] as const) {
      const { id } = await createStaged(injecting, bytes);
      await beginImport(injecting, caller, id, "glance-direct");
      const { image } = await finishImport(injecting, id, admin);
      expect(image.status).toBe("active");
      expect(image.seen).toBe(seen);
      expect(image).not.toHaveProperty("os_glance_no");
    }
  });
});

describe("plugins that do nothing here", () => {
  it("10 §14 no_op, image_conversion: one changes nothing, the other is refused at start", async () => {
    const idle = new Service({ settings: { STORES, IMAGE_IMPORT_PLUGINS: "no_op" } });
    const { id } = await createStaged(idle, bytes);
    await beginImport(idle, owner, id, "glance-direct");
    await expectImported(idle, id, bytes, "fast");
    const converting = new Service({ settings: { IMAGE_IMPORT_PLUGINS: "image_conversion" } });
    const response = await converting.call(owner, "GET", "/v2/images");
    expect(response.status).toBe(503);
    expect(await response.text()).toContain("IMAGE_IMPORT_PLUGINS");
  });
});

describe("an import under way", () => {
  it("10 §7 Not guarded, MX-1: lets the image be patched and tagged, and keeps the lock", async () => {
    const { id } = await createStaged(service, bytes);
    await beginImport(service, owner, id, "glance-direct");
    const patch = [{ op: "replace", path: "/name", value: "renamed" }];
    const patched = await service.call(owner, "PATCH", `/v2/images/${id}`, { patch });
    expect(patched.status).toBe(200);
    expect((await service.call(owner, "PUT", `/v2/images/${id}/tags/blue`)).status).toBe(204);
    expect(await service.show(owner, id)).toHaveProperty("os_glance_import_task");
    await expectImported(service, id, bytes, "fast");
    expect(await service.show(owner, id)).toMatchObject({ name: "renamed", tags: ["blue"] });
  });

  it("10 §8 Deleted during import: nothing comes back, and the task says so", async () => {
    const { id } = await service.createEmpty(owner);
    const uri = source.fileUrl({ size: 1000, seed: 1 });
    await beginImport(service, owner, id, { method: { name: "web-download", uri } });
    const [task] = await tasksOf(service, owner, id);
    expect((await service.call(owner, "DELETE", `/v2/images/${id}`)).status).toBe(204);
    expect((await service.call(owner, "GET", `/v2/images/${id}/tasks`)).status).toBe(404);
    const shown = await service.call(admin, "GET", `/v2/tasks/${task?.id}`);
    expect(await shown.json()).toMatchObject({
      status: "failure",
      message: "The image was deleted.",
    });
    expect((await service.call(stranger, "GET", `/v2/tasks/${task?.id}`)).status).toBe(403);
  });
});

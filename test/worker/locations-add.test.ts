import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { toHex } from "../../src/lib/hex.ts";
import {
  admin,
  type Caller,
  member,
  owner,
  ownersReader,
  serviceUser,
  stranger,
} from "../support/callers.ts";
import { resumeTime, stopTime } from "../support/clock.ts";
import { expectNothingLeft, expectQueued, expectRetryWorks } from "../support/expect-sound.ts";
import { finishImport, sources, stage, tasksOf } from "../support/imports.ts";
import { beginAddLocation, callAddLocation, OPEN_LOCATIONS } from "../support/locations.ts";
import { Service } from "../support/service.ts";
import { bodyParameter } from "../support/source-control.ts";
import { storedKeys } from "../support/stored-bytes.ts";
import { TestedObject } from "../support/tested-object.ts";

// POST …/locations: what it accepts, and what comes of it.

const service = new Service({ settings: OPEN_LOCATIONS });
const lax = new Service({ settings: { ...OPEN_LOCATIONS, DO_SECURE_HASH: "false" } });
const single = new Service();
const source = sources();

const bytes = new TextEncoder().encode("data that stays where it is");
const fileUrl = (more: object = {}) => source.fileUrl({ body: bodyParameter(bytes), ...more });

beforeEach(stopTime);
afterEach(resumeTime);

async function digestOf(algorithm: "MD5" | "SHA-1" | "SHA-256" | "SHA-512"): Promise<string> {
  return toHex(await crypto.subtle.digest(algorithm, bytes));
}

const NAMES = { md5: "MD5", sha1: "SHA-1", sha256: "SHA-256", sha512: "SHA-512" } as const;

async function validationBy(algorithm: keyof typeof NAMES) {
  return { os_hash_algo: algorithm, os_hash_value: await digestOf(NAMES[algorithm]) };
}

async function refuse(
  status: number,
  imageId: string,
  body: unknown,
  by: Caller = owner,
  at: Service = service,
): Promise<void> {
  const response = await callAddLocation(at, by, imageId, body);
  expect([response.status, await response.text()]).toEqual([status, expect.anything()]);
}

/** The image waits for data again, its task tells why, and it can be tried once more. */
async function expectFailed(imageId: string, message: RegExp, at = service): Promise<void> {
  const { image, task } = await finishImport(at, imageId);
  expect(task).toMatchObject({ type: "location_import", status: "failure" });
  expect(task?.message).toMatch(message);
  expect(image).not.toHaveProperty("os_glance_import_task");
  expect(image.locations).toEqual([]);
  await expectQueued(imageId);
  await beginAddLocation(service, owner, imageId, { url: fileUrl() });
  expect((await finishImport(service, imageId)).image.status).toBe("active");
}

describe("a location that is added", () => {
  it("LEP-1, COD-13, TSK-3: is accepted with 202 and hashed by a task, while the image is active already", async () => {
    const { id } = await service.createEmpty(owner);
    const url = fileUrl();
    await beginAddLocation(service, owner, id, { url });
    const [begun] = await tasksOf(service, admin, id);
    expect(begun).toMatchObject({
      type: "location_import",
      status: "pending",
      input: { image_id: id, loc_url: url, validation_data: {} },
      owner: owner.projectId,
    });
    expect(await service.show(owner, id)).toMatchObject({
      status: "queued",
      os_glance_import_task: begun?.id,
    });
    const { image, task } = await finishImport(service, id);
    expect(task).toMatchObject({
      status: "success",
      result: { image_id: id, bytes: bytes.length, stores: ["http"] },
    });
    expect(image).toMatchObject({
      status: "active",
      size: bytes.length,
      virtual_size: null,
      checksum: await digestOf("MD5"),
      os_hash_algo: "sha512",
      os_hash_value: await digestOf("SHA-512"),
      locations: [{ url, metadata: { store: "http" } }],
    });
    expect(image).not.toHaveProperty("os_glance_import_task");
    expect(Object.keys(image).filter((key) => key.startsWith("os_glance"))).toEqual([]);
    const data = await service.call(owner, "GET", `/v2/images/${id}/file`);
    expect(await data.bytes()).toEqual(bytes);
    expect(await storedKeys(id)).toEqual([]);
    expect(await new TestedObject(id).isAtRest()).toBe(true);
  });

  it("11 §8 true, none: the image is active before its data is hashed, and a download needs no hash", async () => {
    const { id } = await service.createEmpty(owner);
    const gate = crypto.randomUUID();
    // The probe passes, and the data waits.
    await beginAddLocation(service, owner, id, {
      url: source.fileUrl({ size: 100_000, seed: 1, id: gate, gate, "gate-at": 65_536 }),
    });
    const object = new TestedObject(id);
    const ringing = object.ring(service.env);
    await source.waitAtGate(gate);
    expect(await service.show(owner, id)).toMatchObject({
      status: "active",
      size: 100_000,
      checksum: null,
      os_hash_value: null,
      os_glance_import_task: expect.any(String),
    });
    await source.openGate(gate);
    await ringing;
    const { image } = await finishImport(service, id);
    expect(image.os_hash_value).toMatch(/^[0-9a-f]{128}$/);
  });

  it.each(["md5", "sha1", "sha256", "sha512"] as const)(
    "LEP-11, 11 §8 true, given: a hash by %s is verified and becomes the image's",
    async (algorithm) => {
      const { id } = await service.createEmpty(owner);
      const validation_data = await validationBy(algorithm);
      await beginAddLocation(service, owner, id, { url: fileUrl(), validation_data });
      const { image, task } = await finishImport(service, id);
      expect(task).toMatchObject({ status: "success" });
      const checksum = await digestOf("MD5");
      expect(image).toMatchObject({ status: "active", checksum, ...validation_data });
    },
  );

  it("11 §8 size: is that of HEAD where GET does not tell it, and the data must have it", async () => {
    const right = await service.createEmpty(owner);
    await beginAddLocation(service, owner, right.id, { url: fileUrl({ chunked: "get" }) });
    expect((await finishImport(service, right.id)).image).toMatchObject({
      status: "active",
      size: bytes.length,
      os_hash_value: await digestOf("SHA-512"),
    });
    const download = await service.call(owner, "GET", `/v2/images/${right.id}/file`);
    expect(await download.bytes()).toEqual(bytes);
  });

  it("11 §8 true, given: the image is importing until its data has turned out to be right", async () => {
    const { id } = await service.createEmpty(owner);
    const gate = crypto.randomUUID();
    const url = source.fileUrl({ size: 100_000, seed: 1, id: gate, gate, "gate-at": 65_536 });
    const validation_data = { os_hash_algo: "md5", os_hash_value: "00".repeat(16) };
    await beginAddLocation(service, owner, id, { url, validation_data });
    const ringing = new TestedObject(id).ring(service.env);
    await source.waitAtGate(gate);
    expect(await service.show(owner, id)).toMatchObject({ status: "importing", size: null });
    await source.openGate(gate);
    await ringing;
    await expectFailed(id, /md5/);
  });

  it("LEP-8: data of another hash is the task's failure, and the image is queued again", async () => {
    const { id } = await service.createEmpty(owner);
    const validation_data = { os_hash_algo: "sha256", os_hash_value: "00".repeat(32) };
    await beginAddLocation(service, owner, id, { url: fileUrl(), validation_data });
    await expectFailed(id, /sha256 .* not 0000/);
  });

  it("LEP-12: with DO_SECURE_HASH off nothing is read: what was given is taken, else there is no hash", async () => {
    const scenario = crypto.randomUUID();
    const url = fileUrl({ id: scenario });
    const given = { os_hash_algo: "md5", os_hash_value: "00".repeat(16) };
    for (const validation_data of [given, {}]) {
      const { id } = await service.createEmpty(owner);
      await beginAddLocation(lax, owner, id, { url, validation_data });
      const { image } = await finishImport(lax, id);
      expect(image).toMatchObject({ status: "active", size: bytes.length, checksum: null });
      expect(image.os_hash_value).toBe(validation_data === given ? given.os_hash_value : null);
      expect(image.os_hash_algo).toBe(validation_data === given ? "md5" : null);
    }
    const ranges = (await source.log(scenario)).map(({ range }) => range);
    expect(new Set(ranges)).toEqual(new Set(["bytes=0-0"]));
  });
});

describe("what is refused at once", () => {
  it.each([
    undefined,
    {},
    { url: 5 },
    { url: "http://a/", validation_data: { os_hash_algo: "md5" } },
    { url: "http://a/", validation_data: { os_hash_value: "x" } },
    { url: "http://a/", validation_data: { os_hash_algo: "sha384", os_hash_value: "x" } },
    { url: "http://a/", validation_data: { more: "x" } },
  ])("LEP-3, SIN-1: %j is 400, whether or not there is such an image", async (body) => {
    const { id } = await service.createActive(owner, "x");
    await refuse(400, id, body);
    await refuse(400, crypto.randomUUID(), body);
  });

  it("LEP-2, 11 §8 #5: an image that is not queued is 409, before the policy is asked", async () => {
    const { id } = await service.createActive(owner, "x", { visibility: "community" });
    for (const by of [owner, stranger, ownersReader]) await refuse(409, id, { url: fileUrl() }, by);
    const staged = await service.createEmpty(owner);
    await stage(service, owner, staged.id, "x");
    await refuse(409, staged.id, { url: fileUrl() });
  });

  it("LEP-5, POL-17: it is for the owner's members, services and administrators", async () => {
    const { id } = await service.createEmpty(owner, { visibility: "community" });
    await refuse(403, id, { url: fileUrl() }, ownersReader);
    await refuse(403, id, { url: fileUrl() }, stranger);
    const { id: own } = await service.createEmpty(owner, { visibility: "private" });
    await refuse(404, own, { url: fileUrl() }, stranger);
    await refuse(404, own, { url: fileUrl() }, serviceUser);
    const { id: shared } = await service.createShared(owner, member, "accepted", {
      disk_format: "raw",
      container_format: "bare",
    });
    await refuse(403, shared, { url: fileUrl() }, member);
    await beginAddLocation(service, admin, shared, { url: fileUrl() });
    await beginAddLocation(service, serviceUser, id, { url: fileUrl() });
  });

  it.each(["rbd://pool/image", "cinder://volume", "file:///x", "glimpse://fast/blobs/x/y"])(
    "LEP-6: %s is 403 to all but services, administrators too",
    async (url) => {
      const { id } = await service.createEmpty(owner);
      await refuse(403, id, { url });
      await refuse(403, id, { url }, admin);
    },
  );

  it("LEP-6: without a store of the type http any address is 403", async () => {
    const { id } = await single.createEmpty(owner);
    await refuse(403, id, { url: fileUrl() }, owner, single);
    await refuse(403, id, { url: fileUrl() }, admin, single);
  });

  it("LEP-4: a hash that is none of its algorithm is 400", async () => {
    const { id } = await service.createEmpty(owner);
    for (const os_hash_value of ["xy".repeat(16), "ab"]) {
      const validation_data = { os_hash_algo: "md5", os_hash_value };
      await refuse(400, id, { url: fileUrl(), validation_data });
    }
  });

  it("11 §8 Missing formats: are 409 up front", async () => {
    const { id } = await service.create(owner);
    await refuse(409, id, { url: fileUrl() });
  });

  it("LEP-7, 11 §8 #9: a second one is 409 while the first has the image", async () => {
    const { id } = await service.createEmpty(owner);
    await beginAddLocation(service, owner, id, { url: fileUrl() });
    await refuse(409, id, { url: fileUrl() });
    const json = { method: { name: "web-download", uri: fileUrl() } };
    const importing = await service.call(owner, "POST", `/v2/images/${id}/import`, { json });
    expect(importing.status).toBe(409);
    expect((await finishImport(service, id)).image.status).toBe("active");
  });
});

describe("what fails in its task", () => {
  it.each([
    ["is not there", () => fileUrl({ status: 404 }), /status 404/],
    ["has no data", () => source.fileUrl({ size: 0 }), /empty/],
    ["does not say how much it has", () => fileUrl({ chunked: 1 }), /size/],
    ["has a password in it", () => fileUrl().replace("//", "//user:secret@"), /user name/],
    ["stays in trouble", () => fileUrl({ status: 503 }), /status 503/],
  ])("11 §8 Bad URL: an address that %s, and the image stays queued", async (_, url, message) => {
    const { id } = await service.createEmpty(owner);
    await beginAddLocation(service, owner, id, { url: url() });
    await expectFailed(id, message);
    expect(JSON.stringify(await tasksOf(service, admin, id))).not.toContain("secret");
  });

  it.each(["rbd://pool/image", "glimpse://fast/blobs/x/y", "blobs/x/y", "file:///etc/passwd"])(
    "LEP-6: %s of a service",
    async (url) => {
      const { id } = await service.createEmpty(owner, { visibility: "community" });
      await beginAddLocation(service, serviceUser, id, { url });
      const { image, task } = await finishImport(service, id, admin);
      expect(task).toMatchObject({ status: "failure" });
      expect(image).toMatchObject({ status: "queued", locations: [] });
      const alone = await single.createEmpty(owner, { visibility: "community" });
      await beginAddLocation(single, serviceUser, alone.id, { url });
      expect((await finishImport(single, alone.id, admin)).image.status).toBe("queued");
    },
  );

  it("LEP-6: any address of a service where no store is of the type http", async () => {
    const { id } = await single.createEmpty(owner, { visibility: "community" });
    await beginAddLocation(single, serviceUser, id, { url: fileUrl() });
    const { image, task } = await finishImport(single, id, admin);
    expect([image.status, task?.status]).toEqual(["queued", "failure"]);
    await expectRetryWorks(id);
  });

  it("LIM-6, LIM-9: one beyond the quota of locations, or of storage", async () => {
    const none = new Service({ settings: { ...OPEN_LOCATIONS, IMAGE_LOCATION_QUOTA: "0" } });
    const { id } = await service.createEmpty(owner);
    await beginAddLocation(none, owner, id, { url: fileUrl() });
    await expectFailed(id, /locations, maximum: 0/, none);
    const small = new Service({ settings: { ...OPEN_LOCATIONS, USER_STORAGE_QUOTA: "1GB" } });
    const url = source.fileUrl({ size: 1024 ** 3 + 1, seed: 1 });
    for (const at of [
      small,
      new Service({ settings: { ...small.env, DO_SECURE_HASH: "false" } as never }),
    ]) {
      const large = await service.createEmpty(owner);
      await beginAddLocation(at, owner, large.id, { url });
      await expectFailed(large.id, /user_storage_quota/, at);
    }
  });

  it("10 §7 Not guarded: an upload that came in between has the image", async () => {
    const { id } = await service.createEmpty(owner);
    await beginAddLocation(service, owner, id, { url: fileUrl() });
    expect((await service.upload(owner, id, "uploaded")).status).toBe(204);
    const { image, task } = await finishImport(service, id);
    expect(task).toMatchObject({ status: "failure" });
    expect(image).toMatchObject({ status: "active", size: 8, stores: "fast" });
    expect(image).not.toHaveProperty("os_glance_import_task");
  });

  it("NUL-3: formats that were taken away meanwhile", async () => {
    const { id } = await service.createEmpty(owner);
    await beginAddLocation(service, owner, id, { url: fileUrl() });
    const patch = [{ op: "replace", path: "/disk_format", value: null }];
    expect((await service.call(owner, "PATCH", `/v2/images/${id}`, { patch })).status).toBe(200);
    const { image, task } = await finishImport(service, id);
    expect(task).toMatchObject({ status: "failure" });
    expect(image.status).toBe("queued");
  });
});

describe("who is told the address", () => {
  it("12 §3 input for add-location: services and administrators, and no other reader of the task", async () => {
    const { id } = await service.createEmpty(owner, { visibility: "community" });
    const url = fileUrl();
    await beginAddLocation(service, owner, id, { url });
    const [seen] = await tasksOf(service, owner, id);
    expect(seen?.input).toEqual({ image_id: id, validation_data: {} });
    const [task] = await tasksOf(service, admin, id);
    expect(task?.input.loc_url).toBe(url);
    const shown = await service.call(admin, "GET", `/v2/tasks/${task?.id}`);
    expect(await shown.json()).toMatchObject({ input: { loc_url: url } });
    await finishImport(service, id);
  });
});

describe("an image that is deleted while it is hashed", () => {
  it("11 §8 Delete image: ends the hashing at once", async () => {
    const plain = new Service();
    const { id } = await plain.createEmpty(owner);
    await beginAddLocation(service, owner, id, {
      url: source.fileUrl({ size: 100_000, seed: 1, id, gate: id, "gate-at": 65_536 }),
    });
    const ringing = new TestedObject(id).ring(service.env);
    await source.waitAtGate(id);
    expect((await service.call(owner, "DELETE", `/v2/images/${id}`)).status).toBe(204);
    await source.openGate(id);
    await ringing;
    await expectNothingLeft(id);
  });
});

import { env } from "cloudflare:workers";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { admin, member, owner, ownersReader, stranger } from "../support/callers.ts";
import { passTime, resumeTime, stopTime } from "../support/clock.ts";
import {
  expectData,
  expectNothingLeft,
  expectQueued,
  expectRetryWorks,
} from "../support/expect-sound.ts";
import { expectRefusal, plantStatus } from "../support/image-state.ts";
import { beginImport, callImport, createStaged, finishImport, stage } from "../support/imports.ts";
import { interceptR2 } from "../support/intercept.ts";
import { Service } from "../support/service.ts";
import { openUpload } from "../support/statuses.ts";
import { findStrays, storedKeys } from "../support/stored-bytes.ts";
import { TWO_BUCKETS } from "../support/stores.ts";
import { TestedObject } from "../support/tested-object.ts";
import { bodyOf, bytesOf } from "../support/upload-body.ts";

// PUT /v2/images/{image_id}/stage (contract 03 §3.3, 10 §2).

const service = new Service();
const MISSING = "00000000-0000-4000-8000-000000000000";
const json = { accept: "application/json" };
const MiB = 1024 ** 2;
/** What the default of UPLOAD_LEASE_SECONDS comes to with the time between two renewals. */
const LEASE_SECONDS = 400;

/** A body in two halves; `meanwhile` happens between them. */
function halves(size: number, meanwhile: () => Promise<unknown>): ReadableStream<Uint8Array> {
  const data = bytesOf(size);
  return bodyOf(async function* () {
    yield data.subarray(0, size / 2);
    await meanwhile();
    yield data.subarray(size / 2);
  });
}

/** A body whose length nothing announces. */
function chunked(text: string): ReadableStream<Uint8Array> {
  return bodyOf(async function* () {
    yield new TextEncoder().encode(text);
  });
}

/** A body whose sender leaves half-way. */
function brokenOff(size: number): ReadableStream<Uint8Array> {
  return halves(size, () => Promise.reject(new Error("the client has left")));
}

async function statusOf(response: Promise<Response>): Promise<number> {
  return (await response).status;
}

function importOf(id: string): Promise<Response> {
  return callImport(service, owner, id, "glance-direct");
}

/** Expects that of the image's bytes only the staged ones are there, and that the object knows when they go. */
async function expectNothingElseIsStored(imageId: string): Promise<void> {
  expect(await storedKeys(imageId)).toHaveLength(1);
  expect(await findStrays(imageId)).toEqual([]);
  expect(await new TestedObject(imageId).waitsForImport()).toBe(true);
}

beforeEach(stopTime);
afterEach(resumeTime);

describe("staging", () => {
  it("STG-3, ST-6, 10 §2 Effect: shows uploading and the size, and nothing of the content", async () => {
    const { id } = await service.createEmpty(owner);
    const response = await stage(service, owner, id, "twelve bytes");
    expect(response.status).toBe(204);
    expect(await response.text()).toBe("");
    const image = await service.show(owner, id);
    expect(image).toMatchObject({
      status: "uploading",
      size: 12,
      virtual_size: null,
      checksum: null,
      os_hash_algo: null,
      os_hash_value: null,
    });
    expect(image).not.toHaveProperty("os_glance_stage_host");
    expect(await storedKeys(id)).toHaveLength(1);
    expect(await new TestedObject(id).waitsForImport()).toBe(true);
  });

  it("STG-3, ST-6, 10 §2 Effect status: is uploading from its first byte on, without a size", async () => {
    const { id } = await service.createEmpty(owner);
    const seen: unknown[] = [];
    const body = halves(10, async () => {
      const { status, size } = await service.show(owner, id);
      const calls = [
        service.call(owner, "GET", `/v2/images/${id}/file`),
        stage(service, owner, id, "x"),
        service.upload(owner, id, "x"),
        importOf(id),
      ];
      seen.push(status, size, ...(await Promise.all(calls.map(statusOf))));
    });
    expect(await statusOf(stage(service, owner, id, body))).toBe(204);
    expect(seen).toEqual(["uploading", null, 204, 409, 409, 409]);
    expect(await service.show(owner, id)).toMatchObject({ status: "uploading", size: 10 });
    await expectNothingElseIsStored(id);
  });

  it("STG-3, 10 §2 Effect size: stages what comes in parts, and the import makes it the image's", async () => {
    const data = bytesOf(20 * MiB);
    const { id } = await createStaged(
      service,
      halves(20 * MiB, async () => undefined),
    );
    expect(await service.show(owner, id)).toMatchObject({ size: data.length, checksum: null });
    await beginImport(service, owner, id, "glance-direct");
    expect((await finishImport(service, id)).image.status).toBe("active");
    await expectData(id, data);
    await expectNothingLeft(id);
  });

  it("10 §2 Effect size: is bytes staged, whatever of the known sizes says nothing", async () => {
    for (const [body, headers] of [
      ["hello", { "x-openstack-image-size": "5" }],
      [chunked("hello"), { "x-openstack-image-size": "5" }],
      [chunked("hello"), { "x-openstack-image-size": "0" }],
      [chunked("hello"), {}],
      ["hello", { "content-length": "5" }],
    ] as const) {
      const { id } = await service.createEmpty(owner);
      expect(await statusOf(stage(service, owner, id, body, headers))).toBe(204);
      expect(await service.show(owner, id)).toMatchObject({ status: "uploading", size: 5 });
    }
  });

  it("STG-4, IMP-6, 10 §2 Effect formats: needs no formats, which the import does", async () => {
    const { id } = await service.create(owner);
    expect((await stage(service, owner, id, "x")).status).toBe(204);
    await expectRefusal(409, id, () => importOf(id));
  });

  it("STG-7, 10 §2 Effect policy: asks for modify_image and not for upload_image", async () => {
    const { id } = await service.createEmpty(owner);
    const noUpload = new Service({ settings: { POLICY: JSON.stringify({ upload_image: "!" }) } });
    await expectRefusal(403, id, () => noUpload.upload(owner, id, "x", json));
    const noChange = new Service({ settings: { POLICY: JSON.stringify({ modify_image: "!" }) } });
    await expectRefusal(403, id, () => stage(noChange, owner, id, "x", json));
    expect(await statusOf(stage(noUpload, owner, id, "x"))).toBe(204);
  });

  it("STG-11: takes no bytes for an empty image", async () => {
    const { id } = await createStaged(service, "");
    expect(await service.show(owner, id)).toMatchObject({ status: "uploading", size: 0 });
    await beginImport(service, owner, id, "glance-direct");
    expect((await finishImport(service, id)).image).toMatchObject({ status: "active", size: 0 });
  });

  it("STG-12: what is staged cannot be downloaded", async () => {
    const { id } = await createStaged(service, "hidden");
    for (const caller of [owner, admin]) {
      const response = await service.call(caller, "GET", `/v2/images/${id}/file`);
      expect(response.status).toBe(204);
      expect(await response.text()).toBe("");
    }
  });

  it("STG-13: takes content of whatever kind; the image's own rules come with the import", async () => {
    const { id } = await createStaged(service, "no qcow2 at all", { disk_format: "qcow2" });
    expect(await service.show(owner, id)).toMatchObject({ status: "uploading" });
  });

  it("STG-14: takes no notice of x-image-meta-store", async () => {
    const several = new Service({ settings: { STORES: JSON.stringify(TWO_BUCKETS) } });
    const { id } = await several.createEmpty(owner);
    const headers = { "x-image-meta-store": "archive" };
    expect((await stage(several, owner, id, "x", headers)).status).toBe(204);
    expect(await storedKeys(id)).toHaveLength(1);
    const other = await several.createEmpty(owner);
    const unknown = { "x-image-meta-store": "nowhere" };
    expect((await stage(several, owner, other.id, "x", unknown)).status).toBe(204);
  });

  it("10 §2 DELETE while uploading: the staged bytes go, too", async () => {
    const { id } = await createStaged(service, "doomed");
    expect((await service.call(owner, "DELETE", `/v2/images/${id}`)).status).toBe(204);
    await expectNothingLeft(id);
    expect(await storedKeys(id)).toEqual([]);
  });

  it("10 §2 DELETE while importing: the staged bytes go, too", async () => {
    const { id } = await createStaged(service, "doomed");
    await beginImport(service, owner, id, "glance-direct");
    expect(await service.show(owner, id)).toMatchObject({ status: "importing" });
    expect(await statusOf(service.call(owner, "DELETE", `/v2/images/${id}`))).toBe(204);
    await expectNothingLeft(id);
    expect(await storedKeys(id)).toEqual([]);
  });

  it.each([10, 20 * MiB])(
    "10 §2 DELETE while uploading: of %i bytes that still come, it is 410, and they go",
    async (size) => {
      const { id } = await service.createEmpty(owner);
      const body = halves(size, async () => {
        expect(await statusOf(service.call(owner, "DELETE", `/v2/images/${id}`))).toBe(204);
      });
      expect(await statusOf(stage(service, owner, id, body))).toBe(410);
      expect(await statusOf(service.call(owner, "GET", `/v2/images/${id}`))).toBe(404);
      await expectNothingLeft(id);
    },
  );
});

describe("refusals", () => {
  it("COD-7, 10 §2 #1: needs a token", async () => {
    const { id } = await service.createEmpty(owner);
    const headers = { ...json, "content-type": "application/octet-stream" };
    const path = `/v2/images/${id}/stage`;
    await expectRefusal(401, id, () => service.call(null, "PUT", path, { body: "x", headers }));
  });

  it("10 §2 checks run in this order: each refusal comes before the next one's", async () => {
    const { id } = await service.createEmpty(owner, { visibility: "community" });
    await plantStatus(id, "active");
    const text = { "content-type": "text/plain" };
    const size = { "x-openstack-image-size": "many" };
    const off = new Service({ settings: { IMPORT_METHODS: "" } });
    const answers = [
      stage(off, stranger, MISSING, "x", { ...text, ...size }),
      stage(service, stranger, MISSING, "x", { ...text, ...size }),
      stage(service, stranger, MISSING, "x", size),
      stage(service, stranger, MISSING, "x"),
      stage(service, stranger, id, "x"),
      stage(service, owner, id, "x"),
    ];
    expect(await Promise.all(answers.map(statusOf))).toEqual([404, 415, 400, 404, 403, 409]);
  });

  it("10 §2 #5, CTX-5: an anonymous caller only reads, whatever else is wrong", async () => {
    const anonymous = { ALLOW_ANONYMOUS_ACCESS: "true" };
    const open = new Service({ settings: anonymous });
    const off = new Service({ settings: { ...anonymous, IMPORT_METHODS: "" } });
    const path = `/v2/images/${MISSING}/stage`;
    const text = { "content-type": "text/plain" };
    const octets = { "content-type": "application/octet-stream" };
    const many = { ...octets, "x-openstack-image-size": "many" };
    const answers = [
      off.call(null, "PUT", path, { body: "x", headers: octets }),
      open.call(null, "PUT", path, { body: "x", headers: text }),
      open.call(null, "PUT", path, { body: "x", headers: many }),
      open.call(null, "PUT", path, { body: "x", headers: octets }),
    ];
    expect(await Promise.all(answers.map(statusOf))).toEqual([403, 403, 403, 403]);
  });

  it("STG-1, 10 §2 #2: without glance-direct it is 404, before everything but the token", async () => {
    const without = new Service({ settings: { IMPORT_METHODS: "web-download" } });
    const path = `/v2/images/${MISSING}/stage`;
    expect((await without.call(owner, "PUT", path, { body: "x" })).status).toBe(404);
    expect((await without.call(null, "PUT", path, { body: "x" })).status).toBe(401);
  });

  it("STG-2, 10 §2 #3: takes application/octet-stream only", async () => {
    for (const type of ["application/json", "text/plain", ""]) {
      const headers = { ...json, "content-type": type };
      const { id } = await service.createEmpty(owner);
      await expectRefusal(415, id, () => stage(service, owner, id, "x", headers));
    }
    const { id } = await service.createEmpty(owner);
    const path = `/v2/images/${id}/stage`;
    const body = chunked("x");
    await expectRefusal(415, id, () => service.call(owner, "PUT", path, { body, headers: json }));
  });

  it("STG-8, 10 §2 #4: a size that is none, or negative, is 400, before the image is looked for", async () => {
    for (const size of ["many", "-1", "1.5", "", "0x10", "1e3", "99999999999999999999"]) {
      const headers = { "x-openstack-image-size": size };
      expect((await stage(service, owner, MISSING, "x", headers)).status).toBe(400);
      const { id } = await service.createEmpty(owner);
      await expectRefusal(400, id, () => stage(service, owner, id, "x", { ...json, ...headers }));
    }
  });

  it("STG-7, 10 §2 #7, #8: not visible is 404, not permitted is 403", async () => {
    const { id } = await service.createEmpty(owner, { visibility: "community" });
    const hidden = await service.createEmpty(owner);
    expect((await stage(service, stranger, hidden.id, "x")).status).toBe(404);
    expect((await stage(service, owner, MISSING, "x")).status).toBe(404);
    expect((await stage(service, stranger, id, "x")).status).toBe(403);
    expect((await stage(service, ownersReader, id, "x")).status).toBe(403);
    const formats = { disk_format: "raw", container_format: "bare" };
    const shared = await service.createShared(owner, member, "accepted", formats);
    await expectRefusal(403, shared.id, () => stage(service, member, shared.id, "x", json));
    const deleted = await service.createEmpty(owner);
    await service.call(owner, "DELETE", `/v2/images/${deleted.id}`);
    await expectRefusal(404, deleted.id, () => stage(service, owner, deleted.id, "x", json));
    expect((await stage(service, owner, "not-an-id", "x")).status).toBe(404);
    expect((await stage(service, admin, id, "x")).status).toBe(204);
  });

  it("10 §2 #5: an anonymous caller only reads", async () => {
    const open = new Service({ settings: { ALLOW_ANONYMOUS_ACCESS: "true" } });
    const path = `/v2/images/${MISSING}/stage`;
    const headers = { "content-type": "application/octet-stream" };
    expect((await open.call(null, "PUT", path, { body: "x", headers })).status).toBe(403);
  });

  it.each(["saving", "uploading", "importing", "active", "deactivated", "killed"] as const)(
    "MX-4, STG-5, STG-6, 10 §2 #9: an image that is %s is 409",
    async (status) => {
      const { id } = await service.createEmpty(owner);
      await plantStatus(id, status);
      const live = status === "saving" || status === "uploading";
      // Those two would be what a crash left, if nobody held them.
      if (live) await env.DB.prepare("UPDATE images SET staged = '{}' WHERE id = ?").bind(id).run();
      await expectRefusal(409, id, () => stage(service, owner, id, "x", json));
    },
  );

  it("STG-5, 10 §2 PUT file while uploading: staging and upload exclude each other", async () => {
    const { id } = await createStaged(service, "staged");
    await expectRefusal(409, id, () => service.upload(owner, id, "x", json));
    await expectRefusal(409, id, () => stage(service, owner, id, "x", json));
    await beginImport(service, owner, id, "glance-direct");
    await finishImport(service, id);
    await expectRefusal(409, id, () => stage(service, owner, id, "x", json));
  });

  it("10 §2 PUT stage while saving: an upload that goes on is left alone", async () => {
    const { id } = await service.createEmpty(owner);
    const upload = await openUpload(service, owner, id);
    await expectRefusal(409, id, () => stage(service, owner, id, "x", json));
    upload.finish("uploaded");
    expect((await upload.response).status).toBe(204);
    await expectData(id, new TextEncoder().encode("uploaded"));
    await expectNothingLeft(id);
  });

  it("10 §2 #11, #16: a second call leaves alone the one that goes on, and its own bytes go", async () => {
    const { id } = await service.createEmpty(owner);
    const size = 20 * MiB;
    const body = halves(size, () =>
      expectRefusal(409, id, () => stage(service, owner, id, bytesOf(10), json)),
    );
    expect(await statusOf(stage(service, owner, id, body))).toBe(204);
    await expectNothingElseIsStored(id);
    await beginImport(service, owner, id, "glance-direct");
    await finishImport(service, id);
    await expectData(id, bytesOf(size));
  });

  it("10 §2 #16: of two at once one wins, and the other leaves it alone", async () => {
    const { id } = await service.createEmpty(owner);
    const answers = await Promise.all([
      stage(service, owner, id, "first"),
      stage(service, owner, id, "other"),
    ]);
    expect(answers.map(({ status }) => status).sort()).toEqual([204, 409]);
    expect(await service.show(owner, id)).toMatchObject({ status: "uploading", size: 5 });
    await beginImport(service, owner, id, "glance-direct");
    expect((await finishImport(service, id)).image.status).toBe("active");
    await expectNothingLeft(id);
  });
});

describe("staging that fails", () => {
  it("STG-8, ST-7, 10 §2 #14: other bytes than announced are 400, and the image is queued again", async () => {
    for (const [body, headers] of [
      ["four", { "x-openstack-image-size": "3" }],
      ["four", { "x-openstack-image-size": "5" }],
      [chunked("four"), { "x-openstack-image-size": "3" }],
      [chunked("four"), { "x-openstack-image-size": "5" }],
      ["", { "x-openstack-image-size": "5" }],
      [chunked("four"), { "content-length": "5" }],
      ["four", { "x-openstack-image-size": "3", "content-length": "4" }],
      [halves(20 * MiB, async () => undefined), { "x-openstack-image-size": String(21 * MiB) }],
    ] as const) {
      const { id } = await service.createEmpty(owner);
      expect(await statusOf(stage(service, owner, id, body, headers))).toBe(400);
      await expectQueued(id);
      await expectNothingLeft(id);
      expect((await stage(service, owner, id, "again")).status).toBe(204);
    }
  });

  it.each([10, 20 * MiB])(
    "ST-7, COD-7: a body of %i bytes that breaks off is 400, and nothing of it stays",
    async (size) => {
      const { id } = await service.createEmpty(owner);
      expect(await statusOf(stage(service, owner, id, brokenOff(size)))).toBe(400);
      await expectQueued(id);
      await expectNothingLeft(id);
      await expectRetryWorks(id);
    },
  );

  it("STG-9, COD-7, 10 §2 #12: more than an image may have is 413", async () => {
    const capped = new Service({ settings: { IMAGE_SIZE_CAP: "4" } });
    for (const [body, headers] of [
      ["five!", {}],
      ["five!", { "x-openstack-image-size": "5" }],
      ["five!", { "content-length": "5" }],
      [chunked("five!"), {}],
    ] as const) {
      const { id } = await service.createEmpty(owner);
      expect(await statusOf(stage(capped, owner, id, body, headers))).toBe(413);
      await expectQueued(id);
      await expectNothingLeft(id);
      expect(await statusOf(stage(capped, owner, id, "four"))).toBe(204);
    }
  });

  it("STG-10, 10 §2 #15: a store that takes nothing is 503, and the image is queued again", async () => {
    const BLOBS = interceptR2(env.BLOBS, (call, proceed) => {
      if (call.operation === "put") throw new Error("full");
      return proceed();
    });
    const broken = new Service({ bindings: { BLOBS } });
    const { id } = await service.createEmpty(owner);
    expect((await stage(broken, owner, id, "x")).status).toBe(503);
    await expectQueued(id);
    await expectNothingLeft(id);
  });

  it("ST-7: a staging that lost its lease is 409, and the image is queued again", async () => {
    for (const size of [10, 20 * MiB]) {
      const { id } = await service.createEmpty(owner);
      const body = halves(size, async () => {
        passTime(LEASE_SECONDS);
        await new TestedObject(id).ringAll();
        await expectQueued(id);
      });
      expect(await statusOf(stage(service, owner, id, body))).toBe(409);
      await expectQueued(id);
      await expectNothingLeft(id);
      await expectRetryWorks(id);
    }
  });

  it("10 §2 #16: a staging that lost its image to another leaves that alone", async () => {
    const { id } = await service.createEmpty(owner);
    const body = halves(20 * MiB, async () => {
      passTime(LEASE_SECONDS);
      expect(await statusOf(stage(service, owner, id, "another"))).toBe(204);
    });
    expect(await statusOf(stage(service, owner, id, body))).toBe(409);
    expect(await service.show(owner, id)).toMatchObject({ status: "uploading", size: 7 });
    await new TestedObject(id).untilAtRest();
    await expectNothingElseIsStored(id);
    await beginImport(service, owner, id, "glance-direct");
    await finishImport(service, id);
    await expectData(id, new TextEncoder().encode("another"));
  });

  it("10 §2 residue, IMP-17: after an import that failed, another staging is taken", async () => {
    const { id } = await createStaged(service, "staged");
    const checksum = `md5:${"0".repeat(32)}`;
    await beginImport(service, owner, id, { method: { name: "glance-direct", checksum } });
    expect((await finishImport(service, id)).task).toMatchObject({ status: "failure" });
    await expectQueued(id);
    await expectNothingLeft(id);
    expect(await statusOf(stage(service, owner, id, "again"))).toBe(204);
    await expectNothingElseIsStored(id);
  });

  it("ST-7, 10 §2 residue: a staging whose worker died is queued again by its lease's end", async () => {
    const { id } = await service.createEmpty(owner);
    const object = new TestedObject(id);
    const identity = { userId: "u", projectId: owner.projectId, roles: ["member", "reader"] };
    const caller = {
      imageId: id,
      identity: { ...identity, scope: "project", isAnonymous: false },
      rule: "modify_image",
    } as const;
    await object.stub.beginUpload(caller, {
      attemptId: crypto.randomUUID(),
      purpose: "staging",
      storeId: "default",
      declaredBytes: undefined,
    });
    expect(await service.show(owner, id)).toMatchObject({ status: "uploading", size: null });
    await expectRefusal(409, id, () => importOf(id));
    passTime(LEASE_SECONDS);
    await object.ringAll();
    await expectQueued(id);
    await expectNothingLeft(id);
    expect((await stage(service, owner, id, "again")).status).toBe(204);
  });
});

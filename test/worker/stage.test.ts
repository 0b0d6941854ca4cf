import { env } from "cloudflare:workers";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { admin, owner, ownersReader, stranger } from "../support/callers.ts";
import { passTime, resumeTime, stopTime } from "../support/clock.ts";
import { expectNothingLeft, expectQueued } from "../support/expect-sound.ts";
import { expectRefusal, plantStatus } from "../support/image-state.ts";
import { beginImport, createStaged, finishImport, stage } from "../support/imports.ts";
import { interceptR2 } from "../support/intercept.ts";
import { Service } from "../support/service.ts";
import { storedKeys } from "../support/stored-bytes.ts";
import { TWO_BUCKETS } from "../support/stores.ts";
import { TestedObject } from "../support/tested-object.ts";

// PUT /v2/images/{image_id}/stage (contract 03 §3.3, 10 §2).

const service = new Service();
const MISSING = "00000000-0000-4000-8000-000000000000";
const json = { accept: "application/json" };

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
    expect(await new TestedObject(id).isAtRest()).toBe(true);
  });

  it("STG-4: needs no formats, which the import does", async () => {
    const { id } = await service.create(owner);
    expect((await stage(service, owner, id, "x")).status).toBe(204);
    const refused = await service.call(owner, "POST", `/v2/images/${id}/import`, {
      json: { method: { name: "glance-direct" } },
    });
    expect(refused.status).toBe(409);
  });

  it("STG-11: takes no bytes for an empty image", async () => {
    const { id } = await createStaged(service, "");
    expect(await service.show(owner, id)).toMatchObject({ status: "uploading", size: 0 });
    await beginImport(service, owner, id, "glance-direct");
    expect((await finishImport(service, id)).image).toMatchObject({ status: "active", size: 0 });
  });

  it("STG-12: what is staged cannot be downloaded", async () => {
    const { id } = await createStaged(service, "hidden");
    const response = await service.call(owner, "GET", `/v2/images/${id}/file`);
    expect(response.status).toBe(204);
    expect(await response.text()).toBe("");
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
});

describe("refusals", () => {
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
  });

  it("STG-8, 10 §2 #4: a size that is none, or negative, is 400, before the image is looked for", async () => {
    for (const size of ["many", "-1", "1.5"]) {
      const headers = { "x-openstack-image-size": size };
      expect((await stage(service, owner, MISSING, "x", headers)).status).toBe(400);
    }
  });

  it("STG-7, 10 §2 #7, #8: not visible is 404, not permitted is 403", async () => {
    const { id } = await service.createEmpty(owner, { visibility: "community" });
    const hidden = await service.createEmpty(owner);
    expect((await stage(service, stranger, hidden.id, "x")).status).toBe(404);
    expect((await stage(service, owner, MISSING, "x")).status).toBe(404);
    expect((await stage(service, stranger, id, "x")).status).toBe(403);
    expect((await stage(service, ownersReader, id, "x")).status).toBe(403);
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
    for (const size of ["3", "5"]) {
      const { id } = await service.createEmpty(owner);
      const headers = { "x-openstack-image-size": size };
      expect((await stage(service, owner, id, "four", headers)).status).toBe(400);
      await expectQueued(id);
      await expectNothingLeft(id);
      expect((await stage(service, owner, id, "again")).status).toBe(204);
    }
  });

  it("STG-9, COD-7, 10 §2 #12: more than an image may have is 413", async () => {
    const capped = new Service({ settings: { IMAGE_SIZE_CAP: "4" } });
    const { id } = await service.createEmpty(owner);
    expect((await stage(capped, owner, id, "five!")).status).toBe(413);
    await expectQueued(id);
    await expectNothingLeft(id);
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
    const early = await service.call(owner, "POST", `/v2/images/${id}/import`, {
      json: { method: { name: "glance-direct" } },
    });
    expect(early.status).toBe(409);
    passTime(500);
    await object.ringAll();
    await expectQueued(id);
    await expectNothingLeft(id);
    expect((await stage(service, owner, id, "again")).status).toBe(204);
  });
});

import { env } from "cloudflare:workers";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { blobKey } from "../../src/blob/keys.ts";
import type { Owed, Upload } from "../../src/image-object/ledger.ts";
import { Breakdown } from "../support/breakdown.ts";
import { owner } from "../support/callers.ts";
import { passTime, resumeTime, stopTime } from "../support/clock.ts";
import {
  expectData,
  expectNothingLeft,
  expectQueued,
  expectRetryWorks,
} from "../support/expect-sound.ts";
import { plantStatus } from "../support/image-state.ts";
import { interceptD1, interceptR2 } from "../support/intercept.ts";
import { Service } from "../support/service.ts";
import { storedKeys } from "../support/stored-bytes.ts";
import { TestedObject } from "../support/tested-object.ts";

// Ledger and row in states that a crash between two steps leaves, or that nothing we know of leads to.

/** What the default of UPLOAD_LEASE_SECONDS comes to with the time between two renewals. */
const LEASE_SECONDS = 400;
const service = new Service();
const HELLO = new TextEncoder().encode("hello");
const DATA = {
  size: 1,
  virtualSize: 1,
  checksum: "00",
  hashes: {},
  osHashValue: "00",
  multipart: undefined,
};

beforeEach(stopTime);
afterEach(resumeTime);

function anUpload(imageId: string, overrides: Partial<Upload> = {}): Upload {
  const attemptId = crypto.randomUUID();
  return {
    imageId,
    attemptId,
    purpose: "data",
    projectId: null,
    signature: undefined,
    storeId: "default",
    key: blobKey(imageId, attemptId),
    multipartId: undefined,
    deadlineMs: Date.now() + LEASE_SECONDS * 1000,
    ...overrides,
  };
}

function owed(imageId: string, key: string): Owed {
  return {
    imageId,
    storeId: "default",
    key,
    multipartId: undefined,
    dueMs: Date.now(),
    failures: 0,
    againAtMs: undefined,
  };
}

/** An image in a status, and an upload in its object's ledger that has brought bytes already. */
async function plant(status: "queued" | "saving" | "active" | "deactivated" | "deleted") {
  const hasData = status === "active" || status === "deactivated" || status === "deleted";
  const { id } = hasData
    ? await service.createActive(owner, "hello")
    : await service.createEmpty(owner);
  if (status === "deleted") await service.call(owner, "DELETE", `/v2/images/${id}`);
  if (status === "saving" || status === "deactivated") await plantStatus(id, status);
  const object = new TestedObject(id);
  const upload = anUpload(id);
  await object.plant(upload, await object.owed());
  await env.BLOBS.put(upload.key, "of the upload");
  return { id, object, upload };
}

describe("an image that is saving while its object knows of no upload", () => {
  it("UPL-13: takes the next upload", async () => {
    const { id } = await service.createEmpty(owner);
    await plantStatus(id, "saving");
    await expectRetryWorks(id);
    await expectNothingLeft(id);
  });

  it("UPL-10: can be deleted", async () => {
    const { id } = await service.createEmpty(owner);
    await plantStatus(id, "saving");
    expect((await service.call(owner, "DELETE", `/v2/images/${id}`)).status).toBe(204);
    await expectNothingLeft(id);
  });

  it("UPL-13: is given back by an alarm, where one is set", async () => {
    const { id } = await service.createEmpty(owner);
    await plantStatus(id, "saving");
    const object = new TestedObject(id);
    await object.plant(undefined, [owed(id, blobKey(id, crypto.randomUUID()))]);
    await object.ring();
    await expectQueued(id);
    await expectNothingLeft(id);
  });
});

describe("an upload in the ledger of an image that is not saving", () => {
  it.each(["queued", "active", "deactivated", "deleted"] as const)(
    "UPL-13: goes with its bytes at its deadline, and leaves the image %s",
    async (status) => {
      const { id, object, upload } = await plant(status);
      passTime(LEASE_SECONDS);
      await object.ringAll();
      expect(await storedKeys(id)).not.toContain(upload.key);
      await expectNothingLeft(id);
      const shown = await service.call(owner, "GET", `/v2/images/${id}`);
      if (status === "deleted") expect(shown.status).toBe(404);
      else expect(await shown.json()).toMatchObject({ status });
    },
  );

  it.each([
    ["queued", "upload_superseded"],
    ["active", "upload_superseded"],
    ["deactivated", "upload_superseded"],
  ] as const)("UPL-8: cannot be finished while the image is %s", async (status, code) => {
    const { id, object, upload } = await plant(status);
    const before = await service.show(owner, id);
    const outcome = await object.stub.finishUpload(id, upload.attemptId, DATA);
    expect(outcome).toMatchObject({ ok: false, code });
    expect(await service.show(owner, id)).toEqual(before);
    expect(await object.stub.abandonUpload(id, upload.attemptId)).toMatchObject({
      value: "abandoned",
    });
    await expectNothingLeft(id);
  });

  it("UPL-10: is told that the image is gone", async () => {
    const { id, object, upload } = await plant("deleted");
    expect(await object.stub.abandonUpload(id, upload.attemptId)).toMatchObject({
      value: "image_gone",
    });
    await expectNothingLeft(id);
  });

  it("UPL-13: makes way for another while the image is queued", async () => {
    const { id } = await plant("queued");
    await expectRetryWorks(id);
    await expectNothingLeft(id);
  });

  it("UPL-10: goes with the image when that is deleted", async () => {
    for (const status of ["queued", "saving", "active"] as const) {
      const { id } = await plant(status);
      expect((await service.call(owner, "DELETE", `/v2/images/${id}`)).status).toBe(204);
      await expectNothingLeft(id);
    }
  });
});

describe("an upload whose commit the ledger does not know of", () => {
  /** Killed between the row and the ledger. */
  async function plantCommitted() {
    const { id } = await service.createActive(owner, HELLO);
    const [key = ""] = await storedKeys(id);
    const upload = anUpload(id, { key, attemptId: key.split("/").at(-1) ?? "" });
    const object = new TestedObject(id);
    await object.plant(upload, []);
    return { id, object, upload };
  }

  it("UPL-1: is committed to the alarm", async () => {
    const { id, object } = await plantCommitted();
    passTime(LEASE_SECONDS);
    await object.untilAtRest();
    await expectData(id, HELLO);
    await expectNothingLeft(id);
  });

  it("UPL-1: is committed to the uploader who asks", async () => {
    const { id, object, upload } = await plantCommitted();
    for (let i = 0; i < 2; i++) {
      const end = await object.stub.abandonUpload(id, upload.attemptId);
      expect(end).toMatchObject({ value: "committed" });
    }
    expect(await object.isAtRest()).toBe(true);
    await expectData(id, HELLO);
  });

  it("UPL-1: is committed to the uploader who says so again", async () => {
    const { id, object, upload } = await plantCommitted();
    const again = await object.stub.finishUpload(id, upload.attemptId, DATA);
    expect(again).toMatchObject({ ok: true });
    expect(await object.isAtRest()).toBe(true);
    await expectData(id, HELLO);
  });
});

describe("the removal of bytes", () => {
  it("UPL-10: is tried again after longer and longer pauses, until it is done", async () => {
    const { id } = await service.createActive(owner, HELLO);
    await service.call(owner, "DELETE", `/v2/images/${id}`);
    const object = new TestedObject(id);
    const breakdown = new Breakdown({ nth: 1, how: "refused", lasts: true });
    const broken = { ...env, BLOBS: interceptR2(env.BLOBS, breakdown.around) };
    const pauses: number[] = [];
    for (let tries = 0; tries < 11; tries++) {
      await object.ring(broken);
      const atMs = (await object.alarmAtMs()) ?? 0;
      pauses.push((atMs - Date.now()) / 1000);
      passTime(pauses.at(-1) ?? 0);
    }
    expect(pauses).toEqual([20, 40, 80, 160, 320, 640, 1280, 2560, 3600, 3600, 3600]);
    expect(await storedKeys(id)).toHaveLength(1);
    await expectNothingLeft(id);
  });

  it.each(["refused", "unheard"] as const)(
    "UPL-10: does not give up where only one of its calls is %s",
    async (how) => {
      for (const nth of [1, 2]) {
        const { id } = await service.createActive(owner, HELLO);
        await service.call(owner, "DELETE", `/v2/images/${id}`);
        const breakdown = new Breakdown({ nth, how, lasts: false });
        const object = new TestedObject(id);
        const db = interceptD1(env.DB, breakdown.around);
        const blobs = interceptR2(env.BLOBS, breakdown.around);
        await object.untilAtRest({ ...env, DB: db, BLOBS: blobs });
        expect(breakdown.hits).toBe(1);
        await expectNothingLeft(id);
      }
    },
  );

  it("UPL-1: spares bytes that the image's row names", async () => {
    const { id } = await service.createActive(owner, HELLO);
    const [key = ""] = await storedKeys(id);
    const object = new TestedObject(id);
    await object.plant(undefined, [owed(id, key)]);
    await object.untilAtRest();
    await expectData(id, HELLO);
  });

  it("UPL-1: removes nothing while the row cannot be asked", async () => {
    const { id } = await service.createActive(owner, HELLO);
    const [key = ""] = await storedKeys(id);
    const object = new TestedObject(id);
    await object.plant(undefined, [owed(id, key)]);
    const breakdown = new Breakdown({ nth: 1, how: "refused", lasts: true });
    const broken = { ...env, DB: interceptD1(env.DB, breakdown.around) };
    for (let tries = 0; tries < 10; tries++) {
      expect(await object.ring(broken)).toBe(true);
      passTime(10);
    }
    await object.untilAtRest();
    await expectData(id, HELLO);
  });

  it("UPL-1: spares the bytes of the upload under way", async () => {
    const { id, object, upload } = await plant("saving");
    await object.plant(upload, [owed(id, upload.key)]);
    await object.ring();
    expect(await storedKeys(id)).toEqual([upload.key]);
    const data = { ...DATA, size: 13 };
    expect(await object.stub.finishUpload(id, upload.attemptId, data)).toMatchObject({ ok: true });
    await expectNothingLeft(id);
  });

  it("UPL-10: of many keys takes several alarms of bounded work", async () => {
    const { id } = await service.createEmpty(owner);
    const keys = Array.from({ length: 45 }, () => blobKey(id, crypto.randomUUID()));
    await Promise.all(keys.map((key) => env.BLOBS.put(key, "given up")));
    const object = new TestedObject(id);
    await object.plant(
      undefined,
      keys.map((key) => owed(id, key)),
    );
    const left: number[] = [];
    while (await object.ring()) left.push((await storedKeys(id)).length);
    expect(left).toEqual([25, 5, 0]);
    await expectNothingLeft(id);
  });

  it("UPL-13: waits for a deployment whose settings can be used", async () => {
    const { id, object } = await plant("saving");
    passTime(LEASE_SECONDS);
    for (let tries = 0; tries < 10; tries++) {
      expect(await object.ring({ ...env, UPLOAD_LEASE_SECONDS: "never" })).toBe(true);
      passTime(10);
    }
    await object.untilAtRest();
    await expectQueued(id);
    await expectNothingLeft(id);
  });
});

import { runInDurableObject } from "cloudflare:test";
import { env } from "cloudflare:workers";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { owner } from "../support/callers.ts";
import { passTime, resumeTime, stopTime } from "../support/clock.ts";
import { expectNothingLeft } from "../support/expect-sound.ts";
import { beginImport, finishImport, stage } from "../support/imports.ts";
import { interceptD1 } from "../support/intercept.ts";
import { Gate, withObject } from "../support/one-object.ts";
import { Service } from "../support/service.ts";
import { storedKeys } from "../support/stored-bytes.ts";
import { TestedObject } from "../support/tested-object.ts";
import { Tus } from "../support/tus.ts";
import { bytesOf } from "../support/upload-body.ts";

// An object that has nothing left to do keeps nothing: no row, no alarm, no database. And a deletion that is broken off
// at whatever moment leaves no bytes.

const MiB = 1024 ** 2;
const LEASE_SECONDS = 400;
const service = new Service();
const tus = new Tus(service);

beforeEach(stopTime);
afterEach(resumeTime);

/** What the runtime counts for an object's storage; that of one that never kept anything is the measure. */
function storedBytes(imageId: string): Promise<number> {
  return runInDurableObject(new TestedObject(imageId).stub, (_, { storage }) => {
    return storage.sql.databaseSize;
  });
}

describe("storage of an object at rest", () => {
  const WAYS: Readonly<Record<string, (id: string) => Promise<unknown>>> = {
    "an upload": async (id) => service.upload(owner, id, bytesOf(9 * MiB)),
    "an upload that failed": async (id) =>
      service.upload(owner, id, "hello", { "x-openstack-image-size": "6" }),
    "a resumable upload": async (id) => {
      const upload = await tus.create(owner, id, { "upload-length": String(9 * MiB) });
      await tus.patch(owner, upload, 0, bytesOf(9 * MiB));
    },
    "a resumable upload that was given up": async (id) => {
      const upload = await tus.create(owner, id, { "upload-length": String(20 * MiB) });
      await tus.patch(owner, upload, 0, bytesOf(9 * MiB));
      await tus.terminate(owner, upload);
    },
    "an import": async (id) => {
      await stage(service, owner, id, bytesOf(MiB));
      await beginImport(service, owner, id, "glance-direct");
      await finishImport(service, id);
    },
    "a change of the record": async (id) => service.call(owner, "PUT", `/v2/images/${id}/tags/x`),
  };

  it.each(Object.entries(WAYS))("is none, behind %s, and behind its deletion", async (_, work) => {
    const { id } = await service.createEmpty(owner);
    const none = await storedBytes(id);
    await work(id);
    const object = new TestedObject(id);
    await object.untilAtRest();
    expect(await object.isAtRest()).toBe(true);
    expect(await storedBytes(id)).toBe(none);
    expect((await service.call(owner, "DELETE", `/v2/images/${id}`)).status).toBe(204);
    await object.untilAtRest();
    expect(await object.isAtRest()).toBe(true);
    expect(await storedBytes(id)).toBe(none);
    expect(await storedKeys(id)).toEqual([]);
  });

  it("is some while work is unfinished", async () => {
    const { id } = await service.createEmpty(owner);
    const none = await storedBytes(id);
    await tus.create(owner, id, { "upload-length": "5" });
    expect(await storedBytes(id)).toBeGreaterThan(none);
  });
});

describe("a deletion that is broken off", () => {
  it.each(["before the tombstone", "behind the tombstone"])(
    "leaves no bytes of open resumable uploads, two leases later: %s",
    async (moment) => {
      const { id } = await service.createEmpty(owner);
      for (const bytes of [9 * MiB, MiB]) {
        const upload = await tus.create(owner, id, { "upload-length": String(20 * MiB) });
        await tus.patch(owner, upload, 0, bytesOf(bytes));
      }
      expect(await new TestedObject(id).resumables()).toHaveLength(2);
      const gate = new Gate();
      const DB = interceptD1(env.DB, async (call, proceed) => {
        if (call.operation !== "batch") return proceed();
        const answer = moment === "behind the tombstone" ? await proceed() : undefined;
        // The object dies here.
        await gate.pass();
        return answer ?? proceed();
      });
      await withObject(id, { DB }, async ({ caller, restart }) => {
        void restart().delete({ ...caller, rule: "delete_image" });
        await gate.reached;
      });
      const object = new TestedObject(id);
      for (let leases = 0; leases < 2; leases++) {
        await object.ringAll();
        passTime(LEASE_SECONDS + 1);
      }
      await object.ringAll();
      if (moment === "before the tombstone") {
        // The image is still there, and so are its uploads.
        expect(await object.resumables()).toHaveLength(2);
        await service.call(owner, "DELETE", `/v2/images/${id}`);
        await object.ringAll();
        passTime(LEASE_SECONDS + 1);
        await object.ringAll();
      }
      expect(await object.isAtRest()).toBe(true);
      expect(await storedKeys(id)).toEqual([]);
      await expectNothingLeft(id);
    },
  );
});

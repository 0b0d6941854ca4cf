import { env } from "cloudflare:workers";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { owner } from "../support/callers.ts";
import { passTime, resumeTime, stopTime } from "../support/clock.ts";
import { expectNothingLeft, expectQueued, expectRetryWorks } from "../support/expect-sound.ts";
import { beginImport, createStaged, finishImport, stage, tasksOf } from "../support/imports.ts";
import { type Around, interceptD1, interceptR2 } from "../support/intercept.ts";
import { Service } from "../support/service.ts";
import { storedKeys } from "../support/stored-bytes.ts";
import { TWO_BUCKETS } from "../support/stores.ts";
import { TestedObject } from "../support/tested-object.ts";

// Staged bytes wait for their import, but not for ever (ours; contract 10 §2).

const DAY = 86_400;
const service = new Service();

beforeEach(stopTime);
afterEach(resumeTime);

async function expectExpired(id: string): Promise<void> {
  await expectQueued(id);
  const tasks = await tasksOf(service, owner, id);
  expect(tasks).toHaveLength(1);
  expect(tasks[0]).toMatchObject({
    type: "api_image_import",
    status: "failure",
    message: "The staged data was not imported within 7 days, so it was removed.",
    input: { import_req: { method: { name: "glance-direct" } } },
  });
  expect(await storedKeys(id)).toEqual([]);
}

describe("staged bytes", () => {
  it("go after STAGING_EXPIRY_SECONDS; the image is queued again, and a task says why", async () => {
    const { id } = await createStaged(service, "staged");
    const object = new TestedObject(id);
    passTime(7 * DAY - 1);
    expect(await object.ring()).toBe(false);
    expect(await service.show(owner, id)).toMatchObject({ status: "uploading", size: 6 });
    passTime(1);
    await object.ringAll();
    await expectExpired(id);
    expect(await object.isAtRest()).toBe(true);
    await expectRetryWorks(id);
    await expectNothingLeft(id);
  });

  it("can be staged anew then, and wait as long again", async () => {
    const { id } = await createStaged(service, "staged");
    passTime(7 * DAY);
    await new TestedObject(id).ringAll();
    expect((await stage(service, owner, id, "again")).status).toBe(204);
    passTime(6 * DAY);
    await beginImport(service, owner, id, "glance-direct");
    expect((await finishImport(service, id)).image).toMatchObject({ status: "active", size: 5 });
  });

  it("that are imported, or deleted, leave nothing to wait for", async () => {
    const imported = await createStaged(service, "staged");
    await beginImport(service, owner, imported.id, "glance-direct");
    const object = new TestedObject(imported.id);
    await object.ringAll();
    expect(await object.isAtRest()).toBe(true);
    const deleted = await createStaged(service, "staged");
    await service.call(owner, "DELETE", `/v2/images/${deleted.id}`);
    await new TestedObject(deleted.id).ringAll();
    expect(await new TestedObject(deleted.id).isAtRest()).toBe(true);
    expect(await storedKeys(deleted.id)).toEqual([]);
  });

  it("are left alone while an import of them is under way", async () => {
    const patient = new Service({
      settings: { STORES: JSON.stringify(TWO_BUCKETS), IMPORT_DEADLINE_SECONDS: String(20 * DAY) },
    });
    const { id } = await createStaged(patient, "staged");
    await beginImport(patient, owner, id, "glance-direct");
    passTime(8 * DAY);
    const { image, task } = await finishImport(patient, id);
    expect(task).toMatchObject({ status: "success" });
    expect(image).toMatchObject({ status: "active", size: 6 });
  });

  it("whose upload breaks off are nothing to wait for", async () => {
    const { id } = await service.createEmpty(owner);
    const headers = { "x-openstack-image-size": "7" };
    expect((await stage(service, owner, id, "staged", headers)).status).toBe(400);
    await new TestedObject(id).untilAtRest();
    await expectQueued(id);
    expect(await tasksOf(service, owner, id)).toEqual([]);
  });

  it.each(["before", "behind"] as const)(
    "go as well whichever call of it fails %s its effect",
    async (moment) => {
      for (let failing = 0; ; failing++) {
        let calls = 0;
        const around: Around = async (_, proceed) => {
          const isIt = calls++ === failing;
          if (isIt && moment === "before") throw new Error("Network connection lost.");
          const answer = await proceed();
          if (isIt) throw new Error("Network connection lost.");
          return answer;
        };
        const broken = new Service({
          bindings: { DB: interceptD1(env.DB, around), BLOBS: interceptR2(env.BLOBS, around) },
        });
        const { id } = await createStaged(service, "staged");
        passTime(7 * DAY);
        const object = new TestedObject(id);
        for (let minutes = 0; minutes < 20 && !(await object.isAtRest()); minutes++) {
          await object.ringAll(broken.env);
          passTime(60);
        }
        await expectExpired(id);
        if (calls > failing) continue;
        expect(failing).toBeGreaterThan(3);
        return;
      }
    },
    60_000,
  );
});

import { env } from "cloudflare:workers";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { toHex } from "../../src/lib/hex.ts";
import { admin, owner } from "../support/callers.ts";
import { resumeTime, stopTime } from "../support/clock.ts";
import { expectNothingLeft } from "../support/expect-sound.ts";
import { beginImport, createStaged, finishImport, sources, tasksOf } from "../support/imports.ts";
import { type BindingCall, interceptD1, interceptR2 } from "../support/intercept.ts";
import { Service } from "../support/service.ts";
import { dataOf } from "../support/source-data.ts";
import { storedKeys } from "../support/stored-bytes.ts";
import { TWO_BUCKETS } from "../support/stores.ts";
import { TestedObject } from "../support/tested-object.ts";

// Imports that are broken off wherever it may be, and go on.

const MiB = 1024 ** 2;
const STORES = JSON.stringify(TWO_BUCKETS);
const service = new Service({ settings: { STORES } });
const source = sources();

beforeEach(stopTime);
afterEach(resumeTime);

async function sha512(data: Uint8Array): Promise<string> {
  return toHex(await crypto.subtle.digest("SHA-512", data));
}

/** Bytes that the source sent of the data itself. */
async function bytesSent(id: string): Promise<number> {
  const log = await source.log(id);
  return log.reduce((sum, { bytesSent }) => sum + bytesSent, 0);
}

describe("a download in parts that is broken off", () => {
  it("goes on where it was, in another process too, and hashes what it has stored", async () => {
    const size = 40 * MiB;
    const id = crypto.randomUUID();
    // It breaks off in the third part; the next alarm's instance knows nothing of the digest.
    const uri = source.fileUrl({ size, seed: 1, id, reset: 20 * MiB, times: 1 });
    const image = await service.createEmpty(owner);
    await beginImport(service, owner, image.id, { method: { name: "web-download", uri } });
    const { image: done, task } = await finishImport(service, image.id);
    expect(task).toMatchObject({ status: "success" });
    expect(done.os_hash_value).toBe(await sha512(dataOf({ seed: 1, size })));
    // The part that broke off is read again, and nothing else.
    expect(await bytesSent(id)).toBeLessThan(size + 8 * MiB);
    const ranges = (await source.log(id)).map(({ range }) => range);
    expect(ranges.slice(-2)).toEqual(["bytes=0-41943039", "bytes=16777216-41943039"]);
    await expectNothingLeft(image.id);
  });

  it("begins anew, under another key, when the data was replaced half-way", async () => {
    const size = 40 * MiB;
    const id = crypto.randomUUID();
    const broken = { reset: 20 * MiB, times: 1 };
    const uri = source.fileUrl({ size, seed: 5, id, ...broken, "change-at": 3 });
    const image = await service.createEmpty(owner);
    await beginImport(service, owner, image.id, { method: { name: "web-download", uri } });
    const { image: done, task } = await finishImport(service, image.id);
    expect(task).toMatchObject({ status: "success" });
    expect(done.os_hash_value).toBe(await sha512(dataOf({ seed: 6, size })));
    await expectNothingLeft(image.id);
  });

  it("10 §7 Progress: tells the task what went wrong, and tries again after 1, 2, 4 … seconds", async () => {
    const id = crypto.randomUUID();
    // Each try asks for a range first, and then for the whole.
    const uri = source.fileUrl({ size: 1000, seed: 1, id, status: 503, times: 6 });
    const image = await service.createEmpty(owner);
    await beginImport(service, owner, image.id, { method: { name: "web-download", uri } });
    const object = new TestedObject(image.id);
    await object.ring(service.env);
    const [task] = await tasksOf(service, owner, image.id);
    expect(task).toMatchObject({ status: "processing", result: null });
    expect(task?.message).toMatch(/Try 2 follows.*status 503/);
    expect((await object.untilAtRest(service.env)).slice(0, 3)).toEqual([1, 2, 4]);
    expect(await service.show(owner, image.id)).toMatchObject({ status: "active" });
  });

  it("gives up a source that falls silent, and tries again", async () => {
    const hasty = new Service({ settings: { STORES, IMPORT_IDLE_SECONDS: "1" } });
    const id = crypto.randomUUID();
    const uri = source.fileUrl({ size: 20 * MiB, seed: 1, id, gate: id, "gate-at": 4 * MiB });
    const image = await hasty.createEmpty(owner);
    await beginImport(hasty, owner, image.id, { method: { name: "web-download", uri } });
    const object = new TestedObject(image.id);
    const ringing = object.ring(hasty.env);
    await source.waitAtGate(id);
    await ringing;
    const [task] = await tasksOf(hasty, owner, image.id);
    expect(task?.message).toContain("no data came for 1 seconds");
    await source.openGate(id);
    const { image: done } = await finishImport(hasty, image.id);
    expect(done).toMatchObject({ status: "active", size: 20 * MiB });
  });
});

describe("an image that is deleted in the middle", () => {
  it("10 §8 Deleted during import: ends the download at once, and no bytes stay", async () => {
    const plain = new Service();
    const id = crypto.randomUUID();
    const uri = source.fileUrl({ size: 40 * MiB, seed: 1, id, gate: id, "gate-at": 4 * MiB });
    const image = await plain.createEmpty(owner);
    await beginImport(plain, owner, image.id, { method: { name: "web-download", uri } });
    const object = new TestedObject(image.id);
    const ringing = object.ring();
    await source.waitAtGate(id);
    const [task] = await tasksOf(plain, owner, image.id);
    expect((await plain.call(owner, "DELETE", `/v2/images/${image.id}`)).status).toBe(204);
    // The gate stays shut: the work ends by the deletion alone.
    await ringing;
    await expectNothingLeft(image.id);
    const shown = await plain.call(admin, "GET", `/v2/tasks/${task?.id}`);
    expect(await shown.json()).toMatchObject({
      status: "failure",
      message: "The image was deleted.",
    });
    await source.openGate(id);
  });
});

describe("an import whose lock was taken away", () => {
  it("10 §7 Old worker after theft: changes the image no more, and its bytes go", async () => {
    const { id } = await createStaged(service, "staged");
    await beginImport(service, owner, id, "glance-direct");
    await env.DB.prepare(
      `UPDATE images SET revision = revision + 1,
         properties = json_set(properties, '$.os_glance_import_task', 'another') WHERE id = ?`,
    )
      .bind(id)
      .run();
    await new TestedObject(id).untilAtRest(service.env);
    expect(await service.show(owner, id)).toMatchObject({
      status: "importing",
      os_glance_import_task: "another",
    });
    expect(await tasksOf(service, owner, id)).toMatchObject([{ status: "failure" }]);
  });
});

/*
 * Every call that an import makes of D1 and R2 is made to fail once, before or behind its effect; whatever that
 * does, the import ends well in the end, and nothing is left.
 */
describe("an import of which one call fails", () => {
  type Moment = "before" | "behind";

  async function importWith(failing: number, moment: Moment) {
    let calls = 0;
    const around = async <T>(_call: BindingCall, proceed: () => Promise<T>): Promise<T> => {
      const isIt = calls++ === failing;
      if (isIt && moment === "before") throw new Error("Network connection lost.");
      const result = await proceed();
      if (isIt) throw new Error("Network connection lost.");
      return result;
    };
    const failingService = new Service({
      settings: { STORES },
      bindings: {
        DB: interceptD1(env.DB, around),
        BLOBS: interceptR2(env.BLOBS, around),
        ARCHIVE: interceptR2(env.ARCHIVE, around),
      },
    });
    const uri = source.fileUrl({ size: 9 * MiB, seed: 2 });
    const image = await service.createEmpty(owner);
    await beginImport(service, owner, image.id, {
      method: { name: "web-download", uri },
      all_stores: true,
    });
    const object = new TestedObject(image.id);
    await object.untilAtRest(failingService.env);
    return { id: image.id, hasFailed: calls > failing };
  }

  it.each(["before", "behind"] as const)(
    "comes through, whichever call it is that fails %s its effect",
    async (moment) => {
      const expected = await sha512(dataOf({ seed: 2, size: 9 * MiB }));
      for (let failing = 0; ; failing++) {
        const { id, hasFailed } = await importWith(failing, moment);
        if (!hasFailed) {
          expect(failing).toBeGreaterThan(12);
          break;
        }
        const shown = await service.show(owner, id);
        expect([failing, shown.status, shown.stores]).toEqual([failing, "active", "fast,archive"]);
        expect(shown.os_hash_value).toBe(expected);
        expect(await storedKeys(id)).toHaveLength(1);
        expect((await env.ARCHIVE.list({ prefix: `blobs/${id}/` })).objects).toHaveLength(1);
        const [task] = await tasksOf(service, owner, id);
        expect([failing, task?.status]).toEqual([failing, "success"]);
      }
    },
    120_000,
  );
});

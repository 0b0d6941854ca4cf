import { runInDurableObject } from "cloudflare:test";
import { env } from "cloudflare:workers";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { owner } from "../support/callers.ts";
import { resumeTime, stopTime } from "../support/clock.ts";
import { expectData, expectNothingLeft } from "../support/expect-sound.ts";
import { interceptR2 } from "../support/intercept.ts";
import { Service } from "../support/service.ts";
import { TestedObject } from "../support/tested-object.ts";
import { Tus } from "../support/tus.ts";
import { bytesOf } from "../support/upload-body.ts";

// Uploads that have all their bytes, but not all of them in the store: the rest fills no part, and lies in the object's
// own storage until it is sent. A client that is told of all its bytes sends no more, so it is the object that ends them.

const MiB = 1024 ** 2;
const service = new Service();
const tus = new Tus(service);

beforeEach(stopTime);
afterEach(resumeTime);

const data = (bytes: number) => bytesOf(bytes, 5) as Uint8Array<ArrayBuffer>;

async function expectDone(id: string, bytes: Uint8Array): Promise<void> {
  await new TestedObject(id).untilAtRest();
  expect((await service.show(owner, id)).status).toBe("active");
  await expectData(id, bytes);
  await expectNothingLeft(id);
}

describe("an upload whose length is told behind its last byte", () => {
  it.each([
    ["put", MiB],
    ["part", 17 * MiB],
  ])("comes through, though the store fails then: %s", async (operation, size) => {
    let isBroken = false;
    const BLOBS = interceptR2(env.BLOBS, (call, proceed) => {
      if (isBroken && call.operation === operation) throw new Error("out of order");
      return proceed();
    });
    const broken = new Tus(new Service({ bindings: { BLOBS } }));
    const { id } = await service.createEmpty(owner);
    const bytes = data(size);
    const upload = await tus.create(owner, id, { "upload-defer-length": "1" });
    await broken.patch(owner, upload, 0, bytes);
    isBroken = true;
    const told = { "upload-length": String(size) };
    expect((await broken.send(owner, upload, size, new Uint8Array(0), told)).status).toBe(503);
    isBroken = false;
    expect(await tus.offset(owner, upload)).toBe(size);
    await expectDone(id, bytes);
  });
});

describe("a partial upload whose rest the store did not take", () => {
  it("is joined with it", async () => {
    let isBroken = false;
    const BLOBS = interceptR2(env.BLOBS, (call, proceed) => {
      if (isBroken && call.operation === "put") throw new Error("out of order");
      return proceed();
    });
    const broken = new Tus(new Service({ bindings: { BLOBS } }));
    const { id } = await service.createEmpty(owner);
    const bytes = data(2 * MiB);
    const uploads: string[] = [];
    for (const piece of [bytes.subarray(0, MiB), bytes.subarray(MiB)]) {
      const deferred = { "upload-defer-length": "1", "upload-concat": "partial" };
      const upload = await tus.create(owner, id, deferred);
      await broken.patch(owner, upload, 0, piece);
      isBroken = true;
      const told = { "upload-length": String(MiB) };
      const sent = await broken.send(owner, upload, MiB, new Uint8Array(0), told);
      expect(sent.status).toBe(503);
      isBroken = false;
      uploads.push(upload);
    }
    await tus.begin(owner, id, { "upload-concat": `final;${uploads.join(" ")}` });
    await expectDone(id, bytes);
  });
});

describe("an upload of an earlier version", () => {
  it("that had all its bytes when its object died is ended with its tail", async () => {
    const { id } = await service.createEmpty(owner);
    const bytes = data(9 * MiB);
    const upload = await tus.create(owner, id, { "upload-length": String(bytes.length) });
    await tus.patch(owner, upload, 0, bytes.subarray(0, 8 * MiB + 1));
    const tail = { key: `blobs/${id}/${crypto.randomUUID()}`, bytes: MiB };
    await env.BLOBS.put(tail.key, bytes.subarray(8 * MiB));
    await runInDurableObject(new TestedObject(id).stub, async (_, { storage }) => {
      storage.sql.exec("DROP TABLE IF EXISTS spool");
      for (const [key, record] of await storage.list<object>({ prefix: "resumable:" })) {
        await storage.put(key, { ...record, tail, tailBytes: undefined, spentTailKeys: [] });
      }
    });
    expect(await tus.offset(owner, upload)).toBe(bytes.length);
    await expectDone(id, bytes);
  });
});

import { runInDurableObject } from "cloudflare:test";
import { env } from "cloudflare:workers";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { isolateMemory } from "../../src/blob/write/memory-pool.ts";
import { Ledger } from "../../src/image-object/ledger.ts";
import { SpoolRows } from "../../src/image-object/spool-rows.ts";
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
afterEach(() => {
  resumeTime();
  vi.restoreAllMocks();
});

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

describe("what the object's storage keeps of an upload", () => {
  it("goes in the very write that says that all of it is in the store", async () => {
    const { id } = await service.createEmpty(owner);
    const bytes = data(3 * MiB);
    const upload = await tus.create(owner, id, { "upload-length": String(bytes.length) });
    await tus.patch(owner, upload, 0, bytes.subarray(0, MiB));
    let isOwing = false;
    let hasParted = false;
    const { drop } = SpoolRows.prototype;
    vi.spyOn(SpoolRows.prototype, "drop").mockImplementation(function (this: SpoolRows, ...args) {
      drop.apply(this, args);
      isOwing = true;
      // Whatever is written before the next await is one transaction.
      queueMicrotask(() => {
        hasParted ||= isOwing;
      });
    });
    const { addPieces } = Ledger.prototype;
    vi.spyOn(Ledger.prototype, "addPieces").mockImplementation(function (this: Ledger, ...args) {
      isOwing = false;
      return addPieces.apply(this, args);
    });
    await tus.patch(owner, upload, MiB, bytes.subarray(MiB));
    expect(hasParted).toBe(false);
    expect(SpoolRows.prototype.drop).toHaveBeenCalled();
    await expectDone(id, bytes);
  });

  it("is no more than the part that fills, though a checksum is still to be verified", async () => {
    const { id } = await service.createEmpty(owner);
    const bytes = data(20 * MiB);
    const upload = await tus.create(owner, id, { "upload-length": String(bytes.length) });
    await tus.patch(owner, upload, 0, bytes.subarray(0, MiB));
    const keptParts = () =>
      runInDurableObject(new TestedObject(id).stub, (_, { storage }) => {
        const rows = storage.sql.exec<{ part: number; bytes: number }>(
          "SELECT part, sum(length(bytes)) AS bytes FROM spool GROUP BY part ORDER BY part",
        );
        return rows.toArray();
      });
    const others = [32 * MiB, 4 * MiB].map((size) => {
      const share = isolateMemory.open();
      expect(share.resize(new ArrayBuffer(0), size)?.byteLength).toBe(size);
      return share;
    });
    try {
      const wrong = { "upload-checksum": `sha1 ${btoa("0".repeat(20))}` };
      const sent = await tus.send(owner, upload, MiB, data(18 * MiB), wrong);
      expect(sent.status).toBe(460);
    } finally {
      for (const share of others) share.close();
    }
    expect((await keptParts()).map(({ part }) => part)).toEqual([1, 3]);
    await tus.patch(owner, upload, MiB, bytes.subarray(MiB));
    await expectDone(id, bytes);
  });
});

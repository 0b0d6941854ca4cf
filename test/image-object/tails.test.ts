import { abortAllDurableObjects, runInDurableObject } from "cloudflare:test";
import { env } from "cloudflare:workers";
import { describe, expect, it } from "vitest";
import { SpoolRows } from "../../src/image-object/spool-rows.ts";
import { owner } from "../support/callers.ts";
import { expectData } from "../support/expect-sound.ts";
import { finishImport } from "../support/imports.ts";
import { Service } from "../support/service.ts";
import { storedKeys } from "../support/stored-bytes.ts";
import { TestedObject } from "../support/tested-object.ts";
import { Tus } from "../support/tus.ts";
import { bodyOf, bytesOf } from "../support/upload-body.ts";

// Bytes of resumable uploads that fill no part: where they are kept, and that they are never lost or taken twice.

const MiB = 1024 ** 2;
const service = new Service();
const tus = new Tus(service);

async function begin(length: number) {
  const { id } = await service.createEmpty(owner);
  return { id, upload: await tus.create(owner, id, { "upload-length": String(length) }) };
}

async function expectUploaded(id: string, data: Uint8Array): Promise<void> {
  expect((await finishImport(service, id)).image).toMatchObject({ status: "active" });
  await expectData(id, data);
}

describe("what a PATCH leaves over", () => {
  it("is there at once when its body broke off, also for another instance of the object", async () => {
    const data = bytesOf(10 * MiB);
    const { id, upload } = await begin(data.length);
    const broken = bodyOf(async function* () {
      yield data.slice(0, 3 * MiB);
      throw new Error("the client has left");
    });
    await tus.send(owner, upload, 0, broken);
    await abortAllDurableObjects();
    const offset = await tus.offset(owner, upload);
    expect(offset).toBe(3 * MiB);
    await tus.patch(owner, upload, offset, data.subarray(offset));
    await expectUploaded(id, data);
  });

  it("owes no removal and no operation of the store, however small the pieces are", async () => {
    const { id, upload } = await begin(10 * MiB);
    for (let offset = 0; offset < 5_000; ) {
      offset = await tus.patch(owner, upload, offset, bytesOf(500));
    }
    expect(await new TestedObject(id).owed()).toEqual([]);
    expect(await storedKeys(id)).toEqual([]);
  });

  it("is as it was after a PATCH whose checksum was wrong, which had filled the part", async () => {
    const data = bytesOf(20 * MiB);
    const { id, upload } = await begin(data.length);
    await tus.patch(owner, upload, 0, data.subarray(0, 3 * MiB));
    const checksum = { "upload-checksum": `sha1 ${btoa("0".repeat(20))}` };
    const wrong = await tus.send(owner, upload, 3 * MiB, bytesOf(9 * MiB, 7), checksum);
    expect(wrong.status).toBe(460);
    expect(await tus.offset(owner, upload)).toBe(3 * MiB);
    await tus.patch(owner, upload, 3 * MiB, data.subarray(3 * MiB));
    await expectUploaded(id, data);
  });

  it("is taken in where an earlier version kept it in the store, which then owes it", async () => {
    const data = bytesOf(9 * MiB);
    const { id, upload } = await begin(data.length);
    await tus.patch(owner, upload, 0, data.subarray(0, 2 * MiB));
    const object = new TestedObject(id);
    const tailKey = `blobs/${id}/${crypto.randomUUID()}`;
    await env.BLOBS.put(tailKey, data.subarray(0, 2 * MiB));
    await runInDurableObject(object.stub, async (_, { storage }) => {
      const [[key, record] = []] = await storage.list<Record<string, unknown>>({
        prefix: "resumable:",
      });
      const { tailBytes, ...kept } = record ?? {};
      expect(tailBytes).toBe(2 * MiB);
      new SpoolRows(storage).clear(`resumable:${kept.id}`);
      const tail = { key: tailKey, bytes: 2 * MiB };
      await storage.put(key ?? "", { ...kept, tail, spentTailKeys: [], nextTailKey: undefined });
    });
    expect(await tus.offset(owner, upload)).toBe(2 * MiB);
    await tus.patch(owner, upload, 2 * MiB, data.subarray(2 * MiB));
    await expectUploaded(id, data);
    await object.untilAtRest();
    expect(await storedKeys(id)).toHaveLength(1);
  });
});

describe("rows of the spool", () => {
  it("replace what was kept from their offset on, are read in order, and leave no table behind", async () => {
    const { id } = await service.createEmpty(owner);
    await runInDurableObject(new TestedObject(id).stub, async (_, { storage }) => {
      const rows = new SpoolRows(storage);
      rows.append("upload", 1, 0, bytesOf(10, 1));
      rows.append("upload", 1, 10, bytesOf(10, 2));
      rows.append("upload", 2, 0, bytesOf(5, 3));
      rows.append("import", 1, 0, bytesOf(5, 4));
      rows.append("upload", 1, 10, bytesOf(4, 5));
      const read = await new Response(rows.open("upload", 1, 12)).bytes();
      expect([...read]).toEqual([...bytesOf(10, 1), ...bytesOf(4, 5).subarray(0, 2)]);
      await expect(new Response(rows.open("upload", 1, 15)).bytes()).rejects.toThrow("missing");
      rows.drop("upload", 1);
      await expect(new Response(rows.open("upload", 1, 1)).bytes()).rejects.toThrow("missing");
      rows.clear("upload");
      expect(await new Response(rows.open("import", 1, 5)).bytes()).toEqual(bytesOf(5, 4));
      rows.clear("import");
      rows.clear("import");
    });
    expect(await new TestedObject(id).isAtRest()).toBe(true);
  });
});

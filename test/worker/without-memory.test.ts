import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import { isolateMemory, type MemoryShare } from "../../src/blob/write/memory-pool.ts";
import { toHex } from "../../src/lib/hex.ts";
import { owner } from "../support/callers.ts";
import { expectData } from "../support/expect-sound.ts";
import { beginImport, finishImport, sources } from "../support/imports.ts";
import { Service } from "../support/service.ts";
import { dataOf } from "../support/source-data.ts";
import { storedKeys } from "../support/stored-bytes.ts";
import { TestedObject } from "../support/tested-object.ts";
import { Tus } from "../support/tus.ts";
import { bodyOf, bytesOf } from "../support/upload-body.ts";

// Every way in where others hold all whole buffers of the isolate: bytes go by the storage of the image's object.

const MiB = 1024 ** 2;
// Without settings of its own, for streams must cross to the real object.
const service = new Service();
const tus = new Tus(service);
let hogs: MemoryShare[];

beforeAll(() => {
  hogs = [8, 8, 8, 8, 4].map((size) => {
    const hog = isolateMemory.open();
    expect(hog.resize(new ArrayBuffer(0), size * MiB)).toBeDefined();
    return hog;
  });
  // What is left is for small buffers.
  expect(isolateMemory.open().resize(new ArrayBuffer(0), MiB)).toBeUndefined();
});

afterAll(() => {
  for (const hog of hogs) hog.close();
});

let id: string;

afterEach(async () => {
  await new TestedObject(id).untilAtRest(service.env);
  expect(await new TestedObject(id).isAtRest()).toBe(true);
  expect(await storedKeys(id)).toHaveLength(1);
});

async function createEmpty(): Promise<void> {
  id = (await service.createEmpty(owner)).id;
}

/** A body that does not tell its length. */
function inChunks(data: Uint8Array): ReadableStream<Uint8Array> {
  return bodyOf(async function* () {
    for (let at = 0; at < data.length; at += MiB) yield data.slice(at, at + MiB);
  });
}

async function expectImported(data: Uint8Array<ArrayBuffer>): Promise<void> {
  const { image } = await finishImport(service, id);
  const sha512 = toHex(await crypto.subtle.digest("SHA-512", data));
  expect(image).toMatchObject({ status: "active", size: data.length, os_hash_value: sha512 });
  await expectData(id, data);
}

describe("without memory", () => {
  it.each([
    ["of one part", 3 * MiB + 1],
    ["of several parts", 33 * MiB + 1],
  ])("UPL-1: takes a body in chunks %s", async (_, size) => {
    await createEmpty();
    const data = bytesOf(size);
    expect((await service.upload(owner, id, inChunks(data))).status).toBe(204);
    await expectData(id, data);
  });

  it("UPL-1: takes a body of known length", async () => {
    await createEmpty();
    const data = bytesOf(9 * MiB);
    const headers = { "content-length": String(data.length) };
    expect((await service.upload(owner, id, data, headers)).status).toBe(204);
    await expectData(id, data);
  });

  it("takes a resumable upload in pieces", async () => {
    await createEmpty();
    const data = bytesOf(20 * MiB + 3) as Uint8Array<ArrayBuffer>;
    const upload = await tus.create(owner, id, { "upload-length": String(data.length) });
    for (let offset = 0; offset < data.length; ) {
      offset = await tus.patch(owner, upload, offset, data.subarray(offset, offset + 6 * MiB));
    }
    await expectImported(data);
  });

  it("UPL-3: takes an import in parts", async () => {
    await createEmpty();
    const size = 20 * MiB + 3;
    const uri = sources().fileUrl({ seed: 3, size });
    await beginImport(service, owner, id, { method: { name: "web-download", uri } });
    await expectImported(dataOf({ seed: 3, size }));
  });

  it("UPL-13: leaves nothing of a body in chunks that breaks off", async () => {
    await createEmpty();
    const broken = bodyOf(async function* () {
      yield bytesOf(20 * MiB);
      throw new Error("the client has left");
    });
    expect((await service.upload(owner, id, broken)).status).toBeGreaterThanOrEqual(400);
    await new TestedObject(id).untilAtRest(service.env);
    expect(await storedKeys(id)).toEqual([]);
    const data = bytesOf(3 * MiB, 2);
    expect((await service.upload(owner, id, inChunks(data))).status).toBe(204);
    await expectData(id, data);
  });
});

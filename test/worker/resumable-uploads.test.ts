import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { toHex } from "../../src/lib/hex.ts";
import { type Caller, owner, stranger } from "../support/callers.ts";
import { passTime, resumeTime, stopTime } from "../support/clock.ts";
import { finishImport } from "../support/imports.ts";
import { Service } from "../support/service.ts";
import { storedKeys } from "../support/stored-bytes.ts";
import { TestedObject } from "../support/tested-object.ts";
import { Tus } from "../support/tus.ts";
import { bodyOf, bytesOf } from "../support/upload-body.ts";

const MiB = 1024 ** 2;
// Without settings of its own, for streams must cross to the real object.
const service = new Service();
const tus = new Tus(service);

beforeEach(stopTime);
afterEach(resumeTime);

async function sha512(data: Uint8Array<ArrayBuffer>): Promise<string> {
  return toHex(await crypto.subtle.digest("SHA-512", data));
}

/** The image has these bytes, and its object nothing left to do. */
async function expectUploaded(id: string, data: Uint8Array): Promise<void> {
  const { image, task } = await finishImport(service, id);
  expect(task).toMatchObject({ status: "success" });
  const bytes = data as Uint8Array<ArrayBuffer>;
  expect(image).toMatchObject({
    status: "active",
    size: data.length,
    os_hash_value: await sha512(bytes),
  });
  const response = await service.call(owner, "GET", `/v2/images/${id}/file`);
  expect(await sha512((await response.bytes()) as Uint8Array<ArrayBuffer>)).toBe(
    await sha512(bytes),
  );
  const keys = await storedKeys(id);
  expect(keys).toHaveLength(1);
}

describe("a whole upload", () => {
  it.each([0, 1, 5 * MiB, 8 * MiB, 20 * MiB + 3])("of %i bytes in one request", async (size) => {
    const data = bytesOf(size);
    const { id } = await service.createEmpty(owner);
    const upload = await tus.create(owner, id, { "upload-length": String(size) });
    if (size > 0) expect(await tus.patch(owner, upload, 0, data)).toBe(size);
    await expectUploaded(id, data);
  });

  it.each([5 * MiB, 6 * MiB + 1, 8 * MiB, 16 * MiB])(
    "in pieces of %i bytes",
    async (pieceBytes) => {
      const data = bytesOf(20 * MiB + 3);
      const { id } = await service.createEmpty(owner);
      const upload = await tus.create(owner, id, { "upload-length": String(data.length) });
      for (let offset = 0; offset < data.length; ) {
        const piece = data.subarray(offset, offset + pieceBytes);
        offset = await tus.patch(owner, upload, offset, piece);
        if (offset < data.length) expect(await tus.offset(owner, upload)).toBe(offset);
      }
      await expectUploaded(id, data);
    },
  );

  it.each([5, 9 * MiB])(
    "is at its end with its last byte, though its request breaks off: %i bytes",
    async (size) => {
      const data = bytesOf(size);
      const { id } = await service.createEmpty(owner);
      const upload = await tus.create(owner, id, { "upload-length": String(size) });
      const broken = bodyOf(async function* () {
        yield data;
        throw new Error("cut");
      });
      expect((await tus.send(owner, upload, 0, broken)).status).toBe(400);
      // A client that hears this sends no more.
      expect(await tus.offset(owner, upload)).toBe(size);
      await expectUploaded(id, data);
    },
  );

  it("UPL-6: that is under way is not there for others", async () => {
    const { id } = await service.createEmpty(owner, { visibility: "private" });
    const upload = await tus.create(owner, id, { "upload-length": "10" });
    const strangers: number[] = [];
    const body = bodyOf(async function* () {
      yield bytesOf(5);
      strangers.push((await tus.head(stranger, upload)).status);
      strangers.push((await tus.send(stranger, upload, 0, "x")).status);
      yield bytesOf(5);
    });
    expect(await tus.patch(owner, upload, 0, body)).toBe(10);
    expect(strangers).toEqual([404, 404]);
  });

  it("keeps every byte that came before its request broke off", async () => {
    const data = bytesOf(20 * MiB + 3);
    const { id } = await service.createEmpty(owner);
    const upload = await tus.create(owner, id, { "upload-length": String(data.length) });
    const broken = bodyOf(async function* () {
      yield data.subarray(0, 10 * MiB);
      throw new Error("cut");
    });
    const response = await tus.send(owner, upload, 0, broken);
    expect(response.status).toBe(400);
    expect(await tus.offset(owner, upload)).toBe(10 * MiB);
    expect(await tus.patch(owner, upload, 10 * MiB, data.subarray(10 * MiB))).toBe(data.length);
    await expectUploaded(id, data);
  });

  it("expires with its bytes", async () => {
    const { id } = await service.createEmpty(owner);
    const upload = await tus.create(owner, id, { "upload-length": String(20 * MiB) });
    await tus.patch(owner, upload, 0, bytesOf(9 * MiB));
    expect(await new TestedObject(id).resumables()).toMatchObject([
      { parts: 1, tailBytes: MiB, multipartId: expect.any(String) },
    ]);
    passTime(86_401);
    expect((await tus.head(owner, upload)).status).toBe(404);
    await new TestedObject(id).untilAtRest(service.env);
    expect(await storedKeys(id)).toEqual([]);
    expect(await new TestedObject(id).isAtRest()).toBe(true);
  });

  it("is refused at its first bytes if they are unsafe, and is gone then", async () => {
    const { id } = await service.createEmpty(owner, { disk_format: "qcow2" });
    const upload = await tus.create(owner, id, { "upload-length": String(20 * MiB) });
    expect((await tus.send(owner, upload, 0, bytesOf(9 * MiB))).status).toBe(415);
    expect((await tus.head(owner, upload)).status).toBe(404);
    await new TestedObject(id).untilAtRest(service.env);
    expect(await storedKeys(id)).toEqual([]);
    expect(await service.show(owner, id)).toMatchObject({ status: "queued" });
  });

  it("has the hash that was expected, or fails the task", async () => {
    const data = bytesOf(9 * MiB);
    for (const [value, status] of [
      [await sha512(data as Uint8Array<ArrayBuffer>), "active"],
      ["0".repeat(128), "queued"],
    ] as const) {
      const { id } = await service.createEmpty(owner);
      const upload = await tus.create(owner, id, {
        "upload-length": String(data.length),
        "upload-metadata": `checksum ${btoa(`sha512:${value}`)}`,
      });
      await tus.patch(owner, upload, 0, data);
      const { image, task } = await finishImport(service, id);
      expect(image.status).toBe(status);
      if (status === "queued") {
        expect(task?.message).toContain("The data has the sha512");
        expect(await storedKeys(id)).toEqual([]);
      }
    }
  });
});

describe("concatenation", () => {
  it.each([
    ["of any size, copied together", [5 * MiB, 9 * MiB + 5, 1], false],
    ["at their places, without a copy", [8 * MiB, 16 * MiB, 5], true],
  ])("joins partial uploads %s", async (_, sizes, isPlaced) => {
    const total = sizes.reduce((sum, size) => sum + size, 0);
    const data = bytesOf(total);
    const { id } = await service.createEmpty(owner);
    const parts: string[] = [];
    let offset = 0;
    for (const size of sizes) {
      const place = `offset ${btoa(String(offset))},length ${btoa(String(total))}`;
      const part = await tus.create(owner, id, {
        "upload-length": String(size),
        "upload-concat": "partial",
        ...(isPlaced && { "upload-metadata": place }),
      });
      expect(await tus.patch(owner, part, 0, data.subarray(offset, offset + size))).toBe(size);
      parts.push(part);
      offset += size;
    }
    const final = await tus.create(owner, id, { "upload-concat": `final;${parts.join(" ")}` });
    const head = await tus.head(owner, final);
    expect(head.headers.get("upload-length")).toBe(String(total));
    expect(head.headers.get("upload-concat")).toBe(`final;${parts.join(" ")}`);
    await expectUploaded(id, data);
  });
});

describe("who may", () => {
  it("is 404 to other projects on every route", async () => {
    const { id } = await service.createEmpty(owner);
    const upload = await tus.create(owner, id, { "upload-length": "5" });
    const by: Caller = stranger;
    expect((await tus.head(by, upload)).status).toBe(404);
    expect((await tus.send(by, upload, 0, bytesOf(5))).status).toBe(404);
    expect((await tus.terminate(by, upload)).status).toBe(404);
    expect((await tus.begin(by, id, { "upload-length": "5" })).status).toBe(404);
  });
});

import { env } from "cloudflare:workers";
import { expect, it, vi } from "vitest";
import { isolateMemory } from "../../src/blob/write/memory-pool.ts";
import { SPOOL_ROW_BYTES } from "../../src/blob/write/spool.ts";
import { ImageObject } from "../../src/image-object/image-object.ts";
import { owner } from "../support/callers.ts";
import { expectData } from "../support/expect-sound.ts";
import { interceptR2 } from "../support/intercept.ts";
import { Service } from "../support/service.ts";
import { Tus } from "../support/tus.ts";
import { bodyOf, bytesOf } from "../support/upload-body.ts";

const MiB = 1024 ** 2;
const service = new Service();

it("a slow upload hands its memory over in rows, and sends no more than each of them", async () => {
  const { spoolUpload } = ImageObject.prototype;
  const sent: number[] = [];
  vi.spyOn(ImageObject.prototype, "spoolUpload").mockImplementation(function (
    this: ImageObject,
    ...args
  ) {
    sent.push(args[2].bytes.buffer.byteLength);
    return spoolUpload.apply(this, args);
  });
  const { id } = await service.createEmpty(owner);
  const bytes = bytesOf(4 * MiB);
  const others = isolateMemory.open();
  const slow = bodyOf(async function* () {
    yield bytes.slice();
    // What came is in one buffer.
    while (isolateMemory.heldBytes < 4 * MiB) await scheduler.wait(10);
    others.resize(new ArrayBuffer(0), 32 * MiB);
    while (sent.length < 4) await scheduler.wait(10);
  });
  const headers = { "content-type": "application/octet-stream" };
  try {
    const path = `/v2/images/${id}/file`;
    expect((await service.call(owner, "PUT", path, { body: slow, headers })).status).toBe(204);
  } finally {
    others.close();
  }
  expect(Math.max(...sent)).toBeLessThanOrEqual(SPOOL_ROW_BYTES);
  await expectData(id, bytes);
});

it("an upload whose store is slow is not taken for silent", async () => {
  const { promise: held, resolve: release } = Promise.withResolvers<void>();
  const BLOBS = interceptR2(env.BLOBS, async (call, proceed) => {
    if (call.operation === "part") await held;
    return proceed();
  });
  const hasty = new Service({ bindings: { BLOBS }, settings: { UPLOAD_LEASE_SECONDS: "1" } });
  const tus = new Tus(hasty);
  const { id } = await service.createEmpty(owner);
  const bytes = bytesOf(48 * MiB);
  const upload = await tus.create(owner, id, { "upload-length": String(bytes.length) });
  const sending = tus.send(owner, upload, 0, bytes);
  await scheduler.wait(4_000);
  release();
  expect((await sending).status).toBe(204);
});

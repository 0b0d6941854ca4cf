import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { owner } from "../support/callers.ts";
import { resumeTime, stopTime } from "../support/clock.ts";
import {
  expectData,
  expectNothingLeft,
  expectQueued,
  expectRetryWorks,
} from "../support/expect-sound.ts";
import { Service } from "../support/service.ts";
import { storedKeys } from "../support/stored-bytes.ts";
import { TestedObject } from "../support/tested-object.ts";
import { bodyOf, bytesOf } from "../support/upload-body.ts";

// What happens to an upload while it is under way. All of these run on the real objects with their real lock.

const MiB = 1024 ** 2;
const service = new Service();

beforeEach(stopTime);
afterEach(resumeTime);

const KINDS = [
  { kind: "one put", size: 10 },
  { kind: "one put that streams", size: 9 * MiB },
  { kind: "parts", size: 17 * MiB },
] as const;

function announce(size: number): Record<string, string> {
  return { "x-openstack-image-size": String(size) };
}

/** Uploads so many bytes in two halves; `meanwhile` happens between them. */
function uploadAround(
  id: string,
  size: number,
  meanwhile: () => Promise<unknown>,
): Promise<Response> {
  const data = bytesOf(size);
  const half = Math.ceil(size / 2);
  const body = bodyOf(async function* () {
    yield data.subarray(0, half);
    await meanwhile();
    yield data.subarray(half);
  });
  return service.upload(owner, id, body, announce(size));
}

function deleteImage(id: string): Promise<Response> {
  return service.call(owner, "DELETE", `/v2/images/${id}`);
}

/** The multipart upload under way, if it has one, as `expectNothingLeft` takes it. */
async function multipartOf(id: string, size: number): Promise<Map<string, string>> {
  if (size < 17 * MiB) return new Map();
  const { multipartId, key } = await new TestedObject(id).uploadInParts();
  return new Map([[multipartId, key]]);
}

describe.each(KINDS)("uploads to one image at once, in $kind", ({ size }) => {
  it("UPL-8, UPL-11: exactly one wins, the others get 409, and the data is the winner's", async () => {
    const { id } = await service.createEmpty(owner);
    const bodies = [1, 2, 3, 4].map((seed) => bytesOf(size, seed));
    const responses = await Promise.all(
      bodies.map((body) => service.upload(owner, id, body, announce(size))),
    );
    const statuses = responses.map(({ status }) => status);
    expect(statuses.toSorted()).toEqual([204, 409, 409, 409]);
    await expectData(id, bodies[statuses.indexOf(204)] ?? new Uint8Array());
    await expectNothingLeft(id);
  });
});

describe.each(KINDS)("an image that is deleted while data comes in $kind", ({ size }) => {
  it("UPL-10: answers the uploader 410, stays gone, and leaves no bytes", async () => {
    const { id } = await service.createEmpty(owner);
    let multipart = new Map<string, string>();
    const response = await uploadAround(id, size, async () => {
      multipart = await multipartOf(id, size);
      expect((await deleteImage(id)).status).toBe(204);
    });
    expect(response.status).toBe(410);
    expect((await service.call(owner, "GET", `/v2/images/${id}`)).status).toBe(404);
    await expectNothingLeft(id, multipart);
  });

  it("UPL-10: answers 410 too when the bytes' removal came before the rest of them", async () => {
    const { id } = await service.createEmpty(owner);
    const response = await uploadAround(id, size, async () => {
      await deleteImage(id);
      await new TestedObject(id).ringAll();
    });
    expect(response.status).toBe(410);
    await expectNothingLeft(id);
  });

  it("UPL-10: answers 410 when it happens behind the last byte", async () => {
    const { id } = await service.createEmpty(owner);
    const body = bodyOf(async function* () {
      yield bytesOf(size);
      await deleteImage(id);
    });
    expect((await service.upload(owner, id, body)).status).toBe(410);
    await expectNothingLeft(id);
  });

  it("UPL-10: answers 410 when the client breaks off as well", async () => {
    const { id } = await service.createEmpty(owner);
    const response = await uploadAround(id, size, async () => {
      await deleteImage(id);
      throw new Error("the client has left");
    });
    expect(response.status).toBe(410);
    await expectNothingLeft(id);
  });
});

describe.each(KINDS)("changes while data comes in $kind", ({ size }) => {
  it("UPL-12: survive the upload's end", async () => {
    const { id } = await service.createEmpty(owner, { name: "before", tags: ["old"] });
    const patch = [
      { op: "replace", path: "/name", value: "during" },
      { op: "add", path: "/colour", value: "red" },
    ];
    const response = await uploadAround(id, size, async () => {
      const path = `/v2/images/${id}`;
      expect((await service.call(owner, "PATCH", path, { patch })).status).toBe(200);
      expect((await service.call(owner, "PUT", `${path}/tags/new`)).status).toBe(204);
      expect((await service.call(owner, "DELETE", `${path}/tags/old`)).status).toBe(204);
    });
    expect(response.status).toBe(204);
    const after = await service.show(owner, id);
    expect(after).toMatchObject({ name: "during", colour: "red", tags: ["new"] });
    await expectData(id, bytesOf(size));
  });

  it("UPL-12: survive the upload's failure", async () => {
    const { id } = await service.createEmpty(owner);
    const patch = [{ op: "replace", path: "/name", value: "during" }];
    const response = await uploadAround(id, size, async () => {
      await service.call(owner, "PATCH", `/v2/images/${id}`, { patch });
      throw new Error("the client has left");
    });
    expect(response.status).toBe(400);
    await expectQueued(id);
    expect(await service.show(owner, id)).toMatchObject({ name: "during" });
    await expectNothingLeft(id);
  });

  it("UPL-8: do not let a second upload in", async () => {
    const { id } = await service.createEmpty(owner);
    const response = await uploadAround(id, size, async () => {
      expect((await service.upload(owner, id, "other")).status).toBe(409);
    });
    expect(response.status).toBe(204);
    await expectData(id, bytesOf(size));
  });
});

describe.each(KINDS)("a body that breaks off, in $kind", ({ size }) => {
  it("UPL-13: leaves the image queued, to be uploaded again, and no bytes", async () => {
    const { id } = await service.createEmpty(owner);
    let multipart = new Map<string, string>();
    const response = await uploadAround(id, size, async () => {
      multipart = await multipartOf(id, size);
      throw new Error("the client has left");
    });
    expect(response.status).toBe(400);
    await expectQueued(id);
    await expectRetryWorks(id);
    await expectNothingLeft(id, multipart);
  });
});

describe("a deletion", () => {
  it("UPL-10: takes the bytes of an active image with it", async () => {
    const { id } = await service.createActive(owner, "hello");
    expect((await deleteImage(id)).status).toBe(204);
    await expectNothingLeft(id);
  });

  it("UPL-10: is followed by the alarm without anybody's doing", async () => {
    resumeTime();
    const { id } = await service.createActive(owner, "hello");
    expect((await deleteImage(id)).status).toBe(204);
    await expect.poll(() => storedKeys(id), { interval: 10, timeout: 4000 }).toEqual([]);
  });

  it("UPL-10: of many at once succeeds once", async () => {
    const { id } = await service.createActive(owner, "hello");
    const statuses = (await Promise.all([1, 2, 3].map(() => deleteImage(id)))).map((r) => r.status);
    expect(statuses.toSorted()).toEqual([204, 404, 404]);
    await expectNothingLeft(id);
  });
});

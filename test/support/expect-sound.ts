import { env } from "cloudflare:workers";
import { expect } from "vitest";
import { owner } from "./callers.ts";
import { Service } from "./service.ts";
import { findStrays, isOpen, storedKeys } from "./stored-bytes.ts";
import { TestedObject } from "./tested-object.ts";

const service = new Service();

/** That the owner's image is active and gives exactly these bytes. */
export async function expectData(imageId: string, data: Uint8Array): Promise<void> {
  const image = await service.show(owner, imageId);
  expect(image).toMatchObject({ status: "active", size: data.length });
  const response = await service.call(owner, "GET", `/v2/images/${imageId}/file`);
  expect(response.status).toBe(200);
  const stored = await response.bytes();
  expect(stored.length === data.length && stored.every((byte, at) => byte === data[at])).toBe(true);
}

/** That the owner's image waits for data, as if it had never seen any. */
export async function expectQueued(imageId: string): Promise<void> {
  expect(await service.show(owner, imageId)).toMatchObject({
    status: "queued",
    size: null,
    virtual_size: null,
    checksum: null,
    os_hash_algo: null,
    os_hash_value: null,
  });
}

/** That a queued image takes data: whatever befell it, it can be tried again (contract UPL-13). */
export async function expectRetryWorks(imageId: string): Promise<void> {
  const data = new TextEncoder().encode("tried again");
  expect((await service.upload(owner, imageId, data)).status).toBe(204);
  await expectData(imageId, data);
}

/**
 * That nothing is left of what failed, once all deadlines have come: the bucket has the image's own bytes and no
 * other, none of the multipart uploads takes parts any more, and the object keeps nothing.
 */
export async function expectNothingLeft(
  imageId: string,
  multipartIds: ReadonlyMap<string, string> = new Map(),
): Promise<void> {
  const object = new TestedObject(imageId);
  expect(await findStrays(imageId)).toEqual([]);
  await object.untilAtRest();
  expect(await object.isAtRest()).toBe(true);
  expect(await findStrays(imageId)).toEqual([]);
  const row = await env.DB.prepare("SELECT status FROM images WHERE id = ?")
    .bind(imageId)
    .first<{ status: string }>();
  const hasData = row?.status === "active" || row?.status === "deactivated";
  expect(await storedKeys(imageId)).toHaveLength(hasData ? 1 : 0);
  for (const [multipartId, key] of multipartIds) expect(await isOpen(key, multipartId)).toBe(false);
}

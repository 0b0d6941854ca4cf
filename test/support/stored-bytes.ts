import { env } from "cloudflare:workers";
import type { StoredLocation } from "../../src/db/schema.ts";
import { TestedObject } from "./tested-object.ts";

/** The keys in the bucket, of one image or of all. */
export async function storedKeys(imageId?: string): Promise<readonly string[]> {
  const prefix = imageId === undefined ? "blobs/" : `blobs/${imageId}/`;
  const listed = await env.BLOBS.list({ prefix });
  if (listed.truncated) throw new Error("more keys than this test can see");
  return listed.objects.map(({ key }) => key);
}

/**
 * The keys that break the invariant of the bucket: each is named by exactly one row, or its image's object knows
 * of it and will remove it unless it is committed; and what a row names is there.
 */
export async function findStrays(imageId: string): Promise<readonly string[]> {
  const keys = await storedKeys(imageId);
  const named = await keysInRows(imageId);
  const object = new TestedObject(imageId);
  const upload = await object.upload();
  const known = new Set((await object.owed()).map(({ key }) => key));
  if (upload !== undefined) known.add(upload.key);
  for (const key of await object.resumableKeys()) known.add(key);
  const strays = keys.filter((key) => {
    const timesNamed = named.filter((other) => other === key).length;
    return timesNamed > 1 || (timesNamed === 0 && !known.has(key));
  });
  return [...strays, ...named.filter((key) => !keys.includes(key))];
}

async function keysInRows(imageId: string): Promise<readonly string[]> {
  const { results } = await env.DB.prepare(
    "SELECT locations, staged FROM images WHERE locations LIKE ?1 OR staged LIKE ?1",
  )
    .bind(`%${imageId}%`)
    .all<{ locations: string; staged: string | null }>();
  return results.flatMap(({ locations, staged }) => {
    const copies = JSON.parse(locations) as StoredLocation[];
    const waiting = staged === null ? [] : [JSON.parse(staged) as StoredLocation];
    return [...copies, ...waiting].map(({ key }) => key);
  });
}

/** Whether a multipart upload still takes parts, which is the only way to ask; one that does is aborted. */
export async function isOpen(key: string, multipartId: string): Promise<boolean> {
  const upload = env.BLOBS.resumeMultipartUpload(key, multipartId);
  try {
    await upload.uploadPart(1, "probe");
  } catch {
    return false;
  }
  await upload.abort();
  return true;
}

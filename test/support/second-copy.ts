import { env } from "cloudflare:workers";

/** Gives an image a copy in another store, as an import into several stores does; gives its key. */
export async function copyTo(
  bucket: R2Bucket,
  storeId: string,
  imageId: string,
  bytes: string,
): Promise<string> {
  const key = `blobs/${imageId}/${crypto.randomUUID()}`;
  await bucket.put(key, bytes);
  await env.DB.prepare(
    "UPDATE images SET locations = json_insert(locations, '$[#]', json(?)) WHERE id = ?",
  )
    .bind(JSON.stringify({ store: storeId, key }), imageId)
    .run();
  return key;
}

import { hitTally } from "../cache/hit-tally.ts";
import { SEGMENT_LIFETIME_MS } from "../cache/segments.ts";
import {
  addHits,
  type ClearTarget,
  cleanEntries,
  clearEntries,
  deleteEntry,
  findInCache,
  listEntries,
  pruneEntries,
} from "../db/cache-entries.ts";
import type { CacheEntry } from "../domain/cache-entry.ts";
import { Fault } from "../domain/fault.ts";
import type { ImageCacheSettings } from "../env.ts";
import { json, noContent } from "../http/reply.ts";
import { unwrap } from "../image-object/rpc.ts";
import { type Context, imageIdOf } from "./context.ts";

/*
 * The cache as administrators see it (contract 04 §4.9, 12 §4). The deployment is one node: what the list says goes for
 * all data centers together, and what is taken off it is not found in any of them any more.
 */

/** GET /v2/cache (contract CAC-2) */
export async function listCache(ctx: Context): Promise<Response> {
  enforceOnCache(ctx);
  await addHits(ctx.db, hitTally.drain(), ctx.nowMs);
  const { cached, queuedIds } = await listEntries(ctx.db);
  return json({ cached_images: cached.map(entryView), queued_images: queuedIds });
}

/** PUT /v2/cache/{image_id}: has an image brought into the cache, behind the answer (contract CAC-3). */
export async function queueForCache(ctx: Context): Promise<Response> {
  const { policy } = ctx.config;
  const found = await findInCache(ctx.db, imageIdOf(ctx), ctx.identity.projectId);
  const { image, entry } = found;
  policy.assertVisible(ctx.identity, found);
  if (!policy.allowsOnImage(ctx.rule, ctx.identity, found)) {
    throw new Fault("forbidden", { rule: ctx.rule });
  }
  settingsOf(ctx);
  if (image.status !== "active") {
    const reason = `Image ${image.id} is in status ${image.status}; only active images are cached.`;
    throw new Fault("bad_request", { reason });
  }
  if (!isCachedOrQueued(entry, image.size ?? 0, ctx.nowMs)) {
    const { origin } = new URL(ctx.baseUrl);
    unwrap(await ctx.imageObject(image.id).queueForCache(image.id, origin));
  }
  return new Response(null, { status: 202 });
}

/** DELETE /v2/cache/{image_id}: out of cache and queue (contract CAC-4). */
export async function deleteFromCache(ctx: Context): Promise<Response> {
  enforceOnCache(ctx);
  const imageId = imageIdOf(ctx);
  if (!(await deleteEntry(ctx.db, imageId))) throw new Fault("image_not_found", { imageId });
  return noContent();
}

/** DELETE /v2/cache (contract CAC-5) */
export async function clearCache(ctx: Context): Promise<Response> {
  enforceOnCache(ctx);
  await clearEntries(ctx.db, clearTarget(ctx.request.headers));
  return noContent();
}

/** GET /v2/cache/nodes/{image_id}: the address of the one node, if it has the image (contract CAC-6). */
export async function listCachingNodes(ctx: Context): Promise<Response> {
  enforceOnCache(ctx);
  const found = await findInCache(ctx.db, imageIdOf(ctx), ctx.identity.projectId);
  ctx.config.policy.assertVisible(ctx.identity, found);
  return json(found.entry?.modifiedAtMs == null ? [] : [ctx.baseUrl]);
}

/** POST /v2/cache/clean (contract CAC-6) */
export async function cleanCache(ctx: Context): Promise<Response> {
  const { stallMs } = enforceOnCache(ctx);
  await cleanEntries(ctx.db, {
    queuedBeforeMs: ctx.nowMs - stallMs,
    modifiedBeforeMs: ctx.nowMs - SEGMENT_LIFETIME_MS,
  });
  return new Response(null, { status: 200 });
}

/** POST /v2/cache/prune (contract CAC-6) */
export async function pruneCache(ctx: Context): Promise<Response> {
  const { maxBytes } = enforceOnCache(ctx);
  const { count, bytes } = await pruneEntries(ctx.db, maxBytes);
  return json({ total_files_pruned: count, total_bytes_pruned: bytes });
}

/** Refuses with 403, whatever there is (contract MSK-8), and with 404 where there is no cache. */
function enforceOnCache(ctx: Context): ImageCacheSettings {
  ctx.config.policy.enforce(ctx.rule, ctx.identity);
  return settingsOf(ctx);
}

function settingsOf({ config }: Context): ImageCacheSettings {
  if (config.imageCache === undefined) throw new Fault("not_found");
  return config.imageCache;
}

/** Whether there is nothing to do about an image: it waits, or all of it is there and not about to go. */
function isCachedOrQueued(entry: CacheEntry | undefined, size: number, nowMs: number): boolean {
  if (entry === undefined) return false;
  if (entry.queuedAtMs !== null) return true;
  const isFresh = (entry.modifiedAtMs ?? 0) > nowMs - SEGMENT_LIFETIME_MS;
  return isFresh && entry.size >= size;
}

function clearTarget(headers: Headers): ClearTarget {
  const given = (headers.get("x-image-cache-clear-target") ?? "").toLowerCase();
  if (given === "") return "both";
  if (given === "cache" || given === "queue") return given;
  const reason = "it must be cache, queue, or empty for both";
  throw new Fault("invalid_value", { name: "x-image-cache-clear-target", reason });
}

/** Times are seconds since the epoch, with a fraction. */
function entryView({ imageId, hits, accessedAtMs, modifiedAtMs, size }: CacheEntry) {
  return {
    image_id: imageId,
    hits,
    last_accessed: (accessedAtMs ?? 0) / 1000,
    last_modified: (modifiedAtMs ?? 0) / 1000,
    size,
  };
}

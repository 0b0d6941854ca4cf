import type { ByteRange } from "../blob/store.ts";
import { findInCache } from "../db/cache-entries.ts";
import { type FoundImage, findImage } from "../db/images.ts";
import { noteDamagedCopy } from "../db/metrics.ts";
import { type CacheEntry, cachedCopyOf, isOwnCopy } from "../domain/cache-entry.ts";
import { Fault } from "../domain/fault.ts";
import type { Image, Location } from "../domain/image.ts";
import { hasData } from "../domain/status.ts";
import { evaluateConditions, strongEtag } from "../http/conditional.ts";
import { parseContentDigests } from "../http/content-digest.ts";
import { type ByteSelection, formatContentRange, parseRange } from "../http/range.ts";
import { noContent } from "../http/reply.ts";
import type { UploadRequest } from "../image-object/rpc.ts";
import { parseCount } from "../lib/count.ts";
import { log } from "../lib/log.ts";
import { readThroughCache } from "./cached-download.ts";
import { assertQuota, type Context, imageIdOf, target } from "./context.ts";
import { bodyLimitOf, Upload } from "./upload.ts";
import { hashHeaders } from "./views.ts";

/** PUT /v2/images/{image_id}/file: claims the image, streams the bytes into the store, commits (03 §3.1). */
export async function uploadImageData(ctx: Context): Promise<Response> {
  const { request, config } = ctx;
  assertOctetStream(request);
  const store = config.stores.forUpload(request.headers.get("x-image-meta-store"));
  const declaredBytes = declaredSize(request);
  await assertQuota(ctx, "image_size_total", declaredBytes ?? 0);
  return receive(ctx, { storeId: store.id, purpose: "data", declaredBytes });
}

/**
 * PUT /v2/images/{image_id}/stage: as an upload, but the bytes wait for an import (contract STG-1 … STG-14, 10 §2).
 * They go to the default store, whose copy is then made without moving them.
 */
export async function stageImageData(ctx: Context): Promise<Response> {
  const { request, config } = ctx;
  if (!config.importMethods.includes("glance-direct")) throw new Fault("not_found");
  assertOctetStream(request);
  const declaredBytes = declaredSize(request);
  await assertQuota(ctx, "image_stage_total", declaredBytes ?? 0);
  const storeId = config.stores.default.id;
  return receive(ctx, { storeId, purpose: "staging", declaredBytes });
}

async function receive(ctx: Context, wanted: Omit<UploadRequest, "attemptId">): Promise<Response> {
  const { headers } = ctx.request;
  const expected = parseContentDigests(headers);
  const limit = bodyLimitOf(ctx.config, imageIdOf(ctx));
  // Nothing of such a body is of any use, so its image is left alone.
  if (limit && Number(headers.get("content-length")) > limit.maxBytes) throw limit.fault();
  const upload = new Upload(ctx, target(ctx).caller, wanted, expected);
  const work = upload.run(ctx.request.body);
  // When the client leaves, the platform drops this handler wherever it stands; the clean-up must go on.
  ctx.waitUntil(work.catch(() => undefined));
  await work;
  return noContent();
}

/** GET /v2/images/{image_id}/file: the bytes, or one range of them, from the cache or the store (03 §3.2). */
export async function downloadImageData(ctx: Context): Promise<Response> {
  const answer = await prepareDownload(ctx);
  if (answer instanceof Response) return answer;
  const range = answer.selection.kind === "part" ? answer.selection : undefined;
  const body = (await readCached(ctx, answer, range)) ?? (await readFirstCopy(ctx, answer, range));
  return new Response(body, { status: range === undefined ? 200 : 206, headers: answer.headers });
}

/** The bytes through the cache; undefined when they are to come straight from a store. */
async function readCached(
  ctx: Context,
  download: Download,
  range: ByteRange = { offset: 0, length: download.image.size ?? 0 },
): Promise<ReadableStream | undefined> {
  const { image, entry } = download;
  const copies = download.copies.filter((copy) => isOwnCopy(copy, ctx.config.stores));
  const read = (wanted: ByteRange) => readFirstCopy(ctx, { ...download, copies }, wanted);
  try {
    return await readThroughCache(ctx, { image, entry, read }, range);
  } catch (error) {
    if (copies.length === download.copies.length) throw error;
    return undefined;
  }
}

/** The bytes from the first store that has them whole; each failure is logged, the last one is the answer. */
async function readFirstCopy(
  ctx: Context,
  { image, copies }: Download,
  range: ByteRange | undefined,
): Promise<ReadableStream> {
  let failure: unknown = new Fault("data_not_found", { imageId: image.id });
  for (const { store, key } of copies) {
    try {
      const blob = await ctx.openStore(store).read(key, range);
      if (blob?.size === image.size) return blob.body;
      await blob?.body.cancel();
      ctx.waitUntil(noteDamagedCopy(ctx.db, { imageId: image.id, store, bytes: blob?.size }));
      if (blob !== undefined) failure = new Error(`image ${image.id} has lost bytes in ${store}`);
    } catch (error) {
      log({ event: "copy_unreadable", image_id: image.id, store, error: String(error) });
      failure = error;
    }
  }
  throw failure;
}

/** HEAD /v2/images/{image_id}/file: what GET says of the whole, bytes that are gone included (ours, not Glance's). */
export async function headImageData(ctx: Context): Promise<Response> {
  const answer = await prepareDownload(ctx);
  if (answer instanceof Response) return answer;
  const body = await readFirstCopy(ctx, answer, undefined).catch(async (error: unknown) => {
    // The cache may have what no store has any more.
    const cached = isServedFromCache(ctx, answer) ? await readCached(ctx, answer) : undefined;
    if (cached === undefined) throw error;
    return cached;
  });
  await body.cancel();
  return new Response(null, { headers: answer.headers });
}

interface Download {
  readonly image: Image;
  readonly entry: CacheEntry | undefined;
  /** In the order in which they are to be tried. */
  readonly copies: readonly Location[];
  readonly selection: ByteSelection;
  readonly headers: Headers;
}

/** Everything before the store is asked: visibility, status, policy, preconditions, range, in this order. */
async function prepareDownload(ctx: Context): Promise<Response | Download> {
  const { policy } = ctx.config;
  const found = await findForDownload(ctx);
  const { image, entry } = found;
  policy.assertVisible(ctx.identity, found);
  // Before the policy, so that a reader too learns why (contract DWN-5).
  if (image.status === "deactivated" && !policy.isAdmin(ctx.identity)) {
    throw new Fault("image_deactivated");
  }
  policy.enforceOnImage(ctx.rule, ctx.identity, found);
  const prefer = isServedFromCache(ctx, found) ? null : ctx.url.searchParams.get("prefer");
  if (prefer) policy.enforceOnImage("download_from_store", ctx.identity, found);
  const copies = ctx.config.stores.inPreference(image.locations, prefer);
  if (!hasData(image.status) || copies.length === 0 || image.size === null) return noContent();

  const etag = image.osHashValue === null ? undefined : strongEtag(image.osHashValue);
  const conditions = evaluateConditions(ctx.request.headers, etag);
  if (conditions.outcome === "precondition_failed") throw new Fault("precondition_failed");
  if (conditions.outcome === "not_modified") {
    return new Response(null, { status: 304, headers: etag === undefined ? {} : { etag } });
  }
  // Ranges are for GET only (RFC 9110 §14.2).
  const selection =
    conditions.rangeApplies && ctx.request.method === "GET"
      ? parseRange(ctx.request.headers, image.size)
      : ({ kind: "whole" } as const);
  return { image, entry, copies, selection, headers: dataHeaders(image, etag, selection) };
}

/** Whether the cache has of the image's data; then no store is preferred to another (contract 12 §4, Serving from cache). */
function isServedFromCache(
  { config }: Context,
  { image, entry }: { readonly image: Image; readonly entry?: CacheEntry | undefined },
): boolean {
  const hasBytes = entry !== undefined && entry.modifiedAtMs !== null;
  return hasBytes && cachedCopyOf(image, config.stores) !== undefined;
}

/** The image, and its entry where there is a cache, in one round trip. */
async function findForDownload(
  ctx: Context,
): Promise<FoundImage & { entry?: CacheEntry | undefined }> {
  const find = ctx.config.imageCache === undefined ? findImage : findInCache;
  return find(ctx.db, imageIdOf(ctx), ctx.identity.projectId);
}

function dataHeaders(image: Image, etag: string | undefined, selection: ByteSelection): Headers {
  const size = image.size ?? 0;
  const headers = new Headers({
    "content-type": "application/octet-stream",
    "accept-ranges": "bytes",
    ...(etag !== undefined && { etag }),
    ...hashHeaders(image),
  });
  if (selection.kind === "part") {
    const { offset, length } = selection;
    headers.set("content-length", String(length));
    headers.set("content-range", formatContentRange(offset, length, size));
  } else {
    headers.set("content-length", String(size));
    // In hex, which is what clients of the reference compare (DWN-1), and of the whole data only (RNG-19).
    if (image.checksum !== null) headers.set("content-md5", image.checksum);
  }
  return headers;
}

function assertOctetStream(request: Request): void {
  const given = request.headers.get("content-type");
  // Compared as it is, letter case included (contract UPL-2); parameters do not matter.
  if (given?.split(";", 1)[0]?.trim() === "application/octet-stream") return;
  const accepted = "application/octet-stream";
  throw new Fault("unsupported_media_type", { given: given ?? "none", accepted });
}

/** The size the client announces (contract 03, Declared size); undefined when it does not. */
function declaredSize({ headers }: Request): number | undefined {
  const name = headers.has("x-openstack-image-size") ? "x-openstack-image-size" : "content-length";
  const text = headers.get(name);
  if (text === null) return undefined;
  // The reference reads it as Python does, which takes a plus sign.
  const size = parseCount(text.trim().replace(/^\+/, ""));
  if (size !== undefined) return size;
  const reason = "it must be a whole number of bytes, 0 or more";
  throw new Fault("invalid_value", { name, reason });
}

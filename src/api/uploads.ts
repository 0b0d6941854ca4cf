import { type ExpectedHash, parseExpectedHash } from "../domain/expected-hash.ts";
import { Fault } from "../domain/fault.ts";
import { type ResumableView, readPlace } from "../domain/resumable-upload.ts";
import { hasBody } from "../http/body.ts";
import {
  assertTusVersion,
  OFFSET_STREAM,
  parseChecksum,
  parseCreation,
  parseOffset,
  readCount,
} from "../http/tus.ts";
import { unwrap } from "../image-object/rpc.ts";
import { assertQuota, type Context, imageIdOf, param, target } from "./context.ts";

/*
 * Resumable uploads by tus 1.0, on an image that is queued (https://tus.io/protocols/resumable-upload; ours, not
 * Glance's). docs/uploads.md tells when to use which way.
 */

/** POST /v2/images/{image_id}/uploads: begins an upload, or joins partial ones (creation, concatenation). */
export async function createUpload(ctx: Context): Promise<Response> {
  const { request, requestId, config } = ctx;
  const { headers } = request;
  assertTusVersion(headers);
  const { length, concat, metadata, fields } = parseCreation(headers);
  const expected = readExpected(fields);
  const { object, caller } = target(ctx);
  if (typeof concat === "object") {
    const parts = concat.parts.map(idOf);
    const joined = unwrap(
      await object.joinResumables(caller, {
        ...{ parts, expected, metadata, requestId },
        concat: concat.given,
      }),
    );
    return new Response(null, { status: 201, headers: creationHeaders(ctx, joined) });
  }
  const isStream = headers.get("content-type") === OFFSET_STREAM;
  const withBody = isStream && hasBody(request);
  // Before there is an upload that nobody would hear of.
  if (withBody) parseChecksum(headers);
  if (withBody && length === 0) await assertNoBytes(request);
  const kind = concat ?? "whole";
  const storeId = config.stores.forUpload(
    fields.get("store") ?? headers.get("x-image-meta-store"),
  ).id;
  const place = readPlace(fields, kind);
  await assertQuota(ctx, "image_size_total", length ?? 0);
  const wanted = { storeId, length, kind, place, expected, metadata, requestId } as const;
  const created = unwrap(await object.createResumable(caller, wanted));
  // One of no bytes is complete with that, and takes no more.
  const view = withBody && length !== 0 ? await append(ctx, created.id, 0, undefined) : created;
  const reply = new Response(null, { status: 201, headers: creationHeaders(ctx, view) });
  if (isStream) reply.headers.set("upload-offset", String(view.offset));
  return reply;
}

/** HEAD /v2/images/{image_id}/uploads/{upload_id}: where to go on (core, HEAD). */
export async function showUpload(ctx: Context): Promise<Response> {
  assertTusVersion(ctx.request.headers);
  const { object, caller } = target(ctx);
  const view = unwrap(await object.showResumable(caller, param(ctx, "upload_id")));
  return new Response(null, {
    headers: {
      ...progressHeaders(view),
      ...(view.length === undefined
        ? { "upload-defer-length": "1" }
        : { "upload-length": String(view.length) }),
      ...(view.metadata !== undefined && { "upload-metadata": view.metadata }),
      ...concatHeader(view),
      "glimpse-part-size": String(view.partBytes),
    },
  });
}

/** PATCH /v2/images/{image_id}/uploads/{upload_id}: adds bytes (core, PATCH). */
export async function patchUpload(ctx: Context): Promise<Response> {
  const { headers } = ctx.request;
  assertTusVersion(headers);
  const given = headers.get("content-type");
  if (given !== OFFSET_STREAM) {
    throw new Fault("unsupported_media_type", { given: given ?? "none", accepted: OFFSET_STREAM });
  }
  const offset = parseOffset(headers);
  const length = readCount(headers, "Upload-Length");
  const view = await append(ctx, param(ctx, "upload_id"), offset, length);
  return new Response(null, { status: 204, headers: progressHeaders(view) });
}

/** DELETE /v2/images/{image_id}/uploads/{upload_id}: gives an upload up, and its bytes go (termination). */
export async function deleteUpload(ctx: Context): Promise<Response> {
  assertTusVersion(ctx.request.headers);
  const { object, caller } = target(ctx);
  unwrap(await object.terminateResumable(caller, param(ctx, "upload_id")));
  return new Response(null, { status: 204 });
}

/** A body that its framing announces may turn out to be empty. Throws `size_exceeded` when it is not. */
async function assertNoBytes({ body }: Request): Promise<void> {
  for await (const chunk of (body ?? []) as AsyncIterable<Uint8Array>) {
    if (chunk.length > 0) throw new Fault("size_exceeded", { declared: 0 });
  }
}

const LET_GO_MS = 1_000;

/**
 * The bytes go through the image's object. When the client leaves, the platform drops this handler wherever it stands;
 * what came until then must still be put down.
 */
async function append(
  ctx: Context,
  uploadId: string,
  offset: number,
  length: number | undefined,
): Promise<ResumableView> {
  const { object, caller } = target(ctx);
  const checksum = parseChecksum(ctx.request.headers);
  const body: ReadableStream<Uint8Array> = ctx.request.body ?? new Blob([]).stream();
  // Through a pipe, so that what the object does not want of the body can still be read, and thrown away.
  const pipe = new IdentityTransformStream();
  const stop = new AbortController();
  const options = { preventCancel: true, signal: stop.signal };
  const pumping = body.pipeTo(pipe.writable, options).catch(() => undefined);
  const request = { offset, length, checksum };
  const work = object.appendResumable(caller, uploadId, request, pipe.readable);
  ctx.waitUntil(work.catch(() => undefined));
  try {
    return unwrap(await work);
  } finally {
    stop.abort();
    // A pipe whose body has fallen silent does not let go of it before more comes.
    await Promise.race([pumping, scheduler.wait(LET_GO_MS)]);
  }
}

function creationHeaders(ctx: Context, view: ResumableView): Record<string, string> {
  return {
    location: addressOf(ctx, view.id),
    "upload-expires": new Date(view.expiresAtMs).toUTCString(),
    "glimpse-part-size": String(view.partBytes),
  };
}

function progressHeaders({ offset, expiresAtMs }: ResumableView): Record<string, string> {
  return {
    "upload-offset": String(offset),
    "upload-expires": new Date(expiresAtMs).toUTCString(),
  };
}

function concatHeader({ kind, concat }: ResumableView): Record<string, string> {
  const value = kind === "partial" ? kind : concat;
  return value === undefined ? {} : { "upload-concat": value };
}

function addressOf(ctx: Context, uploadId: string): string {
  return `${ctx.baseUrl}/v2/images/${imageIdOf(ctx)}/uploads/${uploadId}`;
}

/** The id of an upload by its address, absolute or not; what is none names no upload. */
function idOf(address: string): string {
  return address.split(/[?#]/, 1)[0]?.split("/").at(-1) ?? "";
}

/** The hash that the whole data is to have, as an import's `checksum` (ours, beside the client's own metadata). */
function readExpected(fields: ReadonlyMap<string, string>): ExpectedHash | undefined {
  const checksum = fields.get("checksum");
  return checksum === undefined ? undefined : parseExpectedHash("checksum", checksum);
}

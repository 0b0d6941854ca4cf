import { listImages as queryImages } from "../db/image-query.ts";
import { type FoundImage, findImage, insertImage } from "../db/images.ts";
import { withinQuotas } from "../db/usage.ts";
import { finishCreate, parseCreate } from "../domain/create.ts";
import { Fault } from "../domain/fault.ts";
import type { Image, Visibility } from "../domain/image.ts";
import type { ImageListQuery } from "../domain/image-list.ts";
import { PATCH_MEDIA_TYPES, parsePatch, patchMediaType } from "../domain/patch-parse.ts";
import type { PropertyProtection } from "../domain/property-protection.ts";
import { hasData } from "../domain/status.ts";
import { readJson } from "../http/body.ts";
import { evaluateConditions, strongEtag } from "../http/conditional.ts";
import { buildLinks } from "../http/link.ts";
import { parseImageList } from "../http/query.ts";
import { json, noContent } from "../http/reply.ts";
import { unwrap } from "../image-object/rpc.ts";
import type { ImageInSight } from "../policy/enforce.ts";
import { type Context, imageIdOf, protectionOf, target } from "./context.ts";
import { locationKeys } from "./locations.ts";
import { hashHeaders, imageView } from "./views.ts";

/** POST /v2/images: one insert; the checks in the order of contract CRE-22. */
export async function createImage(ctx: Context): Promise<Response> {
  const image = makeImage(ctx, await readJson(ctx.request, ctx.maxBodyBytes));
  await addImage(ctx, image);
  const location = `${ctx.baseUrl}/v2/images/${image.id}`;
  const { stores, importMethods } = ctx.config;
  return json(
    imageView(
      image,
      stores,
      protectionOf(ctx),
      locationKeys(ctx, { image, membership: undefined }),
    ),
    201,
    {
      location,
      // Absent means that nothing can be imported (contract HDR-4).
      ...(importMethods.length > 0 && {
        "openstack-image-import-methods": importMethods.join(","),
      }),
      // Absent means a single-store service (contract HDR-5).
      ...(stores.isMulti && {
        "openstack-image-store-ids": stores.all.map(({ id }) => id).join(","),
      }),
    },
  );
}

/** Inserts a new image, if the caller's project may have one more. */
export async function addImage({ db, config, identity }: Context, image: Image): Promise<void> {
  const demands = [{ of: "image_count_total", delta: 1 }] as const;
  await withinQuotas(db, config.quotas, identity.projectId, demands, (guards) =>
    insertImage(db, image, guards),
  );
}

/** The image that a body asks for, if its caller may create it. */
export function makeImage(ctx: Context, body: unknown): Image {
  const { identity } = ctx;
  const { limits, imageSchema } = ctx.config;
  const wanted = parseCreate(body, imageSchema);
  const owner = wanted.owner === undefined ? identity.projectId : wanted.owner;
  enforceCreate(ctx, owner, wanted.visibility);
  const id = wanted.id ?? ctx.newId();
  const protection = protectionOf(ctx);
  return finishCreate(wanted, { limits, protection, owner, id, nowMs: ctx.nowMs });
}

/** Always 403, never 404 (contract MSK-5); the refusal of a foreign owner names it (CRE-13). */
function enforceCreate(
  { config, identity, rule }: Context,
  owner: string | null,
  visibility: Visibility,
): void {
  const { policy } = config;
  const own = { owner: identity.projectId, project_id: identity.projectId };
  policy.enforce(rule, identity, policy.isAdmin(identity) ? {} : own);
  const target = { owner, project_id: owner, visibility };
  if (!policy.allows(rule, identity, target)) {
    const reason = `You are not permitted to create images owned by '${owner ?? "nobody"}'.`;
    throw new Fault("forbidden_reason", { reason });
  }
  if (visibility === "public") policy.enforce("publicize_image", identity, target);
  if (visibility === "community") policy.enforce("communitize_image", identity, target);
}

/** GET /v2/images */
export async function listImages(ctx: Context): Promise<Response> {
  const { policy, limits, stores } = ctx.config;
  policy.enforce(ctx.rule, ctx.identity);
  const protection = protectionOf(ctx);
  const query = withoutUnreadable(parseImageList(ctx.url.search, limits), protection);
  const page = await queryImages(ctx.db, query, policy.viewer(ctx.identity));
  const images = page.images.filter((image) => mayShow(ctx, image));
  const lastId = page.hasMore ? images.at(-1)?.id : undefined;
  return json({
    images: images.map((image) =>
      imageView(image, stores, protection, locationKeys(ctx, inList(ctx, image))),
    ),
    ...buildLinks(ctx.url.search, lastId),
    schema: "/v2/schemas/images",
  });
}

/** A property that the caller may not read is in no image for it, so a filter by it must not find one. */
function withoutUnreadable(query: ImageListQuery, protection: PropertyProtection): ImageListQuery {
  const names = [...query.filters.properties.keys()];
  if (names.every((name) => protection.may("read", name))) return query;
  return { ...query, matchesNothing: true };
}

/** Whether policy lets a listed image be seen; an operator's get_image may be stricter than ours (LST-11). */
function mayShow(ctx: Context, image: Image): boolean {
  return ctx.config.policy.allowsOnImage("get_image", ctx.identity, inList(ctx, image));
}

/** Others' shared images are listed to their members only, and to admins. */
function inList({ config, identity }: Context, image: Image): ImageInSight {
  const isOthers = image.visibility === "shared" && image.owner !== identity.projectId;
  const membership = isOthers && !config.policy.isAdmin(identity) ? "accepted" : undefined;
  return { image, membership };
}

/** GET /v2/images/{image_id} */
export async function showImage(ctx: Context): Promise<Response> {
  return imageReply(ctx, await findShown(ctx));
}

/**
 * HEAD /v2/images/{image_id}: size, hashes and the data's ETag without a body (ours, not Glance's). The tag is the
 * data's, so conditions ask whether the data is the same.
 */
export async function headImage(ctx: Context): Promise<Response> {
  const found = await findShown(ctx);
  const { image } = found;
  const etag = image.osHashValue === null ? undefined : strongEtag(image.osHashValue);
  const { outcome } = evaluateConditions(ctx.request.headers, etag);
  if (outcome === "precondition_failed") throw new Fault("precondition_failed");
  const reply =
    outcome === "not_modified" ? new Response(null, { status: 304 }) : imageReply(ctx, found);
  for (const [name, value] of Object.entries(hashHeaders(image))) reply.headers.set(name, value);
  if (hasData(image.status)) reply.headers.set("accept-ranges", "bytes");
  if (etag !== undefined) reply.headers.set("etag", etag);
  return reply;
}

async function findShown(ctx: Context): Promise<FoundImage> {
  const found = await findImage(ctx.db, imageIdOf(ctx), ctx.identity.projectId);
  ctx.config.policy.enforceOnImage(ctx.rule, ctx.identity, found);
  return found;
}

/** PATCH /v2/images/{image_id}: media type and document are judged before the image is looked up (MSK-9). */
export async function patchImage(ctx: Context): Promise<Response> {
  const given = ctx.request.headers.get("content-type");
  const mediaType = patchMediaType(given);
  if (mediaType === undefined) {
    const accepted = PATCH_MEDIA_TYPES.join(", ");
    throw new Fault("unsupported_media_type", { given: given ?? "none", accepted });
  }
  const body = await readJson(ctx.request, ctx.maxBodyBytes);
  const operations = parsePatch(mediaType, body, ctx.config.imageSchema);
  const { object, caller } = target(ctx);
  const image = unwrap(await object.patch(caller, operations));
  return imageReply(ctx, { image, membership: undefined });
}

/** DELETE /v2/images/{image_id}: 404 from now on; the bytes follow on their own (contract DEL-1). */
export async function deleteImage(ctx: Context): Promise<Response> {
  const { object, caller } = target(ctx);
  unwrap(await object.delete(caller));
  return noContent();
}

function imageReply(ctx: Context, found: FoundImage): Response {
  const { stores } = ctx.config;
  return json(imageView(found.image, stores, protectionOf(ctx), locationKeys(ctx, found)));
}

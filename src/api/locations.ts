import { findImage } from "../db/images.ts";
import { parseLocationRequest } from "../domain/location-request.ts";
import { locationViews } from "../domain/locations.ts";
import { readJson } from "../http/body.ts";
import { json } from "../http/reply.ts";
import { unwrap } from "../image-object/rpc.ts";
import type { ImageInSight } from "../policy/enforce.ts";
import { type Context, imageIdOf, type OpenContext, target } from "./context.ts";

/** GET /v2/images/{image_id}/locations: for other services, whatever is shown with images (contract 11 §7). */
export async function listLocations(ctx: Context): Promise<Response> {
  const found = await findImage(ctx.db, imageIdOf(ctx), ctx.identity.projectId);
  ctx.config.policy.enforceOnImage(ctx.rule, ctx.identity, found);
  return json(locationViews(found.image, ctx.config.stores));
}

/** POST /v2/images/{image_id}/locations: accepted at once, done by the image's object (contract 11 §8). */
export async function addLocation(ctx: Context): Promise<Response> {
  const request = parseLocationRequest(await readJson(ctx.request, ctx.maxBodyBytes));
  const { object, caller } = target(ctx);
  unwrap(await object.addLocation(caller, { request, requestId: ctx.requestId }));
  return new Response(null, { status: 202 });
}

/**
 * The two keys of an image that tell where its data lies (contract 11 §5, REP-16, REP-17). They are left out for those
 * whom policy does not let know; of a deactivated image only administrators learn (REP-22).
 */
export function locationKeys(
  { config, identity }: OpenContext,
  sight: ImageInSight,
): Record<string, unknown> {
  const { policy, shows, stores } = config;
  const isAsked = shows.locations || shows.directUrl;
  if (!isAsked || !policy.allowsOnImage("get_image_location", identity, sight)) return {};
  const isHidden = sight.image.status === "deactivated" && !policy.isAdmin(identity);
  const views = isHidden ? [] : locationViews(sight.image, stores);
  const [first] = views;
  return {
    ...(shows.directUrl && first !== undefined && { direct_url: first.url }),
    ...(shows.locations && { locations: views }),
  };
}

import { checkTag } from "../domain/tags.ts";
import { noContent } from "../http/reply.ts";
import { unwrap } from "../image-object/rpc.ts";
import { type Context, param, target } from "./context.ts";

/** PUT /v2/images/{image_id}/tags/{tag}: idempotent (contract TAG-1); its length is checked before the image. */
export async function addTag(ctx: Context): Promise<Response> {
  const tag = param(ctx, "tag");
  checkTag(tag);
  const { object, caller } = target(ctx);
  unwrap(await object.addTag(caller, tag));
  return noContent();
}

/** DELETE /v2/images/{image_id}/tags/{tag} */
export async function removeTag(ctx: Context): Promise<Response> {
  const { object, caller } = target(ctx);
  unwrap(await object.removeTag(caller, param(ctx, "tag")));
  return noContent();
}

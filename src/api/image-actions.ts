import { noContent } from "../http/reply.ts";
import { unwrap } from "../image-object/rpc.ts";
import { type Context, target } from "./context.ts";

/** POST /v2/images/{image_id}/actions/deactivate: no more downloads but by administrators (contract ACT-1). */
export async function deactivateImage(ctx: Context): Promise<Response> {
  const { object, caller } = target(ctx);
  unwrap(await object.setStatus(caller, "deactivated"));
  return noContent();
}

/** POST /v2/images/{image_id}/actions/reactivate */
export async function reactivateImage(ctx: Context): Promise<Response> {
  const { object, caller } = target(ctx);
  unwrap(await object.setStatus(caller, "active"));
  return noContent();
}

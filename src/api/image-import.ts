import { parseImportRequest } from "../domain/import-request.ts";
import { readJson } from "../http/body.ts";
import { json } from "../http/reply.ts";
import { unwrap } from "../image-object/rpc.ts";
import { assertQuota, type Context, type OpenContext, target } from "./context.ts";

/** GET /v2/info/import: which import methods are on (contract IMP-16, 10 §15). */
export function showImportInfo({ config }: OpenContext): Response {
  const description = "Import methods available.";
  return json({ "import-methods": { description, type: "array", value: config.importMethods } });
}

/** POST /v2/images/{image_id}/import: accepted at once, done by the image's object (contract 10 §§3 to 8). */
export async function importImage(ctx: Context): Promise<Response> {
  const body = await readJson(ctx.request, ctx.maxBodyBytes);
  const request = parseImportRequest(body, ctx.config.importMethods);
  await assertQuota(ctx, "image_size_total", 0);
  const { object, caller } = target(ctx);
  const { headers } = ctx.request;
  unwrap(
    await object.beginImport(caller, {
      request,
      storeHeader: headers.get("x-image-meta-store"),
      requestId: ctx.requestId,
      taskType: "api_image_import",
      taskInput: undefined,
      token: headers.get("x-auth-token") ?? undefined,
    }),
  );
  return new Response(null, { status: 202 });
}

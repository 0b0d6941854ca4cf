import { Fault } from "../domain/fault.ts";
import type { StoreDefinition } from "../domain/store-definition.ts";
import { isReadOnly, type Stores } from "../domain/stores.ts";
import { json, noContent } from "../http/reply.ts";
import { unwrap } from "../image-object/rpc.ts";
import { type Context, type OpenContext, param, target } from "./context.ts";

/** GET /v2/info/stores (contract STR-1): 404 in a single-store service, which has nothing to choose. */
export function listStores(ctx: OpenContext): Response {
  return json({ stores: knownStores(ctx).all.map(storeView) });
}

/** GET /v2/info/stores/detail (contract STR-2) */
export function listStoreDetails(ctx: Context): Response {
  const stores = knownStores(ctx);
  ctx.config.policy.enforce(ctx.rule, ctx.identity);
  return json({
    stores: stores.all.map((store) => ({
      ...storeView(store),
      type: store.type,
      weight: store.weight,
      properties: store.properties,
    })),
  });
}

/** DELETE /v2/stores/{store_id}/{image_id}: takes one copy away (contract 11 §4). */
export async function deleteFromStore(ctx: Context): Promise<Response> {
  const storeId = param(ctx, "store_id");
  if (knownStores(ctx).find(storeId) === undefined)
    throw new Fault("store_in_conflict", { storeId });
  const { object, caller } = target(ctx);
  unwrap(await object.deleteFromStore(caller, storeId));
  return noContent();
}

function knownStores({ config }: OpenContext): Stores {
  if (!config.stores.isMulti) throw new Fault("not_found");
  return config.stores;
}

/** The flags are the text "true", and there only when true. */
function storeView(store: StoreDefinition): Record<string, unknown> {
  return {
    id: store.id,
    ...(store.description !== undefined && { description: store.description }),
    ...(store.isDefault && { default: "true" }),
    ...(isReadOnly(store) && { "read-only": "true" }),
  };
}

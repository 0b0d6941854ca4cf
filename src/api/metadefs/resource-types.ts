import { listResourceTypes as readResourceTypes } from "../../db/metadefs.ts";
import { parseAssociation } from "../../domain/metadefs/bodies.ts";
import { addParts, removePart } from "../../domain/metadefs/changes.ts";
import { json, noContent } from "../../http/reply.ts";
import { type Context, param } from "../context.ts";
import { assertAllowed, bodyOf, editNamespace, readNamespace } from "./access.ts";
import { associationView, resourceTypeView } from "./views.ts";

/** GET /v2/metadefs/resource_types (contract MR-1) */
export async function listResourceTypes(ctx: Context): Promise<Response> {
  assertAllowed(ctx);
  const types = await readResourceTypes(ctx.db);
  return json({ resource_types: types.map(resourceTypeView) });
}

/** GET …/{namespace}/resource_types (contract MR-2) */
export async function listAssociations(ctx: Context): Promise<Response> {
  const { associations } = await readNamespace(ctx);
  return json({ resource_type_associations: associations.map(associationView) });
}

/** POST …/{namespace}/resource_types (contract MR-3 … MR-5) */
export async function createAssociation(ctx: Context): Promise<Response> {
  const association = parseAssociation(await bodyOf(ctx), ctx.nowMs);
  await editNamespace(ctx, (namespace) => addParts(namespace, "resource type", [association]));
  return json(associationView(association), 201);
}

/** DELETE …/resource_types/{resource_type}: the type itself stays listed (contract MR-6) */
export async function deleteAssociation(ctx: Context): Promise<Response> {
  const name = param(ctx, "resource_type");
  await editNamespace(ctx, (namespace) => removePart(namespace, "resource type", name));
  return noContent();
}

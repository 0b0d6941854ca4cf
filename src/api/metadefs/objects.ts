import { parseObject } from "../../domain/metadefs/bodies.ts";
import {
  addParts,
  findPart,
  removeAllParts,
  removePart,
  replacePart,
} from "../../domain/metadefs/changes.ts";
import { checkObjectList } from "../../http/metadef-query.ts";
import { json, noContent } from "../../http/reply.ts";
import { type Context, param } from "../context.ts";
import { bodyOf, editNamespace, readNamespace } from "./access.ts";
import { objectView, writtenObjectView } from "./views.ts";

/** GET …/{namespace}/objects: all of them (contract MO-5, MO-6) */
export async function listObjects(ctx: Context): Promise<Response> {
  checkObjectList(ctx.url.search);
  const { name, objects } = await readNamespace(ctx);
  return json({
    objects: objects.map((object) => objectView(name, object)),
    schema: "/v2/schemas/metadefs/objects",
  });
}

/** POST …/{namespace}/objects (contract MO-1, MO-3) */
export async function createObject(ctx: Context): Promise<Response> {
  const object = parseObject(await bodyOf(ctx), ctx.nowMs);
  const { name } = await editNamespace(ctx, (namespace) => addParts(namespace, "object", [object]));
  return json(writtenObjectView(name, object), 201);
}

/** GET …/objects/{object} (contract MO-3) */
export async function showObject(ctx: Context): Promise<Response> {
  const namespace = await readNamespace(ctx);
  return json(objectView(namespace.name, findPart(namespace, "object", param(ctx, "object"))));
}

/** PUT …/objects/{object} (contract MO-2, MO-3) */
export async function updateObject(ctx: Context): Promise<Response> {
  const object = parseObject(await bodyOf(ctx), ctx.nowMs);
  const name = param(ctx, "object");
  const changed = await editNamespace(ctx, (namespace) =>
    replacePart(namespace, "object", name, object),
  );
  return json(writtenObjectView(changed.name, findPart(changed, "object", object.name)));
}

/** DELETE …/objects/{object} (contract MO-7) */
export async function deleteObject(ctx: Context): Promise<Response> {
  const name = param(ctx, "object");
  await editNamespace(ctx, (namespace) => removePart(namespace, "object", name));
  return noContent();
}

/** DELETE …/{namespace}/objects (contract MN-63) */
export async function deleteObjects(ctx: Context): Promise<Response> {
  await editNamespace(ctx, (namespace) => removeAllParts(namespace, "object"));
  return noContent();
}

import { parseProperty } from "../../domain/metadefs/bodies.ts";
import {
  addParts,
  findPart,
  removeAllParts,
  removePart,
  replacePart,
} from "../../domain/metadefs/changes.ts";
import { findPrefixed } from "../../domain/metadefs/prefix.ts";
import { parseResourceType } from "../../http/metadef-query.ts";
import { json, noContent } from "../../http/reply.ts";
import { type Context, param } from "../context.ts";
import { bodyOf, editNamespace, readNamespace } from "./access.ts";
import { propertiesView } from "./views.ts";

/** GET …/{namespace}/properties: all of them, by name (contract MP-13) */
export async function listProperties(ctx: Context): Promise<Response> {
  const { properties } = await readNamespace(ctx);
  return json(propertiesView(properties));
}

/** POST …/{namespace}/properties (contract MP-1 … MP-12) */
export async function createProperty(ctx: Context): Promise<Response> {
  const property = parseProperty(await bodyOf(ctx));
  await editNamespace(ctx, (namespace) => addParts(namespace, "property", [property]));
  return json(property, 201);
}

/** GET …/properties/{property}, perhaps by the name that a type of resource has it under (contract MP-14) */
export async function showProperty(ctx: Context): Promise<Response> {
  const name = param(ctx, "property");
  const resourceType = parseResourceType(ctx.url.search);
  if (resourceType === undefined) {
    return json(findPart(await readNamespace(ctx), "property", name));
  }
  const namespace = await readNamespace(ctx, "get_metadef_resource_type");
  return json(findPrefixed(namespace, resourceType, name));
}

/** PUT …/properties/{property} (contract MP-15) */
export async function updateProperty(ctx: Context): Promise<Response> {
  const property = parseProperty(await bodyOf(ctx));
  const name = param(ctx, "property");
  await editNamespace(ctx, (namespace) => replacePart(namespace, "property", name, property));
  return json(property);
}

/** DELETE …/properties/{property} (contract MP-16) */
export async function deleteProperty(ctx: Context): Promise<Response> {
  const name = param(ctx, "property");
  await editNamespace(ctx, (namespace) => removePart(namespace, "property", name));
  return noContent();
}

/** DELETE …/{namespace}/properties (contract MN-63) */
export async function deleteProperties(ctx: Context): Promise<Response> {
  await editNamespace(ctx, (namespace) => removeAllParts(namespace, "property"));
  return noContent();
}

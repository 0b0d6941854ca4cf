import { listNamespaces as queryNamespaces } from "../../db/metadef-query.ts";
import { changeNamespace, insertNamespace, deleteNamespace as remove } from "../../db/metadefs.ts";
import { parseNamespaceChange, parseNewNamespace } from "../../domain/metadefs/bodies.ts";
import { assertUnprotected } from "../../domain/metadefs/changes.ts";
import { prefixed } from "../../domain/metadefs/prefix.ts";
import { buildLinks } from "../../http/link.ts";
import { parseNamespaceList, parseResourceType } from "../../http/metadef-query.ts";
import { json, noContent } from "../../http/reply.ts";
import type { RuleName } from "../../policy/rules.ts";
import { type Context, param } from "../context.ts";
import { admit, assertAllowed, assertOwner, bodyOf, isAllowed, readNamespace } from "./access.ts";
import { namespaceFieldsView, namespaceView } from "./views.ts";

/** What else must be allowed to see a namespace whole (contract MN-24). */
const READ_RULES = [
  "list_metadef_resource_types",
  "get_metadef_objects",
  "get_metadef_properties",
  "get_metadef_tags",
] as const satisfies readonly RuleName[];

/**
 * GET /v2/metadefs/namespaces (contract MN-64 … MN-75): those that the caller may read; a policy of one's own may leave
 * pages short, and they still have a next. Ours: `include=properties,objects,tags` has parts come along, of those
 * namespaces where the caller may list them.
 */
export async function listNamespaces(ctx: Context): Promise<Response> {
  const { policy, limits } = ctx.config;
  assertAllowed(ctx, "list_metadef_resource_types");
  const query = parseNamespaceList(ctx.url.search, limits);
  const namespaces = await queryNamespaces(ctx.db, query, policy.viewer(ctx.identity));
  const readable = namespaces.filter((one) => isAllowed(ctx, "get_metadef_namespace", one));
  const shown = readable.map(({ properties, objects, tags, ...namespace }) =>
    namespaceView({
      ...namespace,
      ...(properties && isAllowed(ctx, "get_metadef_properties", namespace) && { properties }),
      ...(objects && isAllowed(ctx, "get_metadef_objects", namespace) && { objects }),
      ...(tags && isAllowed(ctx, "get_metadef_tags", namespace) && { tags }),
    }),
  );
  const lastName = namespaces.length === query.limit ? namespaces.at(-1)?.name : undefined;
  return json({
    namespaces: shown,
    ...buildLinks(ctx.url.search, lastName, "/v2/metadefs/namespaces"),
    schema: "/v2/schemas/metadefs/namespaces",
  });
}

/** POST /v2/metadefs/namespaces: with everything in it, or not at all (contract MN-48 … MN-51). */
export async function createNamespace(ctx: Context): Promise<Response> {
  const { projectId } = ctx.identity;
  const { namespace, given } = parseNewNamespace(await bodyOf(ctx), projectId, ctx.nowMs);
  const parts = [
    [namespace.associations, "add_metadef_resource_type_association"],
    [namespace.objects, "add_metadef_object"],
    [namespace.properties, "add_metadef_property"],
    [namespace.tags, "add_metadef_tag"],
  ] as const;
  assertAllowed(ctx, ...parts.flatMap(([items, rule]) => (items.length > 0 ? [rule] : [])));
  assertOwner(ctx, namespace.owner);
  await insertNamespace(ctx.db, namespace);
  const { resource_type_associations, properties, objects, tags } = given;
  const location = `${ctx.baseUrl}/v2/metadefs/namespaces/${encodeURIComponent(namespace.name)}`;
  return json(
    {
      ...namespaceFieldsView(namespace),
      ...{ resource_type_associations, properties, objects, tags },
    },
    201,
    { location },
  );
}

/** GET /v2/metadefs/namespaces/{namespace}, perhaps as a type of resource has it (contract MN-52 … MN-55). */
export async function showNamespace(ctx: Context): Promise<Response> {
  const resourceType = parseResourceType(ctx.url.search);
  const namespace = await readNamespace(ctx, ...READ_RULES);
  return json(
    namespaceView(resourceType === undefined ? namespace : prefixed(namespace, resourceType)),
  );
}

/** PUT /v2/metadefs/namespaces/{namespace} (contract MN-56 … MN-61) */
export async function updateNamespace(ctx: Context): Promise<Response> {
  const fields = parseNamespaceChange(await bodyOf(ctx), ctx.identity.projectId);
  const changed = await changeNamespace(ctx.db, param(ctx, "namespace"), (found) => {
    const namespace = admit(ctx, found);
    assertOwner(ctx, fields.owner, namespace.owner);
    return { ...namespace, ...fields, updatedAtMs: ctx.nowMs };
  });
  return json(namespaceFieldsView(changed));
}

/** DELETE /v2/metadefs/namespaces/{namespace} (contract MN-62) */
export async function deleteNamespace(ctx: Context): Promise<Response> {
  await remove(ctx.db, param(ctx, "namespace"), (found) => {
    const namespace = admit(ctx, found);
    assertUnprotected(namespace);
    return namespace;
  });
  return noContent();
}

import { makeTag, parseTag, parseTags } from "../../domain/metadefs/bodies.ts";
import {
  addParts,
  findPart,
  removeAllParts,
  removePart,
  replacePart,
  replaceTags,
} from "../../domain/metadefs/changes.ts";
import { listTags as chooseTags } from "../../domain/metadefs/tag-list.ts";
import { parseTagList } from "../../http/metadef-query.ts";
import { json, noContent } from "../../http/reply.ts";
import { type Context, param } from "../context.ts";
import { bodyOf, editNamespace, readNamespace } from "./access.ts";
import { tagNameView, tagView } from "./views.ts";

/** GET …/{namespace}/tags (contract MT-11, MT-12) */
export async function listTags(ctx: Context): Promise<Response> {
  const query = parseTagList(ctx.url.search);
  const { tags } = await readNamespace(ctx);
  return json({ tags: chooseTags(tags, query).map(tagNameView) });
}

/** POST …/{namespace}/tags: in place of those that are there, or with them (contract MT-2 … MT-7) */
export async function createTags(ctx: Context): Promise<Response> {
  const tags = parseTags(await bodyOf(ctx), ctx.nowMs);
  const isAppended = isTrue(ctx.request.headers.get("x-openstack-append"));
  await editNamespace(ctx, (namespace) => {
    if (tags.length === 0) return namespace;
    return isAppended ? addParts(namespace, "tag", tags) : replaceTags(namespace, tags);
  });
  return json({ tags: tags.map(tagNameView) }, 201);
}

/** What the reference takes for a yes (contract MT-4). */
function isTrue(text: string | null): boolean {
  return ["true", "1", "yes", "y", "t", "on"].includes((text ?? "").trim().toLowerCase());
}

/** POST …/tags/{tag}: the address says it all (contract MT-1) */
export async function createTag(ctx: Context): Promise<Response> {
  const tag = makeTag(param(ctx, "tag"), ctx.nowMs);
  await editNamespace(ctx, (namespace) => addParts(namespace, "tag", [tag]));
  return json(tagView(tag), 201);
}

/** GET …/tags/{tag} */
export async function showTag(ctx: Context): Promise<Response> {
  return json(tagView(findPart(await readNamespace(ctx), "tag", param(ctx, "tag"))));
}

/** PUT …/tags/{tag}: another name (contract MT-13) */
export async function updateTag(ctx: Context): Promise<Response> {
  const tag = parseTag(await bodyOf(ctx), ctx.nowMs);
  const name = param(ctx, "tag");
  const changed = await editNamespace(ctx, (namespace) => replacePart(namespace, "tag", name, tag));
  return json(tagView(findPart(changed, "tag", tag.name)));
}

/** DELETE …/tags/{tag} (contract MT-14) */
export async function deleteTag(ctx: Context): Promise<Response> {
  const name = param(ctx, "tag");
  await editNamespace(ctx, (namespace) => removePart(namespace, "tag", name));
  return noContent();
}

/** DELETE …/{namespace}/tags, which stands under the rule of deleting tags, too (contract MN-63) */
export async function deleteTags(ctx: Context): Promise<Response> {
  const rule = "delete_metadef_tags";
  await editNamespace(ctx, (namespace) => removeAllParts(namespace, "tag"), rule);
  return noContent();
}

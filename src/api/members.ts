import { findImageWithMember, findImageWithMembers } from "../db/members.ts";
import { Fault } from "../domain/fault.ts";
import { checkMemberId } from "../domain/members.ts";
import { seesMember } from "../domain/visibility.ts";
import { readJson } from "../http/body.ts";
import { json, noContent } from "../http/reply.ts";
import { unwrap } from "../image-object/rpc.ts";
import { type Context, imageIdOf, param, target } from "./context.ts";
import { memberView } from "./views.ts";

/** GET /v2/images/{image_id}/members: all members for the owner, its own entry for a member (MEM-12, MEM-13). */
export async function listMembers(ctx: Context): Promise<Response> {
  const { policy } = ctx.config;
  const found = await findImageWithMembers(ctx.db, imageIdOf(ctx), ctx.identity.projectId);
  if (found.image.visibility !== "shared") {
    policy.enforceOnImage("get_image", ctx.identity, found);
    throw new Fault("not_shared");
  }
  policy.enforceOnImage(ctx.rule, ctx.identity, found);
  const viewer = policy.viewer(ctx.identity);
  const members = found.members
    .filter((member) => seesMember(viewer, found.image, member.memberId))
    .map(memberView);
  return json({ members, schema: "/v2/schemas/members" });
}

/** GET /v2/images/{image_id}/members/{member_id}: whatever is refused here is 404 (contract MSK-7). */
export async function showMember(ctx: Context): Promise<Response> {
  const { policy } = ctx.config;
  const memberId = param(ctx, "member_id");
  const imageId = imageIdOf(ctx);
  const found = await findImageWithMember(ctx.db, imageId, ctx.identity.projectId, memberId);
  const { image, membership, member } = found;
  policy.assertVisible(ctx.identity, found);
  if (
    member === undefined ||
    image.visibility !== "shared" ||
    !seesMember(policy.viewer(ctx.identity), image, memberId) ||
    !policy.allowsOnImage(ctx.rule, ctx.identity, { image, membership, memberId })
  ) {
    throw new Fault("member_not_found", { memberId, imageId });
  }
  return json(memberView(member));
}

/** POST /v2/images/{image_id}/members: 200, not 201 (contract MEM-1). */
export async function addMember(ctx: Context): Promise<Response> {
  const body = new Map<string, unknown>(
    Object.entries(await readJson(ctx.request, ctx.maxBodyBytes)),
  );
  const memberId = checkMemberId(body.get("member"));
  const { object, caller } = target(ctx);
  return json(memberView(unwrap(await object.addMember(caller, memberId))));
}

/** PUT /v2/images/{image_id}/members/{member_id}: the member says what it makes of the offer (MEM-18). */
export async function updateMember(ctx: Context): Promise<Response> {
  const body = new Map<string, unknown>(
    Object.entries(await readJson(ctx.request, ctx.maxBodyBytes)),
  );
  const status = body.get("status");
  if (typeof status !== "string") {
    throw new Fault("invalid_value", { name: "status", reason: "it must be a string" });
  }
  const { object, caller } = target(ctx);
  const member = unwrap(await object.setMemberStatus(caller, param(ctx, "member_id"), status));
  return json(memberView(member));
}

/** DELETE /v2/images/{image_id}/members/{member_id} */
export async function removeMember(ctx: Context): Promise<Response> {
  const { object, caller } = target(ctx);
  unwrap(await object.removeMember(caller, param(ctx, "member_id")));
  return noContent();
}

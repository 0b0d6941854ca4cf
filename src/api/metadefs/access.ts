import { changeNamespace, findNamespace } from "../../db/metadefs.ts";
import { Fault } from "../../domain/fault.ts";
import {
  type Namespace,
  seesNamespace,
  type WholeNamespace,
} from "../../domain/metadefs/namespace.ts";
import { readJson } from "../../http/body.ts";
import type { RuleName } from "../../policy/rules.ts";
import { type Context, param } from "../context.ts";

/*
 * Who gets at which namespace (contract 14 §2): one that the caller may not see is 404 whatever the rule, and so is one
 * that it may not read when a rule denies; a denied rule is 403 to all others. Bodies are read before (contract MN-20).
 */

/** The namespace of the path, for a call that reads it. Throws `metadef_not_found`, and `forbidden` where a rule denies. */
export async function readNamespace(
  ctx: Context,
  ...rules: readonly RuleName[]
): Promise<WholeNamespace> {
  const name = param(ctx, "namespace");
  return admit(ctx, await findNamespace(ctx.db, name), rules);
}

/** Changes the namespace of the path; `decide` is given it as it is, and says how it is to be. */
export function editNamespace(
  ctx: Context,
  decide: (namespace: WholeNamespace) => WholeNamespace,
  ...rules: readonly RuleName[]
): Promise<WholeNamespace> {
  return changeNamespace(ctx.db, param(ctx, "namespace"), (found) =>
    decide(admit(ctx, found, rules)),
  );
}

/** The namespace if the caller sees it and the route's rule holds for it, and these rules do. */
export function admit(
  ctx: Context,
  found: WholeNamespace | undefined,
  rules: readonly RuleName[] = [],
): WholeNamespace {
  const missing = () =>
    new Fault("metadef_not_found", { kind: "namespace", name: param(ctx, "namespace") });
  if (found === undefined || !seesNamespace(ctx.config.policy.viewer(ctx.identity), found)) {
    throw missing();
  }
  const denied = [ctx.rule, ...rules].find((rule) => !isAllowed(ctx, rule, found));
  if (denied === undefined) return found;
  if (!isAllowed(ctx, "get_metadef_namespace", found)) throw missing();
  throw new Fault("forbidden", { rule: denied });
}

/**
 * Refuses a namespace to be another project's than the caller's, but by an administrator, or where it is that already
 * (contract MN-22). Throws `forbidden_reason`.
 */
export function assertOwner(ctx: Context, owner: string | null, before?: string | null): void {
  const { config, identity } = ctx;
  if (owner === identity.projectId || owner === before || config.policy.isAdmin(identity)) return;
  const reason = `You are not permitted to have namespaces owned by '${owner ?? "nobody"}'.`;
  throw new Fault("forbidden_reason", { reason });
}

/** Whether a rule holds for a namespace. */
export function isAllowed(ctx: Context, rule: RuleName, namespace: Namespace): boolean {
  return ctx.config.policy.allows(rule, ctx.identity, targetOf(namespace));
}

/** Refuses with 403 what stands under rules and has no namespace yet: they are asked for the caller's own project. */
export function assertAllowed(ctx: Context, ...rules: readonly RuleName[]): void {
  const { projectId } = ctx.identity;
  const target = { owner: projectId, project_id: projectId, visibility: "private" };
  for (const rule of [ctx.rule, ...rules]) ctx.config.policy.enforce(rule, ctx.identity, target);
}

function targetOf({ owner, visibility }: Namespace) {
  return { owner, project_id: owner, visibility };
}

/** The body of a call, which must be JSON. */
export function bodyOf(ctx: Context): Promise<object> {
  return readJson(ctx.request, ctx.maxBodyBytes);
}

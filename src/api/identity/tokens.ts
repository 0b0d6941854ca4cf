import { projectsOf } from "../../auth/identity-document.ts";
import { signIn } from "../../auth/sign-in.ts";
import { type Grant, readToken, signToken } from "../../auth/token.ts";
import { Fault } from "../../domain/fault.ts";
import { readJson } from "../../http/body.ts";
import { json, noContent } from "../../http/reply.ts";
import { parseAuthRequest } from "./auth-request.ts";
import { forbidden, type IdentityContext, isAdmin } from "./context.ts";
import { catalogView, collectionView, projectView, tokenView } from "./views.ts";

const MAX_BODY_BYTES = 64 * 1024;

/** POST /identity/v3/auth/tokens */
export async function issueToken(ctx: IdentityContext): Promise<Response> {
  const { credentials, scope } = parseAuthRequest(await readBody(ctx.request));
  const grant = await signIn(credentials, scope, ctx.settings, ctx);
  const token = await signToken(grant, ctx.settings);
  return json({ token: tokenView(ctx, grant) }, 201, { "x-subject-token": token });
}

async function readBody(request: Request): Promise<object> {
  try {
    return await readJson(request, MAX_BODY_BYTES);
  } catch (cause) {
    // The JSON parser's message quotes the body, which holds a password.
    if (cause instanceof Fault && cause.code === "body_malformed") {
      throw new Fault("body_malformed", { reason: "it cannot be parsed" });
    }
    throw cause;
  }
}

/** GET /identity/v3/auth/tokens */
export async function showToken(ctx: IdentityContext, caller: Grant): Promise<Response> {
  const { token, grant } = await readSubject(ctx, caller, "validate_token");
  return json({ token: tokenView(ctx, grant) }, 200, { "x-subject-token": token });
}

/** HEAD /identity/v3/auth/tokens */
export async function checkToken(ctx: IdentityContext, caller: Grant): Promise<Response> {
  const { headers } = await showToken(ctx, caller);
  return new Response(null, { headers });
}

/**
 * DELETE /identity/v3/auth/tokens. The answer clients expect, after the checks they expect; the
 * token itself goes on until it expires, because nothing is kept about single tokens
 * (`auth/token.ts` says why).
 */
export async function revokeToken(ctx: IdentityContext, caller: Grant): Promise<Response> {
  await readSubject(ctx, caller, "revoke_token");
  return noContent();
}

/**
 * The token in X-Subject-Token, for its own user or an admin; one that does not hold is not found.
 */
async function readSubject(
  ctx: IdentityContext,
  caller: Grant,
  rule: string,
): Promise<{ token: string; grant: Grant }> {
  const token = ctx.request.headers.get("x-subject-token") ?? "";
  const grant = await readToken(token, ctx.settings, ctx.nowMs).catch((cause: unknown) => {
    if (cause instanceof Fault && cause.code === "unauthorized") {
      throw new Fault("identity_not_found", { what: "the token in X-Subject-Token" });
    }
    throw cause;
  });
  if (grant.user !== caller.user && !isAdmin(caller)) throw forbidden(rule);
  return { token, grant };
}

/** GET /identity/v3/auth/projects */
export function listOwnProjects(ctx: IdentityContext, caller: Grant): Response {
  const projects = projectsOf(ctx.settings.identity, caller.user);
  const views = projects.map((project) => projectView(ctx, project));
  return json(collectionView(ctx, "projects", views));
}

/** GET /identity/v3/auth/catalog */
export function showCatalog(ctx: IdentityContext, caller: Grant): Response {
  if (caller.project === null) throw forbidden("get_auth_catalog");
  return json(collectionView(ctx, "catalog", catalogView(ctx)));
}

import { Fault } from "../domain/fault.ts";
import type { Identity } from "../domain/identity.ts";
import { type AuthSettings, assertServable } from "./settings.ts";
import { type Grant, readToken } from "./token.ts";

/** A caller of a cloud that lets anybody read (contract CTX-5). */
const ANONYMOUS: Identity = {
  userId: "",
  projectId: null,
  scope: "none",
  roles: [],
  isAnonymous: true,
};

/**
 * What the token in X-Auth-Token grants. Throws the Fault `unauthorized` when there is none that
 * holds.
 */
export async function requireToken(
  request: Request,
  settings: AuthSettings,
  nowMs: number,
): Promise<Grant> {
  assertServable(request, settings);
  const token = request.headers.get("x-auth-token");
  if (!token) {
    throw new Fault("unauthorized", {
      reason: "The request you have made requires authentication.",
    });
  }
  return await readToken(token, settings, nowMs);
}

/** Who is calling, by the built-in identity service's own tokens. */
export async function authenticateBuiltin(
  request: Request,
  settings: AuthSettings,
  nowMs: number,
): Promise<Identity> {
  if (settings.allowAnonymous && !request.headers.get("x-auth-token")) {
    assertServable(request, settings);
    return ANONYMOUS;
  }
  const { user, project, roles } = await requireToken(request, settings, nowMs);
  return {
    userId: user.id,
    projectId: project?.id ?? null,
    scope: project === null ? "none" : "project",
    roles,
    isAnonymous: false,
  };
}

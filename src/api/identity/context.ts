import { requireToken } from "../../auth/builtin.ts";
import { type AuthSettings, assertServable } from "../../auth/settings.ts";
import type { SignInGuard } from "../../auth/sign-in-guard.ts";
import type { Grant } from "../../auth/token.ts";
import { Fault } from "../../domain/fault.ts";

/** What a handler of the identity API is given. */
export interface IdentityContext {
  readonly request: Request;
  readonly url: URL;
  /** Path parameters, percent-decoded. */
  readonly params: Readonly<Record<string, string>>;
  /** Scheme and host the request came to, or PUBLIC_ENDPOINT; without a trailing slash. */
  readonly baseUrl: string;
  readonly settings: AuthSettings;
  /** Counts the sign-ins that fail. */
  readonly guard: SignInGuard;
  readonly nowMs: number;
  readonly newId: () => string;
}

export type IdentityHandler = (ctx: IdentityContext) => Response | Promise<Response>;

/** A handler for callers without a token. */
export function openToAll(handle: IdentityHandler): IdentityHandler {
  return async (ctx) => {
    assertServable(ctx.request, ctx.settings);
    return await handle(ctx);
  };
}

/** A handler for callers whose token holds. */
export function forCaller(
  handle: (ctx: IdentityContext, caller: Grant) => Response | Promise<Response>,
): IdentityHandler {
  return async (ctx) => await handle(ctx, await requireToken(ctx.request, ctx.settings, ctx.nowMs));
}

/** Whether the caller may see everybody's records. */
export function isAdmin(caller: Grant): boolean {
  return caller.roles.includes("admin");
}

/** The address of something below `/identity/v3`. */
export function identityUrl(ctx: IdentityContext, path: string): string {
  return `${ctx.baseUrl}/identity/v3${path}`;
}

/** Keystone's refusal of a call that the caller's roles do not allow. */
export function forbidden(rule: string): Fault {
  return new Fault("forbidden", { rule: `identity:${rule}` });
}

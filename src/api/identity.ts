import { forCaller, type IdentityHandler, openToAll } from "./identity/context.ts";
import {
  listDomains,
  listProjects,
  listRoles,
  listUserProjects,
  listUsers,
  showDomain,
  showProject,
  showRole,
  showUser,
} from "./identity/look-ups.ts";
import {
  checkToken,
  issueToken,
  listOwnProjects,
  revokeToken,
  showCatalog,
  showToken,
} from "./identity/tokens.ts";
import { listVersions, showVersion } from "./identity/versions.ts";

export type { IdentityContext, IdentityHandler } from "./identity/context.ts";
export { renderIdentityFault } from "./identity/reply.ts";

/** One call of the identity API; `access: "token"` handlers check the token themselves. */
export interface IdentityRoute {
  readonly method: "GET" | "POST" | "HEAD" | "DELETE";
  readonly path: string;
  readonly access: "public" | "token";
  readonly handle: IdentityHandler;
}

/** The part of Keystone v3 that clients need to work with images, for AUTH=builtin. */
export const identityRoutes: readonly IdentityRoute[] = [
  open("GET", "/identity", listVersions),
  open("GET", "/identity/v3", showVersion),
  open("POST", "/identity/v3/auth/tokens", issueToken),
  closed("GET", "/identity/v3/auth/tokens", showToken),
  closed("HEAD", "/identity/v3/auth/tokens", checkToken),
  closed("DELETE", "/identity/v3/auth/tokens", revokeToken),
  closed("GET", "/identity/v3/auth/projects", listOwnProjects),
  closed("GET", "/identity/v3/auth/catalog", showCatalog),
  closed("GET", "/identity/v3/projects", listProjects),
  closed("GET", "/identity/v3/projects/:id", showProject),
  closed("GET", "/identity/v3/users", listUsers),
  closed("GET", "/identity/v3/users/:id", showUser),
  closed("GET", "/identity/v3/users/:id/projects", listUserProjects),
  closed("GET", "/identity/v3/domains", listDomains),
  closed("GET", "/identity/v3/domains/:id", showDomain),
  closed("GET", "/identity/v3/roles", listRoles),
  closed("GET", "/identity/v3/roles/:id", showRole),
];

function open(
  method: IdentityRoute["method"],
  path: string,
  handle: IdentityHandler,
): IdentityRoute {
  return { method, path, access: "public", handle: openToAll(handle) };
}

function closed(
  method: IdentityRoute["method"],
  path: string,
  handle: Parameters<typeof forCaller>[0],
): IdentityRoute {
  return { method, path, access: "token", handle: forCaller(handle) };
}

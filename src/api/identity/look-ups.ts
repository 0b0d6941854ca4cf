import {
  type Domain,
  isSameName,
  type Project,
  projectsOf,
  type User,
} from "../../auth/identity-document.ts";
import type { Grant } from "../../auth/token.ts";
import { Fault } from "../../domain/fault.ts";
import { json } from "../../http/reply.ts";
import { forbidden, type IdentityContext, isAdmin } from "./context.ts";
import { collectionView, domainView, projectView, roleView, userView } from "./views.ts";

// Admins see every record, others their own, and only when they ask for it by id or name. Everything
// else is 403 to them, whether or not it exists and for a whole list too, as with Keystone. The stock
// client depends on that: refused in all three ways (by id, by name, the whole list), it takes what
// it was given for an id and goes on, so that a member can share an image with a project by its id.
//
// One thing that Keystone refuses is granted: whoever knows a project's exact name learns its id, since
// sharing an image by the project's name takes that. Refused, the client would share it with nobody.

/** GET /identity/v3/projects */
export function listProjects(ctx: IdentityContext, caller: Grant): Response {
  const query = ctx.url.searchParams;
  const askedFor = query.has("name")
    ? [...ctx.settings.identity.projects.values()]
    : visibleProjects(ctx, caller);
  const found = askedFor.filter(
    (project) =>
      isNamed(query, project.name) &&
      agrees(query, "domain_id", project.domain.id) &&
      agrees(query, "parent_id", project.domain.id) &&
      agrees(query, "enabled", project.isEnabled) &&
      agrees(query, "is_domain", false),
  );
  assertMayList(ctx, caller, found, "list_projects");
  return projectList(ctx, found);
}

/** GET /identity/v3/projects/{project_id} */
export function showProject(ctx: IdentityContext, caller: Grant): Response {
  const project = pick(visibleProjects(ctx, caller), ctx, caller, "project");
  return json({ project: projectView(ctx, project) });
}

/** GET /identity/v3/users */
export function listUsers(ctx: IdentityContext, caller: Grant): Response {
  const query = ctx.url.searchParams;
  const found = visibleUsers(ctx, caller).filter(
    (user) =>
      isNamed(query, user.name) &&
      agrees(query, "domain_id", user.domain.id) &&
      agrees(query, "enabled", user.isEnabled),
  );
  assertMayList(ctx, caller, found, "list_users");
  const views = found.map((user) => userView(ctx, user));
  return json(collectionView(ctx, "users", views));
}

/** GET /identity/v3/users/{user_id} */
export function showUser(ctx: IdentityContext, caller: Grant): Response {
  const user = pick(visibleUsers(ctx, caller), ctx, caller, "user");
  return json({ user: userView(ctx, user) });
}

/** GET /identity/v3/users/{user_id}/projects */
export function listUserProjects(ctx: IdentityContext, caller: Grant): Response {
  const user = pick(visibleUsers(ctx, caller), ctx, caller, "user");
  return projectList(ctx, projectsOf(ctx.settings.identity, user));
}

/** GET /identity/v3/domains */
export function listDomains(ctx: IdentityContext, caller: Grant): Response {
  const found = visibleDomains(ctx, caller).filter(({ name }) =>
    isNamed(ctx.url.searchParams, name),
  );
  assertMayList(ctx, caller, found, "list_domains");
  const views = found.map((domain) => domainView(ctx, domain));
  return json(collectionView(ctx, "domains", views));
}

/** GET /identity/v3/domains/{domain_id} */
export function showDomain(ctx: IdentityContext, caller: Grant): Response {
  const domain = pick(visibleDomains(ctx, caller), ctx, caller, "domain");
  return json({ domain: domainView(ctx, domain) });
}

/** GET /identity/v3/roles */
export function listRoles(ctx: IdentityContext, caller: Grant): Response {
  if (!isAdmin(caller)) throw forbidden("list_roles");
  const found = ctx.settings.identity.roles.filter((name) => isNamed(ctx.url.searchParams, name));
  const views = found.map((name) => roleView(ctx, name));
  return json(collectionView(ctx, "roles", views));
}

/** GET /identity/v3/roles/{role_id} */
export function showRole(ctx: IdentityContext, caller: Grant): Response {
  if (!isAdmin(caller)) throw forbidden("get_role");
  const roles = ctx.settings.identity.roles.map((name) => ({ id: name }));
  return json({ role: roleView(ctx, pick(roles, ctx, caller, "role").id) });
}

function assertMayList(
  { url }: IdentityContext,
  caller: Grant,
  found: readonly unknown[],
  rule: string,
): void {
  const isFoundByName = url.searchParams.has("name") && found.length > 0;
  if (!isAdmin(caller) && !isFoundByName) throw forbidden(rule);
}

function visibleProjects({ settings }: IdentityContext, caller: Grant): readonly Project[] {
  if (isAdmin(caller)) return [...settings.identity.projects.values()];
  return projectsOf(settings.identity, caller.user);
}

function visibleUsers({ settings }: IdentityContext, caller: Grant): readonly User[] {
  return isAdmin(caller) ? [...settings.identity.users.values()] : [caller.user];
}

function visibleDomains({ settings }: IdentityContext, caller: Grant): readonly Domain[] {
  const all = [...settings.identity.domains.values()];
  if (isAdmin(caller)) return all;
  return all.filter((domain) => domain === caller.user.domain || domain === caller.project?.domain);
}

/** The visible record whose id is in the path. */
function pick<T extends { readonly id: string }>(
  visible: readonly T[],
  ctx: IdentityContext,
  caller: Grant,
  noun: string,
): T {
  const id = ctx.params.id;
  const record = visible.find((candidate) => candidate.id === id);
  if (record !== undefined) return record;
  if (!isAdmin(caller)) throw forbidden(`get_${noun}`);
  throw new Fault("identity_not_found", { what: `${noun}: ${id}` });
}

function projectList(ctx: IdentityContext, projects: readonly Project[]): Response {
  const views = projects.map((project) => projectView(ctx, project));
  return json(collectionView(ctx, "projects", views));
}

/** Whether the filter by name is absent or wants this name. */
function isNamed(query: URLSearchParams, name: string): boolean {
  const wanted = query.get("name");
  return wanted === null || isSameName(wanted, name);
}

/** Whether the filter of this name is absent or wants this value. */
function agrees(query: URLSearchParams, name: string, value: string | boolean): boolean {
  const wanted = query.get(name);
  if (wanted === null) return true;
  if (typeof value === "string") return wanted === value;
  return /^(true|1|)$/i.test(wanted) === value;
}

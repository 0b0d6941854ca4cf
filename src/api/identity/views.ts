import type { Domain, Project, User } from "../../auth/identity-document.ts";
import type { Grant } from "../../auth/token.ts";
import { type IdentityContext, identityUrl } from "./context.ts";

const INTERFACES = ["public", "internal", "admin"];

/** The body of a token, with the catalog where the token has a project and the caller wants it. */
export function tokenView(ctx: IdentityContext, grant: Grant): object {
  const { user, project, credential } = grant;
  return {
    methods: grant.methods,
    user: { ...nameAndDomain(user), password_expires_at: null },
    audit_ids: grant.auditIds,
    issued_at: instant(grant.issuedAtMs),
    expires_at: instant(grant.expiresAtMs),
    ...(project !== null && {
      project: nameAndDomain(project),
      is_domain: false,
      roles: grant.roles.map((name) => ({ id: name, name })),
      // `?nocatalog`, as keystoneauth sends it, has no value.
      ...(!ctx.url.searchParams.has("nocatalog") && { catalog: catalogView(ctx) }),
    }),
    ...(credential !== null && {
      application_credential: { id: credential.id, name: credential.name, restricted: true },
    }),
  };
}

/**
 * The services of this installation: itself, twice. Both addresses are unversioned, to be
 * discovered.
 */
export function catalogView(ctx: IdentityContext): readonly object[] {
  return [
    serviceView(ctx, "identity", "keystone", `${ctx.baseUrl}/identity`),
    serviceView(ctx, "image", "glance", ctx.baseUrl),
  ];
}

function serviceView(
  { settings: { region } }: IdentityContext,
  type: string,
  name: string,
  url: string,
): object {
  const endpoints = INTERFACES.map((side) => ({
    id: `${type}-${side}`,
    interface: side,
    region,
    region_id: region,
    url,
  }));
  return { id: type, type, name, endpoints };
}

/** A project as the look-ups show it. */
export function projectView(ctx: IdentityContext, project: Project): object {
  return {
    id: project.id,
    name: project.name,
    domain_id: project.domain.id,
    parent_id: project.domain.id,
    description: project.description,
    enabled: project.isEnabled,
    is_domain: false,
    options: {},
    tags: [],
    links: { self: identityUrl(ctx, `/projects/${project.id}`) },
  };
}

/** A user as the look-ups show it. */
export function userView(ctx: IdentityContext, user: User): object {
  return {
    id: user.id,
    name: user.name,
    domain_id: user.domain.id,
    description: user.description,
    enabled: user.isEnabled,
    ...(user.defaultProjectId !== null && { default_project_id: user.defaultProjectId }),
    password_expires_at: null,
    options: {},
    links: { self: identityUrl(ctx, `/users/${user.id}`) },
  };
}

/** A domain as the look-ups show it. */
export function domainView(ctx: IdentityContext, domain: Domain): object {
  return {
    ...domain,
    enabled: true,
    options: {},
    tags: [],
    links: { self: identityUrl(ctx, `/domains/${domain.id}`) },
  };
}

/** A role, whose id is its name. */
export function roleView(ctx: IdentityContext, name: string): object {
  const self = identityUrl(ctx, `/roles/${encodeURIComponent(name)}`);
  return { id: name, name, domain_id: null, description: null, options: {}, links: { self } };
}

/** A list, always whole. */
export function collectionView(
  ctx: IdentityContext,
  key: string,
  items: readonly object[],
): object {
  // The path as it came may begin with the mount prefix, which the base address has already.
  const path = ctx.url.pathname.replace(/^.*?\/identity\/v3(?=\/)/, "");
  const self = identityUrl(ctx, `${path}${ctx.url.search}`);
  return { [key]: items, links: { self, previous: null, next: null } };
}

function nameAndDomain({ id, name, domain }: Project | User): object {
  return { id, name, domain: { id: domain.id, name: domain.name } };
}

/** Six decimals, because some clients parse by that exact pattern. */
function instant(timeMs: number): string {
  return new Date(timeMs).toISOString().replace("Z", "000Z");
}

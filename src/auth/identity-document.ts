import { expandRoles } from "./roles.ts";
import type { SecretHash } from "./secret-hash.ts";

/**
 * The users, projects and roles of the built-in identity service: one JSON document in the secret
 * IDENTITY.
 */
export interface IdentityDocument {
  /** Known passwords: good for local development only. */
  readonly isDevelopment: boolean;
  readonly domains: ReadonlyMap<string, Domain>;
  readonly projects: ReadonlyMap<string, Project>;
  readonly users: ReadonlyMap<string, User>;
  /** By id; names are unique only within their user. */
  readonly applicationCredentials: ReadonlyMap<string, ApplicationCredential>;
  /** Every role name that somebody can hold. */
  readonly roles: readonly string[];
  /** Checked in place of the password of a user that does not exist. */
  readonly passwordDecoy: SecretHash;
  /** Checked in place of the secret of an application credential that does not exist. */
  readonly secretDecoy: SecretHash;
}

/** The name space of projects and users. */
export interface Domain {
  readonly id: string;
  readonly name: string;
  readonly description: string;
}

/** What owns images, and what a token is scoped to. */
export interface Project {
  readonly id: string;
  readonly name: string;
  readonly domain: Domain;
  readonly isEnabled: boolean;
  readonly description: string;
}

/** Somebody who signs in. */
export interface User {
  readonly id: string;
  readonly name: string;
  readonly domain: Domain;
  readonly isEnabled: boolean;
  readonly description: string;
  readonly defaultProjectId: string | null;
  readonly password: SecretHash;
  /** Role names by project id, in lower case (contract CTX-3). */
  readonly rolesByProject: ReadonlyMap<string, readonly string[]>;
}

/** A secret of a user that opens one project, with some or all of the user's roles there. */
export interface ApplicationCredential {
  readonly id: string;
  readonly name: string;
  readonly userId: string;
  readonly secret: SecretHash;
  readonly projectId: string;
  /** Null: whatever the user has there. */
  readonly roles: readonly string[] | null;
  readonly expiresAtMs: number | null;
}

/** A record named by its id, or by its name within a domain. */
export type Reference =
  | { readonly id: string }
  | { readonly name: string; readonly domain: DomainReference };

/** A domain named by its id or by its name. */
export type DomainReference = { readonly id: string } | { readonly name: string };

/** Whether two names of domains, projects, users or credentials are one: without case, as Keystone compares them. */
export function isSameName(a: string, b: string): boolean {
  return foldName(a) === foldName(b);
}

/** What names that are the same have in common. */
export function foldName(name: string): string {
  return name.toLowerCase();
}

/** The domain of this id or name, if the document has it. */
export function findDomain(
  document: IdentityDocument,
  reference: DomainReference,
): Domain | undefined {
  if ("id" in reference) return document.domains.get(reference.id);
  return [...document.domains.values()].find(({ name }) => isSameName(name, reference.name));
}

/** The user of this id, or of this name in its domain, if the document has it. */
export function findUser(document: IdentityDocument, reference: Reference): User | undefined {
  return findIn(document, document.users, reference);
}

/** The project of this id, or of this name in its domain, if the document has it. */
export function findProject(document: IdentityDocument, reference: Reference): Project | undefined {
  return findIn(document, document.projects, reference);
}

function findIn<T extends { readonly name: string; readonly domain: Domain }>(
  document: IdentityDocument,
  records: ReadonlyMap<string, T>,
  reference: Reference,
): T | undefined {
  if ("id" in reference) return records.get(reference.id);
  const domain = findDomain(document, reference.domain);
  return [...records.values()].find(
    (record) => isSameName(record.name, reference.name) && record.domain === domain,
  );
}

/** The user's roles on the project at present, implied ones included. */
export function rolesOn(user: User, projectId: string): readonly string[] {
  return expandRoles(user.rolesByProject.get(projectId) ?? []);
}

/** The enabled projects on which the user has a role. */
export function projectsOf(document: IdentityDocument, user: User): readonly Project[] {
  const all = [...document.projects.values()];
  return all.filter(({ id, isEnabled }) => isEnabled && rolesOn(user, id).length > 0);
}

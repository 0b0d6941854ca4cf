import { Fault } from "../domain/fault.ts";
import {
  type ApplicationCredential,
  findDomain,
  findProject,
  findUser,
  foldName,
  type IdentityDocument,
  isSameName,
  type Project,
  type Reference,
  type User,
} from "./identity-document.ts";
import { matchesSecret, type SecretHash } from "./secret-hash.ts";
import type { AuthSettings } from "./settings.ts";
import type { SignInGuard } from "./sign-in-guard.ts";
import { type Grant, grantedRoles, isUsable, readToken } from "./token.ts";

/** What the caller offers as proof of who they are. */
export type Credentials =
  | { readonly method: "password"; readonly user: Reference; readonly password: string }
  | { readonly method: "token"; readonly token: string }
  | {
      readonly method: "application_credential";
      readonly credential:
        | { readonly id: string }
        | { readonly name: string; readonly user: Reference };
      readonly secret: string;
    };

/**
 * What the token shall be good for: `default` is the user's default project or, failing that,
 * nothing.
 */
export type WantedScope =
  | { readonly kind: "default" }
  | { readonly kind: "none" }
  | { readonly kind: "project"; readonly project: Reference };

/** Time, chance, and who counts the failures. */
export interface SignInContext {
  readonly guard: SignInGuard;
  readonly nowMs: number;
  readonly newId: () => string;
}

interface Proof {
  readonly user: User;
  readonly credential: ApplicationCredential | null;
  readonly methods: readonly string[];
  /** The proof is good until then, and so is whatever is granted on it. */
  readonly expiresAtMs: number;
  readonly firstAuditId: string | null;
}

/**
 * Checks the credentials and decides what they grant. Throws the Fault `unauthorized`; an unknown
 * user, a disabled one and a wrong password are refused in the same words and after the same work. Throws
 * `too_many_failures` and `sign_ins_waiting`, too.
 */
export async function signIn(
  credentials: Credentials,
  scope: WantedScope,
  settings: AuthSettings,
  context: SignInContext,
): Promise<Grant> {
  const proof = await prove(credentials, settings, context);
  const project = chooseProject(proof, scope, settings.identity);
  // A token says whole seconds.
  const issuedAtMs = Math.floor(context.nowMs / 1000) * 1000;
  const expiresAtMs = Math.min(issuedAtMs + settings.tokenTtlSeconds * 1000, proof.expiresAtMs);
  const auditId = context.newId();
  return {
    user: proof.user,
    project,
    roles: project === null ? [] : grantedRoles(proof.user, project, proof.credential),
    methods: proof.methods,
    auditIds: proof.firstAuditId === null ? [auditId] : [auditId, proof.firstAuditId],
    issuedAtMs,
    expiresAtMs,
    credential: proof.credential,
  };
}

async function prove(
  credentials: Credentials,
  settings: AuthSettings,
  { guard, nowMs }: SignInContext,
): Promise<Proof> {
  switch (credentials.method) {
    case "password":
      return await provePassword(credentials, settings.identity, guard);
    case "token":
      return await proveToken(credentials.token, settings, nowMs);
    case "application_credential":
      return await proveCredential(credentials, settings.identity, guard, nowMs);
  }
}

async function provePassword(
  { user: reference, password }: Extract<Credentials, { method: "password" }>,
  identity: IdentityDocument,
  guard: SignInGuard,
): Promise<Proof> {
  const user = findUser(identity, reference);
  const hash = user?.password ?? identity.passwordDecoy;
  const subject = subjectOf(identity, reference);
  return await guard.prove(subject, isCostly(hash), async () => {
    const matches = await matchesSecret(password, hash);
    if (!matches || user === undefined || !user.isEnabled) throw refusal();
    return {
      user,
      credential: null,
      methods: ["password"],
      expiresAtMs: Number.POSITIVE_INFINITY,
      firstAuditId: null,
    };
  });
}

/**
 * Whose sign-ins are counted together: those of one user, and those of one name that nobody has, however the name is
 * written and its domain is named. Were they counted otherwise, who is there would show in when they are refused.
 */
function subjectOf(identity: IdentityDocument, reference: Reference): string {
  const user = findUser(identity, reference);
  if (user !== undefined) return `user ${user.id}`;
  if ("id" in reference) return `no user ${JSON.stringify(reference)}`;
  const domain = findDomain(identity, reference.domain)?.id ?? JSON.stringify(reference.domain);
  return foldName(`no user ${JSON.stringify([reference.name, domain])}`);
}

function isCostly({ kind }: SecretHash): boolean {
  return kind === "pbkdf2-sha256";
}

/** A token can be exchanged for one of another scope, but never for one that lives longer. */
async function proveToken(token: string, settings: AuthSettings, nowMs: number): Promise<Proof> {
  const grant = await readToken(token, settings, nowMs);
  if (grant.credential !== null) {
    throw new Fault("forbidden_reason", {
      reason: "A token of an application credential cannot be exchanged for another one.",
    });
  }
  return {
    user: grant.user,
    credential: null,
    methods: [...new Set([...grant.methods, "token"])],
    expiresAtMs: grant.expiresAtMs,
    firstAuditId: grant.auditIds.at(-1) ?? null,
  };
}

async function proveCredential(
  { credential: wanted, secret }: Extract<Credentials, { method: "application_credential" }>,
  identity: IdentityDocument,
  guard: SignInGuard,
  nowMs: number,
): Promise<Proof> {
  const credential =
    "id" in wanted ? identity.applicationCredentials.get(wanted.id) : namedIn(identity, wanted);
  const hash = credential?.secret ?? identity.secretDecoy;
  const subject =
    credential === undefined ? noCredential(identity, wanted) : `credential ${credential.id}`;
  return await guard.prove(subject, isCostly(hash), async () => {
    const matches = await matchesSecret(secret, hash);
    const user = credential && identity.users.get(credential.userId);
    if (!matches || credential === undefined || user === undefined || !user.isEnabled)
      throw refusal();
    if (!isUsable(credential, user, nowMs)) throw refusal();
    return {
      user,
      credential,
      methods: ["application_credential"],
      expiresAtMs: wholeSeconds(credential.expiresAtMs),
      firstAuditId: null,
    };
  });
}

function noCredential(
  identity: IdentityDocument,
  wanted: Extract<Credentials, { method: "application_credential" }>["credential"],
): string {
  if ("id" in wanted) return `no credential ${JSON.stringify(wanted)}`;
  const name = foldName(wanted.name);
  return `no credential ${JSON.stringify([name, subjectOf(identity, wanted.user)])}`;
}

function namedIn(
  identity: IdentityDocument,
  wanted: { readonly name: string; readonly user: Reference },
): ApplicationCredential | undefined {
  const user = findUser(identity, wanted.user);
  const all = [...identity.applicationCredentials.values()];
  return all.find(({ name, userId }) => isSameName(name, wanted.name) && userId === user?.id);
}

function wholeSeconds(timeMs: number | null): number {
  return timeMs === null ? Number.POSITIVE_INFINITY : Math.floor(timeMs / 1000) * 1000;
}

function chooseProject(
  proof: Proof,
  scope: WantedScope,
  identity: IdentityDocument,
): Project | null {
  if (proof.credential !== null)
    return projectOfCredential(proof, proof.credential, scope, identity);
  switch (scope.kind) {
    case "none":
      return null;
    case "project": {
      const project = findProject(identity, scope.project);
      if (project === undefined || !isOpen(proof, project)) throw noAccess();
      return project;
    }
    case "default": {
      const { defaultProjectId } = proof.user;
      const project =
        defaultProjectId === null ? undefined : identity.projects.get(defaultProjectId);
      return project !== undefined && isOpen(proof, project) ? project : null;
    }
  }
}

/**
 * An application credential names its project itself, and Keystone refuses to be told another time.
 */
function projectOfCredential(
  proof: Proof,
  credential: ApplicationCredential,
  scope: WantedScope,
  identity: IdentityDocument,
): Project {
  if (scope.kind !== "default") {
    throw new Fault("unauthorized", { reason: "Application credentials cannot request a scope." });
  }
  const project = identity.projects.get(credential.projectId);
  if (project === undefined || !isOpen(proof, project)) throw refusal();
  return project;
}

function isOpen(proof: Proof, project: Project): boolean {
  return grantedRoles(proof.user, project, proof.credential).length > 0;
}

function refusal(): Fault {
  return new Fault("unauthorized", {
    reason: "The request you have made requires authentication.",
  });
}

/** The same words whether the project is unknown, disabled or somebody else's. */
function noAccess(): Fault {
  return new Fault("unauthorized", {
    reason: "You have no role on the project that was asked for.",
  });
}

import { base64url, errors, jwtVerify, SignJWT } from "jose";
import * as v from "valibot";
import { Fault } from "../domain/fault.ts";
import { BoundedMap } from "../lib/bounded-map.ts";
import {
  type ApplicationCredential,
  type Project,
  rolesOn,
  type User,
} from "./identity-document.ts";
import { commonRoles } from "./roles.ts";
import type { AuthSettings } from "./settings.ts";

/**
 * Tokens are signed and self-contained, so checking one costs no I/O. What they say is held against
 * the identity document on every use: a user, project, grant or application credential that is gone
 * from it or disabled ends the token at once, and so does a changed password. What cannot be done
 * without I/O is to revoke one single token, so DELETE /auth/tokens does not: it lives until it
 * expires. Whoever must end a user's tokens changes the password, and removes the application
 * credentials, whose tokens outlive it; whoever must end all tokens changes TOKEN_SECRET.
 */
export interface Grant {
  readonly user: User;
  /** Null for a token without scope. */
  readonly project: Project | null;
  /** Implied roles included; empty without a project. */
  readonly roles: readonly string[];
  /** How the caller signed in, as Keystone names it. */
  readonly methods: readonly string[];
  /** This token's audit id, then that of the token its chain began with. */
  readonly auditIds: readonly string[];
  readonly issuedAtMs: number;
  readonly expiresAtMs: number;
  /** The application credential that was used to sign in, if one was. */
  readonly credential: ApplicationCredential | null;
}

const ALGORITHM = "HS256";
// A type of our own, so that nothing else that might be signed with the same secret passes for a
// token.
const TYPE = "glimpse-token+jwt";
const FINGERPRINT_BYTES = 12;

const Claims = v.object({
  sub: v.string(),
  iat: v.number(),
  exp: v.number(),
  project: v.nullable(v.string()),
  roles: v.array(v.string()),
  methods: v.array(v.string()),
  audit_ids: v.array(v.string()),
  credential: v.nullable(v.string()),
  fingerprint: v.string(),
});

/** The signed token of a grant, whose times must be whole seconds. */
export async function signToken(grant: Grant, settings: AuthSettings): Promise<string> {
  const key = await signingKey(settings.tokenSecret);
  const claims: v.InferInput<typeof Claims> = {
    sub: grant.user.id,
    iat: grant.issuedAtMs / 1000,
    exp: grant.expiresAtMs / 1000,
    project: grant.project?.id ?? null,
    roles: [...grant.roles],
    methods: [...grant.methods],
    audit_ids: [...grant.auditIds],
    credential: grant.credential?.id ?? null,
    fingerprint: await fingerprint(key, grant.user, grant.credential),
  };
  return await new SignJWT(claims).setProtectedHeader({ alg: ALGORITHM, typ: TYPE }).sign(key);
}

/** Tokens that were found to hold, by the digest of their text; the settings of an isolate do not change. */
const held = new WeakMap<AuthSettings, BoundedMap<string, Grant>>();
const MAX_HELD = 1_000;

/** Far more than a user's roles take up; headers may be larger. */
const MAX_TOKEN_CHARACTERS = 8 * 1024;

/**
 * A token as it is issued (RFC 7515 §7.1): three parts in base64url, of which the signature (256 bits) ends in a
 * character whose two unused bits are zero. What is signed is the text before it, so this is its only spelling.
 */
const SPELLING = /^[\w-]+\.[\w-]+\.[\w-]{42}[AEIMQUYcgkosw048]$/;

/**
 * What the token still grants. Throws the Fault `unauthorized` when it does not hold, or no longer, or is not spelled as it
 * was issued. One that was checked before is not checked again but for its time.
 */
export async function readToken(
  token: string,
  settings: AuthSettings,
  nowMs: number,
): Promise<Grant> {
  if (token.length > MAX_TOKEN_CHARACTERS || !SPELLING.test(token)) throw badToken();
  const grants = held.get(settings) ?? new BoundedMap<string, Grant>(MAX_HELD);
  held.set(settings, grants);
  const digest = await digestOf(token);
  const known = grants.get(digest);
  if (known !== undefined && isInTime(known, nowMs)) return known;
  const grant = await checkToken(token, settings, nowMs);
  grants.set(digest, grant);
  return grant;
}

/** Of one length whatever the token's, and nothing that could be used as one. */
async function digestOf(token: string): Promise<string> {
  const digest = await crypto.subtle.digest("SHA-256", new TextEncoder().encode(token));
  return base64url.encode(new Uint8Array(digest));
}

function isInTime({ expiresAtMs, credential, user }: Grant, nowMs: number): boolean {
  return expiresAtMs > nowMs && (credential === null || isUsable(credential, user, nowMs));
}

async function checkToken(token: string, settings: AuthSettings, nowMs: number): Promise<Grant> {
  const { identity, tokenSecret } = settings;
  const key = await signingKey(tokenSecret);
  const claims = await verifySignature(token, key, nowMs);

  const user = identity.users.get(claims.sub);
  if (user === undefined || !user.isEnabled) throw badToken();

  const credential =
    claims.credential === null ? null : identity.applicationCredentials.get(claims.credential);
  if (credential === undefined || (credential !== null && !isUsable(credential, user, nowMs)))
    throw badToken();
  if (claims.fingerprint !== (await fingerprint(key, user, credential))) throw badToken();

  const project = claims.project === null ? null : identity.projects.get(claims.project);
  if (project === undefined) throw badToken();
  const present = project === null ? [] : grantedRoles(user, project, credential);
  const roles = commonRoles(claims.roles, present);
  if (project !== null && roles.length === 0) throw badToken();

  return {
    user,
    project,
    roles,
    methods: claims.methods,
    auditIds: claims.audit_ids,
    issuedAtMs: claims.iat * 1000,
    expiresAtMs: claims.exp * 1000,
    credential,
  };
}

/**
 * The roles that a token for this project may carry at present: none when the project is disabled.
 */
export function grantedRoles(
  user: User,
  project: Project,
  credential: ApplicationCredential | null,
): readonly string[] {
  if (!project.isEnabled) return [];
  const roles = rolesOn(user, project.id);
  if (credential === null) return roles;
  if (credential.projectId !== project.id) return [];
  return credential.roles === null ? roles : commonRoles(credential.roles, roles);
}

/** Whether the application credential belongs to the user and has not expired. */
export function isUsable(credential: ApplicationCredential, user: User, nowMs: number): boolean {
  return (
    credential.userId === user.id && (credential.expiresAtMs ?? Number.POSITIVE_INFINITY) > nowMs
  );
}

async function verifySignature(
  token: string,
  key: CryptoKey,
  nowMs: number,
): Promise<v.InferOutput<typeof Claims>> {
  try {
    const { payload } = await jwtVerify(token, key, {
      algorithms: [ALGORITHM],
      typ: TYPE,
      currentDate: new Date(nowMs),
    });
    const claims = v.safeParse(Claims, payload);
    if (claims.success) return claims.output;
  } catch (cause) {
    if (!(cause instanceof errors.JOSEError)) throw cause;
  }
  throw badToken();
}

/** One sentence for every way a token can fail, so that it tells a forger nothing. */
function badToken(): Fault {
  return new Fault("unauthorized", {
    reason: "The token is not valid, or no longer. Ask for a new one.",
  });
}

/**
 * Ties a token to the secret that was used to sign in. It is keyed, because a token's content is
 * readable and must not serve to try out guesses at the secret.
 */
async function fingerprint(
  key: CryptoKey,
  user: User,
  credential: ApplicationCredential | null,
): Promise<string> {
  const { digest } = credential?.secret ?? user.password;
  const label = new TextEncoder().encode(`fingerprint\0${user.id}\0${credential?.id ?? ""}\0`);
  const input = new Uint8Array([...label, ...digest]);
  const mac = await crypto.subtle.sign("HMAC", key, input);
  return base64url.encode(new Uint8Array(mac, 0, FINGERPRINT_BYTES));
}

// The key itself is kept, not the promise of it: a promise belongs to the request that began it.
let lastKey: { readonly secret: string; readonly key: CryptoKey } | undefined;

async function signingKey(secret: string): Promise<CryptoKey> {
  if (lastKey?.secret === secret) return lastKey.key;
  const bytes = new TextEncoder().encode(secret);
  const algorithm = { name: "HMAC", hash: "SHA-256" };
  const key = await crypto.subtle.importKey("raw", bytes, algorithm, false, ["sign", "verify"]);
  lastKey = { secret, key };
  return key;
}

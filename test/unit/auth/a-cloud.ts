import { Router } from "itty-router";
import {
  type IdentityContext,
  identityRoutes,
  renderIdentityFault,
} from "../../../src/api/identity.ts";
import { type AuthSettings, parseAuthSettings } from "../../../src/auth/authenticate.ts";
import { SignInGuard, SignInMemory, type Tallies } from "../../../src/auth/sign-in-guard.ts";
import { NO_TALLY } from "../../../src/auth/sign-in-limits.ts";
import { Fault } from "../../../src/domain/fault.ts";

export const BASE_URL = "https://images.example";
export const NOW_MS = Date.UTC(2026, 10, 24, 12);
export const TOKEN_SECRET = "a secret for tests only, long enough to be taken";

/** The hash a user's password is kept as; few iterations, for the tests' sake. */
export async function hashPassword(password: string, iterations = 10): Promise<string> {
  const salt = crypto.getRandomValues(new Uint8Array(16));
  const bytes = new TextEncoder().encode(password);
  const key = await crypto.subtle.importKey("raw", bytes, "PBKDF2", false, ["deriveBits"]);
  const algorithm = { name: "PBKDF2", hash: "SHA-256", salt, iterations };
  const hash = await crypto.subtle.deriveBits(algorithm, key, 256);
  return `pbkdf2-sha256$${iterations}$${base64url(salt)}$${base64url(new Uint8Array(hash))}`;
}

export async function hashSecret(secret: string): Promise<string> {
  const hash = await crypto.subtle.digest("SHA-256", new TextEncoder().encode(secret));
  return `sha256$${base64url(new Uint8Array(hash))}`;
}

export function base64url(bytes: Uint8Array): string {
  const text = btoa(String.fromCharCode(...bytes));
  return text.replaceAll("+", "-").replaceAll("/", "_").replaceAll("=", "");
}

const passwords = {
  root: await hashPassword("root secret"),
  ann: await hashPassword("ann secret"),
  bob: await hashPassword("bob secret"),
};
const robotSecret = await hashSecret("robot secret");

/**
 * Two domains; the projects `alpha` and `beta` in the default one and a second `alpha` in the
 * other. root is admin of alpha; ann is a member of alpha and a reader of beta, with a robot's
 * credential; bob belongs to the other domain and has no default project. Free to be changed before
 * it is read.
 */
export function aDocument() {
  return {
    domains: [
      { id: "default", name: "Default" },
      { id: "d2", name: "Elsewhere" },
    ],
    projects: [
      { id: "p-alpha", name: "alpha", enabled: true },
      { id: "p-beta", name: "beta", enabled: true },
      { id: "p-far", name: "alpha", domain_id: "d2" },
    ],
    users: [
      {
        id: "u-root",
        name: "root",
        enabled: true,
        default_project_id: "p-alpha",
        password: passwords.root,
        roles: { "p-alpha": ["Admin"] } as Record<string, string[]>,
      },
      {
        id: "u-ann",
        name: "ann",
        enabled: true,
        default_project_id: "p-alpha",
        password: passwords.ann,
        roles: { "p-alpha": ["member", "service"], "p-beta": ["reader"] } as Record<
          string,
          string[]
        >,
        application_credentials: [
          {
            id: "c-robot",
            name: "robot",
            secret_hash: robotSecret,
            project_id: "p-alpha",
            roles: ["reader"],
            expires_at: "2026-11-24T12:30:00Z",
          },
        ],
      },
      {
        id: "u-bob",
        name: "bob",
        domain_id: "d2",
        password: passwords.bob,
        roles: { "p-far": ["member"] } as Record<string, string[]>,
      },
    ],
  };
}

export type CloudDocument = ReturnType<typeof aDocument>;

/** Settings from a document that the given function may change first. */
export function aCloud(
  change: (document: CloudDocument) => void = () => {},
  variables: Readonly<Record<string, string>> = {},
): AuthSettings {
  const document = aDocument();
  change(document);
  return parseAuthSettings({ TOKEN_SECRET, IDENTITY: JSON.stringify(document), ...variables });
}

/** The record of this id, to be changed. */
export function byId<T extends { id: string }>(records: readonly T[], id: string): T {
  const record = records.find((candidate) => candidate.id === id);
  if (record === undefined) throw new Error(`no ${id} in the document`);
  return record;
}

interface Call {
  readonly settings?: AuthSettings;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: unknown;
  readonly nowMs?: number;
}

/** A guard that has seen nothing yet, and remembers nothing. */
function aGuard(): SignInGuard {
  const tallies: Tallies = {
    look: async (keys) => keys.map(() => NO_TALLY),
    fail: async (keys) => keys.map(() => NO_TALLY),
    welcome: async () => undefined,
  };
  return new SignInGuard(() => tallies, "192.0.2.1", new SignInMemory());
}

/** Calls the identity API as the Worker does; anything thrown but a Fault fails the test. */
export async function call(method: string, path: string, given: Call = {}): Promise<Response> {
  const { settings = aCloud(), headers = {}, body, nowMs = NOW_MS } = given;
  const request = new Request(`${BASE_URL}${path}`, {
    method,
    headers,
    ...(body !== undefined && { body: typeof body === "string" ? body : JSON.stringify(body) }),
  });
  const router = Router();
  for (const route of identityRoutes) {
    const register = route.method.toLowerCase() as "get" | "post" | "head" | "delete";
    router[register](route.path, ({ params }) => {
      const context: IdentityContext = {
        request,
        url: new URL(request.url),
        params: params as Record<string, string>,
        baseUrl: BASE_URL,
        settings,
        guard: aGuard(),
        nowMs,
        newId: () => crypto.randomUUID(),
      };
      return route.handle(context);
    });
  }
  try {
    const reply: Response | undefined = await router.fetch(request);
    return reply ?? new Response("no route", { status: 404 });
  } catch (cause) {
    if (cause instanceof Fault) return renderIdentityFault(cause, BASE_URL);
    throw cause;
  }
}

/** The body of a sign-in with a password; `scope` is left out where it is undefined. */
export function withPassword(name: string, password: string, scope?: unknown): object {
  const user = { name, domain: { id: "default" }, password };
  return { auth: { identity: { methods: ["password"], password: { user } }, scope } };
}

export function withToken(id: string, scope?: unknown): object {
  return { auth: { identity: { methods: ["token"], token: { id } }, scope } };
}

export function withCredential(credential: object): object {
  const identity = { methods: ["application_credential"], application_credential: credential };
  return { auth: { identity } };
}

/** Signs in and gives the token; fails the test where that is refused. */
export async function tokenFor(body: object, given: Omit<Call, "body"> = {}): Promise<string> {
  const reply = await call("POST", "/identity/v3/auth/tokens", { ...given, body });
  const token = reply.headers.get("x-subject-token");
  if (token === null) throw new Error(`refused: ${reply.status} ${await reply.text()}`);
  await reply.body?.cancel();
  return token;
}

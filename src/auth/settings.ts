import { Fault } from "../domain/fault.ts";
import type { IdentityDocument } from "./identity-document.ts";
import { parseIdentityDocument } from "./parse-identity-document.ts";

/** How callers prove who they are. */
export interface AuthSettings {
  readonly mode: "builtin";
  readonly tokenSecret: string;
  readonly identity: IdentityDocument;
  readonly tokenTtlSeconds: number;
  readonly allowAnonymous: boolean;
  /** The name of the region that the catalog says this is. */
  readonly region: string;
  /** Whether requests come through Cloudflare's edge, which says from where. */
  readonly isBehindEdge: boolean;
}

const MIN_SECRET_CHARACTERS = 32;
const DEFAULT_TTL_SECONDS = 14_400;
const MAX_TTL_SECONDS = 31 * 86_400;

/**
 * Reads AUTH, TOKEN_SECRET, IDENTITY, DEVELOPMENT, TOKEN_TTL_SECONDS, ALLOW_ANONYMOUS_ACCESS and REGION.
 * Throws the Fault `misconfigured` with one sentence that names the variable and, where that helps,
 * the command to set it.
 */
export function parseAuthSettings(env: Readonly<Record<string, unknown>>): AuthSettings {
  const mode = textOf(env, "AUTH") || "builtin";
  if (mode !== "builtin") throw misconfigured('AUTH must be "builtin".');

  const tokenSecret = textOf(env, "TOKEN_SECRET");
  if (tokenSecret.length < MIN_SECRET_CHARACTERS) {
    const problem =
      tokenSecret === "" ? "not set" : `shorter than ${MIN_SECRET_CHARACTERS} characters`;
    throw misconfigured(
      `TOKEN_SECRET is ${problem}: run \`openssl rand -base64 48 | npx wrangler secret put TOKEN_SECRET\`.`,
    );
  }

  const documentText = textOf(env, "IDENTITY");
  if (documentText === "") {
    throw misconfigured(
      "IDENTITY is not set: make a document with `npm run identity -- new` and store it with " +
        "`npx wrangler secret put IDENTITY`.",
    );
  }
  const identity = readDocument(documentText);
  if (identity.isDevelopment && textOf(env, "DEVELOPMENT") !== "true") throw developmentRefusal();

  return Object.freeze({
    mode,
    tokenSecret,
    identity,
    tokenTtlSeconds: secondsOf(env, "TOKEN_TTL_SECONDS", DEFAULT_TTL_SECONDS),
    allowAnonymous: flagOf(env, "ALLOW_ANONYMOUS_ACCESS"),
    region: regionOf(env),
    isBehindEdge: textOf(env, "DEVELOPMENT") !== "true",
  });
}

/**
 * Refuses the development document to requests that came through Cloudflare's edge, which puts
 * `cf-ray` on each of them: its passwords are public, so a deployment must never serve it,
 * DEVELOPMENT or not.
 */
export function assertServable(request: Request, settings: AuthSettings): void {
  if (settings.identity.isDevelopment && request.headers.has("cf-ray")) throw developmentRefusal();
}

function developmentRefusal(): Fault {
  return misconfigured(
    "IDENTITY holds the development users, whose passwords are public; they work in local development only: " +
      "make your own document with `npm run identity -- new` and store it with " +
      "`npx wrangler secret put IDENTITY`.",
  );
}

// The bindings of an isolate do not change, so the document is read once and not for each request.
let lastDocument: { readonly text: string; readonly document: IdentityDocument } | undefined;

function readDocument(text: string): IdentityDocument {
  if (lastDocument?.text !== text) lastDocument = { text, document: parseIdentityDocument(text) };
  return lastDocument.document;
}

function textOf(env: Readonly<Record<string, unknown>>, name: string): string {
  const value = env[name] ?? "";
  if (typeof value !== "string") throw misconfigured(`${name} must be a text.`);
  return value;
}

function secondsOf(env: Readonly<Record<string, unknown>>, name: string, fallback: number): number {
  const text = textOf(env, name);
  if (text === "") return fallback;
  const seconds = /^\d{1,9}$/.test(text) ? Number(text) : 0;
  if (seconds < 1 || seconds > MAX_TTL_SECONDS) {
    throw misconfigured(`${name} must be a whole number of seconds from 1 to ${MAX_TTL_SECONDS}.`);
  }
  return seconds;
}

function regionOf(env: Readonly<Record<string, unknown>>): string {
  const region = textOf(env, "REGION") || "RegionOne";
  // Keystone keeps ids of regions in 255 characters.
  if (region.trim() !== region || region.length > 255 || /\p{C}/u.test(region)) {
    throw misconfigured(
      "REGION must be a name of at the most 255 characters, without blanks around it.",
    );
  }
  return region;
}

function flagOf(env: Readonly<Record<string, unknown>>, name: string): boolean {
  const text = textOf(env, name) || "false";
  if (text !== "true" && text !== "false")
    throw misconfigured(`${name} must be "true" or "false".`);
  return text === "true";
}

function misconfigured(reason: string): Fault {
  return new Fault("misconfigured", { reason });
}

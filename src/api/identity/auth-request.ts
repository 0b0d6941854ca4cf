import * as v from "valibot";
import type { DomainReference, Reference } from "../../auth/identity-document.ts";
import type { Credentials, WantedScope } from "../../auth/sign-in.ts";
import { Fault } from "../../domain/fault.ts";

const DomainBody = v.object({ id: v.optional(v.string()), name: v.optional(v.string()) });
const ReferenceBody = v.object({
  id: v.optional(v.string()),
  name: v.optional(v.string()),
  domain: v.optional(DomainBody),
});
type ReferenceBody = v.InferOutput<typeof ReferenceBody>;

const AuthRequest = v.object({
  auth: v.object({
    identity: v.object({
      methods: v.array(v.string()),
      password: v.optional(
        v.object({ user: v.object({ ...ReferenceBody.entries, password: v.string() }) }),
      ),
      token: v.optional(v.object({ id: v.string() })),
      application_credential: v.optional(
        v.object({
          id: v.optional(v.string()),
          name: v.optional(v.string()),
          user: v.optional(ReferenceBody),
          secret: v.string(),
        }),
      ),
    }),
    scope: v.optional(v.union([v.literal("unscoped"), v.record(v.string(), v.unknown())])),
  }),
});
type IdentityBody = v.InferOutput<typeof AuthRequest>["auth"]["identity"];
type ScopeBody = v.InferOutput<typeof AuthRequest>["auth"]["scope"];

/**
 * The body of POST /auth/tokens, understood. Errors name the place and quote nothing, for it holds
 * secrets.
 */
export function parseAuthRequest(body: unknown): { credentials: Credentials; scope: WantedScope } {
  const result = v.safeParse(AuthRequest, body, { abortEarly: true });
  if (!result.success) {
    const [issue] = result.issues;
    const path = v.getDotPath(issue) ?? "the request body";
    throw badRequest(`Expecting to find ${issue.expected ?? "another value"} in ${path}.`);
  }
  const { identity, scope } = result.output.auth;
  return { credentials: credentialsOf(identity), scope: scopeOf(scope) };
}

function credentialsOf(identity: IdentityBody): Credentials {
  const [method, ...others] = identity.methods;
  if (method === undefined || others.length > 0) {
    throw badRequest("Expecting exactly one method in auth.identity.methods.");
  }
  switch (method) {
    case "password": {
      const { user } = given(identity.password, method);
      return { method, user: referenceOf(user, "user"), password: user.password };
    }
    case "token":
      return { method, token: given(identity.token, method).id };
    case "application_credential": {
      const { id, name, user, secret } = given(identity.application_credential, method);
      if (id !== undefined) return { method, credential: { id }, secret };
      if (name === undefined || user === undefined) {
        throw badRequest(
          "Expecting to find id, or name and user, in auth.identity.application_credential.",
        );
      }
      return { method, credential: { name, user: referenceOf(user, "user") }, secret };
    }
    default:
      throw new Fault("unauthorized", {
        reason: "Attempted to authenticate with an unsupported method.",
      });
  }
}

function given<T>(value: T | undefined, method: string): T {
  if (value === undefined) throw badRequest(`Expecting to find ${method} in auth.identity.`);
  return value;
}

function scopeOf(scope: ScopeBody): WantedScope {
  if (scope === undefined) return { kind: "default" };
  if (scope === "unscoped" || "unscoped" in scope) return { kind: "none" };
  const parsed = v.safeParse(ReferenceBody, scope.project);
  if (parsed.success) return { kind: "project", project: referenceOf(parsed.output, "project") };
  throw new Fault("unauthorized", {
    reason: "This identity service gives tokens for one project or for none, not for other scopes.",
  });
}

/** By id, or by name in a domain; a name without a domain is looked for in the default one. */
function referenceOf({ id, name, domain }: ReferenceBody, noun: string): Reference {
  if (id !== undefined) return { id };
  if (name === undefined) throw badRequest(`Expecting to find id or name in ${noun}.`);
  return { name, domain: domainOf(domain) };
}

function domainOf(domain: ReferenceBody["domain"]): DomainReference {
  if (domain?.id !== undefined) return { id: domain.id };
  return domain?.name !== undefined ? { name: domain.name } : { id: "default" };
}

function badRequest(reason: string): Fault {
  return new Fault("bad_request", { reason });
}

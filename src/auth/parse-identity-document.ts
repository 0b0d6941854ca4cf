import * as v from "valibot";
import { Fault } from "../domain/fault.ts";
import {
  type ApplicationCredential,
  type Domain,
  foldName,
  type IdentityDocument,
  type Project,
  type User,
} from "./identity-document.ts";
import { STANDARD_ROLES } from "./roles.ts";
import { decoyFor, parseSecretHash } from "./secret-hash.ts";

// The reader of IDENTITY. It is strict, because a misspelt key could silently give or take a right,
// and its errors name the place but never quote a value, because the document is a secret.

const DEFAULT_DOMAIN: Domain = { id: "default", name: "Default", description: "" };

// Keys of these names are dropped by the validator of records, which would lose the grants under
// them.
const UNUSABLE_IDS = ["__proto__", "constructor", "prototype"];

const Id = v.pipe(
  v.string(),
  v.regex(/^[\w.-]{1,64}$/, "must be 1 to 64 letters, digits, dots, dashes or underscores"),
  v.check((id) => !UNUSABLE_IDS.includes(id), "is a reserved word"),
);
const Name = v.pipe(
  v.string(),
  v.regex(/^\P{Cc}{1,255}$/u, "must be 1 to 255 characters without control characters"),
);
const Roles = v.array(v.pipe(Name, v.toLowerCase()));
const Flag = (fallback: boolean) => v.optional(v.boolean(), fallback);
const Text = v.optional(v.string(), "");

const hashOf = (what: "password" | "random secret") =>
  v.pipe(
    v.string(),
    v.rawTransform(({ dataset, addIssue, NEVER }) => {
      try {
        return parseSecretHash(dataset.value, what === "random secret");
      } catch (cause) {
        if (!(cause instanceof RangeError)) throw cause;
        addIssue({ message: cause.message });
        return NEVER;
      }
    }),
  );

const Instant = v.pipe(
  v.string(),
  v.isoTimestamp("must be a time such as 2030-01-31T00:00:00Z"),
  v.transform((text) => Date.parse(text)),
  v.number("must be a time such as 2030-01-31T00:00:00Z"),
);

const Document = v.strictObject({
  description: Text,
  development: Flag(false),
  domains: v.optional(v.array(v.strictObject({ id: Id, name: Name, description: Text })), [
    DEFAULT_DOMAIN,
  ]),
  projects: v.array(
    v.strictObject({
      id: Id,
      name: Name,
      domain_id: v.optional(Id, DEFAULT_DOMAIN.id),
      enabled: Flag(true),
      description: Text,
    }),
  ),
  users: v.array(
    v.strictObject({
      id: Id,
      name: Name,
      domain_id: v.optional(Id, DEFAULT_DOMAIN.id),
      enabled: Flag(true),
      description: Text,
      default_project_id: v.optional(Id),
      password: hashOf("password"),
      roles: v.record(Id, Roles),
      application_credentials: v.optional(
        v.array(
          v.strictObject({
            id: Id,
            name: Name,
            secret_hash: hashOf("random secret"),
            project_id: Id,
            roles: v.optional(Roles),
            expires_at: v.optional(Instant),
          }),
        ),
        [],
      ),
    }),
  ),
});

/**
 * Reads and checks the text of IDENTITY. Throws the Fault `misconfigured`, which names the wrong
 * place.
 */
export function parseIdentityDocument(text: string): IdentityDocument {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    // The parser's own message quotes the text around the mistake, and the text is secret.
    throw new Fault("misconfigured", { reason: "IDENTITY is not valid JSON." });
  }
  const result = v.safeParse(Document, value, { abortEarly: true, message: describeIssue });
  if (!result.success) {
    const [issue] = result.issues;
    throw refusal(pathOf(issue.path ?? []), issue.message);
  }
  return link(result.output);
}

function link(given: v.InferOutput<typeof Document>): IdentityDocument {
  const domains = indexById(given.domains, "domains");
  assertUnique(given.domains, "domains", "name", ({ name }) => foldName(name));

  const projects = indexById(
    given.projects.map(
      ({ domain_id, enabled, ...rest }, index): Project => ({
        ...rest,
        isEnabled: enabled,
        domain: resolve(domains, domain_id, `projects[${index}].domain_id`, "domain"),
      }),
    ),
    "projects",
  );
  assertUnique([...projects.values()], "projects", "name", nameInDomain);

  const users = indexById(
    given.users.map((user, index): User => {
      const at = `users[${index}]`;
      for (const projectId of Object.keys(user.roles)) {
        resolve(projects, projectId, `${at}.roles.${projectId}`, "project");
      }
      if (user.default_project_id !== undefined) {
        resolve(projects, user.default_project_id, `${at}.default_project_id`, "project");
      }
      return {
        id: user.id,
        name: user.name,
        domain: resolve(domains, user.domain_id, `${at}.domain_id`, "domain"),
        isEnabled: user.enabled,
        description: user.description,
        defaultProjectId: user.default_project_id ?? null,
        password: user.password,
        rolesByProject: new Map(Object.entries(user.roles)),
      };
    }),
    "users",
  );
  assertUnique([...users.values()], "users", "name", nameInDomain);

  const credentials = given.users.flatMap((user, userIndex) => {
    const at = `users[${userIndex}].application_credentials`;
    assertUnique(user.application_credentials, at, "name", ({ name }) => foldName(name));
    return user.application_credentials.map((credential, index): ApplicationCredential => {
      resolve(projects, credential.project_id, `${at}[${index}].project_id`, "project");
      return {
        id: credential.id,
        name: credential.name,
        userId: user.id,
        secret: credential.secret_hash,
        projectId: credential.project_id,
        roles: credential.roles ?? null,
        expiresAtMs: credential.expires_at ?? null,
      };
    });
  });

  const granted = given.users.flatMap((user) => Object.values(user.roles).flat());
  return {
    isDevelopment: given.development,
    domains,
    projects,
    users,
    applicationCredentials: indexById(credentials, "application_credentials"),
    roles: [...new Set([...STANDARD_ROLES, ...granted])],
    passwordDecoy: decoyFor([...users.values()].map(({ password }) => password)),
    secretDecoy: decoyFor(credentials.map(({ secret }) => secret)),
  };
}

function indexById<T extends { readonly id: string }>(
  records: readonly T[],
  at: string,
): ReadonlyMap<string, T> {
  assertUnique(records, at, "id", ({ id }) => id);
  return new Map(records.map((record) => [record.id, record]));
}

function assertUnique<T>(
  records: readonly T[],
  at: string,
  key: string,
  identify: (record: T) => string,
): void {
  const seen = new Set<string>();
  for (const [index, record] of records.entries()) {
    const value = identify(record);
    if (seen.has(value)) {
      const problem = "is taken by another one; names are compared without case";
      throw refusal(`${at}[${index}].${key}`, key === "name" ? problem : "is taken by another one");
    }
    seen.add(value);
  }
}

function resolve<T>(records: ReadonlyMap<string, T>, id: string, at: string, noun: string): T {
  const record = records.get(id);
  if (record === undefined) throw refusal(at, `names a ${noun} that the document does not have`);
  return record;
}

function nameInDomain({
  name,
  domain,
}: {
  readonly name: string;
  readonly domain: Domain;
}): string {
  return JSON.stringify([domain.id, foldName(name)]);
}

function describeIssue(issue: v.BaseIssue<unknown>): string {
  if (issue.expected === "never") return "is not a setting of this document";
  if (issue.received === "undefined") return "is missing";
  return issue.expected === null ? "is not valid" : `must be of type ${issue.expected}`;
}

function pathOf(path: readonly { readonly key?: unknown }[]): string {
  const steps = path.map(({ key }) => (typeof key === "number" ? `[${key}]` : `.${String(key)}`));
  return steps.join("").replace(/^\./, "");
}

function refusal(path: string, problem: string): Fault {
  const subject = path === "" ? "IDENTITY" : `IDENTITY is not usable: ${path}`;
  return new Fault("misconfigured", { reason: `${subject} ${problem}.` });
}

import { env } from "cloudflare:workers";
import { parseAuthSettings } from "../../src/auth/authenticate.ts";
import { rolesOn } from "../../src/auth/identity-document.ts";
import { signToken } from "../../src/auth/token.ts";
import { type PROJECTS, type ROLES, userId } from "./identity-document.ts";

/** Somebody who calls the service: a token, or none. */
export interface Caller {
  readonly projectId: string;
  readonly token: () => Promise<string>;
}

const HALF_HOUR_MS = 1_800_000;

function as(
  project: (typeof PROJECTS)[number],
  role: (typeof ROLES)[number],
  scope: "project" | "none" = "project",
): Caller {
  let token: Promise<string> | undefined;
  let issuedAtMs = 0;
  const renewed = () => {
    issuedAtMs = Date.now();
    return sign(project, role, scope);
  };
  return {
    projectId: project,
    token: () => {
      // Tests move the clock, ahead and back.
      const isFresh = Math.abs(Date.now() - issuedAtMs) < HALF_HOUR_MS;
      token = token !== undefined && isFresh ? token : renewed();
      return token;
    },
  };
}

/** The columns of the contract's matrices (06 §6.6). */
export const owner = as("owner-project", "member");
export const ownersReader = as("owner-project", "reader");
export const member = as("member-project", "member");
export const membersReader = as("member-project", "reader");
export const stranger = as("other-project", "member");
export const strangersReader = as("other-project", "reader");
export const admin = as("admin-project", "admin");
export const serviceUser = as("other-project", "service");
export const unscoped = as("owner-project", "member", "none");

async function sign(
  project: (typeof PROJECTS)[number],
  role: (typeof ROLES)[number],
  scope: "project" | "none",
): Promise<string> {
  const settings = parseAuthSettings({ ...env });
  const user = settings.identity.users.get(userId(project, role));
  if (user === undefined) throw new Error(`no user ${userId(project, role)}`);
  const issuedAtMs = Math.floor(Date.now() / 1000) * 1000;
  const target = scope === "project" ? (settings.identity.projects.get(project) ?? null) : null;
  return await signToken(
    {
      user,
      project: target,
      roles: target === null ? [] : rolesOn(user, project),
      methods: ["password"],
      auditIds: ["test"],
      issuedAtMs,
      expiresAtMs: issuedAtMs + 3_600_000,
      credential: null,
    },
    settings,
  );
}

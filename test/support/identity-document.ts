/*
 * Who exists in the tests: four projects, and in each of them a user of every standard role. Plain data, for
 * vitest.config.ts binds it as IDENTITY.
 */

export const PROJECTS = [
  "owner-project",
  "member-project",
  "other-project",
  "admin-project",
] as const;
export const ROLES = ["admin", "member", "reader", "service"] as const;

/** A well-formed hash that no password has; tests sign their tokens themselves. */
const NO_PASSWORD = `pbkdf2-sha256$1$${"A".repeat(22)}$${"A".repeat(43)}`;

/** The user that has one role in one project. */
export function userId(project: (typeof PROJECTS)[number], role: (typeof ROLES)[number]): string {
  return `${role}-of-${project}`;
}

export const identityDocument = {
  projects: PROJECTS.map((id) => ({ id, name: id })),
  users: PROJECTS.flatMap((project) =>
    ROLES.map((role) => ({
      id: userId(project, role),
      name: userId(project, role),
      default_project_id: project,
      password: NO_PASSWORD,
      roles: { [project]: [role] },
    })),
  ),
};

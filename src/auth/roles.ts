/** What holding a role also gives: admin implies member, and member implies reader. */
const IMPLIED: Readonly<Record<string, readonly string[]>> = {
  admin: ["member", "reader"],
  member: ["reader"],
};

/** The roles every installation has, whether or not somebody holds them. */
export const STANDARD_ROLES: readonly string[] = ["admin", "member", "reader"];

/** The given roles with those they imply, each once. */
export function expandRoles(roles: readonly string[]): readonly string[] {
  const implied = roles.flatMap((role) =>
    Object.hasOwn(IMPLIED, role) ? (IMPLIED[role] ?? []) : [],
  );
  return [...new Set([...roles, ...implied])];
}

/** The roles that stand in both lists; both are expanded first. */
export function commonRoles(some: readonly string[], others: readonly string[]): readonly string[] {
  const allowed = new Set(expandRoles(others));
  return expandRoles(some).filter((role) => allowed.has(role));
}

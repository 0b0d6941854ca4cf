import type { Identity } from "../domain/identity.ts";
import { MAX_NAME_CHARACTERS } from "../domain/properties.ts";
import {
  type PropertyOperation,
  type PropertyProtection,
  UNPROTECTED,
} from "../domain/property-protection.ts";
import { isLongerThan } from "../lib/code-points.ts";
import { credentialsOf } from "./enforce.ts";
import type { Credentials } from "./expression.ts";

/** Whether somebody is allowed a thing that has no target. */
export type Permission = (who: Credentials) => boolean;

/** What is allowed with the properties whose names the pattern is found in. */
export interface PropertyRule {
  readonly pattern: RegExp;
  readonly permissions: Readonly<Record<PropertyOperation, Permission>>;
}

/** Makes out what a caller may do with custom properties. */
export type ProtectProperties = (identity: Identity) => PropertyProtection;

/** No rules file, no protection: the default. */
export const protectNothing: ProtectProperties = () => UNPROTECTED;

/**
 * Protection by ordered rules: the first whose pattern is found in a name decides, and a name without a rule is
 * closed to all, admins included (contract 13 §9). Roles are the token's, for identities have no others.
 */
export function protectBy(rules: readonly PropertyRule[]): ProtectProperties {
  return (identity) => {
    const who = credentialsOf(identity);
    // A page of images asks for the same few names over and over.
    const known = new Map<string, PropertyRule | undefined>();
    const ruleOf = (name: string) => {
      if (!known.has(name)) known.set(name, findRule(rules, name));
      return known.get(name);
    };
    return { may: (operation, name) => ruleOf(name)?.permissions[operation](who) ?? false };
  };
}

function findRule(rules: readonly PropertyRule[], name: string): PropertyRule | undefined {
  // No image has a longer one. Names come from callers, and the time an expression takes grows with them.
  if (isLongerThan(name, MAX_NAME_CHARACTERS)) return undefined;
  return rules.find(({ pattern }) => pattern.test(name));
}

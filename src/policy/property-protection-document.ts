import type { PropertyOperation } from "../domain/property-protection.ts";
import { isJsonObject, type JsonObject } from "../lib/json.ts";
import type { Policy } from "./enforce.ts";
import { type Check, parseExpression } from "./expression.ts";
import {
  type Permission,
  type PropertyRule,
  type ProtectProperties,
  protectBy,
  protectNothing,
} from "./property-protection.ts";

/*
 * The rules of Glance's property-protections.conf as JSON. `property` is a section's name; a permission is its
 * comma text or a list of the same words:
 *
 *   {"format": "roles", "rules": [
 *     {"property": "^x_owner_", "create": ["admin"], "read": "@", "update": "admin,member", "delete": "!"}]}
 *
 * In the format `policies` a permission names one policy rule. Beside the rules that POLICY may set, `policies`
 * defines more: {"format": "policies", "policies": {"curator": "role:admin or role:curator"}, "rules": […]}.
 */

type RuleNamed = (name: string) => Check;
type ReadPermission = (words: readonly string[]) => Permission;

const everyone: Permission = () => true;
const nobody: Permission = () => false;

/** What the service notes on an image is for everyone to read; callers cannot write these names anyway. */
const INTERNAL_PREFIX = "os_glance";
const INTERNAL_NAMES: PropertyRule = {
  pattern: new RegExp(`^${INTERNAL_PREFIX}`, "u"),
  permissions: { create: everyone, read: everyone, update: everyone, delete: everyone },
};

/** Reads the document; "" is no protection at all. Throws an Error with a sentence (contract 13 §9). */
export function parsePropertyProtections(json: string, policy: Policy): ProtectProperties {
  if (json === "") return protectNothing;
  const document: unknown = JSON.parse(json);
  if (!isJsonObject(document)) throw new Error("it is not a JSON object");
  const { format = "roles", rules, policies, ...others } = document;
  refuseUnknown(others);
  if (!Array.isArray(rules)) throw new Error("rules is not a list");
  const readPermission = permissionReader(format, policies, policy);
  const own = rules.filter((rule) => !isOfInternalNames(rule));
  return protectBy([INTERNAL_NAMES, ...own.map((rule) => parseRule(rule, readPermission))]);
}

/** Rules for names that start like the service's own have no effect in the reference, right or wrong. */
function isOfInternalNames(rule: unknown): boolean {
  return (
    isJsonObject(rule) &&
    typeof rule.property === "string" &&
    rule.property.startsWith(INTERNAL_PREFIX)
  );
}

function parseRule(rule: unknown, read: ReadPermission): PropertyRule {
  if (!isJsonObject(rule)) throw new Error("a rule is not an object");
  const { property, create, read: show, update, delete: remove, ...others } = rule;
  if (typeof property !== "string" || property === "") {
    throw new Error("a rule has no property, which is a regular expression");
  }
  const pattern = parsePattern(property);
  const permission = (operation: PropertyOperation, value: unknown): Permission => {
    try {
      return read(readWords(value));
    } catch (cause) {
      throw new Error(`${operation} of '${property}' ${(cause as Error).message}`, { cause });
    }
  };
  refuseUnknown(others);
  return {
    pattern,
    permissions: {
      create: permission("create", create),
      read: permission("read", show),
      update: permission("update", update),
      delete: permission("delete", remove),
    },
  };
}

function parsePattern(source: string): RegExp {
  try {
    // The flag makes what other dialects mean by an escape an error, not a letter.
    return new RegExp(source, "u");
  } catch {
    throw new Error(`'${source}' is not a regular expression`);
  }
}

/** The words of a comma text or a list. */
function readWords(value: unknown): readonly string[] {
  if (value === undefined) throw new Error("is missing");
  const isTexts = Array.isArray(value) && value.every((item) => typeof item === "string");
  if (typeof value !== "string" && !isTexts)
    throw new Error("is neither a text nor a list of texts");
  const words = String(value)
    .split(",")
    .map((word) => word.trim())
    .filter((word) => word !== "");
  if (words.includes("@") && words.includes("!")) throw new Error("has both '@' and '!'");
  return words;
}

function permissionReader(format: unknown, policies: unknown, policy: Policy): ReadPermission {
  if (format === "policies") {
    const ruleNamed = ruleFinder(policies === undefined ? {} : policies, policy);
    return (words) => readPolicyName(words, ruleNamed);
  }
  if (format !== "roles") throw new Error("format is neither roles nor policies");
  if (policies !== undefined) throw new Error("policies are for the format policies");
  return readRoles;
}

/** Everyone, nobody, or whoever has one of the roles; no word at all is nobody. */
function readRoles(words: readonly string[]): Permission {
  if (words.includes("!")) return nobody;
  if (words.includes("@")) return everyone;
  const roles = new Set(words.map((word) => word.toLowerCase()));
  return (who) => who.roles.some((role) => roles.has(role));
}

/** As the reference does, the rule is asked without a target: it sees the caller and no image. */
function readPolicyName(words: readonly string[], ruleNamed: RuleNamed): Permission {
  const [name, ...others] = words;
  if (name === undefined || others.length > 0) throw new Error("is not exactly one policy rule");
  if (name === "!") return nobody;
  if (name === "@") return everyone;
  const check = ruleNamed(name);
  return (who) => check(who, {});
}

/** Finds rules by name; one that the document defines may refer to those before it. */
function ruleFinder(definitions: unknown, policy: Policy): RuleNamed {
  if (!isJsonObject(definitions)) throw new Error("policies is not an object of expressions");
  const own = new Map<string, Check>();
  const ruleNamed: RuleNamed = (name) => {
    const check = own.get(name) ?? policy.ruleNamed(name);
    if (check === undefined) throw new Error(`names '${name}', which is no policy rule`);
    return check;
  };
  for (const [name, text] of Object.entries(definitions)) {
    if (policy.ruleNamed(name) !== undefined)
      throw new Error(`POLICY already has a rule '${name}'`);
    if (typeof text !== "string") throw new Error(`the policy '${name}' is not a text`);
    try {
      own.set(name, parseExpression(text, ruleNamed));
    } catch (cause) {
      throw new Error(`the policy '${name}': ${(cause as Error).message}`, { cause });
    }
  }
  return ruleNamed;
}

function refuseUnknown(others: JsonObject): void {
  const [name] = Object.keys(others);
  if (name !== undefined) throw new Error(`"${name}" is not known there`);
}

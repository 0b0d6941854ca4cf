import { abbreviate, isLongerThan } from "../lib/code-points.ts";
import { isJsonObject } from "../lib/json.ts";

/*
 * The part of JSON Schema that the published documents use. The usual validators compile a schema into code
 * at run time, which Workers forbid, and a dozen keywords do not need one.
 */

/** The JSON types that the documents name. */
export type JsonType = "null" | "boolean" | "integer" | "string" | "array" | "object";

/** What a document says of one value (contract 05); the keys are the wire's. */
export interface ValueSchema {
  readonly description?: string;
  readonly type: JsonType | readonly JsonType[];
  readonly readOnly?: boolean;
  readonly writeOnly?: boolean;
  /** False for what the operator declared (contract CS-2). */
  readonly is_base?: boolean;
  readonly enum?: readonly (string | null)[];
  readonly pattern?: string;
  readonly minLength?: number;
  readonly maxLength?: number;
  readonly items?: ValueSchema;
  readonly properties?: Readonly<Record<string, ValueSchema>>;
  readonly required?: readonly string[];
  readonly additionalProperties?: false;
}

const TYPE_TESTS: Readonly<Record<JsonType, (value: unknown) => boolean>> = {
  null: (value) => value === null,
  boolean: (value) => typeof value === "boolean",
  integer: (value) => Number.isInteger(value),
  string: (value) => typeof value === "string",
  array: (value) => Array.isArray(value),
  object: isJsonObject,
};

/** The first keyword a value fails, in a sentence that names both (contract SIN-3, SIN-4), or undefined. */
export function findFailure(schema: ValueSchema, value: unknown): string | undefined {
  const types = typeof schema.type === "string" ? [schema.type] : schema.type;
  if (!types.some((type) => TYPE_TESTS[type](value))) {
    return failure(value, "type", types.join(" or "));
  }
  if (schema.enum !== undefined && !schema.enum.some((allowed) => allowed === value)) {
    return failure(value, "enum", schema.enum.join(", "));
  }
  if (typeof value === "string") return findTextFailure(schema, value);
  if (Array.isArray(value)) return findItemFailure(schema, value);
  if (isJsonObject(value)) return findMemberFailure(schema, value);
  return undefined;
}

function findTextFailure(schema: ValueSchema, text: string): string | undefined {
  const { minLength, maxLength, pattern } = schema;
  if (maxLength !== undefined && isLongerThan(text, maxLength)) {
    return failure(text, "maxLength", maxLength);
  }
  if (minLength !== undefined && !isLongerThan(text, minLength - 1)) {
    return failure(text, "minLength", minLength);
  }
  if (pattern !== undefined && !new RegExp(pattern, "u").test(text)) {
    return failure(text, "pattern", pattern);
  }
  return undefined;
}

function findItemFailure(schema: ValueSchema, items: readonly unknown[]): string | undefined {
  if (schema.items === undefined) return undefined;
  for (const [index, item] of items.entries()) {
    const found = findFailure(schema.items, item);
    if (found !== undefined) return `item ${index}: ${found}`;
  }
  return undefined;
}

function findMemberFailure(
  schema: ValueSchema,
  object: Readonly<Record<string, unknown>>,
): string | undefined {
  const missing = schema.required?.find((key) => !Object.hasOwn(object, key));
  if (missing !== undefined) return failure(object, "required", missing);
  const declared = new Map(Object.entries(schema.properties ?? {}));
  for (const [key, value] of Object.entries(object)) {
    const member = declared.get(key);
    if (member === undefined) {
      if (schema.additionalProperties === false) {
        return failure(object, "additionalProperties", "none");
      }
      continue;
    }
    const found = findFailure(member, value);
    if (found !== undefined) return `${key}: ${found}`;
  }
  return undefined;
}

function failure(value: unknown, keyword: string, expected: string | number): string {
  return `${show(value)} does not meet ${keyword} (${expected})`;
}

// Containers are not spelled out: turning a deeply nested one into text can overflow the stack.
function show(value: unknown): string {
  if (typeof value === "string") return JSON.stringify(abbreviate(value));
  if (Array.isArray(value)) return "the array";
  if (isJsonObject(value)) return "the object";
  return String(value);
}

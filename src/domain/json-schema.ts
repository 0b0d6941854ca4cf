import { abbreviate, isLongerThan } from "../lib/code-points.ts";
import { isJsonObject } from "../lib/json.ts";

/*
 * The part of JSON Schema that the published documents use. The usual validators compile a schema into code
 * at run time, which Workers forbid, and a dozen keywords do not need one.
 */

/** The JSON types that the documents name. */
export type JsonType = "null" | "boolean" | "integer" | "number" | "string" | "array" | "object";

/** What a document says of one value (contract 05); the keys are the wire's. */
export interface ValueSchema {
  readonly description?: string;
  readonly type: JsonType | readonly JsonType[];
  readonly readOnly?: boolean;
  readonly writeOnly?: boolean;
  /** False for what the operator declared (contract CS-2). */
  readonly is_base?: boolean;
  readonly enum?: readonly (string | null)[];
  /** What a client may take for a value that is left out; says nothing of those that are there. */
  readonly default?: unknown;
  readonly pattern?: string;
  /** Tells people what the text is; it is not checked (JSON Schema, "format" as an annotation). */
  readonly format?: string;
  readonly minLength?: number;
  readonly maxLength?: number;
  readonly minimum?: number;
  readonly items?: Schema;
  readonly minItems?: number;
  readonly uniqueItems?: boolean;
  readonly properties?: Readonly<Record<string, Schema>>;
  readonly required?: readonly string[];
  /** What the members that are not declared are like; false: there are none. */
  readonly additionalProperties?: false | Schema;
}

/** A schema by its name among the definitions of its document. */
export interface SchemaReference {
  readonly $ref: `#/definitions/${string}`;
}

export type Schema = ValueSchema | SchemaReference;

/** The schemas that a document's references name. */
export type Definitions = Readonly<Record<string, ValueSchema>>;

const TYPE_TESTS: Readonly<Record<JsonType, (value: unknown) => boolean>> = {
  null: (value) => value === null,
  boolean: (value) => typeof value === "boolean",
  integer: (value) => Number.isInteger(value),
  number: (value) => typeof value === "number",
  string: (value) => typeof value === "string",
  array: (value) => Array.isArray(value),
  object: isJsonObject,
};

/** The first keyword a value fails, in a sentence that names both (contract SIN-3, SIN-4), or undefined. */
export function findFailure(
  given: Schema,
  value: unknown,
  definitions: Definitions = {},
): string | undefined {
  const schema = resolve(given, definitions);
  const types = typeof schema.type === "string" ? [schema.type] : schema.type;
  if (!types.some((type) => TYPE_TESTS[type](value))) {
    return failure(value, "type", types.join(" or "));
  }
  if (schema.enum !== undefined && !schema.enum.some((allowed) => allowed === value)) {
    return failure(value, "enum", schema.enum.join(", "));
  }
  if (typeof value === "string") return findTextFailure(schema, value);
  if (typeof value === "number") return findNumberFailure(schema, value);
  if (Array.isArray(value)) return findItemFailure(schema, value, definitions);
  if (isJsonObject(value)) return findMemberFailure(schema, value, definitions);
  return undefined;
}

/** The schema that a reference names, or the schema itself. */
export function resolve(schema: Schema, definitions: Definitions): ValueSchema {
  if (!("$ref" in schema)) return schema;
  const named = definitions[schema.$ref.slice("#/definitions/".length)];
  if (named === undefined) throw new Error(`there is no ${schema.$ref}`);
  return named;
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

function findNumberFailure({ minimum }: ValueSchema, value: number): string | undefined {
  if (minimum !== undefined && value < minimum) return failure(value, "minimum", minimum);
  return undefined;
}

function findItemFailure(
  { items: schema, minItems, uniqueItems }: ValueSchema,
  items: readonly unknown[],
  definitions: Definitions,
): string | undefined {
  if (minItems !== undefined && items.length < minItems) {
    return failure(items, "minItems", minItems);
  }
  if (schema !== undefined) {
    for (const [index, item] of items.entries()) {
      const found = findFailure(schema, item, definitions);
      if (found !== undefined) return `item ${index}: ${found}`;
    }
  }
  if (uniqueItems && new Set(items.map((item) => JSON.stringify(item))).size < items.length) {
    return failure(items, "uniqueItems", "true");
  }
  return undefined;
}

function findMemberFailure(
  schema: ValueSchema,
  object: Readonly<Record<string, unknown>>,
  definitions: Definitions,
): string | undefined {
  const missing = schema.required?.find((key) => !Object.hasOwn(object, key));
  if (missing !== undefined) return failure(object, "required", missing);
  const declared = new Map(Object.entries(schema.properties ?? {}));
  for (const [key, value] of Object.entries(object)) {
    const member = declared.get(key) ?? schema.additionalProperties;
    if (member === undefined) continue;
    if (member === false) {
      return `${failure(object, "additionalProperties", "none")}: it has ${show(key)}`;
    }
    const found = findFailure(member, value, definitions);
    if (found !== undefined) return `${abbreviate(key)}: ${found}`;
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

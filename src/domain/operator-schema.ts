import * as v from "valibot";
import { isJsonObject, type JsonObject } from "../lib/json.ts";
import { UUID_PATTERN } from "../lib/uuid.ts";
import type { ValueSchema } from "./json-schema.ts";

/** What an operator declares beyond the base properties (contract SI-38). */
export interface OperatorSchema {
  readonly properties: ReadonlyMap<string, ValueSchema>;
  /** Names that a create request must carry. */
  readonly required: readonly string[];
}

/** What holds unless the operator says otherwise (contract SI-29 … SI-37). */
const SHIPPED: Readonly<Record<string, ValueSchema>> = {
  kernel_id: {
    description: "Id of the image that holds the kernel for an AMI-style image",
    type: ["null", "string"],
    pattern: UUID_PATTERN,
  },
  ramdisk_id: {
    description: "Id of the image that holds the ramdisk for an AMI-style image",
    type: ["null", "string"],
    pattern: UUID_PATTERN,
  },
  instance_uuid: {
    description: "The server this image was made from; informational",
    type: "string",
  },
  architecture: {
    description: "Processor architecture, such as x86_64 or aarch64",
    type: "string",
  },
  os_distro: { description: "Short name of the operating system's distribution", type: "string" },
  os_version: { description: "Version of the operating system", type: "string" },
  description: { description: "What the image is, for people", type: "string" },
  cinder_encryption_key_id: {
    description: "Id of the key that a volume was encrypted with",
    type: "string",
  },
  cinder_encryption_key_deletion_policy: {
    description: "Whether the encryption key goes when the image is deleted",
    type: "string",
    enum: ["on_image_deletion", "do_not_delete"],
  },
};

// Image records hold texts, and null where it is declared. A keyword missing here would be published but not
// enforced, so strictObject refuses it; format is the exception, an annotation in the reference too.
const TYPE = v.picklist(["null", "string"]);
const DEFINITION = v.strictObject({
  type: v.union([TYPE, v.pipe(v.array(TYPE), v.nonEmpty())]),
  enum: v.exactOptional(v.pipe(v.array(v.nullable(v.string())), v.nonEmpty())),
  pattern: v.exactOptional(v.pipe(v.string(), v.check(isPattern, "not a regular expression"))),
  minLength: v.exactOptional(v.pipe(v.number(), v.integer(), v.minValue(0))),
  maxLength: v.exactOptional(v.pipe(v.number(), v.integer(), v.minValue(0))),
  title: v.exactOptional(v.string()),
  description: v.exactOptional(v.string()),
  default: v.exactOptional(v.unknown()),
  examples: v.exactOptional(v.unknown()),
  format: v.exactOptional(v.string()),
  readOnly: v.exactOptional(v.boolean()),
  writeOnly: v.exactOptional(v.boolean()),
  is_base: v.exactOptional(v.boolean()),
});
const REQUIRED = v.array(v.string());

/**
 * Reads the IMAGE_SCHEMA setting in either of contract SI-38's layouts: a map of properties, or
 * `{"properties": …, "required": …}`. Nothing given means the shipped properties, `{}` means none. Base
 * properties may be repeated word for word and are then left out (contract SI-39).
 */
export function readOperatorSchema(
  json: string | undefined,
  isBase: (name: string, definition: unknown) => boolean,
): OperatorSchema {
  if (json === undefined || json.trim() === "") {
    return { properties: declare(Object.entries(SHIPPED)), required: [] };
  }
  const given = parseObject(json);
  const isNested = Object.hasOwn(given, "properties");
  const definitions = isNested ? given.properties : given;
  if (!isJsonObject(definitions)) throw new Error("its properties are not an object");
  const required = v.safeParse(REQUIRED, isNested ? (given.required ?? []) : []);
  if (!required.success) throw new Error("its required is not a list of property names");

  const own = Object.entries(definitions).filter(([name, definition]) => !isBase(name, definition));
  const read = own.map(([name, definition]) => [name, readDefinition(name, definition)] as const);
  return { properties: declare(read), required: [...new Set(required.output)] };
}

function parseObject(json: string): JsonObject {
  let given: unknown;
  try {
    given = JSON.parse(json);
  } catch (cause) {
    throw new Error(`it is not valid JSON: ${String(cause)}`, { cause });
  }
  if (!isJsonObject(given)) throw new Error("it is not a JSON object");
  return given;
}

function readDefinition(name: string, definition: unknown): ValueSchema {
  const read = v.safeParse(DEFINITION, definition);
  if (read.success) return read.output;
  const [issue] = read.issues;
  const keyword = v.getDotPath(issue);
  const where = keyword === null ? `property ${name}` : `property ${name}, ${keyword}`;
  throw new Error(`${where}: ${issue.message}`);
}

// Clients tell declared properties from base ones by this flag (contract CS-2).
function declare(
  definitions: readonly (readonly [string, ValueSchema])[],
): ReadonlyMap<string, ValueSchema> {
  return new Map(
    definitions.map(([name, definition]) => [name, { ...definition, is_base: false }]),
  );
}

function isPattern(source: string): boolean {
  try {
    new RegExp(source, "u");
    return true;
  } catch {
    return false;
  }
}

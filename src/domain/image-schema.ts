import { abbreviate } from "../lib/code-points.ts";
import { jsonEquals } from "../lib/json.ts";
import { baseSchemas } from "./base-schema.ts";
import { Fault } from "./fault.ts";
import { findFailure, type ValueSchema } from "./json-schema.ts";
import type { Limits } from "./limits.ts";
import { readOperatorSchema } from "./operator-schema.ts";

/** What `/v2/schemas/image` answers (contract 05 §5.2). */
export interface ImageSchemaDocument {
  readonly name: "image";
  readonly properties: Readonly<Record<string, ValueSchema>>;
  readonly additionalProperties: ValueSchema;
  readonly links: readonly { readonly rel: string; readonly href: string }[];
  readonly required?: readonly string[];
}

const LINKS = [
  { rel: "self", href: "{self}" },
  { rel: "enclosure", href: "{file}" },
  { rel: "describedby", href: "{schema}" },
] as const;

/** What nobody declared is a text (contract CRE-5). */
const UNDECLARED: ValueSchema = { type: "string" };

/** The image schema: the document clients read, and the check of what they send. */
export class ImageSchema {
  readonly #properties: ReadonlyMap<string, ValueSchema>;

  constructor(
    properties: ReadonlyMap<string, ValueSchema>,
    /** Names a create request must carry; PATCH does not ask for them (contract SI-40). */
    readonly required: readonly string[],
  ) {
    this.#properties = properties;
  }

  /** The document of contract 05 §5.2. */
  get document(): ImageSchemaDocument {
    return {
      name: "image",
      properties: Object.fromEntries(this.#properties),
      additionalProperties: UNDECLARED,
      links: LINKS,
      ...(this.required.length > 0 && { required: this.required }),
    };
  }

  /** Refuses a value that the named property cannot have (contract SIN-2, SIN-4). */
  validate(name: string, value: unknown): void {
    const reason = findFailure(this.#properties.get(name) ?? UNDECLARED, value);
    if (reason !== undefined) throw new Fault("invalid_value", { name: abbreviate(name), reason });
  }
}

/**
 * Builds the schema from the configured formats and the operator's declarations, the IMAGE_SCHEMA setting.
 * Throws an Error that says why when these cannot be used (contract SI-39).
 */
export function buildImageSchema(limits: Limits, operatorJson?: string): ImageSchema {
  const base = new Map(Object.entries(baseSchemas(limits)));
  const declared = readOperatorSchema(operatorJson, (name, definition) => {
    const own = base.get(name);
    if (own === undefined) return false;
    if (jsonEquals(withoutNotes(definition), withoutNotes(own))) return true;
    throw new Error(`property ${name}: it is a base property and cannot be declared differently`);
  });
  return new ImageSchema(new Map([...base, ...declared.properties]), declared.required);
}

function withoutNotes(definition: unknown): unknown {
  if (typeof definition !== "object" || definition === null) return definition;
  return { ...definition, description: null, is_base: null };
}

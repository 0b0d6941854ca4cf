import type { Definitions, Schema, ValueSchema } from "../json-schema.ts";
import { NAMESPACE_VISIBILITIES } from "./namespace.ts";

/*
 * The schemas of metadata definitions (contract 14 §11). What is served under /v2/schemas/metadefs is what bodies are
 * checked by. Answers satisfy them, too: glanceclient checks requests and answers alike.
 */

/** A schema as it is served, with the definitions that it refers to. */
export interface MetadefDocument {
  readonly name: string;
  readonly properties: Readonly<Record<string, Schema>>;
  readonly additionalProperties?: false;
  readonly required?: readonly string[];
  readonly definitions?: Definitions;
}

const MAX_NAME = 80;

const NAME = { type: "string", maxLength: MAX_NAME } as const;
const TEXT = { type: "string" } as const;
const FLAG = { type: "boolean" } as const;
const ANY_VALUES = { type: "array" } as const;

const COUNT = { $ref: "#/definitions/positiveInteger" } as const;
const COUNT_OR_0 = { $ref: "#/definitions/positiveIntegerDefault0" } as const;
const TEXTS = { $ref: "#/definitions/stringArray" } as const;
const PROPERTIES = { $ref: "#/definitions/property" } as const;

const TIME = { type: "string", format: "date-time", readOnly: true } as const;
const TIMES = {
  created_at: { description: "When it was created, in UTC", ...TIME },
  updated_at: { description: "When it was last changed, in UTC", ...TIME },
} as const;
const LINKS_OF_ONE = {
  self: { description: "Address of this record", type: "string", readOnly: true },
  schema: { description: "Address of its schema", type: "string", readOnly: true },
} as const;

/** The reference lists null among the types, which no text is (contract MP-3). */
const PROPERTY_TYPE = {
  type: "string",
  enum: ["array", "boolean", "integer", "number", "object", "string", null],
} as const;

/** Contract MP-2. */
const PROPERTY_FIELDS = {
  name: { description: "Name of the property", ...NAME },
  title: { description: "What people are shown as its name", ...TEXT },
  description: { description: "What the property means", ...TEXT },
  operators: {
    description: "Operators that a value of it may begin with",
    type: "array",
    items: TEXT,
  },
  type: { description: "What its values are", ...PROPERTY_TYPE },
  required: TEXTS,
  minimum: { type: "number" },
  maximum: { type: "number" },
  maxLength: COUNT,
  minLength: COUNT_OR_0,
  pattern: { description: "A regular expression for its values", type: "string", format: "regex" },
  enum: { description: "The values that it may have", ...ANY_VALUES },
  readonly: { description: "Whether it is only shown", ...FLAG },
  default: {
    description: "The value that is taken for a missing one",
    type: ["null", "boolean", "number", "string", "array", "object"],
  },
  items: {
    description: "What the items of an array are",
    type: "object",
    properties: { type: PROPERTY_TYPE, enum: ANY_VALUES },
    required: ["type"],
    additionalProperties: false,
  },
  maxItems: COUNT,
  minItems: COUNT_OR_0,
  uniqueItems: { ...FLAG, default: false },
  additionalItems: FLAG,
} as const satisfies Readonly<Record<string, Schema>>;

const COUNTS = {
  positiveInteger: { type: "integer", minimum: 0 },
  positiveIntegerDefault0: { type: "integer", minimum: 0, default: 0 },
} as const;
const STRING_ARRAY = { type: "array", items: TEXT, uniqueItems: true } as const;

/** Of namespaces and objects (contract MS-4). */
const DEFINITIONS = {
  ...COUNTS,
  stringArray: STRING_ARRAY,
  property: {
    description: "Definitions of properties by name",
    type: "object",
    additionalProperties: {
      type: "object",
      properties: PROPERTY_FIELDS,
      required: ["title", "type"],
      additionalProperties: false,
    },
  },
} as const satisfies Definitions;

export const PROPERTY = {
  name: "property",
  properties: PROPERTY_FIELDS,
  additionalProperties: false,
  required: ["type", "title", "name"],
  definitions: { ...COUNTS, stringArray: { ...STRING_ARRAY, minItems: 1 } },
} as const satisfies MetadefDocument;

export const OBJECT = {
  name: "object",
  properties: {
    name: { description: "Name of the object", ...NAME },
    description: { description: "What the object stands for", ...TEXT },
    required: TEXTS,
    properties: PROPERTIES,
    ...LINKS_OF_ONE,
    ...TIMES,
  },
  additionalProperties: false,
  required: ["name"],
  definitions: DEFINITIONS,
} as const satisfies MetadefDocument;

export const TAG = {
  name: "tag",
  properties: { name: { description: "The tag", ...NAME }, ...TIMES },
  additionalProperties: false,
  required: ["name"],
} as const satisfies MetadefDocument;

export const ASSOCIATION = {
  name: "resource_type_association",
  properties: {
    name: { description: "The resource type, such as OS::Glance::Image", ...NAME },
    prefix: { description: "What stands before the properties' names on such a resource", ...NAME },
    properties_target: { description: "Which of the resource's properties are meant", ...NAME },
    ...TIMES,
  },
  additionalProperties: false,
  required: ["name"],
} as const satisfies MetadefDocument;

/** What a namespace has itself, as against what is in it (contract MN-56). */
const NAMESPACE_FIELDS = {
  namespace: { description: "The unique name", ...NAME },
  display_name: { description: "What people are shown as its name", ...NAME },
  description: { description: "What the namespace is about", type: "string", maxLength: 500 },
  visibility: { description: "Who may see it", type: "string", enum: NAMESPACE_VISIBILITIES },
  protected: { description: "Whether it is kept from being deleted", ...FLAG },
  owner: { description: "The project it belongs to", type: "string", maxLength: 255 },
  ...TIMES,
  ...LINKS_OF_ONE,
} as const satisfies Readonly<Record<string, Schema>>;

export const NAMESPACE = {
  name: "namespace",
  properties: {
    ...NAMESPACE_FIELDS,
    resource_type_associations: { type: "array", items: itemOf(ASSOCIATION) },
    properties: PROPERTIES,
    objects: { type: "array", items: itemOf(OBJECT) },
    tags: { type: "array", items: itemOf(TAG) },
  },
  additionalProperties: false,
  required: ["namespace"],
  definitions: DEFINITIONS,
} as const satisfies MetadefDocument;

/**
 * The body of a change of a namespace. Its parts are not changed by it, and clients send them as they got them, so they
 * need only be what they are at all (contract MN-57).
 */
export const NAMESPACE_CHANGE = {
  ...NAMESPACE,
  properties: {
    ...NAMESPACE_FIELDS,
    resource_type_associations: ANY_VALUES,
    properties: { type: "object" },
    objects: ANY_VALUES,
    tags: ANY_VALUES,
  },
} as const satisfies MetadefDocument;

/** The body that makes many tags (contract MT-2). */
export const TAG_LIST = {
  name: "tags",
  properties: { tags: { type: "array", items: itemOf(TAG) } },
  additionalProperties: false,
  required: ["tags"],
} as const satisfies MetadefDocument;

/** A document as what is nested in another, which has its definitions. */
function itemOf(document: MetadefDocument): ValueSchema {
  const { properties, required, additionalProperties } = document;
  return {
    type: "object",
    properties,
    ...(required && { required }),
    ...(additionalProperties === false && { additionalProperties }),
  };
}

/** Every document by its name below /v2/schemas/metadefs (contract 14 §11). */
export const METADEF_DOCUMENTS: Readonly<Record<string, object>> = {
  namespace: NAMESPACE,
  namespaces: listOf("namespaces", NAMESPACE, arrayOf),
  resource_type: ASSOCIATION,
  resource_types: listOf("resource_type_associations", ASSOCIATION, arrayOf),
  property: PROPERTY,
  properties: listOf("properties", { ...PROPERTY, required: ["type", "title"] }, mapOf),
  object: OBJECT,
  objects: listOf("objects", OBJECT, arrayOf),
  tag: TAG,
  tags: listOf("tags", TAG, arrayOf),
};

/** The document of a list (contract MS-5): what its items refer to is hoisted, for references begin at the root. */
function listOf(
  name: string,
  { definitions, ...item }: MetadefDocument,
  ofItems: (item: object) => object,
): object {
  return {
    name,
    properties: { [name]: ofItems(item), first: TEXT, next: TEXT, schema: TEXT },
    links: [
      { rel: "first", href: "{first}" },
      { rel: "next", href: "{next}" },
      { rel: "describedby", href: "{schema}" },
    ],
    ...(definitions && { definitions }),
  };
}

function arrayOf(items: object): object {
  return { type: "array", items };
}

/** Properties are listed by name (contract MS-7). */
function mapOf(additionalProperties: object): object {
  return { type: "object", additionalProperties };
}

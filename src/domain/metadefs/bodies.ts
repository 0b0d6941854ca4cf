import { abbreviate } from "../../lib/code-points.ts";
import { isJsonObject, type JsonObject } from "../../lib/json.ts";
import { Fault } from "../fault.ts";
import { type Definitions, findFailure, resolve, type Schema } from "../json-schema.ts";
import {
  ASSOCIATION,
  type MetadefDocument,
  NAMESPACE,
  NAMESPACE_CHANGE,
  OBJECT,
  PROPERTY,
  TAG,
  TAG_LIST,
} from "./documents.ts";
import type {
  Association,
  MetadefObject,
  Namespace,
  NamespaceVisibility,
  NewNamespace,
  Property,
  Tag,
} from "./namespace.ts";

/*
 * What callers send about metadata definitions, checked. Everything here throws 403 `property_read_only` for what is
 * only shown, and 400s; in this order, and before anything is looked up (contract MN-20, MN-39 … MN-45).
 */

/** The parts of a namespace that it has itself, and that a change replaces all at once (contract MN-56). */
export type NamespaceFields = Pick<
  Namespace,
  "name" | "displayName" | "description" | "visibility" | "isProtected" | "owner"
>;

/** A new namespace with the parts that come with it, and those parts as they were given (contract MN-48, MN-50). */
export function parseNewNamespace(
  body: object,
  projectId: string | null,
  nowMs: number,
): { namespace: NewNamespace; given: JsonObject } {
  const given = check(NAMESPACE, body, MAX_NAMESPACE_LEVELS);
  const list = (name: string) => itemsOf(given[name]);
  const namespace = {
    ...fieldsOf(given, projectId),
    createdAtMs: nowMs,
    updatedAtMs: nowMs,
    associations: list("resource_type_associations").map((item) => associationOf(item, nowMs)),
    properties: membersOf(given.properties).map(([name, definition]) =>
      propertyOf({ ...definition, name }),
    ),
    objects: list("objects").map((item) => objectOf(item, nowMs)),
    tags: list("tags").map((item) => tagOf(item, nowMs)),
  };
  return { namespace, given };
}

/** What a namespace is to be; parts that come along are left as they are (contract MN-56, MN-57). */
export function parseNamespaceChange(body: object, projectId: string | null): NamespaceFields {
  return fieldsOf(check(NAMESPACE_CHANGE, body, MAX_NAMESPACE_LEVELS), projectId);
}

/** Contract MP-1 … MP-11. */
export function parseProperty(body: object): Property {
  return propertyOf(check(PROPERTY, body));
}

/** Contract MO-1, MO-2. */
export function parseObject(body: object, nowMs: number): MetadefObject {
  return objectOf(check(OBJECT, body), nowMs);
}

/** Contract MT-9, MT-13. */
export function parseTag(body: object, nowMs: number): Tag {
  return tagOf(check(TAG, body), nowMs);
}

/** A tag that the address names (contract MT-1). */
export function makeTag(name: string, nowMs: number): Tag {
  return parseTag({ name }, nowMs);
}

/** Contract MT-2, MT-7. */
export function parseTags(body: object, nowMs: number): readonly Tag[] {
  return itemsOf(check(TAG_LIST, body).tags).map((item) => tagOf(item, nowMs));
}

/** Contract MR-3. */
export function parseAssociation(body: object, nowMs: number): Association {
  return associationOf(check(ASSOCIATION, body), nowMs);
}

/** Levels of a body: more than any definition has, and few enough to be walked without a thought of the stack. */
const MAX_LEVELS = 30;
/** A namespace has its parts in a list or a map, so that what was taken by itself is taken with it, too. */
const MAX_NAMESPACE_LEVELS = MAX_LEVELS + 2;

/** Read-only also where no answer has them: of properties (contract MN-44). */
const TIMES = ["created_at", "updated_at"];

function check(document: MetadefDocument, body: object, maxLevels = MAX_LEVELS): JsonObject {
  assertStorable(body, maxLevels);
  if (!isJsonObject(body)) refuse("the body", "it must be a JSON object");
  const { definitions = {} } = document;
  const schema: Schema = { type: "object", ...document };
  const readOnly =
    TIMES.find((key) => Object.hasOwn(body, key)) ?? findReadOnly(schema, body, definitions);
  if (readOnly !== undefined) throw new Fault("property_read_only", { name: readOnly });
  const failure = findFailure(schema, body, definitions);
  if (failure !== undefined) refuse("the body", failure);
  return body;
}

/** The first member of a body, at any level, that only answers have (contract MN-44). */
function findReadOnly(given: Schema, value: unknown, definitions: Definitions): string | undefined {
  const { properties = {}, additionalProperties, items } = resolve(given, definitions);
  if (Array.isArray(value) && items !== undefined) {
    return first(value, (item) => findReadOnly(items, item, definitions));
  }
  if (!isJsonObject(value)) return undefined;
  const declared = new Map(Object.entries(properties));
  return first(Object.entries(value), ([key, member]) => {
    const schema = declared.get(key) ?? additionalProperties;
    if (schema === undefined || schema === false) return undefined;
    if (resolve(schema, definitions).readOnly) return key;
    return findReadOnly(schema, member, definitions);
  });
}

function first<T, R>(items: readonly T[], find: (item: T) => R | undefined): R | undefined {
  for (const item of items) {
    const found = find(item);
    if (found !== undefined) return found;
  }
  return undefined;
}

/** Refuses what would not come back out of the database as it went in. */
function assertStorable(value: unknown, levels: number): void {
  if (levels === 0) refuse("the body", "it has too many levels of arrays and objects");
  if (typeof value === "string") assertText(value);
  if (typeof value === "number" && !Number.isFinite(value)) {
    refuse("the body", "it has a number that is too large");
  }
  if (typeof value !== "object" || value === null) return;
  for (const [key, member] of Object.entries(value)) {
    assertText(key);
    assertStorable(member, levels - 1);
  }
}

function assertText(text: string): void {
  if (!text.isWellFormed()) refuse("the body", "it has half of a surrogate pair");
  if (text.includes("\0")) refuse("the body", "it has the character U+0000");
}

/** Refuses a name that no address could ever lead to (contract MN-11, MN-12); addresses fold `.` and `..`. */
function assertReachable(what: string, name: string): void {
  if (name === "" || name === "." || name === ".." || name.includes("/")) {
    refuse(what, "it must not be empty, '.' or '..', or have a slash");
  }
}

function fieldsOf(body: JsonObject, projectId: string | null): NamespaceFields {
  const name = textOf(body.namespace);
  assertReachable("namespace", name);
  return {
    name,
    displayName: optionalText(body.display_name) ?? null,
    description: optionalText(body.description) ?? null,
    visibility: body.visibility === "public" ? "public" : ("private" satisfies NamespaceVisibility),
    isProtected: body.protected === true,
    owner: optionalText(body.owner) ?? projectId,
  };
}

function propertyOf(body: JsonObject): Property {
  const name = textOf(body.name);
  // A name that is a key of a map has not met the limit of names yet.
  const failure = findFailure(PROPERTY.properties.name, name);
  if (failure !== undefined) refuse(`property ${abbreviate(name)}`, failure);
  assertReachable("the name of a property", name);
  return { ...body, name };
}

function objectOf(body: JsonObject, nowMs: number): MetadefObject {
  const name = textOf(body.name);
  assertReachable("the name of an object", name);
  const description = optionalText(body.description);
  return {
    name,
    ...(description !== undefined && { description }),
    ...(Array.isArray(body.required) && { required: body.required.map(textOf) }),
    ...(isJsonObject(body.properties) && {
      properties: Object.fromEntries(membersOf(body.properties)),
    }),
    createdAtMs: nowMs,
    updatedAtMs: nowMs,
  };
}

function tagOf(body: JsonObject, nowMs: number): Tag {
  const name = textOf(body.name);
  assertReachable("the name of a tag", name);
  return { name, createdAtMs: nowMs, updatedAtMs: nowMs };
}

function associationOf(body: JsonObject, nowMs: number): Association {
  const name = textOf(body.name);
  assertReachable("the name of a resource type", name);
  const prefix = optionalText(body.prefix);
  const propertiesTarget = optionalText(body.properties_target);
  return {
    name,
    ...(prefix !== undefined && { prefix }),
    ...(propertiesTarget !== undefined && { propertiesTarget }),
    createdAtMs: nowMs,
    updatedAtMs: nowMs,
  };
}

function itemsOf(value: unknown): JsonObject[] {
  return Array.isArray(value) ? value.filter(isJsonObject) : [];
}

function membersOf(value: unknown): [string, JsonObject][] {
  if (!isJsonObject(value)) return [];
  return Object.entries(value).flatMap(([name, member]) =>
    isJsonObject(member) ? [[name, member]] : [],
  );
}

function textOf(value: unknown): string {
  return optionalText(value) ?? "";
}

function optionalText(value: unknown): string | undefined {
  return typeof value === "string" ? value : undefined;
}

function refuse(name: string, reason: string): never {
  throw new Fault("invalid_value", { name, reason });
}

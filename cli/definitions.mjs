// @ts-check
// Metadata definitions as files have them: the body of a new namespace, with everything in it. The format is that of
// glance-manage's db_load_metadefs and db_export_metadefs (contract 14 §10).

import { isDeepStrictEqual } from "node:util";
import { EXIT, Failure } from "./failure.mjs";

/** @typedef {Record<string, unknown>} JsonObject */

/**
 * A namespace as it is loaded and saved.
 * @typedef {object} Definition
 * @property {string} namespace
 * @property {string} [display_name]
 * @property {string} [description]
 * @property {string} visibility
 * @property {boolean} protected
 * @property {string} [owner] that of the file, if it has one
 * @property {Named[]} resource_type_associations
 * @property {Record<string, unknown>} properties
 * @property {Named[]} objects
 * @property {Named[]} tags
 */

/** @typedef {JsonObject & {name: string}} Named */

/** What the service adds to what it was given. */
const READ_ONLY = ["self", "schema", "created_at", "updated_at"];

/**
 * A definition from a file, or from what the service shows of a namespace: without what only the service says, and with
 * what it takes for missing parts. Throws a Failure for what is no definition.
 * @param {unknown} value
 * @returns {Definition}
 */
export function readDefinition(value) {
  if (!isObject(value)) throw wrong("it is no JSON object");
  assertShallow(value, MAX_LEVELS);
  const {
    namespace,
    visibility = "public",
    protected: isProtected = false,
    resource_type_associations,
    properties = {},
    objects,
    tags,
    ...rest
  } = withoutNulls(value);
  if (typeof namespace !== "string" || namespace === "") throw wrong("it names no 'namespace'");
  if (!namespace.isWellFormed() || /^\.{0,2}$/.test(namespace)) throw wrong("its name is none");
  if (!isObject(properties)) throw wrong("its 'properties' are no JSON object");
  if (typeof visibility !== "string") throw wrong("its 'visibility' is no text");
  if (typeof isProtected !== "boolean") throw wrong("its 'protected' is neither true nor false");
  for (const key of TEXTS) {
    if (!["undefined", "string"].includes(typeof rest[key])) throw wrong(`its '${key}' is no text`);
  }
  return {
    namespace,
    ...withoutKeys(rest, READ_ONLY),
    // The files of the reference leave it out where it is public (contract 14 §10).
    visibility,
    protected: isProtected,
    resource_type_associations: namedOf("resource_type_associations", resource_type_associations),
    properties,
    objects: namedOf("objects", objects).map((object) => ({
      ...object,
      required: object.required ?? [],
      properties: object.properties ?? {},
    })),
    tags: namedOf("tags", tags),
  };
}

/** What a namespace may have as text. */
const TEXTS = ["display_name", "description", "owner"];

/** More than the service takes, and few enough for whatever walks a definition by calling itself. */
const MAX_LEVELS = 64;

/**
 * @param {unknown} value
 * @param {number} levels
 */
function assertShallow(value, levels) {
  if (typeof value !== "object" || value === null) return;
  if (levels === 0) throw wrong(`it has more than ${MAX_LEVELS} levels of lists and objects`);
  for (const member of Object.values(value)) assertShallow(member, levels - 1);
}

/**
 * @param {string} key
 * @param {unknown} list
 * @returns {Named[]}
 */
function namedOf(key, list = []) {
  if (!Array.isArray(list)) throw wrong(`its '${key}' are no list`);
  return list.map((item) => {
    const isNamed = isObject(item) && typeof item.name === "string" && item.name.isWellFormed();
    if (!isNamed) throw wrong(`one of its '${key}' has no name`);
    return /** @type {Named} */ (withoutKeys(withoutNulls(item), READ_ONLY));
  });
}

/** @param {string} reason */
const wrong = (reason) =>
  new Failure(`This is no definition of a namespace: ${reason}.`, EXIT.file);

/**
 * @param {unknown} value
 * @returns {value is JsonObject}
 */
const isObject = (value) => typeof value === "object" && value !== null && !Array.isArray(value);

/**
 * The reference writes null where a namespace has nothing, which its API does not take.
 * @param {JsonObject} object
 */
const withoutNulls = (object) =>
  Object.fromEntries(Object.entries(object).filter(([, value]) => value !== null));

/**
 * @param {JsonObject} object
 * @param {readonly string[]} keys
 */
const withoutKeys = (object, keys) =>
  Object.fromEntries(Object.entries(object).filter(([key]) => !keys.includes(key)));

/** What a namespace has itself. */
const FIELDS = /** @type {const} */ ([
  "namespace",
  "display_name",
  "description",
  "visibility",
  "protected",
  "owner",
]);

/**
 * One call of the API that brings a namespace nearer to a definition.
 * @typedef {object} Step
 * @property {"POST" | "PUT" | "DELETE"} method
 * @property {readonly string[]} path below the namespace
 * @property {unknown} [json]
 */

/**
 * The steps that add to a namespace what it lacks of a definition; with `prefersNew` also those that make what it has
 * equal to the definition's. Nothing is taken away. `restore` is the step to take when one of them fails, if any.
 * @param {Definition} current
 * @param {Definition} wanted
 * @param {boolean} prefersNew
 * @returns {{steps: Step[], restore?: Step}}
 */
export function planMerge(current, wanted, prefersNew) {
  const parts = [
    ...mergeNamed("objects", current.objects, wanted.objects, prefersNew),
    ...mergeNamed("properties", propertiesOf(current), propertiesOf(wanted), prefersNew),
    ...mergeNamed("tags", current.tags, wanted.tags, false),
    ...mergeAssociations(current, wanted, prefersNew),
  ];
  const before = fieldsOf(current);
  const after = prefersNew ? { ...before, ...fieldsOf(wanted) } : before;
  // Nothing of a protected namespace can be deleted.
  const mustOpen = current.protected && parts.some(({ method }) => method === "DELETE");
  const open = mustOpen ? [setFields({ ...before, protected: false })] : [];
  const close = mustOpen || !isDeepStrictEqual(before, after) ? [setFields(after)] : [];
  return {
    steps: [...open, ...parts, ...close],
    ...(mustOpen && { restore: restoreFields(current) }),
  };
}

/**
 * @param {JsonObject} json
 * @returns {Step}
 */
const setFields = (json) => ({ method: "PUT", path: [], json });

/**
 * The step that makes what a namespace has itself what it was.
 * @param {Definition} definition
 */
export const restoreFields = (definition) => setFields(fieldsOf(definition));

/** @param {Definition} definition */
const fieldsOf = (definition) =>
  Object.fromEntries(
    FIELDS.flatMap((key) => (definition[key] === undefined ? [] : [[key, definition[key]]])),
  );

/**
 * @param {Definition} definition
 * @returns {Named[]}
 */
const propertiesOf = ({ properties }) =>
  Object.entries(properties).map(([name, property]) => ({
    .../** @type {JsonObject} */ (property),
    name,
  }));

/**
 * @param {"objects" | "properties" | "tags"} kind
 * @param {readonly Named[]} current
 * @param {readonly Named[]} wanted
 * @param {boolean} prefersNew
 * @returns {Step[]}
 */
function mergeNamed(kind, current, wanted, prefersNew) {
  return wanted.flatMap((item) => {
    const before = current.find(({ name }) => name === item.name);
    if (before === undefined) return [addition(kind, item)];
    if (!prefersNew || isDeepStrictEqual(before, item)) return [];
    return [{ method: "PUT", path: [kind, item.name], json: item }];
  });
}

/**
 * @param {"objects" | "properties" | "tags"} kind
 * @param {Named} item
 * @returns {Step}
 */
function addition(kind, item) {
  if (kind === "tags") return { method: "POST", path: [kind, item.name] };
  return { method: "POST", path: [kind], json: item };
}

/**
 * @param {Definition} current
 * @param {Definition} wanted
 * @param {boolean} prefersNew
 * @returns {Step[]}
 */
function mergeAssociations(current, wanted, prefersNew) {
  return wanted.resource_type_associations.flatMap((item) => {
    const before = current.resource_type_associations.find(({ name }) => name === item.name);
    /** @type {Step} */
    const add = { method: "POST", path: ["resource_types"], json: item };
    if (before === undefined) return [add];
    if (!prefersNew || isDeepStrictEqual(before, item)) return [];
    // There is no call that changes one (contract MR-7).
    return [{ method: "DELETE", path: ["resource_types", item.name] }, add];
  });
}

/**
 * Whether a namespace is just as a definition says; the order of its parts does not count, nor does the owner of one
 * that names none.
 * @param {Definition} current
 * @param {Definition} wanted
 */
export function isSame(current, wanted) {
  const { owner, ...rest } = current;
  return isDeepStrictEqual(inOrder(wanted.owner === undefined ? rest : current), inOrder(wanted));
}

/** @param {Omit<Definition, "owner">} definition */
const inOrder = (definition) => ({
  ...definition,
  resource_type_associations: byName(definition.resource_type_associations),
  objects: byName(definition.objects),
  tags: byName(definition.tags),
});

/** @param {readonly Named[]} items */
const byName = (items) => items.toSorted((a, b) => (a.name < b.name ? -1 : 1));

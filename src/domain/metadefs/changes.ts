import { Fault } from "../fault.ts";
import type { Association, Contents, NewNamespace, Tag, WholeNamespace } from "./namespace.ts";

/*
 * Changes of what is in a namespace. Each gives the namespace as it is to be, or throws: 404 `metadef_not_found`, 409
 * `metadef_exists`, 403 `namespace_protected`.
 */

/** The lists that a namespace has, by the word for one item. */
export interface Parts {
  readonly property: Contents["properties"][number];
  readonly object: Contents["objects"][number];
  readonly tag: Tag;
  readonly "resource type": Association;
}

export type Kind = keyof Parts;

const LISTS = {
  property: "properties",
  object: "objects",
  tag: "tags",
  "resource type": "associations",
} as const satisfies Record<Kind, keyof NewNamespace>;

type Items<K extends Kind> = readonly Parts[K][];

/** All items of a kind. */
export function partsOf<K extends Kind>(namespace: NewNamespace, kind: K): Items<K> {
  // The table above pairs each kind with the list of its items, which TypeScript does not follow.
  return namespace[LISTS[kind]] as unknown as Items<K>;
}

function withParts<K extends Kind>(
  namespace: WholeNamespace,
  kind: K,
  items: Items<K>,
): WholeNamespace {
  return { ...namespace, [LISTS[kind]]: items };
}

/** One item by its name. */
export function findPart<K extends Kind>(namespace: NewNamespace, kind: K, name: string): Parts[K] {
  const found = partsOf(namespace, kind).find((item) => item.name === name);
  if (found === undefined) throw new Fault("metadef_not_found", { kind, name });
  return found;
}

/** The namespace with items more. */
export function addParts<K extends Kind>(
  namespace: WholeNamespace,
  kind: K,
  added: Items<K>,
): WholeNamespace {
  const items = [...partsOf(namespace, kind), ...added];
  assertDistinct(kind, items);
  return withParts(namespace, kind, items);
}

/** The namespace with other tags than it had (contract MT-3). */
export function replaceTags(namespace: WholeNamespace, tags: readonly Tag[]): WholeNamespace {
  assertDistinct("tag", tags);
  return withParts(namespace, "tag", tags);
}

/** The namespace with one item in the place of another, perhaps under another name; it stays as old as it was. */
export function replacePart<K extends Kind>(
  namespace: WholeNamespace,
  kind: K,
  name: string,
  replacement: Parts[K],
): WholeNamespace {
  const before = findPart(namespace, kind, name);
  const after =
    "createdAtMs" in before ? { ...replacement, createdAtMs: before.createdAtMs } : replacement;
  const items = partsOf(namespace, kind).map((item) => (item === before ? after : item));
  assertDistinct(kind, items);
  return withParts(namespace, kind, items);
}

/** The namespace without an item (contract MN-23). */
export function removePart(namespace: WholeNamespace, kind: Kind, name: string): WholeNamespace {
  const removed = findPart(namespace, kind, name);
  assertUnprotected(namespace);
  return withParts(
    namespace,
    kind,
    partsOf(namespace, kind).filter((item) => item !== removed),
  );
}

/** The namespace without any item of a kind (contract MN-63). */
export function removeAllParts(namespace: WholeNamespace, kind: Kind): WholeNamespace {
  assertUnprotected(namespace);
  return partsOf(namespace, kind).length === 0 ? namespace : withParts(namespace, kind, []);
}

/** Contract MN-23. */
export function assertUnprotected({ name, isProtected }: WholeNamespace): void {
  if (isProtected) throw new Fault("namespace_protected", { name });
}

/** Refuses a new namespace of which two parts have the same name (contract MN-47). */
export function assertPartsDistinct(namespace: NewNamespace): void {
  assertDistinct("property", namespace.properties);
  assertDistinct("object", namespace.objects);
  assertDistinct("tag", namespace.tags);
  assertDistinct("resource type", namespace.associations);
}

function assertDistinct(kind: Kind, items: readonly { readonly name: string }[]): void {
  const names = new Set<string>();
  for (const { name } of items) {
    if (names.has(name)) throw new Fault("metadef_exists", { kind, name });
    names.add(name);
  }
}

/** Everything in one namespace as JSON. Ours, not Glance's: it is one row, and is read and written whole. */
const MAX_CONTENT_BYTES = 256 * 1024;
/** Of that its resource types, which come along in lists of up to 1,000 namespaces. */
const MAX_ASSOCIATION_BYTES = 16 * 1024;
/** So that a namespace can be sent back as it is shown, where an object has links, and a body has 1 MiB. */
const MAX_OBJECTS = 1000;

/** Refuses a namespace that does not fit into its row, or into what shows it. */
export function assertNamespaceFits(namespace: NewNamespace): void {
  const { associations, properties, objects, tags } = namespace;
  const content = [associations, properties, objects, tags];
  assertWithin("bytes of definitions in one namespace", bytesOf(content), MAX_CONTENT_BYTES);
  const what = "bytes of resource types in one namespace";
  assertWithin(what, bytesOf(associations), MAX_ASSOCIATION_BYTES);
  assertWithin("objects in one namespace", objects.length, MAX_OBJECTS);
}

function bytesOf(value: readonly unknown[]): number {
  return new TextEncoder().encode(JSON.stringify(value)).byteLength;
}

function assertWithin(what: string, attempted: number, maximum: number): void {
  if (attempted > maximum) throw new Fault("quota_exceeded", { attempted, what, maximum });
}

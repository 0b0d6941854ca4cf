import type { JsonObject } from "../../lib/json.ts";
import type { Viewer } from "../visibility.ts";

/*
 * Metadata definitions (contract 14): a namespace describes properties that images, flavors, volumes and so on may
 * have. It is a catalogue for people and their tools; nothing is ever checked against it.
 */

export const NAMESPACE_VISIBILITIES = ["public", "private"] as const;
export type NamespaceVisibility = (typeof NAMESPACE_VISIBILITIES)[number];

/** What lists show of a namespace (contract MN-1, MN-72). */
export interface Namespace {
  readonly id: number;
  /** Goes up with each change; a write names the one it was decided on. */
  readonly revision: number;
  readonly name: string;
  readonly displayName: string | null;
  readonly description: string | null;
  readonly visibility: NamespaceVisibility;
  readonly isProtected: boolean;
  /** A project, or whatever text an administrator set. */
  readonly owner: string | null;
  readonly createdAtMs: number;
  readonly updatedAtMs: number;
  readonly associations: readonly Association[];
}

/** The parts of a namespace, each list the oldest first. */
export interface Contents {
  readonly properties: readonly Property[];
  readonly objects: readonly MetadefObject[];
  readonly tags: readonly Tag[];
}

/** A namespace with everything in it. */
export type WholeNamespace = Namespace & Contents;

/** What is about to become a namespace. */
export type NewNamespace = Omit<WholeNamespace, "id" | "revision">;

/** A resource type that the namespace is for (contract MN-6). */
export interface Association {
  readonly name: string;
  /** Stands before the name of every property where such a resource has it, e.g. `hw_`. */
  readonly prefix?: string;
  readonly propertiesTarget?: string;
  readonly createdAtMs: number;
  readonly updatedAtMs: number;
}

/** The definition of a property, in the words of the wire: much like JSON Schema (contract MN-3, MP-2). */
export interface Property extends JsonObject {
  readonly name: string;
}

/** A group of properties that belong together (contract MN-2). */
export interface MetadefObject {
  readonly name: string;
  readonly description?: string;
  readonly required?: readonly string[];
  /** Definitions by name. */
  readonly properties?: Readonly<Record<string, JsonObject>>;
  readonly createdAtMs: number;
  readonly updatedAtMs: number;
}

export interface Tag {
  readonly name: string;
  readonly createdAtMs: number;
  readonly updatedAtMs: number;
}

/** A kind of resource that namespaces were associated with at some time (contract MN-5). */
export interface ResourceType {
  readonly name: string;
  readonly createdAtMs: number;
  readonly updatedAtMs: number;
}

/** Whether a namespace is there at all for this viewer (contract MN-16, MN-71). */
export function seesNamespace(
  viewer: Viewer,
  { visibility, owner }: Pick<Namespace, "visibility" | "owner">,
): boolean {
  return (
    viewer.seesAll || visibility === "public" || (owner !== null && owner === viewer.projectId)
  );
}

import type { SortDirection } from "../image-list.ts";
import type { Contents, NamespaceVisibility } from "./namespace.ts";

/** What lists of namespaces can be sorted by (contract MN-66); equals are in the order of their names (MN-75). */
export type NamespaceSortKey =
  | "id"
  | "name"
  | "displayName"
  | "description"
  | "visibility"
  | "isProtected"
  | "owner"
  | "createdAtMs"
  | "updatedAtMs";

/** One page of namespaces as it is asked for (contract 14 §4), checked and with all defaults filled in. */
export interface NamespaceListQuery {
  readonly limit: number;
  /** The name of the namespace after which the page starts. */
  readonly marker: string | undefined;
  readonly sortKey: NamespaceSortKey;
  readonly sortDirection: SortDirection;
  readonly visibility: NamespaceVisibility | undefined;
  /** Namespaces that are associated with any of these. */
  readonly resourceTypes: readonly string[] | undefined;
  /** What of each namespace comes along (ours). */
  readonly include: ReadonlySet<keyof Contents>;
}

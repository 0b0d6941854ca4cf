import { and, eq, getTableColumns, or, type SQL, sql } from "drizzle-orm";
import { Fault } from "../domain/fault.ts";
import { type Contents, type Namespace, seesNamespace } from "../domain/metadefs/namespace.ts";
import type { NamespaceListQuery, NamespaceSortKey } from "../domain/metadefs/namespace-list.ts";
import type { Viewer } from "../domain/visibility.ts";
import type { Database } from "./database.ts";
import { isOneOf } from "./image-filters.ts";
import { isBehind, type OrderStep, orderBy } from "./image-order.ts";
import { metadefNamespaces } from "./schema.ts";

/** A namespace of a list, with the parts of it that were asked for. */
export type ListedNamespace = Namespace & Partial<Contents>;

/**
 * One page of the namespaces that a viewer may list, in one round trip (contract MN-64 … MN-75). Throws
 * `metadef_not_found` for a marker that the viewer could not be shown, be it there or not.
 */
export async function listNamespaces(
  db: Database,
  query: NamespaceListQuery,
  viewer: Viewer,
): Promise<readonly ListedNamespace[]> {
  const page = selectNamespacePage(db, query, viewer);
  const { marker } = query;
  if (marker === undefined) return (await page).map(fromRow);
  const [[markerRow], rows] = await db.batch([
    db
      .select({ visibility: metadefNamespaces.visibility, owner: metadefNamespaces.owner })
      .from(metadefNamespaces)
      .where(eq(metadefNamespaces.name, marker)),
    page,
  ]);
  if (markerRow === undefined || !seesNamespace(viewer, markerRow)) {
    throw new Fault("metadef_not_found", { kind: "namespace", name: marker });
  }
  return rows.map(fromRow);
}

/** The statement for one page, by keyset. */
export function selectNamespacePage(db: Database, query: NamespaceListQuery, viewer: Viewer) {
  const steps = orderOf(query, "candidate");
  return (
    db
      .select(columnsWith(query.include))
      .from(sql`(${candidates(query, viewer)}) AS candidate`)
      // CROSS JOIN, because SQLite never turns it round.
      .crossJoin(metadefNamespaces)
      .where(eq(metadefNamespaces.id, sql`candidate.id`))
      .orderBy(...orderBy(steps))
      .limit(query.limit)
  );
}

const COLUMNS = getTableColumns(metadefNamespaces);

/** What of a row is read: parts only when they are wanted, for they are large. */
function columnsWith(include: NamespaceListQuery["include"]) {
  const { properties, objects, tags, ...own } = COLUMNS;
  // Under names of their own: a batch gives rows as objects, in which equal names would become one.
  const nothing = (name: string) => sql<null>`NULL`.as(`no_${name}`);
  return {
    ...own,
    properties: include.has("properties") ? properties : nothing("properties"),
    objects: include.has("objects") ? objects : nothing("objects"),
    tags: include.has("tags") ? tags : nothing("tags"),
  };
}

type ListRow = Awaited<ReturnType<typeof selectNamespacePage>>[number];

function fromRow(row: ListRow): ListedNamespace {
  const { protected: isProtected, createdAt, updatedAt, properties, objects, tags, ...own } = row;
  return {
    ...own,
    isProtected,
    createdAtMs: createdAt,
    updatedAtMs: updatedAt,
    ...(properties && { properties }),
    ...(objects && { objects }),
    ...(tags && { tags }),
  };
}

/** Ids and sort values of the page's namespaces, in order. */
function candidates(query: NamespaceListQuery, viewer: Viewer): SQL {
  const scopes = scopesOf(query, viewer);
  if (scopes.length === 0) return cut(query, select(query, sql`metadef_namespaces`, [sql`FALSE`]));
  if (query.resourceTypes !== undefined) {
    // Few namespaces are for one resource type, so these are looked through and sorted.
    const table = sql`(SELECT DISTINCT namespace_id FROM metadef_associations
      WHERE ${isOneOf(sql`resource_type`, query.resourceTypes)}) AS associated
      CROSS JOIN metadef_namespaces ON metadef_namespaces.id = associated.namespace_id`;
    const isInScope = or(...scopes.map((scope) => and(...conditionsOf(scope)))) ?? sql`TRUE`;
    return cut(query, select(query, table, [isInScope]));
  }
  const arms = scopes.map((scope) => select(query, sql`metadef_namespaces`, conditionsOf(scope)));
  return cut(query, sql.join(arms, sql` UNION ALL `));
}

function select(query: NamespaceListQuery, table: SQL, conditions: readonly SQL[]): SQL {
  const steps = orderOf(query, "metadef_namespaces");
  const columns = columnsOf(query.sortKey).map(
    (name) => sql`${columnOf("metadef_namespaces", name)} AS ${sql.identifier(name)}`,
  );
  const start = query.marker === undefined ? [] : [isBehind(steps)];
  const all = [...conditions, ...start];
  const where = all.length === 0 ? sql`` : sql` WHERE ${sql.join(all, sql` AND `)}`;
  return sql`SELECT ${sql.join(columns, sql`, `)} FROM ${table}${where}`;
}

/** As many as the page holds, in order. The names of columns do for a merge of several. */
function cut(query: NamespaceListQuery, rows: SQL): SQL {
  const terms = orderedBy(query.sortKey).map((name) =>
    query.sortDirection === "asc"
      ? sql`${sql.identifier(name)} ASC`
      : sql`${sql.identifier(name)} DESC`,
  );
  return sql`${rows} ORDER BY ${sql.join(terms, sql`, `)} LIMIT ${query.limit}`;
}

/** A set of namespaces that an index holds together. */
type Scope = { readonly visibility?: "public" | "private"; readonly owner?: string };

/** What together is all that a viewer sees, each namespace in one of them. */
function scopesOf({ visibility }: NamespaceListQuery, { seesAll, projectId }: Viewer): Scope[] {
  if (seesAll) return visibility === undefined ? [{}] : [{ visibility }];
  const open: Scope[] = visibility === "private" ? [] : [{ visibility: "public" }];
  if (projectId === null || visibility === "public") return open;
  return [...open, { visibility: "private", owner: projectId }];
}

function conditionsOf({ visibility, owner }: Scope): SQL[] {
  return [
    ...(owner === undefined ? [] : [sql`metadef_namespaces.owner = ${owner}`]),
    ...(visibility === undefined ? [] : [sql`metadef_namespaces.visibility = ${visibility}`]),
  ];
}

const SORT_COLUMNS = {
  id: COLUMNS.id,
  name: COLUMNS.name,
  displayName: COLUMNS.displayName,
  description: COLUMNS.description,
  visibility: COLUMNS.visibility,
  isProtected: COLUMNS.protected,
  owner: COLUMNS.owner,
  createdAtMs: COLUMNS.createdAt,
  updatedAtMs: COLUMNS.updatedAt,
} as const satisfies Readonly<Record<NamespaceSortKey, unknown>>;

/** The columns that an order compares: its own, and then the name, which is like no other. */
function orderedBy(key: NamespaceSortKey): string[] {
  return key === "name" ? ["name"] : [SORT_COLUMNS[key].name, "name"];
}

function columnsOf(key: NamespaceSortKey): string[] {
  return [...new Set([...orderedBy(key), "id"])];
}

function orderOf(
  { sortKey, sortDirection, marker }: NamespaceListQuery,
  table: string,
): OrderStep[] {
  return orderedBy(sortKey).map((name) => ({
    value: table === "candidate" ? sql`candidate.${sql.identifier(name)}` : columnOf(table, name),
    direction: sortDirection,
    mark:
      name === "name"
        ? sql`${marker}`
        : sql`+(SELECT ${columnOf("marker", name)} FROM metadef_namespaces AS marker WHERE marker.name = ${marker})`,
  }));
}

function columnOf(table: string, name: string): SQL {
  const column = sql`${sql.identifier(table)}.${sql.identifier(name)}`;
  const isNullable = Object.values(SORT_COLUMNS).some((one) => one.name === name && !one.notNull);
  // Nothing compares with null. -1 is below every text.
  return isNullable ? sql`coalesce(${column}, -1)` : column;
}

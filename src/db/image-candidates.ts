import { type SQL, type SQLWrapper, sql } from "drizzle-orm";
import type { ImageListQuery, NumberField, SortKey, SortTerm } from "../domain/image-list.ts";
import type { Viewer } from "../domain/visibility.ts";
import { IS_LISTED, isOneOf } from "./image-filters.ts";
import {
  decisive,
  isBehind,
  MARKER_COLUMNS,
  type Marker,
  type OrderStep,
  orderBy,
  orderOf,
  SORT_COLUMNS,
  settled,
} from "./image-order.ts";
import { MAX_ARMS, type Scope, scopesOf } from "./image-scope.ts";

/*
 * Where a list's images come from. Candidates come out of one or a few arms, one for each scope of the list (see
 * image-scope.ts); each arm is one stretch of one index, which holds its images in the list's order, so SQLite merges
 * the arms as it reads them and stops when the page is full. UNION drops an image that two arms find; its two copies
 * meet in the merge.
 *
 * A filter with an index of its own is the pin: arms then are what passes it. Such a stretch stands in the order of
 * time, so for a list in another order SQLite gathers and sorts it.
 */

/** The source of a list's candidates, and what is still to be checked of each. */
export interface Candidates {
  /** One SELECT of distinct images in the list's order, from behind its marker on. */
  readonly select: SQL;
  /** That order, over the columns of `candidate`. */
  readonly order: readonly OrderStep[];
  /** Whether the candidates may include images that the list does not show to this viewer. */
  readonly needCheck: boolean;
}

/** A filter whose index leads to the images. */
type Pin =
  | { readonly by: "column"; readonly key: PinnedKey; readonly values: readonly string[] }
  | { readonly by: "tag"; readonly tag: string }
  | { readonly by: "property"; readonly name: string; readonly value: string };

type PinnedKey = "name" | "status" | "diskFormat" | "containerFormat";

/** The candidates of a list; undefined where there can be none. */
export function findCandidates(query: ImageListQuery, viewer: Viewer): Candidates | undefined {
  for (const field of FEW) {
    const values = query.filters.oneOf.get(field);
    if (values === undefined) continue;
    const arms = new Arms(query, undefined);
    return { ...arms.merge([arms.ofFew(field, values)]), needCheck: true };
  }
  const scopes = scopesOf(query, viewer);
  if (scopes.length === 0) return undefined;
  const pin = tellingPin(query) ?? leadingPin(query) ?? broadPin(query, scopes);
  const arms = new Arms(query, pin);
  const stretches = stretchesOf(scopes, pin).map(([scope, each]) => arms.of(scope, each));
  return { ...arms.merge(stretches), needCheck: false };
}

/** Fields of which a value belongs to one image or to copies of one, so that whose they are is seen to row by row. */
const FEW = ["id", "osHashValue", "checksum"] as const;

/** The filter that promises few images, if there is one. */
function tellingPin({ filters }: ImageListQuery): Pin | undefined {
  const names = filters.oneOf.get("name");
  if (names !== undefined) return { by: "column", key: "name", values: names };
  // The longest value: `instance_uuid` tells more than `image_type=snapshot`.
  const [property] = [...filters.properties].sort(([, a], [, b]) => b.length - a.length);
  if (property !== undefined) return { by: "property", name: property[0], value: property[1] };
  const [tag] = filters.tags;
  return tag === undefined ? undefined : { by: "tag", tag };
}

/** A filter that leaves one value of what the list is sorted by first. */
function leadingPin({ filters, sort }: ImageListQuery): Pin | undefined {
  const key = BROAD_KEYS.find((each) => each === sort[0]?.key);
  const values = key === undefined ? undefined : filters.oneOf.get(key);
  return key !== undefined && values?.length === 1 ? { by: "column", key, values } : undefined;
}

const BROAD_KEYS = ["diskFormat", "status", "containerFormat"] as const;

/**
 * A filter by something that many images have in common, for a list by time, if there is room for an arm of each of its
 * values. A list in another order is walked, for many pass.
 */
function broadPin({ filters, sort }: ImageListQuery, scopes: readonly Scope[]): Pin | undefined {
  if (sort[0]?.key !== "createdAtMs") return undefined;
  for (const key of BROAD_KEYS) {
    const values = filters.oneOf.get(key) ?? [];
    const pin: Pin = { by: "column", key, values };
    if (values.length > 0 && stretchesByValue(scopes, pin).length <= MAX_ARMS) return pin;
  }
  return undefined;
}

type Stretch = readonly [Scope, Pin | undefined];

/** The scopes, each under the pin: once for each of its values if there is room for that, for only these are in order. */
function stretchesOf(scopes: readonly Scope[], pin: Pin | undefined): readonly Stretch[] {
  const byValue = stretchesByValue(scopes, pin);
  return byValue.length <= MAX_ARMS ? byValue : scopes.map((scope) => [scope, pin]);
}

function stretchesByValue(scopes: readonly Scope[], pin: Pin | undefined): readonly Stretch[] {
  return scopes.flatMap((scope): Stretch[] => {
    if (pin?.by !== "column" || scope.of === "member") return [[scope, pin]];
    return pin.values.map((value) => [scope, { ...pin, values: [value] }]);
  });
}

/** Builds arms that hold images in the list's order, from its marker on. */
class Arms {
  readonly #query: ImageListQuery;
  /** The first step of the order, if it is one for which all images have the same value. */
  readonly #settled: { readonly term: SortTerm; readonly value: string } | undefined;
  readonly #order: readonly SortTerm[];

  constructor(query: ImageListQuery, pin: Pin | undefined) {
    this.#query = query;
    const [first, ...rest] = decisive(query.sort);
    const [value, ...more] = pin?.by === "column" && pin.key === first?.key ? pin.values : [];
    const isSettled = first !== undefined && value !== undefined && more.length === 0;
    this.#settled = isSettled ? { term: first, value } : undefined;
    this.#order = isSettled || first === undefined ? rest : [first, ...rest];
  }

  get #leading(): SortKey {
    return this.#order[0]?.key ?? "id";
  }

  /**
   * The marker's row is looked up wherever it is compared with; in a long order, where a hundred parameters would not do
   * for that, once.
   */
  get #isMarkerShared(): boolean {
    return this.#order.length > 3;
  }

  get #marker(): Marker | undefined {
    const id = this.#query.marker;
    if (id === undefined) return undefined;
    const source = sql`images AS marker WHERE marker.id = ${id}`;
    return { id, source: this.#isMarkerShared ? sql`marker` : source };
  }

  merge(arms: readonly SQL[]): { select: SQL; order: readonly OrderStep[] } {
    const { marker } = this.#query;
    const orderIn = (table: SQL) =>
      orderOf(this.#order, (key) => sql`${table}${sql.identifier(SORT_COLUMNS[key])}`, undefined);
    // Without a limit SQLite would drop the order of a subquery, and with it the merge.
    const merged = sql`${sql.join([...arms], sql` UNION `)}
      ORDER BY ${sql.join(orderBy(orderIn(sql``)), sql`, `)} LIMIT -1`;
    const shared = sql`WITH marker AS MATERIALIZED (
      SELECT ${MARKER_COLUMNS} FROM images WHERE id = ${marker}) ${merged}`;
    const select = marker !== undefined && this.#isMarkerShared ? shared : merged;
    return { select, order: orderIn(sql`candidate.`) };
  }

  /** Images with one of these values, whosever they are. */
  ofFew(field: (typeof FEW)[number], values: readonly string[]): SQL {
    const column = sql.raw(FEW_COLUMNS[field]);
    const conditions = [isOneOf(column, values), this.#isHidden, IS_LISTED];
    return this.#select(sql`images`, conditions, (key) => SORT_COLUMNS[key]);
  }

  of(scope: Scope, pin: Pin | undefined): SQL {
    if (scope.of === "member") return this.#ofMember(scope, pin);
    if (pin?.by === "tag") return this.#ofFilter("image_tags", scope, sql`tag = ${pin.tag}`);
    if (pin?.by === "property") {
      const condition = sql`image_properties.name = ${pin.name} AND value = ${pin.value}`;
      return this.#ofFilter("image_properties", scope, condition);
    }
    const conditions = [...conditionsOf("images", scope), this.#isHidden, IS_LISTED];
    if (pin !== undefined) {
      conditions.push(isOneOf(sql.raw(SORT_COLUMNS[pin.key]), pin.values));
    }
    // The index is named, so that SQLite reads by it or refuses, and never quietly takes a slower way.
    const index = sql.identifier(indexOf(scope, pin?.key ?? this.#leading));
    return this.#select(sql`images INDEXED BY ${index}`, conditions, (key) => SORT_COLUMNS[key]);
  }

  /** A stretch of a table that repeats of an image what its indexes need. */
  #ofFilter(table: FilterTable, scope: PlainScope, condition: SQL): SQL {
    const isHidden = sql`${sql.identifier(table)}.hidden = ${Number(this.#query.isHidden)}`;
    const conditions = [condition, ...conditionsOf(table, scope), isHidden];
    return this.#joined(table, sql.identifier(table), conditions, FILTER_COLUMNS);
  }

  /** What is shared with a project can be read by name and by time; else it is walked, and looked through for the pin. */
  #ofMember({ projectId, statuses }: MemberScope, pin: Pin | undefined): SQL {
    const isByName = pin?.by === "column" ? pin.key === "name" : this.#leading === "name";
    const index = sql.identifier(isByName ? "image_members_by_name" : "image_members_by_member");
    const conditions = [
      sql`member_id = ${projectId} AND image_hidden = ${Number(this.#query.isHidden)}
        AND ${isOneOf(sql`image_members.status`, statuses)} AND image_members.deleted_at IS NULL`,
      ...membersPin(pin),
    ];
    const table = "image_members";
    const named = sql`${sql.identifier(table)} INDEXED BY ${index}`;
    return this.#joined(table, named, conditions, MEMBER_COLUMNS);
  }

  /** A stretch of a table that has some of an image's columns; the image comes with it if the order needs more. */
  #joined(
    name: FilterTable | "image_members",
    table: SQLWrapper,
    conditions: readonly SQL[],
    columns: ReadonlyMap<SortKey, string>,
  ): SQL {
    const isEnough = this.#order.every(({ key }) => columns.has(key));
    const image = sql`CROSS JOIN images ON images.id = ${sql.raw(name)}.image_id`;
    return this.#select(isEnough ? sql`${table}` : sql`${table} ${image}`, conditions, (key) => {
      const column = columns.get(key);
      return column === undefined ? `images.${SORT_COLUMNS[key]}` : `${name}.${column}`;
    });
  }

  get #isHidden(): SQL {
    return sql`hidden = ${Number(this.#query.isHidden)}`;
  }

  #select(table: SQL, conditions: readonly SQL[], nameOf: (key: SortKey) => string): SQL {
    const columnOf = (key: SortKey) => sql.raw(nameOf(key));
    const columns = this.#order.map(
      ({ key }) => sql`${columnOf(key)} AS ${sql.identifier(SORT_COLUMNS[key])}`,
    );
    const bounded = [
      ...conditions,
      ...this.#bounds(columnOf(this.#leading)),
      ...this.#start(columnOf),
    ];
    return sql`SELECT ${sql.join(columns, sql`, `)} FROM ${table}
      WHERE ${sql.join(bounded, sql` AND `)}`;
  }

  /** The end of the stretch at which the page starts. */
  #start(columnOf: (key: SortKey) => SQL): SQL[] {
    const marker = this.#marker;
    if (marker === undefined) return [];
    const steps = orderOf(this.#order, columnOf, marker);
    if (this.#settled === undefined) return [isBehind(steps)];
    return [isBehind(settled(this.#settled.term, this.#settled.value, steps, marker))];
  }

  /** The ends that the ranges asked for leave of the stretch. */
  #bounds(column: SQL): SQL[] {
    const field = RANGED.get(this.#leading);
    const ranges = this.#query.filters.ranges.filter(
      (range) => range.field === field && !range.isOutside,
    );
    // SQLite seeks to one lower and one upper bound. The marker is the closer one at the end where the page
    // starts, so there the plus sign takes the other out of the choice.
    const startsAt = this.#query.marker === undefined ? undefined : this.#order[0]?.direction;
    const lower = startsAt === "asc" ? sql`+${column}` : column;
    const upper = startsAt === "desc" ? sql`+${column}` : column;
    return ranges.flatMap(({ min, max }) => [
      ...(min > Number.MIN_SAFE_INTEGER ? [sql`${lower} >= ${min}`] : []),
      ...(max < Number.MAX_SAFE_INTEGER ? [sql`${upper} <= ${max}`] : []),
    ]);
  }
}

type MemberScope = Extract<Scope, { of: "member" }>;
type PlainScope = Exclude<Scope, MemberScope>;

/** The tables that lead from a tag or a property to images. */
type FilterTable = "image_tags" | "image_properties";

/** Orders whose first key may have bounds. */
const RANGED: ReadonlyMap<SortKey, NumberField> = new Map([
  ["createdAtMs", "createdAtMs"],
  ["updatedAtMs", "updatedAtMs"],
  ["size", "size"],
]);

const MEMBER_COLUMNS: ReadonlyMap<SortKey, string> = new Map([
  ["name", "image_name"],
  ["createdAtMs", "image_created_at"],
  ["id", "image_id"],
]);

const FILTER_COLUMNS: ReadonlyMap<SortKey, string> = new Map([
  ["createdAtMs", "created_at"],
  ["id", "image_id"],
]);

const FEW_COLUMNS = { id: "id", osHashValue: "os_hash_value", checksum: "checksum" } as const;

/** What a scope says of a row, in words that the partial indexes have too. */
function conditionsOf(table: string, scope: PlainScope): SQL[] {
  const visibility = sql.raw(`${table}.visibility`);
  const butCommunity = sql`${visibility} <> 'community'`;
  if (scope.of === "everybody") return [butCommunity];
  const { only } = scope;
  const owner = scope.of === "owner" ? [sql`${sql.raw(`${table}.owner`)} = ${scope.owner}`] : [];
  if (only === undefined) return owner;
  if (only === "but community") return [...owner, butCommunity];
  const isOnly = sql`${visibility} = ${only}`;
  if (scope.of === "owner") return [...owner, isOnly];
  const isOpen = only === "public" || only === "community";
  return [isOnly, isOpen ? sql`${visibility} IN ('public', 'community')` : butCommunity];
}

/** The index of `images` that holds a scope by a key, and behind it by time. */
function indexOf(scope: PlainScope, key: SortKey): string {
  const column = key === "createdAtMs" ? "" : SORT_COLUMNS[key].replace(/^sort_/, "");
  if (scope.of === "owner") {
    if (column !== "") return `images_by_owner_${column}`;
    const isOne = scope.only !== undefined && scope.only !== "but community";
    return isOne ? "images_by_owner_visibility" : "images_by_owner";
  }
  if (scope.of === "everybody")
    return column === "" ? BUT_COMMUNITY : `${BUT_COMMUNITY}_by_${column}`;
  if (column === "") return "images_by_visibility";
  const isOpen = scope.only === "public" || scope.only === "community";
  return isOpen ? `images_open_by_${column}` : `${BUT_COMMUNITY}_by_${column}`;
}

const BUT_COMMUNITY = "images_but_community";

/** What an image that is shared must have to pass the pin. */
function membersPin(pin: Pin | undefined): SQL[] {
  switch (pin?.by) {
    case "column":
      // Others are checked as every filter is.
      return pin.key === "name" ? [isOneOf(sql`image_name`, pin.values)] : [];
    case "tag":
      return [memberHas("image_tags", sql`pinned.tag = ${pin.tag}`)];
    case "property":
      return [
        memberHas(
          "image_properties",
          sql`pinned.name = ${pin.name} AND pinned.value = ${pin.value}`,
        ),
      ];
    case undefined:
      return [];
  }
}

function memberHas(table: FilterTable, condition: SQL): SQL {
  return sql`EXISTS (
    SELECT 1 FROM ${sql.identifier(table)} AS pinned
    WHERE ${condition} AND pinned.hidden = image_members.image_hidden
      AND pinned.created_at = image_members.image_created_at
      AND pinned.image_id = image_members.image_id)`;
}

import { type SQL, sql } from "drizzle-orm";
import type { ImageListQuery, NumberField, SortKey, SortTerm } from "../domain/image-list.ts";
import type { Viewer } from "../domain/visibility.ts";
import { IS_LISTED, isOneOf } from "./image-filters.ts";
import {
  asIndexOrder,
  isBehind,
  NEWEST_FIRST,
  orderBy,
  orderOf,
  SORT_COLUMNS,
} from "./image-order.ts";
import { MAX_ARMS, type Scope, scopesOf } from "./image-scope.ts";

/*
 * Where a list's images come from. Candidates come out of one or a few arms, one for each scope of the list (see
 * image-scope.ts); each arm is one stretch of one index, which holds its images in the list's order, so SQLite merges
 * the arms as it reads them and stops when the page is full. UNION drops an image that two arms find; its two copies
 * meet in the merge.
 *
 * A filter with an index of its own is the pin: arms then are what passes it. In which order those stand is settled
 * by time, so a list in another order gathers all that passes and sorts it. So does an order that no index has.
 */

/** The source of a list's candidates, and what is still to be checked of each. */
export interface Candidates {
  /** One SELECT of distinct images: their ids, and the columns of the order they come in. */
  readonly select: SQL;
  /** Whether they come in the list's order, behind its marker. */
  readonly order: readonly SortTerm[] | undefined;
  /** Whether the candidates may include images that the list does not show to this viewer. */
  readonly needCheck: boolean;
}

/** A filter whose index leads to the images. */
type Pin =
  | { readonly by: "column"; readonly key: SortKey; readonly values: readonly string[] }
  | { readonly by: "tag"; readonly tag: string }
  | { readonly by: "property"; readonly name: string; readonly value: string };

/** The candidates of a list; undefined where there can be none. */
export function findCandidates(query: ImageListQuery, viewer: Viewer): Candidates | undefined {
  const ids = query.filters.oneOf.get("id");
  if (ids !== undefined) return { ...byIds(query, ids), needCheck: true };
  const scopes = scopesOf(query, viewer);
  if (scopes.length === 0) return undefined;
  const pin = tellingPin(query);
  const order = asIndexOrder(query.sort);
  const isByTime = order?.[0]?.key === "createdAtMs";
  if (order !== undefined && (isByTime || pin === undefined)) {
    const arms = new Arms(query, order, query.marker);
    const pinned = pin ?? (isByTime ? broadPin(query, scopes) : undefined);
    return { select: arms.merge(scopes, pinned), order, needCheck: false };
  }
  const arms = new Arms(query, NEWEST_FIRST, undefined);
  const select = arms.merge(scopes, pin ?? broadPin(query, scopes));
  return { select, order: undefined, needCheck: false };
}

function byIds({ isHidden }: ImageListQuery, ids: readonly string[]) {
  const select = sql`SELECT id FROM images
    WHERE ${isOneOf(sql`id`, ids)} AND hidden = ${Number(isHidden)} AND ${IS_LISTED}`;
  return { select, order: undefined };
}

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

const BROAD_KEYS = ["diskFormat", "status", "containerFormat"] as const;

/** A filter by something that many images have in common, if there is room for an arm of each of its values. */
function broadPin({ filters }: ImageListQuery, scopes: readonly Scope[]): Pin | undefined {
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

/** Builds arms that hold images in an order, from a marker on, and within the query's bounds on the order's first key. */
class Arms {
  readonly #query: ImageListQuery;
  readonly #order: readonly SortTerm[];
  readonly #marker: string | undefined;
  readonly #leading: SortKey;

  constructor(query: ImageListQuery, order: readonly SortTerm[], marker: string | undefined) {
    this.#query = query;
    this.#order = order;
    this.#marker = marker;
    this.#leading = order[0]?.key ?? "id";
  }

  merge(scopes: readonly Scope[], pin: Pin | undefined): SQL {
    const arms = stretchesOf(scopes, pin).map(([scope, each]) => this.#arm(scope, each));
    const steps = orderOf(this.#order, (key) => sql.identifier(SORT_COLUMNS[key]).getSQL());
    // Without a limit SQLite would drop the order of a subquery, and with it the merge.
    return sql`${sql.join(arms, sql` UNION `)}
      ORDER BY ${sql.join(orderBy(steps), sql`, `)} LIMIT -1`;
  }

  #arm(scope: Scope, pin: Pin | undefined): SQL {
    if (scope.of === "member") return this.#ofMember(scope, pin);
    if (pin?.by === "tag") {
      return this.#ofFilter("image_tags", scope, sql`tag = ${pin.tag}`);
    }
    if (pin?.by === "property") {
      const condition = sql`name = ${pin.name} AND value = ${pin.value}`;
      return this.#ofFilter("image_properties", scope, condition);
    }
    return this.#ofImages(scope, pin);
  }

  #ofImages(scope: PlainScope, pin: Pin | undefined): SQL {
    const key = pin?.by === "column" ? pin.key : this.#leading;
    const conditions = [
      ...conditionsOf(scope),
      sql`hidden = ${Number(this.#query.isHidden)}`,
      IS_LISTED,
      ...(pin?.by === "column" ? [isOneOf(sql.raw(SORT_COLUMNS[pin.key]), pin.values)] : []),
    ];
    // The index is named, so that SQLite reads by it or refuses, and never quietly takes a slower way.
    const index = sql.identifier(indexOf(scope, key));
    return this.#select(sql`images INDEXED BY ${index}`, conditions, (key) => SORT_COLUMNS[key]);
  }

  /** One arm of a table that repeats of an image what its indexes need. */
  #ofFilter(table: FilterTable, scope: PlainScope, condition: SQL): SQL {
    const conditions = [
      condition,
      ...conditionsOf(scope),
      sql`hidden = ${Number(this.#query.isHidden)}`,
    ];
    return this.#select(sql.identifier(table).getSQL(), conditions, imageIdIn(table));
  }

  /** What is shared with a project can be read by name and by time; else it is walked, and looked through for the pin. */
  #ofMember({ projectId, statuses }: MemberScope, pin: Pin | undefined): SQL {
    const isByName = pin?.by === "column" ? pin.key === "name" : this.#leading === "name";
    const index = sql.identifier(isByName ? "image_members_by_name" : "image_members_by_member");
    const table = sql`image_members INDEXED BY ${index}`;
    const conditions = [
      sql`member_id = ${projectId} AND image_hidden = ${Number(this.#query.isHidden)}
        AND ${isOneOf(sql`image_members.status`, statuses)} AND image_members.deleted_at IS NULL`,
      ...membersPin(pin),
    ];
    const isHeld = this.#order.every(({ key }) => MEMBER_COLUMNS.has(key));
    return this.#select(
      isHeld ? table : sql`${table} CROSS JOIN images ON images.id = image_members.image_id`,
      conditions,
      (key) => MEMBER_COLUMNS.get(key) ?? `images.${SORT_COLUMNS[key]}`,
    );
  }

  #select(table: SQL, conditions: readonly SQL[], nameOf: (key: SortKey) => string): SQL {
    const columnOf = (key: SortKey) => sql.raw(nameOf(key));
    const steps = orderOf(this.#order, columnOf);
    const columns = this.#order.map(
      ({ key }) => sql`${columnOf(key)} AS ${sql.identifier(SORT_COLUMNS[key])}`,
    );
    const bounded = [
      ...conditions,
      ...this.#bounds(columnOf(this.#leading)),
      ...(this.#marker === undefined ? [] : [isBehind(steps, this.#marker)]),
    ];
    return sql`SELECT ${sql.join(columns, sql`, `)} FROM ${table}
      WHERE ${sql.join(bounded, sql` AND `)}`;
  }

  /** The ends of the stretch of the order that the ranges asked for leave. */
  #bounds(column: SQL): SQL[] {
    const field = RANGED.get(this.#leading);
    const ranges = this.#query.filters.ranges.filter(
      (range) => range.field === field && !range.isOutside,
    );
    // SQLite seeks to one lower and one upper bound. The marker is the closer one at the end where the page
    // starts, so there the plus sign takes the other out of the choice.
    const startsAt = this.#marker === undefined ? undefined : this.#order[0]?.direction;
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

const imageIdIn = (table: string) => (key: SortKey) =>
  key === "id" ? `${table}.image_id` : SORT_COLUMNS[key];

/** What a scope says of a row, in words that the partial indexes have too. */
function conditionsOf(scope: PlainScope): SQL[] {
  const butCommunity = sql`visibility <> 'community'`;
  if (scope.of === "everybody") return [butCommunity];
  const { only } = scope;
  const owner = scope.of === "owner" ? [sql`owner = ${scope.owner}`] : [];
  if (only === undefined) return owner;
  if (only === "but community") return [...owner, butCommunity];
  const isOnly = sql`visibility = ${only}`;
  if (scope.of === "owner") return [...owner, isOnly];
  const isOpen = only === "public" || only === "community";
  return [isOnly, isOpen ? sql`visibility IN ('public', 'community')` : butCommunity];
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

/** What an image that is shared must have to pass the pin; what else the pin may be is checked as every filter is. */
function membersPin(pin: Pin | undefined): SQL[] {
  switch (pin?.by) {
    case "column":
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

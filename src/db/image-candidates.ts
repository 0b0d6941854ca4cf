import { type SQL, sql } from "drizzle-orm";
import type { Visibility } from "../domain/image.ts";
import type { ImageFilters, ImageListQuery, RangeFilter } from "../domain/image-list.ts";
import type { Viewer } from "../domain/visibility.ts";
import { IS_LISTED, isOneOf } from "./image-filters.ts";
import { asTimeOrder, isBehind, orderBy, orderOfTime, type TimeOrder } from "./image-order.ts";

/*
 * Where a list's images come from. Candidates are (created_at, id) pairs out of one or a few arms; each arm is
 * one stretch of one index, which holds its images in time order, so SQLite merges the arms as it reads them and
 * stops when the page is full. UNION drops an image that two arms find; its two copies meet in the merge.
 *
 * A walk's arms hold just the images the viewer may list. A look-up has the index of one selective filter
 * instead, and what the viewer may list is then checked row by row.
 */

/** D1 merges five SELECTs at the most. */
const MAX_ARMS = 5;
const NEWEST_FIRST: TimeOrder = { createdAt: "desc", id: "desc" };

/** The source of a list's candidates, and what is still to be checked of each. */
export interface Candidates {
  /** One SELECT of distinct (created_at, id), in the list's order if that is a time order. */
  readonly select: SQL;
  /** Whether the candidates may include images that the list does not show to this viewer. */
  readonly needCheck: boolean;
  /** The filters that the candidates do not all pass anyway. */
  readonly filters: ImageFilters;
}

/** The candidates of a list; undefined where there can be none. */
export function findCandidates(query: ImageListQuery, viewer: Viewer): Candidates | undefined {
  const arms = new Arms(query);
  const found = lookUp(arms, query.filters, viewer);
  if (found !== undefined) {
    return { select: arms.merge(found.arms), needCheck: true, filters: found.rest };
  }
  const stretches = walk(arms, query, viewer);
  if (stretches.length === 0) return undefined;
  return { select: arms.merge(stretches), needCheck: false, filters: query.filters };
}

interface LookUp {
  readonly arms: readonly SQL[];
  readonly rest: ImageFilters;
}

/** The arm of the filter that promises the fewest images, if there is a filter with an index. */
function lookUp(arms: Arms, filters: ImageFilters, viewer: Viewer): LookUp | undefined {
  const { oneOf, properties, tags } = filters;
  const ids = oneOf.get("id");
  if (ids !== undefined) {
    return { arms: [arms.ofImages(sql`images`, isOneOf(sql`id`, ids))], rest: filters };
  }
  const names = oneOf.get("name");
  if (names !== undefined) {
    const arm = arms.ofImages(by("images_by_name"), isOneOf(sql`name`, names));
    return { arms: [arm], rest: filters };
  }
  const property = mostTelling(properties);
  if (property !== undefined) {
    const rest = new Map([...properties].filter(([name]) => name !== property[0]));
    return { arms: [arms.ofProperty(...property)], rest: { ...filters, properties: rest } };
  }
  const [tag, ...moreTags] = tags;
  if (tag !== undefined) return { arms: [arms.ofTag(tag)], rest: { ...filters, tags: moreTags } };
  const [owner] = oneOf.get("owner") ?? [];
  if (owner !== undefined) return { arms: [arms.ofOwner(owner)], rest: filters };
  // Everybody's images are of a few statuses, so that index is good only for who sees everybody's.
  const statuses = oneOf.get("status") ?? [];
  if (!viewer.seesAll || statuses.length === 0 || statuses.length > MAX_ARMS) return undefined;
  const ofStatus = (status: string) =>
    arms.ofImages(by("images_by_status"), sql`status = ${status}`);
  return { arms: statuses.map(ofStatus), rest: filters };
}

/** The property with the longest value: `instance_uuid` tells more than `image_type=snapshot`. */
function mostTelling(properties: ReadonlyMap<string, string>): [string, string] | undefined {
  return [...properties].sort(([, a], [, b]) => b.length - a.length)[0];
}

/** The arms that together are what the viewer may list (contract LST-1 … LST-12). */
function walk(arms: Arms, query: ImageListQuery, viewer: Viewer): SQL[] {
  return viewer.seesAll ? walkAll(arms, query, viewer) : walkProject(arms, query, viewer);
}

function walkAll(arms: Arms, { visibility }: ImageListQuery, { projectId }: Viewer): SQL[] {
  if (visibility === "all") return [arms.ofAllButCommunity(), arms.ofVisibility("community")];
  if (visibility !== undefined) return [arms.ofVisibility(visibility)];
  // Own community images belong to the list; the rest of the own images is found twice.
  const own = projectId === null ? [] : [arms.ofOwner(projectId)];
  return [arms.ofAllButCommunity(), ...own];
}

function walkProject(arms: Arms, query: ImageListQuery, { projectId }: Viewer): SQL[] {
  const { visibility } = query;
  if (visibility === "public" || visibility === "community") {
    return [arms.ofVisibility(visibility)];
  }
  const own = projectId === null ? [] : [arms.ofOwner(projectId, visibility)];
  if (visibility === "private") return own;
  const open = visibility === "shared" ? [] : [arms.ofVisibility("public")];
  if (visibility === "all") open.push(arms.ofVisibility("community"));
  const others = [...own, ...open];
  if (projectId === null) return others;
  return [...others, ...arms.sharedWith(projectId, MAX_ARMS - others.length)];
}

/** Builds arms that hold the query's stretch of time: behind its marker, within its bounds. */
class Arms {
  private readonly time: TimeOrder | undefined;

  constructor(private readonly query: ImageListQuery) {
    this.time = asTimeOrder(query.sort);
  }

  ofImages(table: SQL, condition: SQL): SQL {
    return this.arm(
      table,
      sql`created_at`,
      sql`id`,
      sql`${condition} AND hidden = ${Number(this.query.isHidden)} AND ${IS_LISTED}`,
    );
  }

  ofVisibility(visibility: Visibility): SQL {
    return this.ofImages(by("images_by_visibility"), sql`visibility = ${visibility}`);
  }

  ofAllButCommunity(): SQL {
    return this.ofImages(by("images_but_community"), sql`visibility <> 'community'`);
  }

  ofOwner(owner: string, visibility?: Visibility | "all"): SQL {
    const isOwned = sql`owner = ${owner}`;
    return this.ofImages(
      by("images_by_owner"),
      visibility === undefined || visibility === "all"
        ? isOwned
        : sql`${isOwned} AND visibility = ${visibility}`,
    );
  }

  ofTag(tag: string): SQL {
    return this.arm(sql`image_tags`, sql`created_at`, sql`image_id`, sql`tag = ${tag}`);
  }

  ofProperty(name: string, value: string): SQL {
    return this.arm(
      sql`image_properties`,
      sql`created_at`,
      sql`image_id`,
      sql`name = ${name} AND value = ${value}`,
    );
  }

  /** One arm for each member status, or one sorted arm for all where there is no room for more. */
  sharedWith(projectId: string, room: number): SQL[] {
    const { memberStatuses, isHidden } = this.query;
    const groups =
      memberStatuses.length > room ? [memberStatuses] : memberStatuses.map((status) => [status]);
    return groups.map((statuses) =>
      this.arm(
        sql`image_members INDEXED BY image_members_by_member`,
        sql`image_created_at`,
        sql`image_id`,
        sql`member_id = ${projectId} AND image_hidden = ${Number(isHidden)}
          AND ${isOneOf(sql`status`, statuses)} AND deleted_at IS NULL`,
      ),
    );
  }

  merge(arms: readonly SQL[]): SQL {
    const steps = orderOfTime(this.time ?? NEWEST_FIRST, sql`created_at`, sql`id`);
    // Without a limit SQLite would drop the order of a subquery, and with it the merge.
    return sql`${sql.join([...arms], sql` UNION `)}
      ORDER BY ${sql.join(orderBy(steps), sql`, `)} LIMIT -1`;
  }

  private arm(table: SQL, createdAt: SQL, id: SQL, condition: SQL): SQL {
    const { marker, filters } = this.query;
    const conditions = [condition];
    for (const range of filters.ranges) {
      if (range.field === "createdAtMs") conditions.push(...this.bounds(createdAt, range));
    }
    if (this.time !== undefined && marker !== undefined) {
      conditions.push(isBehind(orderOfTime(this.time, createdAt, id), marker));
    }
    return sql`SELECT ${createdAt} AS created_at, ${id} AS id FROM ${table}
      WHERE ${sql.join(conditions, sql` AND `)}`;
  }

  /** The ends of a stretch of time, as far as there are any. */
  private bounds(createdAt: SQL, { min, max, isOutside }: RangeFilter): SQL[] {
    if (isOutside) return [];
    // SQLite seeks to one lower and one upper bound. The marker is the closer one at the end where the page
    // starts, so there the plus sign takes the other out of the choice.
    const startsAt = this.query.marker === undefined ? undefined : this.time?.createdAt;
    const lower = startsAt === "asc" ? sql`+${createdAt}` : createdAt;
    const upper = startsAt === "desc" ? sql`+${createdAt}` : createdAt;
    return [
      ...(min > Number.MIN_SAFE_INTEGER ? [sql`${lower} >= ${min}`] : []),
      ...(max < Number.MAX_SAFE_INTEGER ? [sql`${upper} <= ${max}`] : []),
    ];
  }
}

/** The index is named, so that SQLite reads by it or refuses, and never quietly takes a slower way. */
function by(indexName: string): SQL {
  return sql`images INDEXED BY ${sql.identifier(indexName)}`;
}

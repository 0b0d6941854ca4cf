import { and, eq, or, type SQL, sql } from "drizzle-orm";
import type { MemberStatus } from "../domain/image.ts";
import type {
  ImageFilters,
  ImageListQuery,
  NumberField,
  RangeFilter,
  TextField,
} from "../domain/image-list.ts";
import type { Viewer } from "../domain/visibility.ts";
import { images } from "./schema.ts";

/*
 * Conditions on a row of `images`. Lists of any length travel as one JSON parameter, because D1 takes a
 * hundred parameters a statement at the most.
 */

/**
 * Lists leave out tombstones and killed images (contract FIL-3). SQLite uses the partial indexes only where it
 * finds their condition word for word, so it is text and not parameters.
 */
export const IS_LISTED = sql.raw("status NOT IN ('deleted', 'killed')");
/** The same where other tables have a status, too. */
export const IS_LISTED_IMAGE = sql.raw("images.status NOT IN ('deleted', 'killed')");

const TEXT_COLUMNS = {
  id: images.id,
  name: images.name,
  status: images.status,
  diskFormat: images.diskFormat,
  containerFormat: images.containerFormat,
  owner: images.owner,
  checksum: images.checksum,
  osHashAlgo: images.osHashAlgo,
  osHashValue: images.osHashValue,
} as const satisfies Record<TextField, unknown>;

const NUMBER_COLUMNS = {
  size: images.size,
  virtualSize: images.virtualSize,
  minDisk: images.minDisk,
  minRam: images.minRam,
  createdAtMs: images.createdAt,
  updatedAtMs: images.updatedAt,
} as const satisfies Record<NumberField, unknown>;

/** Whether an image passes all filters. */
export function passes(filters: ImageFilters): SQL | undefined {
  return and(
    ...[...filters.oneOf].map(([field, values]) => isOneOf(sql`${TEXT_COLUMNS[field]}`, values)),
    ...filters.ranges.map((range) => isInRange(sql`${NUMBER_COLUMNS[range.field]}`, range)),
    filters.isProtected === undefined ? undefined : eq(images.protected, filters.isProtected),
    filters.tags.length === 0 ? undefined : hasTags(filters.tags),
    filters.properties.size === 0 ? undefined : hasProperties(filters.properties),
  );
}

/** Whether a column has one of the values. */
export function isOneOf(column: SQL, values: readonly string[]): SQL {
  if (values.length === 1) return sql`${column} = ${values[0]}`;
  return sql`${column} IN (SELECT value FROM json_each(${JSON.stringify(values)}))`;
}

/** Whether a column's number is in the range. */
function isInRange(column: SQL, { min, max, isOutside }: RangeFilter): SQL {
  return isOutside
    ? sql`${column} NOT BETWEEN ${min} AND ${max}`
    : sql`${column} BETWEEN ${min} AND ${max}`;
}

function hasTags(tags: readonly string[]): SQL {
  return sql`NOT EXISTS (
    SELECT 1 FROM json_each(${JSON.stringify(tags)}) AS wanted WHERE NOT EXISTS (
      SELECT 1 FROM image_tags AS present
      WHERE present.tag = wanted.value AND present.hidden = ${images.hidden}
        AND present.created_at = ${images.createdAt} AND present.image_id = ${images.id}))`;
}

function hasProperties(properties: ReadonlyMap<string, string>): SQL {
  return sql`NOT EXISTS (
    SELECT 1 FROM json_each(${JSON.stringify([...properties])}) AS wanted WHERE NOT EXISTS (
      SELECT 1 FROM image_properties AS present
      WHERE present.name = wanted.value ->> 0 AND present.value = wanted.value ->> 1
        AND present.hidden = ${images.hidden}
        AND present.created_at = ${images.createdAt} AND present.image_id = ${images.id}))`;
}

/** Whether the list shows an image to this viewer (contract LST-1 … LST-10, LST-12). */
export function isShownTo(viewer: Viewer, query: ImageListQuery): SQL | undefined {
  return and(
    IS_LISTED_IMAGE,
    eq(images.hidden, query.isHidden),
    viewer.seesAll ? isShownToAdmin(viewer, query) : isShownToProject(viewer, query),
  );
}

function isShownToAdmin({ projectId }: Viewer, { visibility }: ImageListQuery): SQL | undefined {
  if (visibility === "all") return undefined;
  if (visibility !== undefined) return eq(images.visibility, visibility);
  return or(
    sql`${images.visibility} <> 'community'`,
    projectId === null ? undefined : eq(images.owner, projectId),
  );
}

function isShownToProject({ projectId }: Viewer, query: ImageListQuery): SQL | undefined {
  const { visibility, memberStatuses } = query;
  const isOwn = projectId === null ? sql`FALSE` : eq(images.owner, projectId);
  const isShared = projectId === null ? sql`FALSE` : isSharedWith(projectId, memberStatuses);
  const isPublic = eq(images.visibility, "public");
  const isCommunity = eq(images.visibility, "community");
  switch (visibility) {
    case undefined:
      return or(isOwn, isPublic, isShared);
    case "all":
      return or(isOwn, isPublic, isCommunity, isShared);
    case "public":
      return isPublic;
    case "community":
      return isCommunity;
    case "shared":
      return and(eq(images.visibility, "shared"), or(isOwn, isShared));
    case "private":
      return and(eq(images.visibility, "private"), isOwn);
  }
}

function isSharedWith(projectId: string, statuses: readonly MemberStatus[]): SQL {
  return sql`EXISTS (
    SELECT 1 FROM image_members AS member
    WHERE member.image_id = ${images.id} AND member.member_id = ${projectId}
      AND ${isOneOf(sql`member.status`, statuses)}
      AND member.deleted_at IS NULL AND member.image_hidden = ${images.hidden})`;
}

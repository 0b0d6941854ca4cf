import type { Image } from "../../../src/domain/image.ts";
import type { ImageListQuery, RangeFilter, SortTerm } from "../../../src/domain/image-list.ts";
import type { Viewer } from "../../../src/domain/visibility.ts";
import type { MemberSketch } from "./list-fixtures.ts";

/** The whole list, worked out from contract 02 §2.5 and 06 §6.3 by looking at every image. */
export function listByHand(
  images: readonly Image[],
  members: readonly MemberSketch[],
  query: ImageListQuery,
  viewer: Viewer,
): readonly Image[] {
  if (query.matchesNothing) return [];
  return images
    .filter(({ status }) => status !== "deleted" && status !== "killed")
    .filter(({ isHidden }) => isHidden === query.isHidden)
    .filter((image) => isInSet(image, members, query, viewer))
    .filter((image) => passesByHand(image, query))
    .sort((a, b) => compare(a, b, query.sort));
}

function isInSet(
  image: Image,
  members: readonly MemberSketch[],
  { visibility, memberStatuses }: ImageListQuery,
  { projectId, seesAll }: Viewer,
): boolean {
  const isOwn = image.owner !== null && image.owner === projectId;
  const isSharedWithMe =
    image.owner !== null &&
    image.visibility === "shared" &&
    members.some(
      ({ imageId, memberId, status }) =>
        imageId === image.id && memberId === projectId && memberStatuses.includes(status),
    );
  const isBase = seesAll || isOwn || image.visibility === "public" || isSharedWithMe;
  if (visibility === "all") return isBase || image.visibility === "community";
  if (visibility === undefined) return isBase && (image.visibility !== "community" || isOwn);
  return image.visibility === visibility && (isBase || visibility === "community");
}

function passesByHand(image: Image, { filters }: ImageListQuery): boolean {
  const { oneOf, ranges, isProtected, tags, properties } = filters;
  return (
    [...oneOf].every(([field, values]) => values.some((value) => value === image[field])) &&
    ranges.every((range) => isInRangeByHand(image, range)) &&
    (isProtected === undefined || image.isProtected === isProtected) &&
    tags.every((tag) => image.tags.includes(tag)) &&
    [...properties].every(([name, value]) => image.properties.get(name) === value)
  );
}

function isInRangeByHand(image: Image, { field, min, max, isOutside }: RangeFilter): boolean {
  const value = image[field];
  return value !== null && (value >= min && value <= max) !== isOutside;
}

function compare(a: Image, b: Image, sort: readonly SortTerm[]): number {
  for (const { key, direction } of sort) {
    const order = compareValues(a[key], b[key]);
    if (order !== 0) return direction === "asc" ? order : -order;
  }
  return 0;
}

function compareValues(a: string | number | null, b: string | number | null): number {
  if (a === b) return 0;
  if (a === null) return -1;
  if (b === null) return 1;
  return a < b ? -1 : 1;
}

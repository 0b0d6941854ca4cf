import { and, type Column, eq, getTableColumns, sql } from "drizzle-orm";
import { Fault } from "../domain/fault.ts";
import type { Image, MemberStatus } from "../domain/image.ts";
import type { ImageListQuery } from "../domain/image-list.ts";
import { isVisible, type Viewer } from "../domain/visibility.ts";
import { BoundedMap } from "../lib/bounded-map.ts";
import type { Database } from "./database.ts";
import { findCandidates } from "./image-candidates.ts";
import { IS_LISTED_IMAGE, isOneOf, isShownTo, passes } from "./image-filters.ts";
import { orderBy } from "./image-order.ts";
import { type ImageRow, imageFromRow, selectImage } from "./images.ts";
import { images } from "./schema.ts";

/** About how many bytes of records a page has at the most. */
const PAGE_BYTES = 4 * 1024 ** 2;

/** What a record takes up besides what callers and services note with it. */
const PLAIN_BYTES = 1024;

/** Some images of a list, in order. */
export interface ImagePage {
  readonly images: readonly Image[];
  /** Whether more may follow; of a page that is full nobody looks (contract PAG-4). */
  readonly hasMore: boolean;
}

/**
 * One page of the images a viewer may list. It ends with the limit, or with 4 MiB of records (contract PAG-13), and takes one
 * round trip; a second one where records are larger than an equal share of these. Throws `invalid_marker` for a marker that the viewer could not be shown, be it there or not
 * (contract PAG-8, PAG-9); for an administrator one that was deleted keeps its place.
 */
export async function listImages(
  db: Database,
  query: ImageListQuery,
  viewer: Viewer,
): Promise<ImagePage> {
  const { marker } = query;
  const found =
    marker === undefined
      ? await readFirstPage(db, query, viewer)
      : await readPageBehind(db, selectPage(db, query, viewer), marker, viewer);
  const rows = found.slice(0, countWithin(PAGE_BYTES, found));
  const images = (await completed(db, query, viewer, rows)).map(imageFromRow);
  return { images, hasMore: rows.length < found.length || found.length === query.limit };
}

/** How many rows from the first on have so many bytes together; one at least, or a list would never get past it. */
function countWithin(maxBytes: number, rows: readonly PageRow[]): number {
  let bytes = 0;
  const end = rows.findIndex((row) => {
    bytes += row.bytes + PLAIN_BYTES;
    return bytes > maxBytes;
  });
  return end < 0 ? rows.length : Math.max(end, 1);
}

/** The rows with what was withheld of them; those that the list shows no longer by now are left out. */
async function completed(
  db: Database,
  query: ImageListQuery,
  viewer: Viewer,
  rows: readonly PageRow[],
): Promise<readonly ImageRow[]> {
  const isWithheld = ({ bytes }: PageRow) => bytes > shareOf(query);
  const ids = rows.filter(isWithheld).map(({ id }) => id);
  if (ids.length === 0) return rows;
  const whole = await db
    .select()
    .from(images)
    .where(and(isOneOf(sql`${images.id}`, ids), isShownTo(viewer, query)));
  const wholeById = new Map(whole.map((row) => [row.id, row]));
  return rows.flatMap((row) => (isWithheld(row) ? (wholeById.get(row.id) ?? []) : row));
}

/** Bytes of one record that come with its page, however many there are. */
function shareOf({ limit }: ImageListQuery): number {
  return Math.floor(PAGE_BYTES / limit);
}

/** What may be large of an image. */
const BYTES = sql<number>`(octet_length(${images.properties}) + octet_length(${images.tags})
  + octet_length(${images.locations}))`;

/** The columns of a page: what is large is null where it is more than its share. */
function columnsOf(query: ImageListQuery) {
  const withinShare = <T extends Column>(column: T) =>
    sql`iif(${BYTES} <= ${shareOf(query)}, ${column}, NULL)`.mapWith(column);
  return {
    ...getTableColumns(images),
    properties: withinShare(images.properties),
    tags: withinShare(images.tags),
    locations: withinShare(images.locations),
    bytes: BYTES.as("bytes"),
  };
}

type PageRow = ImageRow & { readonly bytes: number };

type PageSelect = NonNullable<ReturnType<typeof selectPage>>;
type PreparedPage = ReturnType<PageSelect["prepare"]>;

/** First pages that were asked for last, by what makes them: a project asks for few different ones over and over. */
const preparedPages = new WeakMap<Database, BoundedMap<string, PreparedPage>>();
const MAX_PREPARED = 500;
const MAX_KEY_CHARACTERS = 1_000;

async function readFirstPage(
  db: Database,
  query: ImageListQuery,
  viewer: Viewer,
): Promise<PageRow[]> {
  const pages = preparedPages.get(db) ?? new BoundedMap<string, PreparedPage>(MAX_PREPARED);
  preparedPages.set(db, pages);
  const key = JSON.stringify([query, viewer], (_, value) =>
    value instanceof Map ? [...value] : value,
  );
  const page = pages.get(key) ?? selectPage(db, query, viewer)?.prepare();
  if (page === undefined) return [];
  if (key.length <= MAX_KEY_CHARACTERS) pages.set(key, page);
  return page.all();
}

async function readPageBehind(
  db: Database,
  page: PageSelect | undefined,
  marker: string,
  viewer: Viewer,
): Promise<PageRow[]> {
  const selectMarker = selectImage(db, marker, viewer.projectId);
  const [[markerRow], rows] =
    page === undefined ? [await selectMarker, []] : await db.batch([selectMarker, page]);
  if (markerRow === undefined || !isMarkerFor(viewer, markerRow)) throw new Fault("invalid_marker");
  return rows;
}

function isMarkerFor(
  viewer: Viewer,
  row: ImageRow & { readonly membership: MemberStatus | null },
): boolean {
  if (row.status === "deleted") return viewer.seesAll && row.place !== null;
  return isVisible(viewer, imageFromRow(row), row.membership ?? undefined);
}

/** The statement for one page; undefined where the page is empty whatever the table holds. */
export function selectPage(db: Database, query: ImageListQuery, viewer: Viewer) {
  if (query.matchesNothing || query.limit === 0) return undefined;
  const candidates = findCandidates(query, viewer);
  if (candidates === undefined) return undefined;
  const { select, order, needCheck } = candidates;
  return (
    db
      .select(columnsOf(query))
      .from(sql`(${select}) AS candidate`)
      // CROSS JOIN, because SQLite never turns it round: candidates come in order, and the page can stop early.
      .crossJoin(images)
      .where(
        and(
          eq(images.id, sql`candidate.id`),
          needCheck ? isShownTo(viewer, query) : IS_LISTED_IMAGE,
          passes(query.filters),
        ),
      )
      .orderBy(...orderBy(order))
      .limit(query.limit)
  );
}

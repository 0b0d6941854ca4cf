import { and, eq, getTableColumns, sql } from "drizzle-orm";
import { Fault } from "../domain/fault.ts";
import type { Image, MemberStatus } from "../domain/image.ts";
import type { ImageListQuery } from "../domain/image-list.ts";
import { isVisible, type Viewer } from "../domain/visibility.ts";
import { BoundedMap } from "../lib/bounded-map.ts";
import type { Database } from "./database.ts";
import { findCandidates } from "./image-candidates.ts";
import { IS_LISTED_IMAGE, isShownTo, passes } from "./image-filters.ts";
import { orderBy } from "./image-order.ts";
import { type ImageRow, imageFromRow, selectImage } from "./images.ts";
import { images } from "./schema.ts";

/**
 * One page of the images a viewer may list, in one round trip; one that is shorter than the limit is the last
 * (contract PAG-4). Throws `invalid_marker` for a marker that the viewer could not be shown, be it there or not
 * (contract PAG-8, PAG-9); for an administrator one that was deleted keeps its place.
 */
export async function listImages(
  db: Database,
  query: ImageListQuery,
  viewer: Viewer,
): Promise<readonly Image[]> {
  const { marker } = query;
  const rows =
    marker === undefined
      ? await readFirstPage(db, query, viewer)
      : await readPageBehind(db, selectPage(db, query, viewer), marker, viewer);
  return rows.map(imageFromRow);
}

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
): Promise<ImageRow[]> {
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
): Promise<ImageRow[]> {
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
      .select(getTableColumns(images))
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

import { and, eq, getTableColumns, ne, type Placeholder, type SQL, sql } from "drizzle-orm";
import type { BatchItem } from "drizzle-orm/batch";
import type { SQLiteUpdateSetSource } from "drizzle-orm/sqlite-core";
import { Fault } from "../domain/fault.ts";
import type { Image, MemberStatus, Membership, OpenUploads, Visibility } from "../domain/image.ts";
import type { Status } from "../domain/status.ts";
import { BoundedMap } from "../lib/bounded-map.ts";
import type { Database } from "./database.ts";
import { PLACE } from "./image-order.ts";
import { images } from "./schema.ts";

/** A row of `images` as Drizzle returns it. */
export type ImageRow = typeof images.$inferSelect;

/** An image with what its row says of the reading project's membership. */
export interface FoundImage {
  readonly image: Image;
  readonly membership: Membership;
}

/** The columns of a complete image and the membership of one project: at the most two rows read. */
export function imageWithMembership(projectId: string | null | Placeholder) {
  return {
    ...getTableColumns(images),
    membership: membershipOf(projectId).as("membership"),
  };
}

function membershipOf(projectId: string | null | Placeholder): SQL<MemberStatus | null> {
  // Names in full: Drizzle leaves a column's table out when a query has one table, but this has two.
  return sql<MemberStatus | null>`(
    SELECT m.status FROM image_members AS m
    WHERE m.image_id = images.id AND m.member_id = ${projectId} AND m.deleted_at IS NULL)`;
}

/** The query for one image by id, tombstones included; hand its row to `foundImage`. */
export function selectImage(db: Database, imageId: string, projectId: string | null) {
  return db.select(imageWithMembership(projectId)).from(images).where(eq(images.id, imageId));
}

/** One image by id, deleted ones left out. Throws `image_not_found`; whether the caller may see it is policy. */
export async function findImage(
  db: Database,
  imageId: string,
  projectId: string | null,
): Promise<FoundImage> {
  const [row] = await preparedSelect(db).all({ imageId, projectId });
  return foundImage(row, imageId);
}

type PreparedSelect = ReturnType<typeof prepareSelect>;

function prepareSelect(db: Database) {
  const projectId = sql.placeholder("projectId");
  return db
    .select(imageWithMembership(projectId))
    .from(images)
    .where(eq(images.id, sql.placeholder("imageId")))
    .prepare();
}

const preparedSelects = new WeakMap<Database, PreparedSelect>();

/** The statement that nearly every call makes, put together once. */
function preparedSelect(db: Database): PreparedSelect {
  const prepared = preparedSelects.get(db) ?? prepareSelect(db);
  preparedSelects.set(db, prepared);
  return prepared;
}

/** Turns a row of `selectImage` into an image. Throws `image_not_found` for a missing row or a tombstone. */
export function foundImage(
  row: (ImageRow & { membership: MemberStatus | null }) | undefined,
  imageId: string,
): FoundImage {
  if (row === undefined || row.status === "deleted")
    throw new Fault("image_not_found", { imageId });
  return { image: imageFromRow(row), membership: row.membership ?? undefined };
}

/**
 * Stores a new image, with what is to hold behind it. Throws `image_exists` when the id was ever taken (contract
 * CRE-12).
 */
export async function insertImage(
  db: Database,
  image: Image,
  guards: readonly BatchItem<"sqlite">[] = [],
): Promise<void> {
  const insert = db
    .insert(images)
    .values(rowFromImage(image))
    .onConflictDoNothing()
    .returning({ id: images.id });
  const inserted = guards.length === 0 ? await insert : (await db.batch([insert, ...guards]))[0];
  if (inserted.length === 0) throw new Fault("image_exists", { imageId: image.id });
}

/**
 * Writes a changed image over the revision it was decided on, with what is to hold behind it.
 * Throws `image_changed` when that revision no longer stands; then nothing was written.
 */
export async function updateImage(
  db: Database,
  before: Image,
  after: Image,
  guards: readonly BatchItem<"sqlite">[] = [],
): Promise<void> {
  const written =
    guards.length === 0
      ? await updateByItself(db, before, after)
      : (await db.batch([imageUpdate(db, before, after), ...guards]))[0];
  assertWritten(written, before);
}

type PreparedUpdate = ReturnType<typeof prepareUpdate>;

function prepareUpdate(db: Database, changed: Partial<ImageRow>) {
  // A null for a placeholder would become the JSON of it in a column of JSON.
  const columns = Object.fromEntries(
    Object.entries(changed).map(([name, value]) => [
      name,
      value === null ? null : sql.placeholder(name),
    ]),
  );
  return db
    .update(images)
    .set(columns)
    .where(and(eq(images.id, sql.placeholder("of")), eq(images.revision, sql.placeholder("at"))))
    .returning({ revision: images.revision })
    .prepare();
}

/** By the columns that are set, and set to null: there are few sets of columns that change together. */
const preparedUpdates = new WeakMap<Database, BoundedMap<string, PreparedUpdate>>();
const MAX_PREPARED = 100;

/** The same statement as `imageUpdate`, put together once. */
function updateByItself(db: Database, before: Image, after: Image) {
  const columns = changedColumns(rowFromImage(before), rowFromImage(after));
  const updates = preparedUpdates.get(db) ?? new BoundedMap<string, PreparedUpdate>(MAX_PREPARED);
  preparedUpdates.set(db, updates);
  const key = Object.entries(columns)
    .map(([name, value]) => (value === null ? `no ${name}` : name))
    .join();
  const update = updates.get(key) ?? prepareUpdate(db, columns);
  updates.set(key, update);
  return update.all({ ...columns, of: before.id, at: before.revision });
}

/** Grants work under way more bytes, or takes some back; nobody decides on these, so the revision stays. */
export async function updateReservation(
  db: Database,
  { id, status }: Image,
  reserved: number,
  guards: readonly BatchItem<"sqlite">[],
): Promise<void> {
  const update = db
    .update(images)
    .set({ reserved })
    .where(and(eq(images.id, id), eq(images.status, status)));
  await db.batch([update, ...guards]);
}

/** Says which resumable uploads are open and what is granted to them; like the above it leaves the revision alone. */
export async function updateOpenUploads(
  db: Database,
  { id }: Image,
  { count: openUploads, bytes: openUploadBytes }: OpenUploads,
  guards: readonly BatchItem<"sqlite">[],
): Promise<void> {
  const update = db
    .update(images)
    .set({ openUploads, openUploadBytes })
    .where(and(eq(images.id, id), ne(images.status, "deleted")));
  await db.batch([update, ...guards]);
}

/** An image's write as a statement for a batch; hand what it gives to `assertWritten`. */
export function imageUpdate(db: Database, before: Image, after: Image) {
  return revisionUpdate(db, before, changedColumns(rowFromImage(before), rowFromImage(after)));
}

/** What is not as it was, so that indexes and triggers of the rest are left alone. */
function changedColumns(before: ImageRow, after: ImageRow): Partial<ImageRow> {
  const isChanged = (name: string) => {
    const [was, is]: unknown[] = [Reflect.get(before, name), Reflect.get(after, name)];
    if (was === is) return false;
    return typeof is !== "object" || JSON.stringify(was) !== JSON.stringify(is);
  };
  // What is reserved changes without the revision, so it may be another than it was: a change of the record leaves it
  // alone, and one of the status, with which work ends, sets it.
  const always = before.status === after.status ? ["revision"] : ["revision", "reserved"];
  return Object.fromEntries(
    Object.entries(after).filter(([name]) => always.includes(name) || isChanged(name)),
  );
}

/**
 * Blanks a deleted image to a tombstone: its id, owner and times stay, so that the id is taken for ever, and its place
 * in lists, for whoever is in the middle of one (contract PAG-8). A statement for a batch; hand what it gives to
 * `assertWritten`.
 */
export function imageBurial(db: Database, before: Image, nowMs: number) {
  return revisionUpdate(db, before, {
    revision: before.revision + 1,
    status: "deleted",
    name: null,
    diskFormat: null,
    containerFormat: null,
    size: null,
    virtualSize: null,
    checksum: null,
    osHashAlgo: null,
    osHashValue: null,
    updatedAt: nowMs,
    deletedAt: nowMs,
    properties: {},
    tags: [],
    locations: [],
    staged: null,
    reserved: 0,
    place: PLACE,
    openUploads: 0,
    openUploadBytes: 0,
  });
}

function revisionUpdate(
  db: Database,
  before: Image,
  columns: SQLiteUpdateSetSource<typeof images>,
) {
  return db
    .update(images)
    .set(columns)
    .where(and(eq(images.id, before.id), eq(images.revision, before.revision)))
    .returning({ revision: images.revision });
}

/** Throws `image_changed` when a statement found the image at another revision than it was decided on. */
export function assertWritten(written: readonly unknown[], before: Image): void {
  if (written.length === 0) throw new Fault("image_changed", { imageId: before.id });
}

/** An image from its row. */
export function imageFromRow(row: ImageRow): Image {
  return {
    id: row.id,
    revision: row.revision,
    status: row.status as Status,
    visibility: row.visibility as Visibility,
    owner: row.owner,
    name: row.name,
    diskFormat: row.diskFormat,
    containerFormat: row.containerFormat,
    minDisk: row.minDisk,
    minRam: row.minRam,
    isProtected: row.protected,
    isHidden: row.hidden,
    size: row.size,
    virtualSize: row.virtualSize,
    checksum: row.checksum,
    osHashAlgo: row.osHashAlgo,
    osHashValue: row.osHashValue,
    createdAtMs: row.createdAt,
    updatedAtMs: row.updatedAt,
    properties: new Map(Object.entries(row.properties)),
    tags: row.tags,
    locations: row.locations,
    staged: row.staged,
    reservedBytes: row.reserved,
    openUploads: { count: row.openUploads, bytes: row.openUploadBytes },
  };
}

function rowFromImage(image: Image): ImageRow {
  return {
    id: image.id,
    revision: image.revision,
    status: image.status,
    visibility: image.visibility,
    owner: image.owner,
    name: image.name,
    diskFormat: image.diskFormat,
    containerFormat: image.containerFormat,
    minDisk: image.minDisk,
    minRam: image.minRam,
    protected: image.isProtected,
    hidden: image.isHidden,
    size: image.size,
    virtualSize: image.virtualSize,
    checksum: image.checksum,
    osHashAlgo: image.osHashAlgo,
    osHashValue: image.osHashValue,
    createdAt: image.createdAtMs,
    updatedAt: image.updatedAtMs,
    deletedAt: null,
    properties: Object.fromEntries(image.properties),
    tags: [...image.tags],
    locations: [...image.locations],
    staged: image.staged,
    reserved: image.reservedBytes,
    place: null,
    openUploads: image.openUploads.count,
    openUploadBytes: image.openUploads.bytes,
  };
}

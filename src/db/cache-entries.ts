import { and, desc, eq, getTableColumns, isNotNull, isNull, lt, or, sql } from "drizzle-orm";
import type { CacheEntry } from "../domain/cache-entry.ts";
import type { Database } from "./database.ts";
import { type FoundImage, foundImage, imageWithMembership, selectImage } from "./images.ts";
import { cacheEntries, images } from "./schema.ts";

/** An image with its entry in the cache. */
export interface FoundInCache extends FoundImage {
  readonly entry: CacheEntry | undefined;
}

/** One image by id, as `findImage` gives it, with its entry, in one round trip. Throws `image_not_found`. */
export async function findInCache(
  db: Database,
  imageId: string,
  projectId: string | null,
): Promise<FoundInCache> {
  const [row] = await db
    .select({ image: imageWithMembership(projectId), entry: getTableColumns(cacheEntries) })
    .from(images)
    .leftJoin(cacheEntries, eq(cacheEntries.imageId, images.id))
    .where(eq(images.id, imageId));
  const entry = row?.entry ?? undefined;
  return { ...foundImage(row?.image, imageId), entry: entry && entryFromRow(entry) };
}

/** One entry by its image. */
export async function findEntry(db: Database, imageId: string): Promise<CacheEntry | undefined> {
  const [row] = await db.select().from(cacheEntries).where(eq(cacheEntries.imageId, imageId));
  return row && entryFromRow(row);
}

/** All entries with bytes, last read first, and the ids of images that wait, oldest first (contract CAC-2). */
export async function listEntries(
  db: Database,
): Promise<{ cached: readonly CacheEntry[]; queuedIds: readonly string[] }> {
  const [cached, queued] = await db.batch([
    db
      .select()
      .from(cacheEntries)
      .where(isNotNull(cacheEntries.modifiedAt))
      .orderBy(desc(cacheEntries.accessedAt), cacheEntries.imageId),
    db
      .select({ id: cacheEntries.imageId })
      .from(cacheEntries)
      .where(isNotNull(cacheEntries.queuedAt))
      .orderBy(cacheEntries.queuedAt, cacheEntries.imageId),
  ]);
  return { cached: cached.map(entryFromRow), queuedIds: queued.map(({ id }) => id) };
}

// --- What reads put down ----------------------------------------------------------------------------------

/** Bytes that were put into the cache under an epoch. */
export interface Filled {
  readonly imageId: string;
  readonly epoch: string;
  readonly bytes: number;
  readonly nowMs: number;
}

/** Makes an entry of the first bytes, unless there is one by now, or the image is gone: then they are lost. */
export async function insertFilled(db: Database, filled: Filled): Promise<void> {
  const { imageId, epoch, bytes, nowMs } = filled;
  await db.run(sql`INSERT INTO ${cacheEntries} (image_id, epoch, modified_at, accessed_at, size)
    SELECT id, ${epoch}, ${nowMs}, ${nowMs}, min(${bytes}, size)
    FROM ${images} WHERE id = ${imageId} AND status = 'active'
    ON CONFLICT DO NOTHING`);
}

/** Adds bytes to an entry, if it is still the one that they were put in for. Several places may have the same ones. */
export async function addFilled(db: Database, filled: Filled): Promise<void> {
  const { imageId, epoch, bytes, nowMs } = filled;
  await db
    .update(cacheEntries)
    .set({
      size: sql`min(${cacheEntries.size} + ${bytes}, (SELECT i.size FROM ${images} AS i WHERE i.id = ${imageId}))`,
      modifiedAt: nowMs,
      accessedAt: nowMs,
    })
    .where(isEntry(imageId, epoch));
}

/** Counts reads that were served from the cache. */
export async function addHits(
  db: Database,
  hits: readonly { readonly imageId: string; readonly epoch: string; readonly count: number }[],
  nowMs: number,
): Promise<void> {
  const [first, ...others] = hits.map(({ imageId, epoch, count }) =>
    db
      .update(cacheEntries)
      .set({ hits: sql`${cacheEntries.hits} + ${count}`, accessedAt: nowMs })
      .where(isEntry(imageId, epoch)),
  );
  if (first !== undefined) await db.batch([first, ...others]);
}

// --- The queue --------------------------------------------------------------------------------------------

/** Puts an active image into the queue, with what is cached of it. */
export async function queueEntry(db: Database, imageId: string, nowMs: number): Promise<void> {
  await db.run(sql`INSERT INTO ${cacheEntries} (image_id, epoch, queued_at)
    SELECT id, ${crypto.randomUUID()}, ${nowMs}
    FROM ${images} WHERE id = ${imageId} AND status = 'active'
    ON CONFLICT DO UPDATE SET queued_at = ${nowMs}`);
}

/** Takes an image out of the queue, for all of it is in the cache. */
export async function finishEntry(
  db: Database,
  { imageId, epoch, bytes, nowMs }: Filled,
): Promise<void> {
  await db
    .update(cacheEntries)
    .set({ queuedAt: null, modifiedAt: nowMs, size: bytes })
    .where(isEntry(imageId, epoch));
}

/** Takes an image out of the queue that cannot be brought in; what is cached of it stays. */
export async function unqueueEntry(db: Database, imageId: string): Promise<void> {
  const isMeant = eq(cacheEntries.imageId, imageId);
  await db.batch([
    db.delete(cacheEntries).where(and(isMeant, isNull(cacheEntries.modifiedAt))),
    db.update(cacheEntries).set({ queuedAt: null }).where(isMeant),
  ]);
}

// --- What takes entries away ------------------------------------------------------------------------------

/** Throws out what is wrong, if it is still there. */
export async function discardEntry(db: Database, imageId: string, epoch: string): Promise<void> {
  await db.delete(cacheEntries).where(isEntry(imageId, epoch));
}

/** Deletes an image's entry, cached or queued; gives whether there was one, or at least the image (CAC-4). */
export async function deleteEntry(db: Database, imageId: string): Promise<boolean> {
  const [deleted, [image]] = await db.batch([
    db
      .delete(cacheEntries)
      .where(eq(cacheEntries.imageId, imageId))
      .returning({ id: cacheEntries.imageId }),
    selectImage(db, imageId, null),
  ]);
  return deleted.length > 0 || (image !== undefined && image.status !== "deleted");
}

export type ClearTarget = "cache" | "queue" | "both";

/** Empties the cache, the queue or both (contract CAC-5). */
export async function clearEntries(db: Database, target: ClearTarget): Promise<void> {
  if (target === "both") {
    await db.delete(cacheEntries);
  } else if (target === "queue") {
    await db.batch([
      db.delete(cacheEntries).where(isNull(cacheEntries.modifiedAt)),
      db.update(cacheEntries).set({ queuedAt: null }).where(isNotNull(cacheEntries.queuedAt)),
    ]);
  } else {
    const epoch = sql`lower(hex(randomblob(16)))`;
    const empty = { epoch, modifiedAt: null, accessedAt: null, hits: 0, size: 0 };
    await db.batch([
      db.delete(cacheEntries).where(isNull(cacheEntries.queuedAt)),
      db.update(cacheEntries).set(empty).where(isNotNull(cacheEntries.modifiedAt)),
    ]);
  }
}

/** Takes out of the queue what has waited for too long, and off the list what the platform no longer keeps. */
export async function cleanEntries(
  db: Database,
  { queuedBeforeMs, modifiedBeforeMs }: { queuedBeforeMs: number; modifiedBeforeMs: number },
): Promise<void> {
  await db.batch([
    db
      .update(cacheEntries)
      .set({ queuedAt: null })
      .where(lt(cacheEntries.queuedAt, queuedBeforeMs)),
    db
      .delete(cacheEntries)
      .where(
        and(
          isNull(cacheEntries.queuedAt),
          or(isNull(cacheEntries.modifiedAt), lt(cacheEntries.modifiedAt, modifiedBeforeMs)),
        ),
      ),
  ]);
}

/** Throws out what was read least recently until the rest has so many bytes; what is being brought in stays. */
export async function pruneEntries(
  db: Database,
  maxBytes: number,
): Promise<{ readonly count: number; readonly bytes: number }> {
  const pruned = await db
    .delete(cacheEntries)
    .where(
      sql`${cacheEntries.imageId} IN (
        SELECT image_id FROM (
          SELECT image_id, sum(size) OVER (ORDER BY accessed_at DESC, image_id
            ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW) AS bytes
          FROM ${cacheEntries} WHERE queued_at IS NULL)
        WHERE bytes > ${maxBytes})`,
    )
    .returning({ size: cacheEntries.size });
  return { count: pruned.length, bytes: pruned.reduce((sum, { size }) => sum + size, 0) };
}

function isEntry(imageId: string, epoch: string) {
  return and(eq(cacheEntries.imageId, imageId), eq(cacheEntries.epoch, epoch));
}

function entryFromRow(row: typeof cacheEntries.$inferSelect): CacheEntry {
  const { queuedAt, modifiedAt, accessedAt, ...same } = row;
  return { ...same, queuedAtMs: queuedAt, modifiedAtMs: modifiedAt, accessedAtMs: accessedAt };
}

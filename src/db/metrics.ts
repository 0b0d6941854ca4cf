import { desc, gt, sql } from "drizzle-orm";
import { log } from "../lib/log.ts";
import type { Database } from "./database.ts";
import { withoutValues } from "./errors.ts";
import { eventCounts, imageCounts, usage } from "./schema.ts";

/** Projects that a scrape tells of, those with the most bytes. */
const MAX_PROJECTS = 1_000;

/** What there is and what has happened, in one round trip; its cost does not depend on how many images there are. */
export async function readMetrics(db: Database) {
  const [images, projects, events] = await db.batch([
    db.select().from(imageCounts).where(gt(imageCounts.images, 0)),
    db
      .select({ project: usage.project, images: usage.images, bytes: usage.size })
      .from(usage)
      .where(gt(usage.images, 0))
      .orderBy(desc(usage.size), usage.project)
      .limit(MAX_PROJECTS),
    db.select().from(eventCounts),
  ]);
  return { images, projects, events };
}

export type Metrics = Awaited<ReturnType<typeof readMetrics>>;

/** Leases and deadlines that run out are known to an image's object alone, which counts them here when it gives up. */
export function countLapse(db: Database, way: "file" | "stage" | "resumable-upload") {
  return countEvent(db, "lapse", way, "");
}

/** A copy of an image's data that is not what its record says. */
export interface DamagedCopy {
  readonly imageId: string;
  /** The id of the store that should have it. */
  readonly store: string;
  /** Of what is there; undefined when nothing is. */
  readonly bytes: number | undefined;
}

/** Tells of a copy that a read found to be missing, or of another size than its image; never fails. */
export async function noteDamagedCopy(db: Database, copy: DamagedCopy): Promise<void> {
  const { imageId, store, bytes } = copy;
  log({ event: "copy_damaged", image_id: imageId, store, bytes: bytes ?? null });
  await countEvent(db, "damaged copy", store, bytes === undefined ? "missing" : "other size");
}

async function countEvent(db: Database, event: string, way: string, result: string): Promise<void> {
  try {
    await db
      .insert(eventCounts)
      .values({ event, way, result, total: 1 })
      .onConflictDoUpdate({
        target: [eventCounts.event, eventCounts.way, eventCounts.result],
        set: { total: sql`${eventCounts.total} + 1` },
      });
  } catch (error) {
    // A figure is not worth a second try.
    log({ event: "event_not_counted", counted: event, error: String(withoutValues(error)) });
  }
}

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
export async function countLapse(db: Database, way: "file" | "stage" | "resumable-upload") {
  try {
    await db
      .insert(eventCounts)
      .values({ event: "lapse", way, result: "", total: 1 })
      .onConflictDoUpdate({
        target: [eventCounts.event, eventCounts.way, eventCounts.result],
        set: { total: sql`${eventCounts.total} + 1` },
      });
  } catch (error) {
    // A figure is not worth a second try.
    log({ event: "lapse_not_counted", error: String(withoutValues(error)) });
  }
}

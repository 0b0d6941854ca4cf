import { eq, type SQL, sql } from "drizzle-orm";
import type { BatchItem } from "drizzle-orm/batch";
import { type Counted, type Limit, type Quotas, quotaFault, type Usage } from "../domain/quota.ts";
import type { Database } from "./database.ts";
import { withoutValues } from "./errors.ts";
import { quotaGuard, usage } from "./schema.ts";

const NOTHING: Usage = {
  images: 0,
  uploading: 0,
  size: 0,
  stage: 0,
  reservedSize: 0,
  reservedStage: 0,
  openUploads: 0,
  jobs: 0,
  staged: 0,
};

/** What a project uses: one row, which triggers keep in step with its images. */
export async function readUsage(db: Database, projectId: string | null): Promise<Usage> {
  if (projectId === null) return NOTHING;
  const [row] = await db.select().from(usage).where(eq(usage.project, projectId));
  return row ?? NOTHING;
}

/** So much more of something that a write is about to use, in bytes or numbers. */
export interface Demand {
  readonly of: Counted;
  readonly delta: number;
}

/**
 * Makes a write that adds to what a project uses. It is given statements to put behind its own in one batch: they make
 * all of it come to nothing if the project is then beyond a limit, however many such writes come at once. Throws
 * `quota_over`, and what the write throws.
 */
export async function withinQuotas<T>(
  db: Database,
  quotas: Quotas,
  projectId: string | null,
  demands: readonly Demand[],
  write: (guards: readonly BatchItem<"sqlite">[]) => Promise<T>,
): Promise<T> {
  const limited = demands.flatMap(({ of, delta }) => {
    const limit = quotas.limitOn(of, projectId);
    return limit === undefined ? [] : [{ limit, delta }];
  });
  try {
    return await write(limited.map(({ limit }) => guard(db, limit, projectId)));
  } catch (error) {
    if (!isBreach(error)) throw error;
    const used = await readUsage(db, projectId);
    const faults = limited.map(({ limit, delta }) => quotaFault(limit, used, delta));
    const isOver = ({ detail }: (typeof faults)[number]) =>
      Number(detail.usage) + Number(detail.delta) > Number(detail.maximum);
    throw faults.find(isOver) ?? faults[0] ?? error;
  }
}

/** A statement that fails when a project is beyond a limit. */
function guard(db: Database, { name, maximum, unit }: Limit, projectId: string | null) {
  // D1 binds numbers as reals, which would not be divided as whole ones.
  const units = sql`${USED[name]} / CAST(${unit} AS INTEGER)`;
  const isBeyond = sql`${usage.project} = ${projectId} AND ${units} > ${maximum}`;
  return db.insert(quotaGuard).select(sql`SELECT ${name} FROM ${usage} WHERE ${isBeyond}`);
}

const USED: Readonly<Record<Limit["name"], SQL>> = {
  image_size_total: sql`(${usage.size} + ${usage.reservedSize})`,
  user_storage_quota: sql`(${usage.size} + ${usage.reservedSize} + ${usage.staged} + ${usage.reservedStage})`,
  image_stage_total: sql`(${usage.stage} + ${usage.reservedStage})`,
  image_count_total: sql`${usage.images}`,
  image_count_uploading: sql`${usage.uploading}`,
  open_resumable_uploads: sql`${usage.openUploads}`,
  imports_at_work: sql`${usage.jobs}`,
};

function isBreach(error: unknown): boolean {
  const bare = withoutValues(error);
  return bare instanceof Error && bare.message.includes("within_quota");
}

/** So often, at the most, are an image's hits put down by one isolate. */
const PAUSE_MS = 10_000;
const MAX_IMAGES = 1000;

/** Reads of an image that needed nothing of the store and are not put down yet. */
export interface Hits {
  readonly imageId: string;
  readonly epoch: string;
  readonly count: number;
}

/**
 * Counts reads served from the cache in memory, so that a client that reads an image range by range does not become
 * as many writes of the database. What an isolate has counted dies with it: the figure is for operators, not for bills.
 */
export class HitTally {
  readonly #counted = new Map<string, { epoch: string; count: number; writtenAtMs: number }>();

  /** Counts a read; gives what is to be put down now, if anything. */
  add(imageId: string, epoch: string, nowMs: number): Hits | undefined {
    const before = this.#counted.get(imageId);
    const same = before?.epoch === epoch ? before : { epoch, count: 0, writtenAtMs: 0 };
    const count = same.count + 1;
    // The map is in the order of the last read.
    this.#counted.delete(imageId);
    const isDue = nowMs - same.writtenAtMs >= PAUSE_MS;
    const after = isDue
      ? { epoch, count: 0, writtenAtMs: nowMs }
      : { epoch, count, writtenAtMs: same.writtenAtMs };
    this.#counted.set(imageId, after);
    for (const [oldest] of this.#counted) {
      if (this.#counted.size <= MAX_IMAGES) break;
      this.#counted.delete(oldest);
    }
    return isDue ? { imageId, epoch, count } : undefined;
  }

  /** Takes everything that is not put down yet. */
  drain(): readonly Hits[] {
    const hits = [...this.#counted].map(([imageId, { epoch, count }]) => ({
      imageId,
      epoch,
      count,
    }));
    for (const entry of this.#counted.values()) entry.count = 0;
    return hits.filter(({ count }) => count > 0);
  }
}

/** That of this isolate. */
export const hitTally = new HitTally();

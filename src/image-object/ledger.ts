/*
 * What one image's object keeps in its own storage: unfinished work and nothing else (design invariant 1).
 * An image at rest keeps nothing, so its object costs nothing.
 *
 *   upload   the one upload that holds the image, with its lease
 *   owed     keys whose bytes must go, unless the image's row turns out to refer to them
 */

/** An upload under way. */
export interface Upload {
  readonly imageId: string;
  readonly attemptId: string;
  readonly storeId: string;
  readonly key: string;
  /** Set once the bytes did not fit one put. */
  readonly multipartId: string | undefined;
  readonly deadlineMs: number;
}

/** Bytes to remove. */
export interface Owed {
  readonly imageId: string;
  readonly storeId: string;
  readonly key: string;
  readonly multipartId: string | undefined;
  readonly dueMs: number;
  /** Failed tries since the last success; the back-off grows with it. */
  readonly failures: number;
  /** When to look once more after a success: a put that was under way may land behind the first removal. */
  readonly againAtMs: number | undefined;
}

/** The object's storage with its alarm, which always stands at the earliest deadline in the ledger. */
export class Ledger {
  constructor(private readonly storage: DurableObjectStorage) {}

  async upload(): Promise<Upload | undefined> {
    return this.storage.get<Upload>("upload");
  }

  async owed(): Promise<readonly Owed[]> {
    return (await this.storage.get<readonly Owed[]>("owed")) ?? [];
  }

  /** Writes both entries and moves the alarm, as one atomic write: nothing is awaited between them. */
  async write(upload: Upload | undefined, owed: readonly Owed[]): Promise<void> {
    const deadlines = owed.map((entry) => entry.dueMs);
    if (upload !== undefined) deadlines.push(upload.deadlineMs);
    if (deadlines.length === 0) {
      await Promise.all([this.storage.delete(["upload", "owed"]), this.storage.deleteAlarm()]);
      return;
    }
    await Promise.all([
      upload === undefined ? this.storage.delete("upload") : this.storage.put("upload", upload),
      owed.length === 0 ? this.storage.delete("owed") : this.storage.put("owed", owed),
      this.storage.setAlarm(Math.min(...deadlines)),
    ]);
  }
}

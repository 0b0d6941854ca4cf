/*
 * What one image's object keeps in its own storage: unfinished work and nothing else (design invariant 1).
 * An image at rest keeps nothing, so its object costs nothing.
 *
 *   upload        the one upload that holds the image, with its lease
 *   import        the import under way
 *   part:… …      the parts that are stored of what the import is writing
 *   owed          keys whose bytes must go, unless the image's row turns out to refer to them
 */

import type { PartReceipt } from "../blob/store.ts";
import type { ImportJob } from "./import-job.ts";

/** An upload under way. */
export interface Upload {
  readonly imageId: string;
  readonly attemptId: string;
  /** To become the image's data, or to wait for an import. */
  readonly purpose: "data" | "staging";
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

/** The unfinished work of one image, but for the parts of its import. */
export interface Entries {
  readonly upload: Upload | undefined;
  readonly job: ImportJob | undefined;
  readonly owed: readonly Owed[];
}

const PART_PREFIX = "part:";

/** The object's storage with its alarm, which always stands at the earliest deadline in the ledger. */
export class Ledger {
  constructor(private readonly storage: DurableObjectStorage) {}

  async read(): Promise<Entries> {
    const found = await this.storage.get<unknown>(["upload", "import", "owed"]);
    return {
      upload: found.get("upload") as Upload | undefined,
      job: found.get("import") as ImportJob | undefined,
      owed: (found.get("owed") as readonly Owed[] | undefined) ?? [],
    };
  }

  /** Writes some of the entries and moves the alarm, as one atomic write: nothing is awaited within. */
  async write(changes: Partial<Entries>): Promise<void> {
    const { upload, job, owed } = { ...(await this.read()), ...changes };
    const deadlines = owed.map((entry) => entry.dueMs);
    if (upload !== undefined) deadlines.push(upload.deadlineMs);
    if (job !== undefined) deadlines.push(job.dueMs);
    await Promise.all([
      this.#set("upload", upload),
      this.#set("import", job),
      this.#set("owed", owed.length === 0 ? undefined : owed),
      deadlines.length === 0
        ? this.storage.deleteAlarm()
        : this.storage.setAlarm(Math.min(...deadlines)),
    ]);
  }

  /** The parts stored so far of the blob of this key, by number. */
  async parts(key: string): Promise<ReadonlyMap<number, PartReceipt>> {
    const found = await this.storage.list<PartReceipt>({ prefix: `${PART_PREFIX}${key}:` });
    return new Map([...found.values()].map((receipt) => [receipt.partNumber, receipt]));
  }

  async addPart(key: string, receipt: PartReceipt): Promise<void> {
    const number = String(receipt.partNumber).padStart(5, "0");
    await this.storage.put(`${PART_PREFIX}${key}:${number}`, receipt);
  }

  /** Forgets all parts: what they belong to is complete, or given up. */
  async clearParts(): Promise<void> {
    for (;;) {
      const found = await this.storage.list({ prefix: PART_PREFIX, limit: 128 });
      if (found.size === 0) return;
      // The most keys that one call deletes.
      await this.storage.delete([...found.keys()]);
    }
  }

  #set(key: string, value: unknown): Promise<unknown> {
    return value === undefined ? this.storage.delete(key) : this.storage.put(key, value);
  }
}

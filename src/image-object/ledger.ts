/*
 * What one image's object keeps in its own storage: unfinished work and nothing else (design invariant 1).
 * An image at rest keeps nothing, not even an empty database, so its object costs nothing: the write that ends the last
 * piece of work deletes all there is, tables included.
 *
 *   upload        the one upload that holds the image, with its lease
 *   staging       staged bytes that wait for their import, which they do not for ever
 *   import        the import under way
 *   cache-fill    the image's way into the cache, once it was queued for that
 *   part:… …      the parts that are stored of what the import is writing
 *   owed          keys whose bytes must go, unless the image's row turns out to refer to them
 *   resumable:…   the resumable uploads, which hold no image until all their bytes are there
 *   piece:… …     the parts that are stored of each
 *
 * Beside these lie bytes that fill no part yet, in a table of their own (spool-rows.ts).
 */

import type { PartReceipt } from "../blob/store.ts";
import type { ImageSignature } from "../domain/image-signature.ts";
import type { CacheFill } from "./cache-fills.ts";
import type { ImportJob } from "./import-job.ts";
import { type Resumable, upgraded } from "./resumable-record.ts";
import { SpoolRows } from "./spool-rows.ts";

/** An upload under way. */
export interface Upload {
  readonly imageId: string;
  readonly attemptId: string;
  /** To become the image's data, or to wait for an import. */
  readonly purpose: "data" | "staging";
  readonly storeId: string;
  readonly key: string;
  /** Of whoever uploads, whose limits hold for it. */
  readonly projectId: string | null;
  /** What its data is verified against. */
  readonly signature: ImageSignature | undefined;
  /** Set once the bytes did not fit one put. */
  readonly multipartId: string | undefined;
  readonly deadlineMs: number;
}

/** Bytes that are being staged, or are staged. */
export interface StagedBytes {
  readonly imageId: string;
  readonly key: string;
  /** Of whoever staged them. */
  readonly projectId: string | null;
  /** When they go, unless they are being imported. */
  readonly dueMs: number;
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

/** The unfinished work of one image, but for stored parts. */
export interface Entries {
  readonly upload: Upload | undefined;
  readonly staging: StagedBytes | undefined;
  readonly job: ImportJob | undefined;
  readonly cacheFill: CacheFill | undefined;
  readonly owed: readonly Owed[];
  readonly resumables: readonly Resumable[];
}

/** What a write changes; of the resumable uploads only those that it names. */
export interface Changes extends Partial<Omit<Entries, "resumables">> {
  readonly resumables?: readonly Resumable[];
  /** The ids of resumable uploads that are to be forgotten. */
  readonly dropped?: readonly string[];
}

const PART_PREFIX = "part:";
const RESUMABLE_PREFIX = "resumable:";
const PIECE_PREFIX = "piece:";

/** The object's storage with its alarm, which always stands at the earliest deadline in the ledger. */
export class Ledger {
  readonly spool: SpoolRows;

  constructor(private readonly storage: DurableObjectStorage) {
    this.spool = new SpoolRows(storage);
  }

  async read(): Promise<Entries> {
    const [found, resumables] = await Promise.all([
      this.storage.get<unknown>(["upload", "staging", "import", "cache-fill", "owed"]),
      this.storage.list<Resumable>({ prefix: RESUMABLE_PREFIX }),
    ]);
    return {
      upload: found.get("upload") as Upload | undefined,
      staging: found.get("staging") as StagedBytes | undefined,
      job: found.get("import") as ImportJob | undefined,
      cacheFill: found.get("cache-fill") as CacheFill | undefined,
      owed: (found.get("owed") as readonly Owed[] | undefined) ?? [],
      resumables: [...resumables.values()].map(upgraded),
    };
  }

  /** Writes some of the entries and moves the alarm, as one atomic write: nothing is awaited within. */
  async write({ resumables = [], dropped = [], ...changes }: Changes): Promise<void> {
    const before = await this.read();
    const { upload, staging, job, cacheFill, owed } = { ...before, ...changes };
    const touched = new Set([...resumables.map(({ id }) => id), ...dropped]);
    const others = before.resumables.filter(({ id }) => !touched.has(id));
    const deadlines = [...owed, ...resumables, ...others].map((entry) => entry.dueMs);
    if (upload !== undefined) deadlines.push(upload.deadlineMs);
    if (staging !== undefined) deadlines.push(staging.dueMs);
    if (job !== undefined) deadlines.push(job.dueMs);
    if (cacheFill !== undefined) deadlines.push(cacheFill.dueMs);
    if (upload === undefined && before.upload !== undefined) this.spool.clear("upload");
    // Nothing is unfinished, so nothing that lies here is of any use. Storage without a row would be billed as well.
    if (deadlines.length === 0) return this.storage.deleteAll();
    await Promise.all([
      this.#set("upload", upload),
      this.#set("staging", staging),
      this.#set("import", job),
      this.#set("cache-fill", cacheFill),
      this.#set("owed", owed.length === 0 ? undefined : owed),
      ...dropped.map((id) => this.#set(RESUMABLE_PREFIX + id, undefined)),
      ...resumables.map((record) => this.#set(RESUMABLE_PREFIX + record.id, record)),
      this.storage.setAlarm(Math.min(...deadlines)),
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
    this.spool.clear("import");
    await this.#clear(PART_PREFIX);
  }

  async resumable(id: string): Promise<Resumable | undefined> {
    const record = await this.storage.get<Resumable>(RESUMABLE_PREFIX + id);
    return record && upgraded(record);
  }

  /** The parts stored so far of a resumable upload, in their order. */
  async pieces(id: string): Promise<readonly PartReceipt[]> {
    const found = await this.storage.list<PartReceipt>({ prefix: `${PIECE_PREFIX}${id}:` });
    return [...found.values()];
  }

  /**
   * Puts down that more parts are stored, and how far the upload is with them, as one atomic write. It leaves the alarm
   * alone: an upload that lives on is only looked at too early.
   */
  async addPieces(record: Resumable, receipts: readonly PartReceipt[]): Promise<void> {
    const pieces = receipts.map((receipt) => {
      const number = String(receipt.partNumber).padStart(5, "0");
      return this.storage.put(`${PIECE_PREFIX}${record.id}:${number}`, receipt);
    });
    await Promise.all([...pieces, this.storage.put(RESUMABLE_PREFIX + record.id, record)]);
  }

  async clearPieces(id: string): Promise<void> {
    this.spool.clear(`resumable:${id}`);
    await this.#clear(`${PIECE_PREFIX}${id}:`);
  }

  async #clear(prefix: string): Promise<void> {
    for (;;) {
      const found = await this.storage.list({ prefix, limit: 128 });
      if (found.size === 0) return;
      // The most keys that one call deletes.
      await this.storage.delete([...found.keys()]);
    }
  }

  #set(key: string, value: unknown): Promise<unknown> {
    return value === undefined ? this.storage.delete(key) : this.storage.put(key, value);
  }
}

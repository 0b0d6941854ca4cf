import type { Spool } from "../blob/write/spool.ts";

/** What the object of an image keeps bytes for: its upload, its import, or a resumable upload by its id. */
export type SpoolOwner = "upload" | "import" | `resumable:${string}`;

/**
 * Bytes that wait in the object's own storage until they fill a part (blob/write/spool.ts). Every method is done when it
 * returns, in the same transaction as whatever else is written before the next await. Without rows there is no table,
 * so an image at rest keeps nothing.
 */
export class SpoolRows {
  readonly #sql: SqlStorage;

  constructor(storage: DurableObjectStorage) {
    this.#sql = storage.sql;
  }

  /** Keeps bytes of a part; whatever was kept of it from this offset on is of an earlier try, and goes. */
  append(owner: SpoolOwner, part: number, offset: number, bytes: Uint8Array): void {
    this.#sql.exec(
      "CREATE TABLE IF NOT EXISTS spool (owner TEXT, part INTEGER, offset INTEGER, bytes BLOB, UNIQUE (owner, part, offset))",
    );
    this.#sql.exec(
      "DELETE FROM spool WHERE owner = ? AND part = ? AND offset >= ?",
      ...[owner, part, offset],
    );
    this.#sql.exec("INSERT INTO spool VALUES (?, ?, ?, ?)", owner, part, offset, bytes);
  }

  /** The first `length` bytes of a part, read row by row; the stream fails when they are not all there. */
  open(owner: SpoolOwner, part: number, length: number): ReadableStream<Uint8Array> {
    let position = 0;
    return new ReadableStream({
      type: "bytes",
      pull: (controller) => {
        const row = position < length ? this.#row(owner, part, position) : new Uint8Array(0);
        if (row === undefined) return controller.error(new Error("bytes of the spool are missing"));
        const bytes = row.subarray(0, length - position);
        position += bytes.length;
        if (bytes.length > 0) controller.enqueue(bytes);
        if (position === length) {
          controller.close();
          // A reader that brought a buffer of its own waits for this.
          controller.byobRequest?.respond(0);
        }
      },
    });
  }

  /** Forgets what is kept of a part. */
  drop(owner: SpoolOwner, part: number): void {
    if (!this.#isThere()) return;
    this.#sql.exec("DELETE FROM spool WHERE owner = ? AND part = ?", owner, part);
  }

  /** Forgets all that is kept for somebody. */
  clear(owner: SpoolOwner): void {
    if (!this.#isThere()) return;
    this.#sql.exec("DELETE FROM spool WHERE owner = ?", owner);
    const { rows } = this.#sql.exec("SELECT EXISTS (SELECT 1 FROM spool) AS rows").one();
    if (rows === 0) this.#sql.exec("DROP TABLE spool");
  }

  /** As the writer of parts knows it, for work within this object. */
  of(owner: SpoolOwner): Spool {
    return {
      append: async (part, offset, bytes) => this.append(owner, part, offset, bytes),
      open: async (part, length) => this.open(owner, part, length),
      drop: async (part) => this.drop(owner, part),
    };
  }

  #row(owner: SpoolOwner, part: number, offset: number): Uint8Array | undefined {
    if (!this.#isThere()) return undefined;
    const [row] = this.#sql.exec<{ bytes: ArrayBuffer }>(
      "SELECT bytes FROM spool WHERE owner = ? AND part = ? AND offset = ?",
      ...[owner, part, offset],
    );
    return row && new Uint8Array(row.bytes);
  }

  #isThere(): boolean {
    const tables = this.#sql.exec("SELECT 1 FROM sqlite_master WHERE name = 'spool'");
    return tables.toArray().length > 0;
  }
}

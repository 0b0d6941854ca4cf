import { SPOOL_ROW_BYTES, type Spool } from "../../../src/blob/write/spool.ts";

/** A Spool in memory, with the rules of the image object's storage. */
export class MemorySpool implements Spool {
  /** Calls of `append` so far. */
  appended = 0;
  readonly #rows = new Map<number, Map<number, Uint8Array>>();

  get keptBytes(): number {
    const rows = [...this.#rows.values()].flatMap((part) => [...part.values()]);
    return rows.reduce((sum, { length }) => sum + length, 0);
  }

  async append(part: number, offset: number, bytes: Uint8Array): Promise<void> {
    if (bytes.length > SPOOL_ROW_BYTES) throw new Error("too much for one row");
    this.appended++;
    const rows = this.#rows.get(part) ?? new Map<number, Uint8Array>();
    for (const start of rows.keys()) if (start >= offset) rows.delete(start);
    rows.set(offset, bytes.slice());
    this.#rows.set(part, rows);
  }

  /** All that is kept of a part. */
  kept(part: number): Uint8Array<ArrayBuffer> {
    const rows = [...(this.#rows.get(part) ?? [])].toSorted(([one], [other]) => one - other);
    return Uint8Array.from(rows.flatMap(([, row]) => [...row]));
  }

  async open(part: number, length: number): Promise<ReadableStream<Uint8Array>> {
    const bytes = this.kept(part);
    if (bytes.length < length) throw new Error("bytes of the spool are missing");
    return new Blob([bytes.subarray(0, length)]).stream();
  }

  async drop(part: number): Promise<void> {
    this.#rows.delete(part);
  }
}

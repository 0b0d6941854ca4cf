import { env } from "cloudflare:workers";
import { type Around, type BindingCall, interceptD1, interceptR2 } from "./intercept.ts";
import { Service } from "./service.ts";

/** What requests cost, in the Worker and in the image objects together. */
export interface Cost {
  /** D1 round trips, and the rows that its SELECT statements read. */
  readonly d1: number;
  readonly rowsRead: number;
  /** R2 operations, in order. */
  readonly r2: readonly BindingCall[];
  /** Methods of image objects that were called, in order. */
  readonly objects: readonly string[];
}

/** A Service that counts what its requests ask of the bindings. */
export class CountingService extends Service {
  readonly #calls: { db: BindingCall[]; blobs: BindingCall[]; objects: BindingCall[] };

  constructor(settings: Readonly<Record<string, string>> = {}) {
    const calls = { db: [], blobs: [], objects: [] };
    super({
      settings,
      bindings: {
        DB: interceptD1(env.DB, counting(calls.db)),
        BLOBS: interceptR2(env.BLOBS, counting(calls.blobs)),
      },
      aroundObjects: counting(calls.objects),
    });
    this.#calls = calls;
  }

  /** Does the work and says what it asked of the bindings. */
  async costOf(work: () => Promise<unknown>): Promise<Cost> {
    for (const calls of Object.values(this.#calls)) calls.length = 0;
    await work();
    const { db, blobs, objects } = this.#calls;
    return {
      d1: db.length,
      rowsRead: await countRowsRead(db),
      r2: [...blobs],
      objects: objects.map(({ operation }) => operation),
    };
  }
}

function counting(calls: BindingCall[]): Around {
  return (call, proceed) => {
    calls.push(call);
    return proceed();
  };
}

/** Rows as D1 reports and bills them. The calls that give rows only say nothing of it, so they are repeated. */
async function countRowsRead(calls: readonly BindingCall[]): Promise<number> {
  let rows = 0;
  for (const { sql, prepared } of calls.flatMap(({ statements = [] }) => statements)) {
    if (/^\s*select/i.test(sql)) rows += (await prepared.all()).meta.rows_read;
  }
  return rows;
}

import { type DrizzleD1Database, drizzle } from "drizzle-orm/d1";
import { timed } from "../lib/timings.ts";

/** D1 through Drizzle's query builder. */
export type Database = DrizzleD1Database;

const opened = new WeakMap<D1Database, Database>();

/** The database behind a binding, the same for every request, so that statements can be prepared once. */
export function openDatabase(d1: D1Database): Database {
  let db = opened.get(d1);
  if (db === undefined) {
    db = drizzle(new TimedDatabase(d1) as unknown as D1Database);
    opened.set(d1, db);
  }
  return db;
}

/** The part of D1 that Drizzle uses, with each round trip noted. */
class TimedDatabase implements Pick<D1Database, "prepare" | "batch"> {
  readonly #d1: D1Database;

  constructor(d1: D1Database) {
    this.#d1 = d1;
  }

  prepare(sql: string): D1PreparedStatement {
    return timedStatement(this.#d1.prepare(sql));
  }

  batch<T>(statements: D1PreparedStatement[]): Promise<D1Result<T>[]> {
    const bare = statements.map((statement) => bareStatements.get(statement) ?? statement);
    return timed("d1", () => this.#d1.batch<T>(bare));
  }
}

/** Batches take none but D1's own statements. */
const bareStatements = new WeakMap<D1PreparedStatement, D1PreparedStatement>();

function timedStatement(bare: D1PreparedStatement): D1PreparedStatement {
  const own = {
    bind: (...values: unknown[]) => timedStatement(bare.bind(...values)),
    run: () => timed("d1", () => bare.run()),
    all: () => timed("d1", () => bare.all()),
    raw: () => timed("d1", () => bare.raw()),
  } as unknown as D1PreparedStatement;
  bareStatements.set(own, bare);
  return own;
}

import { getTableColumns, getTableName, is, sql } from "drizzle-orm";
import { SQLiteTable } from "drizzle-orm/sqlite-core";
import { Fault } from "../domain/fault.ts";
import type { Database } from "./database.ts";
import { withoutValues } from "./errors.ts";
import * as schema from "./schema.ts";
import objects from "./schema-objects.json";

/**
 * Asks whether the database has all that the migrations make, in one round trip: every table, index and trigger by its
 * name, every column that code names. Throws `schema_incomplete` where something is missing, and D1's own errors.
 */
export async function assertSchema(db: Database): Promise<void> {
  const names = db
    .select({ name: sql<string>`name` })
    .from(sql`sqlite_master`)
    .where(sql`type IN ('table', 'index', 'trigger')`);
  const tables = Object.values(schema).filter((each) => is(each, SQLiteTable));
  const [rows] = await db
    .batch([names, ...tables.map((table) => db.select(allOf(table)).from(table).limit(0))])
    .catch((error: unknown) => {
      const [missing] = /no such (?:table|column): [\w.]+/.exec(messageOf(error)) ?? [];
      throw missing === undefined ? error : incomplete(missing, error);
    });
  const present = new Set(rows.map(({ name }) => name));
  const missing = objects.filter((name) => !present.has(name));
  if (missing.length > 0) throw incomplete(`it lacks ${missing.join(", ")}`);
}

/** The columns with their table's name, for SQLite takes a quoted name alone for a text where no column has it. */
function allOf(table: SQLiteTable) {
  const name = sql.identifier(getTableName(table));
  const columns = Object.values(getTableColumns(table));
  const named = columns.map((column) => sql`${name}.${sql.identifier(column.name)}`);
  return { columns: sql<unknown>`${sql.join(named, sql`, `)}` };
}

function messageOf(error: unknown): string {
  const bare = withoutValues(error);
  return bare instanceof Error ? bare.message : "";
}

function incomplete(missing: string, cause?: unknown): Fault {
  return new Fault("schema_incomplete", { missing }, cause);
}

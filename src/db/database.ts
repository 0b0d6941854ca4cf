import { type DrizzleD1Database, drizzle } from "drizzle-orm/d1";

/** D1 through Drizzle's query builder. */
export type Database = DrizzleD1Database;

export function openDatabase(d1: D1Database): Database {
  return drizzle(d1);
}

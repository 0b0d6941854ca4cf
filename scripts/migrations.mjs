// @ts-check
// What a database says of the migrations it has had: the table that `wrangler d1 migrations` keeps, too.

import { readdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import { projectDir } from "./wrangler.mjs";

export const createLedger =
  "CREATE TABLE IF NOT EXISTS d1_migrations (id INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT UNIQUE, applied_at TIMESTAMP DEFAULT CURRENT_TIMESTAMP NOT NULL)";
export const listApplied = "SELECT name FROM d1_migrations ORDER BY id";

const directory = join(projectDir, "migrations");

/**
 * The migrations that a database lacks, in order. `sql` is the file and its entry in the ledger, so that
 * both are applied or neither.
 * @param {readonly Record<string, unknown>[]} applied the rows of `listApplied`
 */
export async function readPending(applied) {
  const done = new Set(applied.map((row) => row.name));
  const names = (await readdir(directory)).filter((name) => name.endsWith(".sql")).sort();
  return Promise.all(
    names
      .filter((name) => !done.has(name))
      .map(async (name) => {
        const text = await readFile(join(directory, name), "utf8");
        // D1 does not find the end of a trigger whose lines end as on Windows.
        const sql = `${text.replaceAll("\r\n", "\n")}\nINSERT INTO d1_migrations (name) VALUES ('${name}');\n`;
        return { name, sql };
      }),
  );
}

// @ts-check
// Refuses in migrations/ what the programs that split SQL into statements are known to trip over: D1's own,
// which runs only when a migration is applied to a deployment, and wrangler's. In comments these are
// quotes, semicolons and brackets, which they take for SQL; in triggers CASE, whose END they take for the
// trigger's, and BEGIN and END in small letters, which they do not see.

import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";

const directory = process.argv[2] ?? join(import.meta.dirname, "../migrations");

/** @param {string} line */
function complain(line) {
  const parts = /^((?:[^'-]|'[^']*'|-(?!-))*)(--.*)?$/.exec(line);
  if (parts === null) return "a text must end on its line";
  const [, text = "", comment = ""] = parts;
  const code = text.replace(/'[^']*'/g, "");
  if (/['"`;[\]]/.test(comment)) return "no quotes, semicolons or brackets in a comment";
  if (code.includes("/*")) return "a comment must begin with --";
  if (/\bcase\b/i.test(code)) return "iif() in place of CASE";
  const frames = code.match(/\b(?:begin|end)\b/gi) ?? [];
  if (frames.some((word) => word !== word.toUpperCase())) return "BEGIN and END in capitals";
  return undefined;
}

const names = readdirSync(directory).filter((name) => name.endsWith(".sql"));
const complaints = names.flatMap((name) =>
  readFileSync(join(directory, name), "utf8")
    .split(/\r?\n/)
    .flatMap((line, index) => {
      const complaint = complain(line);
      return complaint === undefined ? [] : [`migrations/${name}:${index + 1}: ${complaint}.`];
    }),
);
for (const complaint of complaints) console.error(complaint);
if (complaints.length > 0) process.exit(1);
console.log(`${names.length} migrations in plain SQL.`);

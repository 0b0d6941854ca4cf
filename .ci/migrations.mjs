// @ts-check
// Refuses in migrations/ what the programs that split SQL into statements are known to trip over: D1's own,
// which runs only when a migration is applied to a deployment, and wrangler's. In comments these are
// quotes, semicolons and brackets, which they take for SQL; in triggers CASE, whose END they take for the
// trigger's, and BEGIN and END in small letters, which they do not see.
// Refuses equal numbers, too: comments and people name a migration by its number.
// Holds what the migrations come to against src/db/schema-objects.json, which is what /healthcheck looks for.

import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";

const ours = join(import.meta.dirname, "../migrations");
const directory = process.argv[2] ?? ours;
const listPath = join(import.meta.dirname, "../src/db/schema-objects.json");

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

const names = readdirSync(directory)
  .filter((name) => name.endsWith(".sql"))
  .sort();
const files = names.map((name) => ({ name, text: readFileSync(join(directory, name), "utf8") }));
const complaints = files.flatMap(({ name, text }) =>
  text.split(/\r?\n/).flatMap((line, index) => {
    const complaint = complain(line);
    return complaint === undefined ? [] : [`migrations/${name}:${index + 1}: ${complaint}.`];
  }),
);
for (const [index, name] of names.entries()) {
  const before = names[index - 1];
  if (before !== undefined && parseInt(before, 10) === parseInt(name, 10)) {
    complaints.push(`migrations/${name}: ${before} has its number; take the next free one.`);
  }
}

/** The tables, indexes and triggers that are there in the end, each with its table. */
function objectsMade() {
  /** @type {Map<string, string>} */
  const made = new Map();
  const statement =
    /^(CREATE|DROP)\s+(?:UNIQUE\s+)?(TABLE|INDEX|TRIGGER)\s+(?:IF\s+(?:NOT\s+)?EXISTS\s+)?(\w+)([^;]*?\bON\s+(\w+))?/gim;
  for (const { text } of files) {
    for (const [, verb = "", kind = "", name = "", , table = name] of text.matchAll(statement)) {
      if (verb.toUpperCase() === "CREATE") {
        made.set(name, kind.toUpperCase() === "TABLE" ? name : table);
        continue;
      }
      made.delete(name);
      if (kind.toUpperCase() !== "TABLE") continue;
      // What is on a table goes with it.
      for (const [other, on] of made) if (on === name) made.delete(other);
    }
  }
  return [...made.keys()].sort();
}

if (directory === ours) {
  const made = objectsMade();
  const listed = JSON.parse(readFileSync(listPath, "utf8"));
  if (JSON.stringify(made) !== JSON.stringify(listed)) {
    complaints.push(`src/db/schema-objects.json should be ${JSON.stringify(made)}.`);
  }
}
for (const complaint of complaints) console.error(complaint);
if (complaints.length > 0) process.exit(1);
console.log(`${names.length} migrations in plain SQL.`);

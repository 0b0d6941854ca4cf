// @ts-check
// Holds docs/compatibility.md against the tests: every contract row that it names in its second column is
// named by a test, or stands in its last column with the reason why none does, and never both.

import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";

const root = join(import.meta.dirname, "..");

/**
 * The row ids a text names: `VER-1`, `CRE-12b`, and ranges such as `RNG-1 … RNG-5` or `RNG 1–18`.
 * @param {string} text
 */
function rowsIn(text) {
  const rows = new Set(text.match(/\b[A-Z]{2,3}-\d+[a-z]?\b/g));
  const ranges = /\b([A-Z]{2,3})[- ](\d+) ?[…–] ?(?:[A-Z]{2,3}-)?(\d+)\b/g;
  for (const [, family, first, last] of text.matchAll(ranges)) {
    for (let n = Number(first); n <= Number(last); n++) rows.add(`${family}-${n}`);
  }
  return rows;
}

/** Comments do not count: a row is shown by a test's name, or by a table that names make use of. */
const testText = readdirSync(join(root, "test"), { recursive: true, encoding: "utf8" })
  .filter((path) => path.endsWith(".test.ts"))
  .map((path) => readFileSync(join(root, "test", path), "utf8"))
  .join("\n")
  .replace(/^\s*(\/\/|\*|\/\*).*$/gm, "");
const tested = rowsIn(testText);

const complaints = [];
let counted = 0;
let untested = 0;
for (const line of readFileSync(join(root, "docs/compatibility.md"), "utf8").split("\n")) {
  const [, section = "", rows = "", state = "", without = ""] = line.split("|");
  if (!/\d/.test(section) || state === "") continue;
  const excused = rowsIn(without);
  for (const row of rowsIn(rows)) {
    counted++;
    if (excused.has(row)) untested++;
    if (!tested.has(row) && !excused.has(row)) complaints.push(`${row}: no test names it.`);
  }
  for (const row of excused) {
    if (tested.has(row)) complaints.push(`${row}: a test names it, so it is no row without one.`);
  }
}
for (const complaint of complaints) console.error(`docs/compatibility.md: ${complaint}`);
if (complaints.length > 0) process.exit(1);
console.log(`${counted} contract rows: ${counted - untested} named by tests, ${untested} excused.`);

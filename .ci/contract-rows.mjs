// @ts-check
// Holds the rule book (docs/contract), docs/compatibility.md, the code and the tests against each other:
// an id stands in one row of the rule book, whatever names an id or a section names one that is there, and every
// row that docs/compatibility.md lists is named by a test, or stands in its last column with the reason why none does.

import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";

const root = join(import.meta.dirname, "..");
const bookFolder = "docs/contract";
const rowId = /[A-Z]{2,3}-\d+[a-z]?/;

/** Names of other people's things that look as ids of rows do. */
const foreign = new Set(["AES", "CRC", "CVE", "SHA", "UTF"]);

/** @type {string[]} */
const complaints = [];

/**
 * The row ids a text names: `VER-1`, `CRE-12b`, and ranges such as `RNG-1 … RNG-5` or `RNG 1–18`.
 * @param {string} text
 */
function rowsIn(text) {
  const rows = new Set(text.match(new RegExp(`\\b${rowId.source}\\b`, "g")));
  const ranges = /\b([A-Z]{2,3})[- ](\d+) ?[…–] ?(?:[A-Z]{2,3}-)?(\d+)\b/g;
  for (const [, family, first, last] of text.matchAll(ranges)) {
    for (let n = Number(first); n <= Number(last); n++) rows.add(`${family}-${n}`);
  }
  return rows;
}

/**
 * The sections that a text names as `10 §4`, `10 §4 #8` or `12 §§1–3`; `row` is what follows the `#`.
 * @param {string} text
 */
function sectionsIn(text) {
  const named = text.matchAll(
    /(?<![\w.-])(0[1-9]|1\d|2[01]) ?§+ ?(\d+)(?:[–-](\d+))?(?: #(\d+))?/g,
  );
  return [...named].flatMap(([, chapter, first, last = first, row]) =>
    Array.from({ length: Number(last) - Number(first) + 1 }, (_, n) => ({
      section: `${chapter} §${Number(first) + n}`,
      row,
    })),
  );
}

/** How GitHub names a heading in an address. @param {string} heading */
const anchor = (heading) =>
  heading
    .toLowerCase()
    .replace(/[^\p{L}\p{N} _-]/gu, "")
    .replaceAll(" ", "-");

/**
 * Paths of the text files below some folders or of the files themselves.
 * @param {string[]} paths
 */
function textFiles(paths) {
  return paths.flatMap((path) =>
    /\.\w+$/.test(path)
      ? [path]
      : readdirSync(join(root, path), { recursive: true, encoding: "utf8" })
          .filter((file) => /\.(ts|mjs|js|md|py|sql|sh|toml)$/.test(file))
          .map((file) => join(path, file)),
  );
}

/** @param {string} path */
const read = (path) => readFileSync(join(root, path), "utf8");

/**
 * The rule book: where each row stands, the numbered sections with the numbers of their rows, and what links can name.
 */
function readBook() {
  /** @type {Map<string, { file: string, anchor: string }>} */
  const rows = new Map();
  /** @type {Map<string, Set<string>>} */
  const sections = new Map();
  /** @type {Set<string>} */
  const targets = new Set();
  for (const file of readdirSync(join(root, bookFolder))) {
    targets.add(file);
    let heading = "";
    /** @type {Set<string>} */
    let numbers = new Set();
    for (const line of read(join(bookFolder, file)).split("\n")) {
      const [, title] = /^## (.*)/.exec(line) ?? [];
      if (title !== undefined) {
        heading = anchor(title);
        targets.add(`${file}#${heading}`);
        numbers = new Set();
        const [, number] = /^(?:\d+\.)?(\d+)\b/.exec(title) ?? [];
        if (number !== undefined) sections.set(`${file.slice(0, 2)} §${number}`, numbers);
      }
      const [, cell = ""] = /^\| *([^|]*)/.exec(line) ?? [];
      const [, number] = /^(\d+) *$/.exec(cell) ?? [];
      if (number !== undefined) numbers.add(number);
      const [id] = new RegExp(`^${rowId.source}(?= |$)`).exec(cell) ?? [];
      if (id === undefined) continue;
      const other = rows.get(id);
      if (other !== undefined)
        complaints.push(`${bookFolder}/${file}: ${id} stands in ${other.file} too.`);
      rows.set(id, { file, anchor: heading });
    }
  }
  return { rows, sections, targets };
}

const book = readBook();

for (const path of textFiles([
  "README.md",
  "bench",
  "cli",
  "dev",
  "docs",
  "migrations",
  "scripts",
  "src",
  "test",
])) {
  const text = read(path);
  for (const row of rowsIn(text)) {
    const family = row.slice(0, row.indexOf("-"));
    if (!book.rows.has(row) && !foreign.has(family))
      complaints.push(`${path}: the rule book has no ${row}.`);
  }
  for (const { section, row } of sectionsIn(text)) {
    const numbers = book.sections.get(section);
    if (numbers === undefined) complaints.push(`${path}: the rule book has no ${section}.`);
    else if (row !== undefined && !numbers.has(row))
      complaints.push(`${path}: ${section} has no #${row}.`);
  }
  for (const [, target = ""] of text.matchAll(/\]\((?:docs\/)?contract\/([^)]*)\)/g)) {
    if (!book.targets.has(target))
      complaints.push(`${path}: the rule book has no ${target} to link to.`);
  }
}

/** Comments do not count: a row is shown by a test's name, or by a table that names make use of. */
const tested = rowsIn(
  textFiles(["test"])
    .filter((path) => path.endsWith(".test.ts"))
    .map(read)
    .join("\n")
    .replace(/^\s*(\/\/|\*|\/\*).*$/gm, ""),
);

let counted = 0;
let untested = 0;
const page = "docs/compatibility.md";
for (const line of read(page).split("\n")) {
  const [, section = "", rows = "", , without] = line.split("|");
  if (without === undefined) continue;
  const [, file, heading] = /\]\(contract\/([^)#]*)#?([^)]*)\)/.exec(section) ?? [];
  const excused = rowsIn(without);
  for (const row of rowsIn(rows)) {
    counted++;
    const place = book.rows.get(row);
    if (place?.file !== file || (heading !== "" && place?.anchor !== heading)) {
      complaints.push(`${page}: ${row} does not stand where the link of its line leads.`);
    }
    if (excused.has(row)) untested++;
    if (!tested.has(row) && !excused.has(row))
      complaints.push(`${page}: ${row}: no test names it.`);
  }
  for (const row of excused) {
    if (tested.has(row))
      complaints.push(`${page}: ${row}: a test names it, so it is no row without one.`);
  }
}

for (const complaint of new Set(complaints)) console.error(complaint);
if (complaints.length > 0) process.exit(1);
console.log(
  `${book.rows.size} rows in the rule book; of ${counted} that are listed as served, ${counted - untested} are named by tests and ${untested} excused.`,
);

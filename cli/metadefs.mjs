// @ts-check
// glimpse metadefs load, export and list

import { mkdir, open, readdir, readFile, stat } from "node:fs/promises";
import { join } from "node:path";
import { isSame, planMerge, readDefinition, restoreFields } from "./definitions.mjs";
import { EXIT, Failure, withFile } from "./failure.mjs";
import {
  createNamespace,
  deleteNamespace,
  findNamespace,
  listNamespaces,
  take,
} from "./namespaces.mjs";
import { openNew } from "./partial-file.mjs";
import { fileName, printableJson } from "./printable.mjs";
import { renderTable } from "./table.mjs";

/** @typedef {import("./session.mjs").Session} Session */
/** @typedef {import("./definitions.mjs").Definition} Definition */

/**
 * What is to become of a namespace that is there already.
 * @typedef {"keep" | "merge" | "prefer new" | "overwrite"} Way
 */

/**
 * What became of a file's namespace.
 * @typedef {object} Outcome
 * @property {string} file
 * @property {string} namespace empty when the file is none
 * @property {"made" | "kept" | "changed" | "replaced" | "failed"} result
 * @property {number} properties those that the definition has
 * @property {number} objects
 * @property {number} tags
 * @property {string} [reason] of a failure
 */

/** More than any namespace may have. */
const MAX_FILE_BYTES = 1024 ** 2;

/** @type {import("./options.mjs").Command} */
export const loadMetadefs = {
  usage: "glimpse metadefs load PATH [options]",
  summary: "load metadata definitions from a file or a directory",
  operands: ["PATH"],
  options: {
    merge: { type: "boolean", help: "add what a namespace that is there lacks" },
    "prefer-new": { type: "boolean", help: "with --merge: change what differs, too" },
    overwrite: { type: "boolean", help: "replace namespaces that are there, with all in them" },
    "dry-run": { type: "boolean", help: "say what would be done, and do nothing" },
  },
  more: `Files are JSON as glance-manage loads it; of a directory they are all *.json. Namespaces that are there are kept
as they are unless an option says otherwise. It takes an administrator.
`,

  async run({ operands: [path = ""], values, open: signIn, reporter, print, signal }) {
    const way = chooseWay(values);
    const files = await findFiles(path);
    const session = await signIn();
    /** @type {Outcome[]} */
    const outcomes = [];
    try {
      for (const [index, file] of files.entries()) {
        signal.throwIfAborted();
        reporter.say(`${index + 1} of ${files.length}: ${file}`);
        outcomes.push(await loadFile(session, file, way, values["dry-run"] ?? false));
      }
    } finally {
      reporter.clear();
      if (outcomes.length > 0) print(outcomes, renderOutcomes);
    }
    const failed = outcomes.filter(({ result }) => result === "failed");
    for (const { file, reason } of failed) reporter.note(`${file}: ${reason}`);
    if (failed.length === 0) return;
    throw new Failure(`${failed.length} of ${files.length} files were not loaded.`, EXIT.refused);
  },
};

/**
 * @param {import("./options.mjs").Values} values
 * @returns {Way}
 */
function chooseWay({ merge, overwrite, "prefer-new": prefersNew }) {
  if (merge && overwrite) throw new Failure("Use --merge or --overwrite, not both.", EXIT.usage);
  if (prefersNew && !merge) throw new Failure("--prefer-new goes with --merge.", EXIT.usage);
  if (overwrite) return "overwrite";
  if (prefersNew) return "prefer new";
  return merge ? "merge" : "keep";
}

/**
 * The file, or the files of a directory.
 * @param {string} path
 */
async function findFiles(path) {
  return await withFile(path, async () => {
    if (!(await stat(path)).isDirectory()) return [path];
    const names = (await readdir(path)).filter((name) => name.endsWith(".json")).sort();
    if (names.length > 0) return names.map((name) => join(path, name));
    throw new Failure(`There are no files *.json in ${path}.`, EXIT.file);
  });
}

/**
 * Loads one file. A file that is wrong, or that the service refuses, does not keep the others from being loaded; who is
 * not let in at all is told at once.
 * @param {Session} session
 * @param {string} file
 * @param {Way} way
 * @param {boolean} isDry
 * @returns {Promise<Outcome>}
 */
async function loadFile(session, file, way, isDry) {
  const counts = { properties: 0, objects: 0, tags: 0 };
  let namespace = "";
  try {
    const definition = await readFileOf(file);
    namespace = definition.namespace;
    counts.properties = Object.keys(definition.properties).length;
    counts.objects = definition.objects.length;
    counts.tags = definition.tags.length;
    const result = await load(session, definition, way, isDry);
    return { file, namespace, result, ...counts };
  } catch (error) {
    const isOfFile =
      error instanceof Failure && (error.exitCode === EXIT.file || error.exitCode === EXIT.refused);
    if (!isOfFile) throw error;
    return { file, namespace, result: "failed", ...counts, reason: error.message };
  }
}

/** @param {string} file */
async function readFileOf(file) {
  const text = await withFile(file, async () => {
    const facts = await stat(file);
    // A pipe may have no other end, and a device no end at all.
    if (!facts.isFile()) throw new Failure("It is no regular file.", EXIT.file);
    if (facts.size > MAX_FILE_BYTES) throw new Failure("It is larger than 1 MiB.", EXIT.file);
    return await readFile(file, "utf8");
  });
  try {
    return readDefinition(JSON.parse(text));
  } catch (error) {
    if (error instanceof SyntaxError) throw new Failure(`No JSON: ${error.message}.`, EXIT.file);
    throw error;
  }
}

/**
 * @param {Session} session
 * @param {Definition} wanted
 * @param {Way} way
 * @param {boolean} isDry
 * @returns {Promise<Outcome["result"]>}
 */
async function load(session, wanted, way, isDry) {
  const { namespace } = wanted;
  let current = await findNamespace(session, namespace);
  if (current === undefined) {
    if (isDry || (await createNamespace(session, wanted))) return "made";
    current = await findNamespace(session, namespace);
    // Made by a request before, whose answer was lost.
    if (current !== undefined && isSame(current, wanted)) return "made";
  }
  if (current === undefined || way === "keep" || isSame(current, wanted)) return "kept";
  if (way === "overwrite") {
    const before = current;
    if (!isDry) await session.undisturbed(() => replace(session, before, wanted));
    return "replaced";
  }
  const { steps, restore } = planMerge(current, wanted, way === "prefer new");
  if (steps.length === 0) return "kept";
  if (!isDry) await session.undisturbed(() => merge(session, namespace, steps, restore));
  return "changed";
}

/**
 * @param {Session} session
 * @param {string} namespace
 * @param {readonly import("./definitions.mjs").Step[]} steps
 * @param {import("./definitions.mjs").Step} [restore]
 */
async function merge(session, namespace, steps, restore) {
  try {
    for (const step of steps) await take(session, namespace, step);
  } catch (error) {
    // Nobody may find a namespace unprotected because a file was wrong; the failure is what is told.
    if (restore) await take(session, namespace, restore).catch(() => undefined);
    throw error;
  }
}

/**
 * Puts a namespace in the place of one that is there; what the service refuses leaves the old one.
 * @param {Session} session
 * @param {Definition} current
 * @param {Definition} wanted
 */
async function replace(session, current, wanted) {
  try {
    await deleteNamespace(session, current);
    await createNamespace(session, wanted);
  } catch (error) {
    await putBack(session, current).catch(({ message }) => {
      const { namespace } = current;
      throw new Failure(
        `${namespace} was there, and could not be put back: ${message} Look at it yourself.`,
        EXIT.unexpected,
      );
    });
    throw error;
  }
}

/**
 * Makes a namespace as it was; one whose deletion was refused is there, but maybe unprotected.
 * @param {Session} session
 * @param {Definition} definition
 */
async function putBack(session, definition) {
  if (await createNamespace(session, definition)) return;
  if (definition.protected) await take(session, definition.namespace, restoreFields(definition));
}

/** @param {readonly Outcome[]} outcomes */
function renderOutcomes(outcomes) {
  const rows = outcomes.map(({ file, namespace, result, properties, objects, tags }) => [
    ...[namespace === "" ? file : namespace, result],
    ...[properties, objects, tags].map(String),
  ]);
  const table = renderTable(["NAMESPACE", "RESULT", "PROPERTIES", "OBJECTS", "TAGS"], rows);
  const results = [...new Set(outcomes.map(({ result }) => result))];
  const totals = results.map(
    (name) => `${outcomes.filter(({ result }) => result === name).length} ${name}`,
  );
  return `${table}${totals.join(", ")}\n`;
}

/** @type {import("./options.mjs").Command} */
export const exportMetadefs = {
  usage: "glimpse metadefs export DIR [options]",
  summary: "save metadata definitions, a file for each namespace",
  operands: ["DIR"],
  options: { force: { type: "boolean", help: "replace files that are there" } },
  more: "What is saved can be loaded again, into another cloud too: owners are left out.\n",

  async run({ operands: [directory = ""], values, open: signIn, reporter, print, signal }) {
    const session = await signIn();
    await withFile(directory, () => mkdir(directory, { recursive: true }));
    /** @type {{namespace: string, file: string}[]} */
    const saved = [];
    const taken = new Set();
    try {
      for await (const { namespace } of listNamespaces(session)) {
        signal.throwIfAborted();
        reporter.say(namespace);
        const found = await findNamespace(session, namespace);
        // Deleted meanwhile.
        if (found === undefined) continue;
        const file = join(directory, chooseName(namespace, taken));
        const { owner: _, ...definition } = found;
        await save(file, `${printableJson(definition)}\n`, values.force ?? false);
        saved.push({ namespace, file });
      }
    } finally {
      reporter.clear();
    }
    print(saved, (rows) =>
      renderTable(
        ["NAMESPACE", "FILE"],
        rows.map(({ namespace, file }) => [namespace, file]),
      ),
    );
  },
};

/**
 * A name that no other file of the export has, whatever the file system makes of capitals.
 * @param {string} namespace
 * @param {Set<string>} taken
 */
function chooseName(namespace, taken) {
  const base = fileName(namespace) || "namespace";
  for (let n = 1; ; n += 1) {
    const name = n === 1 ? `${base}.json` : `${base}-${n}.json`;
    if (taken.has(name.toLowerCase())) continue;
    taken.add(name.toLowerCase());
    return name;
  }
}

/**
 * @param {string} path
 * @param {string} text
 * @param {boolean} isForced
 */
async function save(path, text, isForced) {
  await withFile(path, async () => {
    const file = isForced ? await openNew(path) : await open(path, "wx");
    try {
      await file.writeFile(text);
    } finally {
      await file.close();
    }
  });
}

/** @type {import("./options.mjs").Command} */
export const listMetadefs = {
  usage: "glimpse metadefs list [options]",
  summary: "show the namespaces of metadata definitions that you see",
  operands: [],
  options: {},

  async run({ open: signIn, print }) {
    const session = await signIn();
    /** @type {Definition[]} */
    const namespaces = [];
    for await (const namespace of listNamespaces(session)) namespaces.push(namespace);
    print(namespaces.map(summaryOf), renderNamespaces);
  },
};

/** @param {Definition} definition */
const summaryOf = ({ namespace, visibility, owner, resource_type_associations, ...rest }) => ({
  ...{ namespace, visibility, protected: rest.protected, owner: owner ?? null },
  resource_types: resource_type_associations.map(({ name }) => name),
});

/** @param {readonly ReturnType<typeof summaryOf>[]} namespaces */
function renderNamespaces(namespaces) {
  const rows = namespaces.map(({ namespace, visibility, owner, resource_types, ...rest }) => [
    ...[namespace, visibility, rest.protected ? "yes" : "no", owner ?? ""],
    resource_types.join(", "),
  ]);
  return renderTable(["NAMESPACE", "VISIBILITY", "PROTECTED", "OWNER", "RESOURCE TYPES"], rows);
}

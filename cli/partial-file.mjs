// @ts-check
// A download that is under way: the bytes in FILE.part, and in FILE.part.json which of them are still missing.

import { constants } from "node:fs";
import { lstat, open, rename, rm } from "node:fs/promises";
import { EXIT, Failure, withFile } from "./failure.mjs";
import { Gaps } from "./gaps.mjs";

/** @typedef {import("node:fs/promises").FileHandle} FileHandle */

/**
 * What the bytes are part of.
 * @typedef {object} Whole
 * @property {string} imageId
 * @property {string} hash by which the data is told apart from other data
 * @property {number} size bytes
 */

const FORMAT = "glimpse-download-1";
const SAVE_EVERY_MS = 1_000;

export class PartialFile {
  /** @type {Promise<void>} */
  #saving = Promise.resolve();
  #timer;

  /**
   * @param {string} path of the file that it is to become
   * @param {Whole} whole
   * @param {FileHandle} handle
   * @param {Gaps} gaps
   */
  constructor(path, whole, handle, gaps) {
    this.path = path;
    this.whole = whole;
    this.handle = handle;
    this.gaps = gaps;
    // A failure shows again at the end.
    this.#timer = setInterval(() => this.#save().catch(() => undefined), SAVE_EVERY_MS).unref();
  }

  /**
   * Goes on with the partial file of the same data, or begins one.
   * @param {string} path
   * @param {Whole} whole
   */
  static async open(path, whole) {
    const part = partOf(path);
    return await withFile(part, async () => {
      await assertOwnFile(part);
      const missing = await readMissing(path, whole);
      const handle = missing === undefined ? await openNew(part) : await openThere(part, "r+");
      const gaps = new Gaps(missing ?? [{ start: 0, end: whole.size }]);
      return new PartialFile(path, whole, handle, gaps);
    });
  }

  /** Where the bytes are until then. */
  get partPath() {
    return partOf(this.path);
  }

  /**
   * Puts bytes into their place.
   * @param {Buffer} bytes
   * @param {number} position
   */
  async write(bytes, position) {
    await withFile(this.partPath, async () => {
      for (let done = 0; done < bytes.length; ) {
        const { bytesWritten } = await this.handle.write(
          bytes,
          done,
          bytes.length - done,
          position + done,
        );
        done += bytesWritten;
      }
    });
  }

  /** Puts down what is missing, for the next time. */
  async close() {
    clearInterval(this.#timer);
    await this.handle.close();
    await withFile(this.path, () => this.#save());
  }

  /** Gives the closed file its name. */
  async finish() {
    await withFile(this.path, () => rename(this.partPath, this.path));
    await rm(notesOf(this.path), { force: true });
  }

  /** Takes the closed file away. */
  async remove() {
    await rm(notesOf(this.path), { force: true });
    await rm(this.partPath, { force: true });
  }

  #save() {
    this.#saving = this.#saving
      .catch(() => undefined)
      .then(async () => {
        const notes = notesOf(this.path);
        const draft = `${notes}.new`;
        const file = await openNew(draft);
        try {
          await file.writeFile(
            JSON.stringify({ format: FORMAT, ...this.whole, missing: this.gaps.missing }),
          );
        } finally {
          await file.close();
        }
        await rename(draft, notes);
      });
    return this.#saving;
  }
}

/** @param {string} path */
const partOf = (path) => `${path}.part`;

/** @param {string} path */
const notesOf = (path) => `${path}.part.json`;

/**
 * Throws a Failure where a partial file is to be and something else is, such as a link: whoever else may write to the
 * directory would have the data go where it leads.
 * @param {string} path
 */
async function assertOwnFile(path) {
  const facts = await lstat(path).catch(() => undefined);
  if (facts === undefined || (facts.isFile() && facts.nlink === 1)) return;
  const what = facts.isSymbolicLink() || facts.isFile() ? "a link" : "no file";
  throw new Failure(`${path} is ${what}, which no download goes through; remove it.`, EXIT.file);
}

/**
 * Makes a file in the place of one that may be there; never follows a link.
 * @param {string} path
 */
export async function openNew(path) {
  await rm(path, { force: true });
  return await open(path, "wx+");
}

const FLAGS = { r: constants.O_RDONLY, "r+": constants.O_RDWR };

/**
 * Opens a file that is there; fails for a link, and does not wait where there is a pipe.
 * @param {string} path
 * @param {keyof typeof FLAGS} mode
 */
async function openThere(path, mode) {
  // Windows has neither of the two.
  const { O_NOFOLLOW = 0, O_NONBLOCK = 0 } = constants;
  return await open(path, FLAGS[mode] | O_NOFOLLOW | O_NONBLOCK);
}

/**
 * What is missing of a partial file, if it is one of that data.
 * @param {string} path
 * @param {Whole} whole
 * @returns {Promise<import("./gaps.mjs").Range[] | undefined>}
 */
async function readMissing(path, whole) {
  try {
    const notes = JSON.parse(await readNotes(notesOf(path)));
    const { size } = await lstat(partOf(path));
    const isSame =
      notes.format === FORMAT &&
      notes.imageId === whole.imageId &&
      notes.hash === whole.hash &&
      notes.size === whole.size;
    const isRange = (/** @type {any} */ range) =>
      [0, range?.start, range?.end, whole.size].every(
        (n, at, all) => Number.isSafeInteger(n) && n >= (all[at - 1] ?? 0),
      );
    if (!isSame || !Array.isArray(notes.missing) || !notes.missing.every(isRange)) return undefined;
    // Bytes that are said to be there, and are not.
    const known = notes.missing.at(-1);
    const end = known?.end === whole.size ? known.start : whole.size;
    return size >= end ? notes.missing : undefined;
  } catch {
    return undefined;
  }
}

/** @param {string} path */
async function readNotes(path) {
  const file = await openThere(path, "r");
  try {
    return await file.readFile("utf8");
  } finally {
    await file.close();
  }
}

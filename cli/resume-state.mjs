// @ts-check
// What is put down of an unfinished upload, so that `glimpse resume` can go on with it: a file for each image in
// $XDG_STATE_HOME/glimpse. It holds no secret but is nobody else's business, and is kept so.

import { randomUUID } from "node:crypto";
import { mkdir, readdir, readFile, rename, rm, writeFile } from "node:fs/promises";
import { homedir } from "node:os";
import { join } from "node:path";
import { withFile } from "./failure.mjs";

/**
 * A range of the file that is sent as one upload.
 * @typedef {object} Part
 * @property {string | null} url once the upload has begun
 * @property {number} offset bytes
 * @property {number} length bytes
 */

/**
 * @typedef {object} UploadState
 * @property {string} format
 * @property {string} imageUrl the Image API's address, by which clouds are told apart
 * @property {string} imageId
 * @property {boolean} isOurs whether the upload made the image's record
 * @property {string} file absolute path
 * @property {number} size bytes
 * @property {number} mtimeMs
 * @property {number} chunkBytes
 * @property {string | null} store
 * @property {Part[]} parts one, or several to be joined
 * @property {readonly string[]} oldTasks ids of the image's tasks from before
 */

export const FORMAT = "glimpse-upload-1";

/** @param {import("./clouds.mjs").Environment} env */
function stateDir(env) {
  const base = env.XDG_STATE_HOME || join(env.HOME ?? homedir(), ".local/state");
  return join(base, "glimpse");
}

/**
 * @param {string} imageId
 * @param {import("./clouds.mjs").Environment} env
 */
const pathOf = (imageId, env) => join(stateDir(env), `${imageId}.json`);

/**
 * Puts a state down, whole or not at all.
 * @param {UploadState} state
 * @param {import("./clouds.mjs").Environment} [env]
 */
export async function saveState(state, env = process.env) {
  const path = pathOf(state.imageId, env);
  await withFile(path, async () => {
    await mkdir(stateDir(env), { recursive: true, mode: 0o700 });
    const draft = `${path}.${randomUUID()}`;
    await writeFile(draft, `${JSON.stringify(state, null, 2)}\n`, { mode: 0o600 });
    await rename(draft, path);
  });
}

/**
 * @param {string} imageId
 * @param {import("./clouds.mjs").Environment} [env]
 */
export async function forgetState(imageId, env = process.env) {
  await rm(pathOf(imageId, env), { force: true });
}

/**
 * The unfinished uploads to that Image API, the oldest name first; a file that is no state is passed over.
 * @param {string} imageUrl
 * @param {import("./clouds.mjs").Environment} [env]
 * @returns {Promise<UploadState[]>}
 */
export async function listStates(imageUrl, env = process.env) {
  const dir = stateDir(env);
  const names = await readdir(dir).catch(() => []);
  const states = await Promise.all(
    names
      .filter((name) => name.endsWith(".json"))
      .sort()
      .map((name) => readState(join(dir, name))),
  );
  return states.flatMap((state) => (state?.imageUrl === imageUrl ? [state] : []));
}

/**
 * @param {string} path
 * @returns {Promise<UploadState | undefined>}
 */
async function readState(path) {
  try {
    const state = JSON.parse(await readFile(path, "utf8"));
    return state?.format === FORMAT ? state : undefined;
  } catch {
    return undefined;
  }
}

// @ts-check
// The directory that a local server keeps its state in: one server at a time, and room to write.

import { createHash } from "node:crypto";
import {
  accessSync,
  constants,
  existsSync,
  mkdirSync,
  rmSync,
  statfsSync,
  statSync,
} from "node:fs";
import net from "node:net";
import { platform, tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { Refusal } from "./wrangler.mjs";

const MiB = 1024 ** 2;

/** What a first start writes, and some more. */
const LEAST_FREE_BYTES = 32 * MiB;

const CHOOSE = "Choose another directory with --state.";

/**
 * Makes a directory that can be written to. Throws a Refusal where that cannot be, or no room is left.
 * @param {string} dir
 * @param {string} [advice] a sentence
 */
export function makeWritable(dir, advice = CHOOSE) {
  try {
    // What making directories complains about depends on how many are missing.
    const parent = nearestThere(dir);
    if (!statSync(parent).isDirectory()) throw unusable(parent, PROBLEMS.ENOTDIR, advice);
    accessSync(parent, constants.W_OK | constants.X_OK);
    mkdirSync(dir, { recursive: true });
  } catch (error) {
    throw fileRefusal(error, dir, advice) ?? error;
  }
  const { bavail, bsize } = statfsSync(dir);
  const freeBytes = bavail * bsize;
  if (freeBytes >= LEAST_FREE_BYTES) return;
  const [free, least] = [freeBytes, LEAST_FREE_BYTES].map((bytes) => Math.floor(bytes / MiB));
  throw unusable(dir, `only ${free} MiB are left there, and a start takes ${least}`, advice);
}

/** @param {string} dir */
function nearestThere(dir) {
  let there = dir;
  while (!existsSync(there) && dirname(there) !== there) there = dirname(there);
  return there;
}

/** @type {Readonly<Record<string, string>>} */
const PROBLEMS = {
  EACCES: "this user may not write there",
  EPERM: "this user may not write there",
  EROFS: "its file system is read-only",
  ENOTDIR: "it is no directory",
  EEXIST: "it is no directory",
  ENOSPC: "no space is left there",
  EDQUOT: "the disk quota is used up there",
};

/**
 * @param {string} path
 * @param {string | undefined} problem
 * @param {string} advice
 */
const unusable = (path, problem, advice) =>
  new Refusal(`${path} cannot be used: ${problem}. ${advice}`);

/**
 * A failure to write to the state directory, as a sentence; undefined for another.
 * @param {unknown} error
 * @param {string} dir
 * @param {string} [advice] a sentence
 */
export function fileRefusal(error, dir, advice = CHOOSE) {
  if (!(error instanceof Error) || !("code" in error)) return undefined;
  const path = "path" in error ? String(error.path) : dir;
  const problem = PROBLEMS[String(error.code)];
  return problem === undefined ? undefined : unusable(path, problem, advice);
}

/** What every system takes as the path of a local socket. */
const MAX_SOCKET_PATH_BYTES = 100;

/** @param {string} stateDir */
function lockPath(stateDir) {
  const path = join(stateDir, "lock");
  const isWindows = platform() === "win32";
  if (!isWindows && Buffer.byteLength(path) <= MAX_SOCKET_PATH_BYTES) return path;
  const name = `glimpse-${createHash("sha256").update(stateDir).digest("hex").slice(0, 16)}`;
  return isWindows ? `\\\\.\\pipe\\${name}` : join(tmpdir(), name);
}

/**
 * Two servers on one state directory would run its alarms twice. A local socket is the lock, since
 * nobody answers on it any more once its process is gone, however that ended.
 * @param {string} stateDir
 */
export async function lockState(stateDir) {
  const path = lockPath(stateDir);
  if (await isAnswering(path)) {
    throw new Refusal(`Another server is running on ${stateDir}; choose another with --state.`);
  }
  rmSync(path, { force: true });
  const lock = await listen({ path });
  lock.unref();
  process.once("exit", () => rmSync(path, { force: true }));
}

/**
 * @param {string} path
 * @returns {Promise<boolean>}
 */
function isAnswering(path) {
  return new Promise((done) => {
    const socket = net.connect(path);
    socket.once("connect", () => done(true)).once("error", () => done(false));
    socket.once("connect", () => socket.destroy());
  });
}

/**
 * Listens, or tells why that cannot be.
 * @param {net.ListenOptions} where
 * @returns {Promise<net.Server>}
 */
export function listen(where) {
  return new Promise((done, fail) => {
    const server = net.createServer((socket) => socket.destroy());
    server.once("error", fail);
    server.listen(where, () => done(server));
  });
}

// @ts-check
// glimpse download IMAGE

import { getHashes } from "node:crypto";
import { stat } from "node:fs/promises";
import { join, resolve } from "node:path";
import { EXIT, Failure, fileFailure } from "./failure.mjs";
import { fetchRanges } from "./fetch-ranges.mjs";
import { FileHash } from "./file-hash.mjs";
import { findImage } from "./images.mjs";
import { parseCount } from "./options.mjs";
import { PartialFile } from "./partial-file.mjs";
import { fileName } from "./printable.mjs";

/** @typedef {import("./records.mjs").Image} Image */

const MAX_PARALLEL = 32;

/** @type {import("./options.mjs").Command} */
export const download = {
  usage: "glimpse download IMAGE [options]",
  summary: "save an image's data, going on with a partial file",
  operands: ["IMAGE"],
  options: {
    output: {
      type: "string",
      short: "o",
      argument: "FILE",
      help: "where it goes (a file of the image's name)",
    },
    parallel: { type: "string", argument: "N", help: "fetch N ranges at the same time (1)" },
    force: { type: "boolean", help: "replace a file that is there" },
  },
  more: "The bytes come into FILE.part, from which the next download of the same image goes on.\n",

  async run({ operands: [wanted = ""], values, open, reporter, print, signal }) {
    const parallel = parseCount("--parallel", values.parallel ?? "1", MAX_PARALLEL);
    const session = await open();
    const image = await findImage(session, wanted);
    const { id, status, size } = image;
    if (size === null) {
      throw new Failure(`The image ${id} is ${status} and has no data.`, EXIT.refused);
    }
    const path = await choosePath(values.output, image);
    const expected = expectedHash(image);
    const result = { image: id, file: path, size, ...expected };
    if (!values.force && (await isThere(path, size, expected, signal))) {
      reporter.note(`${path} is there already, with the same data.`);
      return print(result, () => "");
    }
    const file = await PartialFile.open(path, { imageId: id, hash: expected?.hash ?? "", size });
    const hash = expected && new FileHash(file.partPath, expected.algorithm);
    reporter.begin(path.split(/[\\/]/).at(-1) ?? path, size, size - file.gaps.bytes);
    try {
      await fetchRanges(session, file, parallel, { hash, reporter });
    } finally {
      await file.close();
      reporter.end();
    }
    await verify(file, hash, expected, signal);
    await file.finish();
    if (expected === undefined)
      reporter.note("The service tells no hash: only the size was checked.");
    print(result, renderResult);
  },
};

/**
 * Where the data goes: by default into the working directory, under the image's name.
 * @param {string | undefined} output
 * @param {Image} image
 */
async function choosePath(output, { id, name }) {
  const own = fileName(name ?? "") || id;
  if (output === undefined) return resolve(own);
  const facts = await stat(output).catch(() => undefined);
  return facts?.isDirectory() ? join(resolve(output), own) : resolve(output);
}

/**
 * What the data must hash to, as far as the service tells, and this machine can compute it.
 * @param {Image} image
 * @returns {{algorithm: string, hash: string} | undefined}
 */
function expectedHash({ os_hash_algo, os_hash_value, checksum }) {
  const isUsable = os_hash_algo !== null && getHashes().includes(os_hash_algo);
  if (isUsable && os_hash_value) return { algorithm: os_hash_algo, hash: os_hash_value };
  return checksum ? { algorithm: "md5", hash: checksum } : undefined;
}

/**
 * Whether the file is there with the image's data. Throws a Failure when it is there with other data.
 * @param {string} path
 * @param {number} size
 * @param {{algorithm: string, hash: string} | undefined} expected
 * @param {AbortSignal} signal
 */
async function isThere(path, size, expected, signal) {
  const facts = await stat(path).catch((error) => {
    if (error.code === "ENOENT") return undefined;
    throw fileFailure(error, path);
  });
  if (facts === undefined) return false;
  if (facts.isFile() && facts.size === size && expected !== undefined) {
    const actual = await new FileHash(path, expected.algorithm).finish(signal);
    if (actual === expected.hash) return true;
  }
  throw new Failure(`${path} is there already; --force replaces it.`, EXIT.file);
}

/**
 * @param {PartialFile} file
 * @param {FileHash | undefined} hash
 * @param {{algorithm: string, hash: string} | undefined} expected
 * @param {AbortSignal} signal
 */
async function verify(file, hash, expected, signal) {
  if (hash === undefined || expected === undefined) return;
  if ((await hash.finish(signal)) === expected.hash) return;
  await file.remove();
  throw new Failure(
    `The data that came does not have the image's ${expected.algorithm}, and was removed.`,
    EXIT.mismatch,
  );
}

/** @param {{file: string, algorithm?: string, hash?: string}} result */
function renderResult({ file, algorithm, hash }) {
  return hash === undefined ? `${file}\n` : `${file}\n${algorithm}  ${hash}\n`;
}

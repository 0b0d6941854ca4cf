// @ts-check
// The records in the service's answers, read before anything is done with them: an id becomes part of addresses and of
// names of files, a hash goes into a header, and all of it is shown.

import { EXIT, Failure } from "./failure.mjs";

/**
 * The parts of an image record that the command knows by name; there are more.
 * @typedef {object} Image
 * @property {string} id a UUID
 * @property {string | null} name
 * @property {string} status
 * @property {string} visibility
 * @property {number | null} size bytes
 * @property {string | null} disk_format
 * @property {string | null} container_format
 * @property {string | null} checksum hexadecimal
 * @property {string | null} os_hash_algo
 * @property {string | null} os_hash_value hexadecimal
 */

/**
 * @typedef {object} Task
 * @property {string} id
 * @property {string} status
 * @property {string | null} message
 * @property {string} created_at
 */

/** @typedef {(value: unknown) => boolean} Check */

const UUID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i;
const HEX = /^[0-9a-f]*$/i;
const ALGORITHM = /^[a-z0-9_/-]+$/i;

/** @type {Check} */
export const isUuid = (value) => typeof value === "string" && UUID.test(value);

/** @type {Check} */
const isText = (value) => typeof value === "string";

/** @type {Check} */
const isCount = (value) => Number.isSafeInteger(value) && Number(value) >= 0;

/**
 * @param {RegExp} form
 * @returns {Check}
 */
const isLike = (form) => (value) => typeof value === "string" && form.test(value);

/**
 * An attribute that may also be null, or be missing, which is taken for null.
 * @param {Check} check
 * @returns {Check}
 */
const orNull = (check) => (value) => value === undefined || value === null || check(value);

/** @type {Readonly<Record<string, Check>>} */
const IMAGE = {
  id: isUuid,
  name: orNull(isText),
  status: isText,
  visibility: orNull(isText),
  size: orNull(isCount),
  disk_format: orNull(isText),
  container_format: orNull(isText),
  checksum: orNull(isLike(HEX)),
  os_hash_algo: orNull(isLike(ALGORITHM)),
  os_hash_value: orNull(isLike(HEX)),
};

/** @type {Readonly<Record<string, Check>>} */
const TASK = { id: isText, status: isText, message: orNull(isText), created_at: isText };

/**
 * An image record. Throws a Failure for what is none, or is another's than was asked for.
 * @param {unknown} value
 * @param {string} [id] of the image that was asked for
 * @returns {Image}
 */
export function readImage(value, id) {
  const image = readRecord("an image", IMAGE, value);
  if (id === undefined || String(image.id).toLowerCase() === id.toLowerCase()) {
    return /** @type {any} */ (image);
  }
  throw new Failure(
    `The service answered with the image ${image.id} in place of ${id}.`,
    EXIT.unexpected,
  );
}

/**
 * A task's record. Throws a Failure for what is none.
 * @param {unknown} value
 * @returns {Task}
 */
export function readTask(value) {
  const { message, ...task } = readRecord("a task", TASK, value);
  // It becomes a part of sentences.
  const line = typeof message === "string" ? message.replace(/\s+/g, " ") : null;
  return /** @type {any} */ ({ ...task, message: line });
}

/**
 * A list in an answer. Throws a Failure where there is none.
 * @template T
 * @param {any} answer
 * @param {string} name
 * @param {(value: unknown) => T} read
 * @returns {T[]}
 */
export function readList(answer, name, read) {
  const list = answer?.[name];
  if (Array.isArray(list)) return list.map((value) => read(value));
  throw new Failure(`The service's answer has no list of ${name}.`, EXIT.unexpected);
}

/**
 * @param {string} noun
 * @param {Readonly<Record<string, Check>>} checks
 * @param {unknown} value
 * @returns {Record<string, unknown>}
 */
function readRecord(noun, checks, value) {
  const isRecord = typeof value === "object" && value !== null;
  /** @type {Record<string, unknown>} */
  const record = isRecord ? { ...value } : {};
  const wrong = Object.entries(checks).find(([name, check]) => !check(record[name]));
  if (wrong !== undefined) {
    const [name] = wrong;
    const given = JSON.stringify(record[name])?.slice(0, 100) ?? "nothing";
    throw new Failure(
      `The service answered with ${noun} whose ${name} cannot be right: ${given}.`,
      EXIT.unexpected,
    );
  }
  const missing = Object.keys(checks).filter((name) => record[name] === undefined);
  return { ...record, ...Object.fromEntries(missing.map((name) => [name, null])) };
}

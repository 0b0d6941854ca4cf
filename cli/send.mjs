// @ts-check
// Sends a file as its upload's state says, from wherever that is, to the end.

import { getHashes } from "node:crypto";
import { basename } from "node:path";
import { EXIT, Failure, TransientFailure } from "./failure.mjs";
import { FileHash } from "./file-hash.mjs";
import { deleteImage, showImage } from "./images.mjs";
import { forgetState, saveState } from "./resume-state.mjs";
import { persist } from "./retry.mjs";
import { assertUnchanged, sendPart } from "./send-part.mjs";
import { together } from "./together.mjs";
import { createUpload, joinUploads, readOffset } from "./tus.mjs";
import { waitUntilActive } from "./wait.mjs";

/** @typedef {import("./session.mjs").Session} Session */
/** @typedef {import("./reporter.mjs").Reporter} Reporter */
/** @typedef {import("./resume-state.mjs").UploadState} UploadState */
/** @typedef {import("./resume-state.mjs").Part} Part */
/** @typedef {import("./records.mjs").Image} Image */

/**
 * Sends what is missing, waits until the image is active, and compares the hashes. The state is changed and put down
 * as it goes on, and forgotten when there is nothing left to go on with.
 * @param {Session} session
 * @param {UploadState} state
 * @param {Reporter} reporter
 * @returns {Promise<Image>}
 */
export async function sendFile(session, state, reporter) {
  const hash = new FileHash(state.file);
  try {
    const { status } = await showImage(session, state.imageId);
    if (status === "queued") await sendParts(session, state, hash, reporter);
    const image = await waitUntilActive(session, state.imageId, state.oldTasks, reporter);
    reporter.say("Comparing the hashes.");
    await assertSame(image, hash, reporter, session.patience.signal);
    await forgetState(state.imageId);
    return image;
  } catch (error) {
    throw await conclude(session, state, error);
  } finally {
    reporter.clear();
  }
}

/**
 * @param {Session} session
 * @param {UploadState} state
 * @param {FileHash} hash
 * @param {Reporter} reporter
 */
async function sendParts(session, state, hash, reporter) {
  await assertUnchanged(state);
  const offsets = await beginParts(session, state, reporter);
  const done = offsets.reduce((sum, offset) => sum + offset, 0);
  reporter.begin(basename(state.file), state.size, done);
  const isJoined = state.parts.length > 1;
  // The bytes do not pass in order, so the hash is computed beside them.
  const hashing = isJoined ? hash.finish(session.patience.signal) : undefined;
  hashing?.catch(() => undefined);
  const sending = state.parts.map((part, n) => (/** @type {AbortSignal} */ signal) => {
    return sendPart(session, state, part, offsets[n] ?? 0, { hash, reporter, signal });
  });
  try {
    await together(session.patience.signal, sending);
  } finally {
    reporter.end();
  }
  if (hashing === undefined) return;
  reporter.say("Hashing the file.");
  await joinParts(session, state, { checksum: `sha512:${await hashing}` });
}

/**
 * Begins the uploads that are not begun, or that the service has given up, and tells how far each is.
 * @param {Session} session
 * @param {UploadState} state
 * @param {Reporter} reporter
 */
async function beginParts(session, state, reporter) {
  /** @type {number[]} */
  const offsets = [];
  for (const part of state.parts) {
    const offset = part.url === null ? undefined : await findOffset(session, part.url);
    if (offset === undefined) {
      if (part.url !== null) reporter.note("The service has given the upload up: it begins anew.");
      part.url = await beginPart(session, state, part);
      await saveState(state);
    }
    offsets.push(offset ?? 0);
  }
  return offsets;
}

/**
 * @param {Session} session
 * @param {string} url
 */
async function findOffset(session, url) {
  try {
    return await persist(() => readOffset(session, url), session.patience);
  } catch (error) {
    if (error instanceof Failure && [404, 410].includes(error.status ?? 0)) return undefined;
    throw error;
  }
}

/**
 * @param {Session} session
 * @param {UploadState} state
 * @param {Part} part
 */
async function beginPart(session, { imageId, file, store, parts, size }, { offset, length }) {
  const isPartial = parts.length > 1;
  const metadata = {
    filename: basename(file),
    ...(store !== null && { store }),
    ...(isPartial && { offset: String(offset), length: String(size) }),
  };
  return await persist(
    () => createUpload(session, imageId, { length, isPartial, metadata }),
    session.patience,
  );
}

/**
 * @param {Session} session
 * @param {UploadState} state
 * @param {Record<string, string>} metadata
 */
async function joinParts(session, { imageId, parts }, metadata) {
  const urls = parts.flatMap(({ url }) => (url === null ? [] : [url]));
  await persist(async (tries) => {
    try {
      await joinUploads(session, imageId, urls, metadata);
    } catch (error) {
      // Joined by a request before, whose answer was lost.
      const isJoined = tries > 0 && (await showImage(session, imageId)).status !== "queued";
      if (!isJoined) throw error;
    }
  }, session.patience);
}

/**
 * @param {Image} image
 * @param {FileHash} hash
 * @param {Reporter} reporter
 * @param {AbortSignal | undefined} signal
 */
async function assertSame({ id, os_hash_algo, os_hash_value }, hash, reporter, signal) {
  if (os_hash_algo === null || os_hash_value === null) return;
  if (!getHashes().includes(os_hash_algo)) {
    reporter.note(`This machine computes no ${os_hash_algo}: the data was not compared.`);
    return;
  }
  const own = os_hash_algo === hash.algorithm ? hash : new FileHash(hash.path, os_hash_algo);
  if ((await own.finish(signal)) === os_hash_value) return;
  throw new Failure(
    `The image ${id} is active, but its ${os_hash_algo} is not that of ${hash.path}. Delete it and upload again.`,
    EXIT.mismatch,
  );
}

/**
 * What is left after a failure: a state to go on with, or nothing.
 * @param {Session} session
 * @param {UploadState} state
 * @param {unknown} error
 */
async function conclude(session, state, error) {
  if (!(error instanceof Failure)) return error;
  const { message, exitCode, status } = error;
  if (!isFinal(state, error)) {
    return new Failure(`${message}\nGo on with: glimpse resume ${state.file}`, exitCode, status);
  }
  await forgetState(state.imageId);
  if (exitCode !== EXIT.refused || !state.isOurs) return error;
  const isGone = await deleteImage(session, state.imageId).then(
    () => true,
    () => false,
  );
  const end = isGone ? "was removed" : "is still there";
  return new Failure(`${message}\nThe image record ${state.imageId} ${end}.`, exitCode, status);
}

/**
 * Whether trying again is of no use.
 * @param {UploadState} state
 * @param {Failure} error
 */
function isFinal({ parts }, error) {
  if (error instanceof TransientFailure) return false;
  switch (error.exitCode) {
    case EXIT.mismatch:
    case EXIT.notFound:
      return true;
    case EXIT.refused:
      // Room can be made for an upload that has begun.
      return error.status !== 413 || parts.every(({ url }) => url === null);
    default:
      return false;
  }
}

// @ts-check
// The client's side of resumable uploads, tus 1.0: https://tus.io/protocols/resumable-upload. Each call is one request;
// whoever makes it decides about another try.

import { EXIT, Failure, TransientFailure } from "./failure.mjs";
import { imagePath } from "./images.mjs";

/** @typedef {import("./session.mjs").Session} Session */

const VERSION = { "tus-resumable": "1.0.0" };

/**
 * What the service tells before an upload. Throws a Failure where it knows no resumable uploads.
 * @param {Session} session
 * @param {string} imageId
 * @param {number} size bytes of the whole data
 * @returns {Promise<{partBytes: number | undefined}>} what pieces are best a multiple of
 */
export async function describeUploads(session, imageId, size) {
  const headers = { "upload-length": String(size) };
  const request = { method: "OPTIONS", url: uploadsPath(imageId), headers };
  const answer = await session.request(request).catch((error) => {
    if (error instanceof Failure && [404, 405].includes(error.status ?? 0)) return undefined;
    throw error;
  });
  answer?.resume();
  if (answer?.headers["tus-version"] === undefined) {
    throw new Failure("This image service takes no resumable uploads.", EXIT.refused);
  }
  const maxBytes = Number(answer.headers["tus-max-size"] ?? Number.POSITIVE_INFINITY);
  if (size > maxBytes) {
    throw new Failure(`The service takes ${maxBytes} bytes an image at the most.`, EXIT.refused);
  }
  const partBytes = Number(answer.headers["glimpse-part-size"]);
  return { partBytes: Number.isSafeInteger(partBytes) && partBytes > 0 ? partBytes : undefined };
}

/**
 * Begins an upload, and gives its address.
 * @param {Session} session
 * @param {string} imageId
 * @param {object} wanted
 * @param {number} wanted.length
 * @param {boolean} [wanted.isPartial]
 * @param {Record<string, string>} wanted.metadata
 */
export async function createUpload(session, imageId, { length, isPartial = false, metadata }) {
  return await create(session, imageId, {
    "upload-length": String(length),
    ...(isPartial && { "upload-concat": "partial" }),
    ...metadataHeader(metadata),
  });
}

/**
 * Joins partial uploads, in their order, and gives the address of the whole.
 * @param {Session} session
 * @param {string} imageId
 * @param {readonly string[]} urls
 * @param {Record<string, string>} metadata
 */
export async function joinUploads(session, imageId, urls, metadata) {
  return await create(session, imageId, {
    "upload-concat": `final;${urls.join(" ")}`,
    ...metadataHeader(metadata),
  });
}

/**
 * @param {Session} session
 * @param {string} imageId
 * @param {Record<string, string>} headers
 */
async function create(session, imageId, headers) {
  const url = uploadsPath(imageId);
  const answer = await session.request({
    method: "POST",
    url,
    headers: { ...VERSION, ...headers },
  });
  answer.resume();
  const { location } = answer.headers;
  if (location === undefined) {
    throw new Failure("The service did not tell the upload's address.", EXIT.unexpected);
  }
  return session.resolve(location, url);
}

/**
 * How many bytes of an upload are there.
 * @param {Session} session
 * @param {string} url
 */
export async function readOffset(session, url) {
  const answer = await mayBeBusy(session.request({ method: "HEAD", url, headers: VERSION }));
  return offsetOf(answer);
}

/**
 * Adds bytes, and gives the offset after them.
 * @param {Session} session
 * @param {string} url
 * @param {number} offset
 * @param {import("./http.mjs").Body} body
 * @param {AbortSignal} signal
 */
export async function appendBytes(session, url, offset, body, signal) {
  const headers = {
    ...VERSION,
    "content-type": "application/offset+octet-stream",
    "upload-offset": String(offset),
  };
  const request = session.request({ method: "PATCH", url, headers, body, signal });
  return offsetOf(await mayBeBusy(request));
}

/** @param {import("./http.mjs").Answer} answer */
function offsetOf(answer) {
  answer.resume();
  const offset = Number(answer.headers["upload-offset"] ?? Number.NaN);
  if (Number.isSafeInteger(offset) && offset >= 0) return offset;
  throw new Failure("The service did not tell how far the upload is.", EXIT.unexpected);
}

/** Another offset than was thought, another request at work, bytes that arrived damaged: asking again helps. */
const PASSING = [409, 423, 460];

/**
 * @param {Promise<import("./http.mjs").Answer>} request
 */
async function mayBeBusy(request) {
  try {
    return await request;
  } catch (error) {
    if (!(error instanceof Failure) || !PASSING.includes(error.status ?? 0)) throw error;
    const { message, status } = error;
    throw new TransientFailure(message, { status, exitCode: EXIT.refused });
  }
}

/** @param {string} imageId */
const uploadsPath = (imageId) => `${imagePath(imageId)}/uploads`;

/**
 * @param {Record<string, string>} metadata
 * @returns {Record<string, string>}
 */
function metadataHeader(metadata) {
  const pairs = Object.entries(metadata).map(
    ([key, value]) => `${key} ${Buffer.from(value).toString("base64")}`,
  );
  return pairs.length === 0 ? {} : { "upload-metadata": pairs.join(",") };
}

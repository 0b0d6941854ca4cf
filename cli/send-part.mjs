// @ts-check
// Sends one range of a file as one upload, in requests of the chunk's size.

import { createReadStream } from "node:fs";
import { stat } from "node:fs/promises";
import { EXIT, Failure, TransientFailure, withFile } from "./failure.mjs";
import { listTasks, showImage } from "./images.mjs";
import { persist } from "./retry.mjs";
import { appendBytes, readOffset } from "./tus.mjs";

/** @typedef {import("./session.mjs").Session} Session */
/** @typedef {import("./resume-state.mjs").UploadState} UploadState */
/** @typedef {import("./resume-state.mjs").Part} Part */

const READ_BYTES = 1024 ** 2;

/**
 * @param {Session} session
 * @param {UploadState} state
 * @param {Part} part
 * @param {number} start bytes that are there
 * @param {object} tools
 * @param {import("./file-hash.mjs").FileHash} tools.hash
 * @param {import("./reporter.mjs").Reporter} tools.reporter
 * @param {AbortSignal} tools.signal
 */
export async function sendPart(session, state, part, start, { hash, reporter, signal }) {
  const { url, length } = part;
  if (url === null) throw new Failure("The upload has not begun.", EXIT.unexpected);
  let offset = start;
  // What the reporter was told, which may be more than has arrived.
  let told = start;
  /** @param {number} bytes */
  const tell = (bytes) => {
    told += bytes;
    reporter.move(bytes);
  };
  await persist(
    async (tries) => {
      if (tries > 0) offset = await findOut(session, state, part, url);
      tell(offset - told);
      while (offset < length) {
        await assertUnchanged(state);
        const size = Math.min(state.chunkBytes, length - offset);
        const body = fileBody(state.file, part.offset + offset, size, (at, bytes) => {
          hash.take(at, bytes);
          tell(bytes.length);
        });
        const reached = await appendBytes(session, url, offset, body, signal);
        if (reached <= offset)
          throw new TransientFailure("The service kept nothing of what it got.");
        offset = reached;
        tell(offset - told);
      }
    },
    { ...session.patience, signal },
    () => offset,
  );
}

/**
 * How far the upload is after a failure. Its end may have been reached, though the answer was lost.
 * @param {Session} session
 * @param {UploadState} state
 * @param {Part} part
 * @param {string} url
 */
async function findOut(session, { imageId }, { length }, url) {
  const offset = await readOffset(session, url).catch(async (error) => {
    const isGone = error instanceof Failure && [404, 410].includes(error.status ?? 0);
    if (!isGone) throw error;
    const { status } = await showImage(session, imageId);
    if (status !== "queued") return length;
    // Content that is refused ends its upload, and the answer that said so may have been cut off; a task says it, too.
    const [task] = await listTasks(session, imageId);
    const reason = task?.status === "failure" ? task.message : "as it does with refused content";
    throw new Failure(`The service has dropped the upload: ${reason}`, EXIT.refused, error.status);
  });
  if (offset === length) return offset;
  const { status } = await showImage(session, imageId);
  if (status === "queued") return offset;
  throw new Failure(`The image ${imageId} is ${status}: others gave it data.`, EXIT.refused, 409);
}

/**
 * Throws a Failure when the file is not the one that the upload began with.
 * @param {UploadState} state
 */
export async function assertUnchanged({ file, size, mtimeMs, imageId }) {
  const now = await withFile(file, () => stat(file));
  if (now.size === size && now.mtimeMs === mtimeMs) return;
  throw new Failure(
    `${file} has changed since the upload began. Delete the image ${imageId} and upload it anew.`,
    EXIT.file,
  );
}

/**
 * A range of a file as a request's body.
 * @param {string} file
 * @param {number} start
 * @param {number} size bytes
 * @param {(at: number, bytes: Buffer) => void} onBytes called as they go out
 * @returns {import("./http.mjs").Body}
 */
function fileBody(file, start, size, onBytes) {
  return {
    size,
    open: () => {
      let at = start;
      const end = start + size - 1;
      const source = createReadStream(file, { start, end, highWaterMark: READ_BYTES });
      return source.on("data", (bytes) => {
        if (typeof bytes === "string") return;
        onBytes(at, bytes);
        at += bytes.length;
      });
    },
  };
}

// @ts-check

import { EXIT, Failure, TransientFailure } from "./failure.mjs";
import { readChunks } from "./http.mjs";
import { imagePath } from "./images.mjs";
import { persist } from "./retry.mjs";
import { together } from "./together.mjs";

/** @typedef {import("./session.mjs").Session} Session */
/** @typedef {import("./gaps.mjs").Range} Range */
/** @typedef {import("./partial-file.mjs").PartialFile} PartialFile */

const MiB = 1024 ** 2;
/** A request's bytes when several run at the same time: small enough for all to end at about the same time. */
const LARGEST_PIECE = 64 * MiB;
const SMALLEST_PIECE = MiB;

/**
 * Brings the bytes that a partial file misses, in several requests at the same time.
 * @param {Session} session
 * @param {PartialFile} file
 * @param {number} parallel
 * @param {object} tools
 * @param {import("./file-hash.mjs").FileHash | undefined} tools.hash
 * @param {import("./reporter.mjs").Reporter} tools.reporter
 */
export async function fetchRanges(session, file, parallel, { hash, reporter }) {
  const share = Math.ceil(file.gaps.bytes / parallel);
  const pieceBytes =
    parallel === 1
      ? Number.POSITIVE_INFINITY
      : Math.min(Math.max(share, SMALLEST_PIECE), LARGEST_PIECE);
  /** @param {AbortSignal} signal */
  const work = async (signal) => {
    for (let next = file.gaps.take(pieceBytes); next; next = file.gaps.take(pieceBytes)) {
      const range = next;
      await persist(
        () =>
          fetchRange(session, file, range, signal, (at, bytes) => {
            hash?.take(at, bytes);
            reporter.move(bytes.length);
          }),
        { ...session.patience, signal },
        () => range.start,
      );
    }
  };
  await together(session.patience.signal, Array(parallel).fill(work));
}

/**
 * Brings one range, whose start follows what was written.
 * @param {Session} session
 * @param {PartialFile} file
 * @param {Range} range
 * @param {AbortSignal} signal
 * @param {(at: number, bytes: Buffer) => void} onBytes
 */
async function fetchRange(session, file, range, signal, onBytes) {
  const { imageId, hash, size } = file.whole;
  const answer = await session.request({
    url: `${imagePath(imageId)}/file`,
    signal,
    headers: {
      accept: "application/octet-stream",
      range: `bytes=${range.start}-${range.end - 1}`,
      // Glimpse's tag of the data is its hash; other data is then not taken for the rest of this.
      "if-range": `"${hash}"`,
    },
  });
  assertRange(answer, range, size);
  for await (const chunk of readChunks(answer, signal)) {
    const bytes = chunk.subarray(0, range.end - range.start);
    await file.write(bytes, range.start);
    onBytes(range.start, bytes);
    range.start += bytes.length;
  }
  if (range.start < range.end) throw new TransientFailure("The download broke off.");
}

/**
 * @param {import("./http.mjs").Answer} answer
 * @param {Range} range
 * @param {number} size
 */
function assertRange(answer, { start, end }, size) {
  const { statusCode, headers } = answer;
  const isPart = statusCode === 206 && headers["content-range"]?.startsWith(`bytes ${start}-`);
  const isWhole = statusCode === 200 && start === 0 && end === size;
  if (isPart || isWhole) return;
  answer.destroy();
  if (statusCode === 204) throw new Failure("The image has no data.", EXIT.refused);
  throw new Failure("The service gave other bytes than were asked for.", EXIT.refused);
}

// @ts-check
// glimpse upload FILE

import { randomUUID } from "node:crypto";
import { stat } from "node:fs/promises";
import { basename, resolve } from "node:path";
import { EXIT, Failure, withFile } from "./failure.mjs";
import { guessFormats, warnOfPacking } from "./format.mjs";
import { createImage, findImage, listTasks } from "./images.mjs";
import { parseCount, parseSize, readRecord, recordOptions } from "./options.mjs";
import { FORMAT, forgetState, saveState } from "./resume-state.mjs";
import { persist } from "./retry.mjs";
import { sendFile } from "./send.mjs";
import { renderImage } from "./table.mjs";
import { describeUploads } from "./tus.mjs";
import { chooseChunkBytes, cutFile, DEFAULT_CHUNK_BYTES } from "./upload-plan.mjs";

/** @typedef {import("./session.mjs").Session} Session */

/** As many uploads as one image may have is 64 at the service; nobody needs half of them. */
const MAX_PARALLEL = 32;

/** @type {import("./options.mjs").Command} */
export const upload = {
  usage: "glimpse upload FILE [options]",
  summary: "send a file as a new image, resuming by itself",
  operands: ["FILE"],
  options: {
    ...recordOptions,
    image: { type: "string", argument: "IMAGE", help: "give the data to this queued image" },
    store: { type: "string", argument: "STORE", help: "the store that the data goes to" },
    parallel: { type: "string", argument: "N", help: "send N ranges at the same time (1)" },
    "chunk-size": { type: "string", argument: "SIZE", help: "bytes a request, e.g. 32M (64M)" },
  },

  async run({ operands: [given = ""], values, open, reporter, print }) {
    const file = resolve(given);
    const parallel = parseCount("--parallel", values.parallel ?? "1", MAX_PARALLEL);
    const chunkBytes = parseSize("--chunk-size", values["chunk-size"]) ?? DEFAULT_CHUNK_BYTES;
    const { size, mtimeMs } = await statFile(file);
    const record =
      values.image === undefined ? await describeFile(file, values, reporter) : undefined;
    const session = await open();
    const image = record ?? (await findQueued(session, values.image ?? ""));
    const { partBytes } = await persist(
      () => describeUploads(session, image.id, size),
      session.patience,
    );
    /** @type {import("./resume-state.mjs").UploadState} */
    const state = {
      format: FORMAT,
      imageUrl: session.imageUrl,
      imageId: image.id,
      isOurs: record !== undefined,
      ...{ file, size, mtimeMs },
      chunkBytes: chooseChunkBytes(chunkBytes, partBytes),
      store: values.store ?? null,
      parts: cutFile(size, parallel, partBytes).map((range) => ({ url: null, ...range })),
      oldTasks: record ? [] : (await listTasks(session, image.id)).map(({ id }) => id),
    };
    // Before anything is made, so that nothing is made in vain where it cannot be put down.
    await saveState(state);
    if (record !== undefined) await create(session, record);
    print(await sendFile(session, state, reporter), renderImage);
  },
};

/** @param {string} file */
async function statFile(file) {
  const facts = await withFile(file, () => stat(file));
  if (facts.isFile()) return facts;
  throw new Failure(`${file} is no file.`, EXIT.file);
}

/**
 * The record of a new image for the file.
 * @param {string} file
 * @param {import("./options.mjs").Values} values
 * @param {import("./reporter.mjs").Reporter} reporter
 */
async function describeFile(file, values, reporter) {
  const disk = values["disk-format"];
  /** @type {import("./format.mjs").Formats} */
  const guess = disk === undefined ? await guessFormats(file) : { disk, container: "bare" };
  const warning = guess.warning ?? (await warnOfPacking(file, guess.disk));
  if (warning !== undefined) reporter.note(warning);
  return {
    name: basename(file),
    disk_format: guess.disk,
    container_format: guess.container,
    ...readRecord(values),
    id: randomUUID(),
  };
}

/**
 * @param {Session} session
 * @param {string} wanted
 */
async function findQueued(session, wanted) {
  const image = await findImage(session, wanted);
  if (image.status === "queued") return image;
  throw new Failure(`The image ${image.id} is ${image.status}, not queued.`, EXIT.refused);
}

/**
 * Makes the image's record; where that is refused there is nothing to go on with.
 * @param {Session} session
 * @param {Record<string, unknown> & {id: string}} record
 */
async function create(session, record) {
  try {
    await createImage(session, record);
  } catch (error) {
    await forgetState(record.id);
    throw error;
  }
}

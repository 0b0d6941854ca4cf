// @ts-check
// glimpse resume [FILE|IMAGE]

import { resolve } from "node:path";
import { EXIT, Failure } from "./failure.mjs";
import { formatBytes } from "./progress.mjs";
import { listStates } from "./resume-state.mjs";
import { sendFile } from "./send.mjs";
import { renderImage, renderTable } from "./table.mjs";

/** @typedef {import("./resume-state.mjs").UploadState} UploadState */

/** @type {import("./options.mjs").Command} */
export const resume = {
  usage: "glimpse resume [FILE|IMAGE] [options]",
  summary: "go on with unfinished uploads, or the one of that file or image",
  operands: ["[FILE|IMAGE]"],
  options: {
    list: { type: "boolean", help: "only tell which there are" },
  },

  async run({ operands: [wanted], values, open, reporter, print, signal }) {
    const session = await open();
    const all = await listStates(session.imageUrl);
    const states = wanted === undefined ? all : all.filter((state) => isMeant(state, wanted));
    if (values.list) return print(states, renderStates);
    if (wanted !== undefined && states.length === 0) {
      throw new Failure(`There is no unfinished upload of ${wanted} here.`, EXIT.notFound);
    }
    if (states.length === 0) reporter.note("There are no unfinished uploads to this cloud.");
    /** @type {unknown[]} */
    const failures = [];
    for (const state of states) {
      try {
        print(await sendFile(session, state, reporter), renderImage);
      } catch (error) {
        // The others can still be done.
        if (signal.aborted || !(error instanceof Failure)) throw error;
        if (failures.length > 0) reporter.note(String(failures.at(-1)));
        failures.push(error);
      }
    }
    if (failures.length > 0) throw failures.at(-1);
  },
};

/**
 * @param {UploadState} state
 * @param {string} wanted
 */
function isMeant({ file, imageId }, wanted) {
  return imageId === wanted || file === resolve(wanted);
}

/** @param {readonly UploadState[]} states */
function renderStates(states) {
  return renderTable(
    ["IMAGE", "SIZE", "FILE"],
    states.map(({ imageId, size, file }) => [imageId, formatBytes(size), file]),
  );
}

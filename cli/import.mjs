// @ts-check
// glimpse import URL

import { randomUUID } from "node:crypto";
import { basename } from "node:path";
import { EXIT, Failure, TransientFailure } from "./failure.mjs";
import { formatOfName } from "./format.mjs";
import { createImage, deleteImage, importImage, showImage } from "./images.mjs";
import { readRecord, recordOptions } from "./options.mjs";
import { renderImage } from "./table.mjs";
import { waitUntilActive } from "./wait.mjs";

/** @typedef {import("./session.mjs").Session} Session */

/** @type {import("./options.mjs").Command} */
export const importUrl = {
  usage: "glimpse import URL [options]",
  summary: "have the service fetch an image from the web",
  operands: ["URL"],
  options: {
    ...recordOptions,
    checksum: {
      type: "string",
      argument: "ALGORITHM:HEX",
      help: "what the data must hash to, e.g. sha512:…",
    },
    store: { type: "string", argument: "STORE", help: "the store that the data goes to" },
    wait: { type: "boolean", help: "wait until the image is active" },
  },

  async run({ operands: [uri = ""], values, open, reporter, print }) {
    const record = describe(uri, values);
    const { checksum, store } = values;
    if (checksum !== undefined && !/^[a-z0-9-]+:[0-9a-f]+$/i.test(checksum)) {
      const hint = "it must look like sha512:0123abcd…";
      throw new Failure(`--checksum '${checksum}' is no hash: ${hint}`, EXIT.usage);
    }
    const session = await open();
    const { id } = await createImage(session, record);
    await begin(session, id, {
      method: { name: "web-download", uri, ...(checksum !== undefined && { checksum }) },
      ...(store !== undefined && { stores: [store] }),
    });
    try {
      const image = values.wait
        ? await waitUntilActive(session, id, [], reporter)
        : await showImage(session, id);
      print(image, renderImage);
    } finally {
      reporter.clear();
    }
  },
};

/**
 * The record of a new image for the address.
 * @param {string} uri
 * @param {import("./options.mjs").Values} values
 */
function describe(uri, values) {
  if (!URL.canParse(uri)) throw new Failure(`${uri} is no address.`, EXIT.usage);
  const disk = values["disk-format"] ?? formatOfName(uri);
  if (disk === undefined) {
    throw new Failure(
      "The address does not tell the format: say it with --disk-format (qcow2, raw, …).",
      EXIT.usage,
    );
  }
  return {
    name: basename(new URL(uri).pathname) || uri,
    container_format: "bare",
    disk_format: disk,
    ...readRecord(values),
    id: randomUUID(),
  };
}

/**
 * Begins the import; a record that the service will not import into goes again.
 * @param {Session} session
 * @param {string} id
 * @param {Record<string, unknown>} request
 */
async function begin(session, id, request) {
  try {
    await importImage(session, id, request);
  } catch (error) {
    // It may have begun by a request before, whose answer was lost.
    const image = await showImage(session, id).catch(() => undefined);
    if (image !== undefined && image.status !== "queued") return;
    const isFinal = error instanceof Failure && !(error instanceof TransientFailure);
    if (isFinal) await deleteImage(session, id).catch(() => undefined);
    throw error;
  }
}

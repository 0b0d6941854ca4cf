// @ts-check
// glimpse list

import { listImages } from "./images.mjs";
import { formatBytes } from "./progress.mjs";
import { renderTable } from "./table.mjs";

/** @typedef {import("./records.mjs").Image} Image */

const FILTERS = ["name", "status", "visibility"];

/** @type {import("./options.mjs").Command} */
export const list = {
  usage: "glimpse list [options]",
  summary: "show the images that you see",
  operands: [],
  options: {
    name: { type: "string", argument: "NAME", help: "only those of this name" },
    status: { type: "string", argument: "STATUS", help: "only those in this status" },
    visibility: { type: "string", argument: "WHO", help: "only those of this visibility" },
    tag: { type: "string", multiple: true, argument: "TAG", help: "only those with the tag" },
  },

  async run({ values, open, print }) {
    const filters = new URLSearchParams();
    for (const name of FILTERS) if (values[name] !== undefined) filters.set(name, values[name]);
    for (const tag of values.tag ?? []) filters.append("tag", tag);
    const session = await open();
    /** @type {Image[]} */
    const images = [];
    for await (const image of listImages(session, filters)) images.push(image);
    print(images, renderImages);
  },
};

/** @param {readonly Image[]} images */
function renderImages(images) {
  const rows = images.map(({ id, name, status, size, disk_format, visibility }) => [
    ...[id, name ?? "", status],
    ...[size === null ? "" : formatBytes(size), disk_format ?? "", visibility],
  ]);
  return renderTable(["ID", "NAME", "STATUS", "SIZE", "FORMAT", "VISIBILITY"], rows);
}

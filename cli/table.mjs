// @ts-check

import { printable } from "./printable.mjs";
import { formatBytes } from "./progress.mjs";

/**
 * Rows under a head, in columns as wide as they need to be. Cells may be other people's words.
 * @param {readonly string[]} head
 * @param {readonly (readonly string[])[]} cells
 */
export function renderTable(head, cells) {
  const rows = cells.map((row) => row.map((cell) => printable(cell)));
  const widths = head.map((title, column) =>
    Math.max(title.length, ...rows.map((row) => row[column]?.length ?? 0)),
  );
  return [head, ...rows]
    .map((row) => row.map((cell, column) => cell.padEnd(widths[column] ?? 0)).join("  "))
    .map((line) => `${line.trimEnd()}\n`)
    .join("");
}

/**
 * An image for people.
 * @param {import("./records.mjs").Image} image
 */
export function renderImage(image) {
  const { id, name, status, visibility, size, disk_format, container_format } = image;
  const rows = [
    ["id", id],
    ["name", name ?? ""],
    ["status", status],
    ["size", size === null ? "" : `${formatBytes(size)} (${size} bytes)`],
    ["format", `${disk_format} in ${container_format}`],
    ["visibility", visibility],
    [image.os_hash_algo ?? "hash", image.os_hash_value ?? ""],
  ];
  const told = rows.filter(([, value]) => value !== "");
  const width = Math.max(...told.map(([name = ""]) => name.length));
  return told
    .map(([name = "", value]) => `${printable(name).padEnd(width)}  ${printable(value ?? "")}\n`)
    .join("");
}

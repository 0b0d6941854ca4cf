// @ts-check

import { formatBytes } from "./progress.mjs";

/**
 * Rows under a head, in columns as wide as they need to be.
 * @param {readonly string[]} head
 * @param {readonly (readonly string[])[]} rows
 */
export function renderTable(head, rows) {
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
 * @param {import("./images.mjs").Image} image
 */
export function renderImage(image) {
  const { id, name, status, visibility, size, disk_format, container_format } = image;
  const rows = [
    ["id", id],
    ["name", printable(name)],
    ["status", status],
    ["size", size === null ? "" : `${formatBytes(size)} (${size} bytes)`],
    ["format", `${disk_format} in ${container_format}`],
    ["visibility", visibility],
    [image.os_hash_algo ?? "hash", image.os_hash_value ?? ""],
  ];
  const told = rows.filter(([, value]) => value !== "");
  const width = Math.max(...told.map(([name = ""]) => name.length));
  return told.map(([name = "", value]) => `${name.padEnd(width)}  ${value}\n`).join("");
}

/**
 * Names and messages are other people's: what would move a terminal's cursor is not printed.
 * @param {string | null} text
 */
export function printable(text) {
  return (text ?? "").replace(/\p{Cc}/gu, "\ufffd");
}

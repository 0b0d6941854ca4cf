// @ts-check
// The ids of the development users and projects were names once. Keystone's are 32 hexadecimal digits, and Horizon's
// addresses take no others.

import { existsSync } from "node:fs";
import { writeFile } from "node:fs/promises";
import { join } from "node:path";

/** @typedef {import("@cloudflare/workers-types").D1Database} D1Database */

/** @type {Readonly<Record<string, string>>} */
export const RENAMED = {
  "project-demo": "f22ed6f0a0c58a0a0c087488a1556c72",
  "project-other": "f931f2aecdce5962e4c9259b2314f1fa",
  "user-admin": "3e8919c689158f909b3a48ed36c4a3d0",
  "user-demo": "ef4f336426b456c6c2f62b31198da17e",
  "user-demo-reader": "63fb648132e7c3ca4ffe3dc2be3679a8",
  "user-other": "a809340be9e428115fdbce543ef7cd6e",
  "user-other-reader": "32afcafd05ca9792f1b5e36d23ee3998",
};

/** Where ids of projects and users stand. A trigger keeps what repeats an image's owner. */
const COLUMNS = [
  ["images", "owner"],
  ["image_members", "member_id"],
  ["tasks", "owner"],
  ["tasks", "user_id"],
];

/**
 * Gives the images of an older state directory to the same projects under their present ids, all or none. Once only:
 * an identity document of somebody's own may use the names.
 * @param {D1Database} database
 * @param {string} stateDir
 */
export async function renameDevelopmentIds(database, stateDir) {
  const done = join(stateDir, "development-ids.json");
  if (existsSync(done)) return;
  const updates = Object.entries(RENAMED).flatMap(([from, to]) => [
    ...COLUMNS.map(([table, column]) =>
      database.prepare(`UPDATE ${table} SET ${column} = ?2 WHERE ${column} = ?1`).bind(from, to),
    ),
    // By now it counts nothing.
    database.prepare("DELETE FROM usage WHERE project = ?").bind(from),
  ]);
  await database.batch(updates);
  await writeFile(done, `${JSON.stringify(RENAMED, null, 2)}\n`);
}

import { readFileSync } from "node:fs";
import { join } from "node:path";

const path = join(import.meta.dirname, "../../dev/identity.json");
const { projects, users } = JSON.parse(readFileSync(path, "utf8"));

function idOf(records: readonly { id: string; name: string }[], name: string): string {
  const found = records.find((record) => record.name === name);
  if (found === undefined) throw new Error(`dev/identity.json has no ${name}.`);
  return found.id;
}

/** The ids of what dev/identity.json names so. */
export const DEMO_PROJECT = idOf(projects, "demo");
export const OTHER_PROJECT = idOf(projects, "other");
export const DEMO_USER = idOf(users, "demo");

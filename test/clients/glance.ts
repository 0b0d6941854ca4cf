import { developmentClouds } from "../../scripts/clouds.mjs";
import type { Server } from "./server.ts";

/** The environment that `glance` signs in with, as the user of that entry in clouds.yaml. */
export function glanceEnvironment(server: Server, cloudName: string): Record<string, string> {
  const cloud = developmentClouds.find(({ name }) => name === cloudName);
  if (cloud === undefined) throw new Error(`There is no cloud ${cloudName}.`);
  return {
    HOME: server.stateDir,
    OS_AUTH_URL: `${server.url}/identity/v3`,
    OS_USERNAME: cloud.username,
    OS_PASSWORD: cloud.password,
    OS_PROJECT_NAME: cloud.project,
    OS_USER_DOMAIN_NAME: "Default",
    OS_PROJECT_DOMAIN_NAME: "Default",
    OS_IMAGE_API_VERSION: "2",
  };
}

/** One value of the table that `glance` prints. */
export function cellOf(table: string, key: string): string {
  const row = table.split("\n").find((line) => line.split("|")[1]?.trim() === key);
  if (row === undefined) throw new Error(`No ${key} in:\n${table}`);
  return row.split("|")[2]?.trim() ?? "";
}

/** A table that `glance` has broken into narrow lines, with what a cell says in one piece. */
export function unwrapped(table: string): string {
  return table.replaceAll(/ *\|\n\| +\| /g, "");
}

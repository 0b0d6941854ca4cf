import { isJsonObject } from "../lib/json.ts";
import { isReserved } from "./properties.ts";

/** What can be done to an image on its way in (contract 10 §14); converting it takes tools that Workers lack. */
export const IMPORT_PLUGINS = ["no_op", "inject_image_metadata", "image_decompression"] as const;

/** The plugins of a deployment. */
export interface ImportPlugins {
  readonly plugins: readonly (typeof IMPORT_PLUGINS)[number][];
  readonly inject: Injection;
}

/** What inject_image_metadata adds to images, and whose images it leaves alone. */
export interface Injection {
  /** Lower case. */
  readonly ignoreUserRoles: readonly string[];
  readonly properties: ReadonlyMap<string, string>;
}

/**
 * Reads `{"ignore_user_roles": ["admin"], "inject": {"name": "value"}}`, both optional. Names that the service keeps
 * for itself are dropped, as the reference does. Throws an Error with a sentence.
 */
export function parseInjection(json: string): Injection {
  const document: unknown = JSON.parse(json);
  if (!isJsonObject(document)) throw new Error("it is not a JSON object");
  const { ignore_user_roles: roles = ["admin"], inject = {}, ...others } = document;
  const [unknown] = Object.keys(others);
  if (unknown !== undefined) throw new Error(`"${unknown}" is not known there`);
  if (!Array.isArray(roles) || !roles.every((role) => typeof role === "string")) {
    throw new Error("ignore_user_roles is not a list of roles");
  }
  if (!isJsonObject(inject)) throw new Error("inject is not an object of properties");
  const properties = new Map<string, string>();
  for (const [name, value] of Object.entries(inject)) {
    if (typeof value !== "string") throw new Error(`the property "${name}" is not a text`);
    if (!isReserved(name)) properties.set(name, value);
  }
  return { ignoreUserRoles: roles.map((role) => role.toLowerCase()), properties };
}

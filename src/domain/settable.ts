import { type Image, VISIBILITIES } from "./image.ts";
import { isFact } from "./properties.ts";

/*
 * The base properties that callers may set: how a value that has passed the image schema becomes part of an
 * image. The readers below narrow what the schema has already checked; when one throws, the schema and this
 * table disagree, which is a bug of ours and no Fault.
 */

/** Turns a checked value into the change it makes to an image. */
export type Setter = (value: unknown) => Partial<Image>;

/** By wire name (contract PRO-4 … PRO-8); `id` is missing because only create takes it. */
const SETTERS: ReadonlyMap<string, Setter> = new Map<string, Setter>([
  ["name", (value) => ({ name: textOrNull(value) })],
  ["visibility", (value) => ({ visibility: readVisibility(value) })],
  ["owner", (value) => ({ owner: readOwner(value) })],
  ["protected", (value) => ({ isProtected: flag(value) })],
  ["os_hidden", (value) => ({ isHidden: flag(value) })],
  ["tags", (value) => ({ tags: [...new Set(texts(value))] })],
  ["disk_format", (value) => ({ diskFormat: textOrNull(value) })],
  ["container_format", (value) => ({ containerFormat: textOrNull(value) })],
  ["min_disk", (value) => ({ minDisk: integer(value) })],
  ["min_ram", (value) => ({ minRam: integer(value) })],
]);

/** The setter of a base property that callers may set; undefined for every other name. */
export function setterOf(name: string): Setter | undefined {
  return SETTERS.get(name);
}

/** Whether a name of a create body is that of a custom property, and not of a base one. */
export function isCustom(name: string): boolean {
  return setterOf(name) === undefined && name !== "id" && name !== "locations" && !isFact(name);
}

/** Reads a visibility that the schema has checked. */
export function readVisibility(value: unknown): Image["visibility"] {
  return VISIBILITIES.find((visibility) => visibility === value) ?? disagree(value);
}

/** Reads an owner that the schema has checked; "" means none (contract CRE-14). */
export function readOwner(value: unknown): string | null {
  return textOrNull(value) || null;
}

/** Reads a custom property's value; null only where the operator's schema lets it pass (contract REP-19). */
export function textOrNull(value: unknown): string | null {
  return typeof value === "string" || value === null ? value : disagree(value);
}

function flag(value: unknown): boolean {
  return typeof value === "boolean" ? value : disagree(value);
}

function integer(value: unknown): number {
  // Adding zero turns -0 into 0.
  return typeof value === "number" ? value + 0 : disagree(value);
}

function texts(value: unknown): readonly string[] {
  const isTexts =
    Array.isArray(value) && value.every((item): item is string => typeof item === "string");
  return isTexts ? value : disagree(value);
}

function disagree(value: unknown): never {
  throw new TypeError(`the image schema let a value of type ${typeof value} pass`);
}

import { Fault } from "./fault.ts";
import type { Image } from "./image.ts";
import type { Limits } from "./limits.ts";
import { changeLocations, type LocationOperation, type LocationRules } from "./locations.ts";
import { assertPropertyQuota } from "./properties.ts";
import { assertMay, type PropertyProtection } from "./property-protection.ts";
import { type Setter, setterOf, textOrNull } from "./settable.ts";
import { formatsAreOpen } from "./status.ts";
import { assertFits, assertStorable } from "./storable.ts";
import { assertTagQuota } from "./tags.ts";

/*
 * The image patch language (contract 02 §2.6): add, replace and remove, one level deep. patch-parse.ts reads
 * it; here it is applied, all or nothing.
 */

/** One checked operation; plain data, since it crosses to the image's object. */
export type PatchOperation =
  | {
      readonly op: "add";
      readonly property: string;
      readonly value: unknown;
      /** v2.0 does not let add overwrite (contract PRO-9, PRO-11). */
      readonly mustBeNew: boolean;
    }
  | { readonly op: "replace"; readonly property: string; readonly value: unknown }
  | { readonly op: "remove"; readonly property: string }
  | LocationOperation;

/** What applying a patch needs to know beyond the image; visible and modify_image are checked already. */
export interface PatchOptions {
  readonly limits: Limits;
  readonly isAdmin: boolean;
  readonly protection: PropertyProtection;
  readonly locations: LocationRules;
  /** Throws a Fault unless the caller may have the image as it would then be (contract POL-6, POL-7, POL-15). */
  readonly authorize: (
    rule: "publicize_image" | "communitize_image" | "set_image_location" | "delete_image_location",
    changed: Image,
  ) => void;
  readonly nowMs: number;
}

type ValueOperation = Exclude<PatchOperation, LocationOperation>;

/**
 * The image with the whole patch applied; when any operation fails, nothing has changed. An empty patch is no
 * change at all (contract PAT-6, TIM-3).
 */
export function applyPatch(
  image: Image,
  operations: readonly PatchOperation[],
  options: PatchOptions,
): Image {
  if (operations.length === 0) return image;
  // One copy that all operations work on: a copy for each would cost their number squared.
  const properties = new Map(image.properties);
  let changed: Image = { ...image, properties };
  for (const operation of operations) {
    if (!("property" in operation)) {
      changed = changeLocations(changed, operation, options);
      continue;
    }
    const set = setterOf(operation.property);
    if (set === undefined) changeProperty(properties, operation, options);
    else changed = changeBase(changed, operation, set, options);
  }

  // A full image may still lose or replace properties (contract PRO-14).
  const hasNewName = [...properties.keys()].some((name) => !image.properties.has(name));
  if (hasNewName) assertPropertyQuota(properties, options.limits);
  assertFits(changed);
  assertStorable(changed);
  return { ...changed, revision: image.revision + 1, updatedAtMs: options.nowMs };
}

/**
 * Changes a custom property in place (contract PRO-9, PRO-10). One that the caller may not read is to it as if it
 * were absent (contract 13 §9).
 */
function changeProperty(
  properties: Map<string, string | null>,
  operation: ValueOperation,
  { protection }: PatchOptions,
): void {
  const name = operation.property;
  const exists = properties.has(name) && protection.may("read", name);
  if (operation.op === "add") {
    if (exists && operation.mustBeNew) throw new Fault("property_exists", { name });
    assertMay(protection, exists ? "update" : "create", name);
    properties.set(name, textOrNull(operation.value));
    return;
  }
  if (!exists) throw new Fault("property_missing", { name });
  assertMay(protection, operation.op === "remove" ? "delete" : "update", name);
  if (operation.op === "remove") properties.delete(name);
  else properties.set(name, textOrNull(operation.value));
}

/** Changes a base property, which always exists (contract PRO-4 … PRO-8, PRO-11). */
function changeBase(
  image: Image,
  operation: ValueOperation,
  set: Setter,
  options: PatchOptions,
): Image {
  const name = operation.property;
  if (operation.op === "remove") throw new Fault("property_not_removable", { name });
  const changed: Image = { ...image, ...set(operation.value) };
  authorizeChange(name, changed, options);
  if (operation.op === "add" && operation.mustBeNew) throw new Fault("property_exists", { name });
  if ((name === "disk_format" || name === "container_format") && !formatsAreOpen(image.status)) {
    throw new Fault("property_fixed", { name, status: image.status });
  }
  if (name === "tags") assertTagQuota(changed.tags, options.limits);
  return changed;
}

/** Judges the changes that modify_image alone does not allow; an unchanged value is judged too (PRO-6, PRO-16). */
function authorizeChange(name: string, changed: Image, options: PatchOptions): void {
  if (name === "owner" && !options.isAdmin) {
    throw new Fault("forbidden_reason", {
      reason: "Only an administrator may change an image's owner.",
    });
  }
  if (name !== "visibility") return;
  if (changed.visibility === "public") options.authorize("publicize_image", changed);
  if (changed.visibility === "community") options.authorize("communitize_image", changed);
}

import type { Image } from "./image.ts";
import type { Task } from "./task.ts";

/*
 * What the service itself notes among an image's properties while an import goes on (contract 10 §10). Clients
 * follow an import by these, so their names and spelling are the reference's: both lists are store ids in
 * alphabetical order with commas between, and stay, empty, once there was an import.
 *
 * Lists name stores only where callers know of stores: whoever passes ids in here takes them through
 * `Stores.shownIds`, which gives none in a single-store service.
 */

/** The id of the task that holds the image; there while an import goes on. */
export const IMPORT_TASK = "os_glance_import_task";
/** The stores that the import under way has still to fill. */
export const IMPORTING_TO_STORES = "os_glance_importing_to_stores";
/** The stores that an import left without a copy, until a later one means to fill them. */
export const FAILED_IMPORT = "os_glance_failed_import";

type Properties = Image["properties"];
type Noted = Pick<Image, "properties">;

/** The task that holds the import lock, undefined when it is free (contract 10 §7). */
export function importTaskOf(image: Noted): string | undefined {
  return image.properties.get(IMPORT_TASK) ?? undefined;
}

/** The stores that the import under way has still to fill, sorted (contract 10 §10). */
export function importingStores(image: Noted): readonly string[] {
  return listOf(image.properties, IMPORTING_TO_STORES);
}

/** The lock taken, and the stores about to be filled (contract 10 §7, §8 step 2). */
export function withImportStarted(
  properties: Properties,
  { taskId, stores }: { readonly taskId: string; readonly stores: readonly string[] },
): Properties {
  const failed = listOf(properties, FAILED_IMPORT).filter((id) => !stores.includes(id));
  return new Map(properties)
    .set(IMPORT_TASK, taskId)
    .set(IMPORTING_TO_STORES, encode([...listOf(properties, IMPORTING_TO_STORES), ...stores]))
    .set(FAILED_IMPORT, encode(failed));
}

/** The lock taken by work that fills no store (contract 11 §8, Lock and task visibility). */
export function withLock(properties: Properties, taskId: string): Properties {
  return new Map(properties).set(IMPORT_TASK, taskId);
}

export function withoutLock(properties: Properties): Properties {
  const unlocked = new Map(properties);
  unlocked.delete(IMPORT_TASK);
  return unlocked;
}

/** A store that has its copy (contract 10 §8 step 6). */
export function withStoreDone(properties: Properties, storeId: string): Properties {
  const left = listOf(properties, IMPORTING_TO_STORES).filter((id) => id !== storeId);
  return new Map(properties).set(IMPORTING_TO_STORES, encode(left));
}

/**
 * The lock released, and the stores noted that were to have a copy and have none (contract 10 §9). A lock
 * that is stolen ends the old import with no store failed: nothing of it stays in the lists (§7).
 */
export function withImportEnded(
  properties: Properties,
  { failed }: { readonly failed: readonly string[] },
): Properties {
  const ended = new Map(properties)
    .set(IMPORTING_TO_STORES, "")
    .set(FAILED_IMPORT, encode([...listOf(properties, FAILED_IMPORT), ...failed]));
  ended.delete(IMPORT_TASK);
  return ended;
}

const MINUTE_MS = 60_000;

/** Until when a task holds its image, if it shows no sign of life (contract 10 §7, IMP-15). */
export function lockExpiresAtMs({ status, updatedAtMs }: Task): number {
  return updatedAtMs + (status === "pending" ? 120 : 60) * MINUTE_MS;
}

function listOf(properties: Properties, name: string): readonly string[] {
  return (properties.get(name) ?? "").split(",").filter((id) => id !== "");
}

function encode(stores: readonly string[]): string {
  return [...new Set(stores)].sort().join();
}

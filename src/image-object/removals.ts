import { Fault } from "../domain/fault.ts";
import type { Image, Location } from "../domain/image.ts";
import { isRemote } from "../domain/locations.ts";
import { log } from "../lib/log.ts";
import type { Keeper } from "./keeper.ts";
import type { Owed } from "./ledger.ts";
import { blobsOfUpload } from "./resumable-record.ts";

/** Bytes of so many keys are removed in one alarm; the next one follows at once. */
const REMOVALS_AN_ALARM = 20;
const REMOVAL_MS_AN_ALARM = 20_000;

/** The pause after the n-th failed removal of bytes: doubling, from ten seconds to an hour. */
function backOffMs(failures: number): number {
  return Math.min(10_000 * 2 ** failures, 3_600_000);
}

/** Somewhere in a store. */
export type Blob = Pick<Owed, "storeId" | "key">;

/**
 * Bytes that must go. They are owed before the row stops naming them, and the row is asked before each removal,
 * so that neither is forgotten nor is anything removed that is still named.
 */
export class Removals {
  constructor(private readonly keeper: Keeper) {}

  /**
   * A write after which bytes are to go. Should it fail, the alarm finds the row alive and spares them. A write
   * whose answer was lost may have been made, or may land yet: then the row is asked at once, and once more a
   * lease later.
   */
  async owing(doomed: readonly Owed[], write: () => Promise<void>): Promise<void> {
    if (doomed.length === 0) return write();
    const { ledger, config } = this.keeper;
    const { owed } = await ledger.read();
    await ledger.write({ owed: [...owed, ...doomed] });
    try {
      await write();
    } catch (error) {
      const dueMs = Date.now() + config.uploadLeaseMs;
      const again = doomed.map((entry) => ({ ...entry, dueMs }));
      await ledger.write({ owed: [...(await ledger.read()).owed, ...again] });
      throw error;
    }
  }

  /**
   * The bytes to be removed now. Those that the row names are struck off: a write that was thought lost has been made.
   * Those that the work under way names may be named by the row in the end, or not, so they are put off.
   */
  async due(image: Image | undefined): Promise<readonly Owed[]> {
    const { ledger, config } = this.keeper;
    const { upload, job, owed, resumables } = await ledger.read();
    const nowMs = Date.now();
    const due = owed.filter((entry) => entry.dueMs <= nowMs).slice(0, REMOVALS_AN_ALARM);
    const inRow = image === undefined ? [] : blobsOf(image);
    // A base that is the image's own goes when the row no longer names it: the copy is then made of another.
    const inWork = [
      ...[upload, job?.target, job?.base?.isOurs ? job.base : undefined],
      ...(job?.method.name === "resumable-upload" ? job.method.segments : []),
      ...resumables.flatMap(blobsOfUpload),
    ];
    const isIn = (blobs: readonly (Blob | undefined)[], entry: Owed) =>
      blobs.some((blob) => blob !== undefined && isSameBlob(entry, blob));
    const struckOff = due.filter((entry) => isIn(inRow, entry));
    const putOff = due.filter((entry) => !isIn(inRow, entry) && isIn(inWork, entry));
    if (struckOff.length + putOff.length > 0) {
      const dueMs = nowMs + config.uploadLeaseMs;
      const later = putOff.map((entry) => ({ ...entry, dueMs }));
      const others = owed.filter((entry) => !struckOff.includes(entry) && !putOff.includes(entry));
      await ledger.write({ owed: [...others, ...later] });
    } else if (due.length === 0) {
      // An alarm may come early; it is set again.
      await ledger.write({});
    }
    return due.filter((entry) => !struckOff.includes(entry) && !putOff.includes(entry));
  }

  /**
   * Removes bytes. It is done outside the lock, for a store in trouble takes its time: a key that is owed is never
   * used again.
   */
  async remove(due: readonly Owed[]): Promise<void> {
    const stillOwed: Owed[] = [];
    const done: Owed[] = [];
    const startedAtMs = Date.now();
    for (const entry of due) {
      stillOwed.push(...(await this.#remove(entry)));
      done.push(entry);
      // A lease that runs out meanwhile waits for this alarm to end; the next one goes on.
      if (Date.now() - startedAtMs > REMOVAL_MS_AN_ALARM) break;
    }
    await this.keeper.alone(() => this.#strikeOff(done, stillOwed));
  }

  /** One removal; gives what is then still owed. */
  async #remove(entry: Owed): Promise<readonly Owed[]> {
    try {
      const store = this.keeper.store(entry.storeId);
      if (entry.multipartId !== undefined) {
        await store.abortMultipart(entry.key, entry.multipartId);
      }
      await store.remove(entry.key);
    } catch (error) {
      const reason = error instanceof Fault ? (error.cause ?? error) : error;
      log({ event: "removal_failed", image_id: entry.imageId, error: String(reason) });
      const failures = entry.failures + 1;
      return [{ ...entry, failures, dueMs: Date.now() + backOffMs(failures) }];
    }
    if (entry.againAtMs === undefined) return [];
    return [{ ...entry, failures: 0, dueMs: entry.againAtMs, againAtMs: undefined }];
  }

  /** Takes entries that were dealt with off the ledger, and puts down what of them is still owed. */
  async #strikeOff(done: readonly Owed[], stillOwed: readonly Owed[]): Promise<void> {
    const { ledger } = this.keeper;
    const isDone = (entry: Owed) =>
      done.some((other) => isSameBlob(other, entry) && other.dueMs === entry.dueMs);
    const { owed } = await ledger.read();
    await ledger.write({ owed: [...owed.filter((entry) => !isDone(entry)), ...stillOwed] });
  }
}

export function isSameBlob(one: Blob, other: Blob): boolean {
  return one.storeId === other.storeId && one.key === other.key;
}

/** Everything in our own stores that an image's row names; what lies elsewhere is not ours to remove. */
export function blobsOf({ locations, staged }: Pick<Image, "locations" | "staged">): Blob[] {
  const own = locations.filter((location) => !isRemote(location));
  const named = staged === null ? own : [...own, staged];
  return named.map(({ store, key }) => ({ storeId: store, key }));
}

/** Bytes that the image's row names as yet, to be removed as soon as it does not. */
export function owe(imageId: string, { store, key }: Location, nowMs: number): Owed {
  return {
    imageId,
    storeId: store,
    key,
    multipartId: undefined,
    dueMs: nowMs,
    failures: 0,
    againAtMs: undefined,
  };
}

/** Bytes that were being written: something under way may land behind the first removal. */
export function oweUnfinished(
  imageId: string,
  unfinished: Blob & Pick<Owed, "multipartId">,
  nowMs: number,
  leaseMs: number,
): Owed {
  const { storeId, key, multipartId } = unfinished;
  const entry = owe(imageId, { store: storeId, key }, nowMs);
  return { ...entry, multipartId, againAtMs: nowMs + leaseMs };
}

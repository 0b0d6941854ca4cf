import type { BlobStore } from "../blob/store.ts";
import { type Database, openDatabase } from "../db/database.ts";
import {
  type FoundImage,
  findImage,
  updateImage,
  updateOpenUploads,
  updateReservation,
} from "../db/images.ts";
import { type Demand, readUsage, withinQuotas } from "../db/usage.ts";
import { Fault } from "../domain/fault.ts";
import type { Image, OpenUploads } from "../domain/image.ts";
import { type QuotaName, usedOf } from "../domain/quota.ts";
import { assertMove } from "../domain/status.ts";
import { type Config, loadConfig } from "../env.ts";
import { FifoLock } from "../lib/fifo-lock.ts";
import { Ledger } from "./ledger.ts";
import { type Caller, type Outcome, settle } from "./rpc.ts";

/** More that a project is about to use, whose limits then have to hold. */
export interface Charge {
  readonly projectId: string | null;
  readonly demands: readonly Demand[];
}

/** Bytes that work of unknown size asks for, in all. */
export interface Growth {
  readonly of: QuotaName;
  readonly projectId: string | null;
  /** Granted already. */
  readonly held: number;
  /** Without which it cannot go on. */
  readonly needed: number;
  readonly wanted: number;
}

/** How many bytes more are asked for at a time where the size is unknown and space is limited. */
export const GRANT_BYTES = 64 * 1024 ** 2;

/**
 * What every kind of work on one image goes through: the lock that puts changes in order, the ledger of what is
 * unfinished, and the row. Each change is decided on the row as it stands and written back under its revision.
 */
export class Keeper {
  readonly ledger: Ledger;
  readonly db: Database;
  readonly #lock = new FifoLock();

  constructor(
    state: DurableObjectState,
    private readonly env: Env,
  ) {
    this.ledger = new Ledger(state.storage);
    this.db = openDatabase(env.DB);
  }

  get config(): Config {
    return loadConfig(this.env);
  }

  /** Does some work alone. */
  alone<T>(work: () => Promise<T>): Promise<T> {
    return this.#lock.run(work);
  }

  /** Answers a call from outside: its work is done alone, and its faults cross RPC as data. */
  answer<T>(work: (config: Config) => Promise<T>): Promise<Outcome<T>> {
    return settle(this.alone(async () => work(this.config)));
  }

  store(storeId: string): BlobStore {
    return this.config.openStore(storeId);
  }

  find(caller: Caller): Promise<FoundImage> {
    return findImage(this.db, caller.imageId, caller.identity.projectId);
  }

  /** The image, if the caller's rule lets it do what it came for. */
  async findPermitted(caller: Caller): Promise<Image> {
    const found = await this.find(caller);
    this.config.policy.enforceOnImage(caller.rule, caller.identity, found);
    return found.image;
  }

  /** The image, undefined when it is deleted. */
  async present(imageId: string): Promise<Image | undefined> {
    try {
      // A ledger may name it in capitals, from before ids had one spelling (migrations/0009).
      return (await findImage(this.db, imageId.toLowerCase(), null)).image;
    } catch (error) {
      if (error instanceof Fault && error.code === "image_not_found") return undefined;
      throw error;
    }
  }

  /** Writes a changed image; a move of its status that the machine does not have is a bug. */
  async write(before: Image, after: Image): Promise<void> {
    assertMove(before.status, after.status);
    await updateImage(this.db, before, after);
  }

  /** The same for a change that makes a project use more: nothing is written beyond its limits. */
  async writeWithin({ projectId, demands }: Charge, before: Image, after: Image): Promise<void> {
    assertMove(before.status, after.status);
    await withinQuotas(this.db, this.config.quotas, projectId, demands, (guards) =>
      updateImage(this.db, before, after, guards),
    );
  }

  /** Grants work under way so many bytes in all, within what its project may use. See `grant`. */
  async reserve({ projectId, demands }: Charge, image: Image, bytes: number): Promise<void> {
    await withinQuotas(this.db, this.config.quotas, projectId, demands, (guards) =>
      updateReservation(this.db, image, bytes, guards),
    );
  }

  /** Puts down which resumable uploads are open, within what their project may have. */
  async setOpenUploads(
    { projectId, demands }: Charge,
    image: Image,
    open: OpenUploads,
  ): Promise<void> {
    await withinQuotas(this.db, this.config.quotas, projectId, demands, (guards) =>
      updateOpenUploads(this.db, image, open, guards),
    );
  }

  /**
   * Grants work whose size nobody knows its next bytes: `wanted` in all, or as many as the project has left. `put` writes
   * what is granted under its charge. Throws `quota_over` when that is less than `needed`.
   */
  async grant(
    { of, projectId, held, needed, wanted }: Growth,
    put: (bytes: number, charge: Charge) => Promise<void>,
  ): Promise<number> {
    try {
      await put(wanted, { projectId, demands: [{ of, delta: wanted - held }] });
      return wanted;
    } catch (error) {
      if (!(error instanceof Fault) || error.code !== "quota_over") throw error;
      const left = await this.#leftOf(of, projectId);
      const granted = held + left;
      if (granted < needed) throw error;
      await put(granted, { projectId, demands: [{ of, delta: left }] });
      return granted;
    }
  }

  /** Bytes that a project may still use of something that is limited. */
  async #leftOf(of: QuotaName, projectId: string | null): Promise<number> {
    const limit = this.config.quotas.limitOn(of, projectId);
    if (limit === undefined) return Number.MAX_SAFE_INTEGER;
    // A part of a unit does not count.
    const most = (limit.maximum + 1) * limit.unit - 1;
    return Math.max(0, most - usedOf(limit.name, await readUsage(this.db, projectId)));
  }

  /** One change of the record by its rule; a change that returns the very same image writes nothing. */
  change(caller: Caller, change: (image: Image, config: Config) => Image): Promise<Outcome<void>> {
    return this.answer(async (config) => {
      const image = await this.findPermitted(caller);
      const changed = change(image, config);
      if (changed === image) return;
      const updatedAtMs = Date.now();
      await this.write(image, { ...changed, revision: image.revision + 1, updatedAtMs });
    });
  }
}

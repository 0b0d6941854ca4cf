import { assertExpected } from "../domain/expected-hash.ts";
import { Fault } from "../domain/fault.ts";
import { type Hashes, type Image, type Location, withoutData } from "../domain/image.ts";
import { withoutLock } from "../domain/import-notes.ts";
import { assertFormats, type ImportMethod } from "../domain/import-plan.ts";
import { exceeds } from "../domain/limits.ts";
import { isRemote } from "../domain/locations.ts";
import { hasData } from "../domain/status.ts";
import { rejected } from "../net/safe-fetch.ts";
import type { Base, ImportJob } from "./import-job.ts";
import { TIME_IS_UP } from "./import-memory.ts";
import type { Mover } from "./import-mover.ts";
import type { ImportRecord } from "./import-record.ts";
import type { Charge, Keeper } from "./keeper.ts";
import { doorOf, probeLocation, remoteSource } from "./remote-location.ts";

/** What a job that adds a location has to do. */
export type LocationMethod = Extract<ImportMethod, { name: "add-location" }>;

/**
 * Adding a location to a queued image (contract 11 §8): its server is asked for the size, and the data is read through
 * the hashes unless that is turned off. Where hashes were declared, the image is `importing` until the data has turned
 * out to have them; else it is active at once, and is given its hashes when they are known.
 *
 *     probe ──► (importing) ──► hash ──► active        hashes declared
 *     probe ──► active ──► hash ──► its hashes         none declared
 *     probe ──► active                                 not to be hashed
 */
export class LocationWork {
  constructor(
    private readonly keeper: Keeper,
    private readonly record: ImportRecord,
    private readonly mover: Mover,
    private readonly work: {
      readonly job: ImportJob;
      readonly method: LocationMethod;
      readonly signal: AbortSignal;
    },
  ) {}

  /** The one thing to be done next; ends with a checkpoint. */
  async step(): Promise<void> {
    const { job, method } = this.work;
    const { base } = job;
    if (base === undefined || method.source === undefined) return this.#probe();
    if (!method.isHashed || this.mover.isHashed(base.hashes)) {
      assertExpected(method.isHashed ? job.expected : undefined, base.hashes);
      return this.keeper.alone(() => this.#succeed(base));
    }
    const hashes = await this.#hash();
    await this.mover.checkpoint({ ...job, base: { ...base, hashes } });
  }

  async #probe(): Promise<void> {
    const { job, method, signal } = this.work;
    const { url, storeId, isHashed } = method;
    const { stores, limits } = this.keeper.config;
    // A service may have named anything, and nothing but another server's data can be taken (contract 11 §8).
    const isTakeable = isRemote({ key: url }) && stores.find(storeId)?.type === "http";
    if (!isTakeable) throw rejected("no store here takes such addresses");
    const source = await probeLocation(url, limits.imageBytes, {
      ...doorOf(this.keeper.config),
      signal,
    });
    const { size } = source;
    const state = { isOurs: false, isPlain: true, inspected: undefined };
    const base = { storeId, key: url, size, hashes: {}, ...state };
    // Whatever is not read through is done with the next step, which makes the image active.
    if (isHashed) await this.keeper.alone(() => this.#begin(base));
    await this.mover.checkpoint({ ...job, base, method: { ...method, source } });
  }

  /** The row shows that the data is there, or that it is being held against what was declared. Doing it again is none. */
  async #begin(base: Base): Promise<void> {
    const image = await this.record.heldOrGone(this.work.job);
    if (image.status === "importing" || this.#isIn(image)) return assertSize(image, base);
    const after =
      this.work.job.expected === undefined
        ? this.#active(image, base)
        : { ...withoutData(image, "importing", Date.now()), properties: image.properties };
    assertAddable(image, this.keeper.config.limits.imageLocations);
    await this.keeper.writeWithin(this.#chargeOf(base), image, this.record.next(after));
  }

  async #succeed(base: Base): Promise<void> {
    const { job, method } = this.work;
    const image = await this.record.heldOrGone(job);
    const isIn = this.#isIn(image);
    if (!isIn && hasData(image.status)) throw rejected("the location was taken away meanwhile");
    if (!isIn && image.status !== "importing") {
      assertAddable(image, this.keeper.config.limits.imageLocations);
    }
    // They may have been taken away while the data was read.
    assertFormats(image);
    const active = isIn ? image : this.#active(image, base);
    const after = { ...active, ...this.#hashes(base), properties: withoutLock(image.properties) };
    const result = { image_id: job.imageId, bytes: base.size, stores: [method.storeId] };
    const end = { status: "success", message: "", result } as const;
    await this.record.end(job, image, after, end, isIn ? undefined : this.#chargeOf(base));
  }

  #active(image: Image, { size }: Base): Image {
    const { storeId: store, url: key } = this.work.method;
    const locations: readonly Location[] = [{ store, key }];
    return { ...image, status: "active", size, virtualSize: null, locations, reservedBytes: 0 };
  }

  /** Declared hashes are taken as they are where nothing is to be read (contract LEP-11, LEP-12). */
  #hashes({ hashes }: Base): Pick<Image, "checksum" | "osHashAlgo" | "osHashValue"> {
    const { job, method } = this.work;
    const { expected } = job;
    const algorithm = expected?.algorithm ?? this.keeper.config.hashAlgorithm;
    const value = method.isHashed ? hashes[algorithm] : expected?.value;
    return {
      checksum: hashes.md5 ?? null,
      osHashAlgo: value === undefined ? null : algorithm,
      osHashValue: value ?? null,
    };
  }

  /** Reads the data through the hashes, on from where it was if that is possible. */
  async #hash(): Promise<Hashes> {
    const { job, method, signal } = this.work;
    const { source, url, storeId } = method;
    if (source === undefined) throw new Error("the location has not been asked for yet");
    // What is read in one pass begins anew with each try, and so does the digest.
    const digestKey = source.isResumable ? `${job.taskId}:${job.restarts}` : crypto.randomUUID();
    let reached = 0;
    try {
      const from = remoteSource(url, source, doorOf(this.keeper.config));
      return await this.mover.hash(from, { key: digestKey, storeId }, (position) => {
        reached = position;
        return reached > method.reached;
      });
    } catch (error) {
      const isTooSlow = signal.aborted && signal.reason === TIME_IS_UP && !source.isResumable;
      if (isTooSlow) throw tooSlow();
      if (!signal.aborted) await this.#noteTry(method, Math.max(reached, method.reached), error);
      throw error;
    }
  }

  /** What the next try has to know. A try that came no farther than one before is no progress, or it would go on so. */
  async #noteTry(method: LocationMethod, reached: number, error: unknown): Promise<void> {
    const isChanged = error instanceof Fault && error.code === "source_changed";
    const source = isChanged ? undefined : method.source;
    if (source === method.source && reached === method.reached) return;
    await this.mover.checkpoint({ ...this.work.job, method: { ...method, source, reached } });
  }

  #isIn({ status, locations }: Image): boolean {
    const isOurs = ({ key }: Location) => key === this.work.method.url;
    return hasData(status) && locations.some(isOurs);
  }

  /** The one limit that locations count for (contract 12 §6). */
  #chargeOf({ size: delta }: Base): Charge {
    const { projectId } = this.work.job;
    if (this.keeper.config.quotas.hasFour) return { projectId, demands: [] };
    return { projectId, demands: [{ of: "image_size_total", delta }] };
  }
}

function assertSize({ size }: Image, base: Base): void {
  if (size !== null && size !== base.size) throw rejected("its data was replaced by other data");
}

/** An upload may have come in between, for it needs no lock (contract 10 §7, Not guarded by it). */
function assertAddable(image: Image, maximum: number): void {
  const { id: imageId, status, locations } = image;
  if (status !== "queued") throw new Fault("locations_fixed", { imageId, status });
  const attempted = locations.length + 1;
  if (exceeds(attempted, maximum)) {
    throw new Fault("quota_exceeded", { attempted, what: "locations", maximum });
  }
  assertFormats(image);
}

function tooSlow(): Fault {
  return rejected("it cannot be read from any place on, and takes too long to be read at once");
}

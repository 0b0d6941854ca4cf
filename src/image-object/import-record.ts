import { assertWritten, imageUpdate } from "../db/images.ts";
import { type TaskChange, updateTask } from "../db/tasks.ts";
import { withinQuotas } from "../db/usage.ts";
import { Fault } from "../domain/fault.ts";
import { type Image, type Location, withoutData } from "../domain/image.ts";
import { assertSameSignature } from "../domain/image-signature.ts";
import {
  importTaskOf,
  withImportEnded,
  withoutLock,
  withStoreDone,
} from "../domain/import-notes.ts";
import { assertMove, hasData } from "../domain/status.ts";
import { failedByFailure, type ImportJob, nextStore, withDescription } from "./import-job.ts";
import type { Charge, Keeper } from "./keeper.ts";
import type { Owed } from "./ledger.ts";
import { owe, oweUnfinished } from "./removals.ts";
import { outrun } from "./resumable-record.ts";

/**
 * What the image's row and the task come to say of an import; all of it runs under the lock. A row is written
 * first and the ledger behind it: whatever dies in between is done again, and comes to the same.
 */
export class ImportRecord {
  constructor(private readonly keeper: Keeper) {}

  /** The image, if the import's task still holds it. */
  async held(job: ImportJob): Promise<Image | undefined> {
    const image = await this.keeper.present(job.imageId);
    return image !== undefined && importTaskOf(image) === job.taskId ? image : undefined;
  }

  /** The same; throws `image_gone` where it does not. */
  async heldOrGone(job: ImportJob): Promise<Image> {
    const image = await this.held(job);
    if (image === undefined) throw new Fault("image_gone", { imageId: job.imageId });
    return image;
  }

  /** A store has its copy (contract 10 §8 steps 6 and 7); with the last one the import is over. */
  async copied(before: ImportJob, location: Location): Promise<void> {
    const job: ImportJob = {
      ...before,
      copies: [...before.copies, location],
      target: undefined,
      failures: 0,
    };
    if (nextStore(job) === undefined) return this.succeed(job, location);
    const image = await this.heldOrGone(job);
    const added = job.mustSucceed ? [] : [location];
    const properties = withStoreDone(image.properties, location.store);
    const after = this.next({ ...this.#withCopies(image, job, added), properties });
    await this.#oweStaged(image, after);
    await this.keeper.write(image, after);
    await this.keeper.ledger.write({ job });
    await this.keeper.ledger.clearParts();
  }

  /**
   * Every store has its copy, or has failed where it may (contract 10 §8 steps 7 to 10). `last` is the copy that was
   * made just now: those before it may have been named by the row already, and taken away since.
   */
  async succeed(job: ImportJob, last?: Location): Promise<void> {
    const image = await this.heldOrGone(job);
    const latest = last === undefined ? [] : [last];
    const added = job.mustSucceed ? job.copies : latest;
    const failed = this.keeper.config.stores.shownIds(job.failedStores);
    const imported = this.#withCopies(image, job, added);
    const after = { ...imported, properties: withImportEnded(imported.properties, { failed }) };
    const result = { image_id: job.imageId, bytes: job.base?.size ?? 0, stores: storesOf(job) };
    const end = { status: "success", message: endMessage(job), result } as const;
    await this.end(job, image, after, end);
  }

  /** The import fails, by a store's fault if one is named (contract 10 §9). */
  async fail(job: ImportJob, fault: Fault, failedStore?: string): Promise<void> {
    if (!job.mustSucceed && job.copies.length > 0) {
      // What is there stays: the rest has failed.
      const done = new Set(storesOf(job));
      return this.succeed({ ...job, failedStores: job.stores.filter((id) => !done.has(id)) });
    }
    const image = await this.held(job);
    const message = job.failures > 0 ? `${fault.text} (try ${job.failures + 1})` : fault.text;
    if (image === undefined) return this.drop(job, message);
    const reverted =
      image.status === "importing" ? withoutData(image, "queued", Date.now()) : image;
    const failed = this.keeper.config.stores.shownIds(failedByFailure(job, failedStore));
    const properties =
      job.method.name === "add-location"
        ? withoutLock(reverted.properties)
        : withImportEnded(reverted.properties, { failed });
    await this.end(job, image, { ...reverted, properties }, { status: "failure", message });
  }

  /** The image is no longer this import's: whatever it wrote goes, unless the row names it after all. */
  async drop(job: ImportJob, message = "The import lost the image."): Promise<void> {
    await updateTask(this.keeper.db, job.taskId, {
      status: "failure",
      message,
      ...this.endTimes(),
    });
    await this.#clear(job, undefined);
  }

  /** Everything an import has written or taken over that is not the row's yet. */
  owedBy(job: ImportJob, nowMs: number): readonly Owed[] {
    const { imageId, base, target, copies, method } = job;
    const leaseMs = this.keeper.config.uploadLeaseMs;
    const unfinished = [
      ...(target === undefined ? [] : [target]),
      ...(base?.isOurs ? [{ ...base, multipartId: undefined }] : []),
      ...copies.map(({ store, key }) => ({ storeId: store, key, multipartId: undefined })),
      ...(method.name === "resumable-upload" ? method.segments : []).map(({ storeId, key }) => ({
        ...{ storeId, key },
        multipartId: undefined,
      })),
    ];
    return unfinished
      .filter((blob, index) => unfinished.findIndex(({ key }) => key === blob.key) === index)
      .map((blob) => oweUnfinished(imageId, blob, nowMs, leaseMs));
  }

  /** The times of a task that ends now. */
  endTimes() {
    const updatedAtMs = Date.now();
    return { updatedAtMs, expiresAtMs: updatedAtMs + this.keeper.config.taskTtlMs };
  }

  /** Ends the job: row and task in one batch, and then the ledger. Nothing is written beyond a limit. */
  async end(
    job: ImportJob,
    before: Image,
    after: Image,
    end: Pick<TaskChange, "status" | "message" | "result">,
    { projectId, demands }: Charge = { projectId: null, demands: [] },
  ): Promise<void> {
    const { db, config } = this.keeper;
    const next = after.revision === before.revision ? this.next(after) : after;
    assertMove(before.status, next.status);
    const { id: imageId, revision } = next;
    await this.#oweStaged(before, next);
    const [written] = await withinQuotas(db, config.quotas, projectId, demands, (guards) =>
      db.batch([
        imageUpdate(db, before, next),
        updateTask(db, job.taskId, { ...end, ...this.endTimes() }, { imageId, revision }),
        ...guards,
      ]),
    );
    assertWritten(written, before);
    await this.#clear(job, next);
  }

  /** Takes the import off the ledger, which then owes what it wrote, but for what the row has come to name. */
  async #clear(job: ImportJob, after: Image | undefined): Promise<void> {
    const { ledger } = this.keeper;
    const nowMs = Date.now();
    const { owed, resumables } = await ledger.read();
    const isNamed = ({ key }: Owed) => after?.locations.some((location) => location.key === key);
    const doomed = this.owedBy(job, nowMs).filter((entry) => !isNamed(entry));
    const ended = after !== undefined && hasData(after.status) ? outrun(resumables, nowMs) : [];
    await ledger.write({
      job: undefined,
      owed: [...owed, ...doomed],
      resumables: ended,
      ...(after?.staged === null && { staging: undefined }),
    });
    await ledger.clearParts();
  }

  /**
   * Owes staged bytes that the row is about to name no more, which need not be the job's base: they may have been
   * unpacked. As long as the row does name them, it spares them.
   */
  async #oweStaged({ id, staged }: Image, after: Image): Promise<void> {
    if (staged === null || after.staged !== null) return;
    if (after.locations.some(({ key }) => key === staged.key)) return;
    const { ledger } = this.keeper;
    const { owed } = await ledger.read();
    await ledger.write({ owed: [...owed, owe(id, staged, Date.now())] });
  }

  /** The image with some copies more; with its first ones it becomes active. */
  #withCopies(image: Image, job: ImportJob, added: readonly Location[]): Image {
    if (added.length === 0) return image;
    if (image.status === "importing") return this.#active(image, job, added);
    const fresh = added.filter(({ key }) => !image.locations.some((known) => known.key === key));
    return { ...image, locations: [...image.locations, ...fresh] };
  }

  #active(image: Image, job: ImportJob, locations: readonly Location[]): Image {
    const { base, described } = job;
    if (base === undefined) throw new Error("an import without bytes has no copies");
    const after = withDescription(image, described);
    assertJudged(after, job);
    const { hashAlgorithm } = this.keeper.config;
    return {
      ...after,
      status: "active",
      size: base.size,
      virtualSize: base.inspected?.virtualSize ?? null,
      checksum: base.hashes.md5 ?? null,
      osHashAlgo: hashAlgorithm,
      osHashValue: base.hashes[hashAlgorithm] ?? null,
      locations,
      staged: null,
      reservedBytes: 0,
    };
  }

  /** A changed image, ready to be written. */
  next(image: Image): Image {
    return { ...image, revision: image.revision + 1, updatedAtMs: Date.now() };
  }
}

/** Formats may be changed while an import goes on: its data has to be judged by those that it gets in the end. */
function assertJudged({ diskFormat, containerFormat, properties }: Image, job: ImportJob): void {
  const inspected = job.base?.inspected;
  const isSame =
    inspected?.diskFormat === diskFormat && inspected.containerFormat === containerFormat;
  if (!isSame) throw new Fault("formats_changed");
  assertSameSignature(job.signature ?? undefined, properties);
}

function storesOf({ copies }: ImportJob): string[] {
  return copies.map(({ store }) => store);
}

function endMessage({ failedStores, lastError, base }: ImportJob): string {
  const packing = base?.inspected?.packing;
  return [
    ...(failedStores.length === 0
      ? []
      : [`No copy in ${failedStores.join(", ")}: ${lastError ?? "the store failed"}`]),
    ...(packing === undefined
      ? []
      : [`The data is packed with ${packing}, and was taken as it is.`]),
  ].join(" ");
}

import { blobKey } from "../blob/keys.ts";
import { assertWritten, findImage, imageUpdate } from "../db/images.ts";
import { countLapse } from "../db/metrics.ts";
import { insertEndedTask } from "../db/tasks.ts";
import { Fault } from "../domain/fault.ts";
import { type Image, withoutData } from "../domain/image.ts";
import { assertSameSignature, readSignature } from "../domain/image-signature.ts";
import type { Task } from "../domain/task.ts";
import { log } from "../lib/log.ts";
import type { Keeper } from "./keeper.ts";
import type { Owed, StagedBytes, Upload } from "./ledger.ts";
import { blobsOf, isSameBlob, owe, oweUnfinished } from "./removals.ts";
import { outrun } from "./resumable-record.ts";
import type {
  Caller,
  SpooledBytes,
  UploadEnd,
  UploadedData,
  UploadGrant,
  UploadRequest,
} from "./rpc.ts";

/** An image with so many keys to remove takes no more uploads until some are gone. */
const MAX_OWED = 1_000;

/** The status in which an image waits for the bytes of its upload (contract ST-2, ST-6). */
const CLAIMED: Readonly<Record<Upload["purpose"], "saving" | "uploading">> = {
  data: "saving",
  staging: "uploading",
};

/** The limit that an upload's bytes count against (contract 12 §6). */
const SPACE = { data: "image_size_total", staging: "image_stage_total" } as const;

/**
 * Uploads, for the image's data or for staging. Ledger and alarm come first, then the side effect, then the ledger
 * is cleared; so whatever dies in between is found by the alarm, which asks the row what became of it. Everything
 * here runs under the lock. docs/architecture.md draws an upload's life.
 */
export class Uploads {
  constructor(private readonly keeper: Keeper) {}

  /**
   * Claims the queued image for one upload, whose lease then runs (contract ST-2, ST-6, UPL-7, UPL-8). To be asked
   * again by the same attempt is to be granted again: its first answer may have been lost.
   */
  async begin(caller: Caller, request: UploadRequest): Promise<UploadGrant> {
    const { attemptId, declaredBytes, storeId, purpose } = request;
    const { ledger, config } = this.keeper;
    const { limits, uploadLeaseMs } = config;
    const image = await this.keeper.findPermitted(caller);
    const { upload, owed } = await ledger.read();
    const nowMs = Date.now();
    const key = blobKey(image.id, attemptId);
    const signature = purpose === "data" ? readSignature(image.properties) : undefined;
    const { diskFormat, containerFormat } = image;
    const formats = { diskFormat, containerFormat };
    const { projectId } = caller.identity;
    const mustAsk = declaredBytes === undefined || declaredBytes === 0;
    const isLimited = config.quotas.limitOn(SPACE[purpose], projectId) !== undefined;
    const reservedBytes = mustAsk && isLimited ? 0 : undefined;
    const grant = { key, leaseMs: uploadLeaseMs, formats, signature, reservedBytes };
    const isClaimed = image.status === CLAIMED[purpose] && image.staged === null;
    if (upload?.attemptId === attemptId && isClaimed) return grant;
    // A claim without a live upload is what a crash left; it passes to this upload.
    const isLeft = isClaimed && (upload === undefined || upload.deadlineMs <= nowMs);
    if (image.status !== "queued" && !isLeft) {
      throw new Fault("image_not_queued", { imageId: image.id, status: image.status });
    }
    if (purpose === "data") assertFormatsSet(image);
    assertCount(declaredBytes);
    if (declaredBytes !== undefined && declaredBytes > limits.imageBytes) {
      throw new Fault("image_too_large", { maximum: limits.imageBytes });
    }
    // One that could not be verified in the end costs no byte (contract 13 §8).
    if (signature !== undefined) await config.signatures.verifier(signature, nowMs);
    // The bytes of an attempt that was given up may be on their way out. And failing in a row, uploads would fill
    // the ledger faster than leases run out.
    const isSpent = owed.some((entry) => isSameBlob(entry, { storeId, key }));
    if (isSpent || owed.length >= MAX_OWED) throw new Fault("try_again");
    const claim: Upload = {
      imageId: image.id,
      attemptId,
      purpose,
      storeId,
      key,
      projectId,
      signature,
      multipartId: undefined,
      deadlineMs: nowMs + uploadLeaseMs,
    };
    await ledger.write({
      upload: claim,
      staging: purpose === "staging" ? this.#staging(claim) : undefined,
      owed: upload === undefined ? owed : [...owed, this.#owe(upload, nowMs)],
    });
    await this.#claim(image, claim, declaredBytes ?? 0);
    return grant;
  }

  /**
   * Grants an upload of unannounced length more bytes, `wantedBytes` in all if its project has so many left, and gives
   * how many it may bring now. Throws `quota_over` when it has brought all there are (contract STO-6).
   */
  async reserve(
    imageId: string,
    attemptId: string,
    { received, wanted }: { readonly received: number; readonly wanted: number },
  ): Promise<number> {
    const upload = await this.#current(imageId, attemptId);
    const { purpose, projectId } = upload;
    const { image } = await findImage(this.keeper.db, imageId, null);
    const held = image.reservedBytes;
    const growth = { of: SPACE[purpose], projectId, held, needed: received, wanted };
    return this.keeper.grant(growth, (bytes, charge) => this.keeper.reserve(charge, image, bytes));
  }

  /** Begins the multipart upload of bytes that do not fit one put, and renews the lease; returns its id. */
  async openMultipart(imageId: string, attemptId: string): Promise<string> {
    const upload = await this.#current(imageId, attemptId);
    const multipartId =
      upload.multipartId ?? (await this.keeper.store(upload.storeId).beginMultipart(upload.key));
    await this.#renew({ ...upload, multipartId });
    return multipartId;
  }

  /** Keeps bytes that fill no part yet, which is news of bytes as well. */
  async spool(imageId: string, attemptId: string, row: SpooledBytes): Promise<void> {
    const upload = await this.#current(imageId, attemptId);
    this.keeper.ledger.spool.append("upload", row.part, row.offset, row.bytes);
    const leaseMs = this.keeper.config.uploadLeaseMs;
    // Rows may come many a second.
    if (upload.deadlineMs - Date.now() < 0.75 * leaseMs) await this.#renew(upload);
  }

  /** The first bytes that are kept of a part. */
  async openSpooled(
    imageId: string,
    attemptId: string,
    { part, length }: { readonly part: number; readonly length: number },
  ): Promise<ReadableStream<Uint8Array>> {
    await this.#current(imageId, attemptId);
    return this.keeper.ledger.spool.open("upload", part, length);
  }

  /** Forgets what is kept of a part that is stored. */
  async dropSpooled(imageId: string, attemptId: string, part: number): Promise<void> {
    await this.#current(imageId, attemptId);
    this.keeper.ledger.spool.drop("upload", part);
  }

  /** News of bytes that arrived: the lease starts anew. Throws when the upload no longer holds the image. */
  async renew(imageId: string, attemptId: string): Promise<void> {
    await this.#renew(await this.#current(imageId, attemptId));
  }

  /** Commits what arrived: bytes first, then the one write that makes the row name them (contract ST-3, UPL-12). */
  async finish(imageId: string, attemptId: string, data: UploadedData): Promise<void> {
    const upload = await this.#current(imageId, attemptId);
    await this.#renew(upload);
    if (upload.purpose === "staging") {
      await this.keeper.ledger.write({ staging: this.#staging(upload) });
    }
    if (data.multipart !== undefined) {
      const { uploadId, parts } = data.multipart;
      await this.keeper.store(upload.storeId).completeMultipart(upload.key, uploadId, parts);
    }
    const { image } = await findImage(this.keeper.db, imageId, null);
    if (!names(image, upload.key)) await this.#commit(image, upload, data);
    const { ledger } = this.keeper;
    const { resumables } = await ledger.read();
    const ended = upload.purpose === "data" ? outrun(resumables, Date.now()) : [];
    await ledger.write({ upload: undefined, resumables: ended });
  }

  /**
   * Ends an upload that went wrong somewhere and says how it ended: the image is queued again and the bytes
   * go (contract ST-4, ST-7, UPL-13), unless the row shows that the commit came through after all.
   */
  async abandon(imageId: string, attemptId: string): Promise<UploadEnd> {
    const { ledger } = this.keeper;
    const { upload } = await ledger.read();
    const isCurrent = upload?.imageId === imageId && upload.attemptId === attemptId;
    const image = await this.keeper.present(imageId);
    if (image !== undefined && names(image, blobKey(imageId, attemptId))) {
      if (isCurrent) await ledger.write({ upload: undefined });
      return "committed";
    }
    if (isCurrent) await this.#giveUp(upload, image);
    if (image === undefined) return "image_gone";
    return isCurrent ? "abandoned" : "upload_superseded";
  }

  /** What is to go with a deleted image of the upload that holds it. */
  async owedByDeletion(nowMs: number): Promise<readonly Owed[]> {
    const { upload } = await this.keeper.ledger.read();
    return upload === undefined ? [] : [this.#owe(upload, nowMs)];
  }

  /** Ends an upload whose lease ran out, and mends a claim that was given up for lost and came through later. */
  async expire(): Promise<void> {
    const { upload, owed } = await this.keeper.ledger.read();
    const nowMs = Date.now();
    if (upload !== undefined) {
      if (upload.deadlineMs > nowMs) return;
      await this.#giveUp(upload, await this.keeper.present(upload.imageId));
      await countLapse(this.keeper.db, upload.purpose === "data" ? "file" : "stage");
      log({ event: "upload_lease_expired", image_id: upload.imageId });
      return;
    }
    const [first] = owed.filter((entry) => entry.dueMs <= nowMs);
    const image = first === undefined ? undefined : await this.keeper.present(first.imageId);
    if (image !== undefined && isClaimed(image)) {
      await this.keeper.write(image, withoutData(image, "queued", nowMs));
    }
  }

  /**
   * By alarm: gives up staged bytes that nobody has imported for too long. The image is queued again, and a task says
   * why. Whatever has become of them otherwise is forgotten.
   */
  async expireStaged(): Promise<void> {
    const { ledger, config, db } = this.keeper;
    const { staging, upload, job, owed } = await ledger.read();
    if (staging === undefined) return;
    const { imageId, key } = staging;
    const nowMs = Date.now();
    if (upload !== undefined || job !== undefined) {
      if (staging.dueMs > nowMs) return;
      const dueMs = nowMs + config.uploadLeaseMs;
      return ledger.write({ staging: { ...staging, dueMs } });
    }
    const image = await this.keeper.present(imageId);
    if (image?.staged?.key !== key) return ledger.write({ staging: undefined });
    if (staging.dueMs > nowMs) return;
    // As long as the row names them, they are spared.
    await ledger.write({ owed: [...owed, owe(imageId, image.staged, nowMs)] });
    const [written] = await db.batch([
      imageUpdate(db, image, withoutData(image, "queued", nowMs)),
      insertEndedTask(db, this.#expiryTask(staging, nowMs)),
    ]);
    assertWritten(written, image);
    log({ event: "staging_expired", image_id: imageId });
    await ledger.write({ staging: undefined });
  }

  #expiryTask({ imageId, projectId }: StagedBytes, nowMs: number): Task {
    const { stagingExpiryMs, taskTtlMs, stores } = this.keeper.config;
    const days = stagingExpiryMs / 86_400_000;
    const time = days < 1 ? `${stagingExpiryMs / 1000} seconds` : `${Math.round(days)} days`;
    return {
      ...{ id: crypto.randomUUID(), type: "api_image_import", status: "failure" },
      ...{ owner: projectId, userId: null, requestId: null, imageId, result: null },
      input: {
        image_id: imageId,
        import_req: { method: { name: "glance-direct" } },
        backend: [stores.isMulti ? stores.default.id : null],
      },
      message: `The staged data was not imported within ${time}, so it was removed.`,
      ...{ createdAtMs: nowMs, updatedAtMs: nowMs, expiresAtMs: nowMs + taskTtlMs },
    };
  }

  /** The claim's write; what of it may have been made is found out, and else undone. */
  async #claim(image: Image, claim: Upload, reservedBytes: number): Promise<void> {
    const { purpose, projectId } = claim;
    const status = CLAIMED[purpose];
    const demands = [
      { of: SPACE[purpose], delta: reservedBytes },
      { of: "image_count_uploading", delta: 1 },
    ] as const;
    try {
      const claimed = { ...withoutData(image, status, Date.now()), reservedBytes };
      await this.keeper.writeWithin({ projectId, demands }, image, claimed);
    } catch (error) {
      // A Fault says that another state stands there. Of anything else only the answer may have been lost.
      const claimed = error instanceof Fault ? undefined : await this.keeper.present(image.id);
      const isOurs = claimed?.status === status && claimed.revision === image.revision + 1;
      if (isOurs) return;
      await this.#giveUp(claim, claimed);
      throw error;
    }
  }

  /** The upload that this attempt is, if it still holds the image; else 410 or 409 (contract UPL-10). */
  async #current(imageId: string, attemptId: string): Promise<Upload> {
    const { upload } = await this.keeper.ledger.read();
    if (upload?.imageId === imageId && upload.attemptId === attemptId) return upload;
    const isGone = (await this.keeper.present(imageId)) === undefined;
    throw new Fault(isGone ? "image_gone" : "upload_superseded", { imageId });
  }

  /**
   * The one write that makes the row name the bytes. Nothing but a claimed image is written over. Should its answer
   * be lost, the uploader abandons the upload and hears that it was committed.
   */
  async #commit(image: Image, upload: Upload, data: UploadedData): Promise<void> {
    const { storeId: store, key, purpose } = upload;
    if (image.status !== CLAIMED[purpose] || image.staged !== null) {
      throw new Fault("upload_superseded", { imageId: image.id });
    }
    if (purpose === "data") assertSameSignature(upload.signature, image.properties);
    const changes: Partial<Image> =
      purpose === "staging"
        ? // Hashes of staged bytes stay hidden until the import (contract 10 §2).
          { staged: { store, key, hashes: data.hashes } }
        : {
            status: "active",
            virtualSize: data.virtualSize,
            checksum: data.hashes.md5 ?? null,
            osHashAlgo: this.keeper.config.hashAlgorithm,
            osHashValue: data.hashes[this.keeper.config.hashAlgorithm] ?? null,
            locations: [{ store, key }],
          };
    const revision = image.revision + 1;
    await this.keeper.write(image, {
      ...image,
      ...changes,
      revision,
      size: data.size,
      reservedBytes: 0,
      updatedAtMs: Date.now(),
    });
  }

  async #renew(upload: Upload): Promise<void> {
    const deadlineMs = Date.now() + this.keeper.config.uploadLeaseMs;
    await this.keeper.ledger.write({ upload: { ...upload, deadlineMs } });
  }

  /** Ends an upload that did not commit: the row first, then the ledger, which now owes the bytes. */
  async #giveUp(upload: Upload, image: Image | undefined): Promise<void> {
    const { ledger } = this.keeper;
    const nowMs = Date.now();
    if (image !== undefined && isClaimed(image)) {
      await this.keeper.write(image, withoutData(image, "queued", nowMs));
    }
    const { owed } = await ledger.read();
    const isStaged = image?.staged?.key === upload.key;
    await ledger.write({
      upload: undefined,
      owed: [...owed, this.#owe(upload, nowMs)],
      ...(!isStaged && { staging: undefined }),
    });
  }

  #staging({ imageId, key, projectId }: Upload): StagedBytes {
    return { imageId, key, projectId, dueMs: Date.now() + this.keeper.config.stagingExpiryMs };
  }

  #owe(upload: Upload, nowMs: number): Owed {
    return oweUnfinished(upload.imageId, upload, nowMs, this.keeper.config.uploadLeaseMs);
  }
}

/** Whether an image waits for an upload's bytes; a staged image has had them. */
function isClaimed({ status, staged }: Image): boolean {
  return status === "saving" || (status === "uploading" && staged === null);
}

function names(image: Image, key: string): boolean {
  return blobsOf(image).some((blob) => blob.key === key);
}

/** What is granted is never less than nothing, whoever asks. */
function assertCount(bytes: number | undefined): void {
  if (bytes === undefined || (Number.isSafeInteger(bytes) && bytes >= 0)) return;
  const reason = "it must be a whole number of bytes, 0 or more";
  throw new Fault("invalid_value", { name: "declaredBytes", reason });
}

/** Contract UPL-6: data comes only to an image that says what it is. */
export function assertFormatsSet(image: Image): void {
  const missing = [
    image.diskFormat === null ? "disk_format" : "",
    image.containerFormat === null ? "container_format" : "",
  ].filter((name) => name !== "");
  if (missing.length > 0) {
    throw new Fault("formats_missing", { missing: missing.join(" and "), imageId: image.id });
  }
}

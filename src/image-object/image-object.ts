import { DurableObject } from "cloudflare:workers";
import { blobKey } from "../blob/keys.ts";
import type { BlobStore } from "../blob/store.ts";
import { type Database, openDatabase } from "../db/database.ts";
import { withoutValues } from "../db/errors.ts";
import { buryImage, type FoundImage, findImage, updateImage } from "../db/images.ts";
import { findImageWithMember, insertMember, removeMember, updateMember } from "../db/members.ts";
import { Fault } from "../domain/fault.ts";
import { type Image, type Location, MEMBER_STATUSES, type Member } from "../domain/image.ts";
import { exceeds } from "../domain/limits.ts";
import { applyPatch, type PatchOperation } from "../domain/patch.ts";
import { assertMove, hasData } from "../domain/status.ts";
import { addTag, removeTag } from "../domain/tags.ts";
import { seesMember } from "../domain/visibility.ts";
import { type Config, loadConfig } from "../env.ts";
import { FifoLock } from "../lib/fifo-lock.ts";
import { log } from "../lib/log.ts";
import { Ledger, type Owed, type Upload } from "./ledger.ts";
import {
  type Caller,
  type Outcome,
  settle,
  type UploadEnd,
  type UploadedData,
  type UploadGrant,
  type UploadRequest,
} from "./rpc.ts";

/** An image with so many keys to remove takes no more uploads until some are gone. */
const MAX_OWED = 1_000;

/** Bytes of so many keys are removed in one alarm; the next one follows at once. */
const REMOVALS_AN_ALARM = 20;
const REMOVAL_MS_AN_ALARM = 20_000;

/** The pause after the n-th failed removal of bytes: doubling, from ten seconds to an hour. */
function backOffMs(failures: number): number {
  return Math.min(10_000 * 2 ** failures, 3_600_000);
}

/**
 * The one writer of one image. Each change runs under a first-in-first-out lock (input gates do not cover
 * D1), is decided on the row as it stands, and is written back under the row's revision, so that even a
 * second, stale instance of the object cannot overwrite a newer state.
 *
 * Its own storage, the ledger, holds unfinished work only. The order of steps is always: ledger and alarm
 * first, then the side effect, then the ledger cleared; so whatever dies in between is found by the alarm,
 * which asks the row what became of it. docs/architecture.md draws the uploads' life.
 */
export class ImageObject extends DurableObject<Env> {
  readonly #lock = new FifoLock();
  readonly #ledger: Ledger;
  readonly #db: Database;

  constructor(state: DurableObjectState, env: Env) {
    super(state, env);
    this.#ledger = new Ledger(state.storage);
    this.#db = openDatabase(env.DB);
  }

  // --- Metadata -----------------------------------------------------------------------------------------

  /** Applies a whole patch or nothing; returns the image as it then is. An empty patch changes nothing. */
  patch(caller: Caller, operations: readonly PatchOperation[]): Promise<Outcome<Image>> {
    return this.#inTurn(async ({ limits, policy }) => {
      const found = await this.#find(caller);
      const { image } = found;
      // An empty patch needs only the right to see the image (contract PAT-6).
      const rule = operations.length === 0 ? "get_image" : caller.rule;
      policy.enforceOnImage(rule, caller.identity, found);
      if (operations.length === 0) return image;
      const changed = applyPatch(image, operations, {
        limits,
        isAdmin: policy.isAdmin(caller.identity),
        authorize: (rule) => policy.enforceOnImage(rule, caller.identity, found),
        nowMs: Date.now(),
      });
      await this.#write(image, changed);
      return changed;
    });
  }

  addTag(caller: Caller, tag: string): Promise<Outcome<void>> {
    return this.#change(caller, (image, { limits }) => addTag(image, tag, limits));
  }

  removeTag(caller: Caller, tag: string): Promise<Outcome<void>> {
    return this.#change(caller, (image) => removeTag(image, tag));
  }

  /** Moves between `active` and `deactivated`; a no-op when the image is there already (contract ST-12, ST-13). */
  setStatus(caller: Caller, to: "active" | "deactivated"): Promise<Outcome<void>> {
    return this.#change(caller, (image) => {
      if (image.status === to) return image;
      if (!hasData(image.status)) {
        const action = to === "active" ? "reactivate" : "deactivate";
        throw new Fault("wrong_status", { action, imageId: image.id, status: image.status });
      }
      return { ...image, status: to };
    });
  }

  // --- Members ------------------------------------------------------------------------------------------

  addMember(caller: Caller, memberId: string): Promise<Outcome<Member>> {
    return this.#inTurn(async ({ limits, policy }) => {
      const found = await this.#findShared(caller, memberId);
      policy.enforceOnImage(caller.rule, caller.identity, found);
      const { image, member, memberCount } = found;
      if (exceeds(memberCount + 1, limits.imageMembers)) {
        throw new Fault("quota_exceeded", {
          attempted: memberCount + 1,
          what: "members",
          maximum: limits.imageMembers,
        });
      }
      if (member !== undefined) throw new Fault("member_exists", { memberId, imageId: image.id });
      return insertMember(this.#db, image, memberId, Date.now());
    });
  }

  /** Sets a member's status. Whether it is one is asked last: a 403 comes before that 400 (MEM-19). */
  setMemberStatus(caller: Caller, memberId: string, status: string): Promise<Outcome<Member>> {
    return this.#inTurn(async () => {
      const image = await this.#findMember(caller, memberId);
      const known = MEMBER_STATUSES.find((candidate) => candidate === status);
      if (known === undefined) {
        const reason = `it must be one of ${MEMBER_STATUSES.join(", ")}`;
        throw new Fault("invalid_value", { name: "status", reason });
      }
      return updateMember(this.#db, image, memberId, known, Date.now());
    });
  }

  removeMember(caller: Caller, memberId: string): Promise<Outcome<void>> {
    return this.#inTurn(async () => {
      const image = await this.#findMember(caller, memberId);
      await removeMember(this.#db, image, memberId, Date.now());
    });
  }

  // --- Deletion -----------------------------------------------------------------------------------------

  /** Makes the image 404 at once; its bytes follow by the alarm, retried until they are gone. */
  delete(caller: Caller): Promise<Outcome<void>> {
    return this.#inTurn(async ({ uploadLeaseMs }) => {
      const image = await this.#findPermitted(caller);
      if (image.isProtected) throw new Fault("image_protected", { imageId: image.id });
      const upload = await this.#ledger.upload();
      const nowMs = Date.now();
      const doomed = image.locations.map((location) => owe(image.id, location, nowMs));
      if (upload !== undefined) doomed.push(oweUpload(upload, nowMs, uploadLeaseMs));
      await this.#owing(doomed, uploadLeaseMs, () => buryImage(this.#db, image, nowMs));
      if (upload !== undefined) await this.#ledger.write(undefined, await this.#ledger.owed());
    });
  }

  /** Takes an image's copy out of one store; the last copy stays (contract 11 §4). */
  deleteFromStore(caller: Caller, storeId: string): Promise<Outcome<void>> {
    return this.#inTurn(async ({ policy, uploadLeaseMs }) => {
      const found = await this.#find(caller);
      const { image } = found;
      policy.enforceOnImage("get_image_location", caller.identity, found);
      policy.enforceOnImage(caller.rule, caller.identity, found);
      if (image.status !== "active") {
        throw new Fault("image_not_active", { imageId: image.id, status: image.status });
      }
      if (image.locations.length === 1) throw new Fault("last_copy", { imageId: image.id });
      const doomed = image.locations.find(({ store }) => store === storeId);
      if (doomed === undefined) throw new Fault("not_in_store", { imageId: image.id, storeId });
      const nowMs = Date.now();
      await this.#owing([owe(image.id, doomed, nowMs)], uploadLeaseMs, () =>
        this.#write(image, {
          ...image,
          revision: image.revision + 1,
          updatedAtMs: nowMs,
          locations: image.locations.filter((location) => location !== doomed),
        }),
      );
    });
  }

  // --- Upload -------------------------------------------------------------------------------------------

  /**
   * Claims the queued image for one upload, whose lease then runs (contract ST-2, UPL-7, UPL-8). To be asked
   * again by the same attempt is to be granted again: its first answer may have been lost.
   */
  beginUpload(
    caller: Caller,
    { attemptId, declaredBytes, storeId }: UploadRequest,
  ): Promise<Outcome<UploadGrant>> {
    return this.#inTurn(async (config) => {
      const { limits, uploadLeaseMs } = config;
      const image = await this.#findPermitted(caller);
      const upload = await this.#ledger.upload();
      const nowMs = Date.now();
      const key = blobKey(image.id, attemptId);
      const grant = { key, leaseMs: uploadLeaseMs };
      if (upload?.attemptId === attemptId && image.status === "saving") return grant;
      // `saving` without a live upload is what a crash left; the claim passes to this upload.
      const isFree =
        image.status === "queued" ||
        (image.status === "saving" && (upload === undefined || upload.deadlineMs <= nowMs));
      if (!isFree) {
        throw new Fault("image_not_queued", { imageId: image.id, status: image.status });
      }
      assertFormatsSet(image);
      if (declaredBytes !== undefined && declaredBytes > limits.imageBytes) {
        throw new Fault("image_too_large", { maximum: limits.imageBytes });
      }
      const owed = [...(await this.#ledger.owed())];
      // The bytes of an attempt that was given up may be on their way out. And failing in a row, uploads would
      // fill the ledger faster than leases run out.
      const isSpent = owed.some((entry) => isSameBlob(entry, { storeId, key }));
      if (isSpent || owed.length >= MAX_OWED) throw new Fault("try_again");
      if (upload !== undefined) owed.push(oweUpload(upload, nowMs, uploadLeaseMs));
      const claim: Upload = {
        imageId: image.id,
        attemptId,
        storeId,
        key,
        multipartId: undefined,
        deadlineMs: nowMs + uploadLeaseMs,
      };
      await this.#ledger.write(claim, owed);
      try {
        await this.#write(image, withoutData(image, "saving", nowMs));
      } catch (error) {
        // A Fault says that another state stands there. Of anything else only the answer may have been lost.
        const claimed = error instanceof Fault ? undefined : await this.#present(image.id);
        const isOurs = claimed?.status === "saving" && claimed.revision === image.revision + 1;
        if (isOurs) return grant;
        await this.#giveUp(claim, claimed, config);
        throw error;
      }
      return grant;
    });
  }

  /** Begins the multipart upload of bytes that do not fit one put, and renews the lease; returns its id. */
  openMultipart(imageId: string, attemptId: string): Promise<Outcome<string>> {
    return this.#inTurn(async (config) => {
      const upload = await this.#currentUpload(imageId, attemptId);
      const multipartId =
        upload.multipartId ?? (await this.#store(upload.storeId).beginMultipart(upload.key));
      await this.#renew({ ...upload, multipartId }, config);
      return multipartId;
    });
  }

  /** News of bytes that arrived: the lease starts anew. Throws when the upload no longer holds the image. */
  renewLease(imageId: string, attemptId: string): Promise<Outcome<void>> {
    return this.#inTurn(async (config) =>
      this.#renew(await this.#currentUpload(imageId, attemptId), config),
    );
  }

  /** Commits what arrived: bytes first, then one write that makes the image active (contract ST-3, UPL-12). */
  finishUpload(imageId: string, attemptId: string, data: UploadedData): Promise<Outcome<void>> {
    return this.#inTurn(async (config) => {
      const upload = await this.#currentUpload(imageId, attemptId);
      await this.#renew(upload, config);
      if (data.multipart !== undefined) {
        const { uploadId, parts } = data.multipart;
        await this.#store(upload.storeId).completeMultipart(upload.key, uploadId, parts);
      }
      const { image } = await findImage(this.#db, imageId, null);
      if (!refersTo(image, upload.key)) await this.#commit(image, upload, data, config);
      await this.#ledger.write(undefined, await this.#ledger.owed());
    });
  }

  /**
   * Ends an upload that went wrong somewhere and says how it ended: the image is queued again and the bytes
   * go (contract ST-4, UPL-13), unless the row shows that the commit came through after all.
   */
  abandonUpload(imageId: string, attemptId: string): Promise<Outcome<UploadEnd>> {
    return this.#inTurn(async (config) => {
      const upload = await this.#ledger.upload();
      const isCurrent = upload?.imageId === imageId && upload.attemptId === attemptId;
      const image = await this.#present(imageId);
      if (image !== undefined && refersTo(image, blobKey(imageId, attemptId))) {
        if (isCurrent) await this.#ledger.write(undefined, await this.#ledger.owed());
        return "committed";
      }
      if (isCurrent) await this.#giveUp(upload, image, config);
      if (image === undefined) return "image_gone";
      return isCurrent ? "abandoned" : "upload_superseded";
    });
  }

  /**
   * The ledger's earliest deadline has come: a lease ran out, or bytes are to be removed. The removals run outside
   * the lock, for a store in trouble takes its time: a key that is owed is never used again.
   */
  override async alarm(): Promise<void> {
    try {
      const due = await this.#lock.run(() => this.#takeStock());
      const stillOwed: Owed[] = [];
      const done: Owed[] = [];
      const startedAtMs = Date.now();
      for (const entry of due) {
        stillOwed.push(...(await this.#remove(entry)));
        done.push(entry);
        // A lease that runs out meanwhile waits for this alarm to end; the next one goes on.
        if (Date.now() - startedAtMs > REMOVAL_MS_AN_ALARM) break;
      }
      await this.#lock.run(() => this.#strikeOff(done, stillOwed));
    } catch (error) {
      // An alarm that throws is retried a few times only; this one sets itself until the work is done.
      log({ event: "image_alarm_failed", error: String(withoutValues(error)) });
      await this.ctx.storage.setAlarm(Date.now() + backOffMs(0));
    }
  }

  // --- Parts of the above -------------------------------------------------------------------------------

  #inTurn<T>(work: (config: Config) => Promise<T>): Promise<Outcome<T>> {
    return settle(this.#lock.run(async () => work(loadConfig(this.env))));
  }

  #store(storeId: string): BlobStore {
    return loadConfig(this.env).openStore(storeId);
  }

  #find(caller: Caller): Promise<FoundImage> {
    return findImage(this.#db, caller.imageId, caller.identity.projectId);
  }

  /** The image, if the caller's rule lets it do what it came for. */
  async #findPermitted(caller: Caller): Promise<Image> {
    const found = await this.#find(caller);
    loadConfig(this.env).policy.enforceOnImage(caller.rule, caller.identity, found);
    return found.image;
  }

  /**
   * A write after which bytes are to go. They are owed before the row says so: should the write fail, the alarm
   * finds the row alive and spares them. A write whose answer was lost may have been made, or may land yet: then
   * the row is asked at once, and once more a lease later.
   */
  async #owing(
    doomed: readonly Owed[],
    uploadLeaseMs: number,
    write: () => Promise<void>,
  ): Promise<void> {
    const upload = await this.#ledger.upload();
    const owed = await this.#ledger.owed();
    if (doomed.length > 0) await this.#ledger.write(upload, [...owed, ...doomed]);
    try {
      await write();
    } catch (error) {
      const dueMs = Date.now() + uploadLeaseMs;
      const again = doomed.map((entry) => ({ ...entry, dueMs }));
      await this.#ledger.write(upload, [...(await this.#ledger.owed()), ...again]);
      throw error;
    }
  }

  /** Writes a changed image; a move of its status that the machine does not have is a bug. */
  async #write(before: Image, after: Image): Promise<void> {
    assertMove(before.status, after.status);
    await updateImage(this.#db, before, after);
  }

  /** One change of the record by its rule; a change that returns the very same image writes nothing. */
  #change(caller: Caller, change: (image: Image, config: Config) => Image): Promise<Outcome<void>> {
    return this.#inTurn(async (config) => {
      const image = await this.#findPermitted(caller);
      const changed = change(image, config);
      if (changed === image) return;
      const updatedAtMs = Date.now();
      await this.#write(image, { ...changed, revision: image.revision + 1, updatedAtMs });
    });
  }

  /** The image, open for member changes by this caller: only a shared image is (contract 04 §4.1). */
  async #findShared(caller: Caller, memberId: string) {
    const { policy } = loadConfig(this.env);
    const { projectId } = caller.identity;
    const found = await findImageWithMember(this.#db, caller.imageId, projectId, memberId);
    policy.assertVisible(caller.identity, found);
    if (found.image.visibility !== "shared") {
      policy.enforceOnImage("get_image", caller.identity, found);
      throw new Fault("not_shared");
    }
    return found;
  }

  /** The image with a member that the caller may see and, by its rule, change (MEM-18 … MEM-26). */
  async #findMember(caller: Caller, memberId: string): Promise<Image> {
    const { policy } = loadConfig(this.env);
    const { image, membership, member } = await this.#findShared(caller, memberId);
    if (member === undefined || !seesMember(policy.viewer(caller.identity), image, memberId)) {
      throw new Fault("member_not_found", { memberId, imageId: image.id });
    }
    policy.enforceOnImage(caller.rule, caller.identity, { image, membership, memberId });
    return image;
  }

  /** The upload that this attempt is, if it still holds the image; else 410 or 409 (contract UPL-10). */
  async #currentUpload(imageId: string, attemptId: string): Promise<Upload> {
    const upload = await this.#ledger.upload();
    if (upload?.imageId === imageId && upload.attemptId === attemptId) return upload;
    const isGone = (await this.#present(imageId)) === undefined;
    throw new Fault(isGone ? "image_gone" : "upload_superseded", { imageId });
  }

  /**
   * The one write that makes an image active. Nothing but a claimed image is written over. Should its answer be
   * lost, the uploader abandons the upload and hears that it was committed.
   */
  async #commit(
    image: Image,
    { key, storeId }: Upload,
    data: UploadedData,
    config: Config,
  ): Promise<void> {
    if (image.status !== "saving") throw new Fault("upload_superseded", { imageId: image.id });
    await this.#write(image, {
      ...image,
      revision: image.revision + 1,
      status: "active",
      size: data.size,
      checksum: data.checksum,
      osHashAlgo: config.hashAlgorithm,
      osHashValue: data.osHashValue,
      updatedAtMs: Date.now(),
      locations: [{ store: storeId, key }],
    });
  }

  async #renew(upload: Upload, { uploadLeaseMs }: Config): Promise<void> {
    const renewed = { ...upload, deadlineMs: Date.now() + uploadLeaseMs };
    await this.#ledger.write(renewed, await this.#ledger.owed());
  }

  /** Ends an upload that did not commit: the row first, then the ledger, which now owes the bytes. */
  async #giveUp(
    upload: Upload,
    image: Image | undefined,
    { uploadLeaseMs }: Config,
  ): Promise<void> {
    const nowMs = Date.now();
    if (image?.status === "saving") {
      await this.#write(image, withoutData(image, "queued", nowMs));
    }
    const owed = [...(await this.#ledger.owed()), oweUpload(upload, nowMs, uploadLeaseMs)];
    await this.#ledger.write(undefined, owed);
  }

  /** Ends an upload whose lease ran out, and says which bytes are to be removed now. */
  async #takeStock(): Promise<readonly Owed[]> {
    const config = loadConfig(this.env);
    const expired = await this.#ledger.upload();
    const nowMs = Date.now();
    if (expired !== undefined && expired.deadlineMs <= nowMs) {
      await this.#giveUp(expired, await this.#present(expired.imageId), config);
      log({ event: "upload_lease_expired", image_id: expired.imageId });
    }
    const [upload, owed] = await Promise.all([this.#ledger.upload(), this.#ledger.owed()]);
    const due = owed.filter((entry) => entry.dueMs <= nowMs).slice(0, REMOVALS_AN_ALARM);
    const [first] = due;
    if (first === undefined) {
      // An alarm may come early; it is set again.
      await this.#ledger.write(upload, owed);
      return [];
    }
    const image = await this.#present(first.imageId);
    if (image?.status === "saving" && upload === undefined) {
      // A claim that was given up for lost, and whose write came through behind that.
      await this.#write(image, withoutData(image, "queued", nowMs));
    }
    // What the row or the present upload names is not owed: a write that was thought lost has been made.
    const isNamed = (entry: Owed) =>
      (upload !== undefined && isSameBlob(entry, upload)) ||
      image?.locations.some(({ store, key }) => isSameBlob(entry, { storeId: store, key }));
    const spared = due.filter(isNamed);
    if (spared.length > 0) {
      await this.#ledger.write(
        upload,
        owed.filter((entry) => !spared.includes(entry)),
      );
    }
    return due.filter((entry) => !spared.includes(entry));
  }

  /** Takes entries that were dealt with off the ledger, and puts down what of them is still owed. */
  async #strikeOff(done: readonly Owed[], stillOwed: readonly Owed[]): Promise<void> {
    const isDone = (entry: Owed) =>
      done.some((other) => isSameBlob(other, entry) && other.dueMs === entry.dueMs);
    const [upload, owed] = await Promise.all([this.#ledger.upload(), this.#ledger.owed()]);
    await this.#ledger.write(upload, [...owed.filter((entry) => !isDone(entry)), ...stillOwed]);
  }

  /** One removal; gives what is then still owed. */
  async #remove(entry: Owed): Promise<readonly Owed[]> {
    try {
      const store = this.#store(entry.storeId);
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

  async #present(imageId: string): Promise<Image | undefined> {
    try {
      return (await findImage(this.#db, imageId, null)).image;
    } catch (error) {
      if (error instanceof Fault && error.code === "image_not_found") return undefined;
      throw error;
    }
  }
}

function isSameBlob(
  one: Pick<Owed, "storeId" | "key">,
  other: Pick<Owed, "storeId" | "key">,
): boolean {
  return one.storeId === other.storeId && one.key === other.key;
}

function refersTo(image: Image, key: string): boolean {
  return image.locations.some((location) => location.key === key);
}

function assertFormatsSet(image: Image): void {
  const missing = [
    image.diskFormat === null ? "disk_format" : "",
    image.containerFormat === null ? "container_format" : "",
  ].filter((name) => name !== "");
  if (missing.length > 0) {
    throw new Fault("formats_missing", { missing: missing.join(" and "), imageId: image.id });
  }
}

function withoutData(image: Image, status: "saving" | "queued", nowMs: number): Image {
  return {
    ...image,
    revision: image.revision + 1,
    status,
    size: null,
    virtualSize: null,
    checksum: null,
    osHashAlgo: null,
    osHashValue: null,
    locations: [],
    updatedAtMs: nowMs,
  };
}

function owe(imageId: string, { store, key }: Location, nowMs: number): Owed {
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

function oweUpload(upload: Upload, nowMs: number, leaseMs: number): Owed {
  const { imageId, storeId, key, multipartId } = upload;
  return {
    ...owe(imageId, { store: storeId, key }, nowMs),
    multipartId,
    againAtMs: nowMs + leaseMs,
  };
}

import { DurableObject } from "cloudflare:workers";
import { withoutValues } from "../db/errors.ts";
import { assertWritten, imageBurial } from "../db/images.ts";
import { findImageWithMember, insertMember, removeMember, updateMember } from "../db/members.ts";
import { Fault } from "../domain/fault.ts";
import { type Image, MEMBER_STATUSES, type Member } from "../domain/image.ts";
import { exceeds } from "../domain/limits.ts";
import { addsLocations, isRemote } from "../domain/locations.ts";
import { applyPatch, type PatchOperation } from "../domain/patch.ts";
import type {
  AppendRequest,
  JoinRequest,
  ResumableRequest,
  ResumableView,
} from "../domain/resumable-upload.ts";
import { hasData } from "../domain/status.ts";
import { addTag, removeTag } from "../domain/tags.ts";
import { seesMember } from "../domain/visibility.ts";
import { log } from "../lib/log.ts";
import { CacheFills } from "./cache-fills.ts";
import { Imports } from "./imports.ts";
import { Keeper } from "./keeper.ts";
import { Survey } from "./remote-location.ts";
import { blobsOf, owe, Removals } from "./removals.ts";
import { outrun } from "./resumable-record.ts";
import { Resumables } from "./resumables.ts";
import type {
  Caller,
  ImportCall,
  LocationCall,
  Outcome,
  SpooledBytes,
  UploadEnd,
  UploadedData,
  UploadGrant,
  UploadRequest,
} from "./rpc.ts";
import { settle } from "./rpc.ts";
import { Uploads } from "./uploads.ts";

/** The pause before the alarm that follows one which failed. */
const ALARM_PAUSE_MS = 10_000;

/**
 * The one writer of one image. Each change runs under a first-in-first-out lock (input gates do not cover
 * D1), is decided on the row as it stands, and is written back under the row's revision, so that even a
 * second, stale instance of the object cannot overwrite a newer state (keeper.ts).
 *
 * Its own storage, the ledger, holds unfinished work only: an upload (uploads.ts), resumable ones (resumables.ts), an
 * import (imports.ts), bytes on their way into the cache (cache-fills.ts), bytes that must go (removals.ts). The alarm
 * stands at the earliest of their deadlines.
 */
export class ImageObject extends DurableObject<Env> {
  readonly #keeper: Keeper;
  readonly #removals: Removals;
  readonly #uploads: Uploads;
  readonly #imports: Imports;
  readonly #resumables: Resumables;
  readonly #cacheFills: CacheFills;

  constructor(state: DurableObjectState, env: Env) {
    super(state, env);
    this.#keeper = new Keeper(state, env);
    this.#removals = new Removals(this.#keeper);
    this.#uploads = new Uploads(this.#keeper);
    this.#imports = new Imports(this.#keeper);
    this.#resumables = new Resumables(this.#keeper, this.#imports);
    this.#cacheFills = new CacheFills(this.#keeper);
  }

  // --- Metadata -----------------------------------------------------------------------------------------

  /** Applies a whole patch or nothing; returns the image as it then is. An empty patch changes nothing. */
  patch(caller: Caller, operations: readonly PatchOperation[]): Promise<Outcome<Image>> {
    return settle(this.#patch(caller, operations));
  }

  async #patch(caller: Caller, operations: readonly PatchOperation[]): Promise<Image> {
    const survey = new Survey(this.#keeper.config);
    if (operations.some(addsLocations)) {
      // What can be refused is refused before anybody else's server is asked.
      await this.#patched(caller, operations, survey);
      await survey.carryOut();
    }
    return this.#keeper.alone(async () => {
      const { image, changed } = await this.#patched(caller, operations, survey);
      if (changed !== image) await this.#writePatched(caller, image, changed);
      return changed;
    });
  }

  /** The image with the patch applied, if the caller may. */
  async #patched(caller: Caller, operations: readonly PatchOperation[], { sizeOf }: Survey) {
    const { limits, policy, protectProperties, stores, hashAlgorithm, shows } = this.#keeper.config;
    const found = await this.#keeper.find(caller);
    const { image } = found;
    // An empty patch needs only the right to see the image (contract PAT-6).
    const rule = operations.length === 0 ? "get_image" : caller.rule;
    policy.enforceOnImage(rule, caller.identity, found);
    const changed = applyPatch(image, operations, {
      limits,
      isAdmin: policy.isAdmin(caller.identity),
      protection: protectProperties(caller.identity),
      locations: { areOpen: shows.locations, stores, hashAlgorithm, sizeOf },
      authorize: (rule) => policy.enforceOnImage(rule, caller.identity, found),
      nowMs: Date.now(),
    });
    return { image, changed };
  }

  /** Writes a patched image; what it no longer names of our own goes, and what it names more is charged (LIM-9). */
  async #writePatched({ identity }: Caller, image: Image, changed: Image): Promise<void> {
    const nowMs = Date.now();
    const kept = new Set(blobsOf(changed).map(({ key }) => key));
    const doomed = blobsOf(image)
      .filter(({ key }) => !kept.has(key))
      .map(({ storeId, key }) => owe(image.id, { store: storeId, key }, nowMs));
    const delta = bytesOf(changed) - bytesOf(image);
    const isCharged = delta > 0 && !this.#keeper.config.quotas.hasFour;
    const demands = isCharged ? [{ of: "image_size_total", delta } as const] : [];
    await this.#removals.owing(doomed, () =>
      this.#keeper.writeWithin({ projectId: identity.projectId, demands }, image, changed),
    );
    if (!hasData(changed.status)) return;
    const { resumables } = await this.#keeper.ledger.read();
    const ended = outrun(resumables, nowMs);
    if (ended.length > 0) await this.#keeper.ledger.write({ resumables: ended });
  }

  addTag(caller: Caller, tag: string): Promise<Outcome<void>> {
    return this.#keeper.change(caller, (image, { limits }) => addTag(image, tag, limits));
  }

  removeTag(caller: Caller, tag: string): Promise<Outcome<void>> {
    return this.#keeper.change(caller, (image) => removeTag(image, tag));
  }

  /** Moves between `active` and `deactivated`; a no-op when the image is there already (contract ST-12, ST-13). */
  setStatus(caller: Caller, to: "active" | "deactivated"): Promise<Outcome<void>> {
    return this.#keeper.change(caller, (image) => {
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
    return this.#keeper.answer(async ({ limits, policy }) => {
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
      return insertMember(this.#keeper.db, image, memberId, Date.now());
    });
  }

  /** Sets a member's status. Whether it is one is asked last: a 403 comes before that 400 (MEM-19). */
  setMemberStatus(caller: Caller, memberId: string, status: string): Promise<Outcome<Member>> {
    return this.#keeper.answer(async () => {
      const image = await this.#findMember(caller, memberId);
      const known = MEMBER_STATUSES.find((candidate) => candidate === status);
      if (known === undefined) {
        const reason = `it must be one of ${MEMBER_STATUSES.join(", ")}`;
        throw new Fault("invalid_value", { name: "status", reason });
      }
      return updateMember(this.#keeper.db, image, memberId, known, Date.now());
    });
  }

  removeMember(caller: Caller, memberId: string): Promise<Outcome<void>> {
    return this.#keeper.answer(async () => {
      const image = await this.#findMember(caller, memberId);
      await removeMember(this.#keeper.db, image, memberId, Date.now());
    });
  }

  // --- Deletion -----------------------------------------------------------------------------------------

  /** Makes the image 404 at once, and ends what goes on with it; its bytes follow by the alarm. */
  delete(caller: Caller): Promise<Outcome<void>> {
    return this.#keeper.answer(async () => {
      const image = await this.#keeper.findPermitted(caller);
      if (image.isProtected) throw new Fault("image_protected", { imageId: image.id });
      const nowMs = Date.now();
      const doomed = [
        ...blobsOf(image).map(({ storeId, key }) => owe(image.id, { store: storeId, key }, nowMs)),
        ...(await this.#uploads.owedByDeletion(nowMs)),
        ...(await this.#imports.owedByDeletion(nowMs)),
        ...(await this.#resumables.owedByDeletion(nowMs)),
      ];
      await this.#removals.owing(doomed, async () => {
        const [buried] = await this.#keeper.db.batch([
          imageBurial(this.#keeper.db, image, nowMs),
          this.#imports.endedByDeletion(image, nowMs),
        ]);
        assertWritten(buried, image);
      });
      await this.#keeper.ledger.write({ upload: undefined, staging: undefined });
      await this.#imports.stop(image.id);
      await this.#resumables.stop();
    });
  }

  /** Takes an image's copy out of one store; the last copy stays (contract 11 §4). */
  deleteFromStore(caller: Caller, storeId: string): Promise<Outcome<void>> {
    return this.#keeper.answer(async ({ policy }) => {
      const found = await this.#keeper.find(caller);
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
      // What lies on other people's servers stays there.
      const owed = isRemote(doomed) ? [] : [owe(image.id, doomed, nowMs)];
      await this.#removals.owing(owed, () =>
        this.#keeper.write(image, {
          ...image,
          revision: image.revision + 1,
          updatedAtMs: nowMs,
          locations: image.locations.filter((location) => location !== doomed),
        }),
      );
    });
  }

  // --- Uploads and imports ------------------------------------------------------------------------------

  beginUpload(caller: Caller, request: UploadRequest): Promise<Outcome<UploadGrant>> {
    return this.#keeper.answer(() => this.#uploads.begin(caller, request));
  }

  openMultipart(imageId: string, attemptId: string): Promise<Outcome<string>> {
    return this.#keeper.answer(() => this.#uploads.openMultipart(imageId, attemptId));
  }

  spoolUpload(imageId: string, attemptId: string, row: SpooledBytes): Promise<Outcome<void>> {
    return this.#keeper.answer(() => this.#uploads.spool(imageId, attemptId, row));
  }

  openSpooled(
    imageId: string,
    attemptId: string,
    wanted: { readonly part: number; readonly length: number },
  ): Promise<Outcome<ReadableStream<Uint8Array>>> {
    return this.#keeper.answer(() => this.#uploads.openSpooled(imageId, attemptId, wanted));
  }

  dropSpooled(imageId: string, attemptId: string, part: number): Promise<Outcome<void>> {
    return this.#keeper.answer(() => this.#uploads.dropSpooled(imageId, attemptId, part));
  }

  renewLease(imageId: string, attemptId: string): Promise<Outcome<void>> {
    return this.#keeper.answer(() => this.#uploads.renew(imageId, attemptId));
  }

  reserveUpload(
    imageId: string,
    attemptId: string,
    bytes: { readonly received: number; readonly wanted: number },
  ): Promise<Outcome<number>> {
    return this.#keeper.answer(() => this.#uploads.reserve(imageId, attemptId, bytes));
  }

  finishUpload(imageId: string, attemptId: string, data: UploadedData): Promise<Outcome<void>> {
    return this.#keeper.answer(() => this.#uploads.finish(imageId, attemptId, data));
  }

  abandonUpload(imageId: string, attemptId: string): Promise<Outcome<UploadEnd>> {
    return this.#keeper.answer(() => this.#uploads.abandon(imageId, attemptId));
  }

  createResumable(caller: Caller, request: ResumableRequest): Promise<Outcome<ResumableView>> {
    return this.#keeper.answer(() => this.#resumables.create(caller, request));
  }

  joinResumables(caller: Caller, request: JoinRequest): Promise<Outcome<ResumableView>> {
    return this.#keeper.answer(() => this.#resumables.join(caller, request));
  }

  showResumable(caller: Caller, id: string): Promise<Outcome<ResumableView>> {
    return settle(this.#resumables.show(caller, id));
  }

  /** Takes bytes for as long as they come, beside whatever else goes on with the image. */
  appendResumable(
    caller: Caller,
    id: string,
    request: AppendRequest,
    body: ReadableStream<Uint8Array>,
  ): Promise<Outcome<ResumableView>> {
    return settle(this.#resumables.append(caller, id, request, body));
  }

  terminateResumable(caller: Caller, id: string): Promise<Outcome<void>> {
    return settle(this.#resumables.terminate(caller, id));
  }

  /** Accepts an import, which then goes on by alarm; gives its task's id, none if there is nothing to do. */
  beginImport(caller: Caller, call: ImportCall): Promise<Outcome<string | undefined>> {
    return this.#imports.begin(caller, call);
  }

  /** Has an image brought into the cache by alarm; `origin` is the service's own. */
  queueForCache(imageId: string, origin: string): Promise<Outcome<void>> {
    return this.#keeper.answer(() => this.#cacheFills.queue(imageId, origin));
  }

  /** Accepts a location of a queued image, which is then asked for by alarm. */
  addLocation(caller: Caller, call: LocationCall): Promise<Outcome<void>> {
    return this.#imports.addLocation(caller, call);
  }

  /** The ledger's earliest deadline has come: a lease ran out, bytes are to be removed, an import goes on. */
  override async alarm(): Promise<void> {
    const rangAtMs = Date.now();
    try {
      const due = await this.#keeper.alone(() => this.#takeStock());
      await this.#removals.remove(due);
      await this.#imports.run();
      await this.#cacheFills.run(rangAtMs);
    } catch (error) {
      // An alarm that throws is retried a few times only; this one sets itself until the work is done.
      log({ event: "image_alarm_failed", error: String(withoutValues(error)) });
      await this.ctx.storage.setAlarm(Date.now() + ALARM_PAUSE_MS);
    }
  }

  // --- Parts of the above -------------------------------------------------------------------------------

  /** Ends an upload whose lease ran out, and says which bytes are to be removed now. */
  async #takeStock() {
    const { ledger } = this.#keeper;
    await this.#uploads.expire();
    await this.#uploads.expireStaged();
    const { owed, resumables } = await ledger.read();
    const nowMs = Date.now();
    const first = resumables[0] ?? owed.find(({ dueMs }) => dueMs <= nowMs);
    const image = first && (await this.#keeper.present(first.imageId));
    if (first !== undefined) await this.#resumables.expire(image);
    return this.#removals.due(image);
  }

  /** The image, open for member changes by this caller: only a shared image is (contract 04 §4.1). */
  async #findShared(caller: Caller, memberId: string) {
    const { policy } = this.#keeper.config;
    const { projectId } = caller.identity;
    const found = await findImageWithMember(this.#keeper.db, caller.imageId, projectId, memberId);
    policy.assertVisible(caller.identity, found);
    if (found.image.visibility !== "shared") {
      policy.enforceOnImage("get_image", caller.identity, found);
      throw new Fault("not_shared");
    }
    return found;
  }

  /** The image with a member that the caller may see and, by its rule, change (MEM-18 … MEM-26). */
  async #findMember(caller: Caller, memberId: string): Promise<Image> {
    const { policy } = this.#keeper.config;
    const { image, membership, member } = await this.#findShared(caller, memberId);
    if (member === undefined || !seesMember(policy.viewer(caller.identity), image, memberId)) {
      throw new Fault("member_not_found", { memberId, imageId: image.id });
    }
    policy.enforceOnImage(caller.rule, caller.identity, { image, membership, memberId });
    return image;
  }
}

/** Bytes that an image counts for: each copy, wherever it lies (contract 12 §5). */
function bytesOf({ size, locations }: Image): number {
  return (size ?? 0) * locations.length;
}

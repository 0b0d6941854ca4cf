import { Digests, type HashAlgorithm } from "../blob/digest.ts";
import { blobKey } from "../blob/keys.ts";
import { MAX_RESUMABLE_BYTES, resumablePartBytes } from "../blob/part-size.ts";
import { withoutValues } from "../db/errors.ts";
import { countLapse } from "../db/metrics.ts";
import type { ExpectedHash } from "../domain/expected-hash.ts";
import { Fault, type FaultCode } from "../domain/fault.ts";
import type { Hashes, Image, OpenUploads } from "../domain/image.ts";
import { readSignature } from "../domain/image-signature.ts";
import type {
  AppendRequest,
  JoinRequest,
  ResumableRequest,
  ResumableView,
} from "../domain/resumable-upload.ts";
import { hasData } from "../domain/status.ts";
import { Inspector } from "../inspect/inspector.ts";
import { log } from "../lib/log.ts";
import type { Imports } from "./imports.ts";
import { type Charge, GRANT_BYTES, type Keeper } from "./keeper.ts";
import type { Owed } from "./ledger.ts";
import { isSameBlob, oweUnfinished } from "./removals.ts";
import { type Live, Piece, type PieceEnd, Work } from "./resumable-piece.ts";
import {
  assertPlace,
  expiryOf,
  isThere,
  offsetOf,
  owedWith,
  type Resumable,
  tailBlobsOf,
  viewOf,
} from "./resumable-record.ts";
import type { Caller } from "./rpc.ts";
import { assertFormatsSet } from "./uploads.ts";

/** Uploads that one image may have at a time. */
const MAX_UPLOADS = 64;

/** A request that has brought no byte for so long gives way to the next one for the same upload. */
const SILENT_MS = 5_000;

/** The pause before the image's data is made of an upload once more, which doubles with each try. */
const RETRY_MS = 10_000;
const LONGEST_RETRY_MS = 3_600_000;

/** What takes something back is held against no limit. */
const NO_CHARGE: Charge = { projectId: null, demands: [] };

/** How long a finished upload is remembered, for a client that has missed its end. */
const HANDED_MS = 900_000;

/** Why an upload that has all its bytes never becomes the image's data. */
const FINAL: readonly FaultCode[] = ["image_not_queued", "image_gone", "upload_not_found"];

/** Why an upload ends at once: its content may not be stored, or what it stored is lost. */
const FATAL: readonly FaultCode[] = ["content_refused", "parts_lost"];

/**
 * Resumable uploads. They hold no image: any number of them may be open on a queued one, and the first that has all
 * its bytes becomes its data, by the same work that ends an import. Their bytes come through this object, so that it
 * knows, without asking anybody, which request is at work and what the bytes hash to.
 *
 * The ledger says which parts are stored; each is put down there before the next one counts. Everything else in here
 * is memory that can be lost.
 */
export class Resumables {
  readonly #works = new Map<string, Work>();
  readonly #live = new Map<string, Live>();
  /** Bytes that requests at work may bring in all, of uploads whose length is not known. */
  readonly #granted = new Map<string, number>();

  constructor(
    private readonly keeper: Keeper,
    private readonly imports: Imports,
  ) {}

  // --- Beginning ----------------------------------------------------------------------------------------

  /** Begins an upload; under the lock. One of no bytes is done with that. */
  async create(caller: Caller, request: ResumableRequest): Promise<ResumableView> {
    const { ledger } = this.keeper;
    const { storeId, length, kind, place, expected } = request;
    const image = await this.#queued(caller);
    const { resumables } = await ledger.read();
    this.#assertRoom(Math.max(length ?? 0, place?.totalBytes ?? 0), resumables);
    const partBytes = resumablePartBytes(place?.totalBytes ?? length);
    const fresh = this.#newRecord(image.id, caller, request);
    const algorithms = await this.#algorithms(image, expected);
    const record = { ...fresh, storeId, length, kind, place, algorithms, partBytes };
    if (place === undefined) {
      await ledger.write({ resumables: [record] });
      await this.#charge(image, record);
      if (kind === "whole" && isThere(record)) await this.#handOver(record, {});
      return viewOf(record);
    }
    assertPlace(place, length, partBytes);
    const { key, multipartId, replaced } = await this.#shareWith(record, resumables);
    const placed = { ...record, key, multipartId };
    const { owed } = await ledger.read();
    await ledger.write({
      resumables: [placed],
      dropped: replaced.map(({ id }) => id),
      owed: [...owed, ...replaced.flatMap((one) => this.#owedBy(one, [placed]))],
    });
    await this.#charge(image, placed);
    return viewOf(placed);
  }

  /** Joins partial uploads to the image's data; under the lock. */
  async join(caller: Caller, request: JoinRequest): Promise<ResumableView> {
    const { ledger } = this.keeper;
    const image = await this.keeper.findPermitted(caller);
    const { resumables } = await ledger.read();
    const known = resumables.find(
      ({ joins, expiresAtMs }) =>
        joins.length > 0 && joins.join() === request.parts.join() && expiresAtMs > Date.now(),
    );
    if (known !== undefined) {
      // The answer was lost, or an error.
      if (!known.isHanded) await this.#handOver(known, {});
      return viewOf(known);
    }
    assertQueued(image);
    const parts = request.parts.map((id) => findPart(resumables, id));
    const [first] = parts;
    if (first === undefined || new Set(parts).size < parts.length) {
      throw invalidJoin("each part is named once");
    }
    const length = parts.reduce((sum, part) => sum + (part.length ?? 0), 0);
    this.#assertRoom(length, []);
    const isPlaced = parts.some(({ place }) => place !== undefined);
    if (isPlaced) assertWhole(parts);
    const fresh = this.#newRecord(image.id, caller, request);
    const { storeId, partBytes } = first;
    const own = isPlaced ? { key: first.key, multipartId: first.multipartId } : {};
    const record: Resumable = {
      ...{ ...fresh, ...own, storeId, length, partBytes },
      kind: "final",
      joins: request.parts,
      concat: request.concat,
      parts: Math.ceil(length / partBytes),
    };
    await ledger.write({ resumables: [record] });
    await this.#handOver(record, {});
    return viewOf(record);
  }

  /** Where the upload's parts go that are to lie beside those of others, which it may take the place of. */
  async #shareWith(record: Resumable, resumables: readonly Resumable[]) {
    const { place, length = 0, storeId } = record;
    const siblings = resumables.filter(
      (other) =>
        other.kind === "partial" &&
        other.storeId === storeId &&
        other.place?.totalBytes === place?.totalBytes,
    );
    const start = place?.offset ?? 0;
    const overlapping = siblings.filter((other) => {
      const otherStart = other.place?.offset ?? 0;
      return otherStart < start + length && start < otherStart + (other.length ?? 0);
    });
    // The answer to its creation was lost, it seems.
    const replaced = overlapping.filter(
      (other) => offsetOf(other) === 0 && !this.#works.has(other.id),
    );
    const kept = overlapping.find((other) => !replaced.includes(other));
    if (kept !== undefined) throw new Fault("upload_overlaps", { uploadId: kept.id });
    const [sibling] = siblings;
    const key = sibling?.key ?? record.key;
    const multipartId =
      sibling?.multipartId ?? (await this.keeper.store(storeId).beginMultipart(key));
    return { key, multipartId, replaced };
  }

  // --- Bytes --------------------------------------------------------------------------------------------

  /**
   * Adds bytes to an upload. What came is kept, however the request ends, but for bytes that are refused or do not
   * have the checksum they should. With the last byte the data is handed over.
   */
  async append(
    caller: Caller,
    id: string,
    request: AppendRequest,
    body: ReadableStream<Uint8Array>,
  ): Promise<ResumableView> {
    await this.#seize(caller, id);
    const work = new Work();
    try {
      const { record, image } = await this.keeper.alone(() =>
        this.#claim(caller, id, request, work),
      );
      const live = this.#liveOf(record, image);
      const { checksum } = request;
      const admit = this.#mustAsk(record)
        ? (bytes: number) => this.#admit(record, bytes)
        : undefined;
      const options = { checksum, work, live, admit };
      const end = await new Piece(this.keeper, record, options).take(body);
      return viewOf(await this.#settle(end));
    } finally {
      if (this.#works.get(id) === work) {
        this.#works.delete(id);
        this.#granted.delete(id);
      }
      work.finish();
    }
  }

  /** Under the lock: the upload, if the request may go on with it from where it is. */
  async #claim(caller: Caller, id: string, { offset, length }: AppendRequest, work: Work) {
    const image = await this.keeper.findPermitted(caller);
    if ((await this.keeper.ledger.resumable(id))?.kind === "final") throw new Fault("upload_final");
    // Before the upload is looked for, which ends when the image gets other data.
    assertQueued(image);
    const found = await this.#find(image.id, id);
    if (this.#works.has(id)) throw new Fault("upload_locked");
    const current = offsetOf(found);
    if (offset !== current) throw new Fault("upload_offset", { offset, current });
    if (length !== undefined && found.length !== undefined && length !== found.length) {
      throw new Fault("invalid_value", { name: "Upload-Length", reason: "it cannot be changed" });
    }
    const known = found.length ?? length;
    this.#assertRoom(known, []);
    if (known !== undefined && known < current) {
      const reason = `there are ${current} bytes already`;
      throw new Fault("invalid_value", { name: "Upload-Length", reason });
    }
    const adopted = await this.#adoptTail(found);
    const record = { ...adopted, length: known, ...expiryOf(this.keeper.config) };
    if (found.length !== known) {
      const demands = [{ of: "image_size_total", delta: (known ?? 0) - current }] as const;
      await this.#account(image, { projectId: record.projectId, demands }, record);
    }
    await this.keeper.ledger.write({ resumables: [record] });
    this.#works.set(id, work);
    return { record, image };
  }

  /** What follows from a request's end. */
  async #settle({ record, failure }: PieceEnd): Promise<Resumable> {
    const { id } = record;
    const live = this.#live.get(id);
    const isRefused = failure instanceof Fault && FATAL.includes(failure.code);
    if (live?.digest.position !== offsetOf(record)) this.#forget(id);
    await this.keeper.alone(async () => {
      await this.#giveBack(record);
      if (isRefused) await this.#drop(record);
      // It may have been given up, with its image or alone.
      else await this.#present(id);
    });
    // A client that is still sending may well miss the answer.
    if (isRefused) await this.imports.noteRefusal(record, failure);
    // A request may fail behind its last byte: the client is told that all are there, and will send no more. What the
    // store did not take is sent when the client asks.
    const mayEnd = failure === undefined || record.tailBytes === 0;
    if (!isRefused && mayEnd && record.kind === "whole" && isThere(record)) {
      const hashes = (await this.#live.get(id)?.digest.finish()) ?? {};
      await this.keeper.alone(async () => this.#handOver(await this.#present(id), hashes));
    }
    if (failure !== undefined) throw failure;
    return record;
  }

  /** Under the lock: the upload as it is, which may have been given up meanwhile. */
  async #present(id: string): Promise<Resumable> {
    const record = await this.keeper.ledger.resumable(id);
    if (record === undefined) throw new Fault("upload_not_found", { uploadId: id });
    return record;
  }

  /** What is known of the bytes so far; it begins with the first one, and is lost with the object's memory. */
  #liveOf(record: Resumable, image: Image): Live | undefined {
    const { id, kind, algorithms } = record;
    if (kind !== "whole") return undefined;
    const offset = offsetOf(record);
    if (offset === 0) {
      this.#forget(id);
      const inspector = new Inspector(image, this.keeper.config.inspection);
      this.#live.set(id, { digest: new Digests(algorithms), inspector });
    }
    const live = this.#live.get(id);
    if (live?.digest.position === offset) return live;
    this.#forget(id);
    return undefined;
  }

  #forget(id: string): void {
    this.#live.get(id)?.digest.abort();
    this.#live.delete(id);
  }

  /** Makes a silent request give way to another for the same upload; one that brings bytes does not. */
  async #seize(caller: Caller, id: string): Promise<void> {
    if (!this.#works.has(id)) return;
    // Who may not ask learns nothing of it, and ends nothing.
    await this.#find((await this.keeper.findPermitted(caller)).id, id);
    const work = this.#works.get(id);
    if (work === undefined) return;
    if (Date.now() - work.lastByteMs < SILENT_MS) throw new Fault("upload_locked");
    work.stop();
    await work.done;
  }

  // --- The end ------------------------------------------------------------------------------------------

  /** How far an upload is. Whoever asks means to go on with it. */
  async show(caller: Caller, id: string): Promise<ResumableView> {
    await this.#seize(caller, id);
    return this.keeper.alone(async () => {
      const image = await this.keeper.findPermitted(caller);
      const record = await this.#find(image.id, id);
      const isLeft = !record.isHanded && record.kind !== "partial" && isThere(record);
      // Nobody sends more to an upload that is told to be complete.
      if (isLeft && image.status === "queued") await this.#tryHandOver(record);
      return viewOf(record);
    });
  }

  /** Gives an upload up, whatever goes on with it (termination). */
  async terminate(caller: Caller, id: string): Promise<void> {
    await this.keeper.alone(async () => {
      const image = await this.keeper.findPermitted(caller);
      await this.#drop(await this.#find(image.id, id), image);
    });
  }

  /** Everything in stores that goes with a deleted image; its uploads are at an end. */
  async owedByDeletion(nowMs: number): Promise<readonly Owed[]> {
    const { resumables } = await this.keeper.ledger.read();
    const leaseMs = this.keeper.config.uploadLeaseMs;
    return resumables.flatMap((record) => owedWith(record, [], nowMs, leaseMs));
  }

  /** Forgets all uploads of an image that is gone, and owes what they have put down since its deletion began. */
  async stop(): Promise<void> {
    const { ledger } = this.keeper;
    // First of all, so that nothing more is put down.
    for (const id of [...this.#works.keys(), ...this.#live.keys()]) this.#end(id);
    const { resumables, owed } = await ledger.read();
    const isOwed = (entry: Owed) =>
      owed.some((one) => isSameBlob(one, entry) && one.multipartId === entry.multipartId);
    const late = resumables.flatMap((record) => this.#owedBy(record, []));
    await ledger.write({
      dropped: resumables.map(({ id }) => id),
      owed: [...owed, ...late.filter((entry) => !isOwed(entry))],
    });
    for (const { id } of resumables) await ledger.clearPieces(id);
  }

  /** Grants a new upload its space, and its place among those of its project; one that there is no room for is no more. */
  async #charge(image: Image, record: Resumable): Promise<void> {
    const { projectId, length = 0 } = record;
    const demands = [
      { of: "image_size_total", delta: length },
      { of: "open_resumable_uploads", delta: 1 },
    ] as const;
    try {
      await this.#account(image, { projectId, demands });
    } catch (error) {
      await this.#drop(record, image);
      throw error;
    }
  }

  /**
   * Under the lock: makes the image's row say which uploads are open, and what space they have. Throws `quota_over` when
   * that is more than the charge lets pass.
   */
  async #account(image: Image, charge: Charge, changed?: Resumable): Promise<void> {
    const { resumables } = await this.keeper.ledger.read();
    const all = resumables.map((record) => (record.id === changed?.id ? changed : record));
    const open = this.#tally(all);
    const { count, bytes } = image.openUploads;
    if (open.count === count && open.bytes === bytes) return;
    await this.keeper.setOpenUploads(charge, image, open);
  }

  /** What of these is open, and takes up space: all that was announced, or else what has come and may come now. */
  #tally(records: readonly Resumable[]): OpenUploads {
    const open = records.filter(({ isHanded, kind }) => !isHanded && kind !== "final");
    const bytesOf = (record: Resumable) =>
      record.length ?? Math.max(offsetOf(record), this.#granted.get(record.id) ?? 0);
    return { count: open.length, bytes: open.reduce((sum, record) => sum + bytesOf(record), 0) };
  }

  /** Whether bytes of an upload have to be asked for as they come: nobody has announced them, and they are limited. */
  #mustAsk({ length, projectId }: Resumable): boolean {
    const { quotas } = this.keeper.config;
    return length === undefined && quotas.limitOn("image_size_total", projectId) !== undefined;
  }

  /** Lets so many bytes in all be stored of an upload whose length is not known. Throws `quota_over`. */
  async #admit(record: Resumable, needed: number): Promise<void> {
    if (needed <= (this.#granted.get(record.id) ?? 0)) return;
    const { id, imageId, projectId } = record;
    await this.keeper.alone(async () => {
      const image = await this.keeper.present(imageId);
      if (image === undefined) throw new Fault("image_gone", { imageId });
      const held = Math.max(this.#granted.get(id) ?? 0, offsetOf(await this.#present(id)));
      const wanted = needed + GRANT_BYTES;
      const growth = { of: "image_size_total", projectId, held, needed, wanted } as const;
      try {
        await this.keeper.grant(growth, (bytes, charge) => {
          this.#granted.set(id, bytes);
          return this.#account(image, charge);
        });
      } catch (error) {
        this.#granted.set(id, held);
        throw error;
      }
    });
  }

  /** Under the lock, behind a request: takes back what was granted for bytes that have not come. */
  async #giveBack({ id, imageId }: Resumable): Promise<void> {
    if (!this.#granted.delete(id)) return;
    try {
      const image = await this.keeper.present(imageId);
      if (image !== undefined) await this.#account(image, NO_CHARGE);
    } catch (error) {
      // The alarm mends it, and the request has brought its bytes.
      log({ event: "grant_not_given_back", error: String(withoutValues(error)) });
    }
  }

  /**
   * Under the lock, by alarm: gives up what has expired, or can become nothing any more as the image has data or is gone,
   * and hands over what could not be before.
   */
  async expire(image: Image | undefined): Promise<void> {
    const { ledger } = this.keeper;
    const nowMs = Date.now();
    const { resumables } = await ledger.read();
    if (image === undefined) {
      // A deletion that was broken off.
      if (resumables.length > 0) await this.stop();
      return;
    }
    // A crash may have left it otherwise.
    await this.#account(image, NO_CHARGE);
    for (const record of resumables) {
      if (!record.isHanded && hasData(image.status)) {
        log({ event: "resumable_upload_outrun", image_id: record.imageId });
        await this.#drop(record, image);
        continue;
      }
      if (record.dueMs > nowMs) continue;
      const work = this.#works.get(record.id);
      if (work !== undefined) {
        // However long a request takes, its upload does not expire under it.
        await work.renew?.();
        continue;
      }
      if (record.expiresAtMs <= nowMs) {
        log({ event: "resumable_upload_expired", image_id: record.imageId });
        await this.#drop(record, image);
        await countLapse(this.keeper.db, "resumable-upload");
      } else if (!record.isHanded && record.kind !== "partial" && isThere(record)) {
        await this.#tryHandOver(record);
      } else {
        await ledger.write({ resumables: [{ ...record, dueMs: record.expiresAtMs }] });
      }
    }
  }

  /** Under the lock: the same as `#handOver`, for what another time may go better. */
  async #tryHandOver(record: Resumable): Promise<void> {
    await this.#handOver(record, {}).catch((error: unknown) =>
      log({ event: "resumable_upload_not_handed_over", error: String(withoutValues(error)) }),
    );
  }

  /**
   * Under the lock: gives the data to the work that makes it the image's. Until that is known to have begun, the
   * upload stays as it is, so that it can be said again.
   */
  async #handOver(record: Resumable, hashes: Hashes): Promise<void> {
    const { ledger } = this.keeper;
    const { id, storeId, key, kind, length = 0, imageId } = record;
    const tries = record.tries + 1;
    const pauseMs = Math.min(RETRY_MS * 2 ** record.tries, LONGEST_RETRY_MS);
    const dueMs = Math.min(Date.now() + pauseMs, record.expiresAtMs);
    const tried = { ...record, tries, dueMs };
    await ledger.write({ resumables: [tried] });
    const { resumables } = await ledger.read();
    let parts: readonly Resumable[] = [];
    try {
      parts = record.joins.map((one) => findPart(resumables, one));
      const isJoined = kind === "final" && parts.every(({ place }) => place === undefined);
      const arrived = {
        ...{ imageId, storeId, hashes, size: length },
        ...{ expected: record.expected, requestId: record.requestId },
        ...{ projectId: record.projectId, userId: record.userId },
        key: isJoined ? undefined : key,
        segments: parts.map((one) => ({
          ...{ storeId: one.storeId, key: one.key, size: one.length ?? 0 },
        })),
        stillOpen: this.#tally(resumables.filter((one) => one.id !== id && !parts.includes(one))),
      };
      await this.imports.takeOver(arrived, async () => {
        for (const one of isJoined ? parts : [tried])
          await this.#complete(one, isJoined ? [] : parts);
      });
    } catch (error) {
      const isFinal = error instanceof Fault && FINAL.includes(error.code);
      const { expiresAtMs } = record;
      if (isFinal) {
        await ledger.write({ resumables: [{ ...(await this.#present(id)), dueMs: expiresAtMs }] });
      }
      if (error instanceof Fault && error.code === "parts_lost") {
        for (const one of [record, ...parts]) await this.#drop(one);
        await this.imports.noteRefusal(record, error);
      }
      throw error;
    }
    const nowMs = Date.now();
    const expiresAtMs = nowMs + HANDED_MS;
    const current = await this.#present(id);
    const handed = { ...current, isHanded: true, expiresAtMs, dueMs: expiresAtMs };
    await ledger.write({ resumables: [handed], dropped: record.joins });
    this.#forget(id);
    // One that is complete may be at work all the same.
    for (const one of record.joins) this.#end(one);
    for (const one of [id, ...record.joins]) await ledger.clearPieces(one);
  }

  /** Makes one object of an upload's parts, or of those of the uploads that share it. */
  async #complete(record: Resumable, joined: readonly Resumable[]): Promise<void> {
    const { storeId, key, multipartId, length } = record;
    const store = this.keeper.store(storeId);
    if (length === 0) return void (await store.put(key, new Uint8Array(0)));
    const all = joined.length === 0 ? [record] : joined;
    for (const one of all) await this.#sendRest(one);
    // It was stored by one put.
    if (multipartId === undefined) return;
    const ids = all.map(({ id }) => id);
    const pieces = await Promise.all(ids.map((one) => this.keeper.ledger.pieces(one)));
    await store.completeMultipart(key, multipartId, pieces.flat());
  }

  /**
   * Under the lock: sends what fills no part, of an upload that has all its bytes. It lies in the object's storage where
   * its length was told behind its last byte, or where the request that was to send it came to nothing.
   */
  async #sendRest(record: Resumable): Promise<void> {
    const { dueMs, expiresAtMs, id } = record;
    if (record.tailBytes === 0 && record.tail === undefined) return;
    // Its own request may be about to send it.
    if (record.kind === "partial" && this.#works.has(id)) throw new Fault("upload_locked");
    const adopted = await this.#adoptTail(record);
    const options = { checksum: undefined, work: new Work(), live: undefined, admit: undefined };
    const nothing = new Blob([]).stream();
    const end = await new Piece(this.keeper, adopted, options).take(nothing);
    await this.keeper.ledger.write({ resumables: [{ ...end.record, dueMs, expiresAtMs }] });
    if (end.failure !== undefined) throw end.failure;
  }

  /** Under the lock: the upload is no more, and its bytes are to go. */
  async #drop(record: Resumable, known?: Image): Promise<void> {
    const { ledger } = this.keeper;
    // First of all, so that nothing more is put down.
    this.#end(record.id);
    const { owed, resumables } = await ledger.read();
    const others = resumables.filter(({ id }) => id !== record.id);
    // A request at work may have put down more than the caller knows.
    const current = resumables.find(({ id }) => id === record.id) ?? record;
    const doomed = this.#owedBy(current, others);
    await ledger.write({ dropped: [record.id], owed: [...owed, ...doomed] });
    await ledger.clearPieces(record.id);
    const image = known ?? (await this.keeper.present(record.imageId));
    if (image !== undefined) await this.#account(image, NO_CHARGE);
  }

  #owedBy(record: Resumable, others: readonly Resumable[]): readonly Owed[] {
    return owedWith(record, others, Date.now(), this.keeper.config.uploadLeaseMs);
  }

  /** Ends what goes on with an upload in memory. */
  #end(id: string): void {
    this.#works.get(id)?.drop();
    this.#granted.delete(id);
    this.#forget(id);
  }

  /** Under the lock, with no request at work: takes in what an earlier version keeps beside the upload's parts. */
  async #adoptTail(record: Resumable): Promise<Resumable> {
    const doomed = tailBlobsOf(record);
    if (doomed.length === 0) return record;
    const { ledger, config } = this.keeper;
    const { tail, nextTailKey, spentTailKeys, ...kept } = record;
    const blob = tail && (await this.keeper.store(record.storeId).read(tail.key));
    if (blob?.size !== tail?.bytes) throw new Fault("store_unavailable");
    const spool = ledger.spool.of(`resumable:${record.id}`);
    let tailBytes = 0;
    for await (const chunk of blob?.body ?? []) {
      await spool.append(record.parts + 1, tailBytes, chunk);
      tailBytes += chunk.length;
    }
    const adopted = { ...kept, tailBytes };
    const nowMs = Date.now();
    const { owed } = await ledger.read();
    const owedTails = doomed.map((one) =>
      oweUnfinished(record.imageId, one, nowMs, config.uploadLeaseMs),
    );
    await ledger.write({ resumables: [adopted], owed: [...owed, ...owedTails] });
    return adopted;
  }

  // --- Parts of the above -------------------------------------------------------------------------------

  /** The image, if the caller may upload to it now. */
  async #queued(caller: Caller): Promise<Image> {
    const image = await this.keeper.findPermitted(caller);
    assertQueued(image);
    return image;
  }

  async #find(imageId: string, id: string): Promise<Resumable> {
    const record = await this.keeper.ledger.resumable(id);
    const isAlive = this.#works.has(id) || (record?.expiresAtMs ?? 0) > Date.now();
    const isHere = record?.imageId === imageId && isAlive;
    if (record === undefined || !isHere) throw new Fault("upload_not_found", { uploadId: id });
    return record;
  }

  #assertRoom(length: number | undefined, resumables: readonly Resumable[]): void {
    const { imageBytes } = this.keeper.config.limits;
    const maximum = Math.min(imageBytes, MAX_RESUMABLE_BYTES);
    if (length !== undefined && length > maximum) throw new Fault("image_too_large", { maximum });
    const attempted = resumables.filter(({ isHanded }) => !isHanded).length + 1;
    if (attempted <= MAX_UPLOADS) return;
    const what = "resumable uploads of one image";
    throw new Fault("quota_exceeded", { attempted, what, maximum: MAX_UPLOADS });
  }

  /** What is computed as the bytes come. A signature that could not be verified in the end costs no byte. */
  async #algorithms(image: Image, expected: ExpectedHash | undefined): Promise<HashAlgorithm[]> {
    const { hashAlgorithm, signatures } = this.keeper.config;
    const signature = readSignature(image.properties);
    const verifier = signature && (await signatures.verifier(signature, Date.now()));
    const others = [expected?.algorithm, verifier?.algorithm].filter((name) => name !== undefined);
    return ["md5", hashAlgorithm, ...others];
  }

  #newRecord(
    imageId: string,
    { identity }: Caller,
    { expected, metadata, requestId }: JoinRequest | ResumableRequest,
  ): Omit<Resumable, "storeId" | "length" | "kind" | "partBytes"> {
    const id = crypto.randomUUID();
    const { projectId, userId } = identity;
    return {
      ...{
        id,
        imageId,
        key: blobKey(imageId, id),
        multipartId: undefined,
        isHanded: false,
        tries: 0,
      },
      ...{
        place: undefined,
        joins: [],
        concat: undefined,
        parts: 0,
        tailBytes: 0,
      },
      ...{ expected, algorithms: [], metadata, projectId, userId, requestId },
      ...expiryOf(this.keeper.config),
    };
  }
}

function assertQueued(image: Image): void {
  if (image.status !== "queued") {
    throw new Fault("image_not_queued", { imageId: image.id, status: image.status });
  }
  assertFormatsSet(image);
}

function findPart(resumables: readonly Resumable[], id: string): Resumable {
  const part = resumables.find((record) => record.id === id && record.kind === "partial");
  if (part === undefined) throw new Fault("upload_not_found", { uploadId: id });
  if (!isThere(part)) throw new Fault("upload_incomplete", { uploadId: id });
  return part;
}

/** Parts with a place lie in one object already, and are nothing but together and in their order. */
function assertWhole(parts: readonly Resumable[]): void {
  let end = 0;
  const isInOrder = parts.every(({ place, length = 0, key }) => {
    const start = end;
    end += length;
    return place?.offset === start && key === parts[0]?.key;
  });
  if (isInOrder && end === parts[0]?.place?.totalBytes) return;
  throw invalidJoin("parts with a place are joined in their order, all of them, and no others");
}

function invalidJoin(reason: string): Fault {
  return new Fault("invalid_value", { name: "Upload-Concat", reason });
}

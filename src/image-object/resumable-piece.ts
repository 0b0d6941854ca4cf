import { Digests } from "../blob/digest.ts";
import { MAX_RESUMABLE_BYTES } from "../blob/part-size.ts";
import type { BlobStore, PartReceipt } from "../blob/store.ts";
import { type Appended, append } from "../blob/write/from-pieces.ts";
import type { Spool } from "../blob/write/spool.ts";
import type { ExpectedHash } from "../domain/expected-hash.ts";
import { Fault } from "../domain/fault.ts";
import type { Inspector } from "../inspect/inspector.ts";
import type { Keeper } from "./keeper.ts";
import { expiryOf, firstPartOf, offsetOf, type Resumable } from "./resumable-record.ts";
import type { SpoolOwner, SpoolRows } from "./spool-rows.ts";

/** A request at work on an upload. */
export class Work {
  readonly #stop = new AbortController();
  readonly #done = Promise.withResolvers<void>();
  /** Whether the upload is no more, so that nothing of it is to be put down. */
  isDropped = false;
  lastByteMs = Date.now();
  /** Puts the upload's expiry off, which is the request's to write while it is at work. */
  renew: (() => Promise<void>) | undefined;

  get signal(): AbortSignal {
    return this.#stop.signal;
  }

  /** Ends when the request has put down how far it came. */
  get done(): Promise<void> {
    return this.#done.promise;
  }

  stop(): void {
    this.#stop.abort(new Fault("upload_locked"));
  }

  drop(): void {
    this.isDropped = true;
    this.stop();
  }

  finish(): void {
    this.#done.resolve();
  }
}

/** What is known of an upload's bytes, as long as this object has seen them all. */
export interface Live {
  readonly digest: Digests;
  readonly inspector: Inspector;
}

/** How a request ended. */
export interface PieceEnd {
  readonly record: Resumable;
  /** Why it ended before its body did, or in vain. */
  readonly failure: unknown;
}

/** One request's bytes on their way into an upload. Of the ledger it writes this upload's record and parts alone. */
export class Piece {
  readonly #store: BlobStore;
  readonly #start: number;
  readonly #digest: Digests | undefined;
  /** Parts that do not count before the checksum of the whole request is known to be right. */
  readonly #pending: PartReceipt[] = [];
  #record: Resumable;
  #position: number;
  #multipartId: Promise<string> | undefined;
  /** Why the content may not be stored, where its checksum is to be known first. */
  #refusal: unknown;
  /** Bytes in the spool, by part. */
  readonly #spooled = new Map<number, number>();
  /** Parts that were sent from the spool, and that it is to keep as long as the record counts bytes of them there. */
  readonly #spent: number[] = [];

  constructor(
    private readonly keeper: Keeper,
    private readonly claimed: Resumable,
    private readonly options: {
      readonly checksum: ExpectedHash | undefined;
      readonly work: Work;
      readonly live: Live | undefined;
      /** Asked before bytes are stored, how many of the upload there may be in all; throws to refuse them. */
      readonly admit: ((bytes: number) => Promise<void>) | undefined;
    },
  ) {
    const { checksum } = options;
    this.#store = keeper.store(claimed.storeId);
    this.#record = claimed;
    this.#start = offsetOf(claimed);
    this.#position = this.#start;
    this.#digest = checksum && new Digests([checksum.algorithm]);
  }

  async take(body: ReadableStream<Uint8Array>): Promise<PieceEnd> {
    const { claimed, keeper } = this;
    const { work } = this.options;
    const { uploadLeaseMs, limits } = keeper.config;
    const activity = { reads: 0, isWaiting: false };
    let reads = 0;
    const watch = setInterval(() => {
      // A client that waits for us, or for a store, is not silent.
      const isSilent = activity.isWaiting && activity.reads === reads;
      reads = activity.reads;
      if (isSilent && Date.now() - work.lastByteMs >= uploadLeaseMs) work.stop();
    }, uploadLeaseMs);
    work.renew = () => this.#put({});
    const came = await append(body, {
      store: this.#store,
      key: claimed.key,
      partBytes: claimed.partBytes,
      firstPart: firstPartOf(claimed),
      mayPut: claimed.place === undefined && claimed.multipartId === undefined,
      from: { parts: claimed.parts, tailBytes: claimed.tailBytes },
      spool: this.#spool(),
      maxBytes: claimed.length ?? Math.min(limits.imageBytes, MAX_RESUMABLE_BYTES),
      totalBytes: claimed.length,
      openMultipart: () => {
        this.#multipartId ??= this.#openMultipart();
        return this.#multipartId;
      },
      onBytes: (bytes) => this.#see(bytes),
      onStored: (receipt, parts) => this.#stored(receipt, parts),
      activity,
      signal: work.signal,
    });
    clearInterval(watch);
    work.renew = undefined;
    return this.#settle(came);
  }

  /** Puts down what the request has brought. */
  async #settle(came: Appended): Promise<PieceEnd> {
    const mismatch = (await this.#mismatch(came)) ?? this.#refusal;
    if (mismatch === undefined) {
      const parts = came.isPut ? 1 : came.parts;
      const tailBytes = came.isPut ? 0 : came.tailBytes;
      for (const part of this.#spent) this.#rows.drop(this.#owner, part);
      await this.#put({ parts, tailBytes }, this.#pending);
    }
    return { record: this.#record, failure: came.failure ?? mismatch };
  }

  /** Whether the request's bytes are others than it says; one that broke off has not brought them all. */
  async #mismatch({ failure }: Appended): Promise<unknown> {
    const { checksum } = this.options;
    if (checksum === undefined) return undefined;
    if (failure !== undefined) return failure;
    const { algorithm, value } = checksum;
    const actual = (await this.#digest?.finish())?.[algorithm];
    return actual === value ? undefined : new Fault("checksum_mismatch", { algorithm });
  }

  async #see(bytes: Uint8Array): Promise<void> {
    const { work, live, admit } = this.options;
    work.lastByteMs = Date.now();
    await admit?.(this.#position + bytes.length);
    this.#inspect(bytes);
    await live?.digest.take(this.#position, bytes);
    await this.#digest?.take(this.#position - this.#start, bytes);
    this.#position += bytes.length;
  }

  /** Bytes that were damaged on their way may look unsafe: the checksum decides first whether they count at all. */
  #inspect(bytes: Uint8Array): void {
    const { live, checksum } = this.options;
    if (this.#refusal !== undefined) return;
    try {
      live?.inspector.take(bytes);
    } catch (refusal) {
      if (checksum === undefined) throw refusal;
      this.#refusal = refusal;
    }
  }

  async #stored(receipt: PartReceipt, parts: number): Promise<void> {
    if (this.#digest === undefined) {
      const tailBytes = this.#spooled.get(parts + 1) ?? 0;
      await this.#put({ parts, tailBytes }, [receipt]);
    } else {
      this.#pending.push(receipt);
    }
  }

  async #openMultipart(): Promise<string> {
    const { key, multipartId: known } = this.#record;
    if (known !== undefined) return known;
    const multipartId = await this.#store.beginMultipart(key);
    if (this.options.work.isDropped) await this.#store.abortMultipart(key, multipartId);
    await this.#put({ multipartId });
    return multipartId;
  }

  /** The object's own storage. Bytes count as soon as they are there, unless a checksum is still to be verified. */
  #spool(): Spool {
    const spool = this.#rows.of(this.#owner);
    return {
      ...spool,
      append: async (part, offset, bytes) => {
        this.#assertPresent();
        this.#rows.append(this.#owner, part, offset, bytes);
        const tailBytes = offset + bytes.length;
        this.#spooled.set(part, tailBytes);
        const counts = this.#digest === undefined && part === this.#record.parts + 1;
        if (counts) await this.#put({ tailBytes });
      },
      drop: async (part) => {
        const { parts, tailBytes } = this.#record;
        if (part === parts + 1 && tailBytes > 0) this.#spent.push(part);
        else await spool.drop(part);
      },
    };
  }

  get #rows(): SpoolRows {
    return this.keeper.ledger.spool;
  }

  get #owner(): SpoolOwner {
    return `resumable:${this.claimed.id}`;
  }

  #assertPresent(): void {
    if (this.options.work.isDropped) {
      throw new Fault("upload_not_found", { uploadId: this.claimed.id });
    }
  }

  /** Nothing is awaited between the look and the write. */
  async #put(changes: Partial<Resumable>, receipts: readonly PartReceipt[] = []): Promise<void> {
    this.#assertPresent();
    this.#record = { ...this.#record, ...changes, ...expiryOf(this.keeper.config) };
    await this.keeper.ledger.addPieces(this.#record, receipts);
  }
}

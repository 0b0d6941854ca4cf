import type { HashAlgorithm } from "../blob/digest.ts";
import type { Activity } from "../blob/write/body-reader.ts";
import { ingest } from "../blob/write/from-body.ts";
import type { Spool } from "../blob/write/spool.ts";
import { isTransient, withoutValues } from "../db/errors.ts";
import { assertExpected, type ExpectedHash } from "../domain/expected-hash.ts";
import { Fault, type FaultCode } from "../domain/fault.ts";
import type { Config } from "../env.ts";
import type { ImageObject } from "../image-object/image-object.ts";
import {
  type Caller,
  type Outcome,
  type UploadEnd,
  type UploadedData,
  type UploadGrant,
  type UploadRequest,
  unwrap,
} from "../image-object/rpc.ts";
import { Inspector } from "../inspect/inspector.ts";
import { logIfTaken } from "../inspect/log-taken.ts";
import { log } from "../lib/log.ts";
import type { Context } from "./context.ts";

/**
 * The Worker's side of an upload: it claims the image, streams the bytes into the store, keeps the lease while
 * they come, and commits or ends the upload. Every word to the image's object names the attempt's id, which is
 * chosen here, so each can be said again when its answer was lost. If this isolate dies, the lease ends it.
 */
export class Upload {
  private readonly attemptId: string;
  private readonly stalled = new AbortController();
  private readonly activity: Activity = { reads: 0, isWaiting: false };
  private renewAtMs = 0;

  constructor(
    private readonly ctx: Context,
    private readonly caller: Caller,
    private readonly wanted: Omit<UploadRequest, "attemptId">,
    /** What the client says that its data hashes to. */
    private readonly expected: readonly ExpectedHash[],
  ) {
    this.attemptId = ctx.newId();
  }

  /** Runs the upload to its end. Throws the Fault that ended it, if one did; then no bytes are left. */
  async run(source: ReadableStream | null): Promise<void> {
    const grant = await this.begin();
    const release = this.holdLease(grant.leaseMs);
    try {
      const data = await this.receive(source, grant);
      await this.tell((object, imageId) => object.finishUpload(imageId, this.attemptId, data));
    } catch (error) {
      const end = await this.end(grant.key);
      if (end === "committed") return;
      // A part that failed because its upload had been taken away says less than the reason for that (UPL-10);
      // a body that broke a rule has its own.
      const isOwnFault = error instanceof Fault && !VAGUE.has(error.code);
      if (end === "abandoned" || (end === "upload_superseded" && isOwnFault)) throw error;
      throw new Fault(end, { imageId: this.caller.imageId }, error);
    } finally {
      release();
    }
  }

  private async begin(): Promise<UploadGrant> {
    try {
      const wanted = { ...this.wanted, attemptId: this.attemptId };
      return await this.tell((object) => object.beginUpload(this.caller, wanted), BRIEFLY);
    } catch (error) {
      // A Fault is a refusal; of anything else only the answer may have been lost.
      if (!(error instanceof Fault)) await this.end(undefined);
      throw error;
    }
  }

  /** Stores the data, and holds it against what is said of it. Staged data is inspected when it is imported. */
  private async receive(
    source: ReadableStream | null,
    { key, leaseMs, formats, signature, reservedBytes }: UploadGrant,
  ): Promise<UploadedData> {
    let mayBring = reservedBytes;
    const { config, openStore } = this.ctx;
    const { storeId, purpose, declaredBytes } = this.wanted;
    const verifier = signature && (await config.signatures.verifier(signature, Date.now()));
    const inspector = purpose === "data" ? new Inspector(formats, config.inspection) : undefined;
    const algorithms: HashAlgorithm[] = [
      ...(["md5", config.hashAlgorithm] as const),
      ...this.expected.map(({ algorithm }) => algorithm),
      ...(verifier === undefined ? [] : [verifier.algorithm]),
    ];
    const { size, hashes, multipart } = await ingest(source, {
      store: openStore(storeId),
      key,
      declaredBytes,
      maxBytes: config.limits.imageBytes,
      bodyLimit: bodyLimitOf(config, this.caller.imageId),
      singlePutMaxBytes: config.singlePutMaxBytes,
      algorithms,
      inspection: inspector,
      openMultipart: () =>
        this.tell((object, imageId) => object.openMultipart(imageId, this.attemptId)),
      spool: this.spool(),
      onProgress: async (received) => {
        if (Date.now() >= this.renewAtMs) await this.renewLease(leaseMs);
        if (mayBring === undefined || received <= mayBring) return;
        const bytes = { received, wanted: received + RESERVATION_BYTES };
        mayBring = await this.tell((object, imageId) =>
          object.reserveUpload(imageId, this.attemptId, bytes),
        );
      },
      activity: this.activity,
      signal: this.stalled.signal,
    });
    for (const expected of this.expected) assertExpected(expected, hashes);
    await verifier?.verify(hashes[verifier.algorithm] ?? "");
    const found = inspector?.finish();
    if (found !== undefined) logIfTaken(this.caller.imageId, formats, found);
    return { size, hashes, multipart, virtualSize: found?.virtualSize ?? null };
  }

  /** Bytes that no memory is left for wait in the storage of the image's object. */
  private spool(): Spool {
    const { attemptId } = this;
    return {
      append: (part, offset, view) => {
        // A view would take all of the buffer behind it along.
        const bytes = view.slice();
        return this.tell((object, imageId) =>
          object.spoolUpload(imageId, attemptId, { part, offset, bytes }),
        );
      },
      open: (part, length) =>
        this.tell((object, imageId) => object.openSpooled(imageId, attemptId, { part, length })),
      drop: (part) => this.tell((object, imageId) => object.dropSpooled(imageId, attemptId, part)),
    };
  }

  /**
   * Holds the lease until the upload is over. A client that brings nothing for the whole of it has lost it, and what
   * this request holds; while the client waits for us, for a store or a busy machine, the lease is renewed.
   */
  private holdLease(leaseMs: number): () => void {
    this.renewAtMs = Date.now() + leaseMs / RENEWALS;
    let reads = 0;
    let silentBeats = 0;
    const timer = setInterval(() => {
      const isSilent = this.activity.isWaiting && this.activity.reads === reads;
      silentBeats = isSilent ? silentBeats + 1 : 0;
      reads = this.activity.reads;
      const { imageId } = this.caller;
      if (silentBeats > RENEWALS) this.stalled.abort(new Fault("upload_superseded", { imageId }));
      else if (!this.activity.isWaiting) void this.renewLease(leaseMs);
    }, leaseMs / RENEWALS);
    return () => clearInterval(timer);
  }

  /** Renews the lease, several times within it, so that no single lost call costs it. */
  private async renewLease(leaseMs: number): Promise<void> {
    this.renewAtMs = Date.now() + leaseMs / RENEWALS;
    const { imageId } = this.caller;
    try {
      unwrap(await this.ctx.imageObject(imageId).renewLease(imageId, this.attemptId));
    } catch (error) {
      // The object may say that the image is lost to this upload. Anything else is no answer to rely on, and
      // the lease has time for more tries.
      if (error instanceof Fault && LOSS.has(error.code)) return this.stalled.abort(error);
      this.renewAtMs = Date.now() + leaseMs / 40;
      log({ event: "lease_not_renewed", error: String(withoutValues(error)) });
    }
  }

  /**
   * Ends an upload that failed. The object removes the bytes of an attempt it knows; those of one it has let go
   * of before may have landed since, so they are removed here too. What fails here, the lease and the alarm do.
   */
  private async end(key: string | undefined): Promise<UploadEnd> {
    const { imageId } = this.caller;
    try {
      const end = await this.tell((object) => object.abandonUpload(imageId, this.attemptId));
      if (end !== "committed" && key !== undefined) {
        await this.ctx
          .openStore(this.wanted.storeId)
          .remove(key)
          .catch((error) => this.logFailure(error));
      }
      return end;
    } catch (error) {
      this.logFailure(error);
      return "abandoned";
    }
  }

  private logFailure(error: unknown): void {
    const { imageId } = this.caller;
    log({
      event: "upload_clean_up_failed",
      image_id: imageId,
      error: String(withoutValues(error)),
    });
  }

  /**
   * One word to the image's object. A stub stays broken once its object was restarted, as every deployment does,
   * so each try takes a new one; an upload of hours must not fail for a moment's trouble.
   */
  private async tell<T>(
    say: (object: DurableObjectStub<ImageObject>, imageId: string) => Promise<Outcome<T>>,
    pausesMs: readonly number[] = PATIENTLY,
  ): Promise<T> {
    const { imageId } = this.caller;
    for (const pauseMs of pausesMs) {
      try {
        const outcome = await say(this.ctx.imageObject(imageId), imageId);
        // A store that fails for a moment costs no more than a database that does.
        if (outcome.ok || outcome.code !== "store_unavailable") return unwrap(outcome);
      } catch (error) {
        if (!isTransient(error)) throw error;
      }
      await this.ctx.wait(pauseMs);
    }
    return unwrap(await say(this.ctx.imageObject(imageId), imageId));
  }
}

/** What this deployment takes in one request, as its plan or its operator has it. */
export function bodyLimitOf({ maxBodyBytes: maxBytes }: Config, imageId: string) {
  if (maxBytes === undefined) return undefined;
  return { maxBytes, fault: () => new Fault("body_over_limit", { maximum: maxBytes, imageId }) };
}

/** How often a lease is renewed within its time. */
const RENEWALS = 4;

/** How many bytes more an upload of unannounced length asks for each time, where space is limited. */
const RESERVATION_BYTES = 64 * 1024 ** 2;

/** Answers of the object that end an upload: it has lost the image. */
const LOSS: ReadonlySet<FaultCode> = new Set(["image_gone", "upload_superseded"]);
/** Faults that may well be what the loss of the image looked like from here. */
const VAGUE: ReadonlySet<FaultCode> = new Set([
  ...LOSS,
  "store_unavailable",
  "parts_lost",
  "body_broken_off",
]);

/** Pauses between tries, in milliseconds: before there are bytes to lose, and when there are. */
const BRIEFLY = [200, 800];
const PATIENTLY = [200, 800, 2_000, 5_000, 10_000, 15_000];

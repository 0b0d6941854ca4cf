import { Fault } from "../../domain/fault.ts";
import type { Hashes } from "../../domain/image.ts";
import { Digests, type HashAlgorithm } from "../digest.ts";
import { type PartPlan, planParts } from "../part-size.ts";
import type { BlobStore, PartReceipt, PutReceipt, SizedStream } from "../store.ts";
import { type Activity, BodyReader } from "./body-reader.ts";
import {
  isolateMemory,
  type MemoryPool,
  type MemoryShare,
  SMALL_BUFFER_BYTES,
} from "./memory-pool.ts";
import { type MultipartReceipt, PartWriter } from "./part-writer.ts";
import type { Spool } from "./spool.ts";
import { sendStraight } from "./straight.ts";

/**
 * The way in for a body that comes once: source → limits → inspection → hashes → store.
 *
 * A body whose length is known goes straight through in one `put`, as far as one may be that long. Any other is cut
 * into parts of an upload that is left open: completing it, and aborting it after a failure, is up to the image's
 * object, which outlives this request. A source of null, which is what a request without a body has, is an empty one.
 *
 * Everything stops at the first reason, which is the one thrown. The source is then unlocked, so that the caller can
 * read the rest and throw it away; most clients only look for an answer once they have sent everything. A source that
 * somebody waits for at that moment, or that has failed, is cancelled and stays locked.
 */
export async function ingest(
  source: ReadableStream<Uint8Array> | null,
  options: IngestOptions,
): Promise<Ingested> {
  const { maxBytes, signal, pool = isolateMemory, store, key } = options;
  // An announced length of 0 is no announcement (SIZ-4).
  const declaredBytes = options.declaredBytes === 0 ? undefined : options.declaredBytes;
  const plan = options.plan ?? planParts(declaredBytes);
  const isStraight = goesStraight(declaredBytes, options);
  const hasMd5 = isStraight && store.putting.tellsMd5;
  const computed = options.algorithms.filter((name) => !(hasMd5 && name === "md5"));
  const digests = new Digests(computed);
  const stop = new AbortController();
  const share = pool.open();
  const incoming = new Incoming(source ?? emptyBody(), {
    options,
    limits: { declaredBytes, maxTotalBytes: isStraight ? maxBytes : plan.maxTotalBytes },
    digests,
    share,
    stopped: stop.signal,
  });
  const obey = () => stop.abort(signal?.reason);
  signal?.addEventListener("abort", obey);
  try {
    if (signal?.aborted) throw signal.reason;
    // Nothing that could follow would make this body acceptable, so none of it is read.
    if (declaredBytes !== undefined && declaredBytes > maxBytes) {
      throw new Fault("image_too_large", { maximum: maxBytes });
    }
    const way = { incoming, plan, share, pool, stop };
    const { put, multipart } =
      isStraight && declaredBytes !== undefined
        ? { put: await putStraight(declaredBytes, way, options), multipart: undefined }
        : await writeParts(declaredBytes, way, options);
    stop.signal.throwIfAborted();
    const hashes = await digests.finish();
    const md5 = hasMd5 ? { md5: put?.md5 ?? (await md5Of(store, key)) } : {};
    return { size: incoming.received, hashes: { ...hashes, ...md5 }, multipart };
  } catch (reason) {
    stop.abort(reason);
    digests.abort();
    throw stop.signal.reason;
  } finally {
    signal?.removeEventListener("abort", obey);
    share.close();
  }
}

export interface IngestOptions {
  readonly store: BlobStore;
  readonly key: string;
  /** The announced length: `x-openstack-image-size`, else Content-Length (contract 03 §3.1). */
  readonly declaredBytes: number | undefined;
  /** The longest image allowed (STO-5). */
  readonly maxBytes: number;
  /** The longest body that this deployment takes, if that is less, and what is said of a longer one. */
  readonly bodyLimit?: { readonly maxBytes: number; readonly fault: () => Fault } | undefined;
  /** The longest body that one `put` stores, where the store allows it (SINGLE_PUT_MAX_BYTES). */
  readonly singlePutMaxBytes: number;
  readonly algorithms: readonly HashAlgorithm[];
  /** Judges the content: nothing of a body that it refuses as a whole is stored for good. */
  readonly inspection?: Inspection | undefined;
  /** Begins the upload of parts and remembers its id; called once, and not for a single part. */
  readonly openMultipart: () => Promise<string>;
  readonly spool: Spool;
  /**
   * Called whenever bytes have come, often many times a MiB. It is awaited, so it is to return at once mostly. Throwing
   * stops the pipeline.
   */
  readonly onProgress?: (bytesSoFar: number) => Promise<void> | void;
  /** Is told when the source is waited for. */
  readonly activity?: Activity;
  /** Stops the pipeline with its reason, also while it waits for the source. */
  readonly signal?: AbortSignal;
  /** How to cut the body, instead of by its announced length; for tests. */
  readonly plan?: PartPlan;
  /** Where memory is taken from, instead of the isolate's pool; for tests. */
  readonly pool?: MemoryPool;
}

/** What is known of a body that was stored. */
export interface Ingested {
  /** Bytes. */
  readonly size: number;
  /** By algorithm, those that were asked for. */
  readonly hashes: Hashes;
  /** The upload to complete; undefined when the object is there already. */
  readonly multipart: MultipartReceipt | undefined;
}

/** Looks at bytes as they pass, and stops them by throwing a Fault. */
export interface Inspection {
  /** The next bytes, which are free for other use afterwards. */
  take(bytes: Uint8Array): void;
  /** There are no more. */
  finish(): void;
}

interface Way {
  readonly incoming: Incoming;
  readonly plan: PartPlan;
  readonly share: MemoryShare;
  readonly pool: MemoryPool;
  readonly stop: AbortController;
}

/** What is small is held in memory and sent again when the store fails for a moment. */
function goesStraight(declaredBytes: number | undefined, options: IngestOptions): boolean {
  const { singlePutMaxBytes, store } = options;
  const longest = Math.min(singlePutMaxBytes, store.putting.maxBytes);
  return (
    declaredBytes !== undefined && declaredBytes > SMALL_BUFFER_BYTES && declaredBytes <= longest
  );
}

function putStraight(
  length: number,
  { incoming, stop }: Way,
  { store, key }: IngestOptions,
): Promise<PutReceipt> {
  const read = (left: number) => incoming.readUpTo(left);
  return sendStraight(length, read, (body) => store.put(key, body), stop);
}

interface Stored {
  readonly put?: PutReceipt | undefined;
  readonly multipart?: MultipartReceipt | undefined;
}

async function writeParts(
  declaredBytes: number | undefined,
  way: Way,
  options: IngestOptions,
): Promise<Stored> {
  const { incoming, plan, share, pool, stop } = way;
  if (plan.isStraight && declaredBytes !== undefined) {
    return { put: undefined, multipart: await sendLargeParts(declaredBytes, way, options) };
  }
  const { store, key, openMultipart, spool } = options;
  const { partBytes } = plan;
  const target = { store, key, partBytes, openMultipart, spool };
  const writer = new PartWriter({ ...target, pool, share, stop });
  try {
    for (;;) {
      const chunk = await incoming.read();
      if (chunk.length === 0) return await writer.seal({ mayPut: true });
      await writer.put(chunk);
    }
  } catch (reason) {
    stop.abort(reason);
    throw reason;
  } finally {
    await writer.close();
  }
}

/** Parts too large to be held: each goes straight through, one after the other. */
async function sendLargeParts(
  declaredBytes: number,
  { incoming, plan, stop }: Way,
  { store, key, openMultipart }: IngestOptions,
): Promise<MultipartReceipt> {
  const uploadId = await openMultipart();
  const parts: PartReceipt[] = [];
  for (let sent = 0; sent < declaredBytes; sent += plan.partBytes) {
    const length = Math.min(plan.partBytes, declaredBytes - sent);
    const isLast = sent + length === declaredBytes;
    const read = (left: number) => (isLast ? incoming.readUpTo(left) : incoming.read(left));
    const number = parts.length + 1;
    const send = (body: SizedStream) => store.putPart(key, uploadId, number, body);
    parts.push(await sendStraight(length, read, send, stop));
  }
  return { uploadId, parts };
}

/** Reads a body until told to stop; counts, checks, inspects, hashes and reports its bytes as they pass. */
class Incoming {
  /** Bytes so far. */
  received = 0;
  readonly #reader: BodyReader;

  constructor(
    source: ReadableStream<Uint8Array>,
    private readonly way: {
      readonly options: IngestOptions;
      readonly limits: {
        /** Undefined: unknown. */
        readonly declaredBytes: number | undefined;
        /** The longest body that can be cut into parts. */
        readonly maxTotalBytes: number;
      };
      readonly digests: Digests;
      readonly share: MemoryShare;
      readonly stopped: AbortSignal;
    },
  ) {
    const { share, stopped, options } = way;
    this.#reader = new BodyReader(source, share, options.activity);
    stopped.addEventListener("abort", () => this.#reader.leave(stopped.reason));
  }

  /** The next bytes, `most` at the most, which are the caller's until the next read; none at the body's end. */
  async read(most = Number.POSITIVE_INFINITY): Promise<Uint8Array> {
    const { stopped, options, digests } = this.way;
    stopped.throwIfAborted();
    const chunk = await this.#reader.read(most).catch(brokenOff);
    stopped.throwIfAborted();
    if (chunk.length === 0) {
      this.#assertComplete();
      options.inspection?.finish();
      return chunk;
    }
    this.received += chunk.length;
    this.#assertWithinLimits();
    options.inspection?.take(chunk);
    await digests.update(chunk);
    await options.onProgress?.(this.received);
    return chunk;
  }

  /** The same where `left` bytes are to come and no more: the last of them only once the body's end is seen. */
  async readUpTo(left: number): Promise<Uint8Array> {
    const chunk = await this.read();
    if (chunk.length < left) return chunk.length === 0 ? brokenOff(undefined) : chunk;
    const last = chunk.slice();
    await this.read();
    return last;
  }

  /** Names the limit that is reached first, of two alike the image's (STO-5, SIZ-2). */
  #assertWithinLimits(): void {
    const { declaredBytes = Number.POSITIVE_INFINITY, maxTotalBytes } = this.way.limits;
    const { bodyLimit, maxBytes } = this.way.options;
    if (bodyLimit !== undefined && this.received > bodyLimit.maxBytes) throw bodyLimit.fault();
    const allowed = Math.min(declaredBytes, maxBytes, maxTotalBytes);
    if (this.received <= allowed) return;
    if (allowed === maxBytes) throw new Fault("image_too_large", { maximum: maxBytes });
    if (allowed === declaredBytes) throw new Fault("size_exceeded", { declared: declaredBytes });
    throw new Fault("size_unannounced", { maximum: maxTotalBytes });
  }

  /** SIZ-3. */
  #assertComplete(): void {
    const { declaredBytes: declared } = this.way.limits;
    if (declared !== undefined && this.received !== declared) {
      throw new Fault("size_mismatch", { declared, received: this.received });
    }
  }
}

/** For a store that did not tell the MD5 after all. */
async function md5Of(store: BlobStore, key: string): Promise<string> {
  const blob = await store.read(key);
  if (blob === undefined) throw new Fault("store_unavailable");
  const digests = new Digests(["md5"]);
  for await (const chunk of blob.body) await digests.update(chunk);
  return (await digests.finish()).md5 ?? "";
}

// A source of our own, such as an import, may know better why it stopped.
function brokenOff(cause: unknown): never {
  throw cause instanceof Fault ? cause : new Fault("body_broken_off", {}, cause);
}

function emptyBody(): ReadableStream<Uint8Array> {
  return new Blob([]).stream();
}

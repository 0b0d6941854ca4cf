import { Fault } from "../domain/fault.ts";
import { type BufferBudget, isolateBudget } from "./buffer-budget.ts";
import { BufferPool } from "./buffer-pool.ts";
import { type HashAlgorithm, ImageDigest, type ImageHashes } from "./digest.ts";
import { type Inspection, Intake, type IntakeLimits } from "./intake.ts";
import { type MultipartReceipt, PartSender, storing } from "./multipart.ts";
import { type PartPlan, planParts } from "./part-size.ts";
import type { BlobStore } from "./store.ts";

/**
 * The one pipeline for bytes coming in: source → limits → inspection → hashes → parts → store.
 *
 * The body is read straight into the buffers that are later sent, so a byte is hardly copied on its
 * way. What is buffered is bounded by the plan's buffers (part-size.ts) whatever the body's length,
 * and by the isolate's budget (buffer-budget.ts) whatever the number of uploads: when all buffers
 * are on their way to the store, or the budget is spent, nothing is read and the client waits.
 *
 * A body that fits into one part is stored by one `put`. A longer one becomes parts of an upload
 * that is left open: completing it, and aborting it after a failure, is up to the image's object,
 * which outlives this request. A source of null, which is what a request without a body has, is an
 * empty one.
 *
 * Everything stops at the first reason, which is the one thrown. The source is then unlocked, so
 * that the caller can read the rest and throw it away; most clients only look for an answer once
 * they have sent everything. A source that somebody waits for at that moment, or that has failed,
 * is cancelled and stays locked.
 */
export async function ingest(
  source: ReadableStream<Uint8Array> | null,
  options: IngestOptions,
): Promise<Ingested> {
  const { maxBytes, signal, onProgress = () => {} } = options;
  const { budget = isolateBudget, wait = (ms: number) => scheduler.wait(ms) } = options;
  // An announced length of 0 is no announcement (SIZ-4).
  const declaredBytes = options.declaredBytes === 0 ? undefined : options.declaredBytes;
  const plan = options.plan ?? planParts(declaredBytes);
  const limits = {
    ...{ declaredBytes, maxBytes, maxTotalBytes: plan.maxTotalBytes },
    body: options.bodyLimit,
  };
  const digest = new ImageDigest(options.hashAlgorithm, options.extraHashes);
  const stop = new AbortController();
  const body = source ?? emptyBody();
  const intake = new Intake(body, limits, digest, options.inspection, onProgress, stop.signal);
  const longestPart = Math.max(0, Math.min(plan.partBytes, declaredBytes ?? maxBytes, maxBytes));
  const isStreamed = plan.buffers === 0 && declaredBytes !== undefined;
  const buffers = isStreamed
    ? new BufferPool(1, budget.firstBytes, budget)
    : new BufferPool(plan.buffers, longestPart + 1, budget);
  const waitForMemory = async () => {
    await wait(MEMORY_POLL_MS);
    await onProgress(intake.received);
  };
  const parts = new PartSender({ ...options, buffers, waitForMemory, stop });
  const obey = () => stop.abort(signal?.reason);
  signal?.addEventListener("abort", obey);
  try {
    if (signal?.aborted) throw signal.reason;
    // Nothing that could follow would make this body acceptable, so none of it is read.
    if (declaredBytes !== undefined && declaredBytes > maxBytes) {
      throw new Fault("image_too_large", { maximum: maxBytes });
    }
    const multipart = isStreamed
      ? await sendStreamed(intake, parts, plan, declaredBytes, stop.signal)
      : await sendBuffered(intake, parts, plan, options);
    stop.signal.throwIfAborted();
    return { size: intake.received, ...(await digest.finish()), multipart };
  } catch (reason) {
    stop.abort(reason);
    digest.abort();
    await parts.settle().catch(() => {});
    throw stop.signal.reason;
  } finally {
    signal?.removeEventListener("abort", obey);
    buffers.close();
  }
}

const MEMORY_POLL_MS = 100;

export interface IngestOptions {
  readonly store: BlobStore;
  readonly key: string;
  /** The announced length: `x-openstack-image-size`, else Content-Length (contract 03 §3.1). */
  readonly declaredBytes: number | undefined;
  /** The longest image allowed (STO-5). */
  readonly maxBytes: number;
  /** The longest body allowed, if that is less. */
  readonly bodyLimit?: IntakeLimits["body"];
  readonly hashAlgorithm: HashAlgorithm;
  /** What else is to be computed. */
  readonly extraHashes?: readonly HashAlgorithm[];
  /** Judges the content: nothing of a body that it refuses as a whole is stored for good. */
  readonly inspection?: Inspection | undefined;
  /** Begins the upload of parts and remembers its id; called once, and not for a single part. */
  readonly openMultipart: () => Promise<string>;
  /**
   * Called whenever bytes have come, often many times a MiB, and while the upload waits for memory.
   * It is awaited, so it is to return at once mostly. Throwing stops the pipeline.
   */
  readonly onProgress?: (bytesSoFar: number) => Promise<void> | void;
  /** Stops the pipeline with its reason, also while it waits for the source. */
  readonly signal?: AbortSignal;
  /** How to cut the body, instead of by its announced length; for tests. */
  readonly plan?: PartPlan;
  /** Where buffers are taken from, instead of the isolate's budget; for tests. */
  readonly budget?: BufferBudget;
  /** How to wait for memory; for tests. */
  readonly wait?: (ms: number) => Promise<void>;
}

/** What is known of a body that was stored. */
export interface Ingested extends ImageHashes {
  /** Bytes. */
  readonly size: number;
  /** The upload to complete; undefined when the object is there already. */
  readonly multipart: MultipartReceipt | undefined;
}

/** Buffers hold a byte more than a part: the first of the next, which tells that there is one. */
async function sendBuffered(
  intake: Intake,
  parts: PartSender,
  { partBytes }: PartPlan,
  { store, key }: IngestOptions,
): Promise<MultipartReceipt | undefined> {
  let filled = await fillBuffer(intake, parts, partBytes);
  if (filled.length <= partBytes) {
    await storing(store.put(key, filled));
    return undefined;
  }
  while (filled.length > partBytes) {
    // A copy, since a buffer's memory may be given to others once its part is stored.
    const surplus = filled.slice(partBytes);
    parts.send(filled.subarray(0, partBytes));
    filled = await fillBuffer(intake, parts, partBytes, surplus);
  }
  parts.send(filled);
  return parts.finish();
}

/** Fills a buffer, which grows as it fills, until it holds more than a part or the body ends. */
async function fillBuffer(
  intake: Intake,
  parts: PartSender,
  partBytes: number,
  start: Uint8Array = new Uint8Array(0),
): Promise<Uint8Array> {
  const first = await parts.takeBuffer();
  new Uint8Array(first).set(start);
  let filled = await intake.fill(first, start.length);
  while (filled.length <= partBytes && !intake.isEnded) {
    // Growing empties the view.
    const { buffer, length } = filled;
    filled = await intake.fill(await parts.growBuffer(buffer), length);
  }
  return filled;
}

/** Parts too large to be held: each passes through a small buffer, one part after the other. */
async function sendStreamed(
  intake: Intake,
  parts: PartSender,
  { partBytes }: PartPlan,
  declaredBytes: number,
  stopped: AbortSignal,
): Promise<MultipartReceipt> {
  let buffer = await parts.takeBuffer();
  while (intake.received < declaredBytes) {
    const length = Math.min(partBytes, declaredBytes - intake.received);
    const pipe = new FixedLengthStream(length);
    const writer = pipe.writable.getWriter();
    writer.closed.catch(() => {});
    const release = () => void writer.abort(stopped.reason).catch(() => {});
    stopped.addEventListener("abort", release);
    parts.sendStream({ stream: pipe.readable, length });
    for (let left = length; left > 0; ) {
      const chunk = await intake.read(buffer, 0, Math.min(left, buffer.byteLength));
      await writer.write(chunk);
      buffer = chunk.buffer;
      left -= chunk.length;
    }
    await writer.close();
    stopped.removeEventListener("abort", release);
    await parts.settle();
  }
  await intake.fill(buffer, 0);
  return parts.finish();
}

function emptyBody(): ReadableStream<Uint8Array> {
  return new Blob([]).stream();
}

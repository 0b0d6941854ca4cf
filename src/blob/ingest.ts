import { Fault } from "../domain/fault.ts";
import { BufferPool } from "./buffer-pool.ts";
import { type HashAlgorithm, ImageDigest, type ImageHashes } from "./digest.ts";
import { Intake } from "./intake.ts";
import { type MultipartReceipt, PartSender, storing } from "./multipart.ts";
import { type PartPlan, planParts } from "./part-size.ts";
import type { BlobStore } from "./store.ts";

/**
 * The one pipeline for bytes coming in: source → limits → hashes → parts → store.
 *
 * The body is read straight into the buffers that are later sent, so a byte is copied once on its
 * way. What is buffered is bounded by the plan's buffers (part-size.ts) whatever the body's length:
 * when all of them are on their way to the store nothing is read, and the client waits.
 *
 * A body that fits into one part is stored by one `put`. A longer one becomes parts of an upload
 * that is left open: completing it, and aborting it after a failure, is up to the image's object,
 * which outlives this request. Everything stops at the first reason, which is the one thrown. A
 * source of null, which is what a request without a body has, is an empty one.
 */
export async function ingest(
  source: ReadableStream<Uint8Array> | null,
  options: IngestOptions,
): Promise<Ingested> {
  const { maxBytes, onProgress = () => {} } = options;
  // An announced length of 0 is no announcement (SIZ-4).
  const declaredBytes = options.declaredBytes === 0 ? undefined : options.declaredBytes;
  const plan = options.plan ?? planParts(declaredBytes);
  const limits = { declaredBytes, maxBytes, maxTotalBytes: plan.maxTotalBytes };
  const digest = new ImageDigest(options.hashAlgorithm);
  const stop = new AbortController();
  options.signal?.addEventListener("abort", () => stop.abort(options.signal?.reason));
  const intake = new Intake(source ?? emptyBody(), limits, digest, onProgress, stop.signal);
  const longestPart = Math.max(0, Math.min(plan.partBytes, declaredBytes ?? maxBytes, maxBytes));
  const buffers = new BufferPool(plan.buffers, longestPart + 1);
  const parts = new PartSender({ ...options, buffers, stop });
  try {
    // Nothing that could follow would make this body acceptable, so none of it is read.
    if (declaredBytes !== undefined && declaredBytes > maxBytes) {
      throw new Fault("image_too_large", { maximum: maxBytes });
    }
    const multipart =
      plan.buffers === 0 && declaredBytes !== undefined
        ? await sendStreamed(intake, parts, plan, declaredBytes, stop.signal)
        : await sendBuffered(intake, parts, plan, options);
    return { size: intake.received, ...(await digest.finish()), multipart };
  } catch (reason) {
    stop.abort(reason);
    digest.abort();
    await parts.settle().catch(() => {});
    throw stop.signal.reason;
  } finally {
    buffers.close();
  }
}

export interface IngestOptions {
  readonly store: BlobStore;
  readonly key: string;
  /** The announced length: `x-openstack-image-size`, else Content-Length (contract 03 §3.1). */
  readonly declaredBytes: number | undefined;
  /** The longest image allowed (STO-5). */
  readonly maxBytes: number;
  readonly hashAlgorithm: HashAlgorithm;
  /** Begins the upload of parts and remembers its id; called once, and not for a single part. */
  readonly openMultipart: () => Promise<string>;
  /**
   * Called whenever bytes have come, often many times a MiB, and awaited, so it is to return at
   * once mostly. Throwing stops the pipeline.
   */
  readonly onProgress?: (bytesSoFar: number) => Promise<void> | void;
  /** Its abort stops the pipeline, with its reason. */
  readonly signal?: AbortSignal;
  /** How to cut the body, instead of by its announced length; for tests. */
  readonly plan?: PartPlan;
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
  let filled = await intake.fill(await parts.takeBuffer(), 0);
  if (filled.length <= partBytes) {
    await storing(store.put(key, filled));
    return undefined;
  }
  while (filled.length > partBytes) {
    const surplus = filled.subarray(partBytes);
    parts.send(filled.subarray(0, partBytes));
    const buffer = await parts.takeBuffer();
    new Uint8Array(buffer).set(surplus);
    filled = await intake.fill(buffer, surplus.length);
  }
  parts.send(filled);
  return parts.finish();
}

const STREAM_BUFFER_BYTES = 1024 ** 2;

/** Parts too large to be held: each passes through a small buffer, one part after the other. */
async function sendStreamed(
  intake: Intake,
  parts: PartSender,
  { partBytes }: PartPlan,
  declaredBytes: number,
  stopped: AbortSignal,
): Promise<MultipartReceipt> {
  let buffer: ArrayBufferLike = new ArrayBuffer(STREAM_BUFFER_BYTES);
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

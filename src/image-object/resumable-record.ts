import type { HashAlgorithm } from "../blob/digest.ts";
import type { ExpectedHash } from "../domain/expected-hash.ts";
import { Fault } from "../domain/fault.ts";
import type { Place, ResumableView } from "../domain/resumable-upload.ts";
import type { Config } from "../env.ts";
import type { Owed } from "./ledger.ts";
import { oweUnfinished } from "./removals.ts";

/** A resumable upload as the ledger keeps it; its parts stand beside it. Plain data. */
export interface Resumable {
  readonly id: string;
  readonly imageId: string;
  readonly kind: "whole" | "partial" | "final";
  /** Whether its data has been handed over to the work that makes it the image's; then it is only remembered. */
  readonly isHanded: boolean;
  readonly storeId: string;
  readonly key: string;
  readonly multipartId: string | undefined;
  readonly partBytes: number;
  readonly length: number | undefined;
  readonly place: Place | undefined;
  /** The partial uploads that a final one joins, in their order. */
  readonly joins: readonly string[];
  /** How its client named them. */
  readonly concat: string | undefined;
  /** Parts that are stored; the last one may be short. */
  readonly parts: number;
  /** Bytes behind those, which fill no part yet and lie in the object's storage (spool-rows.ts). */
  readonly tailBytes: number;
  /** Where an earlier version keeps such bytes, until a request goes on with the upload. */
  readonly tail?: Tail | undefined;
  readonly nextTailKey?: string | undefined;
  readonly spentTailKeys?: readonly string[];
  readonly expected: ExpectedHash | undefined;
  /** What is computed as the bytes come. */
  readonly algorithms: readonly HashAlgorithm[];
  readonly metadata: string | undefined;
  /** Who began it, for the task of the end. */
  readonly projectId: string | null;
  readonly userId: string | null;
  readonly requestId: string;
  /** How often it was handed over in vain. */
  readonly tries: number;
  readonly expiresAtMs: number;
  /** When to look at it: mostly when it expires. */
  readonly dueMs: number;
}

/** Bytes that fill no part, as an object of their own in the upload's store. */
export interface Tail {
  readonly key: string;
  readonly bytes: number;
}

/** When an upload expires of which there is news now, and is looked at. */
export function expiryOf({
  uploadExpiryMs,
}: Pick<Config, "uploadExpiryMs">): Pick<Resumable, "expiresAtMs" | "dueMs"> {
  const expiresAtMs = Date.now() + uploadExpiryMs;
  return { expiresAtMs, dueMs: expiresAtMs };
}

/** A record as an earlier version may have kept it, with what it lacks. */
export function upgraded(record: Resumable): Resumable {
  return { ...record, tailBytes: record.tailBytes ?? 0 };
}

/** Bytes that are there. */
export function offsetOf(record: Resumable): number {
  const { length, parts, partBytes } = record;
  const stored = parts * partBytes + (record.tail?.bytes ?? record.tailBytes);
  return Math.min(stored, length ?? stored);
}

/** Whether all bytes are there. */
export function isThere(record: Resumable): boolean {
  return offsetOf(record) === record.length;
}

/** Uploads that have become useless when their image got its data, due now so that the alarm ends them. */
export function outrun(records: readonly Resumable[], nowMs: number): readonly Resumable[] {
  return records.filter(({ isHanded }) => !isHanded).map((one) => ({ ...one, dueMs: nowMs }));
}

/** The number of its first part in its multipart upload. */
export function firstPartOf({ place, partBytes }: Resumable): number {
  return place === undefined ? 1 : place.offset / partBytes + 1;
}

export function viewOf(record: Resumable): ResumableView {
  const { id, length, kind, concat, metadata, partBytes, expiresAtMs } = record;
  return { id, length, kind, concat, metadata, partBytes, expiresAtMs, offset: offsetOf(record) };
}

/** Refuses a place that does not fit the parts it is to be stored in. */
export function assertPlace(place: Place, length: number | undefined, partBytes: number): void {
  const { offset, totalBytes } = place;
  const end = offset + (length ?? Number.NaN);
  const isCut = offset % partBytes === 0 && (end % partBytes === 0 || end === totalBytes);
  if (isCut && end <= totalBytes && end > offset) return;
  const reason =
    `the place of a partial upload begins and ends at a multiple of ${partBytes} bytes, ` +
    "or at the whole's end, and is not empty";
  throw new Fault("invalid_value", { name: "Upload-Metadata", reason });
}

/** Everything in stores that is an upload's. */
export function blobsOfUpload(record: Resumable): readonly UploadBlob[] {
  const { storeId, key, multipartId, isHanded } = record;
  return [...(isHanded ? [] : [{ storeId, key, multipartId }]), ...tailBlobsOf(record)];
}

/** What an earlier version keeps of an upload beside its parts. */
export function tailBlobsOf(record: Resumable): readonly UploadBlob[] {
  const { storeId, tail, nextTailKey, spentTailKeys = [] } = record;
  const keys = [tail?.key, nextTailKey, ...spentTailKeys].filter((one) => one !== undefined);
  return keys.map((key) => ({ storeId, key, multipartId: undefined }));
}

type UploadBlob = Pick<Owed, "storeId" | "key" | "multipartId">;

/** What is to go with an upload; a blob that others write to as well stays as long as they do. */
export function owedWith(
  record: Resumable,
  others: readonly Resumable[],
  nowMs: number,
  leaseMs: number,
): readonly Owed[] {
  const isShared = ({ key }: UploadBlob) => others.some((other) => other.key === key);
  return blobsOfUpload(record)
    .filter((blob) => !isShared(blob))
    .map((blob) => oweUnfinished(record.imageId, blob, nowMs, leaseMs));
}

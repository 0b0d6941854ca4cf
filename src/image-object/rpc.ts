import type { PartReceipt } from "../blob/store.ts";
import { withoutValues } from "../db/errors.ts";
import { Fault, type FaultCode, type FaultDetail } from "../domain/fault.ts";
import type { Identity } from "../domain/identity.ts";
import type { Formats, Hashes } from "../domain/image.ts";
import type { ImageSignature } from "../domain/image-signature.ts";
import type { ImportRequest } from "../domain/import-request.ts";
import type { LocationRequest } from "../domain/location-request.ts";
import type { JsonObject } from "../lib/json.ts";
import type { RuleName } from "../policy/rules.ts";

/** Who asks for a change of which image, under which rule of the route table. */
export interface Caller {
  readonly imageId: string;
  readonly identity: Identity;
  readonly rule: RuleName;
}

/** An outcome that crosses RPC, where a thrown error would lose its class: the value, or the fault as data. */
export type Outcome<T> =
  | { readonly ok: true; readonly value: T }
  | { readonly ok: false; readonly code: FaultCode; readonly detail: FaultDetail };

/** Inside the object: faults become data. What else is thrown stays so, but without the values of statements. */
export async function settle<T>(work: Promise<T>): Promise<Outcome<T>> {
  try {
    return { ok: true, value: await work };
  } catch (error) {
    if (error instanceof Fault) return { ok: false, code: error.code, detail: error.detail };
    throw withoutValues(error);
  }
}

/** Outside the object: the value, or the fault thrown again. */
export function unwrap<T>(outcome: Outcome<T>): T {
  if (outcome.ok) return outcome.value;
  throw new Fault(outcome.code, outcome.detail);
}

/** What an uploader asks for: the attempt's id is its choice, so that it can ask again. */
export interface UploadRequest {
  /** A UUID. */
  readonly attemptId: string;
  readonly purpose: "data" | "staging";
  readonly storeId: string;
  /** The announced size in bytes, if there is one. */
  readonly declaredBytes: number | undefined;
}

/** An import that is asked for. */
export interface ImportCall {
  readonly request: ImportRequest;
  /** The header `x-image-meta-store`. */
  readonly storeHeader: string | null;
  readonly requestId: string;
  readonly taskType: "api_image_import" | "import";
  /** The task's input, where it is not the usual one. */
  readonly taskInput: JsonObject | undefined;
  /** The caller's, which glance-download sends on (contract 10 §12, Auth). */
  readonly token: string | undefined;
}

/** A location that is to be added to a queued image. */
export interface LocationCall {
  readonly request: LocationRequest;
  readonly requestId: string;
}

/** Bytes of an upload that fill no part yet, with their place in it. */
export interface SpooledBytes {
  readonly part: number;
  readonly offset: number;
  readonly bytes: Uint8Array;
}

/** A granted upload: the bytes go to `key`. */
export interface UploadGrant {
  readonly key: string;
  /** Milliseconds without news from the uploader after which the grant is taken back. */
  readonly leaseMs: number;
  /** What the data is to be held against. */
  readonly formats: Formats;
  readonly signature: ImageSignature | undefined;
  /** Bytes that may come before more have to be asked for; undefined: all that were announced, or any number. */
  readonly reservedBytes: number | undefined;
}

/** What arrived: hex digests over the bytes as received, and the parts if they went as a multipart upload. */
export interface UploadedData {
  readonly size: number;
  /** Bytes of the disk within; null where it is unknown. */
  readonly virtualSize: number | null;
  /** By algorithm, MD5 and the configured one among them. */
  readonly hashes: Hashes;
  readonly multipart:
    | { readonly uploadId: string; readonly parts: readonly PartReceipt[] }
    | undefined;
}

/**
 * How an upload ended that failed on its way: its commit had come through (`committed`), it was given up now
 * (`abandoned`), or it had lost the image before, to a deletion or to its lease's end.
 */
export type UploadEnd = "committed" | "abandoned" | "image_gone" | "upload_superseded";

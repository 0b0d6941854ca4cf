import { parseCount } from "../lib/count.ts";
import type { ExpectedHash } from "./expected-hash.ts";
import { Fault } from "./fault.ts";

/*
 * What a resumable upload is: data that comes in pieces, each a request of its own, until all of it is there. It is one
 * of three kinds: the whole data; a partial one, which is to be joined with others; or a final one, which joins them.
 */

/** What is asked for. Plain data: it crosses to the image's object. */
export interface ResumableRequest {
  readonly storeId: string;
  /** Bytes; undefined where that is told later. */
  readonly length: number | undefined;
  readonly kind: "whole" | "partial";
  /** Of a partial upload: where it lies in the whole, if that is known, which then need not be put together anew. */
  readonly place: Place | undefined;
  readonly expected: ExpectedHash | undefined;
  /** As it was given, to be given back. */
  readonly metadata: string | undefined;
  readonly requestId: string;
}

/** Partial uploads that are to be joined, by their ids in their order. */
export interface JoinRequest {
  readonly parts: readonly string[];
  /** How they were named, to be given back. */
  readonly concat: string;
  readonly expected: ExpectedHash | undefined;
  readonly metadata: string | undefined;
  readonly requestId: string;
}

/** A request that adds bytes to an upload. */
export interface AppendRequest {
  /** Where its bytes go. */
  readonly offset: number;
  /** The upload's length, where that comes with this request. */
  readonly length: number | undefined;
  /** Of the request's bytes. */
  readonly checksum: ExpectedHash | undefined;
}

/** Where a partial upload lies in the whole data, in bytes. */
export interface Place {
  readonly offset: number;
  /** Of the whole. */
  readonly totalBytes: number;
}

/** An upload as its client sees it. */
export interface ResumableView {
  readonly id: string;
  /** Bytes that are there. */
  readonly offset: number;
  readonly length: number | undefined;
  readonly kind: "whole" | "partial" | "final";
  /** How the parts of a final one were named. */
  readonly concat: string | undefined;
  readonly metadata: string | undefined;
  /** The size of the stored parts; pieces of a multiple of it cost least. */
  readonly partBytes: number;
  readonly expiresAtMs: number;
}

/** Where a partial upload says that it lies; to the others those names are their client's own. Throws `invalid_value`. */
export function readPlace(
  fields: ReadonlyMap<string, string>,
  kind: "whole" | "partial",
): Place | undefined {
  if (kind !== "partial") return undefined;
  const offset = readCount(fields, "offset");
  const totalBytes = readCount(fields, "length");
  if (offset === undefined && totalBytes === undefined) return undefined;
  if (offset === undefined || totalBytes === undefined) {
    const reason = "a partial upload with a place needs both its offset and the whole's length";
    throw new Fault("invalid_value", { name: "Upload-Metadata", reason });
  }
  return { offset, totalBytes };
}

function readCount(fields: ReadonlyMap<string, string>, key: string): number | undefined {
  const text = fields.get(key);
  if (text === undefined) return undefined;
  const count = parseCount(text);
  if (count !== undefined) return count;
  const reason = `${key} must be a whole number of bytes`;
  throw new Fault("invalid_value", { name: "Upload-Metadata", reason });
}

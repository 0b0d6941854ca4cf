import { Fault } from "../domain/fault.ts";

/** Which bytes of the data a request asks for. */
export type ByteSelection =
  | { readonly kind: "whole" }
  /** At least one byte, all of them within the data: answer 206. */
  | { readonly kind: "part"; readonly offset: number; readonly length: number };

const WHOLE: ByteSelection = { kind: "whole" };

/**
 * Which bytes a GET asks for of `size` bytes of data: by Range, else by a Content-Range in the
 * request, which old clients of the reference send (contract RNG-1 … RNG-18). Throws the Fault
 * `multiple_ranges` or `range_not_satisfiable`, whose detail holds the size for Content-Range.
 */
export function parseRange(headers: Headers, size: number): ByteSelection {
  const range = headers.get("range");
  if (range !== null) return parseRangeHeader(range, size);
  const contentRange = headers.get("content-range");
  return contentRange === null ? WHOLE : parseContentRange(contentRange, size);
}

/** The Content-Range of a 206 answer (RFC 9110 §14.4). */
export function formatContentRange(offset: number, length: number, size: number): string {
  return `bytes ${offset}-${offset + length - 1}/${size}`;
}

// Blanks around the numbers and any letter case are accepted, as the reference does (RNG-11). A run
// of blanks can match in one place only, so that a hostile header costs no time.
const RANGE = /^bytes[ \t]*=[ \t]*(?:(\d+)[ \t]*)?-[ \t]*(?:(\d+)[ \t]*)?$/i;

function parseRangeHeader(header: string, size: number): ByteSelection {
  // Any comma, even in what is no range at all, as the reference does (RNG-10).
  if (header.includes(",")) throw new Fault("multiple_ranges");
  const [, first, last] = RANGE.exec(header) ?? [];
  if (first !== undefined) {
    return select(Number(first), last === undefined ? size - 1 : Number(last), size);
  }
  if (last !== undefined) return selectSuffix(Number(last), size);
  // RFC 9110 would have anything else ignored; clients of the reference know 416 (RNG-9, RNG-12).
  return notSatisfiable(size);
}

// Digits that no number holds exactly are past the end of any data, and are treated so by
// comparison.
function select(first: number, last: number, size: number): ByteSelection {
  if (first >= size || last < first) return notSatisfiable(size);
  const end = Math.min(last, size - 1);
  return { kind: "part", offset: first, length: end - first + 1 };
}

function selectSuffix(suffixBytes: number, size: number): ByteSelection {
  if (suffixBytes === 0) return notSatisfiable(size);
  // RFC 9110 §14.1.2 calls this satisfiable, but no Content-Range can name a byte of empty data.
  if (size === 0) return WHOLE;
  const length = Math.min(suffixBytes, size);
  return { kind: "part", offset: size - length, length };
}

const CONTENT_RANGE = /^bytes[ \t]+(\d+)-(\d+)\/(\d+|\*)$/i;

function parseContentRange(header: string, size: number): ByteSelection {
  const [, first, last, total] = CONTENT_RANGE.exec(header) ?? [];
  if (first === undefined || last === undefined || total === undefined) return notSatisfiable(size);
  // Here the client states what it believes is there, so an end past that is an error and not cut
  // (RNG-15 … RNG-17). With a total beyond the data, what lies within the data is given.
  const claimed = total === "*" ? size : Number(total);
  const end = Number(last);
  if (end >= claimed || end >= size) return notSatisfiable(size);
  return select(Number(first), end, size);
}

function notSatisfiable(size: number): never {
  throw new Fault("range_not_satisfiable", { size });
}

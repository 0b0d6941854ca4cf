import { type ExpectedHash, readHash } from "../domain/expected-hash.ts";
import { Fault } from "../domain/fault.ts";
import { fromBase64 } from "../lib/base64.ts";
import { abbreviate } from "../lib/code-points.ts";
import { parseCount } from "../lib/count.ts";
import { toHex } from "../lib/hex.ts";

/*
 * The headers of tus 1.0, the protocol of resumable uploads (https://tus.io/protocols/resumable-upload). Parsers throw
 * the Fault `invalid_value`, which names the header.
 */

export const TUS_VERSION = "1.0.0";

const EXTENSIONS =
  "creation,creation-with-upload,creation-defer-length,expiration,checksum,termination,concatenation";

/** By the names that Upload-Checksum uses, which are ours, too; sha1 is a must of the protocol. */
const CHECKSUMS = ["sha1", "sha256", "sha384", "sha512", "md5"] as const;

/** The media type of bytes that go on at an offset. */
export const OFFSET_STREAM = "application/offset+octet-stream";

/** Headers that browsers must be allowed to read. */
export const TUS_RESPONSE_HEADERS = [
  "Glimpse-Part-Size",
  "Tus-Checksum-Algorithm",
  "Tus-Extension",
  "Tus-Max-Size",
  "Tus-Resumable",
  "Tus-Version",
  "Upload-Concat",
  "Upload-Defer-Length",
  "Upload-Expires",
  "Upload-Length",
  "Upload-Metadata",
  "Upload-Offset",
];

/** Whether a path is one of those that speak tus. */
export function speaksTus(pathname: string): boolean {
  return /\/images\/[^/]+\/uploads(?:\/[^/]*)?$/.test(pathname);
}

/**
 * The request with the method that it is meant to have, for clients that know few (core, X-HTTP-Method-Override). Throws
 * the Fault `unknown_method` for any that no resource has.
 */
export function withMeantMethod(request: Request): Request {
  const method = request.headers.get("x-http-method-override");
  if (method === null || method === request.method) return request;
  if (!/^(?:GET|HEAD|POST|PUT|PATCH|DELETE|OPTIONS)$/.test(method)) {
    throw new Fault("unknown_method", { method: abbreviate(method) });
  }
  const isBodiless = method === "GET" || method === "HEAD";
  return new Request(request, { method, ...(isBodiless && { body: null }) });
}

/** What OPTIONS tells of the server (core, OPTIONS). */
export function describeTus(maxBytes: number): Record<string, string> {
  return {
    "tus-version": TUS_VERSION,
    "tus-extension": EXTENSIONS,
    "tus-max-size": String(maxBytes),
    "tus-checksum-algorithm": CHECKSUMS.join(),
  };
}

/** Refuses a client of another version (core, Tus-Resumable); OPTIONS is for all. */
export function assertTusVersion(headers: Headers): void {
  if (headers.get("tus-resumable") === TUS_VERSION) return;
  throw new Fault("tus_version_unknown", { version: TUS_VERSION });
}

/** What a creation asks for. */
export interface Creation {
  /** Bytes; undefined where the length comes later, or follows from the parts. */
  readonly length: number | undefined;
  /** Undefined for an upload that is whole by itself. */
  readonly concat:
    | "partial"
    | {
        readonly parts: readonly string[];
        /** The header as it was given, for HEAD to give it back. */
        readonly given: string;
      }
    | undefined;
  /** The header as it was given, for HEAD to give it back; undefined when there was none. */
  readonly metadata: string | undefined;
  readonly fields: ReadonlyMap<string, string>;
}

/** Reads the headers of a creation (creation and concatenation extensions). */
export function parseCreation(headers: Headers): Creation {
  const length = readCount(headers, "Upload-Length");
  const isDeferred = parseDeferred(headers);
  const concat = parseConcat(headers);
  const metadata = headers.get("Upload-Metadata") ?? undefined;
  const isFinal = typeof concat === "object";
  if (isFinal && (length !== undefined || isDeferred)) {
    invalid("Upload-Length", "the length of a final upload follows from its parts; leave it out");
  }
  if (!isFinal && (length === undefined) !== isDeferred) {
    invalid("Upload-Length", "give either it or Upload-Defer-Length: 1");
  }
  return { length, concat, metadata, fields: parseMetadata(metadata) };
}

/** Reads a header that counts bytes; undefined when it is not there. */
export function readCount(headers: Headers, name: string): number | undefined {
  const text = headers.get(name);
  if (text === null) return undefined;
  return parseCount(text) ?? invalid(name, "it must be a whole number of bytes, 0 or more");
}

/** Where a request's bytes go on (core, PATCH). */
export function parseOffset(headers: Headers): number {
  return readCount(headers, "Upload-Offset") ?? invalid("Upload-Offset", "it is missing");
}

/** Reads `Upload-Checksum: <algorithm> <base64>`, of the request's bytes (checksum extension). Throws for an algorithm that is not known, too. */
export function parseChecksum(headers: Headers): ExpectedHash | undefined {
  const name = "Upload-Checksum";
  const text = headers.get(name);
  if (text === null) return undefined;
  const [word = "", digest = "", ...rest] = text.split(" ");
  const algorithm = CHECKSUMS.find((known) => known === word);
  if (algorithm === undefined) {
    return invalid(name, `the algorithm must be one of ${CHECKSUMS.join(", ")}`);
  }
  const bytes = rest.length === 0 ? fromBase64(digest) : undefined;
  const hash = bytes && readHash(algorithm, toHex(bytes));
  return hash ?? invalid(name, `it is no ${algorithm} in Base64`);
}

function parseDeferred(headers: Headers): boolean {
  const text = headers.get("Upload-Defer-Length");
  if (text === null || text === "1") return text !== null;
  return invalid("Upload-Defer-Length", "it must be 1");
}

/** The most parts that one final upload is made of. */
const MAX_PARTS = 64;

/** `partial`, or `final;` and the addresses of the parts, of which the last segment counts. */
function parseConcat(headers: Headers): Creation["concat"] {
  const name = "Upload-Concat";
  const text = headers.get(name)?.trim();
  if (text === undefined || text === "partial") return text;
  const [, list = invalid(name, "it must be partial, or final; and the parts")] =
    /^final;(.*)$/.exec(text) ?? [];
  const parts = list.split(" ").filter((address) => address !== "");
  if (parts.length === 0 || parts.length > MAX_PARTS) {
    invalid(name, `a final upload has 1 to ${MAX_PARTS} parts`);
  }
  return { parts, given: text };
}

/** Bytes of the header, which the object keeps. */
const MAX_METADATA = 4_096;

/** Reads pairs of a key and a Base64 value, or keys alone, with commas between (creation, Upload-Metadata). */
function parseMetadata(text: string | undefined): ReadonlyMap<string, string> {
  const name = "Upload-Metadata";
  const fields = new Map<string, string>();
  if (text === undefined || text.trim() === "") return fields;
  if (text.length > MAX_METADATA) invalid(name, `it has more than ${MAX_METADATA} characters`);
  for (const pair of text.split(",")) {
    const [key = "", value = "", ...rest] = pair.trim().split(" ");
    const decoded = decodeText(value);
    if (!/^[!-+\--~]+$/.test(key) || rest.length > 0 || decoded === undefined) {
      invalid(name, `"${abbreviate(pair.trim())}" is no key with a Base64 value`);
    }
    if (fields.has(key)) invalid(name, `the key ${abbreviate(key)} is there twice`);
    fields.set(key, decoded);
  }
  return fields;
}

/** The text in Base64 of UTF-8; bytes that are no UTF-8 are read as well as can be, for nobody needs them. */
function decodeText(base64: string): string | undefined {
  const bytes = fromBase64(base64);
  return bytes && new TextDecoder().decode(bytes);
}

function invalid(name: string, reason: string): never {
  throw new Fault("invalid_value", { name, reason });
}

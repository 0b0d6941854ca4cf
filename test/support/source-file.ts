import { createHash } from "node:crypto";
import { once } from "node:events";
import type { OutgoingHttpHeaders } from "node:http";
import type { Behaviour } from "./source-behaviour.ts";
import { dataOf } from "./source-data.ts";
import type { Exchange } from "./source-exchange.ts";
import type { Gate, Trouble } from "./source-state.ts";

/** Answers a request for a file, in the way its URL asks for. */
export async function serveFile(
  exchange: Exchange,
  behaviour: Behaviour,
  gate: Gate | undefined,
): Promise<void> {
  const { redirects, redirect, status, retryAfter } = behaviour;
  // A hop is no request for the file: it is logged, and nothing counts it.
  if (redirects > 0) return exchange.answer(302, { location: nextHop(exchange, redirects) });
  const ordinal = exchange.scenario.countRequest();
  const isDue = (trouble: Trouble) => exchange.scenario.isDue(trouble, behaviour);
  if (behaviour.gateAt === undefined) await gate?.pass(exchange.signal);
  if (behaviour.hangs && isDue("hang")) return void (await once(exchange.signal, "abort"));
  if (status !== undefined && isDue("status")) {
    return exchange.answer(status, retryAfter === undefined ? {} : { "retry-after": retryAfter });
  }
  if (redirect !== undefined) return exchange.answer(302, { location: redirect });
  await sendFile(exchange, behaviour, fileAt(ordinal, behaviour), gate);
}

function nextHop({ request }: Exchange, redirects: number): string {
  const url = new URL(request.url ?? "", "http://localhost");
  if (redirects === 1) url.searchParams.delete("redirects");
  else url.searchParams.set("redirects", String(redirects - 1));
  return `${url.pathname}${url.search}`;
}

/** The file as it is for one request. */
interface SourceFile {
  readonly size: number;
  readonly etag: string;
  readonly lastModified: string;
  read(offset: number, length: number): Uint8Array;
}

const FIRST_MODIFIED_MS = Date.parse("2026-01-01T00:00:00Z");

function fileAt(ordinal: number, behaviour: Behaviour): SourceFile {
  const { size, seed, body, changeAt, changesAlways } = behaviour;
  const version = ordinal >= changeAt ? 1 : 0;
  const suffix = changesAlways ? `-${ordinal}` : "";
  const modifiedSeconds = version * 86_400 + (changesAlways ? ordinal : 0);
  const lastModified = new Date(FIRST_MODIFIED_MS + modifiedSeconds * 1000).toUTCString();
  if (body === undefined) {
    const spec = { seed: seed + version, size };
    return {
      size,
      etag: `"${spec.seed}-${size}${suffix}"`,
      lastModified,
      read: (offset, length) => dataOf(spec, offset, length),
    };
  }
  // There is no next seed: the changed file differs in every byte.
  const bytes = body.map((byte) => byte + version);
  const digest = createHash("md5").update(bytes).digest("hex");
  return {
    size: bytes.length,
    etag: `"${digest}${suffix}"`,
    lastModified,
    read: (offset, length) => bytes.subarray(offset, offset + length),
  };
}

async function sendFile(
  exchange: Exchange,
  behaviour: Behaviour,
  file: SourceFile,
  gate: Gate | undefined,
): Promise<void> {
  const { chunked, hasRanges, lie, bytesPerSecond, gateAt } = behaviour;
  const isHead = exchange.request.method === "HEAD";
  const isChunked = chunked === "always" || (chunked === "get" && !isHead);
  const lies = lie !== 0 && !isChunked && exchange.scenario.isDue("lie", behaviour);
  const announcedSize = Math.max(0, file.size + (lies ? lie : 0));
  const validators = validatorsOf(file, behaviour);
  const asked =
    hasRanges && !isChunked ? chooseRange(exchange, announcedSize, validators) : undefined;
  const range = oddly(asked, behaviour, announcedSize);
  if (typeof range === "number") return exchange.answer(range);
  if (range === "unsatisfiable") {
    return exchange.answer(416, { "content-range": `bytes */${announcedSize}` });
  }
  const { first, last } = range ?? { first: 0, last: announcedSize - 1 };
  exchange.sendHead(range === undefined ? 200 : 206, {
    "content-type": "application/octet-stream",
    ...validators,
    // Else the client takes a connection with bytes left over for a free one.
    ...(lies ? { connection: "close" } : {}),
    ...(isChunked ? {} : { "content-length": last - first + 1 }),
    ...(hasRanges && chunked === undefined ? { "accept-ranges": "bytes" } : {}),
    ...(range ? { "content-range": `bytes ${first}-${last}/${announcedSize}` } : {}),
  });
  if (isHead) return exchange.end();
  // What ends at the announced end goes on to the true one.
  const end = last === announcedSize - 1 ? file.size : Math.min(last + 1, file.size);
  const length = Math.max(0, end - first);
  const resetAt = dueReset(exchange, behaviour, length);
  const read = (offset: number, count: number) => file.read(first + offset, count);
  const outcome = await exchange.sendBody(read, length, { resetAt, gateAt, gate, bytesPerSecond });
  if (outcome === "broken" || lies) exchange.hangUp();
  else exchange.end();
}

function dueReset({ scenario }: Exchange, behaviour: Behaviour, length: number) {
  const { resetAt } = behaviour;
  if (resetAt === undefined || length <= resetAt) return undefined;
  return scenario.isDue("reset", behaviour) ? resetAt : undefined;
}

interface Validators extends OutgoingHttpHeaders {
  readonly etag?: string;
  readonly "last-modified"?: string;
}

function validatorsOf(file: SourceFile, { hasEtag, hasLastModified }: Behaviour): Validators {
  return {
    ...(hasEtag ? { etag: file.etag } : {}),
    ...(hasLastModified ? { "last-modified": file.lastModified } : {}),
  };
}

/** What the server makes of the range that was asked for; a number is a status. */
function oddly(
  asked: ByteRange | "unsatisfiable" | undefined,
  { odd, oddRanges }: Behaviour,
  size: number,
): ByteRange | "unsatisfiable" | number | undefined {
  const everything = { first: 0, last: size - 1 };
  if (asked === undefined) {
    if (odd === "unasked") return everything;
    return odd === "unasked-short" ? { first: 0, last: Math.floor((size - 1) / 2) } : undefined;
  }
  if (odd === undefined || asked === "unsatisfiable") return asked;
  const { first, last } = asked;
  const isSpared =
    (oddRanges === "long" && first === last) || (oddRanges === "later" && first === 0);
  if (isSpared) return asked;
  switch (odd) {
    case "short":
      return { first, last: Math.floor((first + last) / 2) };
    case "wide":
      return { first: Math.max(0, first - 1000), last: Math.min(last + 1000, size - 1) };
    case "everything":
      return everything;
    case "whole":
      return undefined;
    case "unasked":
    case "unasked-short":
      return asked;
    default:
      return Number(odd);
  }
}

interface ByteRange {
  readonly first: number;
  readonly last: number;
}

/** The range to answer with (RFC 9110 §14.2); undefined for the whole, also when several are asked for. */
function chooseRange(
  { request }: Exchange,
  size: number,
  validators: Validators,
): ByteRange | "unsatisfiable" | undefined {
  const { range = "", "if-range": ifRange } = request.headers;
  const isCurrent =
    ifRange === undefined || ifRange === validators.etag || ifRange === validators["last-modified"];
  const match = /^bytes=(\d*)-(\d*)$/.exec(range);
  const [, from = "", to = ""] = match ?? [];
  // Range means something with GET only.
  if (request.method !== "GET" || !isCurrent || `${from}${to}` === "") return undefined;
  const first = from === "" ? Math.max(0, size - Number(to)) : Number(from);
  const last = from === "" || to === "" ? size - 1 : Math.min(Number(to), size - 1);
  if (to !== "" && from !== "" && Number(to) < Number(from)) return undefined;
  return first <= last ? { first, last } : "unsatisfiable";
}

import { Fault, type FaultCode } from "../domain/fault.ts";
import { parseCount } from "../lib/count.ts";
import {
  type Fetched,
  rejected,
  type SafeFetchOptions,
  safeFetch,
  unreachable,
} from "./safe-fetch.ts";

// Reads data from someone else's HTTP server for work that may be broken off and taken up again: in
// ranges where the server serves them, else in one pass. Failures are Faults: `source_unreachable`
// may pass, `source_rejected` and `uri_refused` stay. A body that breaks off later fails its stream
// with an error of the runtime, and `sourceFault` makes a Fault of that.

/** How to reach the server. */
export type SourceOptions = Omit<SafeFetchOptions, "method" | "maxRedirects">;

/** What tells one version of the data from the next (RFC 9110 §8.8); empty when the server has nothing. */
export interface Validator {
  /** A strong tag. */
  readonly etag?: string;
  readonly lastModified?: string;
}

/** What a server says of the data before it is read. */
export interface SourceFacts {
  /** Bytes; undefined when the server does not say. */
  readonly size: number | undefined;
  /** True only where the size is known as well. */
  readonly acceptsRanges: boolean;
  readonly validator: Validator;
  /**
   * Where the redirects end. It may be good for minutes only, and headers meant for the address that
   * was asked for are not meant for it.
   */
  readonly finalUrl: string;
}

/**
 * Asks for the first byte, which tells in one request whether ranges are served and how much there is.
 * A HEAD would not do: many addresses are signed for GET alone. A server that refuses a range is asked for
 * the whole, which is not read here.
 */
export async function probe(url: string, options: SourceOptions): Promise<SourceFacts> {
  const { response, finalUrl } = await requestRange(url, options, { range: "bytes=0-0" });
  await response.body?.cancel();
  const { status, headers } = response;
  const facts = { acceptsRanges: false, validator: readValidator(headers), finalUrl };
  // What is compressed on its way may come out differently each time, and its length with it.
  if (isEncoded(headers)) return { ...facts, size: undefined };
  if (status === 200) return { ...facts, size: readLength(headers) };
  const range = readContentRange(headers);
  if (range?.first !== 0) return { ...facts, size: undefined };
  // One that answers with more than the byte that it was asked for serves no ranges, but tells how much there is.
  return { ...facts, size: range.size, acceptsRanges: range.last === 0 };
}

/** What a server may say to a request for a range that it would not say to one for the whole. */
const RANGE_REFUSALS = [400, 403, 404, 405, 416, 501, 503];

/** Asks for a range, and where that is refused for the whole; gives a 200 or a 206. */
async function requestRange(
  url: string,
  options: SourceOptions,
  headers: Readonly<Record<string, string>>,
): Promise<Fetched> {
  const ranged = await request(url, options, headers, [200, 206, ...RANGE_REFUSALS]);
  if (!RANGE_REFUSALS.includes(ranged.response.status)) return ranged;
  await ranged.response.body?.cancel();
  return request(url, options, {}, [200, 206]);
}

/**
 * Asks for the headers alone, for servers that do not tell the size with the data; undefined where this one does not
 * tell it then either.
 */
export async function readSize(url: string, options: SourceOptions): Promise<number | undefined> {
  try {
    const { response } = await request(url, { ...options, method: "HEAD" }, {}, [200]);
    return isEncoded(response.headers) ? undefined : readLength(response.headers);
  } catch (error) {
    // Many addresses are good for GET alone.
    if (error instanceof Fault && error.code === "source_rejected") return undefined;
    throw error;
  }
}

/** Some bytes of the data that was probed. */
export interface RangeRequest {
  readonly offset: number;
  /** At least 1. */
  readonly length: number;
  /** Of the whole data. */
  readonly size: number;
  readonly validator: Validator;
}

/** What came of reading a range. */
export type RangeRead =
  /** The bytes asked for; the stream fails unless it has all of them and no more. */
  | { readonly outcome: "data"; readonly stream: ReadableStream<Uint8Array> }
  /** The data is not what was probed: probe and begin again. */
  | { readonly outcome: "changed" };

/**
 * Reads some bytes if they are still those of the data that was probed (RFC 9110 §14, §15.3.7), whatever the server
 * makes of ranges: where its answer ends early it is asked on, what it sends before or behind them is passed over, and
 * one that refuses ranges is asked for the whole. That the data changes in the middle fails the stream with
 * `source_changed`.
 */
export async function readRange(
  url: string,
  wanted: RangeRequest,
  options: SourceOptions,
): Promise<RangeRead> {
  const answer = await askFor(url, wanted, options);
  if (answer === "changed") return { outcome: "changed" };
  const { body, skip, available } = answer;
  const isExact = skip === 0 && available === wanted.length;
  if (isExact) {
    return { outcome: "data", stream: body.pipeThrough(new FixedLengthStream(wanted.length)) };
  }
  return { outcome: "data", stream: new PatchedRead(answer, url, wanted, options).stream() };
}

/** An answer that has what was asked for, or its beginning. */
interface RangeAnswer {
  readonly body: ReadableStream<Uint8Array>;
  /** Bytes of it that come before the first one wanted. */
  readonly skip: number;
  /** Bytes from the first one wanted on; one at least. */
  readonly available: number;
}

async function askFor(
  url: string,
  wanted: RangeRequest,
  options: SourceOptions,
): Promise<RangeAnswer | "changed"> {
  const { offset, length, validator } = wanted;
  const headers: Record<string, string> = { range: `bytes=${offset}-${offset + length - 1}` };
  // A date is not sent: servers hold it too weak while it is fresh (RFC 9110 §13.1.5), and would
  // send the whole instead. That of the answer is compared all the same.
  if (validator.etag !== undefined) headers["if-range"] = validator.etag;
  const ranged = await requestRange(url, options, headers);
  const judged = await judgeAnswer(ranged.response, wanted);
  if (judged !== "other bytes") return judged;
  const whole = await request(url, options, {}, [200, 206]);
  const last = await judgeAnswer(whole.response, wanted);
  if (last !== "other bytes") return last;
  throw rejected("it answers with other bytes than it was asked for");
}

/** Leaves no body unread that is of no use. */
async function judgeAnswer(
  { status, headers, body }: Response,
  { offset, size, validator }: RangeRequest,
): Promise<RangeAnswer | "changed" | "other bytes"> {
  const drop = async <T>(verdict: T): Promise<T> => {
    await body?.cancel();
    return verdict;
  };
  if (!isSame(readValidator(headers), validator)) return drop("changed");
  if (isEncoded(headers) || body === null) return drop("other bytes");
  if (status === 200) {
    const announced = readLength(headers) ?? size;
    return announced === size ? { body, skip: offset, available: size - offset } : drop("changed");
  }
  const range = readContentRange(headers);
  if (range === undefined) return drop("other bytes");
  if (range.size !== size) return drop("changed");
  const { first, last } = range;
  if (first > offset || last < offset) return drop("other bytes");
  return { body, skip: offset - first, available: last + 1 - offset };
}

/** A range that is put together from answers which have more than it, or less. */
class PatchedRead {
  /** Bytes of the range that have come. */
  #done = 0;
  #skip: number;
  /** Bytes that the answer is still to have. */
  #available: number;
  #reader: ReadableStreamDefaultReader<Uint8Array>;

  constructor(
    first: RangeAnswer,
    private readonly url: string,
    private readonly wanted: RangeRequest,
    private readonly options: SourceOptions,
  ) {
    this.#skip = first.skip;
    this.#available = first.available;
    this.#reader = first.body.getReader();
  }

  stream(): ReadableStream<Uint8Array> {
    return new ReadableStream<Uint8Array>(
      {
        pull: async (controller) => {
          const bytes = await this.#next();
          this.#done += bytes.length;
          controller.enqueue(bytes);
          if (this.#done < this.wanted.length) return;
          controller.close();
          await this.#reader.cancel();
        },
        cancel: (reason) => this.#reader.cancel(reason),
      },
      { highWaterMark: 0 },
    );
  }

  /** The next bytes of the range, one at least. */
  async #next(): Promise<Uint8Array> {
    for (;;) {
      if (this.#available === 0) await this.#goOn();
      const { done, value } = await this.#reader.read();
      if (done) throw sourceFault(undefined);
      const skipped = Math.min(this.#skip, value.length);
      this.#skip -= skipped;
      const left = Math.min(this.#available, this.wanted.length - this.#done);
      const bytes = value.subarray(skipped, skipped + left);
      this.#available -= bytes.length;
      if (bytes.length > 0) return bytes;
    }
  }

  /** Asks for the rest where an answer has ended. */
  async #goOn(): Promise<void> {
    await this.#reader.cancel();
    const { offset, length } = this.wanted;
    const rest = { offset: offset + this.#done, length: length - this.#done };
    const answer = await askFor(this.url, { ...this.wanted, ...rest }, this.options);
    if (answer === "changed") throw new Fault("source_changed");
    this.#skip = answer.skip;
    this.#available = answer.available;
    this.#reader = answer.body.getReader();
  }
}

/** All the data in one pass. */
export interface WholeRead {
  /** Fails unless it has as many bytes as the server announced, if it did (contract 10 §11). */
  readonly stream: ReadableStream<Uint8Array>;
  /** Bytes; undefined when the server does not say. */
  readonly size: number | undefined;
  readonly validator: Validator;
  readonly finalUrl: string;
}

/** Reads the data from a server that serves no ranges, though it may answer with one that was not asked for. */
export async function readAll(url: string, options: SourceOptions): Promise<WholeRead> {
  const { response, finalUrl } = await request(url, options, {}, [200, 206]);
  const { status, headers } = response;
  const validator = readValidator(headers);
  if (status === 206) return readUnasked(response, finalUrl, url, options);
  const body = response.body ?? new Blob().stream();
  const size = readLength(headers);
  const stream = size === undefined ? body : body.pipeThrough(new FixedLengthStream(size));
  return { stream, size, validator, finalUrl };
}

/** A range in answer to a request for the whole: all of it, or its beginning. */
async function readUnasked(
  response: Response,
  finalUrl: string,
  url: string,
  options: SourceOptions,
): Promise<WholeRead> {
  const validator = readValidator(response.headers);
  const { size = 0 } = readContentRange(response.headers) ?? {};
  const wanted = { offset: 0, length: size, size, validator };
  const answer = await judgeAnswer(response, wanted);
  if (answer === "changed" || answer === "other bytes") {
    throw rejected("it answers with other bytes than it was asked for");
  }
  return {
    stream: new PatchedRead(answer, url, wanted, options).stream(),
    size,
    validator,
    finalUrl,
  };
}

/** Faults that say more than that the store cannot be read. */
const OWN_WORDS: readonly FaultCode[] = ["range_unsupported", "resolver_unreachable"];

/** Data as its server has it now. */
export interface RemoteData {
  /** Bytes of the whole, whatever range was asked for. */
  readonly size: number;
  /** Fails unless it has as many bytes as were announced. */
  readonly body: ReadableStream<Uint8Array>;
}

/**
 * Reads data by an address, all of it or a range, as one reads from a store (contract 11 §1, http type); undefined when
 * it is no longer there. Throws `store_unavailable`, `range_unsupported` where ranges are not served (DWN-12), and
 * `resolver_unreachable`.
 */
export function readRemoteBy(door: SourceOptions) {
  return async (
    url: string,
    range?: { readonly offset: number; readonly length: number },
  ): Promise<RemoteData | undefined> => {
    const wanted = range && `bytes=${range.offset}-${range.offset + range.length - 1}`;
    const headers = wanted === undefined ? {} : { range: wanted };
    try {
      const { response } = await request(url, door, headers, [200, 206, 404, 410]);
      const isUntold = response.status === 200 && readLength(response.headers) === undefined;
      const size = isUntold ? await readSize(url, door) : undefined;
      return await takeRemote(response, range, size);
    } catch (cause) {
      if (cause instanceof Fault && OWN_WORDS.includes(cause.code)) throw cause;
      throw new Fault("store_unavailable", {}, cause);
    }
  };
}

async function takeRemote(
  { status, headers, body }: Response,
  range: { readonly offset: number; readonly length: number } | undefined,
  headSize: number | undefined,
): Promise<RemoteData | undefined> {
  const answer = status === 206 ? readContentRange(headers) : undefined;
  const size = answer?.size ?? readLength(headers) ?? headSize;
  const length = range?.length ?? size;
  // Some answer with the whole as a range, though none was asked for.
  const isWhole = status === 200 || (answer?.first === 0 && answer.last === answer.size - 1);
  const isExact =
    range === undefined
      ? isWhole
      : answer?.first === range.offset && answer.last === range.offset + range.length - 1;
  if (isExact && !isEncoded(headers) && body !== null && size !== undefined) {
    return { size, body: body.pipeThrough(new FixedLengthStream(length ?? size)) };
  }
  await body?.cancel();
  if (status === 404 || status === 410) return undefined;
  if (range !== undefined && status === 200) throw new Fault("range_unsupported");
  throw rejected("it answers with other bytes than it was asked for");
}

/** The Fault for an error of a source's stream. */
export function sourceFault(error: unknown): Fault {
  if (error instanceof Fault) return error;
  return unreachable("its data broke off, or is not as long as was announced", error);
}

// Too early, too many requests, too slow: what another time may go better (RFC 6585, 8470, 9110).
const PASSING_STATUSES = [408, 425, 429];

async function request(
  url: string,
  options: Omit<SafeFetchOptions, "maxRedirects">,
  headers: Readonly<Record<string, string>>,
  accepted: readonly number[],
): Promise<Fetched> {
  const fetched = await safeFetch(url, { ...options, headers: { ...options.headers, ...headers } });
  const { status, body } = fetched.response;
  if (accepted.includes(status)) return fetched;
  await body?.cancel();
  const reason = `it answers with the status ${status}`;
  throw status >= 500 || PASSING_STATUSES.includes(status) ? unreachable(reason) : rejected(reason);
}

function readValidator(headers: Headers): Validator {
  const etag = headers.get("etag");
  const lastModified = headers.get("last-modified");
  return {
    ...(etag?.startsWith('"') ? { etag } : {}),
    ...(lastModified === null ? {} : { lastModified }),
  };
}

/** A strong tag decides alone; without one, the date, or that there is none. */
function isSame(now: Validator, probed: Validator): boolean {
  if (probed.etag !== undefined) return now.etag === probed.etag;
  return now.lastModified === probed.lastModified;
}

function isEncoded(headers: Headers): boolean {
  return !["identity", ""].includes((headers.get("content-encoding") ?? "").trim().toLowerCase());
}

function readLength(headers: Headers): number | undefined {
  return parseCount(headers.get("content-length") ?? "");
}

function readContentRange(headers: Headers) {
  const match = /^bytes (\d+)-(\d+)\/(\d+)$/i.exec(headers.get("content-range") ?? "");
  const [first, last, size] = match?.slice(1).map(parseCount) ?? [];
  if (first === undefined || last === undefined || size === undefined) return undefined;
  return last < size ? { first, last, size } : undefined;
}

// What a URL of the source server may ask for. The server refuses any other parameter, so that a
// misspelt one cannot make a test pass.

/**
 * What servers make of ranges, beside what they should (RFC 9110 §14): a status in place of a range, the first half of
 * the range, more than the range, the whole as a range, the whole as such, and a range where none was asked for.
 */
export const ODDITIES = [
  ...(["400", "403", "404", "405", "416", "501", "503"] as const),
  ...(["short", "wide", "everything", "whole"] as const),
  ...(["unasked", "unasked-short"] as const),
] as const;
export type Oddity = (typeof ODDITIES)[number];

/** Which ranges are odd: all, those of more than a byte, those that begin behind the first byte. */
export const ODD_RANGES = ["all", "long", "later"] as const;
export type OddRanges = (typeof ODD_RANGES)[number];

/** The parameters of a file's URL. Those of trouble hold for `times` answers, after `skip` others. */
export interface FileQuery {
  /** Names the scenario: its requests are counted and logged together. */
  readonly id?: string;
  readonly size?: number;
  readonly seed?: number;
  /** The file's bytes in base64url, instead of `size` and `seed`. */
  readonly body?: string;

  readonly ranges?: "no";
  readonly odd?: Oddity;
  /** `all`, unless said. */
  readonly "odd-ranges"?: OddRanges;
  readonly etag?: "no";
  readonly lastmod?: "no";
  /** No Content-Length, and no ranges; `get` tells the length to HEAD. */
  readonly chunked?: 1 | "get";

  /** From this request on, counted from 1, the file is the one of the next seed. */
  readonly "change-at"?: number;
  /** Every answer has an ETag and a date of its own; the data stay. */
  readonly "change-always"?: 1;

  /** Trouble: this status instead of the file. */
  readonly status?: number;
  /** The header that goes with the status. */
  readonly "retry-after"?: string | number;
  /** Trouble: hangs up after so many bytes of a body; an answer that is no longer than that is spared. */
  readonly reset?: number;
  /** Trouble: the size it announces is so much more, or less, than what it sends before it hangs up. */
  readonly lie?: number;
  /** Trouble: no answer at all. */
  readonly hang?: 1;
  /** Each kind of trouble comes so many times; for ever, unless said. */
  readonly times?: number;
  /** Each kind of trouble spares so many answers first. */
  readonly skip?: number;

  /** Bytes a second. */
  readonly rate?: number;
  /** Each answer waits until this gate lets it through. */
  readonly gate?: string;
  /** It waits after so many bytes of its body, instead of in front of its head; shorter ones do not wait. */
  readonly "gate-at"?: number;

  /** Redirects so many times to the file itself. */
  readonly redirects?: number;
  /** Redirects there. */
  readonly redirect?: string;
}

/** A FileQuery as the server acts on it. */
export interface Behaviour {
  readonly id: string | undefined;
  readonly size: number;
  readonly seed: number;
  readonly body: Uint8Array | undefined;
  readonly hasRanges: boolean;
  readonly odd: Oddity | undefined;
  readonly oddRanges: OddRanges;
  readonly hasEtag: boolean;
  readonly hasLastModified: boolean;
  readonly chunked: "always" | "get" | undefined;
  readonly changeAt: number;
  readonly changesAlways: boolean;
  readonly status: number | undefined;
  readonly retryAfter: string | undefined;
  readonly resetAt: number | undefined;
  readonly lie: number;
  readonly hangs: boolean;
  readonly times: number;
  readonly skip: number;
  readonly bytesPerSecond: number;
  readonly gate: string | undefined;
  readonly gateAt: number | undefined;
  readonly redirects: number;
  readonly redirect: string | undefined;
}

/** A URL that the server does not understand. */
export class BadQuery extends Error {}

/** The query as it stands in a URL. */
export function toSearchParams(query: FileQuery): URLSearchParams {
  return new URLSearchParams(
    Object.entries(query).map(([name, value]): [string, string] => [name, String(value)]),
  );
}

// These need a memory of earlier requests.
const COUNTING: readonly string[] = ["times", "skip", "change-at", "change-always"];

/** Throws BadQuery. */
export function readBehaviour(query: URLSearchParams): Behaviour {
  const reader = new QueryReader(query);
  const body = reader.text("body");
  const behaviour: Behaviour = {
    id: reader.text("id"),
    size: reader.count("size") ?? 0,
    seed: reader.count("seed") ?? 0,
    body: body === undefined ? undefined : Buffer.from(body, "base64url"),
    hasRanges: !reader.flag("ranges", "no"),
    odd: reader.word("odd", ODDITIES),
    oddRanges: reader.word("odd-ranges", ODD_RANGES) ?? "all",
    hasEtag: !reader.flag("etag", "no"),
    hasLastModified: !reader.flag("lastmod", "no"),
    chunked: reader.choice("chunked", { 1: "always", get: "get" }),
    changeAt: reader.count("change-at") ?? Number.POSITIVE_INFINITY,
    changesAlways: reader.flag("change-always", "1"),
    status: reader.count("status"),
    retryAfter: reader.text("retry-after"),
    resetAt: reader.count("reset"),
    lie: reader.number("lie") ?? 0,
    hangs: reader.flag("hang", "1"),
    times: reader.count("times") ?? Number.POSITIVE_INFINITY,
    skip: reader.count("skip") ?? 0,
    bytesPerSecond: reader.count("rate") ?? Number.POSITIVE_INFINITY,
    gate: reader.text("gate"),
    gateAt: reader.count("gate-at"),
    redirects: reader.count("redirects") ?? 0,
    redirect: reader.text("redirect"),
  };
  reader.assertAllRead();
  if (behaviour.bytesPerSecond === 0) throw new BadQuery("rate is zero; see gate");
  const counting = COUNTING.find((name) => query.has(name));
  if (counting !== undefined && behaviour.id === undefined) {
    throw new BadQuery(`${counting} needs an id`);
  }
  return behaviour;
}

class QueryReader {
  readonly #query: URLSearchParams;
  readonly #names = new Set<string>();

  constructor(query: URLSearchParams) {
    this.#query = query;
  }

  text(name: keyof FileQuery): string | undefined {
    this.#names.add(name);
    return this.#query.get(name) ?? undefined;
  }

  word<T extends string>(name: keyof FileQuery, words: readonly T[]): T | undefined {
    return this.choice(name, Object.fromEntries(words.map((word) => [word, word])));
  }

  choice<const T>(name: keyof FileQuery, words: Readonly<Record<string, T>>): T | undefined {
    const value = this.text(name);
    if (value === undefined) return undefined;
    const chosen = Object.hasOwn(words, value) ? words[value] : undefined;
    if (chosen !== undefined) return chosen;
    throw new BadQuery(`${name} can be ${Object.keys(words).join(" or ")} only`);
  }

  flag(name: keyof FileQuery, word: string): boolean {
    const value = this.text(name);
    if (value !== undefined && value !== word) throw new BadQuery(`${name} can be ${word} only`);
    return value === word;
  }

  number(name: keyof FileQuery): number | undefined {
    const value = this.text(name);
    if (value === undefined) return undefined;
    if (!/^-?\d+$/.test(value)) throw new BadQuery(`${name} is not a whole number`);
    return Number(value);
  }

  count(name: keyof FileQuery): number | undefined {
    const value = this.number(name);
    if (value !== undefined && value < 0) throw new BadQuery(`${name} is negative`);
    return value;
  }

  assertAllRead(): void {
    const unknown = [...this.#query.keys()].find((name) => !this.#names.has(name));
    if (unknown !== undefined) throw new BadQuery(`there is no parameter ${unknown}`);
  }
}

import { Fault } from "../domain/fault.ts";
import { admitUri, type Door } from "./resolve.ts";

/** One fetch from someone else's server. */
export interface SafeFetchOptions extends Door {
  readonly method?: "GET" | "HEAD";
  /** Sent to the origin that was asked for; of these, another origin sees only what RANGE_HEADERS names. */
  readonly headers?: Readonly<Record<string, string>>;
  /** Ends the body, too. What it aborts with is thrown as it is. */
  readonly signal?: AbortSignal | undefined;
  readonly maxRedirects?: number;
  /** How long the answer may take to start, redirects included; its body may take longer. */
  readonly timeoutMs?: number;
}

/** The answer to the last hop, whose body is the caller's to read or to cancel. */
export interface Fetched {
  readonly response: Response;
  readonly finalUrl: string;
}

const MAX_REDIRECTS = 5;
const PATIENCE_MS = 30_000;

const REDIRECTS = [301, 302, 303, 307, 308];

/** What shapes the answer and is nobody's secret. */
const RANGE_HEADERS = ["range", "if-range"];

/**
 * Fetches an address that a user gave. Every hop passes the whole filter again (contract 10 §11), no
 * cookies or credentials of ours are sent, and bytes come as the server stores them, whatever
 * Content-Encoding it calls them, as the reference takes them. Any status that is no redirect is
 * given back. Throws the Faults `uri_refused`, `source_rejected`, `source_unreachable` and
 * `resolver_unreachable`, whose reasons are safe to show.
 */
export async function safeFetch(uri: string, options: SafeFetchOptions): Promise<Fetched> {
  const { signal, timeoutMs = PATIENCE_MS } = options;
  const patience = new AbortController();
  const timer = setTimeout(() => patience.abort(), timeoutMs);
  try {
    const signals = signal === undefined ? [] : [signal];
    return await follow(uri, options, AbortSignal.any([...signals, patience.signal]));
  } catch (cause) {
    signal?.throwIfAborted();
    if (cause instanceof Fault) throw cause;
    throw unreachable(
      patience.signal.aborted ? `no answer in ${timeoutMs / 1000} seconds` : "no connection",
      cause,
    );
  } finally {
    clearTimeout(timer);
  }
}

/** The Fault for a source that may do better later. */
export function unreachable(reason: string, cause?: unknown): Fault {
  return new Fault("source_unreachable", { reason }, cause);
}

/** The Fault for a source that will do no better. */
export function rejected(reason: string): Fault {
  return new Fault("source_rejected", { reason });
}

async function follow(
  uri: string,
  options: SafeFetchOptions,
  signal: AbortSignal,
): Promise<Fetched> {
  const { method = "GET", maxRedirects = MAX_REDIRECTS } = options;
  const send = options.fetch ?? fetch;
  let url = await admitUri(uri, options);
  let headers = ownHeaders(options.headers);
  for (let redirects = 0; ; redirects += 1) {
    const response = await send(url.href, {
      method,
      headers,
      redirect: "manual",
      // Nobody else's copy: a cache could hold an old one, and could cut ranges from another.
      cache: "no-store",
      encodeResponseBody: "manual",
      signal,
    });
    const location = response.headers.get("location");
    if (!REDIRECTS.includes(response.status) || location === null) {
      return { response, finalUrl: url.href };
    }
    await response.body?.cancel();
    if (redirects === maxRedirects) {
      throw rejected("it redirects too many times");
    }
    const next = await admitHop(location, url, options);
    if (next.origin !== url.origin) headers = portableHeaders(headers);
    url = next;
  }
}

function ownHeaders(given: SafeFetchOptions["headers"]): Headers {
  const headers = new Headers(given);
  // The runtime sends no User-Agent of its own, and some servers turn such callers away.
  if (!headers.has("user-agent")) headers.set("user-agent", "Glimpse");
  headers.set("accept-encoding", "identity");
  return headers;
}

function portableHeaders(headers: Headers): Headers {
  const names = [...RANGE_HEADERS, "user-agent", "accept-encoding"];
  return new Headers([...headers].filter(([name]) => names.includes(name)));
}

async function admitHop(location: string, from: URL, door: Door): Promise<URL> {
  try {
    return await admitUri(absoluteLocation(location, from), door);
  } catch (cause) {
    if (!(cause instanceof Fault) || cause.code !== "uri_refused") throw cause;
    const { reason = "" } = cause.detail;
    throw new Fault("uri_refused", { reason: `${reason} (the source redirects to it)` }, cause);
  }
}

/** Keeps the spelling of a host that the Location writes, so that the filter sees it. */
function absoluteLocation(location: string, from: URL): string {
  // Blanks are common in Locations that people write by hand.
  const text = location.trim().replaceAll(" ", "%20");
  if (/^[a-z][a-z0-9+.-]*:/i.test(text)) return text;
  if (text.startsWith("//")) return `${from.protocol}${text}`;
  // These make the URL class read another host; as they stand, the filter refuses them.
  if (/[\p{Cc}\\]/u.test(text)) return text;
  return URL.parse(text, from.href)?.href ?? text;
}

import * as v from "valibot";
import { Fault } from "../domain/fault.ts";
import { isPublicAddress } from "./ip.ts";
import { checkUri, isDisallowed, type UriFilter } from "./uri-filter.ts";

/**
 * Looks up the IP addresses of a name; none when it has none. Throws the Fault `resolver_unreachable`
 * when that cannot be found out.
 */
export type Resolve = (host: string) => Promise<readonly string[]>;

/** A fetch function, to be called without an object before it. */
export type Fetch = (url: string, init: RequestInit) => Promise<Response>;

/** Who may be reached in other people's networks, and how it is found out. */
export interface Door {
  readonly filter: UriFilter;
  /** Undefined where there is no resolver: names then pass by the lists alone. */
  readonly resolve: Resolve | undefined;
  /** The runtime's own where it is undefined. */
  readonly fetch?: Fetch;
}

/**
 * The URL to fetch for an address, after every check that can be made before connecting: the filter,
 * and the name's addresses, none of which may be disallowed and all of which must be public, unless private
 * ones are let in (contract 10 §11, IMP-7). Throws the Faults `uri_refused` and `resolver_unreachable`.
 *
 * A Worker cannot tell fetch which of these addresses to connect to, so a name that answers
 * differently a moment later is not caught here. What then holds is the network: Cloudflare's does
 * not lead to private addresses, and a workerd of one's own refuses them unless configured
 * otherwise.
 */
export async function admitUri(text: string, door: Door): Promise<URL> {
  const { url, unresolvedName } = checkUri(text, door.filter);
  if (unresolvedName !== undefined) await checkName(unresolvedName, door);
  return url;
}

async function checkName(name: string, { filter, resolve }: Door): Promise<void> {
  // Without a dot a name is one of the local network's: none of the internet's has an address.
  if (!name.includes(".") && !filter.allowPrivateAddresses) refuse("its host name cannot be found");
  const addresses = isLocalhost(name) ? LOOPBACK : await resolve?.(name);
  if (addresses === undefined) return;
  if (addresses.length === 0) refuse("its host name cannot be found");
  if (addresses.some((address) => isDisallowed(address, filter))) {
    refuse("its host name leads to an address that is not allowed");
  }
  if (filter.allowPrivateAddresses || addresses.every(isPublicAddress)) return;
  refuse("its host name leads to a private IP address");
}

/** Names that no resolver is to be asked for (RFC 6761 §6.3). */
function isLocalhost(name: string): boolean {
  return /(?:^|\.)localhost$/.test(name);
}

const LOOPBACK = ["127.0.0.1", "::1"];

function refuse(reason: string): never {
  throw new Fault("uri_refused", { reason });
}

const LOOK_UP_MS = 5_000;
const MAX_ANSWER_BYTES = 64 * 1024;

const NO_ERROR = 0;
const NO_SUCH_NAME = 3;

/** The part of a resolver's JSON answer that counts: which code (RFC 1035 §4.1.1), which records. */
const Answer = v.object({
  Status: v.number(),
  Answer: v.optional(v.array(v.object({ type: v.number(), data: v.string() })), []),
});

const RECORD_TYPES = { A: 1, AAAA: 28 } as const;

/**
 * Resolves by DNS over HTTPS in its JSON form, which Cloudflare's and Google's resolvers speak;
 * `endpoint` is such as https://cloudflare-dns.com/dns-query.
 */
export function resolveOverHttps(
  endpoint: string,
  send: Fetch = (url, init) => fetch(url, init),
): Resolve {
  const ask = async (host: string, type: keyof typeof RECORD_TYPES) => {
    const url = new URL(endpoint);
    // The dot at the end keeps the resolver from trying search domains (contract 10 §11).
    url.searchParams.set("name", `${host}.`);
    url.searchParams.set("type", type);
    const response = await send(url.href, {
      headers: { accept: "application/dns-json" },
      redirect: "manual",
      signal: AbortSignal.timeout(LOOK_UP_MS),
    });
    return readAnswer(await readText(response), RECORD_TYPES[type]);
  };
  return async (host) => {
    try {
      return (await Promise.all([ask(host, "A"), ask(host, "AAAA")])).flat();
    } catch (cause) {
      throw new Fault("resolver_unreachable", { reason: reasonOf(cause) }, cause);
    }
  };
}

/** An answer that is none; its message is ours, and safe to show. */
class BadAnswer extends Error {}

function reasonOf(cause: unknown): string {
  if (cause instanceof BadAnswer) return cause.message;
  const isLate = cause instanceof Error && cause.name === "TimeoutError";
  return isLate ? `no answer in ${LOOK_UP_MS / 1000} seconds` : "no connection";
}

/**
 * Remembers a name's addresses for a short while, for work that fetches from the same host again and again: each
 * look-up costs subrequests, of which a Worker has a limited number. What fails is not remembered.
 */
export function remembering(
  resolve: Resolve,
  forMs: number,
  now: () => number = () => Date.now(),
): Resolve {
  const known = new Map<
    string,
    { readonly untilMs: number; readonly addresses: readonly string[] }
  >();
  return async (host) => {
    const found = known.get(host);
    if (found !== undefined && found.untilMs > now()) return found.addresses;
    const addresses = await resolve(host);
    known.set(host, { untilMs: now() + forMs, addresses });
    return addresses;
  };
}

function readAnswer(text: string, type: number): string[] {
  const { Status: status, Answer: records } = parseAnswer(text);
  if (status === NO_SUCH_NAME) return [];
  if (status !== NO_ERROR) throw new BadAnswer(`it answers with the code ${status}`);
  return records.filter((record) => record.type === type).map((record) => record.data);
}

function parseAnswer(text: string): v.InferOutput<typeof Answer> {
  try {
    return v.parse(Answer, JSON.parse(text));
  } catch {
    throw new BadAnswer("it does not answer with the JSON of DNS over HTTPS");
  }
}

async function readText({ status, body }: Response): Promise<string> {
  if (status !== 200 || body === null) {
    await body?.cancel();
    throw new BadAnswer(`it answers with the status ${status}`);
  }
  const decoder = new TextDecoder();
  let text = "";
  for await (const chunk of body) {
    text += decoder.decode(chunk, { stream: true });
    // Leaving the loop cancels the rest.
    if (text.length > MAX_ANSWER_BYTES) throw new BadAnswer("its answer is too long");
  }
  return text;
}

import * as v from "valibot";
import { Fault } from "../domain/fault.ts";
import { isPublicAddress } from "./ip.ts";
import { checkUri, type UriFilter } from "./uri-filter.ts";

/**
 * Looks up the IP addresses of a name; none when it has none. Throws the Fault `source_unreachable`
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
 * and the name's addresses, all of which must be public (contract 10 §11, IMP-7). Throws the Faults
 * `uri_refused` and `source_unreachable`.
 *
 * A Worker cannot tell fetch which of these addresses to connect to, so a name that answers
 * differently a moment later is not caught here. What then holds is the network: Cloudflare's does
 * not lead to private addresses, and a workerd of one's own refuses them unless configured
 * otherwise.
 */
export async function admitUri(text: string, door: Door): Promise<URL> {
  const { url, unresolvedName } = checkUri(text, door.filter);
  if (unresolvedName !== undefined) await checkName(unresolvedName, door.resolve);
  return url;
}

async function checkName(name: string, resolve: Resolve | undefined): Promise<void> {
  // Without a dot a name is one of the local network's: none of the internet's has an address.
  if (!name.includes(".")) refuse("its host name cannot be found");
  if (resolve === undefined) return;
  const addresses = await resolve(name);
  if (addresses.length === 0) refuse("its host name cannot be found");
  if (!addresses.every(isPublicAddress)) refuse("its host name leads to a private IP address");
}

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
      throw new Fault("source_unreachable", { reason: "its name could not be looked up" }, cause);
    }
  };
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
  const { Status: status, Answer: records } = v.parse(Answer, JSON.parse(text));
  if (status === NO_SUCH_NAME) return [];
  if (status !== NO_ERROR) throw new Error(`the resolver answers with the code ${status}`);
  return records.filter((record) => record.type === type).map((record) => record.data);
}

async function readText({ status, body }: Response): Promise<string> {
  if (status !== 200 || body === null) {
    await body?.cancel();
    throw new Error(`the resolver answers with the status ${status}`);
  }
  const decoder = new TextDecoder();
  let text = "";
  for await (const chunk of body) {
    text += decoder.decode(chunk, { stream: true });
    // Leaving the loop cancels the rest.
    if (text.length > MAX_ANSWER_BYTES) throw new Error("the resolver's answer is too long");
  }
  return text;
}

import { Fault } from "../domain/fault.ts";
import { canonicalAddress, isPublicAddress } from "./ip.ts";

/**
 * Which addresses in other people's networks may be fetched (contract 10 §11). On each level, an
 * allow-list with entries makes the deny-list moot.
 */
export interface UriFilter {
  readonly allowedSchemes: readonly string[];
  readonly disallowedSchemes: readonly string[];
  /** Names and IP addresses, each itself only: no patterns. Listed here, a private one is meant. */
  readonly allowedHosts: readonly string[];
  readonly disallowedHosts: readonly string[];
  /** A port counts only where an address writes it. */
  readonly allowedPorts: readonly number[];
  readonly disallowedPorts: readonly number[];
  /** For local development and tests; on a server it opens that server's own network. */
  readonly allowPrivateAddresses: boolean;
}

/** The reference's defaults (contract 10 §11), and nothing private. */
export const DEFAULT_URI_FILTER: UriFilter = {
  allowedSchemes: ["http", "https"],
  disallowedSchemes: [],
  allowedHosts: [],
  disallowedHosts: [],
  allowedPorts: [80, 443],
  disallowedPorts: [],
  allowPrivateAddresses: false,
};

/** An address that passed the filter. */
export interface CheckedUri {
  /** What to fetch, without its fragment; a name has no dot at its end. */
  readonly url: URL;
  /** The name whose addresses are still to be looked up, undefined where none need be. */
  readonly unresolvedName: string | undefined;
}

/**
 * Checks an address by its text alone (contract 10 §11, IMP-7). The URL class, which is what fetch
 * goes by, forgives much: it takes `0x7f.1` or `①②⑦.1` for 127.0.0.1, drops a port that is the
 * scheme's own, and finds a host in `http:///host`. So the text is taken apart here as well, and an
 * address the two read differently is refused. Throws the Fault `uri_refused`; its reason never
 * holds what could be a password.
 */
export function checkUri(text: string, filter: UriFilter): CheckedUri {
  if (/[\p{Cc}\s\\]/u.test(text)) refuse("it has a blank, a control character or a backslash");
  const [, scheme, authority] = /^([a-z][a-z0-9+.-]*):\/\/([^/?#]*)/i.exec(text) ?? [];
  if (scheme === undefined || authority === undefined) {
    return refuse("it is not a complete address, such as https://example.com/image.qcow2");
  }
  checkScheme(scheme.toLowerCase(), filter);
  if (authority.includes("@")) refuse("it has a user name or a password, which is not supported");
  const [, host, port] = /^(\[[^\]]*\]|[^:[\]]*)(?::([0-9]*))?$/.exec(authority) ?? [];
  if (host === undefined) return refuse("its host or port cannot be read");
  if (host === "") refuse("it has no host");
  checkPortNumber(port);
  const url = URL.parse(text);
  if (url === null) return refuse("its host is not well-formed");
  url.hash = "";
  const unresolvedName = checkHost(url, host, filter);
  checkPort(port, filter);
  return { url, unresolvedName };
}

/**
 * The address without its user name and password, for tasks and logs (contract 10 §11). No address
 * that has them passes the filter; this is for those that came another way.
 */
export function redactUri(text: string): string {
  const url = URL.parse(text);
  if (url === null) return "***";
  if (url.username === "" && url.password === "") return text;
  url.username = "***";
  url.password = "";
  return url.href;
}

/** Throws an Error whose sentence names an entry of the filter that no address could ever match. */
export function checkUriFilter(filter: UriFilter): void {
  for (const scheme of [...filter.allowedSchemes, ...filter.disallowedSchemes]) {
    if (!/^[a-z][a-z0-9+.-]*$/.test(scheme)) throw new Error(`"${scheme}" is no scheme`);
  }
  for (const host of [...filter.allowedHosts, ...filter.disallowedHosts]) {
    if (listedHost(host) === undefined) throw new Error(`"${host}" is no host name or IP address`);
  }
  for (const port of [...filter.allowedPorts, ...filter.disallowedPorts]) {
    if (!isPort(port)) throw new Error(`${port} is no port`);
  }
}

const FETCHABLE_SCHEMES = ["http", "https"];

function checkScheme(scheme: string, filter: UriFilter): void {
  if (!passes(scheme, filter.allowedSchemes, filter.disallowedSchemes)) {
    refuse("its scheme is not allowed");
  }
  if (!FETCHABLE_SCHEMES.includes(scheme)) refuse("only http and https are supported");
}

function checkPortNumber(port: string | undefined): void {
  if (port !== undefined && port !== "" && !isPort(Number(port))) refuse("it has no such port");
}

function checkPort(port: string | undefined, filter: UriFilter): void {
  if (port === undefined || port === "") return;
  if (!passes(Number(port), filter.allowedPorts, filter.disallowedPorts)) {
    refuse(`port ${Number(port)} is not allowed`);
  }
}

function isPort(port: number): boolean {
  return Number.isInteger(port) && port > 0 && port < 65_536;
}

/** Gives the name that is still to be looked up. */
function checkHost(url: URL, written: string, filter: UriFilter): string | undefined {
  const address = readAddress(url, written);
  const host = address ?? readName(url, written);
  const allowed = filter.allowedHosts.map(listedHost);
  if (!passes(host, allowed, filter.disallowedHosts.map(listedHost))) {
    refuse("its host is not allowed");
  }
  // Whoever lists a private host means it, and whoever lists any shuts out all others.
  if (allowed.length > 0) return undefined;
  if (filter.allowPrivateAddresses) {
    // Then it is looked up only for the sake of the addresses that are not allowed.
    const isToCheck = address === undefined && filter.disallowedHosts.some(isListedAddress);
    return isToCheck ? host : undefined;
  }
  if (address === undefined) {
    if (SPECIAL_NAMES.test(host)) refuse("its host name is for private use");
    return host;
  }
  if (!isPublicAddress(address)) refuse("its IP address is not a public one");
  return undefined;
}

/** The canonical IP address that the URL goes to, undefined when it goes to a name. */
function readAddress(url: URL, written: string): string | undefined {
  const { hostname } = url;
  if (hostname.startsWith("[")) return canonicalAddress(hostname.slice(1, -1));
  const address = canonicalAddress(hostname);
  if (address !== undefined && address !== written) {
    refuse("its IP address is not written as four plain decimal numbers");
  }
  return address;
}

/** The name that the URL goes to, in lower case and ASCII; takes the dot at its end off the URL. */
function readName(url: URL, written: string): string {
  const name = url.hostname.replace(/\.$/, "");
  if (written.includes("%") || !isHostName(name)) refuse("its host is not well-formed");
  url.hostname = name;
  return name;
}

/** RFC 1123 §2.1, and the underscore, which people use. */
function isHostName(name: string): boolean {
  return name.length <= 253 && name.split(".").every((label) => /^[a-z0-9_-]{1,63}$/.test(label));
}

// Names that never lead to the public internet: RFC 6761, 6762, 7686, 8375, 9476, and `internal`, which
// ICANN keeps for private use.
const SPECIAL_NAMES = /(?:^|\.)(?:localhost|test|invalid|local|onion|home\.arpa|alt|internal)$/;

/** An entry of a host list in the spelling that hosts are compared in, undefined when it is no host. */
function listedHost(entry: string): string | undefined {
  const bare = entry.replace(/^\[(.*)\]$/, "$1");
  const address = canonicalAddress(bare);
  if (address !== undefined) return address;
  const name = URL.parse(`http://${entry}`)?.hostname.replace(/\.$/, "");
  const isPlain = /^[^/?#@:%\\\s]+$/.test(entry);
  return name !== undefined && isPlain && isHostName(name) ? name : undefined;
}

function isListedAddress(entry: string): boolean {
  return canonicalAddress(listedHost(entry) ?? "") !== undefined;
}

/** Whether an IP address that a name leads to is one of those that are shut out, in whatever form (contract 10 §11). */
export function isDisallowed(
  address: string,
  { allowedHosts, disallowedHosts }: UriFilter,
): boolean {
  const canonical = canonicalAddress(address);
  if (canonical === undefined || allowedHosts.length > 0) return false;
  return disallowedHosts.map(listedHost).includes(canonical);
}

function passes<T>(value: T, allowed: readonly T[], disallowed: readonly T[]): boolean {
  return allowed.length > 0 ? allowed.includes(value) : !disallowed.includes(value);
}

function refuse(reason: string): never {
  throw new Fault("uri_refused", { reason });
}

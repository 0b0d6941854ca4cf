import { type Door, resolveOverHttps } from "./resolve.ts";
import { checkUriFilter, DEFAULT_URI_FILTER, type UriFilter } from "./uri-filter.ts";

/** What a deployment lets out into other people's networks. */
export interface OutboundSettings {
  readonly door: Door;
}

type Variables = Readonly<Record<string, unknown>>;

const DEFAULT_RESOLVER = "https://cloudflare-dns.com/dns-query";

/**
 * Reads the IMPORT_… variables, which are the reference's `[import_filtering_opts]` (contract 10 §11), and
 * RESOLVER_URL. Throws an Error whose message is the variable's name and what is wrong with it.
 */
export function parseOutbound(env: Variables): OutboundSettings {
  return { door: { filter: parseFilter(env), resolve: parseResolver(env) } };
}

function parseFilter(env: Variables): UriFilter {
  return {
    allowedSchemes: entries(env, "IMPORT_ALLOWED_SCHEMES", "allowedSchemes"),
    disallowedSchemes: entries(env, "IMPORT_DISALLOWED_SCHEMES", "disallowedSchemes"),
    allowedHosts: entries(env, "IMPORT_ALLOWED_HOSTS", "allowedHosts"),
    disallowedHosts: entries(env, "IMPORT_DISALLOWED_HOSTS", "disallowedHosts"),
    allowedPorts: ports(env, "IMPORT_ALLOWED_PORTS", "allowedPorts"),
    disallowedPorts: ports(env, "IMPORT_DISALLOWED_PORTS", "disallowedPorts"),
    allowPrivateAddresses: privateAddresses(env),
  };
}

type TextList = "allowedSchemes" | "disallowedSchemes" | "allowedHosts" | "disallowedHosts";
type PortList = "allowedPorts" | "disallowedPorts";

function entries(env: Variables, name: string, key: TextList): readonly string[] {
  const items = listOf(env, name, DEFAULT_URI_FILTER[key]);
  return checked(name, items, { ...DEFAULT_URI_FILTER, [key]: items });
}

function ports(env: Variables, name: string, key: PortList): readonly number[] {
  const items = listOf(env, name, DEFAULT_URI_FILTER[key].map(String));
  const wrong = items.find((item) => !/^\d+$/.test(item));
  if (wrong !== undefined) return refuse(name, `"${wrong}" is no port`);
  const numbers = items.map(Number);
  return checked(name, numbers, { ...DEFAULT_URI_FILTER, [key]: numbers });
}

/** One list at a time, so that the sentence can name the variable. */
function checked<T>(name: string, items: readonly T[], filter: UriFilter): readonly T[] {
  try {
    checkUriFilter(filter);
  } catch (cause) {
    return refuse(name, (cause as Error).message);
  }
  return items;
}

function privateAddresses(env: Variables): boolean {
  const name = "IMPORT_ALLOW_PRIVATE_ADDRESSES";
  const text = textOf(env, name, "false");
  if (text === "false" || text === "") return false;
  if (text !== "true") return refuse(name, `"${text}" is neither true nor false`);
  if (isDevelopment(env)) return true;
  return refuse(name, 'it may be "true" only where DEVELOPMENT is "true", as on your own computer');
}

function parseResolver(env: Variables): Door["resolve"] {
  const name = "RESOLVER_URL";
  const text = textOf(env, name, DEFAULT_RESOLVER);
  if (text === "") return undefined;
  const url = URL.parse(text);
  const extras = `${url?.username}${url?.password}${url?.hash}`;
  // The sentence does not quote the text: a resolver's address may hold a key.
  if (url === null || !/^https?:$/.test(url.protocol) || extras !== "") {
    return refuse(name, "it is not an https address");
  }
  if (url.protocol !== "https:" && !isDevelopment(env)) {
    return refuse(name, 'it may be an http address only where DEVELOPMENT is "true"');
  }
  return resolveOverHttps(url.href);
}

function isDevelopment(env: Variables): boolean {
  return textOf(env, "DEVELOPMENT", "") === "true";
}

/** An empty variable is an empty list, which lets everything on its level through. */
function listOf(env: Variables, name: string, fallback: readonly string[]): readonly string[] {
  const text = textOf(env, name, fallback.join(","));
  if (text === "") return [];
  const items = text.split(",").map((item) => item.trim());
  return items.includes("") ? refuse(name, "it has an empty item") : items;
}

function textOf(env: Variables, name: string, fallback: string): string {
  const value = env[name] ?? fallback;
  return typeof value === "string" ? value.trim() : refuse(name, "it must be text");
}

function refuse(name: string, reason: string): never {
  throw new Error(`${name}: ${reason}`);
}

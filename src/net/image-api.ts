import * as v from "valibot";
import { type ExpectedHash, readHash } from "../domain/expected-hash.ts";
import { Fault } from "../domain/fault.ts";
import { isReadOnly, isReserved } from "../domain/properties.ts";
import { setterOf } from "../domain/settable.ts";
import { abbreviate } from "../lib/code-points.ts";
import { isJsonObject, type JsonObject } from "../lib/json.ts";
import { isUuid } from "../lib/uuid.ts";
import { rejected, safeFetch, unreachable } from "./safe-fetch.ts";
import { type SourceOptions, sourceFault } from "./source.ts";
import { checkUri, DEFAULT_URI_FILTER } from "./uri-filter.ts";

/** An Image API of another region, as GLANCE_REGIONS lists it (contract 10 §12). */
export interface Region {
  readonly name: string;
  /** By interface (public, internal, admin): the address without /v2 and without a slash at its end. */
  readonly endpoints: Readonly<Record<string, string | undefined>>;
}

/** What GLANCE_REGIONS may hold; whether a private address is meant, the filter says at each use. */
const Address = v.pipe(
  v.string(),
  v.check(isPlainAddress, "it is not a plain http or https address"),
  v.transform(withoutVersion),
);

const ByInterface = v.strictObject({
  public: v.exactOptional(Address),
  internal: v.exactOptional(Address),
  admin: v.exactOptional(Address),
});

/**
 * The regions that images may be imported from (contract 10 §12): by name an address, which then serves
 * every interface, or an address for each interface. Throws an Error with a sentence when the document
 * is not that.
 */
export function parseRegions(json: string): readonly Region[] {
  const document: unknown = JSON.parse(json);
  if (!isJsonObject(document)) {
    throw new Error("it is not a JSON object of regions' names and addresses");
  }
  const regions = Object.entries(document).map(([name, entry]) => ({
    name,
    endpoints: typeof entry === "string" ? sameForAll(name, entry) : byInterface(name, entry),
  }));
  if (regions.some(({ name }) => name.trim() === "")) throw new Error("a region has no name");
  const names = new Set(regions.map(({ name }) => name.toLowerCase()));
  if (names.size < regions.length) throw new Error("two regions have the same name");
  return regions;
}

function sameForAll(name: string, entry: string): Region["endpoints"] {
  const address = check(Address, entry, name);
  return { public: address, internal: address, admin: address };
}

function byInterface(name: string, entry: unknown): Region["endpoints"] {
  const endpoints = Object.entries(check(ByInterface, entry, name));
  if (endpoints.length === 0) throw new Error(`${name}: it has no address`);
  return Object.fromEntries(endpoints);
}

function check<const S extends v.GenericSchema>(
  schema: S,
  value: unknown,
  name: string,
): v.InferOutput<S> {
  const result = v.safeParse(schema, value);
  if (result.success) return result.output;
  const [issue] = result.issues;
  throw new Error(`${[name, v.getDotPath(issue) ?? []].flat().join(".")}: ${issue.message}`);
}

/** A path's last segment only: `https://v2` is a host. */
function withoutVersion(address: string): string {
  return address.replace(/\/+$/, "").replace(/(?<=[^/:])\/+v2$/, "");
}

function isPlainAddress(text: string): boolean {
  if (/[?#]/.test(text)) return false;
  try {
    checkUri(text, { ...DEFAULT_URI_FILTER, allowedPorts: [], allowPrivateAddresses: true });
    return true;
  } catch {
    return false;
  }
}

/** Where a region's Image API is; undefined when no such is listed (contract 10 §12, Endpoint). */
export function findEndpoint(
  regions: readonly Region[],
  region: string,
  serviceInterface: string,
): string | undefined {
  const found = regions.find(({ name }) => name.toLowerCase() === region.toLowerCase());
  // The interface is the caller's word: "constructor" is none.
  if (found === undefined || !Object.hasOwn(found.endpoints, serviceInterface)) return undefined;
  return found.endpoints[serviceInterface];
}

/** Starts of the names of properties that are copied unless configured (contract 10 §12). */
export const DEFAULT_PREFIXES: readonly string[] = [
  "hw_",
  "trait:",
  "os_distro",
  "os_secure_boot",
  "os_type",
];

/** What another Image API says of an image, as far as an import needs it (contract 10 §12). */
export interface RemoteImage {
  /** Bytes. */
  readonly size: number;
  readonly diskFormat: string | null;
  readonly containerFormat: string | null;
  /** Those to copy. */
  readonly properties: ReadonlyMap<string, string>;
  /** What the bytes must hash to. */
  readonly hash: ExpectedHash | undefined;
  /** Takes the same token as the record. */
  readonly dataUrl: string;
}

/** How to ask another Image API, and what to take over. */
export interface RemoteImageOptions extends Omit<SourceOptions, "headers"> {
  /** The caller's own, which is sent to the endpoint's origin and to no other (contract 10 §12, Auth). */
  readonly token: string;
  readonly prefixes?: readonly string[];
  /** How long the whole answer may take. */
  readonly timeoutMs?: number;
}

const PATIENCE_MS = 30_000;
const MAX_RECORD_BYTES = 1024 * 1024;

/**
 * Asks another Image API for an image that is to be imported (contract 10 §12). Throws the Faults
 * `uri_refused`, `source_rejected` and `source_unreachable`, whose reasons are safe to show.
 */
export async function describeRemoteImage(
  endpoint: string,
  imageId: string,
  options: RemoteImageOptions,
): Promise<RemoteImage> {
  // Nothing else may become part of an address to which the caller's token goes.
  if (!isUuid(imageId)) throw rejected(NO_SUCH_IMAGE);
  const url = `${endpoint}/v2/images/${imageId}`;
  const facts = readRecord(await fetchRecord(url, options), options.prefixes ?? DEFAULT_PREFIXES);
  return { ...facts, dataUrl: `${url}/file` };
}

const NO_SUCH_IMAGE = "it has no such image";

async function fetchRecord(url: string, options: RemoteImageOptions): Promise<string> {
  const { token, prefixes: _, timeoutMs = PATIENCE_MS, signal, ...door } = options;
  const patience = AbortSignal.timeout(timeoutMs);
  try {
    const { response } = await safeFetch(url, {
      ...door,
      headers: { "x-auth-token": token, accept: "application/json" },
      signal: AbortSignal.any([patience, ...(signal === undefined ? [] : [signal])]),
      timeoutMs,
    });
    return await readText(response);
  } catch (cause) {
    signal?.throwIfAborted();
    if (cause instanceof Fault || !patience.aborted) throw sourceFault(cause);
    throw unreachable(`no answer in ${timeoutMs / 1000} seconds`, cause);
  }
}

async function readText({ status, body }: Response): Promise<string> {
  if (status !== 200) {
    await body?.cancel();
    throw statusFault(status);
  }
  if (body === null) throw notARecord();
  const decoder = new TextDecoder();
  let text = "";
  let bytes = 0;
  for await (const chunk of body) {
    bytes += chunk.byteLength;
    // Leaving the loop cancels the rest.
    if (bytes > MAX_RECORD_BYTES) throw rejected("its record of the image is too long");
    text += decoder.decode(chunk, { stream: true });
  }
  return text + decoder.decode();
}

const REFUSALS: ReadonlyMap<number, string> = new Map([
  [401, "it refuses the token"],
  [403, "it refuses the token"],
  [404, NO_SUCH_IMAGE],
]);

// Too slow, too early, too many requests: what another time may go better (RFC 6585, 8470, 9110).
const PASSING_STATUSES = [408, 425, 429];

function statusFault(status: number): Fault {
  const reason = REFUSALS.get(status) ?? `it answers with the status ${status}`;
  return status >= 500 || PASSING_STATUSES.includes(status)
    ? unreachable(reason)
    : rejected(reason);
}

/** What a useful hash needs is checked later, so that a strange one does not spoil the import. */
const HashText = v.fallback(v.nullish(v.string(), ""), "");

const ImageRecord = v.object({
  status: v.string(),
  size: v.optional(v.unknown()),
  disk_format: v.nullish(v.string(), null),
  container_format: v.nullish(v.string(), null),
  checksum: HashText,
  os_hash_algo: HashText,
  os_hash_value: HashText,
});

const Size = v.pipe(v.number(), v.safeInteger(), v.minValue(0));

function readRecord(text: string, prefixes: readonly string[]): Omit<RemoteImage, "dataUrl"> {
  const document = parseObject(text);
  const result = v.safeParse(ImageRecord, document);
  if (!result.success) throw notARecord();
  const { status, size, disk_format, container_format, ...hashes } = result.output;
  // Before the size, which an image that is not active need not have.
  if (status !== "active") {
    throw rejected(`the remote image is in status ${showable(status)}`);
  }
  if (!v.is(Size, size)) throw rejected("it does not tell the size of the image");
  return {
    size,
    diskFormat: disk_format,
    containerFormat: container_format,
    properties: pickProperties(document, prefixes),
    hash: pickHash(hashes),
  };
}

function parseObject(text: string): JsonObject {
  let document: unknown;
  try {
    document = JSON.parse(text);
  } catch {
    // The parser's message quotes the text.
    throw notARecord();
  }
  if (!isJsonObject(document)) throw notARecord();
  return document;
}

function notARecord(): Fault {
  return rejected("it does not answer with the record of an image");
}

/** Someone else's word for a reason: nothing in it can break a line, change its direction or go on for ever. */
function showable(text: string): string {
  return abbreviate(text.slice(0, 200).replace(/[\p{C}\p{Zl}\p{Zp}]/gu, ""), 40);
}

function pickProperties(
  record: JsonObject,
  prefixes: readonly string[],
): ReadonlyMap<string, string> {
  const picked = new Map<string, string>();
  for (const [name, value] of Object.entries(record)) {
    if (typeof value !== "string" || !isCustom(name)) continue;
    if (prefixes.some((prefix) => name.startsWith(prefix))) picked.set(name, value);
  }
  return picked;
}

/** A prefix may be as short as `os_`, and facts about the remote image are none about the new one. */
function isCustom(name: string): boolean {
  return !isReserved(name) && !isReadOnly(name) && setterOf(name) === undefined;
}

interface HashTexts {
  readonly os_hash_algo: string;
  readonly os_hash_value: string;
  readonly checksum: string;
}

function pickHash({ os_hash_algo, os_hash_value, checksum }: HashTexts): ExpectedHash | undefined {
  return readHash(os_hash_algo, os_hash_value) ?? readHash("md5", checksum);
}

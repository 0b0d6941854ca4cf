import { type AuthSettings, parseAuthSettings } from "./auth/authenticate.ts";
import { hostOf, LocalAccess } from "./auth/local-access.ts";
import type { HashAlgorithm } from "./blob/digest.ts";
import { assertOpenable, type OpenStore, storeOpener } from "./blob/stores.ts";
import { Fault } from "./domain/fault.ts";
import { buildImageSchema, type ImageSchema } from "./domain/image-schema.ts";
import { IMPORT_PLUGINS, type ImportPlugins, parseInjection } from "./domain/import-plugins.ts";
import { IMPORT_METHODS, type ImportMethodName } from "./domain/import-request.ts";
import type { Limits } from "./domain/limits.ts";
import { parseBytes, parseQuotas, Quotas } from "./domain/quota.ts";
import { parseStores } from "./domain/store-definition.ts";
import { Stores } from "./domain/stores.ts";
import { FORMATS } from "./inspect/formats.ts";
import type { InspectionRules } from "./inspect/verdict.ts";
import { DEFAULT_PREFIXES, parseRegions, type Region } from "./net/image-api.ts";
import type { Door } from "./net/resolve.ts";
import { parseOutbound } from "./net/settings.ts";
import { readRemoteBy } from "./net/source.ts";
import { Policy } from "./policy/enforce.ts";
import type { ProtectProperties } from "./policy/property-protection.ts";
import { parsePropertyProtections } from "./policy/property-protection-document.ts";
import { parseTrustStore, type TrustStore } from "./signature/trust-store.ts";

/** Every setting of a deployment, checked. README.md › Configuration is the table for operators. */
export interface Config {
  /** Scheme, host and mount prefix for links, without a trailing slash; undefined: as the request came. */
  readonly publicEndpoint: string | undefined;
  /** Origins that browsers may call from; `*` is any, an empty list none. */
  readonly corsAllowedOrigins: readonly string[];
  readonly auth: AuthSettings;
  /** From where the development users are reached; undefined: there are others. */
  readonly localAccess: LocalAccess | undefined;
  readonly policy: Policy;
  readonly protectProperties: ProtectProperties;
  readonly limits: Limits;
  readonly quotas: Quotas;
  readonly stores: Stores;
  /** One for the isolate, for some stores keep what costs to compute. */
  readonly openStore: OpenStore;
  readonly imageSchema: ImageSchema;
  readonly hashAlgorithm: HashAlgorithm;
  readonly inspection: InspectionRules;
  /** With whose keys images may be signed. */
  readonly signatures: TrustStore;
  /** Characters; 0 means no limit. */
  readonly maxRequestIdLength: number;
  /** How long an upload's claim of its image lasts without renewal. */
  readonly uploadLeaseMs: number;
  /** The most bytes that one request may bring to an image; undefined: what the platform lets through. */
  readonly maxBodyBytes: number | undefined;
  /** How long staged bytes wait for their import. */
  readonly stagingExpiryMs: number;
  /** The longest data that one `put` stores, as far as its store allows. */
  readonly singlePutMaxBytes: number;
  /** How long a resumable upload lasts without news. */
  readonly uploadExpiryMs: number;
  /** Those that are on, in configured order. */
  readonly importMethods: readonly ImportMethodName[];
  readonly importPlugins: ImportPlugins;
  /** How long an import may take in all. */
  readonly importDeadlineMs: number;
  /** How long an import may see no bytes before it tries again. */
  readonly importIdleMs: number;
  /** How fast data of other people's servers has to come, on the average of a while. */
  readonly importPace: { readonly bytesPerSecond: number; readonly windowMs: number };
  /** The way into other people's networks. */
  readonly door: Door;
  /** Other Image APIs that images may be imported from. */
  readonly regions: readonly Region[];
  /** Starts of the names of properties that an import takes over from another Image API. */
  readonly remoteProperties: readonly string[];
  /** Whether callers see, and may change, where an image's data lies; and whether they see the first place alone. */
  readonly shows: { readonly locations: boolean; readonly directUrl: boolean };
  /** Whether data is hashed that a location is added of. */
  readonly hashesLocations: boolean;
  /** How long a task is shown after its end. */
  readonly taskTtlMs: number;
  /** Of which requests a line is logged. */
  readonly logsRequests: "all" | "failed" | "none";
  /** Whether answers say what their requests waited for, in the header Server-Timing. */
  readonly tellsTimings: boolean;
  /** Undefined: there is no cache of image data. */
  readonly imageCache: ImageCacheSettings | undefined;
}

/** The cache of image data (contract 12 §4). */
export interface ImageCacheSettings {
  /** What `prune` leaves. */
  readonly maxBytes: number;
  /** How long an image may wait to be brought in before `clean` gives it up. */
  readonly stallMs: number;
}

const HASH_ALGORITHMS = ["sha512", "sha384", "sha256", "sha1", "md5"] as const;

const checked = new WeakMap<Env, Config>();

/**
 * The deployment's configuration, read once an isolate.
 * Throws the Fault `misconfigured` with a sentence that names the variable.
 */
export function loadConfig(env: Env): Config {
  let config = checked.get(env);
  if (config === undefined) {
    config = Object.freeze(parseConfig({ ...env }));
    checked.set(env, config);
  }
  return config;
}

/** Reads and checks every variable. Throws the Fault `misconfigured`. */
export function parseConfig(env: Readonly<Record<string, unknown>>): Config {
  const read = new Variables(env);
  refuseUnsupported(read);
  const limits: Limits = {
    pageDefault: read.integer("LIMIT_PARAM_DEFAULT", 25, 1),
    pageMax: read.integer("API_LIMIT_MAX", 1000, 1),
    imageProperties: read.integer("IMAGE_PROPERTY_QUOTA", 128),
    imageTags: read.integer("IMAGE_TAG_QUOTA", 128),
    imageMembers: read.integer("IMAGE_MEMBER_QUOTA", 128),
    imageLocations: read.integer("IMAGE_LOCATION_QUOTA", 10),
    imageBytes: read.integer("IMAGE_SIZE_CAP", 1024 ** 4, 0),
    diskFormats: read.list("DISK_FORMATS", "ami,ari,aki,vhd,vhdx,vmdk,raw,qcow2,vdi,iso,ploop"),
    containerFormats: read.list("CONTAINER_FORMATS", "ami,ari,aki,bare,ovf,ova,docker,compressed"),
  };
  const stores = read.parsed("STORES", SINGLE_STORE, (text) => parseStoresOf(env, text));
  const imports = parseImportSettings(read, env);
  const policy = read.parsed("POLICY", "{}", (text) => new Policy(parsePolicy(text)));
  const publicEndpoint = read.httpUrl("PUBLIC_ENDPOINT");
  const corsAllowedOrigins = read.origins("CORS_ALLOWED_ORIGINS", "*");
  const auth = parseAuthSettings(env);
  const developmentHosts = read.hosts("DEVELOPMENT_HOSTS");
  if (publicEndpoint !== undefined) developmentHosts.push(new URL(publicEndpoint).hostname);
  return {
    publicEndpoint,
    corsAllowedOrigins,
    auth,
    localAccess: auth.identity.isDevelopment
      ? new LocalAccess(developmentHosts, corsAllowedOrigins)
      : undefined,
    policy,
    protectProperties: read.parsed("PROPERTY_PROTECTIONS", "", (text) =>
      parsePropertyProtections(text, policy),
    ),
    limits,
    quotas: parseQuotaSettings(read),
    stores,
    openStore: storeOpener(stores.all, env, readRemoteBy(imports.door)),
    imageSchema: read.parsed("IMAGE_SCHEMA", "", (text) =>
      buildImageSchema(limits, text === "" ? undefined : text),
    ),
    inspection: parseInspection(read),
    signatures: read.parsed("SIGNATURE_CERTIFICATES", "{}", parseTrustStore),
    hashAlgorithm: read.oneOf("HASHING_ALGORITHM", HASH_ALGORITHMS, "sha512"),
    maxRequestIdLength: read.integer("MAX_REQUEST_ID_LENGTH", 64, 0),
    ...imports,
    shows: {
      locations: read.flag("SHOW_MULTIPLE_LOCATIONS", "false"),
      directUrl: read.flag("SHOW_IMAGE_DIRECT_URL", "false"),
    },
    hashesLocations: read.flag("DO_SECURE_HASH", "true"),
    logsRequests: read.oneOf("LOG_REQUESTS", ["all", "failed", "none"], "all"),
    tellsTimings: read.oneOf("SERVER_TIMING", ["on", "off"], "on") === "on",
    imageCache: parseImageCache(read),
    // Bytes renew the lease a quarter of it apart; so it is longer than what is promised after the last byte.
    maxBodyBytes: read.integer("MAX_BODY_BYTES", 0, 0) || undefined,
    singlePutMaxBytes: read.integer("SINGLE_PUT_MAX_BYTES", 1024 ** 3, 0),
    stagingExpiryMs: 1000 * read.integer("STAGING_EXPIRY_SECONDS", 7 * 86_400, 60, 365 * 86_400),
    uploadExpiryMs: 1000 * read.integer("UPLOAD_EXPIRY_SECONDS", 86_400, 60, 30 * 86_400),
    uploadLeaseMs: Math.ceil((read.integer("UPLOAD_LEASE_SECONDS", 300, 1, 86_400) * 4000) / 3),
  };
}

/** Contract 12 §4. */
function parseImageCache(read: Variables): ImageCacheSettings | undefined {
  const settings = {
    maxBytes: read.integer("IMAGE_CACHE_MAX_SIZE", 10 * 1024 ** 3, 0),
    stallMs: 1000 * read.integer("IMAGE_CACHE_STALL_TIME", 86_400, 1, 30 * 86_400),
  };
  return read.oneOf("IMAGE_CACHE", ["on", "off"], "off") === "on" ? settings : undefined;
}

/** Contract 12 §6. */
function parseQuotaSettings(read: Variables): Quotas {
  const isOn = read.oneOf("USE_KEYSTONE_LIMITS", ["true", "false"], "false") === "true";
  const perProject = read.parsed("QUOTAS", "{}", parseQuotas);
  const storageBytes = read.parsed("USER_STORAGE_QUOTA", "0", parseBytes);
  return new Quotas(isOn ? perProject : undefined, storageBytes, {
    open_resumable_uploads: read.integer("PROJECT_UPLOAD_QUOTA", 256),
    imports_at_work: read.integer("PROJECT_IMPORT_QUOTA", 50),
  });
}

/** Contract 13 §1. */
function parseInspection(read: Variables): InspectionRules {
  const names = FORMATS.map(({ name }) => name);
  const wanted = read.choices("INSPECT_FORMATS", names, names);
  return {
    requireMatch: read.oneOf("REQUIRE_IMAGE_FORMAT_MATCH", ["true", "false"], "true") === "true",
    formats: FORMATS.filter(({ name }) => wanted.includes(name)),
    toleratedGptChecks: read.choices("GPT_SAFETY_CHECKS_NONFATAL", ["mbr"], []),
  };
}

/** Contract 10 §15, §14, §12; 12 §1. */
function parseImportSettings(read: Variables, env: Readonly<Record<string, unknown>>) {
  const DAY_SECONDS = 86_400;
  return {
    importMethods: read.choices("IMPORT_METHODS", IMPORT_METHODS, [
      "glance-direct",
      "web-download",
      "copy-image",
    ]),
    importPlugins: {
      plugins: read.choices("IMAGE_IMPORT_PLUGINS", IMPORT_PLUGINS, []),
      inject: read.parsed("INJECT_IMAGE_METADATA", "{}", parseInjection),
    },
    importDeadlineMs:
      1000 * read.integer("IMPORT_DEADLINE_SECONDS", DAY_SECONDS, 1, 20 * DAY_SECONDS),
    importIdleMs: 1000 * read.integer("IMPORT_IDLE_SECONDS", 60, 1, 600),
    importPace: {
      bytesPerSecond: read.integer("IMPORT_MIN_BYTES_PER_SECOND", 8192, 0),
      windowMs: 1000 * read.integer("IMPORT_MIN_RATE_SECONDS", 300, 1, DAY_SECONDS),
    },
    door: read.door(env),
    regions: read.parsed("GLANCE_REGIONS", "{}", parseRegions),
    remoteProperties: read.optionalList("GLANCE_DOWNLOAD_PROPERTIES", DEFAULT_PREFIXES.join()),
    taskTtlMs: 3_600_000 * read.integer("TASK_TIME_TO_LIVE_HOURS", 48, 1, 100_000),
  };
}

const SINGLE_STORE = `[{"id": "default", "type": "r2", "binding": "BLOBS"}]`;

function parseStoresOf(env: Readonly<Record<string, unknown>>, text: string): Stores {
  const definitions = parseStores(text);
  for (const definition of definitions) assertOpenable(definition, env);
  return new Stores(definitions);
}

/** Settings of the reference that this version knows but does not offer: only their "off" is accepted. */
const NOT_OFFERED: Readonly<Record<string, string>> = {
  DELAYED_DELETE: "false",
};

function refuseUnsupported(read: Variables): void {
  for (const [name, off] of Object.entries(NOT_OFFERED)) {
    if (read.text(name, off) !== off) {
      misconfigured(name, `this version of Glimpse supports only "${off}"`);
    }
  }
}

function parsePolicy(text: string): Record<string, string> {
  const parsed: unknown = JSON.parse(text);
  if (typeof parsed !== "object" || parsed === null || Array.isArray(parsed)) {
    throw new Error("it is not a JSON object of rule names and expressions");
  }
  for (const [name, expression] of Object.entries(parsed)) {
    if (typeof expression !== "string") throw new Error(`rule '${name}' is not a string`);
  }
  return parsed as Record<string, string>;
}

function misconfigured(name: string, reason: string): never {
  throw new Fault("misconfigured", { reason: `The variable ${name} is not usable: ${reason}.` });
}

class Variables {
  constructor(private readonly env: Readonly<Record<string, unknown>>) {}

  text(name: string, fallback: string): string {
    const value = this.env[name] ?? fallback;
    if (typeof value !== "string") return misconfigured(name, "it must be text");
    return value.trim();
  }

  integer(
    name: string,
    fallback: number,
    min = Number.MIN_SAFE_INTEGER,
    max = Number.MAX_SAFE_INTEGER,
  ) {
    const text = this.text(name, String(fallback));
    const value = /^-?\d+$/.test(text) ? Number(text) : Number.NaN;
    if (Number.isSafeInteger(value) && value >= min && value <= max) return value;
    const range = min === Number.MIN_SAFE_INTEGER ? "" : ` from ${min} to ${max}`;
    return misconfigured(name, `"${text}" is not a whole number${range}`);
  }

  list(name: string, fallback: string): readonly string[] {
    const items = this.text(name, fallback)
      .split(",")
      .map((item) => item.trim());
    if (items.includes("")) return misconfigured(name, "it has an empty item");
    return items;
  }

  /** A list that may be empty. */
  optionalList(name: string, fallback: string): readonly string[] {
    return this.text(name, fallback) === "" ? [] : this.list(name, fallback);
  }

  /** Names and addresses of hosts, as addresses spell them. */
  hosts(name: string): string[] {
    return this.optionalList(name, "").map((item) => {
      return hostOf(item) ?? misconfigured(name, `"${item}" is no name or address of a host`);
    });
  }

  /** Some of the words allowed, each once, in the order given. */
  choices<T extends string>(
    name: string,
    allowed: readonly T[],
    fallback: readonly T[],
  ): readonly T[] {
    const items = this.optionalList(name, fallback.join());
    if (new Set(items).size < items.length) return misconfigured(name, "it names one twice");
    return items.map((item) => {
      const found = allowed.find((word) => word === item);
      return found ?? misconfigured(name, `"${item}" is none of ${allowed.join(", ")}`);
    });
  }

  /** The outbound settings name their variables themselves. */
  door(env: Readonly<Record<string, unknown>>): Door {
    try {
      return parseOutbound(env).door;
    } catch (cause) {
      const { message } = cause as Error;
      const reason = `A variable is not usable: ${message}.`;
      throw new Fault("misconfigured", { reason });
    }
  }

  oneOf<T extends string>(name: string, allowed: readonly T[], fallback: T): T {
    const text = this.text(name, fallback);
    const found = allowed.find((item) => item === text);
    return found ?? misconfigured(name, `"${text}" is none of ${allowed.join(", ")}`);
  }

  flag(name: string, fallback: "true" | "false"): boolean {
    return this.oneOf(name, ["true", "false"], fallback) === "true";
  }

  httpUrl(name: string): string | undefined {
    const text = this.text(name, "");
    if (text === "") return undefined;
    const url = URL.parse(text);
    const extras = `${url?.username}${url?.password}${url?.search}${url?.hash}`;
    if (url === null || !/^https?:$/.test(url.protocol) || extras !== "") {
      return misconfigured(name, `"${text}" is not an http or https address`);
    }
    // Not the text: it goes into headers, and the parser forgives what those could not hold.
    return `${url.origin}${url.pathname}`.replace(/\/+$/, "");
  }

  /** Origins as browsers send them; one that is spelled otherwise would never match. */
  origins(name: string, fallback: string): readonly string[] {
    if (this.text(name, fallback) === "") return [];
    const items = this.list(name, fallback);
    const isOrigin = (item: string) => !item.includes("*") && URL.parse(item)?.origin === item;
    const wrong = items.find((item) => item !== "*" && !isOrigin(item));
    if (wrong === undefined) return items;
    return misconfigured(name, `"${wrong}" is neither * nor an origin such as https://example.com`);
  }

  parsed<T>(name: string, fallback: string, parse: (text: string) => T): T {
    try {
      return parse(this.text(name, fallback));
    } catch (cause) {
      // A parser of JSON quotes what it does not understand, which may be a secret in the wrong place.
      const reason = cause instanceof SyntaxError ? "it is not JSON" : (cause as Error).message;
      return misconfigured(name, reason);
    }
  }
}

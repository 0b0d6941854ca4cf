import { abbreviate } from "../lib/code-points.ts";
import { isJsonObject, type JsonObject } from "../lib/json.ts";
import { type ExpectedHash, parseExpectedHash } from "./expected-hash.ts";
import { Fault } from "./fault.ts";

/*
 * The request of POST /v2/images/{image_id}/import. Its checks have an order that clients see (contract 10 §4),
 * and the image is looked up in between: here are checks 1 to 4, and in import-plan.ts 8 to 17.
 */

export const IMPORT_METHODS = [
  "glance-direct",
  "web-download",
  "copy-image",
  "glance-download",
] as const;
export type ImportMethodName = (typeof IMPORT_METHODS)[number];

/** An import request whose form is right; plain data, since it crosses to the image's object. */
export interface ImportRequest {
  readonly method: ImportMethodName;
  /** What of the body means something, for the task's input. */
  readonly body: JsonObject;
  /** The body's `method`, whose other fields are judged once the image is known. */
  readonly settings: JsonObject;
  /** The body's `stores` as given, undefined when it has none; a single-store service never looks at it. */
  readonly stores: unknown;
  readonly allStores: boolean;
  readonly mustSucceed: boolean;
  readonly expected: ExpectedHash | undefined;
}

/** Checks a body as far as that goes without knowing the image (contract 10 §4 #1 … #4, IMP-2 … IMP-4). */
export function parseImportRequest(
  body: object,
  enabled: readonly ImportMethodName[],
): ImportRequest {
  if (!isJsonObject(body)) {
    throw new Fault("bad_request", { reason: "The request body must be a JSON object." });
  }
  const settings = body.method;
  if (!isJsonObject(settings) || typeof settings.name !== "string") {
    const reason = 'it must be an object with the name of an import method, {"name": "…"}';
    throw new Fault("invalid_value", { name: "method", reason });
  }
  const method = enabled.find((name) => name === settings.name);
  if (method === undefined) {
    const known = enabled.length === 0 ? "none" : enabled.join(", ");
    throw new Fault("import_method_disabled", { name: abbreviate(settings.name), enabled: known });
  }
  return {
    method,
    body: knownFields(body, settings),
    settings,
    stores: body.stores,
    mustSucceed: readBoolean(body, "all_stores_must_succeed", true),
    allStores: readBoolean(body, "all_stores", false),
    expected: readChecksum(method, settings.checksum),
  };
}

const METHOD_FIELDS = [
  "name",
  "uri",
  "glance_region",
  "glance_image_id",
  "glance_service_interface",
  "checksum",
];
const FIELDS = ["stores", "all_stores", "all_stores_must_succeed"];

function knownFields(body: JsonObject, settings: JsonObject): JsonObject {
  return { method: pick(settings, METHOD_FIELDS), ...pick(body, FIELDS) };
}

function pick(from: JsonObject, names: readonly string[]): JsonObject {
  return Object.fromEntries(Object.entries(from).filter(([name]) => names.includes(name)));
}

function readBoolean(body: JsonObject, name: string, fallback: boolean): boolean {
  const value = body[name];
  if (value === undefined) return fallback;
  if (typeof value === "boolean") return value;
  throw new Fault("invalid_value", { name, reason: "it must be true or false" });
}

/** Ours, not Glance's: the hash that the data must turn out to have. */
function readChecksum(method: ImportMethodName, given: unknown): ExpectedHash | undefined {
  if (given === undefined) return undefined;
  const name = "method.checksum";
  if (method !== "copy-image") return parseExpectedHash(name, given);
  // A copy is held against the image's own hashes (contract 10 §13).
  throw new Fault("invalid_value", { name, reason: "a copy is checked by itself; leave it out" });
}

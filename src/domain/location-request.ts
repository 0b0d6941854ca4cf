import { hasSurrogates } from "../lib/code-points.ts";
import { isJsonObject, type JsonObject } from "../lib/json.ts";
import { type ExpectedHash, readHash } from "./expected-hash.ts";
import { Fault } from "./fault.ts";
import type { LocationMetadata, MetadataValue } from "./image.ts";
import { findFailure, type ValueSchema } from "./json-schema.ts";

/*
 * What callers say of a location, in a patch (contract 02 §2.7) or in the call that adds one (11 §8): read and checked
 * as far as that can be done without the image.
 */

/** A location in a patch, whose value has passed the image schema. */
export interface GivenLocation {
  readonly url: string;
  /** Without the store, which is the service's to tell (contract 11 §1). */
  readonly metadata: LocationMetadata;
  /** As it was written, in whatever letter case; undefined where there is none. */
  readonly validation: ValidationData | undefined;
}

/** The hashes that a location's data is said to have. */
export interface ValidationData {
  readonly algorithm: string;
  readonly value: string;
  /** MD5. */
  readonly checksum: string | undefined;
}

/** The body of POST /v2/images/{image_id}/locations. */
export interface LocationRequest {
  readonly url: string;
  readonly validation: { readonly algorithm: string; readonly value: string } | undefined;
}

/** Reads one location of a patch, and drops what is not known of it (contract LOP-2, LOP-14, LIM-20). */
export function readLocation(value: unknown): GivenLocation {
  const { url, metadata, validation_data: given } = isJsonObject(value) ? value : {};
  if (typeof url !== "string" || !isJsonObject(metadata)) {
    throw new TypeError("the image schema let something pass that is no location");
  }
  assertText("locations", url);
  const { store: _, ...own } = readMetadata(metadata);
  return {
    url,
    metadata: own,
    validation: given === undefined ? undefined : readValidation(given),
  };
}

function readValidation(given: unknown): ValidationData {
  const {
    os_hash_algo: algorithm,
    os_hash_value: value,
    checksum,
  } = isJsonObject(given) ? given : {};
  const isRead =
    typeof algorithm === "string" &&
    typeof value === "string" &&
    (checksum === undefined || typeof checksum === "string");
  if (!isRead) throw new TypeError("the image schema let something pass that validates nothing");
  return { algorithm, value, checksum };
}

function readMetadata(metadata: JsonObject): LocationMetadata {
  return mapValues(metadata, (value): MetadataValue => {
    if (Array.isArray(value)) return value.map(readText);
    return isJsonObject(value) ? mapValues(value, readText) : readText(value);
  });
}

function mapValues<T>(
  object: JsonObject,
  read: (value: unknown) => T,
): Readonly<Record<string, T>> {
  return Object.fromEntries(
    Object.entries(object).map(([key, value]) => [readText(key), read(value)] as const),
  );
}

function readText(value: unknown): string {
  if (typeof value === "string") {
    assertText("The metadata of a location", value);
    return value;
  }
  const reason = "metadata is made of texts, and lists and objects of texts";
  throw new Fault("invalid_value", { name: "locations", reason });
}

function assertText(name: string, text: string): void {
  if (hasSurrogates(text)) throw new Fault("unsupported_characters", { name });
}

/** Algorithms that may be named with a location, whatever the service is configured to use (contract 11 §8 #3). */
const ALGORITHMS = ["md5", "sha1", "sha256", "sha512"];

/** An address is kept in the image's row and in its task; this bound is ours. */
const MAX_URL_CHARACTERS = 2048;

/** Contract SIN-1. */
const REQUEST: ValueSchema = {
  type: "object",
  required: ["url"],
  properties: {
    url: { type: "string", maxLength: MAX_URL_CHARACTERS },
    validation_data: {
      type: "object",
      additionalProperties: false,
      properties: {
        os_hash_algo: { type: "string", maxLength: 64, enum: ALGORITHMS },
        os_hash_value: { type: "string", maxLength: 128 },
      },
    },
  },
};

/** Reads the body of POST …/locations (contract 11 §8 #1 … #3); keys that are not known are none (LEP-3). */
export function parseLocationRequest(body: unknown): LocationRequest {
  const failure = findFailure(REQUEST, body);
  if (failure !== undefined)
    throw new Fault("invalid_value", { name: "the body", reason: failure });
  const { url, validation_data: given = {} } = isJsonObject(body) ? body : {};
  const { os_hash_algo: algorithm, os_hash_value: value } = isJsonObject(given) ? given : {};
  if (typeof url !== "string") throw new TypeError("the schema let a url pass that is no text");
  assertText("url", url);
  if (typeof algorithm === "string" && typeof value === "string") {
    return { url, validation: { algorithm, value } };
  }
  if (algorithm === undefined && value === undefined) return { url, validation: undefined };
  const reason = "os_hash_algo and os_hash_value are given together or not at all";
  throw new Fault("invalid_value", { name: "validation_data", reason });
}

/** Such hashes as callers write them, and as a task shows them. */
export function validationView({ validation }: LocationRequest): JsonObject {
  if (validation === undefined) return {};
  return { os_hash_algo: validation.algorithm, os_hash_value: validation.value };
}

/** The hash that such a body means. Throws `invalid_value` (contract 11 §8 #8). */
export function declaredHash({ validation }: LocationRequest): ExpectedHash | undefined {
  if (validation === undefined) return undefined;
  const declared = readHash(validation.algorithm, validation.value);
  if (declared !== undefined) return declared;
  const reason = `it is not the hex of a ${validation.algorithm}`;
  throw new Fault("invalid_value", { name: "os_hash_value", reason });
}

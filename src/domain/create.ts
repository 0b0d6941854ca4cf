import { isJsonObject } from "../lib/json.ts";
import { canonicalUuid } from "../lib/uuid.ts";
import { Fault } from "./fault.ts";
import { type Image, NO_UPLOADS, type Visibility } from "./image.ts";
import type { ImageSchema } from "./image-schema.ts";
import type { Limits } from "./limits.ts";
import { assertNameLength, assertPropertyQuota, isFact, isLink, isReserved } from "./properties.ts";
import { assertMay, type PropertyProtection } from "./property-protection.ts";
import { isCustom, readOwner, readVisibility, setterOf, textOrNull } from "./settable.ts";
import { assertFits, assertStorable } from "./storable.ts";
import { assertTagQuota } from "./tags.ts";

/*
 * Creating an image takes two steps, because the caller's rights are judged between them (contract CRE-22):
 * parseCreate checks the form, then policy looks at owner and visibility, then finishCreate checks the rest.
 */

/** Without members, shared lets nobody else in (contract CHG-5). */
const DEFAULT_VISIBILITY = "shared";

/** A create request whose form is right. */
export interface CreateRequest {
  /** The id asked for, in its one spelling; undefined when the service is to choose. */
  readonly id: string | undefined;
  /** Undefined when the body names none; "" was read as null (contract CRE-14). */
  readonly owner: string | null | undefined;
  readonly visibility: Visibility;
  /** Every property of the body by its wire name, its value checked by the schema. */
  readonly fields: ReadonlyMap<string, unknown>;
}

/** What a new image takes from elsewhere than its request's fields. */
export interface CreateContext {
  readonly limits: Limits;
  readonly protection: PropertyProtection;
  /** The owner that policy has let pass: the request's, or else the caller's project. */
  readonly owner: string | null;
  /** The request's id, or else a new one. */
  readonly id: string;
  readonly nowMs: number;
}

/** Checks a create body as far as that goes without knowing the caller (contract CRE-2 … CRE-7). */
export function parseCreate(body: unknown, schema: ImageSchema): CreateRequest {
  if (!isJsonObject(body)) {
    throw new Fault("bad_request", { reason: "The request body must be a JSON object." });
  }
  const fields = new Map(Object.entries(body));
  refuseReadOnly(fields, isLink);
  for (const [name, value] of fields) schema.validate(name, value);
  refuseMissing(fields, schema);
  for (const name of fields.keys()) assertNameLength(name);
  refuseReserved(fields);

  const id = fields.get("id");
  return {
    id: typeof id === "string" ? canonicalUuid(id) : undefined,
    owner: fields.has("owner") ? readOwner(fields.get("owner")) : undefined,
    visibility: fields.has("visibility")
      ? readVisibility(fields.get("visibility"))
      : DEFAULT_VISIBILITY,
    fields,
  };
}

/** The new image, once policy has let the request pass. */
export function finishCreate(request: CreateRequest, context: CreateContext): Image {
  const { limits, protection } = context;
  let image = newImage(context);
  const properties = new Map<string, string | null>();
  for (const [name, value] of request.fields) {
    const set = setterOf(name);
    if (set !== undefined) image = { ...image, ...set(value) };
    else if (isCustom(name)) {
      assertMay(protection, "create", name);
      properties.set(name, textOrNull(value));
    }
  }
  image = { ...image, properties };

  assertTagQuota(image.tags, limits);
  refuseReadOnly(request.fields, isFact);
  // Locations come to an image only once it exists (contract CRE-10).
  if (request.fields.has("locations")) throw new Fault("property_reserved", { name: "locations" });
  assertPropertyQuota(properties, limits);
  assertFits(image);
  assertStorable(image);
  return image;
}

/** The defaults of contract 02 §2.1. */
function newImage({ id, owner, nowMs }: CreateContext): Image {
  return {
    id,
    revision: 1,
    status: "queued",
    visibility: DEFAULT_VISIBILITY,
    owner,
    name: null,
    diskFormat: null,
    containerFormat: null,
    minDisk: 0,
    minRam: 0,
    isProtected: false,
    isHidden: false,
    size: null,
    virtualSize: null,
    checksum: null,
    osHashAlgo: null,
    osHashValue: null,
    createdAtMs: nowMs,
    updatedAtMs: nowMs,
    properties: new Map(),
    tags: [],
    locations: [],
    staged: null,
    reservedBytes: 0,
    openUploads: NO_UPLOADS,
  };
}

function refuseReadOnly(
  fields: ReadonlyMap<string, unknown>,
  isReadOnly: (name: string) => boolean,
): void {
  for (const name of fields.keys()) {
    if (isReadOnly(name)) throw new Fault("property_read_only", { name });
  }
}

function refuseReserved(fields: ReadonlyMap<string, unknown>): void {
  for (const name of fields.keys()) {
    if (isReserved(name)) throw new Fault("property_reserved", { name });
  }
}

function refuseMissing(fields: ReadonlyMap<string, unknown>, schema: ImageSchema): void {
  const name = schema.required.find((required) => !fields.has(required));
  if (name !== undefined) {
    throw new Fault("invalid_value", { name, reason: "it is missing (required)" });
  }
}

import { jsonEquals } from "../lib/json.ts";
import { type ExpectedHash, readHash } from "./expected-hash.ts";
import { Fault } from "./fault.ts";
import type { Image, Location, LocationMetadata } from "./image.ts";
import { assertFormats } from "./import-plan.ts";
import { exceeds, type Limits } from "./limits.ts";
import {
  declaredHash,
  type GivenLocation,
  type LocationRequest,
  type ValidationData,
} from "./location-request.ts";
import type { Stores } from "./stores.ts";

/*
 * Where an image's data lies, as callers see and change it (contract 11 §§5 and 6, 02 §2.7). Callers may point to other
 * people's servers. The addresses of our own stores are shown to tell one copy from another, and can be given back; none
 * can be added, since it would be somebody else's data.
 */

/** Whether the data lies on other people's servers and is never ours to remove; no key of our own looks like that. */
export function isRemote({ key }: Pick<Location, "key">): boolean {
  return /^https?:\/\//i.test(key);
}

/** The address of a copy: that of the remote server, or a name for one of ours that opens nothing. */
export function urlOf(location: Location): string {
  return isRemote(location) ? location.key : `glimpse://${location.store}/${location.key}`;
}

/** A location as callers read it. */
export interface LocationView {
  readonly url: string;
  readonly metadata: Readonly<Record<string, unknown>>;
}

/** An image's locations as callers read them, the heaviest store's first (contract 11 §§1 and 5). */
export function locationViews({ locations }: Image, stores: Stores): readonly LocationView[] {
  return stores.byWeight(locations).map((location) => ({
    url: urlOf(location),
    metadata: { ...location.metadata, ...(stores.isMulti && { store: location.store }) },
  }));
}

/** What judging a call that adds a location needs to know beyond the image. */
export interface LocationChecks {
  readonly stores: Stores;
  /** Whether the caller is another service. */
  readonly isService: boolean;
  /** Throws a Fault unless the caller may (check 6). */
  readonly authorize: () => void;
  /** Throws a Fault while other work holds the image (check 9). */
  readonly assertUnlocked: () => void;
}

/** A location that a call adds. */
export interface PlannedLocation {
  readonly url: string;
  /** Of the type http. */
  readonly storeId: string;
  readonly expected: ExpectedHash | undefined;
}

/**
 * Judges a call that adds a location, in the contract's order (11 §8 #5 … #10). A service's address may be any; whether
 * there is something at it, its task finds out.
 */
export function planLocation(
  image: Image,
  request: LocationRequest,
  { stores, isService, authorize, assertUnlocked }: LocationChecks,
): PlannedLocation {
  const { url } = request;
  if (image.status !== "queued") {
    throw new Fault("locations_fixed", { imageId: image.id, status: image.status });
  }
  authorize();
  const store = stores.remote;
  if (!isService && (store === undefined || !/^http/.test(url))) {
    const reason =
      "Only addresses of http and https can be added, where there is a store of the type http.";
    throw new Fault("forbidden_reason", { reason });
  }
  const expected = declaredHash(request);
  assertFormats(image);
  assertUnlocked();
  return { url, storeId: store?.id ?? stores.default.id, expected };
}

/** One operation of a patch on the locations; a position is as it was written. */
export type LocationOperation =
  | { readonly op: "add_location"; readonly position: string; readonly location: GivenLocation }
  | { readonly op: "remove_location"; readonly position: string }
  | { readonly op: "replace_locations"; readonly locations: readonly GivenLocation[] };

/** Whether an operation may point to servers that have to be asked first. */
export function addsLocations({ op }: { readonly op: string }): boolean {
  return op === "add_location" || op === "replace_locations";
}

/** What changing locations needs to know beyond the image. */
export interface LocationRules {
  /** Whether callers see locations, and so may change them: `show_multiple_locations`. */
  readonly areOpen: boolean;
  readonly stores: Stores;
  /** That of the service. */
  readonly hashAlgorithm: string;
  /** Bytes at an address that is to be added; undefined as long as nobody has asked its server. */
  readonly sizeOf: (url: string) => number | undefined;
}

export interface LocationOptions {
  readonly limits: Limits;
  readonly locations: LocationRules;
  /** Throws a Fault unless the caller may (contract POL-15). */
  readonly authorize: (
    rule: "set_image_location" | "delete_image_location",
    changed: Image,
  ) => void;
}

/** The image with its locations changed, and so with data if it had none (contract LOP-1 … LOP-18). */
export function changeLocations(
  image: Image,
  operation: LocationOperation,
  options: LocationOptions,
): Image {
  if (operation.op === "replace_locations" && operation.locations.length === 0) {
    throw new Fault("forbidden_reason", { reason: "The list of locations cannot be emptied." });
  }
  const isRemoval = operation.op === "remove_location";
  options.authorize(isRemoval ? "delete_image_location" : "set_image_location", image);
  if (!options.locations.areOpen) {
    const reason = "This service does not let locations be changed.";
    throw new Fault("forbidden_reason", { reason });
  }
  const isOpen = image.status === "active" || (image.status === "queued" && !isRemoval);
  if (!isOpen) throw new Fault("locations_fixed", { imageId: image.id, status: image.status });
  switch (operation.op) {
    case "add_location":
      return addOne(image, operation, options);
    case "remove_location":
      return removeOne(image, operation.position, options);
    case "replace_locations":
      return replaceAll(image, operation.locations, options);
  }
}

function addOne(
  image: Image,
  { position, location }: { readonly position: string; readonly location: GivenLocation },
  options: LocationOptions,
): Image {
  const hashes = judgeValidation(image, [location], options);
  const shown = options.locations.stores.byWeight(image.locations);
  const index = Math.min(positionIn(position, shown.length), shown.length);
  return withData(insert({ ...image, locations: shown }, index, location, options), hashes);
}

function removeOne(image: Image, position: string, { locations }: LocationOptions): Image {
  const shown = locations.stores.byWeight(image.locations);
  if (shown.length === 1) throw new Fault("last_copy", { imageId: image.id });
  const index = positionIn(position, shown.length - 1);
  if (index >= shown.length) throw noPosition(position);
  return { ...image, locations: shown.toSpliced(index, 1) };
}

/** Of an image that has locations, only what is noted with them can be replaced (contract LOP-12). */
function replaceAll(
  image: Image,
  given: readonly GivenLocation[],
  options: LocationOptions,
): Image {
  const hashes = judgeValidation(image, given, options);
  if (image.locations.length === 0) {
    const filled = given.reduce((so, one, index) => insert(so, index, one, options), image);
    return withData(filled, hashes);
  }
  const left = [...image.locations];
  const locations = given.map(({ url, metadata }) => {
    const index = left.findIndex((location) => urlOf(location) === url);
    const [found] = index < 0 ? [] : left.splice(index, 1);
    if (found === undefined) throw new Fault("locations_differ");
    return noting(found, metadata);
  });
  if (left.length > 0) throw new Fault("locations_differ");
  const isTwice = locations.some((one, at) =>
    locations.slice(0, at).some((other) => isSame(one, other)),
  );
  if (isTwice) throw new Fault("location_exists");
  return { ...image, locations };
}

/** Contract LOP-8: a number, or `-` for `last`. */
function positionIn(position: string, last: number): number {
  if (position === "-") return last;
  if (!/^\d+$/.test(position)) throw noPosition(position);
  return Number(position);
}

function noPosition(position: string): Fault {
  const reason = `there is no position '${position.slice(0, 20)}' among the locations`;
  return new Fault("bad_request", { reason });
}

/** More than this no request adds, even where the operator sets no limit. */
const MAX_LOCATIONS = 100;

/** The image with one location more, whose data is what the image has (contract LOP-9, LOP-10, LOP-13). */
function insert(
  image: Image,
  index: number,
  { url, metadata }: GivenLocation,
  { limits, locations: { stores, sizeOf } }: LocationOptions,
): Image {
  const store = stores.remote;
  if (!isRemote({ key: url })) throw refusal("only http and https can be added");
  if (store === undefined) throw refusal("this service has no store of the type http");
  const location = noting({ store: store.id, key: url }, metadata);
  if (image.locations.some((known) => isSame(known, location))) throw new Fault("location_exists");
  const attempted = image.locations.length + 1;
  const maximum = limits.imageLocations < 0 ? MAX_LOCATIONS : limits.imageLocations;
  if (exceeds(attempted, maximum)) {
    throw new Fault("quota_exceeded", { attempted, what: "locations", maximum });
  }
  const size = sizeOf(url) ?? image.size;
  if (image.size !== null && size !== image.size) {
    const reason = `it has ${size} bytes, and the image has ${image.size}`;
    throw new Fault("source_rejected", { reason });
  }
  return { ...image, size, locations: image.locations.toSpliced(index, 0, location) };
}

function refusal(reason: string): Fault {
  return new Fault("uri_refused", { reason });
}

function noting({ store, key }: Location, metadata: LocationMetadata): Location {
  return Object.keys(metadata).length === 0 ? { store, key } : { store, key, metadata };
}

function isSame(one: Location, other: Location): boolean {
  const isThere = one.store === other.store && one.key === other.key;
  return isThere && jsonEquals(one.metadata ?? {}, other.metadata ?? {});
}

/** A queued image becomes active by its first locations (contract LOP-11, ST-11). */
function withData(image: Image, { algorithm, value, checksum }: Partial<ValidationData>): Image {
  if (image.status !== "queued") return image;
  const missing = [
    ...(image.containerFormat === null ? ["container_format"] : []),
    ...(image.diskFormat === null ? ["disk_format"] : []),
  ];
  if (missing.length > 0) {
    throw new Fault("formats_missing", { missing: missing.join(" and "), imageId: image.id });
  }
  return {
    ...image,
    status: "active",
    // What was granted to uploads of the queued image, whose bytes are not wanted any more.
    reservedBytes: 0,
    virtualSize: null,
    checksum: checksum ?? null,
    osHashAlgo: algorithm ?? null,
    osHashValue: value ?? null,
  };
}

/** What locations are said to hash to, if they agree with each other and with the image (contract LOP-16 … LOP-18). */
function judgeValidation(
  image: Image,
  given: readonly GivenLocation[],
  { locations: { hashAlgorithm } }: LocationOptions,
): Partial<ValidationData> {
  const said: { algorithm?: string; value?: string; checksum?: string } = {};
  for (const { validation } of given) {
    if (validation === undefined) continue;
    const { algorithm, value, checksum } = lowered(validation);
    const isAgreed =
      (said.algorithm ?? algorithm) === algorithm &&
      (said.value ?? value) === value &&
      (said.checksum === undefined || checksum === undefined || said.checksum === checksum);
    if (!isAgreed) throw conflict("the locations have different hashes");
    Object.assign(said, { algorithm, value }, checksum === undefined ? {} : { checksum });
  }
  const { algorithm, value, checksum } = said;
  if (algorithm === undefined || value === undefined) return said;
  const isKnown =
    image.osHashAlgo === algorithm &&
    image.osHashValue === value &&
    (checksum === undefined || image.checksum === checksum);
  if (isKnown) return said;
  if (image.status !== "queued") throw conflict("the image has other hashes, or none");
  if (algorithm !== hashAlgorithm) throw conflict(`os_hash_algo is not ${hashAlgorithm}`);
  if (readHash(algorithm, value) === undefined) {
    throw conflict(`os_hash_value is not the hex of a ${algorithm}`);
  }
  if (checksum !== undefined && readHash("md5", checksum) === undefined) {
    throw conflict("the checksum is not the hex of an md5");
  }
  return said;
}

function lowered({ algorithm, value, checksum }: ValidationData): ValidationData {
  return { algorithm, value: value.toLowerCase(), checksum: checksum?.toLowerCase() };
}

function conflict(reason: string): Fault {
  return new Fault("validation_conflict", { reason });
}

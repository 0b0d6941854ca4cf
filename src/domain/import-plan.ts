import { isLongerThan } from "../lib/code-points.ts";
import type { JsonObject } from "../lib/json.ts";
import { isUuid } from "../lib/uuid.ts";
import type { ExpectedHash } from "./expected-hash.ts";
import { Fault } from "./fault.ts";
import type { Image } from "./image.ts";
import type { ImportMethodName, ImportRequest } from "./import-request.ts";
import type { Status } from "./status.ts";
import type { Stores } from "./stores.ts";

/** How the bytes come, with what that way needs (contract 10 §3). */
export type ImportMethod =
  | { readonly name: "glance-direct" }
  | { readonly name: "copy-image" }
  | { readonly name: "web-download"; readonly uri: string }
  | {
      readonly name: "glance-download";
      readonly region: string;
      readonly imageId: string;
      readonly serviceInterface: string;
    }
  /** Data that stays where it is, on other people's servers (contract 11 §8). */
  | {
      readonly name: "add-location";
      readonly url: string;
      /** Of the type http. */
      readonly storeId: string;
      /** Whether it is to be read through the hashes. */
      readonly isHashed: boolean;
      /** What its server says of it; undefined as long as nobody has asked. */
      readonly source: RemoteFacts | undefined;
      /** The most bytes of it that any try has read. */
      readonly reached: number;
    }
  /** Data that came by resumable uploads, as one object already or in several that are to be joined. */
  | { readonly name: "resumable-upload"; readonly segments: readonly Segment[] };

/** What a server says of data that it has. */
export interface RemoteFacts {
  /** Bytes; one at least. */
  readonly size: number;
  /** Whether it can be read from any place on, as the same data and no other. */
  readonly isResumable: boolean;
  /** What tells that data from any other there (RFC 9110 §8.8). */
  readonly validator: { readonly etag?: string; readonly lastModified?: string };
}

/** A stored piece of the data. */
export interface Segment {
  readonly storeId: string;
  readonly key: string;
  /** Bytes. */
  readonly size: number;
}

/** What planning needs to know beyond image and request. */
export interface ImportChecks {
  readonly stores: Stores;
  /** The header `x-image-meta-store`. */
  readonly storeHeader: string | null;
  /** Throws a Fault unless the caller may (check 11). */
  readonly authorize: (rule: "modify_image" | "copy_image") => void;
  /** Throws a Fault while another import holds the image (check 12). */
  readonly assertUnlocked: () => void;
  /** Throws a Fault unless the address passes the filter (check 17). */
  readonly checkUri: (uri: string) => void;
}

/** What an import is going to do. */
export interface ImportPlan {
  readonly method: ImportMethod;
  /** Ids in the order in which they are written; in a single-store service the one there is. */
  readonly stores: readonly string[];
  /** Whether a store that fails makes the whole import fail. */
  readonly mustSucceed: boolean;
  readonly expected: ExpectedHash | undefined;
}

/**
 * Judges a request by its image, in the contract's order (10 §4 #8 … #17). Undefined when every store has its
 * copy already, so that there is nothing to do (#14).
 */
export function planImport(
  image: Image,
  request: ImportRequest,
  checks: ImportChecks,
): ImportPlan | undefined {
  assertStatus(image, request.method);
  assertFormats(image);
  const { method: name, settings, mustSucceed, expected } = request;
  // Its fields are judged before the caller's rights, a web-download's address after everything.
  if (name === "glance-download") readRemote(settings);
  checks.authorize(name === "copy-image" ? "copy_image" : "modify_image");
  checks.assertUnlocked();
  const stores = chooseStores(image, request, checks);
  if (stores.length === 0) return undefined;
  if (!mustSucceed && !checks.stores.isMulti) {
    const reason = "this service has one store, so it cannot be false";
    throw new Fault("invalid_value", { name: "all_stores_must_succeed", reason });
  }
  const method = readMethod(request, checks.checkUri);
  return { method, stores, mustSucceed, expected };
}

/** Contract 10 §5, IMP-5. */
const NEEDED_STATUS: Readonly<Record<ImportMethodName, Status>> = {
  "glance-direct": "uploading",
  "web-download": "queued",
  "glance-download": "queued",
  "copy-image": "active",
};

function assertStatus({ id, status }: Image, method: ImportMethodName): void {
  const needed = NEEDED_STATUS[method];
  if (status === needed) return;
  throw new Fault("import_wrong_status", { imageId: id, status, method, needed });
}

/** Also for glance-download, whose formats then come with the data: clients set them (contract 10 §4, IMP-6). */
export function assertFormats(image: Image): void {
  const missing = [
    ...(image.containerFormat === null ? ["container_format"] : []),
    ...(image.diskFormat === null ? ["disk_format"] : []),
  ];
  if (missing.length === 0) return;
  throw new Fault("import_formats_missing", { missing: missing.join(" and "), imageId: image.id });
}

/** The stores that are to be written (#13 … #15, IMP-12). */
function chooseStores(image: Image, request: ImportRequest, checks: ImportChecks) {
  const { stores, storeHeader: header } = checks;
  const isCopy = request.method === "copy-image";
  if (isCopy && !stores.isMulti) {
    const reason = "this service has one store, so there is none to copy to";
    throw new Fault("invalid_value", { name: "method.name", reason });
  }
  const chosen = stores.forImport({ ids: request.stores, all: request.allStores, header });
  if (!isCopy) return chosen;

  const holding = new Set(image.locations.map(({ store }) => store));
  if (request.allStores) return chosen.filter((id) => !holding.has(id));
  const storeId = chosen.find((id) => holding.has(id));
  if (storeId !== undefined) throw new Fault("store_has_copy", { imageId: image.id, storeId });
  return chosen;
}

/** The method with the fields that it needs; those meant for other methods have no meaning (§3). */
function readMethod(
  { method: name, settings }: ImportRequest,
  checkUri: ImportChecks["checkUri"],
): ImportMethod {
  switch (name) {
    case "web-download":
      return { name, uri: readUri(settings, checkUri) };
    case "glance-download":
      return readRemote(settings);
    default:
      return { name };
  }
}

/** What web-download needs (#17, IMP-7). */
function readUri({ uri }: JsonObject, checkUri: ImportChecks["checkUri"]): string {
  if (typeof uri !== "string") {
    throw new Fault("invalid_value", { name: "method.uri", reason: "it must be an address" });
  }
  checkUri(uri);
  return uri;
}

/** What glance-download needs (#10, IMP-8). */
function readRemote(settings: JsonObject): ImportMethod {
  const region = readText(settings.glance_region, "glance_region");
  const { glance_image_id: imageId } = settings;
  if (typeof imageId !== "string" || !isUuid(imageId)) {
    const reason =
      imageId === undefined ? "it is missing" : "the remote image id does not look like a UUID";
    throw new Fault("invalid_value", { name: "method.glance_image_id", reason });
  }
  const { glance_service_interface: given = "public" } = settings;
  const serviceInterface = readText(given, "glance_service_interface");
  return { name: "glance-download", region, imageId, serviceInterface };
}

function readText(value: unknown, name: string): string {
  if (typeof value === "string" && value !== "" && !isLongerThan(value, 255)) return value;
  const reason = "it must be a text of 1 to 255 characters";
  throw new Fault("invalid_value", { name: `method.${name}`, reason });
}

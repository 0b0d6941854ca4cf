import { Fault } from "../../../src/domain/fault.ts";
import type { Image } from "../../../src/domain/image.ts";
import { buildImageSchema } from "../../../src/domain/image-schema.ts";
import type { Limits } from "../../../src/domain/limits.ts";
import type { PatchOptions } from "../../../src/domain/patch.ts";
import { UNPROTECTED } from "../../../src/domain/property-protection.ts";
import { parseStores } from "../../../src/domain/store-definition.ts";
import { Stores } from "../../../src/domain/stores.ts";
import { TWO_BUCKETS } from "../../support/stores.ts";

/** The limits of a deployment that sets none. */
export const limits: Limits = {
  pageDefault: 25,
  pageMax: 1000,
  imageProperties: 128,
  imageTags: 128,
  imageMembers: 128,
  imageLocations: 10,
  imageBytes: 1024 ** 4,
  diskFormats: "ami,ari,aki,vhd,vhdx,vmdk,raw,qcow2,vdi,iso,ploop".split(","),
  containerFormats: "ami,ari,aki,bare,ovf,ova,docker,compressed".split(","),
};

export const schema = buildImageSchema(limits);

export const imageId = "0f3a4b52-7a6e-4d3c-9f31-2b1d8a4c5e60";

export function anImage(changes: Partial<Image> = {}): Image {
  return {
    id: imageId,
    revision: 7,
    status: "queued",
    visibility: "shared",
    owner: "project-1",
    name: "cirros",
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
    createdAtMs: 1000,
    updatedAtMs: 2000,
    properties: new Map(),
    tags: [],
    locations: [],
    staged: null,
    reservedBytes: 0,
    openUploads: { count: 0, bytes: 0 },
    ...changes,
  };
}

/** Locations as they are by default: out of sight. */
export const closedLocations: PatchOptions["locations"] = {
  areOpen: false,
  stores: new Stores(parseStores(JSON.stringify(TWO_BUCKETS))),
  hashAlgorithm: "sha512",
  sizeOf: () => {
    throw new Error("no server is asked");
  },
};

/** Patch options of an admin, whom every rule lets pass. */
export function asAdmin(changes: Partial<PatchOptions> = {}): PatchOptions {
  return {
    limits,
    isAdmin: true,
    protection: UNPROTECTED,
    locations: closedLocations,
    authorize: () => {},
    nowMs: 9000,
    ...changes,
  };
}

/** Patch options of an image's owner under the default policy. */
export function asOwner(changes: Partial<PatchOptions> = {}): PatchOptions {
  const authorize = (rule: string) => {
    const isAdmins = rule === "publicize_image" || rule === "delete_image_location";
    if (isAdmins) throw new Fault("forbidden", { rule });
  };
  const own = { locations: closedLocations, authorize, nowMs: 9000 };
  return { limits, isAdmin: false, protection: UNPROTECTED, ...own, ...changes };
}

/** Properties named p0, p1, …: as many as asked for. */
export function someProperties(count: number): Map<string, string> {
  return new Map(Array.from({ length: count }, (_, index) => [`p${index}`, "v"]));
}

export function someTags(count: number): string[] {
  return Array.from({ length: count }, (_, index) => `t${index}`);
}

/** The Fault that a call ends with, as status and code; "no fault" when it returns. */
export function outcome(call: () => unknown): string {
  try {
    call();
  } catch (error) {
    if (error instanceof Fault) return `${error.status} ${error.code}`;
    throw error;
  }
  return "no fault";
}

/** The sentence that a call's Fault gives the caller. */
export function textOf(call: () => unknown): string {
  try {
    call();
  } catch (error) {
    if (error instanceof Fault) return error.text;
    throw error;
  }
  return "no fault";
}

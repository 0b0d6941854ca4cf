import type { Status } from "./status.ts";

export const VISIBILITIES = ["community", "public", "private", "shared"] as const;
export type Visibility = (typeof VISIBILITIES)[number];

/** One stored copy of an image's bytes. */
export interface Location {
  /** The store's id. */
  readonly store: string;
  /** The key within that store. Of data on other people's servers it is the address (locations.ts). */
  readonly key: string;
  /** What callers noted with it; the store's id, which they see there too, is not part of it. */
  readonly metadata?: LocationMetadata;
}

/** Texts, and lists and objects of texts (contract 11 §6). */
export type LocationMetadata = Readonly<Record<string, MetadataValue>>;
export type MetadataValue = string | readonly string[] | Readonly<Record<string, string>>;

/** Bytes that were staged and wait for their import (contract 10 §2). */
export interface Staging extends Location {
  /** Hex digests by algorithm, computed while the bytes came; nobody sees them before the import. */
  readonly hashes: Hashes;
}

/** Hex digests by the name of their algorithm, such as `sha512`. */
export type Hashes = Readonly<Partial<Record<string, string>>>;

/** What an image's record says of the format of its data. */
export type Formats = Pick<Image, "diskFormat" | "containerFormat">;

/**
 * An image record. Properties are a Map because their names are the caller's: `__proto__` is a name like
 * any other. A property is null only where the operator's schema allows it (contract REP-19).
 */
export interface Image {
  readonly id: string;
  /** Grows by one with each change. */
  readonly revision: number;
  readonly status: Status;
  readonly visibility: Visibility;
  readonly owner: string | null;
  readonly name: string | null;
  readonly diskFormat: string | null;
  readonly containerFormat: string | null;
  /** Gigabytes. */
  readonly minDisk: number;
  /** Megabytes. */
  readonly minRam: number;
  readonly isProtected: boolean;
  readonly isHidden: boolean;
  /** Bytes; null until there is data. */
  readonly size: number | null;
  /** Bytes of the disk within; null where it is unknown. */
  readonly virtualSize: number | null;
  /** MD5 in hex. */
  readonly checksum: string | null;
  readonly osHashAlgo: string | null;
  /** Hex digest by osHashAlgo. */
  readonly osHashValue: string | null;
  readonly createdAtMs: number;
  readonly updatedAtMs: number;
  readonly properties: ReadonlyMap<string, string | null>;
  /** Distinct, in the order they were given. */
  readonly tags: readonly string[];
  readonly locations: readonly Location[];
  readonly staged: Staging | null;
  /** Bytes granted to work under way, which count as used until it ends. */
  readonly reservedBytes: number;
  /** Its resumable uploads that are open, which live beside its status. */
  readonly openUploads: OpenUploads;
}

/** Resumable uploads that have not become data yet. */
export interface OpenUploads {
  readonly count: number;
  /** Granted to them in all; they count as used. */
  readonly bytes: number;
}

export const NO_UPLOADS: OpenUploads = { count: 0, bytes: 0 };

/** The image in a status in which it has no data; size and hashes go with it (contract 10 §9). */
export function withoutData(
  image: Image,
  status: "saving" | "uploading" | "importing" | "queued",
  nowMs: number,
): Image {
  return {
    ...image,
    revision: image.revision + 1,
    status,
    size: null,
    virtualSize: null,
    checksum: null,
    osHashAlgo: null,
    osHashValue: null,
    locations: [],
    staged: null,
    reservedBytes: 0,
    updatedAtMs: nowMs,
  };
}

/** What a row says of the caller's own membership: undefined when its project is no member. */
export type Membership = MemberStatus | undefined;

export const MEMBER_STATUSES = ["pending", "accepted", "rejected"] as const;
export type MemberStatus = (typeof MEMBER_STATUSES)[number];

/** A project with which an image is shared. */
export interface Member {
  readonly imageId: string;
  readonly memberId: string;
  readonly status: MemberStatus;
  readonly createdAtMs: number;
  readonly updatedAtMs: number;
}

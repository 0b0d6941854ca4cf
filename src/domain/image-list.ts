import type { Image, MemberStatus, Visibility } from "./image.ts";

/** What a list can be sorted by (contract SRT-2). */
export type SortKey = keyof Pick<
  Image,
  | "name"
  | "status"
  | "containerFormat"
  | "diskFormat"
  | "size"
  | "id"
  | "createdAtMs"
  | "updatedAtMs"
>;

export type SortDirection = "asc" | "desc";

/** One step of the order; null values come before everything in `asc` (contract SRT-10). */
export interface SortTerm {
  readonly key: SortKey;
  readonly direction: SortDirection;
}

/** Text columns that a filter compares as they are: case counts. */
export type TextField = keyof Pick<
  Image,
  | "id"
  | "name"
  | "status"
  | "diskFormat"
  | "containerFormat"
  | "owner"
  | "checksum"
  | "osHashAlgo"
  | "osHashValue"
>;

/** Columns that a filter compares by order. */
export type NumberField = keyof Pick<
  Image,
  "size" | "virtualSize" | "minDisk" | "minRam" | "createdAtMs" | "updatedAtMs"
>;

/** Bounds that both belong to the range; an image without a value is in no range (contract FIL-9). */
export interface RangeFilter {
  readonly field: NumberField;
  readonly min: number;
  readonly max: number;
  /** Asks for what is not in the range, for `neq:` of a time (contract FIL-11). */
  readonly isOutside: boolean;
}

/** What the caller narrows the list to; all of it must hold. */
export interface ImageFilters {
  /** The values of which the image must have one. */
  readonly oneOf: ReadonlyMap<TextField, readonly string[]>;
  readonly ranges: readonly RangeFilter[];
  readonly isProtected: boolean | undefined;
  /** Tags of which the image must have every one (contract FIL-8). */
  readonly tags: readonly string[];
  /** Custom properties the image must have with just these values (contract FIL-16). */
  readonly properties: ReadonlyMap<string, string>;
}

/** One page of the image list as it is asked for (contract 02 §2.5), checked and with all defaults filled in. */
export interface ImageListQuery {
  /** Images the page holds at the most, cut down to the deployment's maximum (contract PAG-3). */
  readonly limit: number;
  /** The image after which the page starts. */
  readonly marker: string | undefined;
  /** The whole order, tie-breakers included (contract SRT-9), so that no two images are equal in it. */
  readonly sort: readonly SortTerm[];
  /** undefined is the base set of contract LST-1, which `all` widens by others' community images. */
  readonly visibility: Visibility | "all" | undefined;
  /** In which of these the caller's project must be a member for a shared image to be listed. */
  readonly memberStatuses: readonly MemberStatus[];
  /** Hidden images are listed alone or not at all (contract LST-10). */
  readonly isHidden: boolean;
  readonly filters: ImageFilters;
  /** A filter that no image can pass was given: the list is empty, though the marker is still checked. */
  readonly matchesNothing: boolean;
}

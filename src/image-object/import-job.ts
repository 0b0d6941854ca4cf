import type { ExpectedHash } from "../domain/expected-hash.ts";
import { Fault } from "../domain/fault.ts";
import type { Formats, Hashes, Image, Location } from "../domain/image.ts";
import type { ImageSignature } from "../domain/image-signature.ts";
import type { ImportMethod } from "../domain/import-plan.ts";
import type { Packing } from "../lib/packing.ts";
import type { Validator } from "../net/source.ts";

/*
 * What an import has to do and how far it is, as the ledger keeps it. All the bytes first come to one place, the
 * base; every store that is to have a copy gets it from there, or has it already when the base lies there:
 *
 *     source ──fetch──► base ──(unpack)──► base ──copy──► copies in further stores ──► the row names them
 *
 * One piece of writing at a time, the target, is under way. All of this is plain data.
 */

export interface ImportJob {
  readonly imageId: string;
  readonly taskId: string;
  readonly method: ImportMethod;
  /** Of whoever asked for it, whose limits hold for it. */
  readonly projectId: string | null;
  /** The caller's, for glance-download; kept as long as the job and no longer. */
  readonly token: string | undefined;
  /** Ids of the stores that are to have a copy, in this order. */
  readonly stores: readonly string[];
  /** Whether a store that fails makes all fail. */
  readonly mustSucceed: boolean;
  readonly expected: ExpectedHash | undefined;
  /** That of the image when the work began (contract 13 §8); null: it has none, undefined: nobody has looked yet. */
  readonly signature: ImageSignature | null | undefined;
  /** When it has to be done. */
  readonly deadlineMs: number;
  /** When to go on with it. */
  readonly dueMs: number;
  /** Tries that failed in a row without a part stored between them. */
  readonly failures: number;
  /** How often the data at the source was found to be another. */
  readonly restarts: number;
  readonly lastError: string | undefined;
  readonly base: Base | undefined;
  readonly target: Target | undefined;
  readonly copies: readonly Location[];
  readonly failedStores: readonly string[];
  /** What the image takes over from the remote one (contract 10 §12). */
  readonly described: Description | undefined;
}

/** The bytes, whole, in one place. */
export interface Base {
  readonly storeId: string;
  readonly key: string;
  readonly size: number;
  /** Those known so far. */
  readonly hashes: Hashes;
  /** Whether it was brought or staged for this import, so that it goes unless the row comes to name it. */
  readonly isOurs: boolean;
  /** Whether it has been looked at for compression. */
  readonly isPlain: boolean;
  /** What the content was judged by, and found to be; undefined: it has not been checked yet. */
  readonly inspected: Inspected | undefined;
}

/** Formats that data may have, and with them the size of the disk within in bytes, null where it is unknown. */
export interface Inspected extends Formats {
  readonly virtualSize: number | null;
  /** How data is packed that is taken as it is. */
  readonly packing: Packing | undefined;
}

/** A blob that is being written. */
export interface Target {
  readonly purpose: "fetch" | "unpack" | "copy";
  readonly storeId: string;
  readonly key: string;
  readonly multipartId: string | undefined;
  /** How it is cut where its source gives ranges, so that it can be gone on with; else it is written in one pass. */
  readonly ranged: RangedTarget | undefined;
  /** What it holds, once all is there; hashes may still be missing then. */
  readonly content: { readonly size: number; readonly hashes: Hashes } | undefined;
}

export interface RangedTarget {
  readonly size: number;
  readonly partBytes: number;
  /** Tells the data at the source from any other. */
  readonly validator: Validator;
}

export interface Description {
  readonly diskFormat: string | null;
  readonly containerFormat: string | null;
  readonly properties: Readonly<Record<string, string>>;
}

/** The image with what it takes over from the remote one. */
export function withDescription(image: Image, described: Description | undefined): Image {
  if (described === undefined) return image;
  return {
    ...image,
    diskFormat: described.diskFormat ?? image.diskFormat,
    containerFormat: described.containerFormat ?? image.containerFormat,
    properties: new Map([...image.properties, ...Object.entries(described.properties)]),
  };
}

/** The next store that has no copy yet and has not failed. */
export function nextStore(job: ImportJob): string | undefined {
  return job.stores.find(
    (id) => !job.failedStores.includes(id) && !job.copies.some(({ store }) => store === id),
  );
}

/** Where the base is to be written: a store that is to have a copy anyway. */
export function baseStore(job: ImportJob): string {
  const storeId = nextStore(job);
  if (storeId === undefined) throw new Error("no store is left to import to");
  return storeId;
}

/**
 * The bytes of an image that a copy is made of: the default store's, else the others in the image's order (contract
 * 10 §13). After so many failures another one's turn has come.
 */
export function baseOfImage(image: Image, defaultStoreId: string, failures: number): Base {
  const rank = ({ store }: Location) => (store === defaultStoreId ? 0 : 1);
  const sources = image.locations.toSorted((a, b) => rank(a) - rank(b));
  const source = sources[failures % sources.length];
  if (source === undefined || image.size === null) {
    throw new Fault("source_rejected", { reason: "the image has no data" });
  }
  const hashes = {
    ...(image.checksum !== null && { md5: image.checksum }),
    ...(image.osHashAlgo !== null &&
      image.osHashValue !== null && { [image.osHashAlgo]: image.osHashValue }),
  };
  const { store: storeId, key } = source;
  return {
    storeId,
    key,
    size: image.size,
    hashes,
    isOurs: false,
    isPlain: true,
    inspected: undefined,
  };
}

/** The stores that are left without a copy by an import that fails as a whole (contract 10 §9). */
export function failedByFailure(job: ImportJob, failedStore: string | undefined): string[] {
  const isCopy = job.method.name === "copy-image";
  if (!isCopy || failedStore === undefined) return [...job.stores];
  return [...job.failedStores, failedStore];
}

/** The pause after the n-th failure in a row. */
export function retryPauseMs(failures: number): number {
  return Math.min(1_000 * 2 ** (failures - 1), 300_000);
}

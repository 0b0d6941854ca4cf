/**
 * Where bytes wait that have no memory: those of a part that fills slowly, and those that an upload has brought beyond
 * its last whole part. It is the storage of the image's object, so it is as durable as the ledger beside it.
 *
 * Parts are counted from 1 within an upload; offsets are within the part. To append the same bytes at the same offset
 * again is to append them once.
 */
export interface Spool {
  /** Keeps `bytes`, SPOOL_ROW_BYTES at the most, which are free for other use once the promise settles. */
  append(part: number, offset: number, bytes: Uint8Array): Promise<void>;
  /** The first `length` bytes that are kept of a part. */
  open(part: number, length: number): Promise<ReadableStream<Uint8Array>>;
  /** Forgets what is kept of a part, which is stored now. */
  drop(part: number): Promise<void>;
}

/** The most that is kept in one piece; a row of an object's storage may have 2 MB. */
export const SPOOL_ROW_BYTES = 1024 ** 2;

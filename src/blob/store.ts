/**
 * A place that keeps bytes under keys.
 *
 * An upload of several parts is spread over two places: the image's Durable Object begins it,
 * remembers its id, and completes or aborts it; the Worker that holds the client's connection
 * writes the parts. So every step takes the upload's id, and nothing of it lives in a handle.
 *
 * Bytes of a `put` are visible when it returns, bytes of parts only after `completeMultipart`.
 * Whatever goes wrong within the store reaches the caller as the Fault `store_unavailable`; only a part, or the completion,
 * of an upload that the store no longer knows is `parts_lost`.
 */
export interface BlobStore {
  /** The object's bytes, or a range of one byte or more; undefined when there is no object. */
  read(key: string, range?: ByteRange): Promise<StoredBlob | undefined>;
  /** What one `put` can do here. */
  readonly putting: Putting;
  /** Stores a whole object. A stream is spent by one try, and one that fails leaves no object behind. */
  put(key: string, bytes: Uint8Array | SizedStream): Promise<PutReceipt>;
  /** Gives the id of a new upload. */
  beginMultipart(key: string): Promise<string>;
  /**
   * Stores one part, counted from 1. All parts but the last have the same length, 5 MiB or more.
   * The bytes must not be changed before the promise settles.
   */
  putPart(
    key: string,
    uploadId: string,
    partNumber: number,
    bytes: Uint8Array | SizedStream,
  ): Promise<PartReceipt>;
  /** Makes an object of the parts. Completing what was completed before is success. */
  completeMultipart(key: string, uploadId: string, parts: readonly PartReceipt[]): Promise<void>;
  /** Drops an upload's parts. One that is gone already is success; a completed object stays. */
  abortMultipart(key: string, uploadId: string): Promise<void>;
  /** Deletes an object. An absent one is success. */
  remove(key: string): Promise<void>;
}

/** `length` bytes from `offset` on. */
export interface ByteRange {
  readonly offset: number;
  readonly length: number;
}

/** An object that is being read; whoever takes it reads the body to its end or cancels it. */
export interface StoredBlob {
  /** Bytes of the whole object, whatever range was asked for. */
  readonly size: number;
  readonly body: ReadableStream<Uint8Array>;
}

/** Bytes that are not held in memory: the readable side of a FixedLengthStream of that length. */
export interface SizedStream {
  readonly stream: ReadableStream<Uint8Array>;
  readonly length: number;
}

export interface Putting {
  /** The longest object that one `put` stores, in bytes. */
  readonly maxBytes: number;
  /** Whether the store computes the MD5 of what a `put` stores, so that nobody else need to. */
  readonly tellsMd5: boolean;
}

/** What a store says of an object that one `put` has stored. */
export interface PutReceipt {
  /** In lower-case hex; undefined where the store does not tell it. */
  readonly md5?: string;
}

/** What the store wants back, per part, when the upload is completed. */
export interface PartReceipt {
  readonly partNumber: number;
  readonly etag: string;
}

import { timed } from "../lib/timings.ts";
import type { BlobStore, ByteRange, PartReceipt, SizedStream } from "./store.ts";

/** A store whose operations are noted for the request that waits for them; of a read, that is until its body begins. */
export class TimedStore implements BlobStore {
  readonly #store: BlobStore;

  constructor(store: BlobStore) {
    this.#store = store;
  }

  get putting() {
    return this.#store.putting;
  }

  read(key: string, range?: ByteRange) {
    return timed("r2", () => this.#store.read(key, range));
  }

  put(key: string, bytes: Uint8Array | SizedStream) {
    return timed("r2", () => this.#store.put(key, bytes));
  }

  beginMultipart(key: string) {
    return timed("r2", () => this.#store.beginMultipart(key));
  }

  putPart(key: string, uploadId: string, partNumber: number, bytes: Uint8Array | SizedStream) {
    return timed("r2", () => this.#store.putPart(key, uploadId, partNumber, bytes));
  }

  completeMultipart(key: string, uploadId: string, parts: readonly PartReceipt[]) {
    return timed("r2", () => this.#store.completeMultipart(key, uploadId, parts));
  }

  abortMultipart(key: string, uploadId: string) {
    return timed("r2", () => this.#store.abortMultipart(key, uploadId));
  }

  remove(key: string) {
    return timed("r2", () => this.#store.remove(key));
  }
}

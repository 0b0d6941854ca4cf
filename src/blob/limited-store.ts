import type { BlobStore, ByteRange, PartReceipt, SizedStream } from "./store.ts";
import { callLimitMs, within } from "./time-limit.ts";

/** Joining parts takes a store longer the more there are. */
const BYTES_A_PART = 64 * 1024;

/**
 * A store whose calls have a limit of time that grows with their bytes. Of a read that is until its body begins; what is
 * streamed takes as long as its source, so whoever streams sees to it that the store keeps up.
 */
export class LimitedStore implements BlobStore {
  readonly #store: BlobStore;
  readonly #limitMs: (bytes?: number) => number;

  constructor(store: BlobStore, limitMs = callLimitMs) {
    this.#store = store;
    this.#limitMs = limitMs;
  }

  get putting() {
    return this.#store.putting;
  }

  async read(key: string, range?: ByteRange) {
    const call = this.#store.read(key, range);
    try {
      return await within(this.#limitMs(), call);
    } catch (error) {
      // A body that comes too late is nobody's to read, and holds a connection.
      call.then((blob) => blob?.body.cancel()).catch(() => {});
      throw error;
    }
  }

  put(key: string, bytes: Uint8Array | SizedStream) {
    const call = this.#store.put(key, bytes);
    return bytes instanceof Uint8Array ? within(this.#limitMs(bytes.length), call) : call;
  }

  beginMultipart(key: string) {
    return within(this.#limitMs(), this.#store.beginMultipart(key));
  }

  putPart(key: string, uploadId: string, partNumber: number, bytes: Uint8Array | SizedStream) {
    const call = this.#store.putPart(key, uploadId, partNumber, bytes);
    return bytes instanceof Uint8Array ? within(this.#limitMs(bytes.length), call) : call;
  }

  completeMultipart(key: string, uploadId: string, parts: readonly PartReceipt[]) {
    const limitMs = this.#limitMs(parts.length * BYTES_A_PART);
    return within(limitMs, this.#store.completeMultipart(key, uploadId, parts));
  }

  abortMultipart(key: string, uploadId: string) {
    return within(this.#limitMs(), this.#store.abortMultipart(key, uploadId));
  }

  remove(key: string) {
    return within(this.#limitMs(), this.#store.remove(key));
  }
}

import { Fault } from "../domain/fault.ts";
import type { BlobStore, ByteRange, PartReceipt, PutReceipt, StoredBlob } from "./store.ts";

/** Reads data at an address on other people's servers, as `BlobStore.read` does by a key. */
export type ReadRemote = (url: string, range?: ByteRange) => Promise<StoredBlob | undefined>;

/**
 * Other people's servers as a store: a key is an address, and nothing is ever written there or removed (contract 11
 * §1, http type). Reads throw the Faults `store_unavailable` and `range_unsupported`.
 */
export class HttpBlobStore implements BlobStore {
  readonly putting = { maxBytes: 0, tellsMd5: false };

  constructor(
    private readonly storeId: string,
    private readonly readRemote: ReadRemote,
  ) {}

  read(key: string, range?: ByteRange): Promise<StoredBlob | undefined> {
    return this.readRemote(key, range);
  }

  /** The data is not ours: to forget it is all there is to do. */
  async remove(): Promise<void> {}

  async abortMultipart(): Promise<void> {}

  async put(): Promise<PutReceipt> {
    throw this.#readOnly();
  }

  async beginMultipart(): Promise<string> {
    throw this.#readOnly();
  }

  async putPart(): Promise<PartReceipt> {
    throw this.#readOnly();
  }

  async completeMultipart(): Promise<void> {
    throw this.#readOnly();
  }

  #readOnly(): Fault {
    return new Fault("store_read_only", { storeId: this.storeId });
  }
}

import { Fault } from "../domain/fault.ts";
import type { BufferPool } from "./buffer-pool.ts";
import type { BlobStore, PartReceipt, SizedStream } from "./store.ts";

/** A finished set of parts, to be completed by whoever opened the upload. */
export interface MultipartReceipt {
  readonly uploadId: string;
  readonly parts: readonly PartReceipt[];
}

/**
 * Sends parts, several at a time, from a few buffers that are used again and again. Its own
 * failures do not surface as rejections: they abort `stop`, whose signal holds the first reason.
 */
export class PartSender {
  private readonly inFlight = new Set<Promise<void>>();
  private readonly receipts: PartReceipt[] = [];
  private sent = 0;
  private uploadId: Promise<string> | undefined;

  constructor(
    private readonly options: {
      readonly store: BlobStore;
      readonly key: string;
      readonly openMultipart: () => Promise<string>;
      readonly buffers: BufferPool;
      /** Called while there is no memory, between one request for it and the next. */
      readonly waitForMemory: () => Promise<void>;
      readonly stop: AbortController;
    },
  ) {}

  /** A buffer to fill, as soon as there is one. */
  takeBuffer(): Promise<ArrayBufferLike> {
    return this.obtain(() => this.options.buffers.take());
  }

  /** A larger buffer with the same bytes, for the only one there is, as soon as there is room. */
  growBuffer(buffer: ArrayBufferLike): Promise<ArrayBufferLike> {
    return this.obtain(() => this.options.buffers.grow(buffer));
  }

  /** Starts to send a part out of a buffer, which is free again once the part is stored. */
  send(part: Uint8Array): void {
    this.start(part, () => this.options.buffers.giveBack(part.buffer));
  }

  /** Starts to send a part as it comes. */
  sendStream(part: SizedStream): void {
    this.start(part, () => {});
  }

  /** Waits for the parts under way; fails with the first reason. */
  async settle(): Promise<void> {
    await Promise.all(this.inFlight);
    this.options.stop.signal.throwIfAborted();
  }

  /** Waits for all parts. */
  async finish(): Promise<MultipartReceipt> {
    await this.settle();
    return { uploadId: await this.open(), parts: this.receipts };
  }

  private async obtain(ask: () => ArrayBufferLike | undefined): Promise<ArrayBufferLike> {
    const { stop, waitForMemory } = this.options;
    while (true) {
      stop.signal.throwIfAborted();
      const buffer = ask();
      if (buffer !== undefined) return buffer;
      await (this.inFlight.size > 0 ? Promise.race(this.inFlight) : waitForMemory());
    }
  }

  private start(part: Uint8Array | SizedStream, onStored: () => void): void {
    const sending = this.upload(part, this.sent++)
      .then(onStored, (reason: unknown) => this.options.stop.abort(reason))
      .finally(() => this.inFlight.delete(sending));
    this.inFlight.add(sending);
  }

  private async upload(part: Uint8Array | SizedStream, index: number): Promise<void> {
    const { store, key } = this.options;
    const uploadId = await this.open();
    this.receipts[index] = await storing(store.putPart(key, uploadId, index + 1, part));
  }

  // The body goes on being read while the upload is opened.
  private open(): Promise<string> {
    this.uploadId ??= this.options.openMultipart();
    return this.uploadId;
  }
}

/** Awaits a call of a store; whatever it fails with reaches the caller as a Fault. */
export async function storing<T>(call: Promise<T>): Promise<T> {
  try {
    return await call;
  } catch (cause) {
    throw cause instanceof Fault ? cause : new Fault("store_unavailable", {}, cause);
  }
}

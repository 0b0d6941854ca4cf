import { Fault } from "../domain/fault.ts";
import type {
  BlobStore,
  ByteRange,
  PartReceipt,
  PutReceipt,
  SizedStream,
  StoredBlob,
} from "./store.ts";

const MIN_PART_BYTES = 5 * 1024 * 1024;

interface Upload {
  readonly key: string;
  readonly parts: Map<number, { readonly etag: string; readonly bytes: Uint8Array }>;
}

/** A BlobStore in memory, for tests, with R2's rules about parts. */
export class MemoryBlobStore implements BlobStore {
  /** What is visible, by key. */
  readonly objects = new Map<string, Uint8Array>();
  /** Uploads that were begun and neither completed nor aborted, by id. */
  readonly uploads = new Map<string, Upload>();
  readonly putting = { maxBytes: Number.MAX_SAFE_INTEGER, tellsMd5: false };
  private readonly minPartBytes: number;
  private etags = 0;

  constructor(options: { readonly minPartBytes?: number } = {}) {
    this.minPartBytes = options.minPartBytes ?? MIN_PART_BYTES;
  }

  async read(key: string, range?: ByteRange): Promise<StoredBlob | undefined> {
    const whole = this.objects.get(key);
    if (whole === undefined) return undefined;
    const { offset, length } = range ?? { offset: 0, length: whole.length };
    if (range !== undefined && (length < 1 || offset >= whole.length)) refuse("range");
    const { body } = new Response(whole.slice(offset, offset + length));
    return body === null ? refuse("body") : { size: whole.length, body };
  }

  async put(key: string, bytes: Uint8Array | SizedStream): Promise<PutReceipt> {
    this.objects.set(key, bytes instanceof Uint8Array ? bytes.slice() : await drain(bytes));
    return {};
  }

  async beginMultipart(key: string): Promise<string> {
    const uploadId = crypto.randomUUID();
    this.uploads.set(uploadId, { key, parts: new Map() });
    return uploadId;
  }

  async putPart(
    key: string,
    uploadId: string,
    partNumber: number,
    bytes: Uint8Array | SizedStream,
  ): Promise<PartReceipt> {
    const taken = bytes instanceof Uint8Array ? bytes.slice() : await drain(bytes);
    const etag = `etag-${++this.etags}`;
    this.find(key, uploadId).parts.set(partNumber, { etag, bytes: taken });
    return { partNumber, etag };
  }

  async completeMultipart(
    key: string,
    uploadId: string,
    receipts: readonly PartReceipt[],
  ): Promise<void> {
    if (!this.uploads.has(uploadId) && this.objects.has(key)) return;
    const { parts } = this.find(key, uploadId);
    const chosen = receipts.map(({ partNumber, etag }) => {
      const part = parts.get(partNumber);
      return part?.etag === etag ? part.bytes : refuse("part");
    });
    for (const part of chosen.slice(0, -1)) {
      if (part.length !== chosen[0]?.length || part.length < this.minPartBytes) refuse("length");
    }
    this.objects.set(key, new Uint8Array(await new Blob(chosen).arrayBuffer()));
    this.uploads.delete(uploadId);
  }

  async abortMultipart(key: string, uploadId: string): Promise<void> {
    if (this.uploads.get(uploadId)?.key === key) this.uploads.delete(uploadId);
  }

  async remove(key: string): Promise<void> {
    this.objects.delete(key);
  }

  private find(key: string, uploadId: string): Upload {
    const upload = this.uploads.get(uploadId);
    if (upload?.key !== key) throw new Fault("parts_lost");
    return upload;
  }
}

async function drain({ stream, length }: SizedStream): Promise<Uint8Array> {
  const bytes = await new Response(stream).bytes().catch((error: unknown) => refuse(error));
  return bytes.length === length ? bytes : refuse("length");
}

function refuse(cause: unknown): never {
  throw new Fault("store_unavailable", {}, cause);
}

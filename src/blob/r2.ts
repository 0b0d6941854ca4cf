import { toHex } from "../lib/hex.ts";
import { isTransient, isUploadGone } from "./r2-errors.ts";
import { type Delay, StoreCalls } from "./retry.ts";
import type {
  BlobStore,
  ByteRange,
  PartReceipt,
  PutReceipt,
  SizedStream,
  StoredBlob,
} from "./store.ts";

/** A BlobStore on one R2 bucket. */
export class R2BlobStore implements BlobStore {
  /** A single put takes just under 5 GiB (R2's limits); its MD5 is kept with the object. */
  readonly putting = { maxBytes: 4.9 * 1024 ** 3, tellsMd5: true };
  private readonly calls: StoreCalls;

  constructor(
    private readonly bucket: R2Bucket,
    delay?: Delay,
  ) {
    this.calls = new StoreCalls(isTransient, isUploadGone, delay);
  }

  async read(key: string, range?: ByteRange): Promise<StoredBlob | undefined> {
    const { offset, length } = range ?? {};
    const options =
      offset === undefined || length === undefined ? {} : { range: { offset, length } };
    const object = await this.calls.retried(() => this.bucket.get(key, options));
    return object === null ? undefined : { size: object.size, body: object.body };
  }

  async put(key: string, bytes: Uint8Array | SizedStream): Promise<PutReceipt> {
    const object =
      bytes instanceof Uint8Array
        ? await this.calls.retried(() => this.bucket.put(key, bytes))
        : await this.calls.once(() => this.bucket.put(key, bytes.stream));
    const md5 = object?.checksums.md5;
    return md5 === undefined ? {} : { md5: toHex(md5) };
  }

  async beginMultipart(key: string): Promise<string> {
    const upload = await this.calls.retried(() => this.bucket.createMultipartUpload(key));
    return upload.uploadId;
  }

  async putPart(
    key: string,
    uploadId: string,
    partNumber: number,
    bytes: Uint8Array | SizedStream,
  ): Promise<PartReceipt> {
    const upload = this.bucket.resumeMultipartUpload(key, uploadId);
    // A stream is spent by the first try.
    const { etag } =
      bytes instanceof Uint8Array
        ? await this.calls.retried(() => upload.uploadPart(partNumber, bytes))
        : await this.calls.once(() => upload.uploadPart(partNumber, bytes.stream));
    return { partNumber, etag };
  }

  async completeMultipart(
    key: string,
    uploadId: string,
    parts: readonly PartReceipt[],
  ): Promise<void> {
    const upload = this.bucket.resumeMultipartUpload(key, uploadId);
    await this.calls.retried(async () => {
      try {
        await upload.complete([...parts]);
      } catch (error) {
        // The answer to an earlier try may have been lost. A key has one upload only, so an object
        // there is the one that was to be made.
        if (!isUploadGone(error) || (await this.bucket.head(key)) === null) throw error;
      }
    });
  }

  async abortMultipart(key: string, uploadId: string): Promise<void> {
    const upload = this.bucket.resumeMultipartUpload(key, uploadId);
    await this.calls.retried(async () => {
      try {
        await upload.abort();
      } catch (error) {
        if (!isUploadGone(error)) throw error;
      }
    });
  }

  async remove(key: string): Promise<void> {
    await this.calls.retried(() => this.bucket.delete(key));
  }
}

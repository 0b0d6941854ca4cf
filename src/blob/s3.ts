import { type Delay, StoreCalls } from "./retry.ts";
import { S3Bucket, type S3Settings } from "./s3-bucket.ts";
import { isObjectGone, isTransient, isUploadGone, readS3Error, S3Error } from "./s3-errors.ts";
import { parseS3Document, renderCompletion } from "./s3-xml.ts";
import type {
  BlobStore,
  ByteRange,
  PartReceipt,
  PutReceipt,
  SizedStream,
  StoredBlob,
} from "./store.ts";

/** A BlobStore on one bucket of any service that speaks S3 (contract 11 §1). */
export class S3BlobStore implements BlobStore {
  /**
   * The platform bounds the body of a request to another service as it bounds those that come in. An ETag is not
   * always the MD5 (encryption at rest), so nothing is read into it.
   */
  readonly putting = { maxBytes: 95 * 1024 ** 2, tellsMd5: false };
  private readonly bucket: S3Bucket;
  private readonly calls: StoreCalls;

  constructor(
    settings: S3Settings,
    options: { readonly fetch?: typeof fetch; readonly delay?: Delay } = {},
  ) {
    this.bucket = new S3Bucket(settings, options.fetch);
    this.calls = new StoreCalls(isTransient, isUploadGone, options.delay);
  }

  read(key: string, range?: ByteRange): Promise<StoredBlob | undefined> {
    const headers = range === undefined ? {} : { range: rangeHeader(range) };
    return this.calls.retried(async () => {
      try {
        return await openBlob(await this.bucket.open({ method: "GET", key, headers }), range);
      } catch (error) {
        if (isObjectGone(error)) return undefined;
        throw error;
      }
    });
  }

  async put(key: string, bytes: Uint8Array | SizedStream): Promise<PutReceipt> {
    const send = () => this.bucket.call({ method: "PUT", key, body: bytes });
    // A stream is spent by the first try.
    await (bytes instanceof Uint8Array ? this.calls.retried(send) : this.calls.once(send));
    return {};
  }

  beginMultipart(key: string): Promise<string> {
    return this.calls.retried(async () => {
      const { text } = await this.bucket.call({ method: "POST", key, query: { uploads: "" } });
      const uploadId = readAnswer("InitiateMultipartUploadResult", text).get("UploadId");
      return uploadId || unexpected("an upload without an id");
    });
  }

  async putPart(
    key: string,
    uploadId: string,
    partNumber: number,
    bytes: Uint8Array | SizedStream,
  ): Promise<PartReceipt> {
    const query = { partNumber: String(partNumber), uploadId };
    const send = async () => {
      const { headers } = await this.bucket.call({ method: "PUT", key, query, body: bytes });
      return { partNumber, etag: headers.get("etag") ?? unexpected("a part without an ETag") };
    };
    // A stream is spent by the first try.
    return bytes instanceof Uint8Array ? this.calls.retried(send) : this.calls.once(send);
  }

  async completeMultipart(
    key: string,
    uploadId: string,
    parts: readonly PartReceipt[],
  ): Promise<void> {
    const body = new TextEncoder().encode(renderCompletion(parts));
    await this.calls.retried(async () => {
      try {
        const { text } = await this.bucket.call({ method: "POST", key, query: { uploadId }, body });
        // The status may have been sent before the parts were joined, so it says nothing.
        readAnswer("CompleteMultipartUploadResult", text);
      } catch (error) {
        // The answer to an earlier try may have been lost. A key has one upload only, so an object
        // there is the one that was to be made.
        if (!isUploadGone(error) || !(await this.has(key))) throw error;
      }
    });
  }

  async abortMultipart(key: string, uploadId: string): Promise<void> {
    await this.calls.retried(async () => {
      try {
        await this.bucket.call({ method: "DELETE", key, query: { uploadId } });
      } catch (error) {
        // OpenStack's own S3 service says of a completed upload that the key is unknown.
        if (!isUploadGone(error) && !isObjectGone(error)) throw error;
      }
    });
  }

  async remove(key: string): Promise<void> {
    await this.calls.retried(async () => {
      try {
        await this.bucket.call({ method: "DELETE", key });
      } catch (error) {
        // S3 itself takes this for success; not every service does.
        if (!isObjectGone(error)) throw error;
      }
    });
  }

  private async has(key: string): Promise<boolean> {
    try {
      await this.bucket.call({ method: "HEAD", key });
      return true;
    } catch (error) {
      // An answer to HEAD has no body that could name the error.
      if (error instanceof S3Error && error.status === 404) return false;
      throw error;
    }
  }
}

/** RFC 9110 §14.2; the last byte is included. */
function rangeHeader({ offset, length }: ByteRange): string {
  return `bytes=${offset}-${offset + length - 1}`;
}

/** Holds an answer's headers against the request, so that wrong bytes never pass for right ones. */
async function openBlob(response: Response, range: ByteRange | undefined): Promise<StoredBlob> {
  const { body } = response;
  const size = range === undefined ? sizeOfWhole(response) : sizeBesideRange(response, range);
  if (body !== null && size !== undefined) return { size, body };
  await body?.cancel();
  return unexpected(`${response.status} without the bytes that were asked for`);
}

function sizeOfWhole({ status, headers }: Response): number | undefined {
  const size = wholeNumber(headers.get("content-length"));
  return status === 200 ? size : undefined;
}

function sizeBesideRange({ status, headers }: Response, range: ByteRange): number | undefined {
  const { offset, length } = range;
  const [, first, last, total] =
    /^bytes (\d+)-(\d+)\/(\d+)$/.exec(headers.get("content-range") ?? "") ?? [];
  const size = wholeNumber(total);
  if (status !== 206 || size === undefined || wholeNumber(first) !== offset) return undefined;
  const end = Math.min(offset + length, size);
  const isAsked = wholeNumber(last) === end - 1;
  return isAsked && wholeNumber(headers.get("content-length")) === end - offset ? size : undefined;
}

function wholeNumber(text: string | null | undefined): number | undefined {
  const value = /^\d+$/.test(text ?? "") ? Number(text) : Number.NaN;
  return Number.isSafeInteger(value) ? value : undefined;
}

/** The fields of a successful answer, which has this root. */
function readAnswer(root: string, text: string): ReadonlyMap<string, string> {
  const answer = parseS3Document(text);
  if (answer?.root !== root) throw readS3Error(200, text);
  return answer.fields;
}

function unexpected(what: string): never {
  throw new Error(`S3 answered ${what}`);
}

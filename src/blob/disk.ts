import { isUuid } from "../lib/uuid.ts";
import { DiskFiles } from "./disk-files.ts";
import { StoreCalls } from "./retry.ts";
import type {
  BlobStore,
  ByteRange,
  PartReceipt,
  PutReceipt,
  SizedStream,
  StoredBlob,
} from "./store.ts";

/**
 * A BlobStore on a directory of this machine, for workerd without Cloudflare around it: `npm start` uses it, since the
 * simulator of R2 is slow (docs/decisions/0001-disk-store.md). Everything of a key lies in one directory:
 *
 *     blobs.{image_id}.{attempt_id}/
 *     ├── object                             what one put stored
 *     ├── parts.json                         or: the parts that make up the object; there once it is complete
 *     └── {upload_id}/
 *         ├── open                           there as long as the upload takes parts
 *         └── {number}.{length}.{random}     a part; one that is sent again is a file of its own
 *
 * A file is written beside its place and renamed, so that a process that is killed leaves no half of one to be read;
 * what else it leaves is in the directory, and goes with it. Whether an upload is completed or aborted is decided by
 * who of the two deletes `open`.
 */
export class DiskBlobStore implements BlobStore {
  readonly putting = { maxBytes: Number.MAX_SAFE_INTEGER, tellsMd5: false };
  private readonly files: DiskFiles;
  // What fails once on a disk fails again.
  private readonly calls = new StoreCalls(
    () => false,
    (error) => error instanceof UploadGone,
  );

  constructor(service: Fetcher) {
    this.files = new DiskFiles(service);
  }

  read(key: string, range?: ByteRange): Promise<StoredBlob | undefined> {
    return this.calls.once(async () => {
      const directory = directoryOf(key);
      const whole = await this.files.open(`${directory}/object`, range);
      if (whole !== undefined) return whole;
      const manifest = await this.#manifest(directory);
      return manifest && this.#readParts(directory, manifest, range);
    });
  }

  put(key: string, bytes: Uint8Array | SizedStream): Promise<PutReceipt> {
    return this.calls.once(async () => {
      await this.files.write(`${directoryOf(key)}/object`, bytes);
      return {};
    });
  }

  beginMultipart(key: string): Promise<string> {
    return this.calls.once(async () => {
      const uploadId = crypto.randomUUID();
      await this.files.write(`${uploadOf(key, uploadId)}/open`, new Uint8Array(0));
      return uploadId;
    });
  }

  putPart(
    key: string,
    uploadId: string,
    partNumber: number,
    bytes: Uint8Array | SizedStream,
  ): Promise<PartReceipt> {
    return this.calls.once(async () => {
      const upload = uploadOf(key, uploadId);
      await this.#assertOpen(upload);
      const etag = `${bytes.length}.${crypto.randomUUID().slice(0, 8)}`;
      const path = `${upload}/${partName({ partNumber, etag })}`;
      await this.files.write(path, bytes);
      try {
        // It may have been completed or aborted meanwhile, and then nobody knows of this part.
        await this.#assertOpen(upload);
      } catch (error) {
        await this.files.remove(path);
        throw error;
      }
      return { partNumber, etag };
    });
  }

  completeMultipart(key: string, uploadId: string, parts: readonly PartReceipt[]): Promise<void> {
    return this.calls.once(async () => {
      const directory = directoryOf(key);
      const upload = uploadOf(key, uploadId);
      if (!(await this.files.has(`${upload}/open`))) {
        const completed = await this.#manifest(directory);
        if (completed?.uploadId === uploadId) return;
        throw new UploadGone("the upload is not open");
      }
      const manifest = manifestOf(uploadId, parts);
      const stored = new Set(await this.files.list(upload));
      const missing = manifest.parts.find((name) => !stored.delete(name));
      if (missing !== undefined) throw new Error(`the part ${missing} is not there`);
      const json = new TextEncoder().encode(JSON.stringify(manifest));
      await this.files.write(`${directory}/parts.json`, json);
      if (!(await this.files.remove(`${upload}/open`))) {
        throw new UploadGone("the upload was aborted, or completed by another call");
      }
      // Parts that were sent again.
      stored.delete("open");
      for (const name of stored) await this.files.remove(`${upload}/${name}`);
    });
  }

  abortMultipart(key: string, uploadId: string): Promise<void> {
    return this.calls.once(async () => {
      const upload = uploadOf(key, uploadId);
      await this.files.remove(`${upload}/open`);
      const completed = await this.#manifest(directoryOf(key));
      if (completed?.uploadId !== uploadId) await this.files.remove(upload);
    });
  }

  remove(key: string): Promise<void> {
    return this.calls.once(async () => {
      const directory = directoryOf(key);
      // First of all, so that a removal which is broken off leaves no object with holes.
      await this.files.remove(`${directory}/parts.json`);
      await this.files.remove(directory);
    });
  }

  async #assertOpen(upload: string): Promise<void> {
    if (!(await this.files.has(`${upload}/open`))) throw new UploadGone("the upload is not open");
  }

  async #manifest(directory: string): Promise<Manifest | undefined> {
    const file = await this.files.open(`${directory}/parts.json`);
    return file && new Response(file.body).json<Manifest>();
  }

  async #readParts(
    directory: string,
    manifest: Manifest,
    { offset, length }: ByteRange = { offset: 0, length: manifest.size },
  ): Promise<StoredBlob> {
    const { uploadId, size } = manifest;
    const open = async ({ name, range }: Piece): Promise<ReadableStream<Uint8Array>> => {
      const file = await this.files.open(`${directory}/${uploadId}/${name}`, range);
      if (file === undefined) throw new Error(`the part ${name} is not there`);
      return file.body;
    };
    const [first, ...rest] = piecesOf(manifest, { offset, length });
    if (first === undefined) throw new Error("the object has no parts");
    const body = await open(first);
    if (rest.length === 0) return { size, body };
    // The runtime's own streams are joined by the runtime: no byte of them passes through JavaScript.
    const { readable, writable } = new FixedLengthStream(Math.min(length, size - offset));
    const pump = async () => {
      await body.pipeTo(writable, { preventClose: true });
      for (const piece of rest) {
        await (await open(piece)).pipeTo(writable, { preventClose: true });
      }
      await writable.close();
    };
    // A reader that goes away ends the pump, and one that waits learns why it ended.
    pump().catch((reason: unknown) => writable.abort(reason).catch(() => {}));
    return { size, body: readable };
  }
}

/** The upload was completed, or aborted. */
class UploadGone extends Error {}

/** `parts.json`: an object that is made of parts, all but the last of them of the same length. */
interface Manifest {
  readonly uploadId: string;
  readonly size: number;
  readonly partBytes: number;
  /** Names of files, in the object's order. */
  readonly parts: readonly string[];
}

/** What is read of one part; all of it without a range. */
interface Piece {
  readonly name: string;
  readonly range: ByteRange | undefined;
}

/** R2's rule, so that what works here works there. */
const MIN_PART_BYTES = 5 * 1024 * 1024;

/** Throws an Error when parts are short or of unlike length. */
function manifestOf(uploadId: string, receipts: readonly PartReceipt[]): Manifest {
  const lengths = receipts.map(({ etag }) => Number.parseInt(etag, 10));
  const [partBytes = 0] = lengths;
  for (const length of lengths.slice(0, -1)) {
    if (length !== partBytes || length < MIN_PART_BYTES) {
      throw new Error("all parts but the last are to have the same length, 5 MiB or more");
    }
  }
  const size = lengths.reduce((sum, length) => sum + length, 0);
  return { uploadId, size, partBytes, parts: receipts.map(partName) };
}

function partName({ partNumber, etag }: PartReceipt): string {
  if (!Number.isSafeInteger(partNumber) || !/^\d+\.[0-9a-f]{8}$/.test(etag)) {
    throw new Error("that is no receipt of a part");
  }
  return `${partNumber}.${etag}`;
}

/** Which ranges of which parts make up a range of the whole. Throws an Error when it lies outside. */
function piecesOf({ size, partBytes, parts }: Manifest, { offset, length }: ByteRange): Piece[] {
  if (offset > 0 && offset >= size) throw new Error(`the object has no byte ${offset}`);
  const end = Math.min(offset + length, size);
  return parts.flatMap((name, index): Piece[] => {
    const start = index * partBytes;
    const partEnd = index === parts.length - 1 ? size : start + partBytes;
    const first = Math.max(offset, start);
    const last = Math.min(end, partEnd);
    if (first === start && last === partEnd) return [{ name, range: undefined }];
    return first < last ? [{ name, range: { offset: first - start, length: last - first } }] : [];
  });
}

/** Keys are made of UUIDs (keys.ts); whatever else comes here is no name of a directory. */
function directoryOf(key: string): string {
  if (!/^[0-9A-Za-z_-]+(?:\/[0-9A-Za-z_-]+)*$/.test(key)) throw new Error(`no key: ${key}`);
  return key.replaceAll("/", ".");
}

function uploadOf(key: string, uploadId: string): string {
  if (!isUuid(uploadId)) throw new Error(`no upload id: ${uploadId}`);
  return `${directoryOf(key)}/${uploadId}`;
}

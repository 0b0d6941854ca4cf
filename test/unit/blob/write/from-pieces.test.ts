import fc from "fast-check";
import { describe, expect, it } from "vitest";
import type { BlobStore, PartReceipt, SizedStream } from "../../../../src/blob/store.ts";
import {
  type Appended,
  type AppendOptions,
  append,
} from "../../../../src/blob/write/from-pieces.ts";
import { MemoryPool } from "../../../../src/blob/write/memory-pool.ts";
import { Fault } from "../../../../src/domain/fault.ts";
import { bodyOf } from "../../../support/upload-body.ts";
import { MemorySpool } from "../memory-spool.ts";

const KEY = "blobs/image/upload";

/** A store in memory, which fails at the calls that it is told to. */
class MemoryStore implements BlobStore {
  readonly parts = new Map<number, Uint8Array>();
  readonly objects = new Map<string, Uint8Array>();
  /** Bytes of parts that are being stored at this moment, and the most there ever were. */
  underWay = 0;
  most = 0;
  calls = 0;

  constructor(
    private readonly isBroken: (call: number) => boolean = () => false,
    private readonly hold: () => Promise<unknown> = async () => undefined,
  ) {}

  readonly putting = { maxBytes: Number.MAX_SAFE_INTEGER, tellsMd5: false };

  async put(key: string, body: Uint8Array | SizedStream) {
    await this.#call();
    this.objects.set(key, await bytesOf(body));
    return {};
  }

  async putPart(_key: string, _id: string, partNumber: number, body: Uint8Array | SizedStream) {
    const bytes = await bytesOf(body);
    this.underWay += bytes.length;
    this.most = Math.max(this.most, this.underWay);
    try {
      await this.#call();
      await this.hold();
      this.parts.set(partNumber, bytes);
      return { partNumber, etag: `etag-${partNumber}` };
    } finally {
      this.underWay -= bytes.length;
    }
  }

  async #call(): Promise<void> {
    this.calls += 1;
    const call = this.calls;
    await scheduler.wait(0);
    if (this.isBroken(call)) throw new Error("out of order");
  }

  beginMultipart = async () => "multipart";
  read = async () => undefined;
  completeMultipart = async () => undefined;
  abortMultipart = async () => undefined;
  remove = async () => undefined;
}

async function bytesOf(body: Uint8Array | SizedStream): Promise<Uint8Array> {
  if (body instanceof Uint8Array) return body.slice();
  const bytes = await new Response(body.stream).bytes();
  expect(bytes.length).toBe(body.length);
  return bytes;
}

/** An upload that keeps of each piece what is said to be kept, as the image's object does. */
class Upload {
  parts = 0;
  tailBytes = 0;
  isPut = false;
  readonly spool = new MemorySpool();
  readonly receipts: PartReceipt[] = [];

  constructor(
    readonly store: MemoryStore,
    readonly options: { partBytes: number; totalBytes: number | undefined; mayPut?: boolean },
  ) {}

  get offset(): number {
    return this.parts * this.options.partBytes + this.tailBytes;
  }

  async take(
    body: ReadableStream<Uint8Array>,
    more: Partial<AppendOptions> = {},
  ): Promise<Appended> {
    const { partBytes, totalBytes, mayPut = true } = this.options;
    const came = await append(body, {
      store: this.store,
      key: KEY,
      openMultipart: async () => "multipart",
      partBytes,
      firstPart: 1,
      mayPut,
      from: { parts: this.parts, tailBytes: this.tailBytes },
      spool: this.spool,
      maxBytes: totalBytes ?? 1_000_000,
      totalBytes,
      onBytes: async () => undefined,
      onStored: async (receipt, parts) => {
        // One after the other, whichever was stored first.
        expect(parts).toBe(this.receipts.length + 1);
        expect(receipt.partNumber).toBe(parts);
        this.receipts.push(receipt);
      },
      signal: new AbortController().signal,
      pool: new MemoryPool(),
      ...more,
    });
    // It never says more than what was put down, or less.
    expect(came.parts).toBe(this.receipts.length);
    expect(came.isPut ? 0 : came.tailBytes).toBe(came.tailBytes);
    this.tailBytes = came.tailBytes;
    this.parts = came.parts;
    this.isPut = came.isPut;
    return came;
  }

  /** The bytes as whoever reads the upload would have them. */
  get bytes(): number[] {
    const stored = this.receipts.flatMap(({ partNumber }) => [
      ...(this.store.parts.get(partNumber) ?? []),
    ]);
    if (this.isPut) return [...(this.store.objects.get(KEY) ?? [])];
    return [...stored, ...this.spool.kept(this.parts + 1).subarray(0, this.tailBytes)];
  }
}

const streamOf = (...chunks: readonly Uint8Array[]) =>
  bodyOf(async function* () {
    for (const chunk of chunks) if (chunk.length > 0) yield chunk.slice();
  });

const data = (length: number) => Uint8Array.from({ length }, (_, at) => (at * 7 + 1) % 251);

/** Cuts data at these places. */
function cut(bytes: Uint8Array, at: readonly number[]): Uint8Array[] {
  const places = at.map((one) => one % (bytes.length + 1)).toSorted((a, b) => a - b);
  return [...places, bytes.length].map((end, index) => bytes.subarray(places[index - 1] ?? 0, end));
}

const sizes = fc.nat({ max: 300 });
const places = fc.array(fc.nat(), { maxLength: 8 });
const partSizes = fc.integer({ min: 3, max: 64 });

describe("data that comes in pieces", () => {
  it("is the same however it is cut, with a length that is known or not", async () => {
    await fc.assert(
      fc.asyncProperty(
        ...[sizes, places, partSizes, fc.boolean(), fc.boolean()],
        async (
          size: number,
          at: number[],
          partBytes: number,
          isKnown: boolean,
          mayPut: boolean,
        ) => {
          const bytes = data(size);
          const totalBytes = isKnown ? size : undefined;
          const upload = new Upload(new MemoryStore(), { partBytes, totalBytes, mayPut });
          for (const piece of cut(bytes, at)) {
            // One that has all its bytes gets no more of them.
            if (isKnown && upload.bytes.length === size && size > 0) break;
            const came = await upload.take(streamOf(...cut(piece, at)));
            expect(came.failure).toBeUndefined();
          }
          expect(upload.bytes).toEqual([...bytes]);
          for (const { partNumber } of upload.receipts.slice(0, -1)) {
            expect(upload.store.parts.get(partNumber)?.length).toBe(partBytes);
          }
        },
      ),
    );
  });

  it("comes by one put if it fits into one part, all of it is there, and that is allowed", async () => {
    for (const [size, mayPut, isPut] of [
      [16, true, true],
      [15, true, true],
      [0, true, true],
      [15, false, false],
      [17, true, false],
    ] as const) {
      const upload = new Upload(new MemoryStore(), { partBytes: 16, totalBytes: size, mayPut });
      expect((await upload.take(streamOf(data(size)))).isPut).toBe(isPut);
      expect(upload.bytes).toEqual([...data(size)]);
    }
  });

  it("is kept as far as it came, wherever its body breaks off or it is stopped", async () => {
    await fc.assert(
      fc.asyncProperty(
        ...[sizes, places, partSizes, fc.nat(), fc.boolean()],
        async (size: number, at: number[], partBytes: number, when: number, isStop: boolean) => {
          const bytes = data(size);
          const upload = new Upload(new MemoryStore(), { partBytes, totalBytes: size });
          const end = when % (size + 1);
          const stop = new AbortController();
          const body = bodyOf(async function* () {
            for (const piece of cut(bytes.subarray(0, end), at)) {
              if (piece.length > 0) yield piece.slice();
            }
            if (!isStop) throw new Error("cut");
            stop.abort(new Fault("upload_locked"));
            await scheduler.wait(5);
          });
          const came = await upload.take(body, { signal: stop.signal });
          expect(came.failure).toMatchObject({
            code: isStop ? "upload_locked" : "body_broken_off",
          });
          if (upload.bytes.length === size) return;
          expect(upload.bytes).toEqual([...bytes.subarray(0, end)]);
          expect((await upload.take(streamOf(bytes.subarray(upload.offset)))).failure).toBe(
            undefined,
          );
          expect(upload.bytes).toEqual([...bytes]);
        },
      ),
      { numRuns: 60 },
    );
  });

  it("goes on after a failure of the store at any call, and no byte is counted that is not there", async () => {
    await fc.assert(
      fc.asyncProperty(
        ...[sizes, places, partSizes, fc.array(fc.integer({ min: 1, max: 20 }), { maxLength: 4 })],
        async (size: number, at: number[], partBytes: number, broken: number[]) => {
          const bytes = data(size);
          const store = new MemoryStore((call) => broken.includes(call));
          const upload = new Upload(store, { partBytes, totalBytes: size });
          for (let tries = 0; upload.bytes.length < size; tries++) {
            expect(tries).toBeLessThan(40);
            const [piece = bytes] = cut(bytes.subarray(upload.offset), tries < 20 ? at : []);
            const came = await upload.take(streamOf(piece));
            if (came.failure !== undefined) {
              expect(came.failure).toBeInstanceOf(Error);
            }
            expect(upload.bytes).toEqual([...bytes.subarray(0, upload.bytes.length)]);
          }
          expect(upload.bytes).toEqual([...bytes]);
        },
      ),
      { numRuns: 30 },
    );
  }, 30_000);

  it("is stopped at any moment, while parts are under way", async () => {
    const bytes = data(200);
    for (let ms = 0; ms < 20; ms++) {
      const store = new MemoryStore(undefined, () => scheduler.wait(3));
      const upload = new Upload(store, { partBytes: 16, totalBytes: bytes.length });
      const slow = bodyOf(async function* () {
        for (let at = 0; at < bytes.length; at += 10) {
          yield bytes.slice(at, at + 10);
          await scheduler.wait(1);
        }
      });
      const stop = new AbortController();
      const taking = upload.take(slow, { signal: stop.signal });
      await scheduler.wait(ms);
      stop.abort(new Fault("upload_locked"));
      await taking;
      if (upload.offset >= bytes.length) continue;
      expect(upload.bytes).toEqual([...bytes.subarray(0, upload.offset)]);
      await upload.take(streamOf(bytes.subarray(upload.offset)));
      expect(upload.bytes).toEqual([...bytes]);
    }
  });

  it("that is stopped before it begins takes nothing", async () => {
    const upload = new Upload(new MemoryStore(), { partBytes: 16, totalBytes: 40 });
    const signal = AbortSignal.abort(new Fault("upload_locked"));
    const came = await upload.take(streamOf(data(40)), { signal });
    expect(came).toMatchObject({ parts: 0, tailBytes: 0, isPut: false });
    expect(came.failure).toMatchObject({ code: "upload_locked" });
  });

  it("keeps the old tail if the spool fails", async () => {
    const upload = new Upload(new MemoryStore(), { partBytes: 16, totalBytes: 40 });
    await upload.take(streamOf(data(5)));
    const open = () => Promise.reject(new Fault("store_unavailable"));
    const spool = Object.assign(Object.create(upload.spool), { open });
    const came = await upload.take(streamOf(data(40).subarray(5)), { spool });
    expect(came).toMatchObject({ parts: 0, tailBytes: 5 });
    expect(came.failure).toMatchObject({ code: "store_unavailable" });
    await upload.take(streamOf(data(40).subarray(5)));
    expect(upload.bytes).toEqual([...data(40)]);
  });

  it("keeps what it has when the spool takes no more", async () => {
    const upload = new Upload(new MemoryStore(), { partBytes: 16, totalBytes: 40 });
    const append = () => Promise.reject(new Error("no room"));
    const spool = Object.assign(Object.create(upload.spool), { append });
    const came = await upload.take(streamOf(data(21)), { spool });
    expect(came).toMatchObject({ parts: 1, tailBytes: 0, failure: { message: "no room" } });
    await upload.take(streamOf(data(40).subarray(16)));
    expect(upload.bytes).toEqual([...data(40)]);
  });

  it.each([0, 5, 16, 20])(
    "has no bytes beyond the most it may, %i of them before",
    async (before) => {
      const upload = new Upload(new MemoryStore(), { partBytes: 16, totalBytes: 40 });
      if (before > 0) await upload.take(streamOf(data(40).subarray(0, before)));
      const came = await upload.take(streamOf(data(41).subarray(before)));
      expect(came.failure).toMatchObject({ code: "image_too_large" });
      expect(upload.bytes).toEqual([...data(40).subarray(0, upload.offset)]);
      await upload.take(streamOf(data(40).subarray(upload.offset)));
      expect(upload.bytes).toEqual([...data(40)]);
    },
  );

  it("ends with whatever refuses its bytes, and keeps none that were not seen", async () => {
    const upload = new Upload(new MemoryStore(), { partBytes: 16, totalBytes: 40 });
    let seen = 0;
    const onBytes = async (bytes: Uint8Array) => {
      seen += bytes.length;
      if (seen > 20) throw new Fault("content_refused", { reason: "test" });
    };
    const chunks = cut(data(40), [10, 20, 30]);
    const came = await upload.take(streamOf(...chunks), { onBytes });
    expect(came.failure).toMatchObject({ code: "content_refused" });
    expect(upload.offset).toBeLessThanOrEqual(20);
  });

  it("ends with a failure to put a part down", async () => {
    const upload = new Upload(new MemoryStore(), { partBytes: 16, totalBytes: 40 });
    const came = await upload.take(streamOf(data(40)), {
      onStored: () => Promise.reject(new Error("no ledger")),
    });
    expect(came).toMatchObject({ parts: 0, tailBytes: 0 });
    expect(came.failure).toMatchObject({ message: "no ledger" });
  });

  it("holds no more memory than its buffers, however slow the store is", async () => {
    const partBytes = 8 * 1024 ** 2;
    const store = new MemoryStore(undefined, () => scheduler.wait(20));
    const pool = new MemoryPool();
    const upload = new Upload(store, { partBytes, totalBytes: undefined });
    let most = 0;
    const body = bodyOf(async function* () {
      for (let n = 0; n < 12; n++) {
        yield new Uint8Array(partBytes / 2);
        most = Math.max(most, pool.heldBytes);
      }
    });
    const came = await upload.take(body, { pool, maxBytes: 2 ** 40 });
    expect(came).toMatchObject({ parts: 6, tailBytes: 0, failure: undefined });
    expect(most).toBeLessThanOrEqual(4 * partBytes);
    expect(store.most).toBeLessThanOrEqual(4 * partBytes);
    expect([pool.heldBytes, pool.heldViewBytes]).toEqual([0, 0]);
  });

  it("goes on when memory is short, and several share it", async () => {
    const pool = new MemoryPool(0, 0);
    const uploads = [1, 2, 3, 4].map(
      () => new Upload(new MemoryStore(), { partBytes: 16, totalBytes: 100 }),
    );
    const came = await Promise.all(
      uploads.map((upload) => upload.take(streamOf(...cut(data(100), [9, 33, 71])), { pool })),
    );
    for (const { failure } of came) expect(failure).toBeUndefined();
    for (const upload of uploads) expect(upload.bytes).toEqual([...data(100)]);
    expect(pool.heldBytes).toBe(0);
  });
});

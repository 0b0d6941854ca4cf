import { env } from "cloudflare:workers";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import type { BlobStore, SizedStream, StoredBlob } from "../../src/blob/store.ts";
import { toHex } from "../../src/lib/hex.ts";

const PART_BYTES = 5 * 1024 * 1024;
const encoder = new TextEncoder();

/** What every BlobStore does, whatever it keeps its bytes in; leaves nothing there. */
export function describeBlobStore(
  open: () => BlobStore,
  /** Whether parts of unlike length are refused: R2's rule, which other services do not have. */
  { wantsLikeParts = true } = {},
): void {
  let store: BlobStore;
  let key: string;
  let begun: string[];

  beforeEach(() => {
    store = open();
    key = `blobs/${crypto.randomUUID()}/${crypto.randomUUID()}`;
    begun = [];
  });

  afterEach(async () => {
    for (const uploadId of begun) await store.abortMultipart(key, uploadId);
    await store.remove(key);
    expect(await store.read(key)).toBeUndefined();
    for (const uploadId of begun) {
      const late = store.putPart(key, uploadId, 9, encoder.encode("late"));
      await expect(late).rejects.toMatchObject({ code: "parts_lost" });
    }
  });

  /** Streams the bytes, and breaks off when they are fewer than was said. */
  function sized(bytes: Uint8Array, length: number): SizedStream {
    const { readable, writable } = new FixedLengthStream(length);
    const writer = writable.getWriter();
    const write = async () => {
      await writer.write(bytes);
      await (bytes.length === length ? writer.close() : writer.abort(new Error("broken off")));
    };
    write().catch(() => undefined);
    return { stream: readable, length };
  }

  async function begin(): Promise<string> {
    const uploadId = await store.beginMultipart(key);
    begun.push(uploadId);
    return uploadId;
  }

  async function textOf(blob: StoredBlob | undefined): Promise<string | undefined> {
    return blob === undefined ? undefined : new Response(blob.body).text();
  }

  async function upload(parts: readonly Uint8Array[]): Promise<string> {
    const uploadId = await begin();
    const receipts = [];
    for (const [index, part] of parts.entries()) {
      receipts.push(await store.putPart(key, uploadId, index + 1, part));
    }
    await store.completeMultipart(key, uploadId, receipts);
    return uploadId;
  }

  describe("whole objects", () => {
    it("UPL-1: gives back what was put", async () => {
      await store.put(key, encoder.encode("0123456789"));
      const blob = await store.read(key);
      expect(blob?.size).toBe(10);
      expect(await textOf(blob)).toBe("0123456789");
    });

    it("UPL-1: keeps the part of a buffer that was put, and not the buffer", async () => {
      const buffer = encoder.encode("0123456789");
      await store.put(key, buffer.subarray(2, 5));
      buffer.fill(0);
      expect(await textOf(await store.read(key))).toBe("234");
    });

    it("UPL-1: keeps what one put streams in, and tells its MD5 where it says so", async () => {
      const bytes = crypto.getRandomValues(new Uint8Array(65_536));
      const receipt = await store.put(key, sized(bytes, bytes.length));
      const blob = await store.read(key);
      expect(blob?.size).toBe(bytes.length);
      expect(await new Response(blob?.body).bytes()).toEqual(bytes);
      const md5 = toHex(await crypto.subtle.digest("MD5", bytes));
      expect(receipt.md5).toBe(store.putting.tellsMd5 ? md5 : undefined);
    });

    it("UPL-13: keeps nothing of a stream that breaks off", async () => {
      const broken = store.put(key, sized(encoder.encode("01234"), 10));
      await expect(broken).rejects.toMatchObject({ code: "store_unavailable" });
      expect(await store.read(key)).toBeUndefined();
    });

    it("UPL-4: keeps an object of no bytes", async () => {
      await store.put(key, new Uint8Array(0));
      const blob = await store.read(key);
      expect(blob?.size).toBe(0);
      expect(await textOf(blob)).toBe("");
    });

    it("DWN-3: says that an object is not there", async () => {
      expect(await store.read(key)).toBeUndefined();
      expect(await store.read(key, { offset: 0, length: 1 })).toBeUndefined();
    });

    it("DWN-1: gives bodies of known length, so that answers carry Content-Length", async () => {
      await store.put(key, encoder.encode("0123456789"));
      const blob = await store.read(key, { offset: 2, length: 3 });
      // R2 takes no stream whose length it cannot tell.
      const copy = await env.BLOBS.put(`${key}-copy`, blob?.body ?? null);
      expect(copy?.size).toBe(3);
      await env.BLOBS.delete(`${key}-copy`);
    });
  });

  describe("ranges", () => {
    beforeEach(() => store.put(key, encoder.encode("0123456789")));

    it("RNG-1: gives the range and the size of the whole", async () => {
      const blob = await store.read(key, { offset: 2, length: 3 });
      expect(blob?.size).toBe(10);
      expect(await textOf(blob)).toBe("234");
    });

    it("RNG-1: gives all bytes as a range, too", async () => {
      for (const length of [10, 11]) {
        const blob = await store.read(key, { offset: 0, length });
        expect(blob?.size).toBe(10);
        expect(await textOf(blob)).toBe("0123456789");
      }
    });

    it("RNG-2: gives the last byte", async () => {
      expect(await textOf(await store.read(key, { offset: 9, length: 1 }))).toBe("9");
    });

    it("RNG-7: cuts a range at the object's end", async () => {
      expect(await textOf(await store.read(key, { offset: 8, length: 30 }))).toBe("89");
    });

    it("DWN-17: fails where a range lies outside of an object that is shorter than believed", async () => {
      await expect(store.read(key, { offset: 10, length: 1 })).rejects.toMatchObject({
        code: "store_unavailable",
      });
    });
  });

  describe("uploads in parts", () => {
    it("UPL-1: makes one object of the parts", async () => {
      const first = new Uint8Array(PART_BYTES).fill(1);
      await upload([first, encoder.encode("tail")]);
      const blob = await store.read(key, { offset: PART_BYTES - 1, length: 5 });
      expect(blob?.size).toBe(PART_BYTES + 4);
      expect(await textOf(blob)).toBe("\u0001tail");
    });

    it("UPL-1: takes the parts in any order", async () => {
      const uploadId = await begin();
      const second = await store.putPart(key, uploadId, 2, encoder.encode("tail"));
      const first = await store.putPart(key, uploadId, 1, new Uint8Array(PART_BYTES));
      await store.completeMultipart(key, uploadId, [first, second]);
      expect(await textOf(await store.read(key, { offset: PART_BYTES, length: 4 }))).toBe("tail");
    });

    it("UPL-1: takes a part that is sent a second time", async () => {
      const uploadId = await begin();
      await store.putPart(key, uploadId, 1, encoder.encode("first try"));
      const again = await store.putPart(key, uploadId, 1, encoder.encode("second try"));
      await store.completeMultipart(key, uploadId, [again]);
      expect(await textOf(await store.read(key))).toBe("second try");
    });

    it("UPL-1: takes a part as a stream", async () => {
      const uploadId = await begin();
      const pipe = new FixedLengthStream(4);
      const writer = pipe.writable.getWriter();
      const writing = writer.write(encoder.encode("tail")).then(() => writer.close());
      const receipt = await store.putPart(key, uploadId, 1, { stream: pipe.readable, length: 4 });
      await writing;
      await store.completeMultipart(key, uploadId, [receipt]);
      expect(await textOf(await store.read(key))).toBe("tail");
    });

    it("UPL-13: fails when a part's stream breaks off", async () => {
      const uploadId = await begin();
      const pipe = new FixedLengthStream(4);
      const writer = pipe.writable.getWriter();
      writer.closed.catch(() => {});
      const sending = store.putPart(key, uploadId, 1, { stream: pipe.readable, length: 4 });
      const writing = writer
        .write(encoder.encode("ta"))
        .then(() => writer.abort(new Error("gone")));
      await expect(sending).rejects.toMatchObject({ code: "store_unavailable" });
      await writing.catch(() => {});
    });

    it("UPL-9: shows nothing before the upload is completed", async () => {
      const uploadId = await begin();
      await store.putPart(key, uploadId, 1, encoder.encode("hidden"));
      expect(await store.read(key)).toBeUndefined();
    });

    it("UPL-1: takes completing twice as success, as the first answer may have been lost", async () => {
      const uploadId = await begin();
      const receipt = await store.putPart(key, uploadId, 1, encoder.encode("all"));
      await store.completeMultipart(key, uploadId, [receipt]);
      await store.completeMultipart(key, uploadId, [receipt]);
      expect(await textOf(await store.read(key))).toBe("all");
    });

    if (wantsLikeParts) {
      it("UPL-13: refuses parts of unlike length", async () => {
        const parts = [0, 1, 0].map((extra) => new Uint8Array(PART_BYTES + extra));
        await expect(upload(parts)).rejects.toMatchObject({ code: "store_unavailable" });
      });
    }

    it("UPL-13: refuses short parts but for the last", async () => {
      const parts = [encoder.encode("one"), encoder.encode("two")];
      await expect(upload(parts)).rejects.toMatchObject({ code: "store_unavailable" });
    });

    it("UPL-13: drops the parts of an aborted upload", async () => {
      const uploadId = await begin();
      const receipt = await store.putPart(key, uploadId, 1, encoder.encode("dropped"));
      await store.abortMultipart(key, uploadId);
      const late = store.putPart(key, uploadId, 2, encoder.encode("late"));
      await expect(late).rejects.toMatchObject({ code: "parts_lost" });
      const completing = store.completeMultipart(key, uploadId, [receipt]);
      await expect(completing).rejects.toMatchObject({ code: "parts_lost" });
      expect(await store.read(key)).toBeUndefined();
    });

    it("UPL-13: takes aborting what is aborted as success", async () => {
      const uploadId = await begin();
      await store.abortMultipart(key, uploadId);
      await store.abortMultipart(key, uploadId);
    });

    it("UPL-13: leaves the object alone when its completed upload is aborted", async () => {
      const uploadId = await upload([encoder.encode("kept")]);
      await store.abortMultipart(key, uploadId);
      expect(await textOf(await store.read(key))).toBe("kept");
    });
  });

  describe("removal", () => {
    it("UPL-10: removes an object", async () => {
      await store.put(key, encoder.encode("gone"));
      await store.remove(key);
      expect(await store.read(key)).toBeUndefined();
    });

    it("UPL-10: takes removing what is not there as success", async () => {
      await store.remove(key);
    });
  });
}

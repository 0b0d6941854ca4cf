import { env } from "cloudflare:workers";
import { beforeEach, describe, expect, it } from "vitest";
import { DiskBlobStore } from "../../../src/blob/disk.ts";
import type { PartReceipt } from "../../../src/blob/store.ts";
import { describeBlobStore } from "../../suites/blob-store.ts";

const PART_BYTES = 5 * 1024 * 1024;
const encoder = new TextEncoder();

describe("DiskBlobStore", () => {
  describeBlobStore(() => new DiskBlobStore(env.DISK));
});

describe("DiskBlobStore and its files", () => {
  let key: string;
  let directory: string;
  let store: DiskBlobStore;
  const unavailable = { code: "store_unavailable" };

  beforeEach(() => {
    key = `blobs/${crypto.randomUUID()}/${crypto.randomUUID()}`;
    directory = key.replaceAll("/", ".");
    store = new DiskBlobStore(env.DISK);
  });

  /** What lies in a directory of the disk; undefined when there is none. */
  async function list(path: string): Promise<string[] | undefined> {
    const response = await env.DISK.fetch(`http://disk/${path}`);
    const text = await response.text();
    if (response.status === 404) return undefined;
    return (JSON.parse(text) as { name: string }[]).map(({ name }) => name).sort();
  }

  async function upload(parts: readonly Uint8Array[]): Promise<[string, PartReceipt[]]> {
    const uploadId = await store.beginMultipart(key);
    const receipts = [];
    for (const [index, part] of parts.entries()) {
      receipts.push(await store.putPart(key, uploadId, index + 1, part));
    }
    return [uploadId, receipts];
  }

  /** Three parts whose bytes tell where they are from. */
  function threeParts(): [Uint8Array[], Uint8Array] {
    const parts = [PART_BYTES, PART_BYTES, 1000].map((length, n) => {
      const part = new Uint8Array(length);
      for (let at = 0; at < length; at += 499) part[at] = (at / 499 + n) % 251;
      return part;
    });
    const whole = new Uint8Array(2 * PART_BYTES + 1000);
    parts.forEach((part, n) => {
      whole.set(part, n * PART_BYTES);
    });
    return [parts, whole];
  }

  it("DWN-1, RNG-1: gives any range of an object that is made of parts", async () => {
    const [parts, whole] = threeParts();
    const [uploadId, receipts] = await upload(parts);
    await store.completeMultipart(key, uploadId, receipts);
    for (const [offset, length] of [
      [0, whole.length],
      [0, 1],
      [PART_BYTES - 1, 1],
      [PART_BYTES, 1],
      [PART_BYTES - 1, 2],
      [0, PART_BYTES],
      [PART_BYTES, PART_BYTES],
      [PART_BYTES - 3, PART_BYTES + 6],
      [2 * PART_BYTES, 1000],
      [whole.length - 1, 1],
      [whole.length - 10, 999],
      [5, whole.length],
    ] as const) {
      const blob = await store.read(key, { offset, length });
      expect(blob?.size).toBe(whole.length);
      const bytes = await new Response(blob?.body).bytes();
      const wanted = whole.subarray(offset, offset + length);
      expect(bytes.length, `${offset}+${length}`).toBe(wanted.length);
      expect(crypto.subtle.timingSafeEqual(bytes, wanted), `${offset}+${length}`).toBe(true);
    }
    const outside = store.read(key, { offset: whole.length, length: 1 });
    await expect(outside).rejects.toMatchObject(unavailable);
    await store.remove(key);
  });

  it("DWN-1: gives bodies of known length of objects that are made of parts", async () => {
    const [parts, whole] = threeParts();
    const [uploadId, receipts] = await upload(parts);
    await store.completeMultipart(key, uploadId, receipts);
    const blob = await store.read(key);
    // R2 takes no stream whose length it cannot tell.
    const copy = await env.BLOBS.put(`${key}-copy`, blob?.body ?? null);
    expect(copy?.size).toBe(whole.length);
    await env.BLOBS.delete(`${key}-copy`);
    await store.remove(key);
  });

  it("DWN-11: a reader that leaves in the middle of the parts ends the read", async () => {
    const [parts] = threeParts();
    const [uploadId, receipts] = await upload(parts);
    await store.completeMultipart(key, uploadId, receipts);
    const blob = await store.read(key);
    const reader = blob?.body.getReader();
    expect((await reader?.read())?.value?.length).toBeGreaterThan(0);
    await reader?.cancel();
    await store.remove(key);
  });

  it("DWN-17: a part that is lost fails the read instead of shortening it", async () => {
    const [parts] = threeParts();
    const [uploadId, receipts] = await upload(parts);
    await store.completeMultipart(key, uploadId, receipts);
    const names = await list(`${directory}/${uploadId}`);
    const second = names?.find((name) => name.startsWith("2."));
    await env.DISK.fetch(`http://disk/${directory}/${uploadId}/${second}`, { method: "DELETE" });
    const blob = await store.read(key);
    await expect(new Response(blob?.body).bytes()).rejects.toThrow();
    const within = store.read(key, { offset: PART_BYTES + 1, length: 5 });
    await expect(within).rejects.toMatchObject(unavailable);
    await store.remove(key);
  });

  it("UPL-13: leaves nothing of an upload that is aborted, nor of a key that is removed", async () => {
    const [parts] = threeParts();
    const [uploadId] = await upload(parts);
    await store.abortMultipart(key, uploadId);
    expect(await list(directory)).toEqual([]);
    await store.remove(key);
    expect(await list(directory)).toBeUndefined();

    const [again, receipts] = await upload(parts);
    await store.completeMultipart(key, again, receipts);
    await store.remove(key);
    expect(await list(directory)).toBeUndefined();
  });

  it("UPL-13: a removal takes an open upload along whose id nobody knows any more", async () => {
    await upload([encoder.encode("part")]);
    await store.remove(key);
    expect(await list(directory)).toBeUndefined();
  });

  it("UPL-1: keeps no part that was sent a second time, nor one that comes behind the end", async () => {
    const uploadId = await store.beginMultipart(key);
    await store.putPart(key, uploadId, 1, encoder.encode("first"));
    const receipt = await store.putPart(key, uploadId, 1, encoder.encode("second"));
    const pipe = new FixedLengthStream(4);
    const late = store.putPart(key, uploadId, 1, { stream: pipe.readable, length: 4 });
    const writer = pipe.writable.getWriter();
    await writer.write(encoder.encode("la"));
    await store.completeMultipart(key, uploadId, [receipt]);
    await writer.write(encoder.encode("te"));
    await writer.close();
    await expect(late).rejects.toMatchObject({ code: "parts_lost" });
    expect(await list(`${directory}/${uploadId}`)).toEqual([`1.${receipt.etag}`]);
    expect(await new Response((await store.read(key))?.body).text()).toBe("second");
    await store.remove(key);
  });

  it("UPL-13: a put or a part under way leaves nothing behind a removal", async () => {
    const uploadId = await store.beginMultipart(key);
    const pipes = [new FixedLengthStream(4), new FixedLengthStream(4)] as const;
    const stores = [
      store.put(key, { stream: pipes[0].readable, length: 4 }),
      store.putPart(key, uploadId, 1, { stream: pipes[1].readable, length: 4 }),
    ];
    const settled = Promise.allSettled(stores);
    const writers = pipes.map(({ writable }) => writable.getWriter());
    for (const writer of writers) {
      writer.closed.catch(() => {});
      await writer.write(encoder.encode("la"));
    }
    await store.remove(key);
    for (const writer of writers) {
      await writer.write(encoder.encode("te")).catch(() => {});
      await writer.close().catch(() => {});
    }
    expect((await settled).map(({ status }) => status)).toEqual(["rejected", "rejected"]);
    expect(await list(directory)).toBeUndefined();
  });

  it("UPL-13: of completing and aborting at once, one wins", async () => {
    for (let round = 0; round < 20; round++) {
      const [uploadId, receipts] = await upload([encoder.encode("bytes")]);
      const [completed, aborted] = await Promise.allSettled([
        store.completeMultipart(key, uploadId, receipts),
        store.abortMultipart(key, uploadId),
      ]);
      expect(aborted.status).toBe("fulfilled");
      // Where completing was told to have failed, what is there is removed by who asked for it.
      if (completed.status === "fulfilled") {
        expect(await new Response((await store.read(key))?.body).text()).toBe("bytes");
      }
      await store.remove(key);
    }
  });

  it("UPL-13: completes nothing with a part that is not there", async () => {
    const [uploadId, [receipt]] = await upload([encoder.encode("part")]);
    const foreign = { partNumber: 1, etag: "4.00000000" };
    for (const receipts of [[foreign], [{ partNumber: 2, etag: receipt?.etag ?? "" }]]) {
      const completing = store.completeMultipart(key, uploadId, receipts);
      await expect(completing).rejects.toMatchObject(unavailable);
    }
    expect(await store.read(key)).toBeUndefined();
    await store.remove(key);
  });

  it.each([
    "..",
    "../x",
    "blobs/../x",
    "blobs/%2e%2e/x",
    "/x",
    "x/",
    "",
    "blobs//x",
    ".x",
    "x?y",
    "x#y",
    "x\\y",
    "x\u0000",
  ])("UPL-1: takes no key that could be another path: %j", async (bad) => {
    const bytes = encoder.encode("x");
    const id = crypto.randomUUID();
    for (const call of [
      store.put(bad, bytes),
      store.read(bad),
      store.remove(bad),
      store.beginMultipart(bad),
      store.putPart(bad, id, 1, bytes),
      store.completeMultipart(bad, id, []),
      store.abortMultipart(bad, id),
    ]) {
      await expect(call).rejects.toMatchObject(unavailable);
    }
  });

  it.each(["..", "", "x/y", "."])("UPL-1: takes no upload id but its own: %j", async (bad) => {
    for (const call of [
      store.putPart(key, bad, 1, encoder.encode("x")),
      store.completeMultipart(key, bad, []),
      store.abortMultipart(key, bad),
    ]) {
      await expect(call).rejects.toMatchObject(unavailable);
    }
  });

  it.each(["../4.00000000", "4.0000000g", "4", "-4.00000000", "4.00000000/x"])(
    "UPL-1: takes no receipt but its own: %j",
    async (etag) => {
      const uploadId = await store.beginMultipart(key);
      const completing = store.completeMultipart(key, uploadId, [{ partNumber: 1, etag }]);
      await expect(completing).rejects.toMatchObject(unavailable);
      await store.remove(key);
    },
  );
});

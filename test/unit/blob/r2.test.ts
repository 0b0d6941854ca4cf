import { env } from "cloudflare:workers";
import { beforeEach, describe, expect, it } from "vitest";
import { R2BlobStore } from "../../../src/blob/r2.ts";
import { describeBlobStore } from "../../suites/blob-store.ts";

const INTERNAL = new Error("We encountered an internal error. Please try again. (10001)");
const FORBIDDEN = new Error("Access denied. (10003)");
const bytes = new TextEncoder().encode("bytes");

/** The bucket, but each call fails with the next of these errors until there are none left. */
function flaky(errors: Error[], calls: string[] = []): R2Bucket {
  function failing<T extends object>(target: T): T {
    return new Proxy(target, {
      get(_, name) {
        const member: unknown = Reflect.get(target, name, target);
        if (typeof member !== "function") return member;
        return (...args: unknown[]) => {
          if (name === "resumeMultipartUpload") {
            return failing(Reflect.apply(member, target, args) as object);
          }
          calls.push(String(name));
          const error = errors.shift();
          return error === undefined ? Reflect.apply(member, target, args) : Promise.reject(error);
        };
      },
    });
  }
  return failing(env.BLOBS);
}

describe("R2BlobStore", () => {
  describeBlobStore(() => new R2BlobStore(env.BLOBS));
});

describe("R2BlobStore when R2 fails", () => {
  let key: string;
  let waitsMs: number[];
  const wait = async (ms: number) => {
    waitsMs.push(ms);
  };

  beforeEach(() => {
    key = `blobs/${crypto.randomUUID()}/${crypto.randomUUID()}`;
    waitsMs = [];
  });

  it("STO-13: tries again after a passing error, waiting longer each time", async () => {
    const store = new R2BlobStore(flaky([INTERNAL, INTERNAL, INTERNAL]), wait);
    await store.put(key, bytes);
    expect((await env.BLOBS.head(key))?.size).toBe(bytes.length);
    expect(waitsMs).toHaveLength(3);
    expect(waitsMs).toEqual(waitsMs.toSorted((a, b) => a - b));
  });

  it("STO-13: gives up after a few tries, naming the cause", async () => {
    const calls: string[] = [];
    const store = new R2BlobStore(flaky(Array(9).fill(INTERNAL), calls), wait);
    await expect(store.put(key, bytes)).rejects.toMatchObject({
      code: "store_unavailable",
      cause: INTERNAL,
    });
    expect(calls).toHaveLength(4);
  });

  it("STO-9: does not try again what R2 refuses for good", async () => {
    const store = new R2BlobStore(flaky([FORBIDDEN]), wait);
    await expect(store.put(key, bytes)).rejects.toMatchObject({ code: "store_unavailable" });
    expect(waitsMs).toEqual([]);
  });

  it("STO-13: sends a part in memory again", async () => {
    const store = new R2BlobStore(env.BLOBS, wait);
    const uploadId = await store.beginMultipart(key);
    const receipt = await new R2BlobStore(flaky([INTERNAL]), wait).putPart(key, uploadId, 1, bytes);
    await store.completeMultipart(key, uploadId, [receipt]);
    expect(await (await env.BLOBS.get(key))?.text()).toBe("bytes");
  });

  it("STO-13: does not send a streamed part again, as its stream is spent", async () => {
    const calls: string[] = [];
    const store = new R2BlobStore(flaky([INTERNAL], calls), wait);
    const part = { stream: new Response(bytes).body ?? new ReadableStream(), length: bytes.length };
    const sending = store.putPart(key, "an upload", 1, part);
    await expect(sending).rejects.toMatchObject({ code: "store_unavailable" });
    expect(calls).toEqual(["uploadPart"]);
  });

  it("STO-13: completes although the answer to the first try was lost", async () => {
    const store = new R2BlobStore(env.BLOBS, wait);
    const uploadId = await store.beginMultipart(key);
    const receipt = await store.putPart(key, uploadId, 1, bytes);
    await store.completeMultipart(key, uploadId, [receipt]);
    const retrying = new R2BlobStore(flaky([INTERNAL]), wait);
    await retrying.completeMultipart(key, uploadId, [receipt]);
    expect(waitsMs).toHaveLength(1);
  });

  it("DWN-11: reads again after a passing error", async () => {
    await env.BLOBS.put(key, bytes);
    const blob = await new R2BlobStore(flaky([INTERNAL]), wait).read(key);
    expect(await new Response(blob?.body).text()).toBe("bytes");
  });
});

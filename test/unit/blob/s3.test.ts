import { beforeEach, describe, expect, inject, it } from "vitest";
import { S3BlobStore } from "../../../src/blob/s3.ts";
import { Fault } from "../../../src/domain/fault.ts";
import { describeBlobStore } from "../../suites/blob-store.ts";

const settings = inject("s3");
const bytes = new TextEncoder().encode("0123456789");

describe("S3BlobStore", () => {
  describeBlobStore(() => new S3BlobStore(settings), { wantsLikeParts: false });
});

describe("S3BlobStore on a real service", () => {
  let key: string;

  beforeEach(() => {
    key = `blobs/${crypto.randomUUID()}/${crypto.randomUUID()}`;
  });

  /** What a call of the store fails with, and everything that is told about it. */
  async function failureOf(call: Promise<unknown>): Promise<{ fault: Fault; told: string }> {
    const fault: unknown = await call.catch((reason: unknown) => reason);
    if (!(fault instanceof Fault)) throw new Error("no Fault");
    const lines: string[] = [];
    for (let at: unknown = fault; at instanceof Error; at = at.cause) {
      lines.push(String(at), JSON.stringify(at));
    }
    return { fault, told: lines.join("\n") };
  }

  it.each([
    ["secret", { secretAccessKey: "not-the-secret" }, "SignatureDoesNotMatch"],
    ["key", { accessKeyId: "not-the-key" }, ""],
  ])("STO-9: a wrong %s is refused at once and is not told on", async (_, wrong, code) => {
    const waitsMs: number[] = [];
    const store = new S3BlobStore(
      { ...settings, ...wrong },
      { delay: async (ms) => void waitsMs.push(ms) },
    );
    const { fault, told } = await failureOf(store.put(key, bytes));
    expect(fault.code).toBe("store_unavailable");
    expect(told).toContain(code);
    expect(told).toMatch(/S3: 40[13]/);
    for (const hidden of [
      ...Object.values(wrong),
      settings.accessKeyId,
      settings.secretAccessKey,
    ]) {
      expect(told).not.toContain(hidden);
    }
    expect(waitsMs).toEqual([]);
  });

  it("DWN-17: a bucket that is not there is a fault, not an image without data", async () => {
    const store = new S3BlobStore({ ...settings, bucket: "nowhere" });
    const { told } = await failureOf(store.read(key));
    expect(told).toContain("NoSuchBucket");
  });

  it("STO-13: a service that cannot be reached is tried again, then a fault", async () => {
    const waitsMs: number[] = [];
    const store = new S3BlobStore(
      { ...settings, endpoint: "http://127.0.0.1:1" },
      { delay: async (ms) => void waitsMs.push(ms) },
    );
    const { told } = await failureOf(store.read(key));
    expect(told).toContain("S3: no answer");
    expect(waitsMs).toEqual([100, 400, 1600]);
  });

  it.each(["ü ↔ 𝄞", "a+b", "%2F%41", "q?a=b&c#d", "!'()*~$,;:@=", " "])(
    "UPL-1: the key %j is one key, in the address and in the signature",
    async (name) => {
      const store = new S3BlobStore(settings);
      await store.put(`${key}/${name}`, bytes);
      const blob = await store.read(`${key}/${name}`, { offset: 2, length: 3 });
      expect(await new Response(blob?.body).text()).toBe("234");
      const uploadId = await store.beginMultipart(`${key}/${name}`);
      await store.abortMultipart(`${key}/${name}`, uploadId);
      await store.remove(`${key}/${name}`);
      expect(await store.read(`${key}/${name}`)).toBeUndefined();
    },
  );

  it("UPL-1: an endpoint may end in a slash", async () => {
    const store = new S3BlobStore({ ...settings, endpoint: `${settings.endpoint}/` });
    await store.put(key, bytes);
    await store.remove(key);
  });

  it("STO-13: bytes that are damaged on the way are refused by the service and sent again", async () => {
    let damaged = 0;
    const damage: typeof fetch = (input, init) => {
      if (damaged++ > 0 || !(init?.body instanceof Uint8Array)) return fetch(input, init);
      return fetch(input, { ...init, body: init.body.with(3, 0) });
    };
    const store = new S3BlobStore(settings, { fetch: damage, delay: async () => {} });
    await store.put(key, bytes);
    const blob = await store.read(key);
    expect(await new Response(blob?.body).text()).toBe("0123456789");
    expect(damaged).toBe(3);
    await store.remove(key);
  });

  it("DWN-17: a body that ends too early fails instead of passing for a short one", async () => {
    const store = new S3BlobStore(inject("brokenS3"));
    const blob = await store.read(key);
    expect(blob?.size).toBe(10);
    await expect(new Response(blob?.body).text()).rejects.toThrow();
  });
});

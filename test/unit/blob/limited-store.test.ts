import { describe, expect, it } from "vitest";
import { LimitedStore } from "../../../src/blob/limited-store.ts";
import { MemoryBlobStore } from "../../../src/blob/memory.ts";
import type { BlobStore, StoredBlob } from "../../../src/blob/store.ts";
import { callLimitMs, within } from "../../../src/blob/time-limit.ts";

const never = () => new Promise<never>(() => undefined);

/** A store that answers no call. */
class SilentStore extends MemoryBlobStore implements BlobStore {
  override read = never;
  override put = never;
  override putPart = never;
  override beginMultipart = never;
  override completeMultipart = never;
  override abortMultipart = never;
  override remove = never;
}

describe("a call of a store", () => {
  const bytes = new Uint8Array(10);

  it.each<[string, (store: BlobStore) => Promise<unknown>]>([
    ["read", (store) => store.read("key")],
    ["put", (store) => store.put("key", bytes)],
    ["beginMultipart", (store) => store.beginMultipart("key")],
    ["putPart", (store) => store.putPart("key", "id", 1, bytes)],
    ["completeMultipart", (store) => store.completeMultipart("key", "id", [])],
    ["abortMultipart", (store) => store.abortMultipart("key", "id")],
    ["remove", (store) => store.remove("key")],
  ])("STO-13: that never settles is given up: %s", async (_, call) => {
    const limited = new LimitedStore(new SilentStore(), () => 1);
    await expect(call(limited)).rejects.toMatchObject({ code: "store_unavailable", status: 503 });
  });

  it("STO-13: lets go of a body that comes when it was given up", async () => {
    const cancelled = Promise.withResolvers<void>();
    const late = Promise.withResolvers<StoredBlob>();
    const store = Object.assign(new MemoryBlobStore(), { read: () => late.promise });
    await expect(new LimitedStore(store, () => 1).read("key")).rejects.toMatchObject({
      code: "store_unavailable",
    });
    late.resolve({ size: 1, body: new ReadableStream({ cancel: () => cancelled.resolve() }) });
    await cancelled.promise;
  });

  it("has the more time the more it moves", () => {
    expect(callLimitMs()).toBe(15_000);
    expect(callLimitMs(16 * 1024 ** 2)).toBe(31_384);
  });

  it("has an outcome that nobody hears when it comes too late", async () => {
    const late = Promise.withResolvers<void>();
    await expect(within(1, late.promise)).rejects.toMatchObject({ code: "store_unavailable" });
    late.reject(new Error("too late"));
    await scheduler.wait(1);
  });
});

import { describe, expect, it } from "vitest";
import { HttpBlobStore } from "../../../src/blob/http.ts";

const store = new HttpBlobStore("http", async (url, range) => ({
  size: 10,
  body: new Response(`${url} ${range?.offset} ${range?.length}`).body ?? new ReadableStream(),
}));

describe("other people's servers as a store", () => {
  it("are read by address", async () => {
    const blob = await store.read("http://a/", { offset: 2, length: 3 });
    expect(await new Response(blob?.body).text()).toBe("http://a/ 2 3");
  });

  it("11 §1 http type: are never written to", async () => {
    for (const write of [
      () => store.put(),
      () => store.beginMultipart(),
      () => store.putPart(),
      () => store.completeMultipart(),
    ]) {
      await expect(write()).rejects.toMatchObject({ code: "store_read_only" });
    }
  });

  it("11 §1 http type: have nothing that is ours to remove", async () => {
    await store.remove();
    await store.abortMultipart();
  });
});

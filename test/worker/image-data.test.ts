import { describe, expect, it } from "vitest";
import { owner } from "../support/callers.ts";
import { Service } from "../support/service.ts";

const service = new Service();

describe("PUT file", () => {
  it("UPL-1, HSH-1: stores the bytes and makes the image active with size and hashes", async () => {
    const { id } = await service.createEmpty(owner);
    const response = await service.upload(owner, id, "hello");
    expect(response.status).toBe(204);
    const image = await service.show(owner, id);
    expect(image).toMatchObject({
      status: "active",
      size: 5,
      checksum: "5d41402abc4b2a76b9719d911017c592",
      os_hash_algo: "sha512",
    });
    const data = await service.call(owner, "GET", `/v2/images/${id}/file`);
    expect(data.status).toBe(200);
    expect(Object.fromEntries(data.headers)).toMatchObject({ "content-length": "5" });
    expect(await data.text()).toBe("hello");
  });

  it("UPL-8: refuses a second upload", async () => {
    const { id } = await service.createActive(owner, "hello");
    expect((await service.upload(owner, id, "other")).status).toBe(409);
  });
});

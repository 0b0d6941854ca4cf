import { describe, expect, it } from "vitest";
import { admin, member, owner, ownersReader, stranger } from "../support/callers.ts";
import { expectRefusal, plantStatus } from "../support/image-state.ts";
import { Service } from "../support/service.ts";

const service = new Service();

describe("GET image", () => {
  it("SHO-1, HDR-8: shows the whole record to those who may see it", async () => {
    const image = await service.create(owner, { name: "cirros", tags: ["a"], custom: "x" });
    for (const caller of [owner, ownersReader, admin]) {
      const response = await service.call(caller, "GET", `/v2/images/${image.id}`);
      expect(response.status).toBe(200);
      expect(response.headers.get("content-type")).toBe("application/json");
      expect(await response.json()).toEqual(image);
    }
  });

  it("REP-3, REP-11, REP-12, REP-13: shows size and hashes once there is data", async () => {
    const image = await service.createActive(owner, "hello");
    expect(image).toMatchObject({
      status: "active",
      size: 5,
      checksum: "5d41402abc4b2a76b9719d911017c592",
      os_hash_algo: "sha512",
      os_hash_value: expect.stringMatching(/^9b71d224bd62f378[0-9a-f]{112}$/),
    });
  });

  it("REP-14, TIM-1, TIM-2: shows times in whole seconds of UTC", async () => {
    const beforeMs = Math.floor(Date.now() / 1000) * 1000;
    const { id } = await service.create(owner);
    const image = await service.show(owner, id);
    expect(image.created_at).toMatch(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$/);
    expect(Date.parse(image.created_at)).toBeGreaterThanOrEqual(beforeMs);
    expect(image.updated_at).toBe(image.created_at);
  });

  it("REP-8: shows tags as a set", async () => {
    const { id } = await service.create(owner, { tags: ["b", "a", "b"] });
    const { tags } = await service.show(owner, id);
    expect(tags.toSorted()).toEqual(["a", "b"]);
  });

  it.each([
    ["an unknown id", () => crypto.randomUUID()],
    ["no UUID", () => "cirros"],
    ["an over-long id", () => `${crypto.randomUUID()}${"0".repeat(300)}`],
    ["a blank", () => "%20"],
  ])("SHO-2: answers 404 to %s, to an admin too", async (_, idOf) => {
    for (const caller of [owner, admin]) {
      const response = await service.call(caller, "GET", `/v2/images/${idOf()}`);
      expect(response.status).toBe(404);
    }
  });

  it("SHO-2: answers 404 to other spellings of an id", async () => {
    const { id } = await service.create(owner);
    for (const spelling of [id.replaceAll("-", ""), `${id}%0A`, `%20${id}`]) {
      const response = await service.call(owner, "GET", `/v2/images/${spelling}`);
      expect(response.status).toBe(404);
    }
  });

  it("SHO-2, VIS-8: answers 404 for a deleted image, to an admin too", async () => {
    const { id } = await service.create(owner);
    await service.call(owner, "DELETE", `/v2/images/${id}`);
    for (const caller of [owner, admin]) {
      expect((await service.call(caller, "GET", `/v2/images/${id}`)).status).toBe(404);
    }
  });

  it("SHO-2, MSK-1: answers 404 for an image that is not visible, as if it were not there", async () => {
    const { id } = await service.create(owner, { visibility: "private" });
    const absent = crypto.randomUUID();
    const refusal = await service.call(stranger, "GET", `/v2/images/${id}`);
    const absence = await service.call(stranger, "GET", `/v2/images/${absent}`);
    expect(refusal.status).toBe(404);
    expect((await refusal.text()).replaceAll(id, "")).toBe(
      (await absence.text()).replaceAll(absent, ""),
    );
    expect(absence.status).toBe(404);
  });

  it("SHO-3: refuses a request body, whether or not the image is there", async () => {
    const { id } = await service.create(owner);
    const headers = { "content-length": "2" };
    await expectRefusal(400, id, () => service.call(owner, "GET", `/v2/images/${id}`, { headers }));
    const absent = `/v2/images/${crypto.randomUUID()}`;
    expect((await service.call(member, "GET", absent, { headers })).status).toBe(400);
  });

  it("SHO-4: shows a killed image", async () => {
    const { id } = await service.create(owner);
    await plantStatus(id, "killed");
    expect(await service.show(owner, id)).toMatchObject({ id, status: "killed" });
  });
});

describe("HEAD image", () => {
  it("tells size, hash and ETag of the data without a body", async () => {
    const { id, os_hash_value } = await service.createActive(owner, "hello");
    const response = await service.call(owner, "HEAD", `/v2/images/${id}`);
    expect(response.status).toBe(200);
    expect(Object.fromEntries(response.headers)).toMatchObject({
      "x-openstack-image-size": "5",
      "x-openstack-image-hash-value": os_hash_value,
      "accept-ranges": "bytes",
      etag: `"${os_hash_value}"`,
    });
    expect(await response.text()).toBe("");
  });

  it("answers 404 for an image that is not visible", async () => {
    const { id } = await service.create(owner);
    expect((await service.call(stranger, "HEAD", `/v2/images/${id}`)).status).toBe(404);
  });
});

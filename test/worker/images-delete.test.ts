import { runDurableObjectAlarm } from "cloudflare:test";
import { env } from "cloudflare:workers";
import { describe, expect, it } from "vitest";
import { admin, type Caller, member, owner, ownersReader, stranger } from "../support/callers.ts";
import { expectRefusal, stateOf } from "../support/image-state.ts";
import { Service } from "../support/service.ts";
import { imageIn, MET_STATUSES, openUpload } from "../support/statuses.ts";

const service = new Service();

function destroy(imageId: string, by: Caller = owner): Promise<Response> {
  return service.call(by, "DELETE", `/v2/images/${imageId}`);
}

async function statusOf(call: Promise<Response>): Promise<number> {
  const response = await call;
  await response.body?.cancel();
  return response.status;
}

describe("DELETE image", () => {
  it("DEL-1, HDR-7: answers 204 without body or content type", async () => {
    const { id } = await service.create(owner);
    const response = await destroy(id);
    expect(response.status).toBe(204);
    expect(await response.text()).toBe("");
    expect(response.headers.has("content-type")).toBe(false);
  });

  it.each([
    ["owner", owner],
    ["admin", admin],
  ])("DEL-1: makes the image 404 for every call, when the %s asks", async (_, by) => {
    const image = await service.createActive(owner, "data", { tags: ["a"] });
    const path = `/v2/images/${image.id}`;
    const json = { member: "m" };
    await service.call(owner, "POST", `${path}/members`, { json });
    expect(await statusOf(destroy(image.id, by))).toBe(204);
    for (const caller of [owner, admin]) {
      const calls = [
        service.call(caller, "GET", path),
        service.call(caller, "HEAD", path),
        service.call(caller, "PATCH", path, { patch: [] }),
        service.call(caller, "DELETE", path),
        service.call(caller, "GET", `${path}/file`),
        service.upload(caller, image.id, "data"),
        service.call(caller, "PUT", `${path}/tags/a`),
        service.call(caller, "DELETE", `${path}/tags/a`),
        service.call(caller, "POST", `${path}/actions/deactivate`),
        service.call(caller, "POST", `${path}/actions/reactivate`),
        service.call(caller, "GET", `${path}/members`),
        service.call(caller, "POST", `${path}/members`, { json }),
        service.call(caller, "GET", `${path}/members/m`),
        service.call(caller, "PUT", `${path}/members/m`, { json: { status: "accepted" } }),
        service.call(caller, "DELETE", `${path}/members/m`),
      ];
      expect(await Promise.all(calls.map(statusOf))).toEqual(calls.map(() => 404));
    }
  });

  it("DEL-1, CRE-12: leaves the id taken", async () => {
    const { id } = await service.create(owner);
    await destroy(id);
    await expectRefusal(409, id, () => service.call(owner, "POST", "/v2/images", { json: { id } }));
  });

  it("DEL-2: refuses a protected image, to admins too, until the flag is off", async () => {
    const { id } = await service.createActive(owner, "data", { protected: true });
    await expectRefusal(403, id, () => destroy(id));
    await expectRefusal(403, id, () => destroy(id, admin));
    const patch = [{ op: "replace", path: "/protected", value: false }];
    await service.call(owner, "PATCH", `/v2/images/${id}`, { patch });
    expect(await statusOf(destroy(id))).toBe(204);
  });

  it("DEL-3: answers 404 for an unknown image and for one that is deleted already", async () => {
    expect(await statusOf(destroy(crypto.randomUUID()))).toBe(404);
    expect(await statusOf(destroy("not-a-uuid"))).toBe(404);
    const { id } = await service.create(owner);
    await destroy(id);
    await expectRefusal(404, id, () => destroy(id));
    await expectRefusal(404, id, () => destroy(id, admin));
  });

  it.each([{}, { protected: true }])(
    "DEL-3, MSK-1: answers 404 for an image that is not visible, %j",
    async (record) => {
      const { id } = await service.create(owner, { visibility: "private", ...record });
      await expectRefusal(404, id, () => destroy(id, stranger));
    },
  );

  it("DEL-4: refuses those who see the image and do not own it", async () => {
    const shared = await service.createShared(owner, member);
    const community = await service.create(owner, { visibility: "community" });
    const open = await service.create(admin, { visibility: "public" });
    await expectRefusal(403, shared.id, () => destroy(shared.id, member));
    await expectRefusal(403, community.id, () => destroy(community.id, stranger));
    await expectRefusal(403, open.id, () => destroy(open.id, owner));
    await expectRefusal(403, shared.id, () => destroy(shared.id, ownersReader));
  });

  it("RT-2: refuses a request body", async () => {
    const { id } = await service.create(owner);
    await expectRefusal(400, id, () =>
      service.call(owner, "DELETE", `/v2/images/${id}`, { json: {} }),
    );
  });

  it.each(MET_STATUSES)(
    "DEL-1, DEL-7, ST-16, MX-9: deletes an image that is %s",
    async (status) => {
      const { id } = await imageIn(service, status);
      expect(await statusOf(destroy(id))).toBe(204);
      expect(await statusOf(service.call(owner, "GET", `/v2/images/${id}`))).toBe(404);
    },
  );

  it("DEL-7: ends a running upload with 410 and keeps none of its bytes", async () => {
    const { id } = await service.createEmpty(owner);
    const upload = await openUpload(service, owner, id);
    expect(await statusOf(destroy(id))).toBe(204);
    upload.finish("too late");
    expect(await statusOf(upload.response)).toBe(410);
    await runDurableObjectAlarm(env.IMAGE_OBJECT.get(env.IMAGE_OBJECT.idFromName(id)));
    expect(await stateOf(id)).toMatchObject({ blobs: [] });
  });

  it("DEL-8: takes members, tags, properties and bytes with it", async () => {
    const { id } = await service.createActive(owner, "data", {
      name: "cirros",
      tags: ["a"],
      custom: "x",
    });
    const json = { member: member.projectId };
    await service.call(owner, "POST", `/v2/images/${id}/members`, { json });
    await destroy(id);
    await runDurableObjectAlarm(env.IMAGE_OBJECT.get(env.IMAGE_OBJECT.idFromName(id)));
    const tombstone = { id, status: "deleted", name: null, tags: "[]", properties: "{}" };
    expect(await stateOf(id)).toMatchObject({
      rows: [[{ ...tombstone, locations: "[]" }], [], [], []],
      blobs: [],
    });
  });
});

describe("DELETE at the same time as", () => {
  it("DEL-3: other DELETEs: one deletes, the others find nothing", async () => {
    const { id } = await service.createActive(owner, "data");
    const answers = await Promise.all(Array.from({ length: 10 }, () => statusOf(destroy(id))));
    expect(answers.toSorted()).toEqual([204, ...Array.from({ length: 9 }, () => 404)]);
  });

  it("DEL-1: changes: each is done before it or finds nothing, and nothing comes back", async () => {
    const { id } = await service.create(owner);
    const path = `/v2/images/${id}`;
    const changes = (n: number) => [
      service.call(owner, "PATCH", path, { patch: [{ op: "add", path: `/p${n}`, value: "x" }] }),
      service.call(owner, "PUT", `${path}/tags/t${n}`),
      service.call(owner, "POST", `${path}/members`, { json: { member: `m${n}` } }),
    ];
    const before = [0, 1, 2, 3].flatMap(changes);
    const deleted = destroy(id);
    const after = [4, 5, 6, 7].flatMap(changes);
    const statuses = await Promise.all([...before, ...after].map(statusOf));
    expect(await statusOf(deleted)).toBe(204);
    for (const status of statuses) expect([200, 204, 404]).toContain(status);
    expect(await statusOf(service.call(admin, "GET", path))).toBe(404);
    expect(await stateOf(id)).toMatchObject({
      rows: [[{ status: "deleted", tags: "[]", properties: "{}" }], [], [], []],
    });
  });
});

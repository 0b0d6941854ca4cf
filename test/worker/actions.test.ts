import { describe, expect, it } from "vitest";
import { admin, type Caller, member, owner, ownersReader, stranger } from "../support/callers.ts";
import { expectRefusal, movesOn, stateOf } from "../support/image-state.ts";
import { type ImageRecord, Service } from "../support/service.ts";
import { imageIn } from "../support/statuses.ts";

const service = new Service();

type Action = "deactivate" | "reactivate";

function act(imageId: string, action: Action, by: Caller = owner): Promise<Response> {
  return service.call(by, "POST", `/v2/images/${imageId}/actions/${action}`);
}

/** The action, the status it starts from and the status it leads to. */
const MOVES = [
  ["deactivate", "active", "deactivated"],
  ["reactivate", "deactivated", "active"],
] as const;

describe.each(MOVES)("%s", (action, from, to) => {
  it.each([
    ["owner", owner],
    ["admin", admin],
  ])(
    `ACT-1, ACT-4, ACT-5, MIN-4, HDR-7, TIM-3: leads from ${from} to ${to} for the %s`,
    async (_, by) => {
      const before = await imageIn(service, from);
      const moved = await movesOn(before.id, async () => {
        const response = await act(before.id, action, by);
        expect(response.status).toBe(204);
        expect(await response.text()).toBe("");
        expect(response.headers.has("content-type")).toBe(false);
      });
      expect(moved).toBe(true);
      const { updated_at: _old, ...rest } = before;
      expect(await service.show(owner, before.id)).toMatchObject({ ...rest, status: to });
    },
  );

  it(`ACT-2, ACT-4, TIM-3: changes nothing on an image that is ${to} already`, async () => {
    const { id } = await imageIn(service, to);
    const before = await stateOf(id);
    expect((await act(id, action)).status).toBe(204);
    expect((await act(id, action, admin)).status).toBe(204);
    expect(await stateOf(id)).toEqual(before);
  });

  it.each(["queued", "saving", "uploading", "importing", "killed"] as const)(
    "ACT-3, ACT-4, MX-6: is refused while the image is %s, to admins too",
    async (status) => {
      const { id } = await imageIn(service, status);
      await expectRefusal(403, id, () => act(id, action));
      await expectRefusal(403, id, () => act(id, action, admin));
    },
  );

  it("ACT-6: is 403 for those who see the image and do not own it, and for its owner's reader", async () => {
    const shared = await imageIn(service, from);
    const json = { member: member.projectId };
    await service.call(owner, "POST", `/v2/images/${shared.id}/members`, { json });
    const community = await imageIn(service, from, { visibility: "community" });
    await expectRefusal(403, shared.id, () => act(shared.id, action, member));
    await expectRefusal(403, shared.id, () => act(shared.id, action, ownersReader));
    await expectRefusal(403, community.id, () => act(community.id, action, stranger));
  });

  it("ACT-6: is 404 for an image that is not visible, deleted or unknown", async () => {
    const { id } = await imageIn(service, from);
    await expectRefusal(404, id, () => act(id, action, stranger));
    await service.call(owner, "DELETE", `/v2/images/${id}`);
    await expectRefusal(404, id, () => act(id, action, admin));
    expect((await act(crypto.randomUUID(), action)).status).toBe(404);
  });

  it("ACT-7: refuses a body, even {}, and takes a content type without one", async () => {
    const { id } = await imageIn(service, from);
    const path = `/v2/images/${id}/actions/${action}`;
    await expectRefusal(400, id, () => service.call(owner, "POST", path, { json: {} }));
    const headers = { "content-type": "application/json", "content-length": "0" };
    expect((await service.call(owner, "POST", path, { headers })).status).toBe(204);
  });

  it("ACT-1: leads there when ten ask at once", async () => {
    const { id } = await imageIn(service, from);
    const answers = await Promise.all(Array.from({ length: 10 }, () => act(id, action)));
    expect(answers.map(({ status }) => status)).toEqual(answers.map(() => 204));
    expect(await service.show(owner, id)).toMatchObject({ status: to });
  });
});

describe("a deactivated image", () => {
  it("ACT-8, MX-5: gives its data to admins only", async () => {
    const { id } = await imageIn(service, "deactivated");
    const path = `/v2/images/${id}/file`;
    for (const by of [owner, ownersReader]) {
      await expectRefusal(403, id, () => service.call(by, "GET", path));
    }
    const response = await service.call(admin, "GET", path);
    expect(response.status).toBe(200);
    expect(new TextDecoder().decode(await response.arrayBuffer())).toBe("data");
    await act(id, "reactivate");
    const again = await service.call(owner, "GET", path);
    expect(again.status).toBe(200);
    await again.body?.cancel();
  });

  it("ACT-8: gives no data to those it is shared with either", async () => {
    const { id } = await imageIn(service, "deactivated");
    const json = { member: member.projectId };
    await service.call(owner, "POST", `/v2/images/${id}/members`, { json });
    await expectRefusal(403, id, () => service.call(member, "GET", `/v2/images/${id}/file`));
  });

  it("ACT-8: is still listed, patched, tagged, shared and deleted", async () => {
    const { id } = await imageIn(service, "deactivated");
    const path = `/v2/images/${id}`;
    const list = await service.call(owner, "GET", "/v2/images?status=deactivated&limit=1000");
    const { images } = await list.json<{ images: ImageRecord[] }>();
    expect(images.map((image) => image.id)).toContain(id);
    const patch = [{ op: "replace", path: "/name", value: "still here" }];
    expect((await service.call(owner, "PATCH", path, { patch })).status).toBe(200);
    expect((await service.call(owner, "PUT", `${path}/tags/a`)).status).toBe(204);
    const json = { member: member.projectId };
    expect((await service.call(owner, "POST", `${path}/members`, { json })).status).toBe(200);
    expect(await service.show(member, id)).toMatchObject({
      status: "deactivated",
      name: "still here",
      tags: ["a"],
    });
    expect((await service.call(owner, "DELETE", path)).status).toBe(204);
  });
});

describe("other actions", () => {
  it("ACT-9: are 404", async () => {
    const { id } = await imageIn(service, "active");
    for (const action of ["activate", "Deactivate", "deactivate/x", ""]) {
      const path = `/v2/images/${id}/actions/${action}`;
      await expectRefusal(404, id, () => service.call(owner, "POST", path));
    }
  });

  it("RT-6: take POST only", async () => {
    const { id } = await imageIn(service, "active");
    const response = await service.call(owner, "GET", `/v2/images/${id}/actions/deactivate`);
    expect(response.status).toBe(405);
    expect(response.headers.get("allow")).toBe("POST");
  });
});

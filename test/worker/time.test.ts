import { env } from "cloudflare:workers";
import { describe, expect, it } from "vitest";
import { member, owner } from "../support/callers.ts";
import { movesOn } from "../support/image-state.ts";
import { type CallOptions, Service } from "../support/service.ts";

const service = new Service();

const WHOLE_SECONDS = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$/;

describe("times", () => {
  it("TIM-1: of an image are UTC in whole seconds", async () => {
    const before = Math.floor(Date.now() / 1000) * 1000;
    const image = await service.create(owner);
    for (const time of [image.created_at, image.updated_at]) {
      expect(time).toMatch(WHOLE_SECONDS);
      expect(Date.parse(time)).toBeGreaterThanOrEqual(before);
      expect(Date.parse(time)).toBeLessThanOrEqual(Date.now());
    }
  });

  it("TIM-1: of a member are so too", async () => {
    const { id } = await service.createShared(owner, member);
    const response = await service.call(owner, "GET", `/v2/images/${id}/members`);
    const { members } = await response.json<{ members: Record<string, string>[] }>();
    expect(members).toHaveLength(1);
    for (const { created_at, updated_at } of members) {
      expect(created_at).toMatch(WHOLE_SECONDS);
      expect(updated_at).toMatch(WHOLE_SECONDS);
    }
  });

  it("TIM-1: fractions are cut off, not rounded", async () => {
    const { id } = await service.create(owner);
    const timeMs = Date.parse("2015-08-27T09:49:58.999Z");
    await env.DB.prepare("UPDATE images SET created_at = ?, updated_at = ? WHERE id = ?")
      .bind(timeMs, timeMs, id)
      .run();
    expect(await service.show(owner, id)).toMatchObject({
      created_at: "2015-08-27T09:49:58Z",
      updated_at: "2015-08-27T09:49:58Z",
    });
  });

  it("TIM-2: at creation both are there and the same, in the answer, the record and the list", async () => {
    const created = await service.create(owner, { name: "just-made" });
    const shown = await service.show(owner, created.id);
    const response = await service.call(owner, "GET", "/v2/images?name=just-made");
    const { images } = await response.json<{ images: (typeof created)[] }>();
    expect(images).toHaveLength(1);
    for (const image of [created, shown, ...images]) {
      expect(image.created_at).toBe(created.created_at);
      expect(image.updated_at).toBe(created.created_at);
    }
  });
});

describe("updated_at", () => {
  const rename = (value: string): CallOptions => ({
    patch: [{ op: "replace", path: "/name", value }],
  });

  it.each([
    ["a patch", "PATCH", "", rename("other")],
    ["a patch that changes no value", "PATCH", "", rename("same")],
    ["an added tag", "PUT", "/tags/new", {}],
    ["an added tag that is there already", "PUT", "/tags/old", {}],
    ["a removed tag", "DELETE", "/tags/old", {}],
    [
      "an upload",
      "PUT",
      "/file",
      { body: "x", headers: { "content-type": "application/octet-stream" } },
    ],
  ] as const)("TIM-3: moves on with %s", async (_, method, below, options) => {
    const { id } = await service.createEmpty(owner, { name: "same", tags: ["old"] });
    const call = async () => {
      const response = await service.call(owner, method, `/v2/images/${id}${below}`, options);
      expect(response.status).toBeLessThan(300);
    };
    expect(await movesOn(id, call)).toBe(true);
  });

  const act = async (id: string, action: string) => {
    const response = await service.call(owner, "POST", `/v2/images/${id}/actions/${action}`);
    expect(response.status).toBe(204);
  };

  it("TIM-3: moves on with a real deactivation and reactivation, not with an idle one", async () => {
    const { id } = await service.createActive(owner, "hello");
    expect(await movesOn(id, () => act(id, "reactivate"))).toBe(false);
    expect(await movesOn(id, () => act(id, "deactivate"))).toBe(true);
    expect(await movesOn(id, () => act(id, "deactivate"))).toBe(false);
    expect(await movesOn(id, () => act(id, "reactivate"))).toBe(true);
  });

  it("TIM-3: stays with an empty patch", async () => {
    const { id } = await service.create(owner);
    const call = () => service.call(owner, "PATCH", `/v2/images/${id}`, { patch: [] });
    expect(await movesOn(id, call)).toBe(false);
  });

  it("TIM-3: stays when members are added, changed and removed", async () => {
    const { id } = await service.create(owner, { visibility: "shared" });
    const all = `/v2/images/${id}/members`;
    const one = `${all}/${member.projectId}`;
    const calls = [
      () => service.call(owner, "POST", all, { json: { member: member.projectId } }),
      () => service.call(member, "PUT", one, { json: { status: "accepted" } }),
      () => service.call(owner, "DELETE", one),
    ];
    for (const call of calls) {
      const isMoved = await movesOn(id, async () => expect((await call()).ok).toBe(true));
      expect(isMoved).toBe(false);
    }
  });

  it("TIM-3: stays when a change is refused", async () => {
    const { id } = await service.create(owner);
    const patch = [{ op: "replace", path: "/status", value: "active" }];
    const call = () => service.call(owner, "PATCH", `/v2/images/${id}`, { patch });
    expect(await movesOn(id, call)).toBe(false);
  });
});

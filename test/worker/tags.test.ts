import { describe, expect, it } from "vitest";
import { admin, type Caller, member, owner, ownersReader, stranger } from "../support/callers.ts";
import { expectRefusal, movesOn } from "../support/image-state.ts";
import { Service } from "../support/service.ts";
import { imageIn, MET_STATUSES } from "../support/statuses.ts";

const service = new Service();

/** PUT or DELETE of one tag, whose spelling in the address is given as it is. */
function tag(
  method: "PUT" | "DELETE",
  imageId: string,
  spelling: string,
  by: Caller = owner,
  on = service,
): Promise<Response> {
  return on.call(by, method, `/v2/images/${imageId}/tags/${spelling}`);
}

async function tagsOf(imageId: string): Promise<string[]> {
  return (await service.show(owner, imageId)).tags.toSorted();
}

const full = Array.from({ length: 128 }, (_, index) => `t${index}`);

describe("PUT tag", () => {
  it("TAG-1, HDR-7: answers 204 without a body, a second time too", async () => {
    const { id } = await service.create(owner);
    for (const _ of ["first", "again"]) {
      const response = await tag("PUT", id, "blue");
      expect(response.status).toBe(204);
      expect(await response.text()).toBe("");
      expect(await tagsOf(id)).toEqual(["blue"]);
    }
  });

  it("TAG-1, TIM-3: moves updated_at on", async () => {
    const { id } = await service.create(owner);
    expect(await movesOn(id, () => tag("PUT", id, "blue"))).toBe(true);
    expect(await movesOn(id, () => tag("PUT", id, "blue"))).toBe(true);
    expect(await movesOn(id, () => tag("DELETE", id, "blue"))).toBe(true);
  });

  it("TAG-2, LIM-13: takes 255 characters and refuses 256, before the image is looked up", async () => {
    const { id } = await service.create(owner);
    const longest = "ü".repeat(255);
    expect((await tag("PUT", id, encodeURIComponent(longest))).status).toBe(204);
    expect(await tagsOf(id)).toEqual([longest]);
    await expectRefusal(400, id, () => tag("PUT", id, "x".repeat(256)));
    expect((await tag("PUT", crypto.randomUUID(), "x".repeat(256))).status).toBe(400);
  });

  it("TAG-3, LIM-4: is refused beyond the quota, but not for a tag that is there", async () => {
    const { id } = await service.create(owner, { tags: full });
    await expectRefusal(413, id, () => tag("PUT", id, "one-more"));
    expect((await tag("PUT", id, "t0")).status).toBe(204);
  });

  it("TAG-3, TAG-4: is refused for every tag above a lowered quota, where DELETE goes on", async () => {
    const { id } = await service.create(owner, { tags: ["a", "b", "c"] });
    const lowered = new Service({ settings: { IMAGE_TAG_QUOTA: "1" } });
    await expectRefusal(413, id, () => tag("PUT", id, "a", owner, lowered));
    await expectRefusal(413, id, () => tag("PUT", id, "d", owner, lowered));
    expect((await tag("DELETE", id, "a", owner, lowered)).status).toBe(204);
    expect(await tagsOf(id)).toEqual(["b", "c"]);
  });

  it.each([
    ["Blue", "Blue"],
    ["a,b.c+d@e:f", "a,b.c+d@e:f"],
    ["a%2Bb", "a+b"],
    ["two%20words", "two words"],
    ["%20", " "],
    ["100%25", "100%"],
    ["%2525", "%25"],
    ["a%3Fb%23c", "a?b#c"],
    ["%22'%5C", "\"'\\"],
  ])("TAG-7: reads %s in the address as %j", async (spelling, name) => {
    const { id } = await service.create(owner, { tags: ["blue"] });
    expect((await tag("PUT", id, spelling)).status).toBe(204);
    expect(await tagsOf(id)).toEqual(["blue", name].toSorted());
    expect((await tag("DELETE", id, spelling)).status).toBe(204);
    expect(await tagsOf(id)).toEqual(["blue"]);
  });

  it("TAG-7, RT-19, RT-21: is 404 with a slash in the tag, or without a tag", async () => {
    const { id } = await service.create(owner);
    for (const spelling of ["a%2Fb", "a/b", "", "a/"]) {
      await expectRefusal(404, id, () => tag("PUT", id, spelling));
    }
  });

  it("TAG-8: reads the address as UTF-8", async () => {
    const { id } = await service.create(owner);
    expect((await tag("PUT", id, "%C3%BC-%E2%82%AC")).status).toBe(204);
    expect(await tagsOf(id)).toEqual(["ü-€"]);
  });

  it("TAG-8, REQ-9, LIM-20: refuses what is not UTF-8, and characters of four bytes", async () => {
    const { id } = await service.create(owner);
    await expectRefusal(400, id, () => tag("PUT", id, "%FF"));
    await expectRefusal(400, id, () => tag("PUT", id, "%F0%9F%98%80"));
  });

  it.each(MET_STATUSES)("TAG-10: works while the image is %s", async (status) => {
    const { id } = await imageIn(service, status);
    expect((await tag("PUT", id, "blue")).status).toBe(204);
    expect((await tag("DELETE", id, "blue")).status).toBe(204);
  });

  it("TAG-11, REP-8: gives the same set in the same order each time", async () => {
    const { id } = await service.create(owner);
    for (const name of ["c", "a", "b"]) await tag("PUT", id, name);
    const first = await service.show(owner, id);
    expect(first.tags.toSorted()).toEqual(["a", "b", "c"]);
    expect((await service.show(owner, id)).tags).toEqual(first.tags);
  });
});

describe("DELETE tag", () => {
  it("TAG-4, HDR-7: answers 204 without a body, and 404 when the tag is not there", async () => {
    const { id } = await service.create(owner, { tags: ["a", "b"] });
    const response = await tag("DELETE", id, "a");
    expect(response.status).toBe(204);
    expect(await response.text()).toBe("");
    expect(await tagsOf(id)).toEqual(["b"]);
    expect(await expectRefusal(404, id, () => tag("DELETE", id, "a"))).toContain("a");
  });

  it("TAG-7: tells letter cases apart", async () => {
    const { id } = await service.create(owner, { tags: ["Blue"] });
    await expectRefusal(404, id, () => tag("DELETE", id, "blue"));
  });
});

describe.each(["PUT", "DELETE"] as const)("%s tag", (method) => {
  it("TAG-5: is 404 for an unknown image, a deleted one and one that is not visible", async () => {
    const { id } = await service.create(owner, { tags: ["a"] });
    await expectRefusal(404, id, () => tag(method, id, "a", stranger));
    await service.call(owner, "DELETE", `/v2/images/${id}`);
    await expectRefusal(404, id, () => tag(method, id, "a"));
    expect((await tag(method, crypto.randomUUID(), "a")).status).toBe(404);
  });

  it("TAG-5: is 403 for those who see the image and may not change it, tag or no tag", async () => {
    const { id } = await service.createShared(owner, member, "accepted", { tags: ["a"] });
    for (const by of [member, ownersReader]) {
      await expectRefusal(403, id, () => tag(method, id, "a", by));
      await expectRefusal(403, id, () => tag(method, id, "not-there", by));
    }
  });

  it("POL-4: is open to admins", async () => {
    const { id } = await service.create(owner, { tags: ["a"] });
    expect((await tag(method, id, "a", admin)).status).toBe(204);
  });

  it("TAG-6: refuses a request body", async () => {
    const { id } = await service.create(owner, { tags: ["a"] });
    const path = `/v2/images/${id}/tags/a`;
    await expectRefusal(400, id, () => service.call(owner, method, path, { json: {} }));
  });
});

describe("tags as such", () => {
  it("TAG-9: have no GET", async () => {
    const { id } = await service.create(owner, { tags: ["a"] });
    const one = await service.call(owner, "GET", `/v2/images/${id}/tags/a`);
    expect(one.status).toBe(405);
    expect(one.headers.get("allow")?.split(", ").toSorted()).toEqual(["DELETE", "PUT"]);
    expect((await service.call(owner, "GET", `/v2/images/${id}/tags`)).status).toBe(404);
  });
});

describe("tags at the same time", () => {
  it("TAG-1: all survive when twenty are added", async () => {
    const { id } = await service.create(owner);
    const names = full.slice(0, 20);
    const answers = await Promise.all(names.map((name) => tag("PUT", id, name)));
    expect(answers.map(({ status }) => status)).toEqual(names.map(() => 204));
    expect(await tagsOf(id)).toEqual(names.toSorted());
  });

  it("TAG-1: none is lost when some come while others go and the image is patched", async () => {
    const { id } = await service.create(owner, { tags: full.slice(0, 10) });
    const patch = [{ op: "add", path: "/custom", value: "x" }];
    const answers = await Promise.all([
      ...full.slice(0, 10).map((name) => tag("DELETE", id, name)),
      service.call(owner, "PATCH", `/v2/images/${id}`, { patch }),
      ...full.slice(10, 20).map((name) => tag("PUT", id, name)),
    ]);
    expect(answers.every(({ ok }) => ok)).toBe(true);
    expect(await tagsOf(id)).toEqual(full.slice(10, 20).toSorted());
    expect(await service.show(owner, id)).toMatchObject({ custom: "x" });
  });

  it("TAG-3: just the quota comes in when more ask for the last places", async () => {
    const { id } = await service.create(owner, { tags: full.slice(0, 124) });
    const late = Array.from({ length: 10 }, (_, index) => `late${index}`);
    const answers = await Promise.all(late.map((name) => tag("PUT", id, name)));
    expect(answers.filter(({ status }) => status === 204)).toHaveLength(4);
    expect(answers.filter(({ status }) => status === 413)).toHaveLength(6);
    expect(await tagsOf(id)).toHaveLength(128);
  });
});

import { env } from "cloudflare:workers";
import { describe, expect, it } from "vitest";
import {
  admin,
  type Caller,
  member,
  membersReader,
  owner,
  ownersReader,
  stranger,
} from "../support/callers.ts";
import { expectRefusal, movesOn, plantMembers, stateOf } from "../support/image-state.ts";
import { Service } from "../support/service.ts";

const service = new Service();

interface MemberRecord {
  member_id: string;
  image_id: string;
  status: string;
  created_at: string;
  updated_at: string;
  schema: string;
}

const STATUSES = ["pending", "accepted", "rejected"] as const;

function add(imageId: string, json: unknown, by: Caller = owner, on = service): Promise<Response> {
  return on.call(by, "POST", `/v2/images/${imageId}/members`, { json });
}

function list(imageId: string, by: Caller): Promise<Response> {
  return service.call(by, "GET", `/v2/images/${imageId}/members`);
}

function show(imageId: string, memberId: string, by: Caller): Promise<Response> {
  return service.call(by, "GET", `/v2/images/${imageId}/members/${memberId}`);
}

function set(imageId: string, memberId: string, json: unknown, by: Caller): Promise<Response> {
  return service.call(by, "PUT", `/v2/images/${imageId}/members/${memberId}`, { json });
}

function remove(imageId: string, memberId: string, by: Caller): Promise<Response> {
  return service.call(by, "DELETE", `/v2/images/${imageId}/members/${memberId}`);
}

/** The member ids that a caller reads in the list. */
async function listed(imageId: string, by: Caller): Promise<string[]> {
  const response = await list(imageId, by);
  const body = await response.json<{ members: MemberRecord[]; schema: string }>();
  expect(response.status).toBe(200);
  return body.members.map(({ member_id }) => member_id);
}

/** A shared image with two members: the member project, accepted, and "another". */
async function shareTwice(): Promise<string> {
  const { id } = await service.createShared(owner, member);
  expect((await add(id, { member: "another" })).status).toBe(200);
  return id;
}

async function patchImage(imageId: string, name: string, value: unknown, by = owner) {
  const patch = [{ op: "replace", path: `/${name}`, value }];
  const response = await service.call(by, "PATCH", `/v2/images/${imageId}`, { patch });
  expect(response.status).toBe(200);
}

describe("adding a member", () => {
  it.each([
    ["owner", owner],
    ["admin", admin],
  ])("MEM-1, HDR-3, TIM-1, TIM-2: answers 200 with the pending member to the %s", async (_, by) => {
    const { id } = await service.create(owner);
    const response = await add(id, { member: member.projectId, ignored: true }, by);
    expect(response.status).toBe(200);
    expect(response.headers.has("location")).toBe(false);
    const record = await response.json<MemberRecord>();
    expect(record).toEqual({
      member_id: member.projectId,
      image_id: id,
      status: "pending",
      created_at: expect.stringMatching(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$/),
      updated_at: record.created_at,
      schema: "/v2/schemas/member",
    });
    expect(await (await show(id, member.projectId, owner)).json()).toEqual(record);
  });

  it("MEM-2: is refused to the owner's reader and to members", async () => {
    const { id } = await service.createShared(owner, member);
    await expectRefusal(403, id, () => add(id, { member: "x" }, ownersReader));
    await expectRefusal(403, id, () => add(id, { member: "x" }, member));
  });

  it("MEM-3: is 404 to strangers", async () => {
    const { id } = await service.createShared(owner, member);
    await expectRefusal(404, id, () => add(id, { member: stranger.projectId }, stranger));
  });

  it.each(STATUSES)("MEM-4: is refused when it is a member already, %s", async (status) => {
    const { id } = await service.createShared(owner, member, status);
    await expectRefusal(409, id, () => add(id, { member: member.projectId }));
  });

  it("MEM-5, MEM-6, LIM-5: is refused at the quota, before anyone looks who it is", async () => {
    const { id } = await service.create(owner);
    await plantMembers(id, ["a", "b"]);
    const narrow = new Service({ settings: { IMAGE_MEMBER_QUOTA: "2" } });
    await expectRefusal(413, id, () => add(id, { member: "c" }, owner, narrow));
    await expectRefusal(413, id, () => add(id, { member: "a" }, owner, narrow));
    expect((await remove(id, "a", owner)).status).toBe(204);
    expect((await add(id, { member: "c" }, owner, narrow)).status).toBe(200);
  });

  it("MEM-5, LIM-5: is refused from the 129th on by default", async () => {
    const { id } = await service.create(owner);
    await plantMembers(id, many(127));
    expect((await add(id, { member: "last" })).status).toBe(200);
    await expectRefusal(413, id, () => add(id, { member: "one-more" }, admin));
  });

  it("LIM-7: knows no quota that is negative, and lets none in when it is zero", async () => {
    const { id } = await service.create(owner);
    const none = new Service({ settings: { IMAGE_MEMBER_QUOTA: "0" } });
    await expectRefusal(413, id, () => add(id, { member: "x" }, owner, none));
    await plantMembers(id, many(200));
    const unlimited = new Service({ settings: { IMAGE_MEMBER_QUOTA: "-1" } });
    expect((await add(id, { member: "x" }, owner, unlimited)).status).toBe(200);
  });

  it("MEM-7: takes the owner's own project", async () => {
    const { id } = await service.create(owner);
    expect((await add(id, { member: owner.projectId })).status).toBe(200);
    expect(await listed(id, owner)).toEqual([owner.projectId]);
  });

  it.each([
    ["MEM-8", {}],
    ["MEM-8", { member: "" }],
    ["MEM-8", { member: null }],
    ["MEM-8", ["member"]],
    ["MEM-8", { member_id: "x" }],
    ["MEM-9, REQ-10", { member: 5 }],
    ["MEM-9, REQ-10", { member: ["x"] }],
    ["MEM-9, REQ-10", { member: { id: "x" } }],
    ["MEM-10, LIM-20", { member: "😀" }],
    ["LIM-19", { member: "x".repeat(256) }],
  ])("%s: is refused with the body %j", async (_, json) => {
    const { id } = await service.create(owner);
    await expectRefusal(400, id, () => add(id, json));
  });

  it.each(["", "x", "5", '"x"'])(
    "REQ-2, REQ-3, REQ-4: is refused with the body %j",
    async (body) => {
      const { id } = await service.create(owner);
      await expectRefusal(400, id, () =>
        service.call(owner, "POST", `/v2/images/${id}/members`, { body }),
      );
    },
  );

  it("MEM-8, MSK-9: has its body judged before the image is looked up", async () => {
    const { id } = await service.create(owner, { visibility: "private" });
    await expectRefusal(400, id, () => add(id, { member: "" }, stranger));
    await expectRefusal(404, id, () => add(id, { member: "x" }, stranger));
  });

  it("MEM-11: revives one that was removed: pending again, with its first created_at", async () => {
    const { id } = await service.createShared(owner, member, "accepted");
    await env.DB.prepare("UPDATE image_members SET created_at = 0 WHERE image_id = ?")
      .bind(id)
      .run();
    expect((await remove(id, member.projectId, owner)).status).toBe(204);
    const response = await add(id, { member: member.projectId });
    expect(response.status).toBe(200);
    const record = await response.json<MemberRecord>();
    expect(record).toMatchObject({ status: "pending", created_at: "1970-01-01T00:00:00Z" });
    expect(Date.parse(record.updated_at)).toBeGreaterThan(0);
    expect(await listed(id, owner)).toEqual([member.projectId]);
  });

  it("MEM-31: takes any text as a member's id", async () => {
    const { id } = await service.create(owner);
    const names = ["no such project", "ünïcode", "a+b%20@c", "x".repeat(255)];
    for (const name of names) expect((await add(id, { member: name })).status).toBe(200);
    for (const name of names) {
      const response = await show(id, encodeURIComponent(name), owner);
      expect(await response.json()).toMatchObject({ member_id: name });
    }
  });
});

describe("reading members", () => {
  it("MEM-12: lists all of them to the owner, its reader and admins, without paging", async () => {
    const id = await shareTwice();
    for (const by of [owner, ownersReader, admin]) {
      const response = await list(id, by);
      expect(response.status).toBe(200);
      const body = await response.json<{ members: MemberRecord[] }>();
      expect(Object.keys(body).toSorted()).toEqual(["members", "schema"]);
      expect(body).toMatchObject({ schema: "/v2/schemas/members" });
      const ids = body.members.map(({ member_id }) => member_id).toSorted();
      expect(ids).toEqual(["another", member.projectId]);
      expect(body.members[0]).toEqual({
        member_id: expect.any(String),
        image_id: id,
        status: expect.any(String),
        created_at: expect.any(String),
        updated_at: expect.any(String),
        schema: "/v2/schemas/member",
      });
    }
  });

  it("MEM-12: lists nobody for an image that is shared with nobody", async () => {
    const { id } = await service.create(owner);
    expect(await listed(id, owner)).toEqual([]);
  });

  it("MEM-13: lists to a member its own entry only, a reader being enough", async () => {
    const id = await shareTwice();
    for (const by of [member, membersReader]) {
      expect(await listed(id, by)).toEqual([member.projectId]);
    }
  });

  it("MEM-14: shows any of them to the owner, its reader and admins", async () => {
    const id = await shareTwice();
    for (const by of [owner, ownersReader, admin]) {
      const response = await show(id, "another", by);
      expect(response.status).toBe(200);
      expect(await response.json()).toMatchObject({ member_id: "another", status: "pending" });
      expect((await show(id, "nobody", by)).status).toBe(404);
    }
  });

  it("MEM-15: shows a member its own entry, and nobody else's", async () => {
    const id = await shareTwice();
    for (const by of [member, membersReader]) {
      expect((await show(id, member.projectId, by)).status).toBe(200);
      expect((await show(id, "another", by)).status).toBe(404);
    }
  });

  it("MEM-16: is 404 to strangers", async () => {
    const id = await shareTwice();
    expect((await list(id, stranger)).status).toBe(404);
    expect((await show(id, member.projectId, stranger)).status).toBe(404);
  });

  it("MEM-17, MSK-7: hides a member behind 404 where the policy denies it, and the list behind 403", async () => {
    const { id } = await service.createShared(owner, member);
    const policy = JSON.stringify({ get_member: "!", get_members: "!" });
    const closed = new Service({ settings: { POLICY: policy } });
    const path = `/v2/images/${id}/members`;
    expect((await closed.call(owner, "GET", `${path}/${member.projectId}`)).status).toBe(404);
    expect((await closed.call(owner, "GET", path)).status).toBe(403);
  });

  it("RT-8, RT-9: refuses a request body", async () => {
    const { id } = await service.createShared(owner, member);
    const headers = { "content-length": "2" };
    const path = `/v2/images/${id}/members`;
    expect((await service.call(owner, "GET", path, { headers })).status).toBe(400);
    const own = `${path}/${member.projectId}`;
    expect((await service.call(owner, "GET", own, { headers })).status).toBe(400);
    await expectRefusal(400, id, () => service.call(owner, "DELETE", own, { json: {} }));
  });
});

describe("answering an offer", () => {
  const transitions = STATUSES.flatMap((from) => STATUSES.map((to) => [from, to] as const));

  it.each(transitions)("MEM-18: a member moves from %s to %s", async (from, to) => {
    const { id } = await service.createShared(owner, member, from);
    const response = await set(id, member.projectId, { status: to, ignored: 1 }, member);
    expect(response.status).toBe(200);
    expect(await response.json()).toMatchObject({ member_id: member.projectId, status: to });
    const seen = await show(id, member.projectId, owner);
    expect(await seen.json()).toMatchObject({ status: to });
  });

  it("MEM-18, POL-14: an admin answers for any member", async () => {
    const id = await shareTwice();
    const response = await set(id, "another", { status: "rejected" }, admin);
    expect(response.status).toBe(200);
    expect(await response.json()).toMatchObject({ member_id: "another", status: "rejected" });
  });

  it("MEM-18: moves the member's updated_at on", async () => {
    const { id } = await service.createShared(owner, member, "pending");
    await env.DB.prepare(
      "UPDATE image_members SET created_at = 0, updated_at = 0 WHERE image_id = ?",
    )
      .bind(id)
      .run();
    const response = await set(id, member.projectId, { status: "accepted" }, member);
    const record = await response.json<MemberRecord>();
    expect(record.created_at).toBe("1970-01-01T00:00:00Z");
    expect(Date.parse(record.updated_at)).toBeGreaterThan(0);
  });

  it.each([
    ["owner", owner],
    ["owner's reader", ownersReader],
  ])("MEM-19, POL-14, MIN-2: is not for the %s, not even with an invalid status", async (_, by) => {
    const { id } = await service.createShared(owner, member, "pending");
    await expectRefusal(403, id, () => set(id, member.projectId, { status: "accepted" }, by));
    await expectRefusal(403, id, () => set(id, member.projectId, { status: "maybe" }, by));
  });

  it("MEM-20: is not for a member's reader", async () => {
    const { id } = await service.createShared(owner, member, "pending");
    await expectRefusal(403, id, () =>
      set(id, member.projectId, { status: "accepted" }, membersReader),
    );
  });

  it("MEM-21: is 404 for another member's entry, and to strangers", async () => {
    const id = await shareTwice();
    await expectRefusal(404, id, () => set(id, "another", { status: "accepted" }, member));
    await expectRefusal(404, id, () => set(id, "another", { status: "accepted" }, stranger));
  });

  it("MEM-22: is 404 for an unknown member, when owner or admin ask", async () => {
    const { id } = await service.createShared(owner, member);
    for (const by of [owner, admin]) {
      await expectRefusal(404, id, () => set(id, "nobody", { status: "accepted" }, by));
    }
  });

  it.each([
    { status: "maybe" },
    { status: "" },
    { status: "ACCEPTED" },
    { status: null },
    { status: 5 },
    { status: ["accepted"] },
    {},
    { member_status: "accepted" },
    ["status"],
  ])("MEM-23: is refused with the body %j", async (json) => {
    const { id } = await service.createShared(owner, member, "pending");
    await expectRefusal(400, id, () => set(id, member.projectId, json, member));
    await expectRefusal(400, id, () => set(id, member.projectId, json, admin));
  });

  it("MEM-23, REQ-2: is refused without a body", async () => {
    const { id } = await service.createShared(owner, member, "pending");
    const own = `/v2/images/${id}/members/${member.projectId}`;
    await expectRefusal(400, id, () => service.call(member, "PUT", own));
  });
});

describe("removing a member", () => {
  it.each([
    ["owner", owner],
    ["admin", admin],
  ])("MEM-24: is done for the %s", async (_, by) => {
    const id = await shareTwice();
    const response = await remove(id, member.projectId, by);
    expect(response.status).toBe(204);
    expect(await response.text()).toBe("");
    expect(await listed(id, owner)).toEqual(["another"]);
    expect((await service.call(member, "GET", `/v2/images/${id}`)).status).toBe(404);
  });

  it("MEM-25, MIN-2: is refused to the member itself", async () => {
    const { id } = await service.createShared(owner, member);
    await expectRefusal(403, id, () => remove(id, member.projectId, member));
    await expectRefusal(403, id, () => remove(id, member.projectId, membersReader));
  });

  it("MEM-26: is 403 to the owner's reader", async () => {
    const { id } = await service.createShared(owner, member);
    await expectRefusal(403, id, () => remove(id, member.projectId, ownersReader));
  });

  it("MEM-26: is 404 to strangers, for unknown members and for another member's entry", async () => {
    const id = await shareTwice();
    await expectRefusal(404, id, () => remove(id, member.projectId, stranger));
    await expectRefusal(404, id, () => remove(id, "nobody", owner));
    await expectRefusal(404, id, () => remove(id, "nobody", admin));
    await expectRefusal(404, id, () => remove(id, "another", member));
  });

  it("MEM-26: is 404 the second time", async () => {
    const { id } = await service.createShared(owner, member);
    await remove(id, member.projectId, owner);
    await expectRefusal(404, id, () => remove(id, member.projectId, owner));
  });
});

describe("what membership means", () => {
  it.each(STATUSES)("MEM-27, VIS-3: a member sees the image while %s", async (status) => {
    const { id } = await service.createShared(owner, member, status);
    expect((await service.call(member, "GET", `/v2/images/${id}`)).status).toBe(200);
  });

  it.each(["private", "community"])(
    "MEM-28: it is suspended while the image is %s, and comes back with its status",
    async (visibility) => {
      const { id } = await service.createShared(owner, member, "rejected");
      await patchImage(id, "visibility", visibility);
      const seen = visibility === "private" ? 404 : 200;
      expect((await service.call(member, "GET", `/v2/images/${id}`)).status).toBe(seen);
      expect((await show(id, member.projectId, owner)).status).toBe(404);
      await patchImage(id, "visibility", "shared");
      const response = await show(id, member.projectId, member);
      expect(await response.json()).toMatchObject({ status: "rejected" });
    },
  );

  it("MEM-29: it ends with the image", async () => {
    const id = await shareTwice();
    await service.call(owner, "DELETE", `/v2/images/${id}`);
    expect(await stateOf(id)).toMatchObject({ rows: [[{ id }], [], [], []] });
    expect((await list(id, owner)).status).toBe(404);
    expect((await add(id, { member: "x" })).status).toBe(404);
    expect((await show(id, member.projectId, member)).status).toBe(404);
    expect((await set(id, member.projectId, { status: "pending" }, member)).status).toBe(404);
    expect((await remove(id, member.projectId, admin)).status).toBe(404);
  });

  it("MEM-30: a member sees the image as its owner does", async () => {
    const { id } = await service.createShared(owner, member, "accepted", { custom: "x" });
    expect(await service.show(member, id)).toEqual(await service.show(owner, id));
  });

  it("MEM-30: a member changes nothing of the image", async () => {
    const { id } = await service.createActive(owner, "data", { tags: ["a"] });
    await add(id, { member: member.projectId });
    const path = `/v2/images/${id}`;
    const patch = [{ op: "add", path: "/custom", value: "x" }];
    await expectRefusal(403, id, () => service.call(member, "PATCH", path, { patch }));
    await expectRefusal(403, id, () => service.call(member, "DELETE", path));
    await expectRefusal(403, id, () => service.call(member, "PUT", `${path}/tags/b`));
    await expectRefusal(403, id, () => service.call(member, "DELETE", `${path}/tags/a`));
    await expectRefusal(403, id, () => service.upload(member, id, "other"));
    await expectRefusal(403, id, () => service.call(member, "POST", `${path}/actions/deactivate`));
  });

  it("TIM-3: the image's updated_at stays through changes of members", async () => {
    const { id } = await service.create(owner);
    const moved = await movesOn(id, async () => {
      await add(id, { member: member.projectId });
      await set(id, member.projectId, { status: "accepted" }, member);
      await remove(id, member.projectId, owner);
    });
    expect(moved).toBe(false);
  });
});

describe("an image that is not shared", () => {
  it.each(["private", "community", "public"])(
    "MSK-7: lets no one at its members while it is %s, admins neither: 403, and 404 for show",
    async (visibility) => {
      const { id } = await service.createShared(owner, member);
      await patchImage(id, "visibility", visibility, admin);
      for (const by of [owner, ownersReader, admin]) {
        await expectRefusal(403, id, () => list(id, by));
        await expectRefusal(403, id, () => add(id, { member: "x" }, by));
        const status = { status: "pending" };
        await expectRefusal(403, id, () => set(id, member.projectId, status, by));
        await expectRefusal(403, id, () => remove(id, member.projectId, by));
        await expectRefusal(404, id, () => show(id, member.projectId, by));
      }
    },
  );
});

describe("changes of members at the same time", () => {
  it("MEM-4: one succeeds when twenty add the same", async () => {
    const { id } = await service.create(owner);
    const answers = await Promise.all(many(20).map(() => add(id, { member: "wanted" })));
    expect(answers.filter(({ status }) => status === 200)).toHaveLength(1);
    expect(answers.filter(({ status }) => status === 409)).toHaveLength(19);
    expect(await listed(id, owner)).toEqual(["wanted"]);
  });

  it("MEM-5: just the quota comes in when more ask for the last places", async () => {
    const { id } = await service.create(owner);
    await plantMembers(id, many(125));
    const answers = await Promise.all(many(20, "late").map((name) => add(id, { member: name })));
    expect(answers.filter(({ status }) => status === 200)).toHaveLength(3);
    expect(answers.filter(({ status }) => status === 413)).toHaveLength(17);
    expect(await listed(id, owner)).toHaveLength(128);
  });

  it("MEM-24: one succeeds when ten remove the same", async () => {
    const { id } = await service.createShared(owner, member);
    const answers = await Promise.all(many(10).map(() => remove(id, member.projectId, owner)));
    expect(answers.filter(({ status }) => status === 204)).toHaveLength(1);
    expect(answers.filter(({ status }) => status === 404)).toHaveLength(9);
  });

  it("MEM-28: each is done before the image stops being shared, or refused", async () => {
    const { id } = await service.create(owner);
    const early = many(5, "early").map((name) => add(id, { member: name }));
    const closing = patchImage(id, "visibility", "private");
    const late = many(5, "late").map((name) => add(id, { member: name }));
    const answers = await Promise.all([...early, ...late]);
    await closing;
    const added = answers.filter(({ status }) => status === 200).length;
    expect(answers.filter(({ status }) => status === 403)).toHaveLength(10 - added);
    await patchImage(id, "visibility", "shared");
    expect(await listed(id, owner)).toHaveLength(added);
  });
});

function many(count: number, prefix = "m"): string[] {
  return Array.from({ length: count }, (_, index) => `${prefix}${index}`);
}

import { describe, expect, it } from "vitest";
import {
  admin,
  type Caller,
  member,
  membersReader,
  owner,
  ownersReader,
  serviceUser,
  stranger,
  strangersReader,
  unscoped,
} from "../support/callers.ts";
import { expectNoImage, expectRefusal, plantMembers } from "../support/image-state.ts";
import { type ImageRecord, Service } from "../support/service.ts";
import { imageIn, MET_STATUSES } from "../support/statuses.ts";

const service = new Service();

const VISIBILITIES = ["public", "community", "shared", "private"] as const;
type Visibility = (typeof VISIBILITIES)[number];

/** An image of the owner project, of any visibility. */
function imageOf(visibility: Visibility, record: object = {}): Promise<ImageRecord> {
  return service.create(admin, { owner: owner.projectId, visibility, ...record });
}

async function statusOf(call: Promise<Response>): Promise<number> {
  const response = await call;
  await response.body?.cancel();
  return response.status;
}

function show(imageId: string, by: Caller, on = service): Promise<number> {
  return statusOf(on.call(by, "GET", `/v2/images/${imageId}`));
}

function patch(
  imageId: string,
  name: string,
  value: unknown,
  { by = owner, op = "replace" }: { by?: Caller; op?: "add" | "replace" } = {},
): Promise<Response> {
  const operations = [{ op, path: `/${name}`, value }];
  return service.call(by, "PATCH", `/v2/images/${imageId}`, { patch: operations });
}

describe("roles", () => {
  it("ROL-1: a reader reads metadata, and neither downloads nor changes", async () => {
    const { id } = await service.createActive(owner, "data");
    const path = `/v2/images/${id}`;
    expect(await show(id, ownersReader)).toBe(200);
    expect(await statusOf(service.call(ownersReader, "GET", "/v2/images"))).toBe(200);
    await expectRefusal(403, id, () => service.call(ownersReader, "GET", `${path}/file`));
    await expectRefusal(403, id, () => patch(id, "name", "x", { by: ownersReader }));
  });

  it("ROL-1: a member downloads and changes its own project's images", async () => {
    const { id } = await service.createActive(owner, "data");
    expect(await statusOf(service.call(owner, "GET", `/v2/images/${id}/file`))).toBe(200);
    expect(await statusOf(patch(id, "name", "x"))).toBe(200);
  });

  it("ROL-1, CTX-4: an admin does everything in every project", async () => {
    const { id } = await service.createActive(owner, "data", { visibility: "private" });
    expect(await show(id, admin)).toBe(200);
    expect(await statusOf(service.call(admin, "GET", `/v2/images/${id}/file`))).toBe(200);
    expect(await statusOf(patch(id, "name", "x", { by: admin }))).toBe(200);
    expect(await statusOf(service.call(admin, "DELETE", `/v2/images/${id}`))).toBe(204);
  });

  it("ROL-2, POL-1, MSK-6: the service role alone finds no image and lists none", async () => {
    const { id } = await imageOf("public");
    expect(await show(id, serviceUser)).toBe(404);
    expect(await statusOf(service.call(serviceUser, "GET", "/v2/images"))).toBe(403);
    await expectNoImage(403, () => service.call(serviceUser, "POST", "/v2/images", { json: {} }));
  });

  it("ROL-3, CTX-6, MSK-5, MSK-6: a token without a project neither lists, creates nor finds", async () => {
    const { id } = await imageOf("public");
    expect(await show(id, unscoped)).toBe(404);
    expect(await statusOf(service.call(unscoped, "GET", "/v2/images"))).toBe(403);
    await expectNoImage(403, () => service.call(unscoped, "POST", "/v2/images", { json: {} }));
  });

  it.each(["schemas/image", "schemas/members", "info/import"])(
    "ROL-3, POL-22: %s is open to every token",
    async (path) => {
      for (const by of [unscoped, serviceUser, strangersReader, admin]) {
        expect(await statusOf(service.call(by, "GET", `/v2/${path}`))).toBe(200);
      }
    },
  );

  it("POL-1: readers and admins list", async () => {
    for (const by of [strangersReader, stranger, admin]) {
      expect(await statusOf(service.call(by, "GET", "/v2/images"))).toBe(200);
    }
  });

  it("POL-3: members and admins create", async () => {
    expect(await service.create(stranger)).toMatchObject({ owner: stranger.projectId });
    expect(await service.create(admin)).toMatchObject({ owner: admin.projectId });
    await expectNoImage(403, () =>
      service.call(strangersReader, "POST", "/v2/images", { json: {} }),
    );
  });

  it("POL-7: making an image community is a rule of its own", async () => {
    const policy = JSON.stringify({ communitize_image: "role:admin" });
    const strict = new Service({ settings: { POLICY: policy } });
    const record = { visibility: "community" };
    await expectNoImage(403, () => strict.call(owner, "POST", "/v2/images", { json: record }));
    const { id } = await strict.create(owner);
    const operations = [{ op: "replace", path: "/visibility", value: "community" }];
    const path = `/v2/images/${id}`;
    await expectRefusal(403, id, () => strict.call(owner, "PATCH", path, { patch: operations }));
    expect(await statusOf(strict.call(admin, "PATCH", path, { patch: operations }))).toBe(200);
  });
});

describe("who sees an image by its id", () => {
  const everyone = { owner, ownersReader, stranger, strangersReader, admin };

  it.each([
    ["VIS-1, MIN-1", "public", 200],
    ["VIS-2, MIN-1", "community", 200],
    ["VIS-3, MIN-1", "shared", 404],
    ["VIS-4, MIN-1", "private", 404],
  ] as const)("%s: a %s image is %d for other projects", async (_, visibility, others) => {
    const { id } = await imageOf(visibility);
    const answers: Record<string, number> = {};
    for (const [name, by] of Object.entries(everyone)) answers[name] = await show(id, by);
    expect(answers).toEqual({
      owner: 200,
      ownersReader: 200,
      stranger: others,
      strangersReader: others,
      admin: 200,
    });
  });

  it.each(["pending", "accepted", "rejected"] as const)(
    "VIS-3, VIS-4: a member that is %s sees the image while it is shared, not while it is private",
    async (status) => {
      const { id } = await service.createShared(owner, member, status);
      expect(await show(id, member)).toBe(200);
      expect(await show(id, membersReader)).toBe(200);
      await patch(id, "visibility", "private");
      expect(await show(id, member)).toBe(404);
      await patch(id, "visibility", "shared");
      expect(await show(id, member)).toBe(200);
    },
  );

  it.each([
    ["public", 200],
    ["community", 200],
    ["shared", 404],
    ["private", 404],
  ] as const)(
    "VIS-5, VIS-6: a %s image of nobody is %d for all but admins",
    async (visibility, seen) => {
      const { id } = await service.create(admin, { owner: null, visibility });
      await plantMembers(id, [member.projectId]);
      for (const by of [owner, member, stranger, strangersReader])
        expect(await show(id, by)).toBe(seen);
      expect(await show(id, admin)).toBe(200);
    },
  );

  it("VIS-5: an image of nobody is changed by admins only", async () => {
    const { id } = await service.create(admin, { owner: null, visibility: "community" });
    await expectRefusal(403, id, () => patch(id, "name", "x"));
    await expectRefusal(403, id, () => service.call(stranger, "DELETE", `/v2/images/${id}`));
    expect(await statusOf(patch(id, "name", "x", { by: admin }))).toBe(200);
  });

  it.each([{ os_hidden: true }, { protected: true }])(
    "VIS-7: %j makes no difference",
    async (record) => {
      const open = await imageOf("community", record);
      expect(await show(open.id, stranger)).toBe(200);
      const { id } = await service.createShared(owner, member, "pending", record);
      expect(await show(id, member)).toBe(200);
      expect(await show(id, stranger)).toBe(404);
    },
  );

  it.each(MET_STATUSES)("VIS-7: that it is %s makes no difference", async (status) => {
    const open = await imageIn(service, status, { visibility: "community" });
    expect(await show(open.id, stranger)).toBe(200);
    const closed = await imageIn(service, status, { visibility: "private" });
    expect(await show(closed.id, owner)).toBe(200);
    expect(await show(closed.id, stranger)).toBe(404);
  });

  it.each(VISIBILITIES)("VIS-8: a deleted %s image is 404 for all", async (visibility) => {
    const { id } = await imageOf(visibility);
    await service.call(owner, "DELETE", `/v2/images/${id}`);
    for (const by of Object.values(everyone)) expect(await show(id, by)).toBe(404);
  });
});

describe("403 or 404", () => {
  /** Every call there is on one image. */
  const calls: readonly [string, string, object][] = [
    ["GET", "", {}],
    ["HEAD", "", {}],
    ["PATCH", "", { patch: [{ op: "add", path: "/custom", value: "x" }] }],
    ["PATCH", "", { patch: [] }],
    ["DELETE", "", {}],
    ["GET", "/file", {}],
    ["HEAD", "/file", {}],
    ["PUT", "/file", { body: "x", headers: { "content-type": "application/octet-stream" } }],
    ["PUT", "/tags/a", {}],
    ["DELETE", "/tags/a", {}],
    ["POST", "/actions/deactivate", {}],
    ["POST", "/actions/reactivate", {}],
    ["GET", "/members", {}],
    ["POST", "/members", { json: { member: "m" } }],
    ["GET", "/members/m", {}],
    ["PUT", "/members/m", { json: { status: "accepted" } }],
    ["DELETE", "/members/m", {}],
  ];
  const reads = new Set(["GET", "HEAD"]);

  /** What each call is told, the image's id left out: its status and its sentence. */
  async function answersTo(by: Caller, imageId: string): Promise<Record<string, string>> {
    const answers: Record<string, string> = {};
    for (const [method, rest, options] of calls) {
      const call = `${method} ${rest} ${"patch" in options ? JSON.stringify(options) : ""}`;
      const path = `/v2/images/${imageId}${rest}`;
      const response = await service.call(by, method, path, options);
      answers[call] = `${response.status} ${await response.text()}`.replaceAll(imageId, "");
    }
    return answers;
  }

  it.each(["shared", "private"] as const)(
    "MSK-1, MIN-1: every call on a %s image of others is 404, as on one that is not there",
    async (visibility) => {
      const { id } = await imageOf(visibility, { tags: ["a"], protected: true });
      await plantMembers(id, ["m"]);
      const answers = await answersTo(stranger, id);
      expect(answers).toEqual(await answersTo(stranger, crypto.randomUUID()));
      for (const answer of Object.values(answers)) expect(answer).toMatch(/^404 /);
    },
  );

  it("MSK-2, MIN-1: every change of an image that is seen is 403 to others", async () => {
    const { id } = await imageOf("community", { tags: ["a"] });
    for (const [method, rest, options] of calls) {
      const isEmptyPatch = "patch" in options && JSON.stringify(options.patch) === "[]";
      if (reads.has(method) || isEmptyPatch) continue;
      const path = `/v2/images/${id}${rest}`;
      await expectRefusal(403, id, () => service.call(stranger, method, path, options));
    }
  });

  it.each([
    ["the service role", serviceUser],
    ["no project", unscoped],
  ])(
    "MSK-3, MIN-1: whoever, with %s, may not even see a public image is told 404",
    async (_, by) => {
      const { id } = await imageOf("public", { tags: ["a"] });
      for (const answer of Object.values(await answersTo(by, id))) expect(answer).toMatch(/^404 /);
      expect(await show(id, admin)).toBe(200);
    },
  );

  it("MSK-4: an action that is allowed is done although seeing is denied", async () => {
    const blind = new Service({ settings: { POLICY: JSON.stringify({ get_image: "!" }) } });
    const { id } = await blind.createEmpty(owner);
    const path = `/v2/images/${id}`;
    expect(await show(id, owner, blind)).toBe(404);
    const operations = [{ op: "replace", path: "/name", value: "done" }];
    expect(await statusOf(blind.call(owner, "PATCH", path, { patch: operations }))).toBe(200);
    expect(await statusOf(blind.call(owner, "PUT", `${path}/tags/a`))).toBe(204);
    await expectRefusal(404, id, () => blind.call(ownersReader, "PUT", `${path}/tags/b`));
    expect(await service.show(owner, id)).toMatchObject({ name: "done", tags: ["a"] });
  });

  it("MSK-9: what is wrong with a request is told before whether the image is there", async () => {
    const path = `/v2/images/${crypto.randomUUID()}`;
    const media = { headers: { "content-type": "text/plain" }, body: "x" };
    expect(await statusOf(service.call(stranger, "PATCH", path, media))).toBe(415);
    expect(await statusOf(service.call(stranger, "PUT", `${path}/file`, media))).toBe(415);
    const tag = `${path}/tags/${"x".repeat(256)}`;
    expect(await statusOf(service.call(stranger, "PUT", tag))).toBe(400);
    expect(await statusOf(service.call(stranger, "POST", `${path}/members`, { json: {} }))).toBe(
      400,
    );
    expect(await statusOf(service.call(stranger, "DELETE", path, { json: {} }))).toBe(400);
  });

  it("MSK-10, PAG-9: a marker that is not visible is told like one that is not there", async () => {
    const { id } = await imageOf("private");
    const ask = (marker: string) => service.call(stranger, "GET", `/v2/images?marker=${marker}`);
    const hidden = await ask(id);
    const absent = await ask(crypto.randomUUID());
    expect(hidden.status).toBe(400);
    expect(await hidden.text()).toBe(await absent.text());
  });

  it("MSK-10, CRE-12: an id that is taken is told, whoever has it", async () => {
    const { id } = await imageOf("private");
    await expectRefusal(409, id, () =>
      service.call(stranger, "POST", "/v2/images", { json: { id } }),
    );
  });
});

describe("changing visibility and owner", () => {
  const pairs = VISIBILITIES.flatMap((from) => VISIBILITIES.map((to) => [from, to] as const));

  it.each(pairs.filter(([, to]) => to !== "public"))(
    "CHG-1, POL-7: an owner moves an image from %s to %s",
    async (from, to) => {
      const { id } = await imageOf(from);
      const response = await patch(id, "visibility", to);
      expect(response.status).toBe(200);
      expect(await response.json()).toMatchObject({ visibility: to });
    },
  );

  it.each(VISIBILITIES)("CHG-2, PRO-16, POL-6: no owner makes a %s image public", async (from) => {
    const { id } = await imageOf(from);
    await expectRefusal(403, id, () => patch(id, "visibility", "public"));
    await expectRefusal(403, id, () => patch(id, "visibility", "public", { op: "add" }));
  });

  it("CHG-3: an owner goes on changing its public image in every other way", async () => {
    const { id } = await service.createActive(admin, "data", {
      owner: owner.projectId,
      visibility: "public",
    });
    const path = `/v2/images/${id}`;
    expect(await statusOf(patch(id, "name", "x"))).toBe(200);
    expect(await statusOf(service.call(owner, "PUT", `${path}/tags/a`))).toBe(204);
    const deactivate = `${path}/actions/deactivate`;
    expect(await statusOf(service.call(owner, "POST", deactivate))).toBe(204);
    expect(await statusOf(service.call(owner, "DELETE", path))).toBe(204);
  });

  it.each(pairs)("CHG-4, POL-6: an admin moves an image from %s to %s", async (from, to) => {
    const { id } = await imageOf(from);
    const response = await patch(id, "visibility", to, { by: admin });
    expect(response.status).toBe(200);
    expect(await response.json()).toMatchObject({ visibility: to });
  });

  it.each([
    ["some-project", "some-project"],
    ["x".repeat(255), "x".repeat(255)],
    [null, null],
    ["", null],
  ])("CHG-6, PRO-7: an admin makes %j the owner", async (given, kept) => {
    for (const op of ["add", "replace"] as const) {
      const { id } = await imageOf("shared");
      const response = await patch(id, "owner", given, { by: admin, op });
      expect(response.status).toBe(200);
      expect(await response.json()).toMatchObject({ owner: kept });
    }
  });

  it("CHG-6, LIM-12: no owner has more than 255 characters", async () => {
    const { id } = await imageOf("shared");
    await expectRefusal(400, id, () => patch(id, "owner", "x".repeat(256), { by: admin }));
  });

  it.each(VISIBILITIES)(
    "CHG-7, CHG-8, PRO-6: no owner gives a %s image away, not even to itself",
    async (visibility) => {
      const { id } = await imageOf(visibility);
      for (const op of ["add", "replace"] as const) {
        for (const heir of [stranger.projectId, owner.projectId, null]) {
          await expectRefusal(403, id, () => patch(id, "owner", heir, { op }));
        }
      }
    },
  );

  it("CHG-9: the old owner's rights end with the change, members stay", async () => {
    const { id } = await service.createShared(owner, member, "accepted");
    await patch(id, "owner", stranger.projectId, { by: admin });
    expect(await show(id, owner)).toBe(404);
    await expectRefusal(404, id, () => patch(id, "name", "x"));
    expect(await show(id, member)).toBe(200);
    expect(await statusOf(patch(id, "name", "x", { by: stranger }))).toBe(200);
    const members = await service.call(stranger, "GET", `/v2/images/${id}/members`);
    expect(await members.json()).toMatchObject({
      members: [{ member_id: member.projectId, status: "accepted" }],
    });
  });
});

describe("an operator's policy", () => {
  it("MIN-3: may let readers download", async () => {
    const policy = JSON.stringify({ download_image: "rule:get_image" });
    const relaxed = new Service({ settings: { POLICY: policy } });
    const { id } = await relaxed.createActive(owner, "data");
    const path = `/v2/images/${id}/file`;
    expect(await statusOf(relaxed.call(ownersReader, "GET", path))).toBe(200);
    expect(await statusOf(relaxed.call(strangersReader, "GET", path))).toBe(404);
    expect(await statusOf(service.call(ownersReader, "GET", path))).toBe(403);
  });

  it("MIN-4: may keep deactivation for admins", async () => {
    const policy = JSON.stringify({ deactivate: "role:admin", reactivate: "role:admin" });
    const strict = new Service({ settings: { POLICY: policy } });
    const { id } = await strict.createActive(owner, "data");
    const path = `/v2/images/${id}/actions`;
    await expectRefusal(403, id, () => strict.call(owner, "POST", `${path}/deactivate`));
    expect(await statusOf(strict.call(admin, "POST", `${path}/deactivate`))).toBe(204);
    await expectRefusal(403, id, () => strict.call(owner, "POST", `${path}/reactivate`));
  });
});

import { beforeAll, describe, expect, it } from "vitest";
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
import { plantMembers } from "../support/image-state.ts";
import { type ImageRecord, Service } from "../support/service.ts";

/*
 * Contract 06 §6.3: what each caller's list holds. One set of images for all tests, named by whose they are:
 * `owner`, `member`, `other`, `admin` stand for the projects, `nobody` for none. The member project was offered three
 * of the owner's images, and answered two.
 */

const service = new Service();

const VISIBILITIES = ["public", "community", "shared", "private"] as const;
const OWNERS = {
  owner: owner.projectId,
  member: member.projectId,
  other: stranger.projectId,
  admin: admin.projectId,
  nobody: null,
} as const;

/** The name of each image by its id; images of other tests have none. */
const names = new Map<string, string>();

async function arrange(name: string, record: object): Promise<ImageRecord> {
  const image = await service.create(admin, { name, ...record });
  names.set(image.id, name);
  return image;
}

beforeAll(async () => {
  for (const [who, project] of Object.entries(OWNERS)) {
    for (const visibility of VISIBILITIES) {
      await arrange(`${who} ${visibility}`, { owner: project, visibility });
      await arrange(`hidden ${who} ${visibility}`, {
        owner: project,
        visibility,
        os_hidden: true,
      });
    }
  }
  for (const status of ["pending", "accepted", "rejected"] as const) {
    for (const isHidden of [false, true]) {
      const name = `${isHidden ? "hidden " : ""}owner ${status}`;
      const record = { name, os_hidden: isHidden };
      const { id } = await service.createShared(owner, member, status, record);
      names.set(id, name);
    }
  }
  // Memberships that do not count: of images that are not shared (any more), or nobody's.
  for (const visibility of ["public", "community", "private"] as const) {
    const { id } = await service.createShared(owner, member, "accepted");
    names.set(id, `owner ${visibility}, once accepted`);
    const patch = [{ op: "replace", path: "/visibility", value: visibility }];
    await service.call(admin, "PATCH", `/v2/images/${id}`, { patch });
  }
  const orphan = await service.createShared(owner, member, "accepted");
  names.set(orphan.id, "nobody's, once accepted");
  const patch = [{ op: "replace", path: "/owner", value: null }];
  await service.call(admin, "PATCH", `/v2/images/${orphan.id}`, { patch });
  // And of an image whose own project is its member.
  const own = await service.create(owner);
  names.set(own.id, "owner shared with itself");
  await plantMembers(own.id, [owner.projectId]);
});

async function read(
  by: Caller | null,
  query: string,
  on = service,
): Promise<{ images: ImageRecord[]; next?: string }> {
  const response = await on.call(by, "GET", `/v2/images?${query}`);
  expect(response.status).toBe(200);
  return response.json();
}

/** The names that a caller's list holds, in one page and, to be sure, walked in pages of three. */
async function listed(by: Caller | null, query = "", on = service): Promise<string[]> {
  const whole = await read(by, `limit=1000&${query}`, on);
  const walked: ImageRecord[] = [];
  let next: string | undefined = `/v2/images?limit=3&${query}`;
  while (next !== undefined) {
    const page: { images: ImageRecord[]; next?: string } = await read(
      by,
      next.split("?")[1] ?? "",
      on,
    );
    walked.push(...page.images);
    next = page.next;
  }
  expect(walked).toEqual(whole.images);
  return whole.images.map(({ id }) => names.get(id) ?? id).toSorted();
}

const OF = (who: string, kinds: readonly string[] = VISIBILITIES) =>
  kinds.map((kind) => `${who} ${kind}`);
const EVERYONE = Object.keys(OWNERS);
const allOf = (kind: string, whose = EVERYONE) => whose.map((who) => `${who} ${kind}`);

const PUBLIC = [...allOf("public"), "owner public, once accepted"];
const COMMUNITY = [...allOf("community"), "owner community, once accepted"];
const OWNERS_SHARED = [
  "owner shared",
  "owner shared with itself",
  "owner pending",
  "owner accepted",
  "owner rejected",
];
const OWNERS_PRIVATE = ["owner private", "owner private, once accepted"];
const SHARED = [
  ...allOf("shared", ["member", "other", "admin", "nobody"]),
  ...OWNERS_SHARED,
  "nobody's, once accepted",
];
const PRIVATE = [...allOf("private", ["member", "other", "admin", "nobody"]), ...OWNERS_PRIVATE];

/** The expected list by caller, written as the contract writes it: non-admins, then the admin. */
interface Row {
  readonly rows: string;
  readonly query: string;
  readonly owner: readonly string[];
  readonly member: readonly string[];
  readonly stranger: readonly string[];
  readonly admin: readonly string[];
}

const OWNERS_COMMUNITY = ["owner community", "owner community, once accepted"];

const ROWS: readonly Row[] = [
  {
    rows: "LST-1, MIN-1",
    query: "",
    owner: [...PUBLIC, ...OWNERS_COMMUNITY, ...OWNERS_SHARED, ...OWNERS_PRIVATE],
    member: [...PUBLIC, ...OF("member", ["community", "shared", "private"]), "owner accepted"],
    stranger: [...PUBLIC, ...OF("other", ["community", "shared", "private"])],
    admin: [...PUBLIC, "admin community", ...SHARED, ...PRIVATE],
  },
  {
    rows: "LST-2, MIN-1",
    query: "visibility=all",
    owner: [...PUBLIC, ...COMMUNITY, ...OWNERS_SHARED, ...OWNERS_PRIVATE],
    member: [...PUBLIC, ...COMMUNITY, ...OF("member", ["shared", "private"]), "owner accepted"],
    stranger: [...PUBLIC, ...COMMUNITY, ...OF("other", ["shared", "private"])],
    admin: [...PUBLIC, ...COMMUNITY, ...SHARED, ...PRIVATE],
  },
  {
    rows: "LST-3, MIN-1",
    query: "visibility=public",
    owner: PUBLIC,
    member: PUBLIC,
    stranger: PUBLIC,
    admin: PUBLIC,
  },
  {
    rows: "LST-4, MIN-1",
    query: "visibility=community",
    owner: COMMUNITY,
    member: COMMUNITY,
    stranger: COMMUNITY,
    admin: COMMUNITY,
  },
  {
    rows: "LST-5, MIN-1",
    query: "visibility=shared",
    owner: OWNERS_SHARED,
    member: ["member shared", "owner accepted"],
    stranger: ["other shared"],
    admin: SHARED,
  },
  {
    rows: "LST-6, MIN-1",
    query: "visibility=private",
    owner: OWNERS_PRIVATE,
    member: ["member private"],
    stranger: ["other private"],
    admin: PRIVATE,
  },
  {
    rows: "LST-7, FIL-14",
    query: `owner=${owner.projectId}`,
    owner: [
      "owner public",
      "owner public, once accepted",
      ...OWNERS_COMMUNITY,
      ...OWNERS_SHARED,
      ...OWNERS_PRIVATE,
    ],
    member: ["owner public", "owner public, once accepted", "owner accepted"],
    stranger: ["owner public", "owner public, once accepted"],
    admin: ["owner public", "owner public, once accepted", ...OWNERS_SHARED, ...OWNERS_PRIVATE],
  },
  {
    rows: "LST-7, FIL-14",
    query: `owner=${owner.projectId}&visibility=all`,
    owner: [
      "owner public",
      "owner public, once accepted",
      ...OWNERS_COMMUNITY,
      ...OWNERS_SHARED,
      ...OWNERS_PRIVATE,
    ],
    member: ["owner public", "owner public, once accepted", ...OWNERS_COMMUNITY, "owner accepted"],
    stranger: ["owner public", "owner public, once accepted", ...OWNERS_COMMUNITY],
    admin: [
      "owner public",
      "owner public, once accepted",
      ...OWNERS_COMMUNITY,
      ...OWNERS_SHARED,
      ...OWNERS_PRIVATE,
    ],
  },
  {
    rows: "LST-7",
    query: `owner=${owner.projectId}&visibility=community`,
    owner: OWNERS_COMMUNITY,
    member: OWNERS_COMMUNITY,
    stranger: OWNERS_COMMUNITY,
    admin: OWNERS_COMMUNITY,
  },
  {
    rows: "LST-7",
    query: `owner=${owner.projectId}&visibility=private`,
    owner: OWNERS_PRIVATE,
    member: [],
    stranger: [],
    admin: OWNERS_PRIVATE,
  },
  {
    rows: "LST-8, FIL-5",
    query: "member_status=pending",
    owner: [...PUBLIC, ...OWNERS_COMMUNITY, ...OWNERS_SHARED, ...OWNERS_PRIVATE],
    member: [...PUBLIC, ...OF("member", ["community", "shared", "private"]), "owner pending"],
    stranger: [...PUBLIC, ...OF("other", ["community", "shared", "private"])],
    admin: [...PUBLIC, "admin community", ...SHARED, ...PRIVATE],
  },
  {
    rows: "LST-8, LST-5, FIL-5",
    query: "member_status=rejected&visibility=shared",
    owner: OWNERS_SHARED,
    member: ["member shared", "owner rejected"],
    stranger: ["other shared"],
    admin: SHARED,
  },
  {
    rows: "LST-8, LST-5, FIL-5",
    query: "member_status=all&visibility=shared",
    owner: OWNERS_SHARED,
    member: ["member shared", "owner pending", "owner accepted", "owner rejected"],
    stranger: ["other shared"],
    admin: SHARED,
  },
  {
    rows: "LST-8, FIL-5",
    query: "member_status=all&visibility=all",
    owner: [...PUBLIC, ...COMMUNITY, ...OWNERS_SHARED, ...OWNERS_PRIVATE],
    member: [
      ...PUBLIC,
      ...COMMUNITY,
      ...OF("member", ["shared", "private"]),
      "owner pending",
      "owner accepted",
      "owner rejected",
    ],
    stranger: [...PUBLIC, ...COMMUNITY, ...OF("other", ["shared", "private"])],
    admin: [...PUBLIC, ...COMMUNITY, ...SHARED, ...PRIVATE],
  },
  {
    rows: "LST-10",
    query: "os_hidden=true",
    owner: [
      ...allOf("public").map(hidden),
      ...OF("owner", ["community", "shared", "private"]).map(hidden),
      "hidden owner pending",
      "hidden owner accepted",
      "hidden owner rejected",
    ],
    member: [
      ...allOf("public").map(hidden),
      ...OF("member", ["community", "shared", "private"]).map(hidden),
      "hidden owner accepted",
    ],
    stranger: [
      ...allOf("public").map(hidden),
      ...OF("other", ["community", "shared", "private"]).map(hidden),
    ],
    admin: [
      ...EVERYONE.flatMap((who) => OF(who, ["public", "shared", "private"])).map(hidden),
      "hidden admin community",
      "hidden owner pending",
      "hidden owner accepted",
      "hidden owner rejected",
    ],
  },
  {
    rows: "LST-10",
    query: "os_hidden=false&visibility=community",
    owner: COMMUNITY,
    member: COMMUNITY,
    stranger: COMMUNITY,
    admin: COMMUNITY,
  },
];

function hidden(name: string): string {
  return `hidden ${name}`;
}

describe.each(ROWS)("the list for ?$query", ({ rows, query, ...expected }) => {
  it.each([
    ["owner", owner],
    ["member", member],
    ["stranger", stranger],
    ["admin", admin],
  ] as const)(`${rows}: holds for the %s what the contract says`, async (who, by) => {
    expect(await listed(by, query)).toEqual(expected[who].toSorted());
  });
});

describe("lists", () => {
  it.each(["name", "size", "updated_at"])(
    "LST-1, SRT-2: hold the same images when they are sorted by %s",
    async (key) => {
      for (const by of [owner, member, stranger, admin]) {
        expect(await listed(by, `sort=${key}:asc`)).toEqual(await listed(by));
      }
    },
  );

  it("LST-1, POL-1: are the same for a project's reader as for its member", async () => {
    for (const [reader, full] of [
      [ownersReader, owner],
      [membersReader, member],
      [strangersReader, stranger],
    ] as const) {
      for (const query of ["", "visibility=all", "visibility=shared"]) {
        expect(await listed(reader, query)).toEqual(await listed(full, query));
      }
    }
  });

  it.each([
    ["name=owner%20private", "owner private"],
    ["name=owner%20community", "owner community"],
    ["name=owner%20pending", "owner pending"],
  ])("LST-1: do not let a filter (%s) reach what the list does not hold", async (query, name) => {
    expect(await listed(owner, query)).toEqual([name]);
    expect(await listed(member, query)).toEqual([]);
    expect(await listed(stranger, query)).toEqual([]);
  });

  it("LST-9: hold nobody's images only where they are public, or community and asked for", async () => {
    for (const by of [owner, member, stranger]) {
      const isNobodys = (name: string) => /^nobody/.test(name);
      expect((await listed(by)).filter(isNobodys)).toEqual(["nobody public"]);
      expect((await listed(by, "visibility=all&member_status=all")).filter(isNobodys)).toEqual([
        "nobody community",
        "nobody public",
      ]);
    }
    expect(await listed(admin, "visibility=shared")).toContain("nobody shared");
    expect(await listed(admin, "visibility=private")).toContain("nobody private");
  });

  it("LST-11: leave out what policy does not let the caller see, so that pages can be short", async () => {
    const policy = JSON.stringify({ get_image: "role:admin or project_id:%(owner)s" });
    const strict = new Service({ settings: { POLICY: policy } });
    const own = (await listed(owner)).filter((name) => name.startsWith("owner "));
    const { images } = await read(owner, "limit=1000", strict);
    expect(images.map(({ id }) => names.get(id)).toSorted()).toEqual(own);
    const limit = (await read(owner, "limit=1000")).images.length - 1;
    const page = await read(owner, `limit=${limit}`, strict);
    expect(page.images.length).toBeLessThan(limit);
    expect(page.next).toContain(`marker=${page.images.at(-1)?.id}`);
    expect(await listed(admin, "", strict)).toEqual(await listed(admin));
  });

  it("LST-11: keep what is shared with the caller, where policy asks for membership", async () => {
    const policy = JSON.stringify({ get_image: "project_id:%(member_id)s" });
    const strict = new Service({ settings: { POLICY: policy } });
    const { images } = await read(member, "limit=1000&visibility=shared", strict);
    expect(images.map(({ id }) => names.get(id))).toEqual(["owner accepted"]);
  });

  it("LST-12: hold public images only for a caller without a project, and community ones if asked for", async () => {
    const open = new Service({
      settings: {
        ALLOW_ANONYMOUS_ACCESS: "true",
        POLICY: JSON.stringify({ get_images: "@", get_image: "@" }),
      },
    });
    for (const by of [null, unscoped]) {
      expect(await listed(by, "", open)).toEqual(PUBLIC.toSorted());
      expect(await listed(by, "visibility=community", open)).toEqual(COMMUNITY.toSorted());
      expect(await listed(by, "visibility=all", open)).toEqual(
        [...PUBLIC, ...COMMUNITY].toSorted(),
      );
      expect(await listed(by, "visibility=shared&member_status=all", open)).toEqual([]);
      expect(await listed(by, "visibility=private", open)).toEqual([]);
    }
  });

  it("LST-12: hold no community images for an admin without a project unless asked for", async () => {
    const open = new Service({
      settings: {
        POLICY: JSON.stringify({
          context_is_admin: "@",
          get_images: "@",
          get_image: "@",
        }),
      },
    });
    const all = [...PUBLIC, ...SHARED, ...PRIVATE];
    expect(await listed(unscoped, "", open)).toEqual(all.toSorted());
    expect(await listed(unscoped, "visibility=all", open)).toEqual(
      [...all, ...COMMUNITY].toSorted(),
    );
  });

  it("ROL-4: show an admin the community images of its own project only", async () => {
    const community = (await listed(admin)).filter((name) => name.includes("community"));
    expect(community).toEqual(["admin community"]);
  });

  it("MSK-6, ROL-2, ROL-3: are 403 without the role to read them", async () => {
    for (const by of [serviceUser, unscoped]) {
      expect((await service.call(by, "GET", "/v2/images")).status).toBe(403);
    }
  });

  it("CHG-9, MEM-28: follow a change of owner and visibility at once", async () => {
    const { id } = await service.createShared(stranger, member, "accepted");
    names.set(id, "changing");
    const holds = async (by: Caller) => (await listed(by)).includes("changing");
    const change = (name: string, value: string) => {
      const patch = [{ op: "replace", path: `/${name}`, value }];
      return service.call(admin, "PATCH", `/v2/images/${id}`, { patch });
    };
    expect([await holds(stranger), await holds(member), await holds(owner)]).toEqual([
      true,
      true,
      false,
    ]);
    await change("owner", owner.projectId);
    expect([await holds(stranger), await holds(member), await holds(owner)]).toEqual([
      false,
      true,
      true,
    ]);
    await change("visibility", "private");
    expect([await holds(stranger), await holds(member), await holds(owner)]).toEqual([
      false,
      false,
      true,
    ]);
    await change("visibility", "public");
    expect([await holds(stranger), await holds(member), await holds(owner)]).toEqual([
      true,
      true,
      true,
    ]);
    await service.call(admin, "DELETE", `/v2/images/${id}`);
    expect([await holds(stranger), await holds(member), await holds(owner)]).toEqual([
      false,
      false,
      false,
    ]);
  });
});

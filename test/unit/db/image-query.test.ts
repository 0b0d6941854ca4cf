import { env } from "cloudflare:workers";
import fc from "fast-check";
import { beforeAll, describe, expect, it } from "vitest";
import { openDatabase } from "../../../src/db/database.ts";
import { listImages, selectPage } from "../../../src/db/image-query.ts";
import { imageBurial } from "../../../src/db/images.ts";
import { MEMBER_STATUSES, VISIBILITIES } from "../../../src/domain/image.ts";
import type { Viewer } from "../../../src/domain/visibility.ts";
import {
  adminOf,
  type ImageSketch,
  id,
  type MemberSketch,
  memberOf,
  query,
  store,
} from "./list-fixtures.ts";
import { listByHand } from "./list-oracle.ts";

const db = openDatabase(env.DB);

async function idsOf(search: string, viewer: Viewer): Promise<string[]> {
  const { images } = await listImages(db, query(search), viewer);
  return images.map((image) => image.id);
}

/** All ids, page by page, as a client collects them. */
async function idsByPages(search: string, limit: number, viewer: Viewer): Promise<string[]> {
  const ids: string[] = [];
  for (;;) {
    const marker = ids.at(-1);
    const more = marker === undefined ? "" : `&marker=${marker}`;
    const page = await idsOf(`${search}&limit=${limit}${more}`, viewer);
    ids.push(...page);
    if (page.length < limit) return ids;
    if (ids.length > 100) throw new Error("the pages repeat themselves");
  }
}

const faultCode = (code: string) => expect.objectContaining({ code });

describe("who sees what in a list", () => {
  const owned = (visibility: (typeof VISIBILITIES)[number], owner: string | null, n: number) => ({
    id: id(n),
    visibility,
    owner,
    createdAtMs: n,
  });
  // Newest last: 1–4 are p1's, 5–8 p2's, 9–12 nobody's, in the order public, community, shared, private.
  const images = ["p1", "p2", null].flatMap((owner, o) =>
    (["public", "community", "shared", "private"] as const).map((visibility, v) =>
      owned(visibility, owner, o * 4 + v + 1),
    ),
  );
  const others: ImageSketch[] = [
    { id: id(13), owner: "p2", createdAtMs: 13 },
    { id: id(14), owner: "p2", createdAtMs: 14 },
    { id: id(15), owner: "p1", isHidden: true, createdAtMs: 15 },
    { id: id(16), owner: "p2", isHidden: true, createdAtMs: 16 },
    { id: id(17), owner: "p1", status: "killed", createdAtMs: 17 },
    { id: id(18), owner: "p1", status: "deleted", createdAtMs: 18 },
  ];
  const members: MemberSketch[] = [
    { imageId: id(7), memberId: "p1", status: "accepted" },
    { imageId: id(8), memberId: "p1", status: "accepted" },
    { imageId: id(11), memberId: "p1", status: "accepted" },
    { imageId: id(13), memberId: "p1", status: "pending" },
    { imageId: id(14), memberId: "p1", status: "rejected" },
    { imageId: id(16), memberId: "p1", status: "accepted" },
  ];
  beforeAll(async () => {
    await store([...images, ...others], members);
  });

  const newestFirst = (...numbers: number[]) => numbers.sort((a, b) => b - a).map(id);

  it.each([
    ["LST-1, LST-9", "", [1, 2, 3, 4, 5, 7, 9]],
    ["LST-2", "visibility=all", [1, 2, 3, 4, 5, 6, 7, 9, 10]],
    ["LST-3", "visibility=public", [1, 5, 9]],
    ["LST-4", "visibility=community", [2, 6, 10]],
    ["LST-5", "visibility=shared", [3, 7]],
    ["LST-6", "visibility=private", [4]],
    ["LST-7", "owner=p2", [5, 7]],
    ["LST-7", "owner=p2&visibility=all", [5, 6, 7]],
    ["LST-7, FIL-14", "owner=p1", [1, 2, 3, 4]],
    ["LST-8, FIL-5", "member_status=pending", [1, 2, 3, 4, 5, 9, 13]],
    ["LST-8, FIL-5", "member_status=rejected&visibility=shared", [3, 14]],
    ["LST-8, FIL-5", "member_status=all", [1, 2, 3, 4, 5, 7, 9, 13, 14]],
    ["LST-2, LST-8", "member_status=all&visibility=all", [1, 2, 3, 4, 5, 6, 7, 9, 10, 13, 14]],
    ["LST-10, FIL-6", "os_hidden=true", [15, 16]],
    ["FIL-4", "visibility=", []],
    ["FIL-3", "status=killed", []],
    ["FIL-3", "status=deleted", []],
  ])("%s: a project's member asks for '%s'", async (_, search, expected) => {
    expect(await idsOf(search, memberOf("p1"))).toEqual(newestFirst(...expected));
  });

  it.each([
    ["LST-1", "", [1, 2, 3, 4, 5, 7, 8, 9, 11, 12, 13, 14]],
    ["LST-2", "visibility=all", [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14]],
    ["LST-3", "visibility=public", [1, 5, 9]],
    ["LST-4", "visibility=community", [2, 6, 10]],
    ["LST-5", "visibility=shared", [3, 7, 11, 13, 14]],
    ["LST-6", "visibility=private", [4, 8, 12]],
    ["LST-7", "owner=p2", [5, 7, 8, 13, 14]],
    ["LST-8", "member_status=pending&visibility=shared", [3, 7, 11, 13, 14]],
    ["LST-10", "os_hidden=true", [15, 16]],
    ["FIL-3", "status=killed", []],
  ])("%s: an administrator asks for '%s'", async (_, search, expected) => {
    expect(await idsOf(search, adminOf("p1"))).toEqual(newestFirst(...expected));
  });

  it.each([
    ["", [1, 5, 9]],
    ["visibility=all", [1, 2, 5, 6, 9, 10]],
    ["visibility=community", [2, 6, 10]],
    ["visibility=shared", []],
    ["visibility=private", []],
    ["name=x", []],
  ])("LST-12: a caller without project asks for '%s'", async (search, expected) => {
    expect(await idsOf(search, memberOf(null))).toEqual(newestFirst(...expected));
  });

  it("LST-1: an administrator without project sees nobody's community images by default", async () => {
    expect(await idsOf("", adminOf(null))).toEqual(
      newestFirst(1, 3, 4, 5, 7, 8, 9, 11, 12, 13, 14),
    );
  });

  it("VIS-4: lists a shared image to its members again when it stops being private or hidden", async () => {
    const shared = { id: id(30), owner: "p2", visibility: "private", isHidden: true } as const;
    await store([shared], [{ imageId: id(30), memberId: "p1", status: "accepted" }]);
    const set = (assignment: string) =>
      env.DB.prepare(`UPDATE images SET ${assignment} WHERE id = ?`).bind(id(30)).run();
    const isListed = async (search = "") => (await idsOf(search, memberOf("p1"))).length === 1;
    expect(await isListed("os_hidden=true")).toBe(false);
    await set("visibility = 'shared'");
    expect(await isListed("os_hidden=true")).toBe(true);
    await set("hidden = 0");
    expect(await isListed("os_hidden=true")).toBe(false);
    expect(await isListed()).toBe(true);
    await set("owner = NULL");
    expect(await isListed()).toBe(false);
    await set("owner = 'p3'");
    expect(await isListed()).toBe(true);
    await set("status = 'killed'");
    expect(await isListed()).toBe(false);
    await store([...images, ...others], members);
  });

  it("LST-1, FIL-1, FIL-8, FIL-16: every way to an image follows whose it is, who sees it and its name", async () => {
    const found = { id: id(30), owner: "p2", visibility: "private", tags: ["t"] } as const;
    const sketch = { ...found, name: "old", properties: new Map([["os", "x"]]) };
    await store([sketch], [{ imageId: id(30), memberId: "p1", status: "accepted" }]);
    const ways = [
      "",
      "tag=t",
      "os=x",
      "name=old",
      "sort=name:asc",
      "status=active",
      "sort=size:asc",
    ];
    const waysOf = async (viewer: Viewer, more = "") => {
      const lists = await Promise.all(ways.map((way) => idsOf(`${way}${more}`, viewer)));
      return ways.filter((_, i) => lists[i]?.length === 1);
    };
    const set = (assignment: string) =>
      env.DB.prepare(`UPDATE images SET ${assignment} WHERE id = ?`).bind(id(30)).run();
    expect(await waysOf(memberOf("p2"))).toEqual(ways);
    expect(await waysOf(memberOf("p1"))).toEqual([]);
    await set("visibility = 'shared'");
    expect(await waysOf(memberOf("p1"))).toEqual(ways);
    await set("visibility = 'public'");
    expect(await waysOf(memberOf("p3"))).toEqual(ways);
    await set("visibility = 'community'");
    expect(await waysOf(memberOf("p3"))).toEqual([]);
    expect(await waysOf(memberOf("p3"), "&visibility=all")).toEqual(ways);
    await set("hidden = 1");
    expect(await waysOf(memberOf("p2"))).toEqual([]);
    expect(await waysOf(memberOf("p2"), "&os_hidden=true")).toEqual(ways);
    await set("owner = 'p3', hidden = 0, visibility = 'shared'");
    expect(await waysOf(memberOf("p2"))).toEqual([]);
    expect(await waysOf(memberOf("p3"))).toEqual(ways);
    expect(await waysOf(adminOf(null))).toEqual(ways);
    await set("name = 'new'");
    expect(await waysOf(memberOf("p1"))).toEqual(ways.filter((way) => way !== "name=old"));
    expect(await idsOf("name=new", memberOf("p1"))).toEqual([id(30)]);
    await set("status = 'killed'");
    expect(await waysOf(memberOf("p3"))).toEqual([]);
    expect(await waysOf(adminOf("p3"))).toEqual([]);
    await store([...images, ...others], members);
  });

  describe("markers", () => {
    it.each([
      ["PAG-8: unknown", id(99)],
      ["PAG-8: deleted", id(18)],
      ["PAG-9, MSK-10: another project's private image", id(8)],
      ["PAG-9: an image shared with others", id(12)],
      ["PAG-8: not an id", "x"],
    ])("%s is refused with 400", async (_, marker) => {
      for (const search of ["", "&name=x", "&visibility=", "&limit=0", "&sort=name"]) {
        await expect(idsOf(`marker=${marker}${search}`, memberOf("p1"))).rejects.toEqual(
          faultCode("invalid_marker"),
        );
      }
    });

    it("PAG-8: keeps for an administrator the place of an image that was deleted meanwhile, in every order", async () => {
      const sketches: ImageSketch[] = ["e", null, "b", "", "d", "a"].map((name, n) => ({
        id: id(n + 1),
        name,
        status: n % 2 === 0 ? "active" : "queued",
        diskFormat: n % 3 === 0 ? null : "raw",
        size: n === 4 ? null : n % 3,
        createdAtMs: 1_700_000_000_000 + n,
        updatedAtMs: 1_700_000_100_000 - n * 1000,
      }));
      const keys = ["created_at", "updated_at", "name", "status", "disk_format", "size", "id"];
      const orders = [
        ...keys.flatMap((key) => [`sort=${key}:asc`, `sort=${key}:desc`]),
        "sort=name:asc,size:desc,status:asc,disk_format",
        "sort=status:asc&status=queued",
      ];
      for (const order of orders) {
        const images = await store(sketches);
        const before = await idsOf(order, adminOf("p2"));
        const at = Math.floor(before.length / 2) - 1;
        const gone = images.find((image) => image.id === before[at]);
        if (gone === undefined) throw new Error("there is no such image");
        await imageBurial(db, gone, 1_700_000_200_000);
        const behind = await idsOf(`${order}&marker=${gone.id}`, adminOf("p2"));
        expect(behind, order).toEqual(before.slice(at + 1));
        await expect(idsOf(`${order}&marker=${gone.id}`, memberOf("p1")), order).rejects.toEqual(
          faultCode("invalid_marker"),
        );
      }
      await store([...images, ...others], members);
    });

    it.each([
      ["hidden", id(15), [1, 2, 3, 4, 5, 7, 9]],
      ["killed", id(17), [1, 2, 3, 4, 5, 7, 9]],
      ["shared with the project but not accepted", id(13), [1, 2, 3, 4, 5, 7, 9]],
      ["others' community image", id(6), [1, 2, 3, 4, 5]],
    ])("PAG-10: starts after an image that is %s", async (_, marker, expected) => {
      expect(await idsOf(`marker=${marker}`, memberOf("p1"))).toEqual(newestFirst(...expected));
    });
  });

  it("PAG-2: has no image where none are asked for", async () => {
    expect(await idsOf("limit=0", memberOf("p1"))).toEqual([]);
  });
});

describe("filters", () => {
  const images: ImageSketch[] = [
    {
      id: id(1),
      name: "a,4",
      diskFormat: "raw",
      containerFormat: "bare",
      size: 0,
      tags: ["x", "y"],
      properties: new Map([
        ["os", "linux"],
        ["__proto__", "p"],
      ]),
      createdAtMs: Date.UTC(2015, 7, 27, 9, 49, 58, 250),
    },
    {
      id: id(2),
      name: "in:b",
      status: "queued",
      isProtected: true,
      minRam: 512,
      minDisk: 3,
      tags: ["y"],
      properties: new Map([["os", "in:a,b"]]),
      createdAtMs: Date.UTC(2015, 7, 27, 9, 49, 59, 0),
    },
    {
      id: id(3),
      name: "",
      size: 10,
      virtualSize: 20,
      checksum: "c",
      osHashAlgo: "sha512",
      osHashValue: "h",
      properties: new Map([
        ["os", "linux"],
        ["tags", "t"],
        ["properties", "q"],
        ["foo_min", "3"],
      ]),
      createdAtMs: Date.UTC(2015, 7, 27, 9, 50, 0, 999),
    },
  ];
  beforeAll(async () => {
    await store(images);
  });

  it.each([
    ["FIL-1", "name=eq:in:b", [2]],
    ["FIL-1", "name=eq:", [3]],
    ["FIL-1", "name=", [3]],
    ["FIL-1", "disk_format=raw&container_format=in:ova,bare", [1]],
    ["FIL-1", `id=${id(2)}`, [2]],
    ["FIL-1", `id=in:${id(1)},${id(3)},${id(9)}`, [3, 1]],
    ["FIL-2", 'name=in:"a,4",in:b', [2, 1]],
    ["FIL-2", "name=in:,", []],
    ["FIL-2", 'name=in:""', [3]],
    ["FIL-2", 'name=in:"a,4",""', [3, 1]],
    ["FIL-3", "status=queued", [2]],
    ["FIL-3", "status=in:queued,nonsense", [2]],
    ["FIL-3", "status=in:queued,saving,active,uploading,importing,deactivated", [3, 2, 1]],
    ["FIL-7", "protected=true", [2]],
    ["FIL-7", "protected=false", [3, 1]],
    ["FIL-8", "tag=y", [2, 1]],
    ["FIL-8", "tag=y&tag=%20x+", [1]],
    ["FIL-8", "tag=Y", []],
    ["FIL-9", "size_min=0", [3, 1]],
    ["FIL-9", "size_min=-5&size_max=9", [1]],
    ["FIL-10", "min_ram_min=1&min_disk_max=3", [2]],
    ["FIL-10", "virtual_size_min=20&virtual_size_max=20", [3]],
    ["FIL-10", "foo_min=3", [3]],
    ["FIL-11", "created_at=gt:2015-08-27T09:49:58Z", [3, 2]],
    ["FIL-11", "created_at=lt:2015-08-27T09:49:59Z", [1]],
    ["FIL-11", "created_at=neq:2015-08-27T09:49:59Z", [3, 1]],
    ["FIL-13", "created_at=2015-08-27T09:49:58Z", [1]],
    ["FIL-13", "created_at=eq:2015-08-27T09:50:00Z", [3]],
    ["FIL-13", "created_at=gte:2015-08-27T09:49:59Z", [3, 2]],
    ["FIL-13", "created_at=lte:2015-08-27T09:49:58Z", [1]],
    ["FIL-13", "updated_at=2023-11-14T22:13:20Z", [3, 2, 1]],
    ["FIL-14", "owner=in:p1", []],
    ["FIL-15", "checksum=c&os_hash_algo=sha512&os_hash_value=h", [3]],
    ["FIL-15", "os_hash_value=in:h", []],
    ["FIL-15", "size=10&virtual_size=20", [3]],
    ["FIL-15", "size=ten", []],
    ["FIL-15", "min_ram=512&min_disk=3", [2]],
    ["FIL-16", "os=linux", [3, 1]],
    ["FIL-16", "os=in:a,b", [2]],
    ["FIL-16", "os=linux&os=in:a,b", [2]],
    ["FIL-16", "os=linux&__proto__=p", [1]],
    ["FIL-17", "tags=t", [3]],
    ["FIL-19", "deleted=true", [3, 2, 1]],
    ["FIL-20", "properties=q", [3]],
    ["FIL-20", "locations=q", []],
    ["FIL-21", "self=x", []],
    ["LIM-20", "name=%F0%9F%98%80", []],
    ["LIM-20", "tag=%F0%9F%98%80", []],
    ["LIM-20", "os=%F0%9F%98%80", []],
  ])("%s: %s", async (_, search, expected) => {
    for (const viewer of [memberOf("p1"), adminOf("p2")]) {
      expect(await idsOf(search, viewer)).toEqual(expected.map(id));
    }
  });

  it("takes more values, tags and properties than a statement has parameters", async () => {
    const many = Array.from({ length: 300 }, (_, i) => `v${i}`);
    const names = `name=in:${many.join(",")},"a,4"&id=in:${many.join(",")},${id(1)}`;
    expect(await idsOf(names, memberOf("p1"))).toEqual([id(1)]);
    const tags = many.map((tag) => `tag=${tag}`).join("&");
    expect(await idsOf(tags, memberOf("p1"))).toEqual([]);
    const properties = many.map((name) => `${name}=1`).join("&");
    expect(await idsOf(properties, memberOf("p1"))).toEqual([]);
  });

  it("takes every filter at once, with a marker, in an order of many directions", async () => {
    const time = "neq:2020-01-01";
    const all = [
      `name=in:a,b&id=in:x,y&status=in:a,b&disk_format=in:a,b&container_format=in:a,b&owner=p1`,
      `checksum=c&os_hash_algo=a&os_hash_value=v&protected=true&tag=a&tag=b&p=1&q=2`,
      ...["size", "virtual_size", "min_disk", "min_ram"].map(
        (name) => `${name}=1&${name}_min=0&${name}_max=2`,
      ),
      `created_at=${time}&updated_at=${time}&visibility=all&member_status=all&marker=${id(1)}`,
      "sort=name:asc,status:desc,size:asc,disk_format,container_format:asc,updated_at,created_at:asc,id",
    ].join("&");
    expect(await idsOf(all, memberOf("p1"))).toEqual([]);
    expect(await idsOf(all, adminOf("p1"))).toEqual([]);
    const walking = all.replace(/(^|&)(name|id|owner|tag|p|q)=[^&]*/g, "");
    expect(await idsOf(walking, memberOf("p1"))).toEqual([]);
    expect(await idsOf(walking.replace(/&sort=.*/, ""), memberOf("p1"))).toEqual([]);
    expect(await idsOf(walking, adminOf("p1"))).toEqual([]);
  });
});

describe("a marker that the filters leave out", () => {
  const sketches = Array.from({ length: 24 }, (_, n): ImageSketch => {
    const [name = null] = [["a", "b", "", null, "B"][n % 5] ?? null];
    return {
      id: id(100 + n),
      owner: n % 3 === 0 ? "p2" : "p1",
      visibility: VISIBILITIES[n % 4] ?? "private",
      name,
      status: n % 2 === 0 ? "active" : "queued",
      diskFormat: n % 4 === 0 ? null : n % 4 === 1 ? "raw" : "qcow2",
      size: n % 6 === 0 ? null : n % 3,
      createdAtMs: Math.floor(n / 2),
      tags: n % 2 === 0 ? ["t"] : [],
    };
  });

  it.each(
    [
      "name=a",
      "status=active",
      "disk_format=raw",
      "tag=t",
      "name=in:a,b",
      "visibility=private",
      "",
    ].flatMap((filter) =>
      ["name", "status", "disk_format", "size", "id", "updated_at"].map(
        (key) => [filter, key] as const,
      ),
    ),
  )("PAG-10, SRT-9: stands where it would stand, with '%s' by %s", async (filter, key) => {
    const images = await store(sketches);
    for (const sort of [`${key}:asc`, `${key}:desc`, `${key}:asc,created_at:desc`]) {
      for (const viewer of [memberOf("p1"), adminOf("p2")]) {
        const list = query(`${filter}&sort=${sort}`);
        const everything = listByHand(
          images,
          [],
          query(`visibility=all&sort=${sort}`),
          adminOf("p1"),
        );
        const order = new Map(everything.map((image, at) => [image.id, at]));
        const all = listByHand(images, [], list, viewer).map((image) => image.id);
        for (const marker of everything.filter((image) => viewer.seesAll || image.owner === "p1")) {
          const behind = all.filter((one) => (order.get(one) ?? 0) > (order.get(marker.id) ?? 0));
          const search = `${filter}&sort=${sort}&marker=${marker.id}`;
          expect(await idsOf(search, viewer), search).toEqual(behind);
        }
      }
    }
  });
});

describe("order", () => {
  it("SRT-10, PAG-11: null comes before the empty text and zero, and no page loses or repeats it", async () => {
    await store([
      { id: id(1), name: null, size: null },
      { id: id(2), name: "", size: 0 },
      { id: id(3), name: null, size: null },
      { id: id(4), name: "B", size: 5 },
      { id: id(5), name: "a", size: 1 },
    ]);
    for (const [search, expected] of [
      ["sort=name:asc", [1, 3, 2, 4, 5]],
      ["sort=name:desc", [5, 4, 2, 3, 1]],
      ["sort=size:asc", [1, 3, 2, 5, 4]],
      ["sort=name:asc,id:desc", [3, 1, 2, 4, 5]],
    ] as const) {
      expect(await idsOf(search, memberOf("p1"))).toEqual(expected.map(id));
      for (const limit of [1, 2, 3]) {
        expect(await idsByPages(search, limit, memberOf("p1"))).toEqual(expected.map(id));
      }
    }
  });

  it("FIL-11, SRT-9: pages through a stretch of time in each direction", async () => {
    const at = [1000, 1500, 2000, 2000, 2999, 3000, 3000, 4000, 5000];
    const images = await store(at.map((createdAtMs, n) => ({ id: id(n), createdAtMs })));
    for (const operator of ["gt", "gte", "lt", "lte", "eq", "neq"]) {
      for (const sort of ["", "sort_dir=asc", "sort=created_at,id:asc", "sort=created_at:asc,id"]) {
        const search = `${sort}&created_at=${operator}:1970-01-01T00:00:02Z`;
        const expected = listByHand(images, [], query(search), memberOf("p1")).map((i) => i.id);
        expect(await idsByPages(search, 1, memberOf("p1")), search).toEqual(expected);
        expect(await idsByPages(search, 2, adminOf("p2")), search).toEqual(expected);
      }
    }
  });

  it("SRT-1: the newest comes first, and of the same time the largest id", async () => {
    await store([
      { id: id(1), createdAtMs: 5 },
      { id: id(3), createdAtMs: 4 },
      { id: id(2), createdAtMs: 5 },
    ]);
    expect(await idsOf("", memberOf("p1"))).toEqual([id(2), id(1), id(3)]);
  });
});

describe("any list of any table", () => {
  const PROJECTS = ["p1", "p2", "p3"];
  const maybe = <T>(values: readonly T[]) => fc.constantFrom(null, ...values);
  const image = fc.record({
    status: fc.constantFrom(
      "active",
      "active",
      "active",
      "queued",
      "deactivated",
      "killed",
      "deleted",
    ),
    visibility: fc.constantFrom(...VISIBILITIES),
    owner: maybe(["p1", "p1", ...PROJECTS]),
    name: maybe(["", "a", "B", "é"]),
    diskFormat: maybe(["raw", "qcow2"]),
    containerFormat: maybe(["bare", "ovf"]),
    size: maybe([0, 1, 5]),
    minRam: fc.constantFrom(0, 512),
    isProtected: fc.boolean(),
    isHidden: fc.constantFrom(false, false, false, true),
    createdAtMs: fc.constantFrom(1000, 1999, 2000, 5000),
    updatedAtMs: fc.constantFrom(1000, 2000),
    tags: fc.subarray(["t", "u"]),
    properties: fc
      .subarray([["k", "v"] as const, ["l", "w"] as const])
      .map((some) => new Map(some)),
  } as const);
  const membership = fc.record({
    image: fc.nat(13),
    memberId: fc.constantFrom(...PROJECTS),
    status: fc.constantFrom(...MEMBER_STATUSES),
  });
  const table = fc
    .tuple(
      fc.array(image, { minLength: 6, maxLength: 14, size: "max" }),
      fc.uniqueArray(membership, {
        size: "max",
        maxLength: 20,
        selector: (m) => `${m.image} ${m.memberId}`,
      }),
    )
    .map(([sketches, memberships]) => ({
      images: sketches.map((sketch, i) => ({ ...sketch, id: id(i) })),
      members: memberships
        .filter((m) => m.image < sketches.length)
        .map((m) => ({ imageId: id(m.image), memberId: m.memberId, status: m.status })),
    }));
  const viewer = fc.record({ projectId: maybe(["p1", "p1", ...PROJECTS]), seesAll: fc.boolean() });
  const key = fc.constantFrom(
    ...[
      "name",
      "status",
      "container_format",
      "disk_format",
      "size",
      "id",
      "created_at",
      "updated_at",
    ],
  );
  const term = fc.tuple(key, fc.constantFrom("asc", "desc")).map((parts) => parts.join(":"));
  const sort = fc
    .array(term, { maxLength: 4 })
    .map((terms) => (terms.length === 0 ? "" : `sort=${terms.join(",")}`));
  const filter = fc.constantFrom(
    ...["visibility=all", ...VISIBILITIES.map((v) => `visibility=${v}`)],
    ...["member_status=all", ...MEMBER_STATUSES.map((s) => `member_status=${s}`)],
    ...["os_hidden=true", "protected=true", "size_min=1", "size_max=1", "size=0", "min_ram=512"],
    ...[
      "status=active",
      "status=in:queued,active",
      "owner=p1",
      "owner=p2",
      "name=a",
      "name=in:a,B",
    ],
    ...["tag=t", "tag=u", "k=v", "l=w", `id=in:${id(1)},${id(2)},${id(5)}`, "disk_format=raw"],
    ...["gt", "gte", "lt", "lte", "eq", "neq"].map((op) => `created_at=${op}:1970-01-01T00:00:01Z`),
    "updated_at=1970-01-01T00:00:02Z",
  );
  const narrowing = fc.oneof(
    fc.constant(""),
    fc.array(filter, { maxLength: 3, size: "max" }).map((some) => some.join("&")),
  );

  it("LST-1 … LST-12, SRT-1 … SRT-10, PAG-11: pages have each image of the list once and in order", async () => {
    await fc.assert(
      fc.asyncProperty(
        table,
        viewer,
        fc.uniqueArray(fc.tuple(sort, narrowing, fc.integer({ min: 1, max: 4 })), {
          minLength: 6,
          maxLength: 6,
        }),
        async ({ images: sketches, members }, caller, lists) => {
          const images = await store(sketches, members);
          for (const [order, filters, limit] of lists) {
            const search = `${order}&${filters}`;
            const expected = listByHand(images, members, query(search), caller).map((i) => i.id);
            expect(await idsByPages(search, limit, caller)).toEqual(expected);
          }
        },
      ),
      { numRuns: 60 },
    );
  });

  it("LST-1 … LST-12: whatever filter leads to an image, it is listed to the same callers", async () => {
    const filters = [
      ["", `id=in:${Array.from({ length: 14 }, (_, i) => id(i)).join(",")}`, "name=in:a,B"],
      ["tag=t", "tag=t&tag=u", "k=v", "k=v&l=w", "owner=p1", "owner=p2"],
      ["status=active", "status=in:active,queued,killed", "protected=true&size_min=1"],
    ].flat();
    const searches = ["", "visibility=all", ...VISIBILITIES.map((v) => `visibility=${v}`)].flatMap(
      (visibility) =>
        ["", "member_status=all", "member_status=pending&os_hidden=true"].flatMap((status) =>
          filters.map((some) => `${visibility}&${status}&${some}&limit=50`),
        ),
    );
    await fc.assert(
      fc.asyncProperty(table, viewer, async ({ images: sketches, members }, caller) => {
        const images = await store(sketches, members);
        const lists = searches.map((search) => ({
          search,
          page: selectPage(db, query(search), caller),
          expected: listByHand(images, members, query(search), caller).map((i) => i.id),
        }));
        const asked = lists.flatMap((list) => (list.page ? [{ ...list, page: list.page }] : []));
        const [first, ...others] = asked.map(({ page }) => page);
        const answers = first === undefined ? [] : await db.batch([first, ...others]);
        for (const { search, expected } of lists.filter(({ page }) => page === undefined)) {
          expect(expected, search).toEqual([]);
        }
        for (const [i, { search, expected }] of asked.entries()) {
          expect(
            answers[i]?.map((row) => row.id),
            search,
          ).toEqual(expected);
        }
      }),
      { numRuns: 25 },
    );
  });

  it("PAG-8 … PAG-10: any image is a marker exactly if the caller could be shown it", async () => {
    await fc.assert(
      fc.asyncProperty(table, viewer, async ({ images: sketches, members }, caller) => {
        await store(sketches, members);
        for (const sketch of sketches) {
          const isMember = members.some(
            (m) => m.imageId === sketch.id && m.memberId === caller.projectId,
          );
          const isVisible =
            sketch.status !== "deleted" &&
            (caller.seesAll ||
              sketch.visibility === "public" ||
              sketch.visibility === "community" ||
              (sketch.owner !== null && sketch.owner === caller.projectId) ||
              (sketch.owner !== null && sketch.visibility === "shared" && isMember));
          const listing = idsOf(`marker=${sketch.id}`, caller);
          if (isVisible) await listing;
          else await expect(listing).rejects.toEqual(faultCode("invalid_marker"));
        }
      }),
      { numRuns: 20 },
    );
  });
});

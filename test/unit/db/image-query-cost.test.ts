import { env } from "cloudflare:workers";
import { beforeAll, describe, expect, it } from "vitest";
import { openDatabase } from "../../../src/db/database.ts";
import { listImages, selectPage } from "../../../src/db/image-query.ts";
import { selectImage } from "../../../src/db/images.ts";
import type { Viewer } from "../../../src/domain/visibility.ts";
import { adminOf, id, memberOf, query } from "./list-fixtures.ts";

/*
 * What a list costs in a table of many images, most of which the caller may not see: 8,000 images of ten projects
 * in all visibilities, a tenth hidden; p1 is a member of two thirds of the others' shared ones, in all member
 * statuses; `publisher` owns 1,000 public images and nothing else.
 */
const IMAGES = 8000;

const db = openDatabase(env.DB);

const VIEWERS: readonly [string, Viewer][] = [
  ["a project's member", memberOf("p1")],
  ["a member of the project that owns the public images", memberOf("publisher")],
  ["a member of a project that has nothing", memberOf("newcomer")],
  ["a caller without project", memberOf(null)],
  ["an administrator", adminOf("p1")],
  ["an administrator whose project owns the public images", adminOf("publisher")],
  ["an administrator without project", adminOf(null)],
];

const FILTERS = [
  `id=${id(7)}`,
  `id=in:${id(7)},${id(8)}`,
  "name=n7",
  "name=in:n7,n8",
  "owner=p1",
  "owner=p2",
  "tag=t1",
  "tag=t1&tag=even",
  "os=linux",
  "os=linux&serial=serial-8",
  "status=active",
  "status=in:queued,deactivated",
  "disk_format=raw&container_format=bare",
  ...["all", "public", "community", "shared", "private"].map((v) => `visibility=${v}`),
  ...["all", "accepted", "pending", "rejected"].map((s) => `member_status=${s}`),
  "member_status=all&visibility=all",
  "os_hidden=true",
  "owner=p2&visibility=shared",
  "tag=t1&status=active&visibility=all",
];
const ORDERS = [
  "",
  "sort_dir=asc",
  "sort=created_at,id:asc",
  "sort=name:asc",
  "sort=id:desc",
  "sort=status:desc",
  "sort=size:asc,name",
];

beforeAll(async () => {
  await env.DB.batch([
    env.DB.prepare(
      `WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ?)
       INSERT INTO images (id, status, visibility, owner, name, disk_format, container_format, hidden, size,
         created_at, updated_at, tags, properties)
       SELECT printf('00000000-0000-4000-8000-%012d', i),
         CASE i % 20 WHEN 1 THEN 'queued' WHEN 2 THEN 'deactivated' WHEN 3 THEN 'killed' ELSE 'active' END,
         CASE WHEN i % 8 = 0 THEN 'public' WHEN i % 4 = 1 THEN 'private' WHEN i % 4 = 3 THEN 'community'
           ELSE 'shared' END,
         CASE WHEN i % 8 = 0 THEN 'publisher' ELSE 'p' || (i / 4 % 10) END,
         'n' || i, iif(i % 3, 'raw', 'qcow2'), iif(i % 11, 'bare', NULL), i % 10 = 5, i % 7,
         1700000000000 + i / 3 * 1000, 1700000000000 + i % 100 * 1000,
         json_array('t' || (i % 50), iif(i % 2, 'odd', 'even')),
         json_object('os', iif(i % 2, 'linux', 'windows'), 'serial', format('serial-%d', i))
       FROM n`,
    ).bind(IMAGES),
    env.DB.prepare(
      `INSERT INTO image_members (image_id, member_id, status, created_at, updated_at, image_created_at)
       SELECT id, 'p1', CASE rowid % 3 WHEN 0 THEN 'accepted' WHEN 1 THEN 'pending' ELSE 'rejected' END,
         0, 0, created_at
       FROM images WHERE rowid % 3 < 2 OR rowid % 9 = 2`,
    ),
  ]);
});

async function planOf(search: string, viewer: Viewer): Promise<string[]> {
  const page = selectPage(db, query(search), viewer)?.toSQL();
  if (page === undefined) return [];
  const plan = env.DB.prepare(`EXPLAIN QUERY PLAN ${page.sql}`).bind(...page.params);
  return (await plan.all<{ detail: string }>()).results.map(({ detail }) => detail);
}

/** Rows that a page takes, the look at its marker included, and the last id on it. */
async function read(search: string, viewer: Viewer) {
  const { marker } = query(search);
  const statements = [
    marker === undefined ? undefined : selectImage(db, marker, viewer.projectId),
    selectPage(db, query(search), viewer),
  ];
  let rowsRead = 0;
  let lastId: string | undefined;
  for (const statement of statements) {
    if (statement === undefined) continue;
    const { sql, params } = statement.toSQL();
    const { results, meta } = await env.DB.prepare(sql)
      .bind(...params)
      .all<{ id: string }>();
    rowsRead += meta.rows_read;
    lastId = results.at(-1)?.id;
  }
  return { rowsRead, lastId };
}

describe.each(VIEWERS)("for %s", (_, viewer) => {
  it("no list scans a table, whatever its filter, order and page", async () => {
    for (const filter of ["", ...FILTERS]) {
      for (const order of ORDERS) {
        for (const marker of ["", `marker=${id(4000)}`]) {
          const search = `${filter}&${order}&${marker}`;
          const plan = await planOf(search, viewer);
          expect(
            plan.filter((line) => /^SCAN (?!candidate\b|wanted\b|json_each\b|marker\b)/.test(line)),
            search,
          ).toEqual([]);
        }
      }
    }
  });

  it.each([
    "",
    "sort_dir=asc",
    "visibility=all",
    "visibility=public",
    "created_at=gt:2023-11-14",
    "created_at=lt:2033-11-14",
  ])("a default list takes at the most 4 × (limit + 1) rows on any page (%s)", async (search) => {
    for (const limit of [4, 25, 100]) {
      let marker: string | undefined;
      // The first pages, and then some from far within.
      for (const next of [undefined, undefined, undefined, id(3000), undefined, id(6001), id(1)]) {
        marker = next ?? marker;
        const page = `${search}&limit=${limit}${marker === undefined ? "" : `&marker=${marker}`}`;
        const { rowsRead, lastId } = await read(page, viewer);
        expect(rowsRead, page).toBeLessThanOrEqual(4 * (limit + 1));
        marker = lastId ?? marker;
      }
    }
  });

  it("a default list sorts nothing", async () => {
    for (const search of ["", `marker=${id(4000)}`, "sort_dir=asc", "visibility=all"]) {
      const plan = await planOf(search, viewer);
      expect(plan.filter((line) => line.includes("TEMP B-TREE"))).toEqual([]);
    }
  });
});

it("an administrator's filtered list is read in order and stops when the page is full", async () => {
  for (const search of [
    "tag=t1",
    "os=linux",
    "owner=p2",
    "status=active",
    "status=in:queued,active",
  ]) {
    for (const marker of ["", `&marker=${id(4000)}`]) {
      const { rowsRead } = await read(`${search}&limit=25${marker}`, adminOf("p1"));
      expect(rowsRead, search).toBeLessThanOrEqual(8 * 25);
    }
  }
});

const SORT_KEYS = [
  ...["name", "status", "container_format", "disk_format", "size"],
  ...["id", "created_at", "updated_at"],
];

describe.each([
  ["a project's member", memberOf("p2")],
  ["a member of the project that owns the public images", memberOf("publisher")],
  ["a member of a project that has nothing", memberOf("newcomer")],
  ["a caller without project", memberOf(null)],
  ["an administrator", adminOf("p1")],
  ["an administrator without project", adminOf(null)],
])("whatever others have, for %s", (_, viewer) => {
  async function expectFewRows(search: string, limit: number): Promise<void> {
    let marker: string | undefined;
    for (const next of [undefined, undefined, id(4000), undefined]) {
      marker = next ?? marker;
      const page = `${search}&limit=${limit}${marker === undefined ? "" : `&marker=${marker}`}`;
      const { rowsRead, lastId } = await read(page, viewer);
      expect(rowsRead, page).toBeLessThanOrEqual(20 * (limit + 1));
      marker = lastId ?? marker;
    }
  }

  it.each(SORT_KEYS)("any page takes at the most 20 × (limit + 1) rows by %s", async (key) => {
    for (const direction of ["asc", "desc"]) {
      for (const visibility of ["", "all", "public", "community"]) {
        const shown = visibility === "" ? "" : `&visibility=${visibility}`;
        await expectFewRows(`sort=${key}:${direction}${shown}`, 25);
      }
    }
  });

  it.each([
    ...["name=n8", "name=in:n7,n8", "name=n7&sort_key=name&sort_dir=asc"],
    ...["status=active", "status=queued", "status=in:queued,deactivated"],
    ...["disk_format=raw", "disk_format=none", "container_format=bare"],
    ...["tag=t1", "tag=even", "tag=none", "os=linux", "serial=serial-8"],
    ...["visibility=private", "visibility=shared", "os_hidden=true"],
    ...["owner=p1", "owner=p2", "owner=publisher", "owner=p1&visibility=all"],
    "sort=name:asc,size:desc",
    "sort=updated_at:desc,name:asc,disk_format:desc",
    "status=active&sort=status:asc",
    "size_min=3&sort=size:asc",
    "updated_at=gt:2023-11-14&sort=updated_at:desc",
  ])("any page takes at the most 20 × (limit + 1) rows with %s", async (search) => {
    await expectFewRows(search, 25);
  });
});

it("a filter that names few images takes few rows", async () => {
  const { results } = await env.DB.prepare(
    "SELECT count(*) AS shared FROM image_members WHERE member_id = 'p1' AND status = 'accepted' AND image_hidden = 0",
  ).all<{ shared: number }>();
  const shared = results[0]?.shared ?? 0;
  // What is shared with a project is looked through for tags and properties.
  for (const [viewer, looked] of [
    [memberOf("p1"), 2 * shared],
    [memberOf("p2"), 0],
    [adminOf("p2"), 0],
  ] as const) {
    for (const search of [`id=${id(8)}`, "name=n8"]) {
      expect((await read(search, viewer)).rowsRead, search).toBeLessThanOrEqual(12);
    }
    for (const search of [
      "serial=serial-8",
      "serial=serial-8&tag=even&os=windows",
      "os=linux&serial=serial-1001",
    ]) {
      expect((await read(search, viewer)).rowsRead, search).toBeLessThanOrEqual(12 + looked);
    }
    const { rowsRead } = await read("tag=t1&limit=10", viewer);
    expect(rowsRead).toBeLessThanOrEqual(12 * 11 + looked);
  }
});

it("a page is one round trip to D1, with a marker too", async () => {
  const trips: string[] = [];
  const counting = new Proxy(env.DB, {
    get(d1, name) {
      if (name === "batch") {
        return (statements: D1PreparedStatement[]) => {
          trips.push("batch");
          return d1.batch(statements);
        };
      }
      return (sql: string) => countRuns(d1.prepare(sql), trips);
    },
  });
  for (const search of ["", `marker=${id(4000)}`, `visibility=&marker=${id(4000)}`, "sort=name"]) {
    trips.length = 0;
    await listImages(openDatabase(counting), query(search), adminOf("p1"));
    expect(trips, search).toHaveLength(1);
  }
});

/** Counts what runs by itself; what goes into a batch is left as it is. */
function countRuns(statement: D1PreparedStatement, trips: string[]): D1PreparedStatement {
  const bind = statement.bind.bind(statement);
  statement.bind = (...values) => {
    const bound = bind(...values);
    const raw = bound.raw.bind(bound);
    bound.raw = ((options?: { columnNames?: false }) => {
      trips.push("statement");
      return raw(options);
    }) as typeof bound.raw;
    return bound;
  };
  return statement;
}

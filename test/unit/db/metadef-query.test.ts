import { env } from "cloudflare:workers";
import { beforeAll, describe, expect, it } from "vitest";
import { openDatabase } from "../../../src/db/database.ts";
import {
  type ListedNamespace,
  listNamespaces,
  selectNamespacePage,
} from "../../../src/db/metadef-query.ts";
import { insertNamespace } from "../../../src/db/metadefs.ts";
import { type NewNamespace, seesNamespace } from "../../../src/domain/metadefs/namespace.ts";
import type { NamespaceListQuery } from "../../../src/domain/metadefs/namespace-list.ts";
import type { Viewer } from "../../../src/domain/visibility.ts";
import { parseNamespaceList } from "../../../src/http/metadef-query.ts";
import { interceptD1 } from "../../support/intercept.ts";
import { adminOf, LIMITS, memberOf } from "./list-fixtures.ts";

const db = openDatabase(env.DB);
const query = (search: string) => parseNamespaceList(search, LIMITS);

/** Sixty namespaces of which every column has equals and, where it may, nulls. */
const MANY = Array.from({ length: 60 }, (_, n): NewNamespace => {
  const text = (prefix: string, every: number) => (n % 3 === 0 ? null : `${prefix}${n % every}`);
  const times = { createdAtMs: 1000 + (n % 5), updatedAtMs: 2000 + ((n * 7) % 11) };
  const types = [n % 2 === 0 ? ["even"] : [], n % 3 === 0 ? ["third"] : []].flat();
  return {
    name: `n${(n * 37) % 60}`,
    displayName: text("d", 4),
    description: text("", 7),
    visibility: n % 4 === 0 ? "public" : "private",
    isProtected: n % 2 === 0,
    owner: text("p", 4),
    ...times,
    associations: types.map((name) => ({ name, ...times })),
    properties: [{ name: "p", title: "P", type: "string" }],
    objects: [],
    tags: [{ name: "t", ...times }],
  };
});

const VIEWERS: readonly [string, Viewer][] = [
  ["an administrator", adminOf("p0")],
  ["a project's member", memberOf("p1")],
  ["a member of a project that has nothing", memberOf("newcomer")],
  ["a caller without project", memberOf(null)],
];

const SORT_KEYS = [
  ...["id", "namespace", "display_name", "description", "visibility", "protected", "owner"],
  ...["created_at", "updated_at"],
];
const FILTERS = [
  ...["", "visibility=public", "visibility=private"],
  ...["resource_types=even", "resource_types=even,third,none", "resource_types=none"],
  "resource_types=third&visibility=private",
];

const namesOf = (page: readonly ListedNamespace[]) => page.map(({ name }) => name);

/** All that a viewer is to be shown, in order, worked out without SQL. */
function expected(search: string, viewer: Viewer): string[] {
  const { visibility, resourceTypes, sortKey, sortDirection }: NamespaceListQuery = query(search);
  const wanted = MANY.map((namespace, index) => ({ ...namespace, id: index })).filter(
    (one) =>
      seesNamespace(viewer, one) &&
      (visibility === undefined || one.visibility === visibility) &&
      (resourceTypes === undefined ||
        one.associations.some(({ name }) => resourceTypes.includes(name))),
  );
  const rank = (value: unknown) =>
    value === null ? "" : `x${String(Number(value)).padStart(20, "0")}`;
  const before = (a: string, b: string) => (a === b ? 0 : a < b ? -1 : 1);
  const text = (value: unknown) => (typeof value === "string" ? `x${value}` : rank(value));
  const sorted = wanted.sort(
    (a, b) => before(text(a[sortKey]), text(b[sortKey])) || before(a.name, b.name),
  );
  return (sortDirection === "asc" ? sorted : sorted.reverse()).map(({ name }) => name);
}

beforeAll(async () => {
  for (const namespace of MANY) await insertNamespace(db, namespace);
});

describe.each(VIEWERS)("pages of namespaces for %s", (_, viewer) => {
  const orders = SORT_KEYS.flatMap((key) => [[key, "asc"] as const, [key, "desc"] as const]);

  it.each(orders)(
    "MN-65, MN-66, MN-67, MN-68, MN-69, MN-71, MN-74, MN-75: by %s %s show each once, in order",
    async (key, direction) => {
      for (const filter of FILTERS) {
        const search = `${filter}&sort_key=${key}&sort_dir=${direction}`;
        const all = expected(search, viewer);
        for (const limit of [7, 60]) {
          const walked: string[] = [];
          for (let marker = ""; ; marker = `&marker=${walked.at(-1)}`) {
            const page = await listNamespaces(
              db,
              query(`${search}&limit=${limit}${marker}`),
              viewer,
            );
            walked.push(...namesOf(page));
            if (page.length < limit) break;
          }
          expect(walked, `${search} limit ${limit}`).toEqual(all);
        }
      }
    },
  );

  it("MN-65, MN-16: refuses a marker that it could not be shown", async () => {
    const missing = expect.objectContaining({ code: "metadef_not_found", status: 404 });
    await expect(listNamespaces(db, query("marker=nowhere"), viewer)).rejects.toEqual(missing);
    for (const namespace of MANY) {
      const page = listNamespaces(db, query(`marker=${namespace.name}&limit=1`), viewer);
      if (seesNamespace(viewer, namespace)) await page;
      else await expect(page).rejects.toEqual(missing);
    }
  });

  it("MN-64: none of 0", async () => {
    expect(await listNamespaces(db, query("limit=0"), viewer)).toEqual([]);
  });
});

it("MN-72: brings parts along only when they are asked for", async () => {
  const [plain] = await listNamespaces(db, query("limit=1"), adminOf("p0"));
  for (const part of ["properties", "objects", "tags"]) expect(plain).not.toHaveProperty(part);
  const [some] = await listNamespaces(
    db,
    query("limit=1&include=properties,objects"),
    adminOf("p0"),
  );
  expect(some).toMatchObject({ properties: [{ name: "p" }], objects: [] });
  expect(some).not.toHaveProperty("tags");
  const behind = query(`limit=1&include=tags&marker=${plain?.name}`);
  const [last] = await listNamespaces(db, behind, adminOf("p0"));
  expect(last).toMatchObject({ tags: [{ name: "t" }] });
  expect(last).not.toHaveProperty("properties");
});

it("is one round trip to D1, with a marker too", async () => {
  let trips = 0;
  const counting = openDatabase(
    interceptD1(env.DB, (_, proceed) => {
      trips++;
      return proceed();
    }),
  );
  for (const search of ["", "marker=n4", "resource_types=even&marker=n4&sort_key=owner"]) {
    trips = 0;
    await listNamespaces(counting, query(search), adminOf("p0"));
    expect(trips, search).toBe(1);
  }
});

describe.each(VIEWERS)("among thousands of namespaces, for %s", (_, viewer) => {
  beforeAll(async () => {
    await env.DB.prepare(
      `WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 3000)
       INSERT INTO metadef_namespaces (name, visibility, owner, protected, created_at, updated_at, associations)
       SELECT printf('many %05d', i), iif(i % 5, 'private', 'public'), 'p' || (i % 10), 0, i / 3, i,
         iif(i % 100, '[]', json_array(json_object('name', 'rare', 'createdAtMs', i)))
       FROM n WHERE true ON CONFLICT DO NOTHING`,
    ).run();
  });

  async function run(search: string) {
    const { sql, params } = selectNamespacePage(db, query(search), viewer).toSQL();
    const plan = await env.DB.prepare(`EXPLAIN QUERY PLAN ${sql}`)
      .bind(...params)
      .all<{ detail: string }>();
    const { results, meta } = await env.DB.prepare(sql)
      .bind(...params)
      .all();
    return {
      plan: plan.results.map(({ detail }) => detail),
      rows: meta.rows_read,
      found: results.length,
    };
  }

  const IN_ORDER = ["", "sort_dir=asc", "sort_key=namespace", "sort_key=namespace&sort_dir=asc"];
  const MARKERS = ["", "&marker=many 01505"];

  it("a page in the order of creation or of names takes what it holds, and sorts nothing", async () => {
    for (const order of IN_ORDER) {
      for (const filter of ["", "&visibility=public", "&visibility=private"]) {
        for (const marker of MARKERS) {
          const search = `${order}${filter}${marker}&limit=25`;
          const { plan, rows } = await run(search);
          const scans = plan.filter((line) =>
            /^SCAN (?!candidate\b|marker\b|metadef_namespaces USING( COVERING)? INDEX)/.test(line),
          );
          expect(scans, `${search}\n${plan.join("\n")}`).toEqual([]);
          expect(rows, `${search}\n${plan.join("\n")}`).toBeLessThanOrEqual(4 * 26);
        }
      }
    }
  });

  it("MN-69: a page of a resource type takes the namespaces that have it, in any order", async () => {
    for (const order of [...IN_ORDER, "sort_key=owner"]) {
      for (const marker of MARKERS) {
        const { plan, rows } = await run(`resource_types=rare,none&${order}${marker}&limit=25`);
        expect(rows, plan.join("\n")).toBeLessThanOrEqual(6 * 30);
      }
    }
  });
});

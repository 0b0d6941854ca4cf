import { env } from "cloudflare:workers";
import { sql } from "drizzle-orm";
import { beforeAll, beforeEach, describe, expect, it } from "vitest";
import { openDatabase } from "../../../src/db/database.ts";
import {
  findImageWithTasks,
  listTasks,
  selectTaskPage,
  selectTasksOfImage,
} from "../../../src/db/task-query.ts";
import { TASK_STATUSES, TASK_TYPES, type Task } from "../../../src/domain/task.ts";
import type { TaskListQuery } from "../../../src/domain/task-list.ts";
import type { Viewer } from "../../../src/domain/visibility.ts";
import { parseTaskList } from "../../../src/http/task-list.ts";
import { aTask, dropTasks, plantTask, plantTasks } from "../../support/tasks.ts";
import { adminOf, id, LIMITS, memberOf, store } from "./list-fixtures.ts";

const db = openDatabase(env.DB);
const NOW_MS = 1_800_000_000_000;
const ADMIN = adminOf("p0");

const query = (search: string) => parseTaskList(search, LIMITS);

async function ids(search: string, viewer: Viewer = ADMIN): Promise<string[]> {
  return (await listTasks(db, query(search), viewer, NOW_MS)).map((task) => task.id);
}

/** Fifty tasks of which every column has equals and, where it may, nulls. */
const MANY = Array.from({ length: 50 }, (_, n): Task => {
  const text = (prefix: string, every: number) => (n % 3 === 0 ? null : `${prefix}${n % every}`);
  return aTask({
    id: id(n),
    type: TASK_TYPES[n % 3] ?? "import",
    status: TASK_STATUSES[n % 4] ?? "pending",
    owner: text("p", 4),
    imageId: n % 5 === 0 ? null : id(n % 4),
    requestId: text("req-", 7),
    userId: text("", 2),
    createdAtMs: NOW_MS + (n % 6) * 400,
    updatedAtMs: NOW_MS + ((n * 7) % 11) * 400,
    expiresAtMs: n % 2 === 0 ? null : NOW_MS + 1 + (n % 10),
  });
});

const SORT_KEYS = [
  ...["id", "type", "status", "owner", "image_id", "request_id", "user_id"],
  ...["created_at", "updated_at", "expires_at"],
];

describe("pages of the list of tasks", () => {
  beforeAll(async () => {
    await dropTasks();
    await plantTasks(MANY);
  });

  const orders = SORT_KEYS.flatMap((key) => [[key, "asc"] as const, [key, "desc"] as const]);
  it.each(orders)(
    "12 §2 List parameters, sort_key, sort_dir, marker: by %s %s show each task once, in order",
    async (key, direction) => {
      const search = `sort_key=${key}&sort_dir=${direction}`;
      const expected = sorted(MANY, query(search)).map((task) => task.id);
      for (const limit of [1, 7, 50]) {
        const walked: string[] = [];
        for (let marker = ""; ; marker = `&marker=${walked.at(-1)}`) {
          const page = await ids(`${search}&limit=${limit}${marker}`);
          walked.push(...page);
          if (page.length < limit) break;
        }
        expect(walked, `limit ${limit}`).toEqual(expected);
      }
    },
  );

  it("12 §2 List parameters, any other parameter naming a column: hold what is equal", async () => {
    const expectSame = async (search: string, of: (task: Task) => boolean) => {
      const expected = sorted(MANY.filter(of), query("")).map((task) => task.id);
      expect(expected.length, search).toBeGreaterThan(0);
      expect(await ids(`${search}&limit=50`), search).toEqual(expected);
    };
    await expectSame(`id=${id(7)}`, (task) => task.id === id(7));
    await expectSame("type=import", ({ type }) => type === "import");
    await expectSame("status=success", ({ status }) => status === "success");
    await expectSame("owner=p1", ({ owner }) => owner === "p1");
    await expectSame(`image_id=${id(3)}`, ({ imageId }) => imageId === id(3));
    await expectSame("request_id=req-4", ({ requestId }) => requestId === "req-4");
    await expectSame("user_id=1", ({ userId }) => userId === "1");
    const second = new Date(NOW_MS + 1000).toISOString();
    const isThen = (ms: number | null) => ms !== null && Math.floor((ms - NOW_MS) / 1000) === 1;
    await expectSame(`created_at=${second}`, ({ createdAtMs }) => isThen(createdAtMs));
    await expectSame(`updated_at=${second}`, ({ updatedAtMs }) => isThen(updatedAtMs));
    await expectSame(
      `expires_at=${new Date(NOW_MS).toISOString()}`,
      ({ expiresAtMs }) => expiresAtMs !== null,
    );
    await expectSame(
      "owner=p1&status=processing",
      ({ owner, status }) => owner === "p1" && status === "processing",
    );
  });

  it("12 §2 List parameters, any other parameter naming a column: an empty text equals no null", async () => {
    for (const search of ["owner=", "image_id=", "user_id="]) expect(await ids(search)).toEqual([]);
  });

  it("12 §2 List parameters, limit: none of 0", async () => {
    expect(await ids("limit=0")).toEqual([]);
    expect(await ids(`limit=0&marker=${id(3)}`)).toEqual([]);
  });

  it("12 §2 List parameters, visibility: a project's own for others than admins", async () => {
    const own = MANY.filter(({ owner }) => owner === "p1");
    expect(await ids("limit=50", memberOf("p1"))).toEqual(
      sorted(own, query("")).map((task) => task.id),
    );
    expect(await ids("owner=p2", memberOf("p1"))).toEqual([]);
    expect(await ids("", memberOf(null))).toEqual([]);
    expect(await ids("limit=50", ADMIN)).toHaveLength(50);
  });

  it("12 §2 List parameters, marker: is refused when the viewer could not be shown it", async () => {
    const refused = expect.objectContaining({ code: "invalid_parameter", status: 400 });
    await expect(ids(`marker=${id(99)}`)).rejects.toThrow(refused);
    // id(1) is of p1.
    await expect(ids(`marker=${id(1)}`, memberOf("p2"))).rejects.toThrow(refused);
    await expect(ids(`marker=${id(1)}`, memberOf("p1"))).resolves.toBeInstanceOf(Array);
    const expired = await plantTask({ expiresAtMs: NOW_MS });
    await expect(ids(`marker=${expired.id}`)).rejects.toThrow(refused);
  });

  it("12 §1 Expiry, Removal: have nothing that has expired", async () => {
    const [gone, there] = await Promise.all([
      plantTask({ owner: "expiring", expiresAtMs: NOW_MS }),
      plantTask({ owner: "expiring", expiresAtMs: NOW_MS + 1 }),
    ]);
    expect(await ids("owner=expiring")).toEqual([there.id]);
    expect(await ids(`id=${gone.id}`)).toEqual([]);
  });
});

/** The order by the plainest means; null comes first in `asc`. */
function sorted(tasks: readonly Task[], { sortKey, sortDirection }: TaskListQuery): Task[] {
  const compare = (a: string | number | null, b: string | number | null) => {
    if (a === b) return 0;
    if (a === null || b === null) return a === null ? -1 : 1;
    return a < b ? -1 : 1;
  };
  const ascending = [...tasks].sort(
    (a, b) => compare(a[sortKey], b[sortKey]) || compare(a.id, b.id),
  );
  return sortDirection === "asc" ? ascending : ascending.reverse();
}

/** All tasks of an image. */
const WHOLE = { limit: 1000, marker: undefined };

describe("the tasks of an image", () => {
  const IMAGE = id(1);
  beforeEach(async () => {
    await dropTasks();
    await store([{ id: IMAGE }]);
  });

  const idsFor = async (viewer: Viewer) =>
    (await findImageWithTasks(db, IMAGE, WHOLE, viewer, NOW_MS)).tasks.map((task) => task.id);

  it("12 §3 Which tasks: are of that image, not expired, of the viewer's project or of none", async () => {
    const plant = (n: number, changes: Partial<Task>) =>
      plantTask({ id: id(n), imageId: IMAGE, createdAtMs: n, ...changes });
    await plant(1, { owner: "p1", status: "success", expiresAtMs: NOW_MS + 1 });
    await plant(2, { owner: "p1", status: "failure", expiresAtMs: NOW_MS });
    await plant(3, { owner: "p2" });
    await plant(4, { owner: null });
    await plant(5, { owner: "p1", imageId: id(2) });
    await plant(6, { owner: "p1", imageId: null });
    expect(await idsFor(memberOf("p1"))).toEqual([id(1), id(4)]);
    expect(await idsFor(memberOf("p2"))).toEqual([id(3), id(4)]);
    expect(await idsFor(memberOf(null))).toEqual([id(4)]);
    expect(await idsFor(adminOf("p3"))).toEqual([id(1), id(3), id(4)]);
  });

  it("12 §3 Order: are shown oldest first, whenever they changed", async () => {
    for (const [n, createdAtMs] of [30, 10, 20, 10].entries()) {
      await plantTask({ id: id(n), imageId: IMAGE, createdAtMs, updatedAtMs: 100 - n });
    }
    expect(await idsFor(ADMIN)).toEqual([id(1), id(3), id(2), id(0)]);
  });

  it("TSK-6: are given page by page, behind a task of the image that the viewer sees", async () => {
    for (let n = 1; n <= 5; n++) {
      await plantTask({ id: id(n), imageId: IMAGE, createdAtMs: n, owner: n === 2 ? null : "p1" });
    }
    await plantTask({ id: id(6), imageId: id(2), owner: "p1" });
    await plantTask({ id: id(7), imageId: IMAGE, createdAtMs: 7, owner: "p2" });
    const page = async (limit: number, marker?: string) => {
      const found = await findImageWithTasks(db, IMAGE, { limit, marker }, memberOf("p1"), NOW_MS);
      return found.tasks.map((task) => task.id);
    };
    expect(await page(2)).toEqual([id(1), id(2)]);
    expect(await page(2, id(2))).toEqual([id(3), id(4)]);
    expect(await page(2, id(4))).toEqual([id(5)]);
    expect(await page(0)).toEqual([]);
    for (const marker of [id(6), id(7), id(99)]) {
      await expect(page(2, marker)).rejects.toMatchObject({ code: "invalid_parameter" });
    }
  });

  it("TSK-6: of those that are over the newest 50 are kept", async () => {
    const plant = (n: number, status: Task["status"]) =>
      plantTask({ id: id(n), imageId: IMAGE, createdAtMs: n, status });
    await plant(0, "processing");
    for (let n = 1; n <= 52; n++) await plant(n, n % 2 === 0 ? "success" : "failure");
    await plant(60, "processing");
    const kept = await idsFor(ADMIN);
    expect(kept).toEqual([id(0), ...Array.from({ length: 50 }, (_, n) => id(n + 3)), id(60)]);
    await db.run(sql`UPDATE tasks SET status = 'success' WHERE id = ${id(60)}`);
    expect(await idsFor(ADMIN)).toEqual([id(0), ...kept.slice(2)]);
  });

  it("12 §3 Image absent: are not found without their image", async () => {
    await plantTask({ imageId: id(2) });
    const missing = findImageWithTasks(db, id(2), WHOLE, ADMIN, NOW_MS);
    await expect(missing).rejects.toThrow(expect.objectContaining({ code: "image_not_found" }));
  });
});

describe("the cost", () => {
  beforeAll(async () => {
    await dropTasks();
    const tasks = Array.from({ length: 2000 }, (_, n) =>
      aTask({ id: id(n), owner: `p${n % 10}`, imageId: id(n % 100), createdAtMs: n }),
    );
    await plantTasks(tasks);
  });

  async function costOf(statement: { toSQL(): { sql: string; params: unknown[] } }) {
    const { sql, params } = statement.toSQL();
    const plan = env.DB.prepare(`EXPLAIN QUERY PLAN ${sql}`).bind(...params);
    const lines = (await plan.all<{ detail: string }>()).results.map(({ detail }) => detail);
    const { meta } = await env.DB.prepare(sql)
      .bind(...params)
      .all();
    return { plan: lines, rowsRead: meta.rows_read };
  }

  it.each([
    "",
    "sort_dir=asc",
    "sort_key=id",
    `marker=${id(1000)}`,
    `sort_dir=asc&marker=${id(9)}`,
  ])(
    "of a page of all tasks is the page: an index in its order, no scan of the table, no sorting (%s)",
    async (search) => {
      for (const limit of [5, 100]) {
        const page = query(`${search}&limit=${limit}`);
        const { plan, rowsRead } = await costOf(selectTaskPage(db, page, ADMIN, NOW_MS));
        expect(plan.filter((line) => /^SCAN (?!tasks USING INDEX)|TEMP B-TREE/.test(line))).toEqual(
          [],
        );
        expect(rowsRead).toBeLessThanOrEqual(limit + 5);
      }
    },
  );

  it.each([
    [memberOf("p1"), WHOLE],
    [memberOf(null), WHOLE],
    [ADMIN, WHOLE],
    [ADMIN, { limit: 10, marker: id(101) }],
  ])("of an image's tasks is that of a search in order, for %j and %j", async (viewer, page) => {
    const { plan, rowsRead } = await costOf(selectTasksOfImage(db, id(1), page, viewer, NOW_MS));
    expect(plan).toContainEqual(expect.stringMatching(/^SEARCH tasks USING INDEX tasks_by_image/));
    expect(plan.filter((line) => /^SCAN|TEMP B-TREE/.test(line))).toEqual([]);
    expect(rowsRead).toBeLessThanOrEqual(21);
  });

  it("of one image's page by filter is that image's tasks", async () => {
    const page = query(`image_id=${id(1)}&limit=10`);
    const { rowsRead } = await costOf(selectTaskPage(db, page, ADMIN, NOW_MS));
    expect(rowsRead).toBeLessThanOrEqual(21);
  });
});

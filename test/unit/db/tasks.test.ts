import { env } from "cloudflare:workers";
import { beforeEach, describe, expect, it } from "vitest";
import { openDatabase } from "../../../src/db/database.ts";
import {
  deleteExpiredTasks,
  endTasksOf,
  findTask,
  insertTaskOf,
  updateTask,
} from "../../../src/db/tasks.ts";
import { TASK_STATUSES, type Task, type TaskStatus } from "../../../src/domain/task.ts";
import { stateOf } from "../../support/image-state.ts";
import { aTask, dropTasks, plantTask, plantTasks } from "../../support/tasks.ts";
import { id, store } from "./list-fixtures.ts";

const db = openDatabase(env.DB);
const NOW_MS = 1_800_000_000_000;
const IMAGE = id(1);
const OTHER = id(2);

beforeEach(dropTasks);

/** The task as it stands, for ever and ever. */
const read = (task: Task) => findTask(db, task.id, 0);

async function tasksThere(): Promise<string[]> {
  const { results } = await env.DB.prepare("SELECT id FROM tasks ORDER BY id").all<{
    id: string;
  }>();
  return results.map((row) => row.id);
}

/** Makes IMAGE one that this task has locked. */
async function lock(task: Task): Promise<void> {
  const properties = new Map([["os_glance_import_task", task.id]]);
  await store([{ id: IMAGE, properties }, { id: OTHER }]);
}

describe("inserting a task", () => {
  it("keeps all there is to it", async () => {
    const task = aTask({
      imageId: IMAGE,
      requestId: "req-1",
      userId: "user",
      input: JSON.parse('{"image_id":"x","backend":[null],"__proto__":{"a":"é😀"}}'),
      result: { image_id: IMAGE },
      message: "half of it",
      expiresAtMs: NOW_MS,
    });
    await lock(task);
    expect(await db.batch([insertTaskOf(db, task)])).toEqual([[{ id: task.id }]]);
    expect(await read(task)).toEqual(task);
  });

  it("keeps what is null as null", async () => {
    const task = aTask({ imageId: IMAGE, owner: null });
    await lock(task);
    expect(await insertTaskOf(db, task)).toHaveLength(1);
    expect(await read(task)).toEqual(task);
    const stored = await env.DB.prepare("SELECT input, result FROM tasks").first();
    expect(stored).toEqual({ input: null, result: null });
  });

  it("does nothing when the image holds no task, or another one", async () => {
    const task = aTask({ imageId: IMAGE });
    await store([{ id: IMAGE }]);
    expect(await insertTaskOf(db, task)).toEqual([]);
    await lock(aTask());
    expect(await insertTaskOf(db, task)).toEqual([]);
    expect(await tasksThere()).toEqual([]);
  });

  it("does nothing when another image holds it, or there is none", async () => {
    const task = aTask({ imageId: OTHER });
    await lock(task);
    for (const imageId of [OTHER, id(3), null]) {
      expect(await insertTaskOf(db, { ...task, imageId })).toEqual([]);
    }
    expect(await tasksThere()).toEqual([]);
  });

  it("sees the lock that the same batch took", async () => {
    const task = aTask({ imageId: IMAGE });
    await lock(aTask());
    const take = (revision: number) =>
      env.DB.prepare(
        `UPDATE images SET properties = json_set(properties, '$.os_glance_import_task', ?)
         WHERE id = ? AND revision = ?`,
      ).bind(task.id, IMAGE, revision);
    const insert = insertTaskOf(db, task).toSQL();
    const both = (revision: number) =>
      env.DB.batch([take(revision), env.DB.prepare(insert.sql).bind(...insert.params)]);
    expect((await both(99))[1]?.results).toEqual([]);
    expect((await both(1))[1]?.results).toEqual([{ id: task.id }]);
  });

  it("said twice does not fail and changes nothing", async () => {
    const task = aTask({ imageId: IMAGE });
    await lock(task);
    await insertTaskOf(db, task);
    expect(await insertTaskOf(db, { ...task, message: "again" })).toEqual([]);
    expect(await read(task)).toEqual(task);
  });
});

describe("updating a task", () => {
  it("changes what it names and leaves the rest", async () => {
    const task = await plantTask({ status: "processing", input: { a: 1 }, message: "begun" });
    const changed = await db.batch([updateTask(db, task.id, { message: "1%", updatedAtMs: 5 })]);
    expect(changed).toEqual([[{ id: task.id }]]);
    expect(await read(task)).toEqual({ ...task, message: "1%", updatedAtMs: 5 });
    const result = { image_id: IMAGE };
    await updateTask(db, task.id, {
      status: "success",
      message: "",
      result,
      updatedAtMs: 6,
      expiresAtMs: NOW_MS,
    });
    expect(await read(task)).toEqual({
      ...task,
      status: "success",
      message: "",
      result,
      updatedAtMs: 6,
      expiresAtMs: NOW_MS,
    });
  });

  /** Saying `processing` once more is no transition. */
  const allowed = [
    ["pending", "processing"],
    ["pending", "failure"],
    ["processing", "processing"],
    ["processing", "success"],
    ["processing", "failure"],
  ].map(String);
  const moves = TASK_STATUSES.flatMap((from) => TASK_STATUSES.map((to) => [from, to] as const));

  it.each(moves.filter((move) => allowed.includes(String(move))))(
    "12 §1 Transitions, pending →, processing →: lets %s become %s",
    async (from, to) => expect(await move(from, to)).toBe(to),
  );

  it.each(moves.filter((move) => !allowed.includes(String(move))))(
    "12 §1 Transitions, terminal →: does not let %s become %s",
    async (from, to) => expect(await move(from, to)).toBe(from),
  );

  async function move(from: TaskStatus, to: TaskStatus): Promise<TaskStatus | undefined> {
    const task = await plantTask({ status: from });
    const changed = await updateTask(db, task.id, { status: to, updatedAtMs: 5, message: "m" });
    const after = await read(task);
    if (changed.length === 0) expect(after).toEqual(task);
    return after?.status;
  }

  it.each(["success", "failure"] as const)(
    "12 §1 Transitions, terminal →: leaves all of one that ended in %s",
    async (status) => {
      const task = await plantTask({ status });
      const change = { message: "late", result: {}, updatedAtMs: 5, expiresAtMs: 6 };
      expect(await updateTask(db, task.id, change)).toEqual([]);
      expect(await read(task)).toEqual(task);
    },
  );

  it("touches no other task", async () => {
    const [task, other] = [await plantTask(), await plantTask()];
    await updateTask(db, task.id, { status: "failure", updatedAtMs: 5 });
    expect(await read(other)).toEqual(other);
    expect(await updateTask(db, id(9), { updatedAtMs: 5 })).toEqual([]);
  });

  it("happens only while the image stands at the revision that is given", async () => {
    const task = await plantTask({ imageId: IMAGE });
    await store([{ id: IMAGE }]);
    const change = { status: "failure", updatedAtMs: 5 } as const;
    for (const [imageId, revision] of [
      [IMAGE, 2],
      [IMAGE, 0],
      [OTHER, 1],
    ] as const) {
      expect(await updateTask(db, task.id, change, { imageId, revision })).toEqual([]);
    }
    expect(await read(task)).toEqual(task);
    const isAt = { imageId: IMAGE, revision: 1 };
    expect(await db.batch([updateTask(db, task.id, change, isAt)])).toEqual([[{ id: task.id }]]);
  });
});

describe("ending the tasks of an image", () => {
  const end = { message: "the image was deleted", nowMs: NOW_MS, expiresAtMs: NOW_MS + 1 };

  async function bury(imageId: string): Promise<void> {
    await env.DB.prepare("UPDATE images SET status = 'deleted' WHERE id = ?").bind(imageId).run();
  }

  it("fails what is unfinished, and nothing else", async () => {
    await store([{ id: IMAGE }]);
    await bury(IMAGE);
    const planted = await Promise.all([
      ...TASK_STATUSES.map((status) => plantTask({ status, imageId: IMAGE })),
      plantTask({ imageId: OTHER }),
      plantTask({ imageId: null }),
    ]);
    const [ended = []] = await db.batch([endTasksOf(db, IMAGE, end)]);
    const [pending, processing, ...rest] = planted;
    expect(ended.map((task) => task.id).sort()).toEqual([pending?.id, processing?.id].sort());
    for (const task of [pending, processing]) {
      if (task === undefined) throw new Error("nothing planted");
      expect(await read(task)).toEqual({
        ...task,
        status: "failure",
        message: end.message,
        updatedAtMs: end.nowMs,
        expiresAtMs: end.expiresAtMs,
      });
    }
    for (const task of rest) expect(await read(task)).toEqual(task);
  });

  it("leaves those of an image that was not deleted after all, though another was", async () => {
    await store([{ id: IMAGE }, { id: OTHER }]);
    await bury(OTHER);
    const task = await plantTask({ imageId: IMAGE });
    expect(await endTasksOf(db, IMAGE, end)).toEqual([]);
    expect(await read(task)).toEqual(task);
  });

  it("searches an index", async () => {
    const plan = await planOf(endTasksOf(db, IMAGE, end));
    expect(plan).toContainEqual(expect.stringMatching(/^SEARCH tasks USING INDEX tasks_by_image/));
    expect(plan).not.toContainEqual(expect.stringMatching(/^SCAN tasks/));
  });
});

describe("expiry", () => {
  it("12 §1 Expiry, Removal: a task that has expired is gone, at that very millisecond", async () => {
    const task = await plantTask({ status: "success", expiresAtMs: NOW_MS });
    expect(await findTask(db, task.id, NOW_MS - 1)).toEqual(task);
    expect(await findTask(db, task.id, NOW_MS)).toBeUndefined();
    expect(await findTask(db, id(9), NOW_MS)).toBeUndefined();
  });

  it("12 §1 Expiry, Removal: takes away what has expired and nothing else", async () => {
    const there = await Promise.all([plantTask(), plantTask({ expiresAtMs: NOW_MS + 1 })]);
    const expired = await plantTask({ expiresAtMs: NOW_MS });
    expect(await db.batch([deleteExpiredTasks(db, NOW_MS)])).toEqual([[{ id: expired.id }]]);
    expect(await tasksThere()).toEqual(there.map((task) => task.id).sort());
  });

  it("12 §1 Expiry, Removal: takes 25 at once, the oldest first", async () => {
    const expired = Array.from({ length: 60 }, (_, n) => aTask({ id: id(n), expiresAtMs: n }));
    await plantTasks([...expired].reverse());
    for (const left of [35, 10, 0]) {
      await deleteExpiredTasks(db, NOW_MS);
      expect(await tasksThere()).toEqual(expired.slice(60 - left).map((task) => task.id));
    }
  });

  it("12 §1 Expiry, Removal: searches an index", async () => {
    const plan = await planOf(deleteExpiredTasks(db, NOW_MS));
    expect(plan).toContainEqual(expect.stringMatching(/USING (COVERING )?INDEX tasks_by_expiry/));
    expect(plan.filter((line) => /^SCAN|TEMP B-TREE/.test(line))).toEqual([]);
  });

  it("12 §1 Expiry, Effect on the image: none", async () => {
    const task = aTask({ imageId: IMAGE, expiresAtMs: 1 });
    await lock(task);
    await insertTaskOf(db, task);
    const before = await stateOf(IMAGE);
    await deleteExpiredTasks(db, NOW_MS);
    expect(await tasksThere()).toEqual([]);
    expect(await stateOf(IMAGE)).toEqual(before);
  });
});

async function planOf(statement: { toSQL(): { sql: string; params: unknown[] } }) {
  const { sql, params } = statement.toSQL();
  const plan = env.DB.prepare(`EXPLAIN QUERY PLAN ${sql}`).bind(...params);
  return (await plan.all<{ detail: string }>()).results.map(({ detail }) => detail);
}

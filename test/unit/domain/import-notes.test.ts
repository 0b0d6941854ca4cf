import fc from "fast-check";
import { describe, expect, it } from "vitest";
import {
  importingStores,
  importTaskOf,
  lockExpiresAtMs,
  withImportEnded,
  withImportStarted,
  withStoreDone,
} from "../../../src/domain/import-notes.ts";
import { TASK_STATUSES, type Task, type TaskStatus } from "../../../src/domain/task.ts";

const TASK = "os_glance_import_task";
const IMPORTING = "os_glance_importing_to_stores";
const FAILED = "os_glance_failed_import";

type Properties = ReadonlyMap<string, string | null>;

const none: Properties = new Map();
const asRecord = (properties: Properties) => Object.fromEntries(properties);
const start = (properties: Properties, stores: string[]) =>
  withImportStarted(properties, { taskId: "task-1", stores });

function aTask(status: TaskStatus, updatedAtMs: number): Task {
  return {
    id: "task-1",
    type: "api_image_import",
    status,
    owner: "project-1",
    imageId: null,
    requestId: null,
    userId: null,
    input: null,
    result: null,
    message: "",
    createdAtMs: 0,
    updatedAtMs,
    expiresAtMs: null,
  };
}

describe("an import's notes", () => {
  it("10 §10 os_glance_import_task: is the task's id from the start to the end", () => {
    const started = start(none, ["fast"]);
    expect(importTaskOf({ properties: none })).toBeUndefined();
    expect(importTaskOf({ properties: started })).toBe("task-1");
    expect(importTaskOf({ properties: withStoreDone(started, "fast") })).toBe("task-1");
    const ended = withImportEnded(started, { failed: [] });
    expect(importTaskOf({ properties: ended })).toBeUndefined();
    expect(ended.has(TASK)).toBe(false);
  });

  it("10 §10 os_glance_importing_to_stores: is sorted, with commas and no blanks", () => {
    const started = start(none, ["slow", "archive", "fast"]);
    expect(asRecord(started)).toEqual({
      [TASK]: "task-1",
      [IMPORTING]: "archive,fast,slow",
      [FAILED]: "",
    });
    expect(importingStores({ properties: started })).toEqual(["archive", "fast", "slow"]);
  });

  it("10 §10 os_glance_importing_to_stores: loses each store that is done, and ends empty", () => {
    let properties = start(none, ["slow", "archive", "fast"]);
    properties = withStoreDone(properties, "fast");
    expect(properties.get(IMPORTING)).toBe("archive,slow");
    properties = withStoreDone(withStoreDone(properties, "fast"), "unknown");
    expect(properties.get(IMPORTING)).toBe("archive,slow");
    properties = withStoreDone(withStoreDone(properties, "slow"), "archive");
    expect(properties.get(IMPORTING)).toBe("");
    expect(importingStores({ properties })).toEqual([]);
  });

  it("10 §9: a failed import leaves none to come and names the stores without a copy, sorted", () => {
    const ended = withImportEnded(start(none, ["a", "b", "c"]), { failed: ["c", "a"] });
    expect(asRecord(ended)).toEqual({ [IMPORTING]: "", [FAILED]: "a,c" });
  });

  it("10 §10 os_glance_failed_import: a store stays in it until an import targets it again", () => {
    const failed = withImportEnded(start(none, ["a", "b"]), { failed: ["a", "b"] });
    const again = start(failed, ["b", "c"]);
    expect(asRecord(again)).toEqual({ [TASK]: "task-1", [IMPORTING]: "b,c", [FAILED]: "a" });
    expect(withImportEnded(again, { failed: ["c"] }).get(FAILED)).toBe("a,c");
    expect(withImportEnded(again, { failed: ["a"] }).get(FAILED)).toBe("a");
  });

  it("10 §7 Expired: a stolen lock leaves nothing of the old import in the lists", () => {
    const before = withImportEnded(start(none, ["a", "b"]), { failed: ["a", "b"] });
    const stolen = withImportEnded(start(before, ["b", "c"]), { failed: [] });
    expect(asRecord(stolen)).toEqual({ [IMPORTING]: "", [FAILED]: "a" });
    const next = withImportStarted(stolen, { taskId: "task-2", stores: ["d"] });
    expect(asRecord(next)).toEqual({ [TASK]: "task-2", [IMPORTING]: "d", [FAILED]: "a" });
  });

  it("10 §10 Single-store: both lists are there, empty, from the first import on", () => {
    const started = start(none, []);
    expect(asRecord(started)).toEqual({ [TASK]: "task-1", [IMPORTING]: "", [FAILED]: "" });
    const done = withStoreDone(started, "default");
    expect(asRecord(withImportEnded(done, { failed: [] }))).toEqual({
      [IMPORTING]: "",
      [FAILED]: "",
    });
  });

  it("10 §10: everybody else's properties stay as they are, null and __proto__ among them", () => {
    const own: Properties = new Map([
      ["os_type", "linux"],
      ["__proto__", "x"],
      ["nothing", null],
    ]);
    const before = new Map(own);
    const ended = withImportEnded(withStoreDone(start(own, ["a"]), "a"), { failed: ["a"] });
    expect(own).toEqual(before);
    for (const [name, value] of own) expect(ended.get(name)).toBe(value);
    expect([...ended.keys()].sort()).toEqual([...own.keys(), IMPORTING, FAILED].sort());
  });

  it("10 §10: every set of stores is written and read back, sorted", () => {
    const id = fc.stringMatching(/^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$/);
    fc.assert(
      fc.property(fc.array(id), fc.array(id), (stores, failed) => {
        const started = start(none, stores);
        const sorted = [...new Set(stores)].sort();
        expect(importingStores({ properties: started })).toEqual(sorted);
        expect(started.get(IMPORTING)).toBe(sorted.join(","));
        const ended = withImportEnded(started, { failed });
        expect(ended.get(FAILED)).toBe([...new Set(failed)].sort().join(","));
        let left = started;
        for (const store of sorted) left = withStoreDone(left, store);
        expect(left.get(IMPORTING)).toBe("");
      }),
    );
  });
});

describe("lockExpiresAtMs", () => {
  it("IMP-15, 10 §7 Valid while: two hours for a task that has not begun", () => {
    expect(lockExpiresAtMs(aTask("pending", 5))).toBe(5 + 120 * 60 * 1000);
  });

  it("IMP-15, 10 §7 Valid while: one hour since its last sign of life for any other", () => {
    for (const status of TASK_STATUSES.filter((one) => one !== "pending")) {
      expect(lockExpiresAtMs(aTask(status, 5))).toBe(5 + 60 * 60 * 1000);
    }
  });

  it("10 §7 Progress keeps it alive: each update moves the end", () => {
    const [before, after] = [aTask("processing", 1000), aTask("processing", 61_000)];
    expect(lockExpiresAtMs(after) - lockExpiresAtMs(before)).toBe(60_000);
  });
});

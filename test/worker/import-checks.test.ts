import { env } from "cloudflare:workers";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { admin, owner, ownersReader, stranger } from "../support/callers.ts";
import { passTime, resumeTime, stopTime } from "../support/clock.ts";
import { expectRefusal, plantStatus } from "../support/image-state.ts";
import {
  beginImport,
  callImport,
  createStaged,
  finishImport,
  sources,
  tasksOf,
} from "../support/imports.ts";
import { Service } from "../support/service.ts";
import { TWO_BUCKETS } from "../support/stores.ts";
import { plantTask } from "../support/tasks.ts";

// What an import is refused for before it begins, in the order of contract 10 §4, as a client meets it. The rules
// themselves are shown in test/unit/domain/import-*.test.ts.

const settings = {
  STORES: JSON.stringify(TWO_BUCKETS),
  IMPORT_METHODS: "glance-direct,web-download,copy-image,glance-download",
};
const service = new Service({ settings });
const single = new Service();
const source = sources();
const web = { name: "web-download", uri: source.fileUrl({ size: 10, seed: 1 }) };
const MISSING = "00000000-0000-4000-8000-000000000000";

beforeEach(stopTime);
afterEach(resumeTime);

/** The status of a refusal, which must leave the image as it was. */
async function refusal(
  status: number,
  imageId: string,
  request: unknown,
  { caller = owner, from = service, store = "" } = {},
): Promise<string> {
  const headers = { accept: "application/json", ...(store && { "x-image-meta-store": store }) };
  return expectRefusal(status, imageId, () => callImport(from, caller, imageId, request, headers));
}

describe("POST import, step by step", () => {
  it("10 §4 #1: no body, no JSON, no object", async () => {
    const path = `/v2/images/${MISSING}/import`;
    for (const body of ["", "{", "1", '"x"', "null", "[]"]) {
      expect((await service.call(owner, "POST", path, { body })).status).toBe(400);
    }
  });

  it("10 §4 #2, #3, IMP-2, IMP-3, COD-9: the method, before the image is looked for", async () => {
    const off = new Service({ settings: { IMPORT_METHODS: "" } });
    for (const request of [{}, { method: {} }, { method: "web-download" }, { method: [] }]) {
      expect((await callImport(service, owner, MISSING, request)).status).toBe(400);
    }
    expect((await callImport(service, owner, MISSING, "carrier-pigeon")).status).toBe(400);
    expect((await callImport(off, owner, MISSING, "glance-direct")).status).toBe(400);
  });

  it("10 §4 #4, IMP-4: booleans are booleans", async () => {
    for (const more of [{ all_stores: "true" }, { all_stores_must_succeed: 1 }]) {
      expect((await callImport(service, owner, MISSING, { method: web, ...more })).status).toBe(
        400,
      );
    }
  });

  it("10 §4 #5: an anonymous caller only reads", async () => {
    const open = new Service({ settings: { ...settings, ALLOW_ANONYMOUS_ACCESS: "true" } });
    const json = { method: web };
    const path = `/v2/images/${MISSING}/import`;
    expect((await open.call(null, "POST", path, { json })).status).toBe(403);
  });

  it("10 §4 #7: an image that is not there, or not for this caller", async () => {
    const { id } = await service.createEmpty(owner);
    expect((await callImport(service, owner, MISSING, { method: web })).status).toBe(404);
    await refusal(404, id, { method: web }, { caller: stranger });
  });

  it("10 §4 #8, §5, IMP-5, MX-7: the wrong status, before the right is asked for", async () => {
    const needed = {
      "glance-direct": "uploading",
      "web-download": "queued",
      "glance-download": "queued",
      "copy-image": "active",
    } as const;
    const statuses = [
      "queued",
      "saving",
      "uploading",
      "importing",
      "active",
      "deactivated",
    ] as const;
    for (const [name, right] of Object.entries(needed)) {
      for (const status of statuses.filter((other) => other !== right)) {
        const { id } = await service.createEmpty(owner, { visibility: "community" });
        await plantStatus(id, status);
        await refusal(409, id, { method: { name } });
        await refusal(409, id, { method: { name } }, { caller: stranger });
      }
    }
  });

  it("10 §4 #9, IMP-6: formats that are not set", async () => {
    const { id } = await service.create(owner);
    expect(await refusal(409, id, { method: web })).toContain("container_format and disk_format");
  });

  it("10 §4 #10, IMP-8: what glance-download needs", async () => {
    const { id } = await service.createEmpty(owner);
    for (const method of [
      { glance_image_id: MISSING },
      { glance_region: "two" },
      { glance_region: "two", glance_image_id: "x" },
      { glance_region: "two", glance_image_id: 1 },
    ]) {
      await refusal(400, id, { method: { name: "glance-download", ...method } });
    }
  });

  it("10 §4 #11, IMP-13, POL-18: who may", async () => {
    const { id } = await service.createEmpty(owner, { visibility: "community" });
    await refusal(403, id, { method: web }, { caller: stranger });
    await refusal(403, id, { method: web }, { caller: ownersReader });
    const active = await service.createActive(owner, "x");
    const copy = { method: { name: "copy-image" }, stores: ["archive"] };
    await refusal(403, active.id, copy);
    expect((await callImport(service, admin, active.id, copy)).status).toBe(202);
  });

  it("10 §4 #13, §6, IMP-10, IMP-11: the choice of stores", async () => {
    const { id } = await service.createEmpty(owner);
    for (const stores of [["nowhere"], ["http"], ["os_glance_staging_store"]]) {
      await refusal(409, id, { method: web, stores });
    }
    await refusal(409, id, { method: web }, { store: "nowhere" });
    await refusal(400, id, { method: web, stores: [] });
    await refusal(400, id, { method: web, stores: "fast" });
    await refusal(400, id, { method: web, stores: ["fast"] }, { store: "fast" });
    await refusal(400, id, { method: web, stores: ["fast"], all_stores: true });
    await refusal(400, id, { method: web, all_stores: true }, { store: "fast" });
    const headers = { "x-image-meta-store": "archive" };
    expect((await callImport(service, owner, id, { method: web }, headers)).status).toBe(202);
    expect((await finishImport(service, id)).image.stores).toBe("archive");
  });

  it("10 §4 #15, IMP-12: a copy where there is one", async () => {
    const { id } = await service.createActive(owner, "x");
    const request = { method: { name: "copy-image" }, stores: ["archive", "fast"] };
    await refusal(400, id, request, { caller: admin });
    const alone = await single.createActive(owner, "x");
    await refusal(400, alone.id, "copy-image", { caller: admin, from: single });
  });

  it("10 §4 #16, IMP-14: one store that need not succeed", async () => {
    const { id } = await single.createEmpty(owner);
    await refusal(400, id, { method: web, all_stores_must_succeed: false }, { from: single });
  });

  it.each([
    undefined,
    1,
    "",
    "example.com/x",
    "ftp://example.com/x",
    "file:///etc/passwd",
    "http:///x",
    "http://example.com:8080/x",
    "http://example.com:99999/x",
    "http://127.0.0.1/",
    "http://127.1/",
    "http://2130706433/",
    "http://017700000001/",
    "http://0x7f000001/",
    "http://[::1]/",
    "http://[::ffff:127.0.0.1]/",
    "http://[64:ff9b::7f00:1]/",
    "http://169.254.169.254/latest/meta-data/",
    "http://10.0.0.1/",
    "http://localhost/",
    "http://localhost./",
    "http://metadata.google.internal/",
    "http://user:secret@example.com/",
    "http://example.com\\@127.0.0.1/",
  ])("10 §4 #17, IMP-7, 10 §11: refuses the address %j", async (uri) => {
    const strict = new Service({
      settings: {
        IMPORT_ALLOW_PRIVATE_ADDRESSES: "false",
        IMPORT_ALLOWED_PORTS: "80,443",
        RESOLVER_URL: "",
      },
    });
    const { id } = await strict.createEmpty(owner);
    const text = await refusal(
      400,
      id,
      { method: { name: "web-download", uri } },
      { from: strict },
    );
    expect(text).not.toContain("secret");
  });

  it("10 §11 host: a name that leads to a private address, or nowhere, is refused", async () => {
    const resolver = await resolverOf({
      "inside.example": "10.1.2.3",
      "outside.example": "8.8.8.8",
    });
    const strict = new Service({
      settings: {
        IMPORT_ALLOW_PRIVATE_ADDRESSES: "false",
        IMPORT_ALLOWED_PORTS: "80,443",
        RESOLVER_URL: resolver.url,
      },
    });
    try {
      const { id } = await strict.createEmpty(owner);
      for (const host of ["inside.example", "inside.example.", "nowhere.example"]) {
        const method = { name: "web-download", uri: `http://${host}/x` };
        await refusal(400, id, { method }, { from: strict });
      }
      const method = { name: "web-download", uri: "http://outside.example/x" };
      expect((await callImport(strict, owner, id, { method })).status).toBe(202);
    } finally {
      resolver.restore();
    }
  });

  it("10 §4 #18, #19, IMP-15: of two at once one is accepted", async () => {
    const { id } = await createStaged(single, "x");
    const answers = await Promise.all([
      callImport(single, owner, id, "glance-direct"),
      callImport(single, owner, id, "glance-direct"),
    ]);
    expect(answers.map(({ status }) => status).sort()).toEqual([202, 409]);
    expect(await tasksOf(single, owner, id)).toHaveLength(1);
    expect((await finishImport(single, id)).image.status).toBe("active");
  });
});

/** A resolver in the place of the one that is configured. */
async function resolverOf(addresses: Readonly<Record<string, string>>) {
  const original = globalThis.fetch;
  const url = "https://resolver.example/dns-query";
  globalThis.fetch = async (input, init) => {
    const asked = new URL(String(input instanceof Request ? input.url : input));
    if (asked.origin !== "https://resolver.example") return original(input, init);
    const name = (asked.searchParams.get("name") ?? "").replace(/\.$/, "");
    const data = addresses[name];
    if (data === undefined) return Response.json({ Status: 3 });
    const isA = asked.searchParams.get("type") === "A";
    return Response.json({ Status: 0, Answer: isA ? [{ type: 1, data }] : [] });
  };
  return {
    url,
    restore: () => {
      globalThis.fetch = original;
    },
  };
}

describe("the lock", () => {
  const copy = { method: { name: "copy-image" }, stores: ["archive"] };

  /** An active image held by a task of that age. */
  async function held(status: "pending" | "processing", minutes: number, taskId?: string) {
    const { id } = await service.createActive(owner, "bytes");
    const task = taskId ?? crypto.randomUUID();
    const updatedAtMs = Date.now() - minutes * 60_000;
    if (taskId === undefined) await plantTask({ id: task, imageId: id, status, updatedAtMs });
    await env.DB.prepare(
      `UPDATE images SET properties = json_object('os_glance_import_task', ?,
         'os_glance_importing_to_stores', 'archive,fast', 'os_glance_failed_import', '') WHERE id = ?`,
    )
      .bind(task, id)
      .run();
    return { id, task };
  }

  it.each([
    ["pending", 119],
    ["processing", 59],
  ] as const)(
    "10 §4 #12, 10 §7 Valid while: a %s task of %i minutes holds it",
    async (status, minutes) => {
      const { id, task } = await held(status, minutes);
      expect(await refusal(409, id, copy, { caller: admin })).toContain(task);
    },
  );

  it.each([
    ["pending", 121],
    ["processing", 61],
  ] as const)(
    "10 §7 Expired, IMP-15: a %s task of %i minutes loses it",
    async (status, minutes) => {
      const { id, task } = await held(status, minutes);
      await beginImport(service, admin, id, copy);
      const tasks = await tasksOf(service, admin, id);
      expect(tasks.find((old) => old.id === task)).toMatchObject({
        status: "failure",
        message: "Expired lock preempted",
      });
      expect(await service.show(owner, id)).toMatchObject({
        os_glance_importing_to_stores: "archive",
        os_glance_failed_import: "",
      });
      passTime(1);
      const { image } = await finishImport(service, id, admin);
      expect(image.stores).toBe("fast,archive");
    },
  );

  it("10 §7 Lock names a task that no longer exists: is free at once", async () => {
    const { id } = await held("pending", 0, crypto.randomUUID());
    expect((await callImport(service, admin, id, copy)).status).toBe(202);
  });
});

describe("the notes on the image", () => {
  it("REP-20, 10 §10: are there while it goes on, and the lists stay, empty", async () => {
    const { id } = await service.createEmpty(owner);
    await beginImport(service, owner, id, { method: web, stores: ["fast", "archive"] });
    const [task] = await tasksOf(service, owner, id);
    const during = await service.show(owner, id);
    expect(during).toMatchObject({
      os_glance_import_task: task?.id,
      os_glance_importing_to_stores: "archive,fast",
      os_glance_failed_import: "",
    });
    const { image } = await finishImport(service, id);
    expect(image).toMatchObject({ os_glance_importing_to_stores: "", os_glance_failed_import: "" });
    expect(image).not.toHaveProperty("os_glance_import_task");
  });

  it("REP-21, 10 §10: tell of no host, and are nobody's to write", async () => {
    const { id } = await createStaged(service, "x");
    const shown = Object.keys(await service.show(owner, id));
    expect(shown.filter((name) => name.startsWith("os_glance_"))).toEqual([]);
    for (const op of ["add", "replace", "remove"]) {
      const patch = [
        { op, path: "/os_glance_import_task", ...(op !== "remove" && { value: "x" }) },
      ];
      expect((await service.call(admin, "PATCH", `/v2/images/${id}`, { patch })).status).toBe(403);
    }
  });

  it("10 §10 Quota: do not count among the properties", async () => {
    const tight = new Service({ settings: { ...settings, IMAGE_PROPERTY_QUOTA: "1" } });
    const { id } = await createStaged(tight, "x", { one: "1" });
    await beginImport(tight, owner, id, "glance-direct");
    expect((await finishImport(tight, id)).image).toMatchObject({ status: "active", one: "1" });
  });

  it("ST-10: a failed import leaves a queued image that can be staged", async () => {
    const { id } = await service.createEmpty(owner);
    const uri = source.fileUrl({ size: 1, status: 404 });
    await beginImport(service, owner, id, { method: { name: "web-download", uri } });
    expect((await finishImport(service, id)).image).toMatchObject({ status: "queued", size: null });
  });

  it("10 §3 Unknown keys: are ignored, and kept in the task's input", async () => {
    const { id } = await createStaged(service, "x");
    const request = { method: { name: "glance-direct", uri: "file:///x", all_stores: 1 }, more: 2 };
    await beginImport(service, owner, id, request);
    const [task] = await tasksOf(service, owner, id);
    expect(task?.input.import_req).toEqual(request);
    expect((await finishImport(service, id)).image).toMatchObject({ status: "active", size: 1 });
  });
});

import { env } from "cloudflare:workers";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import type { TaskStatus } from "../../src/domain/task.ts";
import { admin, owner, ownersReader, stranger, unscoped } from "../support/callers.ts";
import { passTime, resumeTime, stopTime } from "../support/clock.ts";
import { expectNoImage, expectRefusal, plantStatus, stateOf } from "../support/image-state.ts";
import {
  beginImport,
  callImport,
  createStaged,
  finishImport,
  sources,
  stage,
  tasksOf,
} from "../support/imports.ts";
import { Service } from "../support/service.ts";
import { MET_STATUSES } from "../support/statuses.ts";
import { storedKeys } from "../support/stored-bytes.ts";
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
const accept = { accept: "application/json" };
const HEADER = "openstack-image-import-methods";

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

async function statusOf(response: Promise<Response>): Promise<number> {
  return (await response).status;
}

/** The statuses of all those calls, made at once. */
async function atOnce(...calls: Promise<Response>[]): Promise<readonly number[]> {
  return (await Promise.all(calls.map(statusOf))).sort();
}

/** Has a task hold an image, as an import does that means to fill both stores. */
async function lock(imageId: string, taskId: string): Promise<void> {
  await env.DB.prepare(
    `UPDATE images SET properties = json_object('os_glance_import_task', ?,
       'os_glance_importing_to_stores', 'archive,fast', 'os_glance_failed_import', '') WHERE id = ?`,
  )
    .bind(taskId, imageId)
    .run();
}

describe("POST import, step by step", () => {
  it("IMP-1, COD-9, RT-5, 10 §1: is 202 with an empty body and without a Location", async () => {
    const { id } = await service.createEmpty(owner);
    const request = {
      method: web,
      stores: ["fast"],
      all_stores: false,
      all_stores_must_succeed: true,
    };
    const response = await callImport(service, owner, id, request);
    expect(response.status).toBe(202);
    expect(await response.text()).toBe("");
    expect(response.headers.has("location")).toBe(false);
    expect((await finishImport(service, id)).image.status).toBe("active");
  });

  it("COD-9: needs a token", async () => {
    const { id } = await service.createEmpty(owner);
    const headers = { accept: "application/json" };
    const path = `/v2/images/${id}/import`;
    const options = { json: { method: web }, headers };
    await expectRefusal(401, id, () => service.call(null, "POST", path, options));
  });

  it("10 §4 #1: no body, no JSON, no object", async () => {
    const path = `/v2/images/${MISSING}/import`;
    for (const body of ["", "{", "1", '"x"', "null", "[]"]) {
      expect((await service.call(owner, "POST", path, { body })).status).toBe(400);
    }
    expect(await statusOf(service.call(owner, "POST", path))).toBe(400);
  });

  it("10 §4 #2, #3, IMP-2, IMP-3, COD-9: the method, before the image is looked for", async () => {
    const off = new Service({ settings: { IMPORT_METHODS: "" } });
    for (const request of [
      {},
      { method: {} },
      { method: null },
      { method: "web-download" },
      { method: [] },
      { method: { name: 1 } },
      { method: { name: "Web-Download" } },
    ]) {
      expect((await callImport(service, owner, MISSING, request)).status).toBe(400);
    }
    expect((await callImport(service, owner, MISSING, "carrier-pigeon")).status).toBe(400);
    expect((await callImport(off, owner, MISSING, "glance-direct")).status).toBe(400);
    // Off by default.
    expect(await statusOf(callImport(single, owner, MISSING, "glance-download"))).toBe(400);
  });

  it("10 §4 #4, IMP-4: booleans are booleans", async () => {
    for (const more of [
      { all_stores: "true" },
      { all_stores: 0 },
      { all_stores: null },
      { all_stores_must_succeed: 1 },
      { all_stores_must_succeed: "false" },
    ]) {
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

  it("10 §4 #5, CTX-5: an anonymous caller only reads, whatever else is wrong", async () => {
    const open = new Service({ settings: { ...settings, ALLOW_ANONYMOUS_ACCESS: "true" } });
    const path = `/v2/images/${MISSING}/import`;
    const answers: number[] = [];
    for (const json of [
      1,
      { method: { name: "carrier-pigeon" } },
      { method: web, all_stores: "true" },
    ]) {
      answers.push(await statusOf(open.call(null, "POST", path, { json })));
    }
    expect(answers).toEqual([403, 403, 403]);
  });

  it("10 §4: each check comes before the next one", async () => {
    const community = { visibility: "community" };
    const remote = { name: "glance-download" };
    const held = await service.createEmpty(owner, community);
    const { id: task } = await plantTask({ imageId: held.id });
    await lock(held.id, task);
    const free = await service.createEmpty(owner, community);
    const bare = await service.create(owner, community);
    const active = await service.create(owner, community);
    await plantStatus(active.id, "active");
    const copied = await service.createActive(owner, "x");
    const copy = { name: "copy-image" };
    const bad = { name: "web-download", uri: "ftp://example.com/x" };
    // 4 before 7, 7 before 8.
    expect(
      await statusOf(callImport(service, stranger, MISSING, { method: web, all_stores: 1 })),
    ).toBe(400);
    await refusal(404, copied.id, { method: web }, { caller: stranger });
    // 8 before 9, by what the sentence speaks of.
    expect(await refusal(409, active.id, { method: web })).toContain("active");
    // 9 before 10, 10 before 11, 11 before 12, 12 before 13.
    await refusal(409, bare.id, { method: remote }, { caller: stranger });
    await refusal(400, free.id, { method: remote }, { caller: stranger });
    await refusal(403, held.id, { method: web }, { caller: stranger });
    await refusal(409, held.id, { method: web, stores: [] });
    // 13 before 15 and 17.
    await refusal(409, copied.id, { method: copy, stores: ["fast", "nowhere"] }, { caller: admin });
    await refusal(409, free.id, { method: bad, stores: ["nowhere"] });
    // 16 before 17.
    const alone = await single.createEmpty(owner);
    const lax = { method: bad, all_stores_must_succeed: false };
    const sentence = await refusal(400, alone.id, lax, { from: single });
    expect(sentence).toContain("all_stores_must_succeed");
  });

  it("10 §4 #7: an image that is not there, or not for this caller", async () => {
    const { id } = await service.createEmpty(owner);
    expect((await callImport(service, owner, MISSING, { method: web })).status).toBe(404);
    await refusal(404, id, { method: web }, { caller: stranger });
    await service.call(owner, "DELETE", `/v2/images/${id}`);
    await refusal(404, id, { method: web });
    expect(await statusOf(callImport(service, owner, "not-an-id", { method: web }))).toBe(404);
  });

  it("10 §4 #8, §5, IMP-5, MX-7: the wrong status, before the right is asked for", async () => {
    const needed = {
      "glance-direct": "uploading",
      "web-download": "queued",
      "glance-download": "queued",
      "copy-image": "active",
    } as const;
    for (const [name, right] of Object.entries(needed)) {
      for (const status of MET_STATUSES.filter((other) => other !== right)) {
        const { id } = await service.createEmpty(owner, { visibility: "community" });
        await plantStatus(id, status);
        await refusal(409, id, { method: { name } });
        await refusal(409, id, { method: { name } }, { caller: stranger });
      }
    }
  });

  it("10 §4 #9, IMP-6: formats that are not set", async () => {
    const remote = { name: "glance-download", glance_region: "two", glance_image_id: MISSING };
    for (const [record, missing] of [
      [{}, "container_format and disk_format"],
      [{ disk_format: "raw" }, "container_format"],
      [{ container_format: "bare" }, "disk_format"],
    ] as const) {
      const { id } = await service.create(owner, record);
      for (const method of [web, remote]) {
        expect(await refusal(409, id, { method })).toContain(missing);
      }
      await plantStatus(id, "active");
      const copy = { method: { name: "copy-image" }, stores: ["archive"] };
      expect(await refusal(409, id, copy, { caller: admin })).toContain(missing);
    }
  });

  it("10 §4 #10, IMP-8: what glance-download needs", async () => {
    const { id } = await service.createEmpty(owner);
    for (const method of [
      { glance_image_id: MISSING },
      { glance_region: "two" },
      { glance_region: "two", glance_image_id: "x" },
      { glance_region: "two", glance_image_id: 1 },
      { glance_region: 2, glance_image_id: MISSING },
      { glance_region: "", glance_image_id: MISSING },
      { glance_region: "two", glance_image_id: MISSING, glance_service_interface: 1 },
    ]) {
      await refusal(400, id, { method: { name: "glance-download", ...method } });
    }
    // The interface has a default; that there is no such region shows later (10 §12, Endpoint).
    const method = { name: "glance-download", glance_region: "two", glance_image_id: MISSING };
    await beginImport(service, owner, id, { method });
    const { image, task } = await finishImport(service, id);
    expect(task).toMatchObject({ status: "failure" });
    expect(image).toMatchObject({ status: "queued", os_glance_failed_import: "fast" });
  });

  it("10 §4 #11, IMP-13, POL-18: who may", async () => {
    const { id } = await service.createEmpty(owner, { visibility: "community" });
    await refusal(403, id, { method: web }, { caller: stranger });
    await refusal(403, id, { method: web }, { caller: ownersReader });
    await refusal(404, id, { method: web }, { caller: unscoped });
    const active = await service.createActive(owner, "x");
    const copy = { method: { name: "copy-image" }, stores: ["archive"] };
    await refusal(403, active.id, copy);
    await refusal(404, active.id, copy, { caller: stranger });
    expect((await callImport(service, admin, active.id, copy)).status).toBe(202);
  });

  it("POL-18, 10 §13 Authorisation: copy_image alone decides, and may be opened to others", async () => {
    const POLICY = JSON.stringify({ copy_image: "", modify_image: "!" });
    const open = new Service({ settings: { ...settings, POLICY } });
    const { id } = await service.createActive(owner, "x", { visibility: "community" });
    await refusal(403, id, { method: { name: "copy-image" } }, { caller: stranger });
    const request = { method: { name: "copy-image" }, stores: ["archive"] };
    await beginImport(open, stranger, id, request);
    const { image, task } = await finishImport(open, id, stranger);
    expect(image).toMatchObject({ owner: owner.projectId, stores: "fast,archive" });
    expect(task).toMatchObject({ status: "success", owner: stranger.projectId });
    expect(await tasksOf(open, owner, id)).toEqual([]);
  });

  it("10 §4 #13, §6, IMP-10, IMP-11: the choice of stores", async () => {
    const { id } = await service.createEmpty(owner);
    for (const stores of [["nowhere"], ["http"], ["os_glance_staging_store"]]) {
      await refusal(409, id, { method: web, stores });
    }
    await refusal(409, id, { method: web }, { store: "nowhere" });
    await refusal(400, id, { method: web, stores: [] });
    await refusal(400, id, { method: web, stores: "fast" });
    await refusal(400, id, { method: web, stores: ["fast"] }, { store: "archive" });
    await refusal(400, id, { method: web, stores: ["fast"], all_stores: true });
    await refusal(400, id, { method: web, all_stores: true }, { store: "fast" });
    await refusal(400, id, { method: web, stores: [], all_stores: true });
    await refusal(400, id, { method: web, stores: ["fast", 1] });
    await refusal(400, id, { method: web, stores: { fast: true } });
    await refusal(409, id, { method: web, stores: ["fast", "nowhere"] });
    await refusal(409, id, { method: web }, { store: "http" });
    const headers = { "x-image-meta-store": "archive" };
    expect((await callImport(service, owner, id, { method: web }, headers)).status).toBe(202);
    expect((await finishImport(service, id)).image.stores).toBe("archive");
  });

  it.each([
    ["none", {}, "", ["fast"]],
    ["the header", {}, "archive", ["archive"]],
    ["stores, in order", { stores: ["archive", "fast"] }, "", ["archive", "fast"]],
    ["stores and the header, which say the same", { stores: ["archive"] }, "archive", ["archive"]],
    ["stores, one twice", { stores: ["archive", "archive"] }, "", ["archive"]],
    ["stores, all_stores false", { stores: ["archive"], all_stores: false }, "", ["archive"]],
    ["all_stores, without the http store", { all_stores: true }, "", ["fast", "archive"]],
    ["all_stores in method, no effect", { method: { ...web, all_stores: true } }, "", ["fast"]],
  ] as const)("10 §6, IMP-9: of %s come these stores", async (_, more, store, stores) => {
    const { id } = await service.createEmpty(owner);
    const headers: Record<string, string> = store === "" ? {} : { "x-image-meta-store": store };
    await beginImport(service, owner, id, { method: web, ...more }, headers);
    const [task] = await tasksOf(service, owner, id);
    expect(task?.input.backend).toEqual(stores);
    const { image } = await finishImport(service, id);
    expect(image.stores?.toString().split(",").sort()).toEqual([...stores].sort());
  });

  it("10 §3 Order of stores, §6: all_stores of a copy leaves out those that hold the image", async () => {
    const { id } = await service.createActive(owner, "x", {});
    const request = { method: { name: "copy-image" }, all_stores: true };
    await beginImport(service, admin, id, request);
    const [task] = await tasksOf(service, admin, id);
    expect(task?.input.backend).toEqual(["archive"]);
    expect((await finishImport(service, id, admin)).image.stores).toBe("fast,archive");
  });

  it("10 §3 Single-store: whatever is said of stores is overlooked", async () => {
    for (const more of [
      { stores: ["nowhere"], all_stores: true },
      { stores: "x" },
      { stores: [] },
    ]) {
      const { id } = await single.createEmpty(owner);
      const headers = { "x-image-meta-store": "nowhere" };
      await beginImport(single, owner, id, { method: web, ...more }, headers);
      const [task] = await tasksOf(single, owner, id);
      expect(task?.input.backend).toEqual([null]);
      expect((await finishImport(single, id)).image.status).toBe("active");
    }
  });

  it("10 §4 #14, IMP-12: a copy to all stores, all of which have it, changes nothing", async () => {
    const { id } = await service.createActive(owner, "x");
    const request = { method: { name: "copy-image" }, all_stores: true };
    await beginImport(service, admin, id, request);
    await finishImport(service, id, admin);
    const before = await stateOf(id);
    passTime(60);
    await beginImport(service, admin, id, request);
    expect(await stateOf(id)).toEqual(before);
    expect(await tasksOf(service, admin, id)).toHaveLength(1);
  });

  it("10 §4 #15, IMP-12: a copy where there is one", async () => {
    const { id } = await service.createActive(owner, "x");
    const request = { method: { name: "copy-image" }, stores: ["archive", "fast"] };
    await refusal(400, id, request, { caller: admin });
    // The default store has it.
    await refusal(400, id, "copy-image", { caller: admin });
    await refusal(400, id, "copy-image", { caller: admin, store: "fast" });
    const alone = await single.createActive(owner, "x");
    await refusal(400, alone.id, "copy-image", { caller: admin, from: single });
  });

  it("10 §4 #16, IMP-14: one store that need not succeed", async () => {
    const { id } = await single.createEmpty(owner);
    await refusal(400, id, { method: web, all_stores_must_succeed: false }, { from: single });
    const several = await service.createEmpty(owner);
    await beginImport(service, owner, several.id, { method: web, all_stores_must_succeed: false });
    expect((await finishImport(service, several.id)).image.status).toBe("active");
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

  it("10 §11 host: a resolver that cannot be reached is told as such, and when to try again", async () => {
    const strict = new Service({
      settings: {
        IMPORT_ALLOW_PRIVATE_ADDRESSES: "false",
        IMPORT_ALLOWED_PORTS: "80,443",
        RESOLVER_URL: "http://127.0.0.1:9/dns-query",
      },
    });
    const { id } = await strict.createEmpty(owner);
    const method = { name: "web-download", uri: "http://outside.example/x" };
    const task = {
      type: "import",
      input: {
        import_from: method.uri,
        import_from_format: "raw",
        image_properties: { disk_format: "raw", container_format: "bare" },
      },
    };
    const calls = [
      () => callImport(strict, owner, id, { method }),
      () => strict.call(admin, "POST", "/v2/tasks", { json: task }),
    ];
    for (const call of calls) {
      const response = await call();
      expect(response.status).toBe(503);
      expect(response.headers.get("retry-after")).toBe("10");
      expect(await response.text()).toContain("The resolver of RESOLVER_URL");
    }
    expect((await strict.show(owner, id)).status).toBe("queued");
    expect(await tasksOf(strict, owner, id)).toEqual([]);
  });

  it("10 §11 IP addresses in disallowed_hosts: a name that leads to one is refused", async () => {
    const resolver = await resolverOf({ "a.example": "8.8.8.8", "b.example": "8.8.4.4" });
    const strict = new Service({
      settings: {
        IMPORT_ALLOWED_PORTS: "80,443",
        IMPORT_DISALLOWED_HOSTS: "8.8.8.8",
        IMPORT_ALLOW_PRIVATE_ADDRESSES: "false",
        RESOLVER_URL: resolver.url,
      },
    });
    try {
      const { id } = await strict.createEmpty(owner);
      const from = (host: string) => ({
        method: { name: "web-download", uri: `http://${host}/x` },
      });
      await refusal(400, id, from("a.example"), { from: strict });
      expect((await callImport(strict, owner, id, from("b.example"))).status).toBe(202);
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

  it("10 §4 #18, IMP-15: of several downloads at once, too", async () => {
    const { id } = await single.createEmpty(owner);
    const call = () => callImport(single, owner, id, { method: web });
    expect(await atOnce(call(), call(), call())).toEqual([202, 409, 409]);
    expect(await tasksOf(single, owner, id)).toHaveLength(1);
    expect((await finishImport(single, id)).image.status).toBe("active");
  });

  it("10 §2, MX-4, MX-7: of an import and a staging at once, one has the image", async () => {
    const { id } = await single.createEmpty(owner);
    const answers = await Promise.all(
      [callImport(single, owner, id, { method: web }), stage(single, owner, id, "x")].map(statusOf),
    );
    expect([
      [202, 409],
      [409, 204],
    ]).toContainEqual(answers);
    const { image } = await finishImport(single, id);
    expect(image.status).toBe(answers[0] === 202 ? "active" : "uploading");
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
  async function held(status: TaskStatus, minutes: number, taskId?: string) {
    const { id } = await service.createActive(owner, "bytes");
    const task = taskId ?? crypto.randomUUID();
    const updatedAtMs = Date.now() - minutes * 60_000;
    if (taskId === undefined) await plantTask({ id: task, imageId: id, status, updatedAtMs });
    await lock(id, task);
    return { id, task };
  }

  it.each([
    ["pending", 0],
    ["pending", 119],
    ["processing", 59],
    ["success", 59],
    ["failure", 59],
  ] as const)(
    "10 §4 #12, 10 §7 Valid while: a %s task of %i minutes holds it",
    async (status, minutes) => {
      const { id, task } = await held(status, minutes);
      expect(await refusal(409, id, copy, { caller: admin })).toContain(task);
    },
  );

  it.each([
    ["pending", 120],
    ["pending", 121],
    ["processing", 60],
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

  it.each(["success", "failure"] as const)(
    "10 §7 Expired, 12 §1 Transition: a lock that a task left behind goes, the task stays a %s",
    async (status) => {
      const { id, task } = await held(status, 60);
      await beginImport(service, admin, id, copy);
      const old = (await tasksOf(service, admin, id)).find((other) => other.id === task);
      expect(old).toMatchObject({ status, message: "" });
      expect((await finishImport(service, id, admin)).image.stores).toBe("fast,archive");
    },
  );

  it("10 §7 Lock names a task that no longer exists: is free at once", async () => {
    const { id } = await held("pending", 0, crypto.randomUUID());
    expect((await callImport(service, admin, id, copy)).status).toBe(202);
    expect(await service.show(owner, id)).toMatchObject({
      os_glance_importing_to_stores: "archive",
    });
    expect((await finishImport(service, id, admin)).image.stores).toBe("fast,archive");
  });

  it("IMP-15, 10 §7 Second request: is 409 while the first goes on, and names its task", async () => {
    const { id } = await service.createActive(owner, "bytes");
    await beginImport(service, admin, id, copy);
    const [task] = await tasksOf(service, admin, id);
    expect(await service.show(owner, id)).toMatchObject({ os_glance_import_task: task?.id });
    expect(await refusal(409, id, copy, { caller: admin })).toContain(task?.id);
    expect((await finishImport(service, id, admin)).image.stores).toBe("fast,archive");
  });

  it("10 §4 #18, 10 §7 Expired: of two that would steal the lock one has it", async () => {
    const { id } = await single.createEmpty(owner);
    const longAgoMs = Date.now() - 7_200_000;
    const times = { createdAtMs: longAgoMs, updatedAtMs: longAgoMs };
    const { id: old } = await plantTask({ imageId: id, ...times });
    await lock(id, old);
    const call = () => callImport(single, owner, id, { method: web });
    expect(await atOnce(call(), call())).toEqual([202, 409]);
    const tasks = await tasksOf(single, owner, id);
    expect(tasks).toMatchObject([
      { id: old, status: "failure", message: "Expired lock preempted" },
      { status: "pending" },
    ]);
    expect((await finishImport(single, id)).image.status).toBe("active");
  });

  it("10 §7 Release: after a success and after a failure another import is taken", async () => {
    const { id } = await service.createEmpty(owner);
    const missing = { ...web, uri: source.fileUrl({ size: 1, status: 404 }) };
    for (const [method, status] of [
      [missing, "failure"],
      [web, "success"],
    ] as const) {
      await beginImport(service, owner, id, { method });
      const { image, task } = await finishImport(service, id);
      expect(task).toMatchObject({ status });
      expect(image).not.toHaveProperty("os_glance_import_task");
      passTime(1);
    }
    await beginImport(service, admin, id, copy);
    expect((await finishImport(service, id, admin)).image.stores).toBe("fast,archive");
  });

  it.each(["PUT stage", "PUT file"] as const)("10 §7 Not guarded: %s", async (call) => {
    const { id } = await service.createEmpty(owner);
    const { id: task } = await plantTask({ imageId: id });
    await lock(id, task);
    await refusal(409, id, { method: web });
    const put =
      call === "PUT stage" ? stage(service, owner, id, "x") : service.upload(owner, id, "x");
    expect(await statusOf(put)).toBe(204);
    expect(await service.show(owner, id)).toMatchObject({ os_glance_import_task: task });
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

  it("REP-20, 10 §10 Visible: are in lists as they are in the image", async () => {
    const { id } = await service.createEmpty(owner);
    await beginImport(service, owner, id, { method: web, stores: ["fast", "archive"] });
    const response = await service.call(owner, "GET", "/v2/images?limit=1000");
    const { images } = (await response.json()) as { images: { id: string }[] };
    expect(images.find((image) => image.id === id)).toEqual(await service.show(owner, id));
    expect((await finishImport(service, id)).image.status).toBe("active");
  });

  it("REP-21, 10 §10: os_glance_stage_host and os_glance_hash_op_host are never shown", async () => {
    const { id } = await service.createEmpty(owner, { name: "hosts" });
    await env.DB.prepare(
      `UPDATE images SET properties = json_object('os_glance_stage_host', 'http://a',
         'os_glance_hash_op_host', 'http://b', 'mine', 'c') WHERE id = ?`,
    )
      .bind(id)
      .run();
    const patch = [{ op: "replace", path: "/name", value: "still hosts" }];
    for (const response of [
      await service.call(owner, "GET", `/v2/images/${id}`),
      await service.call(admin, "GET", `/v2/images/${id}`),
      await service.call(owner, "GET", "/v2/images?limit=1000"),
      await service.call(owner, "PATCH", `/v2/images/${id}`, { patch }),
    ]) {
      expect(response.status).toBe(200);
      const text = await response.text();
      expect(text).toContain('"mine":"c"');
      expect(text).not.toMatch(/os_glance_(stage|hash_op)_host/);
    }
  });

  it.each([
    "os_glance",
    "os_glancer",
    "os_glance_import_task",
    "os_glance_importing_to_stores",
    "os_glance_failed_import",
    "os_glance_stage_host",
    "os_glance_hash_op_host",
    "os_glance_anything",
  ])("10 §10: the name %s is refused on create and in every PATCH op", async (name) => {
    const create = () =>
      service.call(owner, "POST", "/v2/images", { json: { [name]: "x" }, headers: accept });
    await expectNoImage(403, create);
    const { id } = await service.createEmpty(owner);
    await beginImport(service, owner, id, { method: web });
    for (const caller of [owner, admin]) {
      for (const op of ["add", "replace", "remove"]) {
        const patch = [{ op, path: `/${name}`, ...(op !== "remove" && { value: "x" }) }];
        await expectRefusal(403, id, () =>
          service.call(caller, "PATCH", `/v2/images/${id}`, { patch, headers: accept }),
        );
      }
    }
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
    const set = (op: string, name: string) =>
      tight.call(owner, "PATCH", `/v2/images/${id}`, {
        patch: [{ op, path: `/${name}`, value: "2" }],
      });
    expect(await statusOf(set("replace", "one"))).toBe(200);
    expect(await statusOf(set("add", "two"))).toBe(413);
    expect(await service.show(owner, id)).toMatchObject({ one: "2", os_glance_failed_import: "" });
  });

  it("ST-10: a failed import leaves a queued image that can be staged", async () => {
    const { id } = await service.createEmpty(owner);
    const uri = source.fileUrl({ size: 1, status: 404 });
    await beginImport(service, owner, id, { method: { name: "web-download", uri } });
    expect((await finishImport(service, id)).image).toMatchObject({ status: "queued", size: null });
  });

  it("10 §3 Unknown keys: are ignored, and not kept in the task's input", async () => {
    const { id } = await createStaged(service, "x");
    const request = { method: { name: "glance-direct", uri: "file:///x", all_stores: 1 }, more: 2 };
    await beginImport(service, owner, id, request);
    const [task] = await tasksOf(service, owner, id);
    const known = { method: { name: "glance-direct", uri: "file:///x" } };
    expect(task?.input.import_req).toEqual(known);
    expect((await finishImport(service, id)).image).toMatchObject({ status: "active", size: 1 });
  });

  it("IMP-17: a glance-direct that failed is queued, and has to be staged again", async () => {
    const { id } = await createStaged(service, "x");
    const checksum = `md5:${"0".repeat(32)}`;
    await beginImport(service, owner, id, { method: { name: "glance-direct", checksum } });
    const { image, task } = await finishImport(service, id);
    expect(task).toMatchObject({ status: "failure", result: null });
    expect(image).toMatchObject({ status: "queued", size: null, os_glance_failed_import: "fast" });
    await refusal(409, id, "glance-direct");
    expect(await statusOf(stage(service, owner, id, "y"))).toBe(204);
    await beginImport(service, owner, id, "glance-direct");
    expect((await finishImport(service, id)).image).toMatchObject({
      status: "active",
      os_glance_failed_import: "",
    });
  });

  it("IMP-17: a copy that failed leaves the image active", async () => {
    const { id } = await service.createActive(owner, "x");
    for (const key of await storedKeys(id)) await env.BLOBS.delete(key);
    const copy = { method: { name: "copy-image" }, stores: ["archive"] };
    await beginImport(service, admin, id, copy);
    const { image, task } = await finishImport(service, id, admin);
    expect(task).toMatchObject({ status: "failure" });
    expect(image).toMatchObject({
      status: "active",
      stores: "fast",
      os_glance_failed_import: "archive",
    });
  });

  it("10 §3 uri: never says where the bytes of another method come from", async () => {
    const id = crypto.randomUUID();
    const uri = source.fileUrl({ size: 10, seed: 2, id });
    const direct = await createStaged(service, "staged");
    await beginImport(service, owner, direct.id, { method: { name: "glance-direct", uri } });
    expect((await finishImport(service, direct.id)).image).toMatchObject({ size: 6 });
    const copied = await service.createActive(owner, "copied");
    const copy = { method: { name: "copy-image", uri }, stores: ["archive"] };
    await beginImport(service, admin, copied.id, copy);
    expect((await finishImport(service, copied.id, admin)).image.stores).toBe("fast,archive");
    expect(await source.log(id)).toEqual([]);
  });
});

describe("the task", () => {
  const HOUR_MS = 3_600_000;

  it("TSK-5: has the image, the request and the stores as input, and expires 48 hours after its end", async () => {
    const { id } = await service.createEmpty(owner);
    const request = { method: web, stores: ["archive", "fast"], all_stores_must_succeed: true };
    await beginImport(service, owner, id, request);
    const [begun] = await tasksOf(service, owner, id);
    const input = { image_id: id, import_req: request, backend: ["archive", "fast"] };
    expect(begun).toMatchObject({
      type: "api_image_import",
      status: "pending",
      owner: owner.projectId,
      image_id: id,
      result: null,
      message: "",
      expires_at: null,
    });
    expect(begun?.input).toEqual(input);
    const { task } = await finishImport(service, id);
    expect(task).toMatchObject({ id: begun?.id, status: "success", result: { image_id: id } });
    expect(task?.input).toEqual(input);
    const endsAfterMs = Date.parse(`${task?.expires_at}Z`) - Date.parse(`${task?.updated_at}Z`);
    expect(endsAfterMs).toBe(48 * HOUR_MS);
  });

  it("TSK-5: hides an address's user and password, and nothing else of the request", async () => {
    const { id } = await createStaged(service, "x");
    const method = {
      name: "glance-direct",
      uri: "https://someone:secret@example.com/x%20y?user=a&password=b#c",
    };
    const request = { method, stores: ["fast"], all_stores_must_succeed: true };
    await beginImport(service, owner, id, request);
    const [task] = await tasksOf(service, owner, id);
    expect(task?.input.import_req).toEqual({
      ...request,
      method: { ...method, uri: "https://***@example.com/x%20y?user=a&password=b#c" },
    });
  });
});

describe("discovery", () => {
  it.each([
    ["glance-direct,web-download,copy-image,glance-download"],
    ["copy-image,glance-direct"],
    ["web-download"],
    [""],
  ])(
    "IMP-16, HDR-4, 10 §15: the methods %j, in this order, there and at an image's creation",
    async (methods) => {
      const at = new Service({ settings: { IMPORT_METHODS: methods } });
      const value = methods.split(",").filter((name) => name !== "");
      for (const caller of [owner, ownersReader, stranger, unscoped, admin]) {
        const response = await at.call(caller, "GET", "/v2/info/import");
        expect(response.status).toBe(200);
        const description = expect.stringMatching(/./);
        const expected = { "import-methods": { description, type: "array", value } };
        expect(await response.json()).toEqual(expected);
      }
      const { status, headers } = await at.call(owner, "POST", "/v2/images", { json: {} });
      expect(status).toBe(201);
      expect(headers.get(HEADER)).toBe(methods === "" ? null : methods);
    },
  );

  it("HDR-4, 10 §15: the header comes with 201 of an image's creation only", async () => {
    const image = await service.createEmpty(owner);
    const path = `/v2/images/${image.id}`;
    const patch = [{ op: "replace", path: "/name", value: "x" }];
    for (const response of [
      await service.call(owner, "POST", "/v2/images", { json: { id: image.id } }),
      await service.call(owner, "POST", "/v2/images", { json: { status: "active" } }),
      await service.call(owner, "GET", path),
      await service.call(owner, "GET", "/v2/images"),
      await service.call(owner, "PATCH", path, { patch }),
      await service.call(owner, "GET", "/v2/info/import"),
      await callImport(service, owner, image.id, { method: web }),
    ]) {
      expect(response.headers.has(HEADER)).toBe(false);
    }
    expect((await finishImport(service, image.id)).image.status).toBe("active");
  });

  it("10 §1, 10 §15: info/import needs a token and takes no body and no other method", async () => {
    expect(await statusOf(service.call(null, "GET", "/v2/info/import"))).toBe(401);
    const withBody = new Request("http://image.test/v2/info/import", {
      headers: { "x-auth-token": await owner.token(), "content-length": "2" },
    });
    expect((await service.fetch(withBody)).status).toBe(400);
    const posted = await service.call(owner, "POST", "/v2/info/import", { json: {} });
    expect(posted.status).toBe(405);
    expect(posted.headers.get("allow")).toContain("GET");
  });
});

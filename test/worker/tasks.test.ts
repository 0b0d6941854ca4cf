import { beforeEach, describe, expect, it } from "vitest";
import type { Task } from "../../src/domain/task.ts";
import {
  admin,
  type Caller,
  member,
  membersReader,
  owner,
  ownersReader,
  serviceUser,
  stranger,
  unscoped,
} from "../support/callers.ts";
import { CountingService } from "../support/counting.ts";
import { Service } from "../support/service.ts";
import { TWO_BUCKETS } from "../support/stores.ts";
import { dropTasks, plantTask } from "../support/tasks.ts";

const service = new Service();
/** A service whose operator lets everyone see tasks. */
const open = new Service({ settings: { POLICY: '{"tasks_api_access": ""}' } });

const MISSING = "00000000-0000-4000-8000-000000000000";
const CREATED_MS = Date.UTC(2026, 10, 23, 8, 55, 25, 9);
const HOUR_MS = 3_600_000;

beforeEach(dropTasks);

interface TaskPage {
  tasks: { id: string }[];
  first: string;
  next?: string;
  schema: string;
}

async function page(path: string, by: Caller = admin, on = service): Promise<TaskPage> {
  const response = await on.call(by, "GET", path);
  expect(response.status).toBe(200);
  return response.json();
}

async function listed(search: string, by: Caller = admin, on = service): Promise<string[]> {
  return (await page(`/v2/tasks${search}`, by, on)).tasks.map(({ id }) => id);
}

async function shown(task: Task): Promise<Record<string, unknown>> {
  const response = await service.call(admin, "GET", `/v2/tasks/${task.id}`);
  expect(response.status).toBe(200);
  return response.json();
}

async function statusOf(path: string, by: Caller, on = service): Promise<number> {
  return (await on.call(by, "GET", path)).status;
}

/** A task that ended well, with everything there is to one. */
async function plantEnded(changes: Partial<Task> = {}): Promise<Task> {
  return plantTask({
    status: "success",
    imageId: MISSING,
    requestId: "req-1",
    userId: "someone",
    input: { image_id: MISSING, import_req: { method: { name: "copy-image" } }, backend: ["a"] },
    result: { image_id: MISSING },
    message: "Copied 1 MiB",
    createdAtMs: CREATED_MS,
    updatedAtMs: CREATED_MS + 5000,
    expiresAtMs: Date.now() + HOUR_MS,
    ...changes,
  });
}

const inSeconds = (ms: number | null) => `${new Date(ms ?? 0).toISOString().slice(0, 19)}Z`;

describe("one task", () => {
  it("12 §1 Task object: id, type, status, owner, input, result, message, times, image_id, request_id, user_id, self and schema", async () => {
    const task = await plantEnded();
    expect(await shown(task)).toEqual({
      id: task.id,
      type: "api_image_import",
      status: "success",
      owner: "owner-project",
      input: task.input,
      result: { image_id: MISSING },
      message: "Copied 1 MiB",
      created_at: "2026-11-23T08:55:25Z",
      updated_at: "2026-11-23T08:55:30Z",
      expires_at: inSeconds(task.expiresAtMs),
      image_id: MISSING,
      request_id: "req-1",
      user_id: "someone",
      self: `/v2/tasks/${task.id}`,
      schema: "/v2/schemas/task",
    });
  });

  it("12 §1 expires_at, image_id, request_id, user_id: are left out when there are none, input and result are null, message is empty", async () => {
    const task = await plantTask({ requestId: "", createdAtMs: CREATED_MS });
    expect(await shown(task)).toEqual({
      id: task.id,
      type: "api_image_import",
      status: "pending",
      owner: "owner-project",
      input: null,
      result: null,
      message: "",
      created_at: "2026-11-23T08:55:25Z",
      updated_at: inSeconds(task.updatedAtMs),
      self: `/v2/tasks/${task.id}`,
      schema: "/v2/schemas/task",
    });
  });

  it.each(["import", "api_image_import", "location_import"] as const)(
    "12 §1 type: may be %s",
    async (type) => {
      expect(await shown(await plantTask({ type }))).toMatchObject({ type });
    },
  );

  it.each(["pending", "processing", "success", "failure"] as const)(
    "12 §1 status: may be %s",
    async (status) => {
      expect(await shown(await plantTask({ status }))).toMatchObject({ status });
    },
  );

  it("12 §1 result: stays null on failure", async () => {
    const task = await plantEnded({ status: "failure", result: null, message: "no such host" });
    expect(await shown(task)).toMatchObject({ result: null, message: "no such host" });
  });

  it("12 §2 GET /v2/tasks/{id}: is 404 when there is none", async () => {
    for (const id of [MISSING, "x", "%00", "a b", "__proto__"]) {
      const response = await service.call(admin, "GET", `/v2/tasks/${id}`);
      expect(response.status).toBe(404);
      expect(await response.text()).toContain("No task found");
    }
  });

  it("12 §1 After removal: is 404 to everyone once it has expired", async () => {
    const { id } = await plantEnded({ expiresAtMs: Date.now() - 1 });
    expect(await statusOf(`/v2/tasks/${id}`, admin)).toBe(404);
    expect(await statusOf(`/v2/tasks/${id}`, owner, open)).toBe(404);
  });

  it("12 §2 GET /v2/tasks/{id}, visibility: is 404 to other projects where the policy is open", async () => {
    const { id } = await plantTask({ owner: "owner-project" });
    const nobodys = await plantTask({ owner: null });
    expect(await statusOf(`/v2/tasks/${id}`, ownersReader, open)).toBe(200);
    expect(await statusOf(`/v2/tasks/${id}`, stranger, open)).toBe(404);
    for (const by of [stranger, unscoped]) {
      expect(await statusOf(`/v2/tasks/${nobodys.id}`, by, open)).toBe(404);
    }
    expect(await statusOf(`/v2/tasks/${nobodys.id}`, admin, open)).toBe(200);
  });
});

describe("the list of tasks", () => {
  it("12 §1 List view, 12 §2 GET /v2/tasks: leaves out input, result, message, image_id, request_id and user_id", async () => {
    const task = await plantEnded();
    const other = await plantTask({ createdAtMs: CREATED_MS - 1, updatedAtMs: CREATED_MS });
    const summary = {
      type: "api_image_import",
      owner: "owner-project",
      schema: "/v2/schemas/task",
    };
    expect(await page("/v2/tasks")).toEqual({
      tasks: [
        {
          ...summary,
          id: task.id,
          status: "success",
          created_at: "2026-11-23T08:55:25Z",
          updated_at: "2026-11-23T08:55:30Z",
          expires_at: inSeconds(task.expiresAtMs),
          self: `/v2/tasks/${task.id}`,
        },
        {
          ...summary,
          id: other.id,
          status: "pending",
          created_at: "2026-11-23T08:55:25Z",
          updated_at: "2026-11-23T08:55:25Z",
          self: `/v2/tasks/${other.id}`,
        },
      ],
      first: "/v2/tasks",
      schema: "/v2/schemas/tasks",
    });
  });

  it("12 §2 List body: is empty when there are none", async () => {
    expect(await page("/v2/tasks")).toEqual({
      tasks: [],
      first: "/v2/tasks",
      schema: "/v2/schemas/tasks",
    });
  });

  it("12 §2 List body, marker: has next when the page is full, and it leads through all of them", async () => {
    const planted: string[] = [];
    for (let n = 0; n < 5; n++) planted.push((await plantTask({ createdAtMs: n })).id);
    const walked: string[][] = [];
    let next: string | undefined = "/v2/tasks?limit=2&status=pending";
    for (let n = 0; next !== undefined; n++) {
      const { tasks, ...links }: TaskPage = await page(next);
      walked.push(tasks.map(({ id }) => id));
      expect(links.first).toBe("/v2/tasks?limit=2&status=pending");
      const lastId = n === 2 ? undefined : tasks.at(-1)?.id;
      expect(links.next).toBe(lastId && `/v2/tasks?limit=2&status=pending&marker=${lastId}`);
      next = links.next;
    }
    const [a, b, c, d, e] = planted;
    expect(walked).toEqual([[e, d], [c, b], [a]]);
  });

  it("12 §2 List parameters, limit: is 25 by default, and 0 gives an empty page without next", async () => {
    for (let n = 0; n < 26; n++) await plantTask();
    expect((await page("/v2/tasks")).tasks).toHaveLength(25);
    expect((await page("/v2/tasks?limit=1001")).tasks).toHaveLength(26);
    expect(await page("/v2/tasks?limit=0")).toEqual({
      tasks: [],
      first: "/v2/tasks?limit=0",
      schema: "/v2/schemas/tasks",
    });
  });

  it.each([
    ["limit", "limit=-1"],
    ["limit", "limit=x"],
    ["marker", "marker=x"],
    ["marker", `marker=${MISSING}`],
    ["sort_dir", "sort_dir=up"],
    ["sort_key", "sort_key=name"],
    ["status", "status=killed"],
    ["type", "type=export"],
  ])("12 §2 List parameters, %s: %s is 400 and says what is wrong", async (name, search) => {
    const response = await service.call(admin, "GET", `/v2/tasks?${search}`);
    expect(response.status).toBe(400);
    expect(await response.text()).toContain(`Invalid query parameter ${name}`);
  });

  it("12 §2 List parameters, sort_key, sort_dir: order the list, by default from the newest on", async () => {
    const a = await plantTask({ createdAtMs: 1, updatedAtMs: 9, type: "import" });
    const b = await plantTask({ createdAtMs: 2, updatedAtMs: 8, type: "location_import" });
    expect(await listed("")).toEqual([b.id, a.id]);
    expect(await listed("?sort_dir=asc")).toEqual([a.id, b.id]);
    expect(await listed("?sort_key=updated_at")).toEqual([a.id, b.id]);
    expect(await listed("?sort_key=type&sort_dir=asc")).toEqual([a.id, b.id]);
  });

  it("12 §2 List parameters, status, type, any other parameter naming a column: narrow the list", async () => {
    const a = await plantEnded();
    const b = await plantTask({ type: "location_import", owner: "another", userId: "u" });
    expect(await listed("?status=success")).toEqual([a.id]);
    expect(await listed("?type=location_import")).toEqual([b.id]);
    expect(await listed("?type=import")).toEqual([]);
    expect(await listed(`?id=${a.id}`)).toEqual([a.id]);
    expect(await listed("?owner=another")).toEqual([b.id]);
    expect(await listed(`?image_id=${MISSING}`)).toEqual([a.id]);
    expect(await listed("?request_id=req-1&user_id=someone")).toEqual([a.id]);
    expect(await listed("?user_id=u&owner=x")).toEqual([]);
    expect(await listed("?created_at=2026-11-23T08:55:25Z")).toEqual([a.id]);
    expect(await listed("?colour=red&owner=another")).toEqual([b.id]);
  });

  it("12 §2 List parameters, visibility: is of the own project where the policy is open", async () => {
    const own = await plantTask({ owner: "owner-project", createdAtMs: 2 });
    const others = await plantTask({ owner: "other-project", createdAtMs: 1 });
    expect(await listed("", admin)).toEqual([own.id, others.id]);
    expect(await listed("", owner, open)).toEqual([own.id]);
    expect(await listed("", ownersReader, open)).toEqual([own.id]);
    expect(await listed("", stranger, open)).toEqual([others.id]);
    const foreign = `/v2/tasks?marker=${others.id}`;
    expect(await statusOf(foreign, owner, open)).toBe(400);
  });

  it("12 §1 Removal: is without those that have expired", async () => {
    await plantEnded({ expiresAtMs: Date.now() - 1 });
    const there = await plantEnded();
    expect(await listed("")).toEqual([there.id]);
  });

  it("bears with a body, as the list of images does", async () => {
    const headers = { "content-length": "2" };
    expect((await service.call(admin, "GET", "/v2/tasks", { headers })).status).toBe(200);
  });
});

describe("the API of tasks", () => {
  it("12 §2 policy denied, POL-21: is for admins, whatever is asked of it", async () => {
    const { id } = await plantTask();
    for (const by of [owner, ownersReader, stranger, serviceUser, unscoped]) {
      expect(await statusOf("/v2/tasks", by)).toBe(403);
      expect(await statusOf("/v2/tasks?limit=x", by)).toBe(403);
      for (const one of [id, MISSING, "x"])
        expect(await statusOf(`/v2/tasks/${one}`, by)).toBe(403);
      expect((await service.call(by, "POST", "/v2/tasks", { json: {} })).status).toBe(403);
    }
  });

  it("12 §2 DELETE /v2/tasks/{id}: is 405 and allows GET, for any id", async () => {
    const task = await plantTask();
    for (const id of [task.id, MISSING, "x"]) {
      const response = await service.call(admin, "DELETE", `/v2/tasks/${id}`);
      expect(response.status).toBe(405);
      expect(response.headers.get("allow")).toBe("GET");
    }
    expect(await listed("")).toEqual([task.id]);
  });

  it.each([
    ["/v2/tasks", "GET, POST"],
    [`/v2/tasks/${MISSING}`, "GET"],
  ])("12 §2 other methods: are 405 on %s, which allows %s", async (path, allowed) => {
    for (const method of ["PUT", "PATCH", "HEAD"]) {
      const response = await service.call(admin, method, path);
      expect(response.status).toBe(405);
      expect(response.headers.get("allow")).toBe(allowed);
    }
  });

  it.each(["task", "tasks"])(
    "12 §2 Schemas: %s is there for everyone, a body is no matter, other methods are 405",
    async (name) => {
      const path = `/v2/schemas/${name}`;
      const headers = { "content-length": "2" };
      const response = await service.call(stranger, "GET", path, { headers });
      expect(response.status).toBe(200);
      expect(await response.json()).toMatchObject({ name });
      const refused = await service.call(stranger, "POST", path, { json: {} });
      expect(refused.status).toBe(405);
      expect(refused.headers.get("allow")).toBe("GET");
    },
  );

  it("12 §2 Schemas, GET /v2/schemas/task: has a name and every field that a task shows, and no more", async () => {
    const response = await service.call(admin, "GET", "/v2/schemas/task");
    const document = await response.json<{ properties: object }>();
    expect(Object.keys(document).sort()).toEqual(["name", "properties"]);
    expect(Object.keys(document.properties).sort()).toEqual(
      Object.keys(await shown(await plantEnded())).sort(),
    );
  });

  it("12 §2 Schemas, GET /v2/schemas/tasks: is of tasks without input, result and message", async () => {
    const task = await service.call(admin, "GET", "/v2/schemas/task");
    const { properties } = await task.json<{ properties: Record<string, unknown> }>();
    const { input: _, result: __, message: ___, ...summary } = properties;
    const response = await service.call(admin, "GET", "/v2/schemas/tasks");
    expect(await response.json()).toEqual({
      name: "tasks",
      properties: {
        tasks: { type: "array", items: { name: "task", properties: summary } },
        schema: { type: "string" },
      },
      links: [{ rel: "describedby", href: "{schema}" }],
    });
  });
});

describe("the tasks of an image", () => {
  const path = (imageId: string) => `/v2/images/${imageId}/tasks`;

  async function idsFor(imageId: string, by: Caller): Promise<string[]> {
    return (await page(path(imageId), by)).tasks.map(({ id }) => id);
  }

  it("TSK-1, 12 §3 Success: are {tasks: []} when there are none", async () => {
    const { id } = await service.create(owner);
    expect(await page(path(id), owner)).toEqual({ tasks: [] });
  });

  it("TSK-3, TSK-4, TSK-5, TIM-4, 12 §3 Keys, Naming, Date format: have all keys, and microseconds without a zone", async () => {
    const { id } = await service.create(owner);
    const task = await plantEnded({ imageId: id, expiresAtMs: Date.UTC(2126, 0, 2, 3, 4, 5, 67) });
    const { tasks } = await page(path(id), owner);
    expect(tasks).toEqual([
      {
        id: task.id,
        type: "api_image_import",
        status: "success",
        owner: "owner-project",
        expires_at: "2126-01-02T03:04:05.067000",
        created_at: "2026-11-23T08:55:25.009000",
        updated_at: "2026-11-23T08:55:30.009000",
        deleted_at: null,
        deleted: false,
        image_id: id,
        request_id: "req-1",
        user_id: "someone",
        input: task.input,
        result: task.result,
        message: "Copied 1 MiB",
      },
    ]);
    expect(Object.keys(tasks[0] ?? {})).toHaveLength(15);
  });

  it("12 §3 Null handling, Keys: have all keys, whatever is null", async () => {
    const { id } = await service.create(owner);
    await plantTask({ imageId: id });
    const { tasks } = await page(path(id), owner);
    expect(Object.keys(tasks[0] ?? {})).toHaveLength(15);
    expect(tasks[0]).toMatchObject({
      expires_at: null,
      deleted_at: null,
      result: null,
      input: null,
      request_id: null,
      user_id: null,
      message: "",
    });
  });

  it("TSK-1, POL-2: are for everyone who may see the image, readers too", async () => {
    const { id } = await service.createShared(owner, member);
    const task = await plantTask({ imageId: id });
    for (const by of [owner, ownersReader, admin]) expect(await idsFor(id, by)).toEqual([task.id]);
    for (const by of [member, membersReader]) expect(await idsFor(id, by)).toEqual([]);
    const shared = await service.create(owner, { visibility: "community" });
    expect(await idsFor(shared.id, stranger)).toEqual([]);
  });

  it("TSK-2, 12 §3 Image absent or not visible: are 404, never 403", async () => {
    const { id } = await service.create(owner, { visibility: "private" });
    const deleted = await service.create(owner);
    await service.call(owner, "DELETE", `/v2/images/${deleted.id}`);
    expect(await statusOf(path(id), stranger)).toBe(404);
    for (const imageId of [deleted.id, MISSING, "x"]) {
      expect(await statusOf(path(imageId), owner)).toBe(404);
      expect(await statusOf(path(imageId), admin)).toBe(404);
    }
    const closed = new Service({ settings: { POLICY: '{"get_image": "!"}' } });
    expect(await statusOf(path(id), owner, closed)).toBe(404);
  });

  it("12 §3 Which tasks: are the project's own and nobody's, not expired; all for an admin", async () => {
    const { id } = await service.createShared(owner, member);
    const plant = (name: string | null, createdAtMs: number, changes: Partial<Task> = {}) =>
      plantTask({ imageId: id, owner: name, createdAtMs, ...changes });
    const own = await plant("owner-project", 1);
    const members = await plant("member-project", 2);
    const nobodys = await plant(null, 3);
    await plant("owner-project", 4, { status: "failure", expiresAtMs: Date.now() - 1 });
    await plantTask({ imageId: MISSING });
    expect(await idsFor(id, owner)).toEqual([own.id, nobodys.id]);
    expect(await idsFor(id, member)).toEqual([members.id, nobodys.id]);
    expect(await idsFor(id, admin)).toEqual([own.id, members.id, nobodys.id]);
  });

  it("12 §3 Consequence: those of an admin's project are not for the image's owner", async () => {
    const { id } = await service.create(owner);
    const copy = await plantTask({ imageId: id, owner: "admin-project" });
    expect(await idsFor(id, owner)).toEqual([]);
    expect(await idsFor(id, admin)).toEqual([copy.id]);
  });

  it("12 §3 Order, Success, TSK-6: come oldest first and all at once, or in pages", async () => {
    const { id } = await service.create(owner);
    const planted: string[] = [];
    for (let n = 0; n < 30; n++) {
      planted.push((await plantTask({ imageId: id, createdAtMs: n, updatedAtMs: 99 - n })).id);
    }
    const body = await page(`${path(id)}?sort_dir=desc&status=x`, owner);
    expect(Object.keys(body)).toEqual(["tasks"]);
    expect(body.tasks.map((task) => task.id)).toEqual(planted);

    const found: string[] = [];
    let sizes = 0;
    for (let next: unknown = `${path(id)}?limit=12`; typeof next === "string"; sizes++) {
      const part: { tasks: { id: string }[]; next?: string } = await page(next, owner);
      found.push(...part.tasks.map((task) => task.id));
      next = part.next;
    }
    expect([found, sizes]).toEqual([planted, 3]);
    for (const wrong of ["limit=x", "limit=-1", "marker=x", `marker=${id}`]) {
      expect((await service.call(owner, "GET", `${path(id)}?${wrong}`)).status).toBe(400);
    }
  });

  it("RT-11, 12 §3 Other methods: are 405", async () => {
    const { id } = await service.create(owner);
    for (const method of ["POST", "DELETE", "PUT", "HEAD"]) {
      const response = await service.call(owner, method, path(id));
      expect(response.status).toBe(405);
      expect(response.headers.get("allow")).toBe("GET");
    }
  });

  it("12 §3 Request body: is 400", async () => {
    const { id } = await service.create(owner);
    const headers = { "content-length": "2" };
    expect((await service.call(owner, "GET", path(id), { headers })).status).toBe(400);
  });

  it("12 §3 Version gate: are there with one store and with several", async () => {
    const { id } = await service.create(owner);
    const several = new Service({ settings: { STORES: JSON.stringify(TWO_BUCKETS) } });
    for (const on of [service, several]) expect(await statusOf(path(id), owner, on)).toBe(200);
  });
});

describe("what is read of tasks", () => {
  it("takes one round trip to D1", async () => {
    const counting = new CountingService();
    const { id: imageId } = await service.create(admin);
    const { id } = await plantTask({ imageId });
    for (const path of [
      "/v2/tasks",
      `/v2/tasks?marker=${id}&sort_key=owner`,
      `/v2/tasks/${id}`,
      `/v2/images/${imageId}/tasks`,
    ]) {
      const cost = await counting.costOf(async () => {
        expect(await statusOf(path, admin, counting), path).toBe(200);
      });
      expect(cost, path).toMatchObject({ d1: 1, objects: [], r2: [] });
    }
  });
});

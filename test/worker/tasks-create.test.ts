import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { admin, owner } from "../support/callers.ts";
import { resumeTime, stopTime } from "../support/clock.ts";
import { expectNoImage } from "../support/image-state.ts";
import { finishImport, sources, type TaskRecord } from "../support/imports.ts";
import { Service } from "../support/service.ts";

// POST /v2/tasks: the import of old (contract 12 §2).

const service = new Service();
const source = sources();
const input = {
  import_from: source.fileUrl({ size: 1000, seed: 1 }),
  import_from_format: "raw",
  image_properties: { name: "of a task", container_format: "bare" },
};
const request = { type: "import", input };

beforeEach(stopTime);
afterEach(resumeTime);

const post = (json: unknown, from = service, caller = admin) =>
  from.call(caller, "POST", "/v2/tasks", { json });

describe("POST /v2/tasks", () => {
  it("12 §2 POST, Legacy import task, 12 §1: makes an image and brings its data", async () => {
    const response = await post(request);
    expect(response.status).toBe(201);
    const task = await response.json<TaskRecord>();
    expect(task).toMatchObject({ type: "import", status: "pending", message: "", result: null });
    expect(task.input).toEqual(input);
    expect(response.headers.get("location")).toBe(`http://image.test/v2/tasks/${task.id}`);
    const imageId = String(task.image_id);
    const { image } = await finishImport(service, imageId, admin);
    expect(image).toMatchObject({ name: "of a task", status: "active", size: 1000 });
    const shown = await service.call(admin, "GET", `/v2/tasks/${task.id}`);
    expect(await shown.json()).toMatchObject({ status: "success", result: { image_id: imageId } });
  });

  it("12 §3 input: keeps of its input what means something", async () => {
    const response = await post({ ...request, input: { ...input, more: "x".repeat(100_000) } });
    expect(response.status).toBe(201);
    expect((await response.json<TaskRecord>()).input).toEqual(input);
  });

  it("12 §2 POST check 4: takes the other fields of the schema and ignores them", async () => {
    const response = await post({ ...request, status: "success", message: "x", id: "y" });
    expect(response.status).toBe(201);
    expect(await response.json()).toMatchObject({ status: "pending", message: "" });
  });

  it("12 §2 POST check 1, POL-21: is for administrators", async () => {
    expect((await post(request, service, owner)).status).toBe(403);
  });

  it.each([
    ["check 3", { input }],
    ["check 3", { type: "import" }],
    ["check 4", { ...request, other: 1 }],
    ["check 4", { ...request, type: "export" }],
    ["check 5", { ...request, input: { ...input, import_from: undefined } }],
    ["check 5", { ...request, input: { ...input, import_from: "" } }],
    ["check 5", { ...request, input: { ...input, import_from: "file:///etc/passwd" } }],
    ["check 5", { ...request, input: { ...input, import_from: "filesystem:///x" } }],
    ["check 5", { ...request, input: { ...input, import_from: "ftp://example.com/x" } }],
    ["check 6", { type: "import", input: null }],
    ["check 7", { ...request, input: { ...input, import_from_format: undefined } }],
    ["check 7", { ...request, input: { ...input, image_properties: undefined } }],
    ["check 8", { type: "api_image_import", input }],
    ["check 8", { type: "location_import", input }],
    ["image_properties", { ...request, input: { ...input, image_properties: { min_disk: "x" } } }],
    ["no body", []],
  ])("12 §2 POST %s: refuses %j and makes nothing", async (_, json) => {
    await expectNoImage(400, () =>
      service.call(admin, "POST", "/v2/tasks", { json, headers: { accept: "application/json" } }),
    );
  });

  it("12 §2 POST check 2: refuses no body, and what is not JSON", async () => {
    for (const body of ["", "{"]) {
      expect((await service.call(admin, "POST", "/v2/tasks", { body })).status).toBe(400);
    }
  });

  it("12 §2 POST check 5: refuses what the filter of web-download refuses", async () => {
    const strict = new Service({ settings: { IMPORT_ALLOW_PRIVATE_ADDRESSES: "false" } });
    expect((await post(request, strict)).status).toBe(400);
  });

  it("12 §2 Legacy import task: is 403 for everyone where web-download is off", async () => {
    const without = new Service({ settings: { IMPORT_METHODS: "glance-direct" } });
    expect((await post(request, without)).status).toBe(403);
  });
});

import { env } from "cloudflare:workers";
import fc from "fast-check";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { admin, type Caller, owner, stranger } from "../support/callers.ts";
import { passTime, resumeTime, stopTime } from "../support/clock.ts";
import {
  beginImport,
  callImport,
  createStaged,
  finishImport,
  sources,
  stage,
} from "../support/imports.ts";
import { interceptR2 } from "../support/intercept.ts";
import {
  addingLocation,
  beginAddLocation,
  callAddLocation,
  OPEN_LOCATIONS,
  patchLocations,
} from "../support/locations.ts";
import { Service } from "../support/service.ts";
import { storedKeys } from "../support/stored-bytes.ts";
import { TWO_BUCKETS } from "../support/stores.ts";
import { TestedObject } from "../support/tested-object.ts";
import { Tus } from "../support/tus.ts";
import { bodyOf, bytesOf } from "../support/upload-body.ts";

const MiB = 1024 ** 2;
const STORES = JSON.stringify(TWO_BUCKETS);
const NONE = {
  image_size_total: -1,
  image_stage_total: -1,
  image_count_total: -1,
  image_count_uploading: -1,
};
const source = sources();

const UPLOADER = {
  userId: "member-of-owner-project",
  projectId: owner.projectId,
  scope: "project",
  roles: ["member", "reader"],
  isAnonymous: false,
} as const;

type Limits = Partial<typeof NONE>;

/** The service with these limits for everybody, and others for some projects. */
function limited(limits: Limits, projects: Record<string, Limits> = {}): Service {
  const QUOTAS = JSON.stringify({ default: { ...NONE, ...limits }, projects });
  return new Service({ settings: { STORES, USE_KEYSTONE_LIMITS: "true", QUOTAS } });
}

interface UsageReply {
  readonly usage: Record<string, { readonly usage: number; readonly limit: number }>;
}

async function usageOf(service: Service, caller: Caller = owner) {
  const response = await service.call(caller, "GET", "/v2/info/usage");
  expect(response.status).toBe(200);
  return ((await response.json()) as UsageReply).usage;
}

async function used(service: Service, caller: Caller = owner) {
  const usage = await usageOf(service, caller);
  return Object.fromEntries(Object.entries(usage).map(([name, { usage }]) => [name, usage]));
}

/** The row of a project, reservations included. */
async function rowOf(project: string) {
  const row = await env.DB.prepare("SELECT * FROM usage WHERE project = ?").bind(project).first();
  const { project: _, ...figures } = row ?? {};
  return figures;
}

/** What the row must be, summed over the images (contract 12 §5). */
async function sumOf(project: string) {
  return env.DB.prepare(
    `SELECT coalesce(sum(live), 0) AS images,
       coalesce(sum(live AND (moving OR copying)), 0) AS uploading,
       coalesce(sum(iif(live, coalesce(size, 0) * copies, 0)), 0) AS size,
       coalesce(sum(iif(live AND (status IN ('uploading', 'importing') OR copying), coalesce(size, 0), 0)), 0)
         AS stage,
       coalesce(sum(iif(live AND status <> 'uploading', reserved, 0) + open_upload_bytes), 0)
         AS reserved_size,
       coalesce(sum(iif(live AND status = 'uploading', reserved, 0)), 0) AS reserved_stage,
       coalesce(sum(open_uploads), 0) AS open_uploads,
       coalesce(sum(live AND json_extract(properties, '$.os_glance_import_task') IS NOT NULL), 0) AS jobs,
       coalesce(sum(iif(live AND staged IS NOT NULL, coalesce(size, 0), 0)), 0) AS staged
     FROM (SELECT *, status NOT IN ('deleted', 'killed', 'pending_delete') AS live,
         status IN ('saving', 'uploading', 'importing') AS moving,
         json_array_length(locations) AS copies,
         coalesce(json_extract(properties, '$.os_glance_importing_to_stores'), '') <> '' AS copying
       FROM images WHERE owner = ?)`,
  )
    .bind(project)
    .first();
}

async function expectOver(response: Response, name: string): Promise<void> {
  expect([response.status, await response.text()]).toEqual([
    413,
    expect.stringMatching(
      new RegExp(`${name} is over limit of \\d+ due to current usage \\d+ and delta \\d+`),
    ),
  ]);
}

beforeEach(async () => {
  stopTime();
  // Each test has its projects for itself.
  await env.DB.prepare(
    `UPDATE images SET status = 'deleted', open_uploads = 0, open_upload_bytes = 0
     WHERE status <> 'deleted'`,
  ).run();
});
afterEach(resumeTime);

describe("GET /v2/info/usage", () => {
  it("USE-1, LIM-10, 12 §5 Unified limits off: is empty while they are off", async () => {
    const service = new Service();
    await service.createActive(owner, "x");
    expect(await usageOf(service)).toEqual({});
  });

  it("USE-1, 12 §5 On: tells usage and limit of the four, of the caller's own project", async () => {
    const service = limited(
      { image_size_total: 100, image_count_total: 7 },
      {
        [stranger.projectId]: { image_count_total: 3 },
      },
    );
    await service.createActive(owner, bytesOf(3 * MiB + 5));
    await service.createEmpty(owner);
    expect(await usageOf(service)).toEqual({
      image_size_total: { usage: 3, limit: 100 },
      image_stage_total: { usage: 0, limit: -1 },
      image_count_total: { usage: 2, limit: 7 },
      image_count_uploading: { usage: 0, limit: -1 },
    });
    expect((await usageOf(service, stranger)).image_count_total).toEqual({ usage: 0, limit: 3 });
  });

  it("12 §5 Staged image, Queued images, Pending-delete images: count where they should", async () => {
    const service = limited({});
    const staged = await createStaged(service, bytesOf(2 * MiB));
    await service.createEmpty(owner);
    expect(await used(service)).toEqual({
      ...{ image_size_total: 0, image_stage_total: 2, image_count_total: 2 },
      image_count_uploading: 1,
    });
    await service.call(owner, "DELETE", `/v2/images/${staged.id}`);
    expect(await used(service)).toEqual({
      ...{ image_size_total: 0, image_stage_total: 0, image_count_total: 1 },
      image_count_uploading: 0,
    });
  });

  it("12 §5 image_size_total: counts an image once for each copy", async () => {
    const service = limited({});
    const { id } = await createStaged(service, bytesOf(2 * MiB));
    await beginImport(service, owner, id, { method: { name: "glance-direct" }, all_stores: true });
    await finishImport(service, id);
    expect((await used(service)).image_size_total).toBe(4);
  });

  it("RT-15, 12 §5 Other methods: are none, and one is told so", async () => {
    const service = limited({});
    expect((await service.call(owner, "POST", "/v2/info/usage")).status).toBe(405);
  });
});

describe("limits", () => {
  it("LIM-10, 12 §6 POST images: image_count_total, exactly at the limit passes", async () => {
    const service = limited({ image_count_total: 2 });
    await service.create(owner);
    const { id } = await service.create(owner);
    const response = await service.call(owner, "POST", "/v2/images", { json: {} });
    await expectOver(response, "image_count_total");
    await service.call(owner, "DELETE", `/v2/images/${id}`);
    await service.create(owner);
    expect((await service.call(stranger, "POST", "/v2/images", { json: {} })).status).toBe(201);
  });

  it("LIM-10, 12 §6 POST tasks: image_count_total, which an image of a task counts in", async () => {
    const service = limited({ image_count_total: 0 });
    const input = {
      ...{ import_from: source.fileUrl({ size: 1, seed: 1 }), import_from_format: "raw" },
      image_properties: { name: "of a task beyond the limit" },
    };
    const json = { type: "import", input };
    const response = await service.call(admin, "POST", "/v2/tasks", { json });
    await expectOver(response, "image_count_total");
    const list = await service.call(admin, "GET", "/v2/images?name=of a task beyond the limit");
    expect(await list.json()).toMatchObject({ images: [] });
  });

  it("12 §6 Limit not registered: lets nothing pass; Negative limit: anything", async () => {
    const QUOTAS = JSON.stringify({
      projects: { [stranger.projectId]: { image_count_total: -1 } },
    });
    const service = new Service({ settings: { USE_KEYSTONE_LIMITS: "true", QUOTAS } });
    const json = {};
    await expectOver(
      await service.call(owner, "POST", "/v2/images", { json }),
      "image_count_total",
    );
    expect((await service.call(stranger, "POST", "/v2/images", { json })).status).toBe(201);
  });

  it("STO-7, 12 §6 PUT file: image_size_total, before the image is looked up", async () => {
    const service = limited({ image_size_total: 5 });
    await service.createActive(owner, bytesOf(3 * MiB));
    const { id } = await service.createEmpty(owner);
    const nowhere = "00000000-0000-4000-8000-000000000000";
    for (const imageId of [id, nowhere]) {
      const response = await service.upload(owner, imageId, bytesOf(3 * MiB), {
        "content-length": String(3 * MiB),
      });
      await expectOver(response, "image_size_total");
    }
    expect(await service.show(owner, id)).toMatchObject({ status: "queued" });
    expect((await service.upload(owner, id, bytesOf(2 * MiB))).status).toBe(204);
  });

  it("STO-7, 12 §6 413 on count_uploading: the image stays queued", async () => {
    const service = limited({ image_count_uploading: 1 });
    const [one, two] = [await service.createEmpty(owner), await service.createEmpty(owner)];
    const body = bodyOf(async function* () {
      yield bytesOf(5);
      await expectOver(await service.upload(owner, two.id, "x"), "image_count_uploading");
      yield bytesOf(5);
    });
    expect((await service.upload(owner, one.id, body)).status).toBe(204);
    expect(await service.show(owner, two.id)).toMatchObject({ status: "queued" });
    expect((await service.upload(owner, two.id, "x")).status).toBe(204);
  });

  it("10 §2 #6, 12 §6 PUT stage: image_stage_total", async () => {
    const service = limited({ image_stage_total: 5 });
    await createStaged(service, bytesOf(3 * MiB));
    const { id } = await service.createEmpty(owner);
    const headers = { "content-length": String(3 * MiB) };
    await expectOver(
      await stage(service, owner, id, bytesOf(3 * MiB), headers),
      "image_stage_total",
    );
    expect((await stage(service, owner, id, bytesOf(2 * MiB))).status).toBe(204);
  });

  it("10 §4 #6, 12 §6 POST import: image_size_total that is passed already, before the look-up", async () => {
    const service = limited({});
    await service.createActive(owner, bytesOf(3 * MiB));
    const nowhere = "00000000-0000-4000-8000-000000000000";
    const less = limited({ image_size_total: 2 });
    const response = await callImport(less, owner, nowhere, "glance-direct");
    await expectOver(response, "image_size_total");
  });

  it("10 §8 step 3, 10 §9 quota: fails the task with the figures, and nothing stays", async () => {
    const service = limited({ image_size_total: 5 });
    await service.createActive(owner, bytesOf(3 * MiB));
    const staged = await createStaged(service, bytesOf(3 * MiB));
    await beginImport(service, owner, staged.id, "glance-direct");
    const direct = await finishImport(service, staged.id);
    expect(direct.task).toMatchObject({
      status: "failure",
      message: "image_size_total is over limit of 5 due to current usage 3 and delta 3",
    });
    expect(direct.image).toMatchObject({ status: "queued", size: null });

    const { id } = await service.createEmpty(owner);
    const uri = source.fileUrl({ size: 3 * MiB });
    await beginImport(service, owner, id, { method: { name: "web-download", uri } });
    const download = await finishImport(service, id);
    expect(download.task?.message).toContain("image_size_total is over limit of 5");
    expect(await rowOf(owner.projectId)).toEqual(await sumOf(owner.projectId));
  });

  it("12 §6: names figures that are over the limit, of parts of a MiB that come to a whole one too", async () => {
    const service = limited({ image_size_total: 4 });
    await service.createActive(owner, bytesOf(4.5 * MiB));
    const { id } = await service.createEmpty(owner);
    const body = bytesOf(0.6 * MiB);
    const announced = { "content-length": String(body.length) };
    const response = await service.upload(owner, id, body, announced);
    expect(response.status).toBe(413);
    expect(await response.text()).toContain("over limit of 4 due to current usage 4 and delta 1");
    expect((await service.upload(owner, id, bytesOf(0.4 * MiB))).status).toBe(204);
  });

  it("12 §6 The project: is the requester's, not the image owner's", async () => {
    const service = limited(
      { image_size_total: 1 },
      { [admin.projectId]: { image_size_total: -1 } },
    );
    const { id } = await service.createEmpty(owner);
    expect((await service.upload(admin, id, bytesOf(3 * MiB))).status).toBe(204);
    expect((await used(service)).image_size_total).toBe(3);
  });

  it("10 §9 quota, copy-image: image_stage_total fails the task, and the image stays active", async () => {
    const service = limited({});
    const { id } = await service.createActive(owner, bytesOf(3 * MiB));
    const less = limited(
      {},
      { [admin.projectId]: { image_count_uploading: 0, image_stage_total: 0 } },
    );
    await beginImport(less, admin, id, { method: { name: "copy-image" }, stores: ["archive"] });
    const { image } = await finishImport(less, id, admin);
    // The copying project has none of its own under way, so it is within its limits.
    expect(image).toMatchObject({ status: "active", stores: "fast,archive" });
  });
});

describe("limits under concurrency", () => {
  it("50 uploads against room for 10 leave exactly 10 active", async () => {
    const service = limited({ image_size_total: 10 });
    const images = await Promise.all(Array.from({ length: 50 }, () => service.createEmpty(owner)));
    const statuses = await Promise.all(
      images.map(async ({ id }) => {
        const headers = { "content-length": String(MiB) };
        return (await service.upload(owner, id, bytesOf(MiB), headers)).status;
      }),
    );
    expect(statuses.filter((status) => status === 204)).toHaveLength(10);
    expect(statuses.filter((status) => status === 413)).toHaveLength(40);
    expect((await used(service)).image_size_total).toBe(10);
    expect(await rowOf(owner.projectId)).toEqual(await sumOf(owner.projectId));
  });

  it("50 creations against room for 10 leave exactly 10", async () => {
    const service = limited({ image_count_total: 10 });
    const statuses = await Promise.all(
      Array.from({ length: 50 }, async () => {
        return (await service.call(owner, "POST", "/v2/images", { json: {} })).status;
      }),
    );
    expect(statuses.filter((status) => status === 201)).toHaveLength(10);
  });

  it("STO-6, 12 §6 Soft limits: a body of unknown length stops at the limit", async () => {
    const service = limited({ image_size_total: 5 });
    await service.createActive(owner, bytesOf(2 * MiB));
    const { id } = await service.createEmpty(owner);
    const endless = bodyOf(async function* () {
      for (let sent = 0; sent < 200; sent++) yield bytesOf(MiB / 4);
    });
    await expectOver(await service.upload(owner, id, endless), "image_size_total");
    expect(await service.show(owner, id)).toMatchObject({ status: "queued", size: null });
    const fitting = bodyOf(async function* () {
      for (let sent = 0; sent < 12; sent++) yield bytesOf(MiB / 4);
    });
    expect((await service.upload(owner, id, fitting)).status).toBe(204);
    expect(await rowOf(owner.projectId)).toEqual(await sumOf(owner.projectId));
  });

  it("12 §6: what an upload was granted comes back when its lease runs out", async () => {
    const service = limited({ image_size_total: 5 });
    const { id } = await service.createEmpty(owner);
    const object = new TestedObject(id);
    await object.stub.beginUpload(
      { imageId: id, identity: UPLOADER, rule: "upload_image" },
      {
        attemptId: crypto.randomUUID(),
        purpose: "data",
        storeId: "default",
        declaredBytes: 4 * MiB,
      },
    );
    const other = await service.createEmpty(owner);
    const headers = { "content-length": String(4 * MiB) };
    await expectOver(
      await service.upload(owner, other.id, bytesOf(4 * MiB), headers),
      "image_size_total",
    );
    passTime(401);
    await object.untilAtRest();
    expect((await service.upload(owner, other.id, bytesOf(4 * MiB), headers)).status).toBe(204);
  });
});

describe("resumable uploads", () => {
  it("are granted their space when they begin, and give it back", async () => {
    const service = limited({ image_size_total: 5 });
    const tus = new Tus(service);
    const { id } = await service.createEmpty(owner);
    const upload = await tus.create(owner, id, { "upload-length": String(4 * MiB) });
    expect(await rowOf(owner.projectId)).toMatchObject({ reserved_size: 4 * MiB });
    const second = await tus.begin(owner, id, { "upload-length": String(2 * MiB) });
    await expectOver(second, "image_size_total");
    expect((await tus.terminate(owner, upload)).status).toBe(204);
    expect(await rowOf(owner.projectId)).toMatchObject({ reserved_size: 0 });
    const again = await tus.create(owner, id, { "upload-length": String(4 * MiB) });
    await tus.patch(owner, again, 0, bytesOf(4 * MiB));
    const { image } = await finishImport(service, id);
    expect(image).toMatchObject({ status: "active", size: 4 * MiB });
    expect(await rowOf(owner.projectId)).toMatchObject({ size: 4 * MiB, reserved_size: 0 });
  });
});

describe("resumable uploads of unknown length", () => {
  const DEFERRED = { "upload-defer-length": "1" };

  it("are granted what comes before it is stored, and stop at the limit", async () => {
    const service = limited({ image_size_total: 5 });
    const tus = new Tus(service);
    await service.createActive(owner, bytesOf(2 * MiB));
    const { id } = await service.createEmpty(owner);
    const upload = await tus.create(owner, id, DEFERRED);
    expect(await rowOf(owner.projectId)).toMatchObject({ open_uploads: 1, reserved_size: 0 });
    await tus.patch(owner, upload, 0, bytesOf(2 * MiB));
    // No more than what has come stays granted behind the request.
    expect(await rowOf(owner.projectId)).toMatchObject({ reserved_size: 2 * MiB });
    await expectOver(await tus.send(owner, upload, 2 * MiB, bytesOf(40 * MiB)), "image_size_total");
    const offset = await tus.offset(owner, upload);
    expect(offset).toBeLessThan(4 * MiB);
    expect(await rowOf(owner.projectId)).toMatchObject({ reserved_size: offset });
    const other = await service.createEmpty(owner);
    const headers = { "content-length": String(2 * MiB) };
    await expectOver(
      await service.upload(owner, other.id, bytesOf(2 * MiB), headers),
      "image_size_total",
    );
    await tus.patch(owner, upload, offset, bytesOf(3 * MiB - offset), {
      "upload-length": String(3 * MiB),
    });
    const { image } = await finishImport(service, id);
    expect(image).toMatchObject({ status: "active", size: 3 * MiB });
    expect(await rowOf(owner.projectId)).toMatchObject({ open_uploads: 0, reserved_size: 0 });
    expect(await rowOf(owner.projectId)).toEqual(await sumOf(owner.projectId));
  });

  it("store no part that there is no room for", async () => {
    const service = limited({ image_size_total: 20 });
    const tus = new Tus(service);
    const { id } = await service.createEmpty(owner);
    const upload = await tus.create(owner, id, DEFERRED);
    // Parts have 16 MiB; the second one is refused on its way.
    await expectOver(await tus.send(owner, upload, 0, bytesOf(60 * MiB)), "image_size_total");
    expect(await tus.offset(owner, upload)).toBeLessThanOrEqual(20 * MiB);
    expect((await rowOf(owner.projectId)).reserved_size).toBeLessThanOrEqual(20 * MiB);
    await tus.terminate(owner, upload);
    expect(await rowOf(owner.projectId)).toMatchObject({ open_uploads: 0, reserved_size: 0 });
  });

  it("cannot be told a length that there is no room for", async () => {
    const service = limited({ image_size_total: 3 });
    const tus = new Tus(service);
    const { id } = await service.createEmpty(owner);
    const upload = await tus.create(owner, id, DEFERRED);
    await tus.patch(owner, upload, 0, bytesOf(MiB));
    const tooLong = { "upload-length": String(4 * MiB) };
    await expectOver(await tus.send(owner, upload, MiB, bytesOf(MiB), tooLong), "image_size_total");
    expect(await rowOf(owner.projectId)).toMatchObject({ reserved_size: MiB });
    expect((await tus.head(owner, upload)).headers.get("upload-defer-length")).toBe("1");
  });
});

describe("open uploads of an image that gets its data by another way", () => {
  async function withOpen(service: Service) {
    const tus = new Tus(service);
    const { id } = await service.createEmpty(owner);
    const upload = await tus.create(owner, id, { "upload-length": String(3 * MiB) });
    await tus.patch(owner, upload, 0, bytesOf(MiB));
    return { id, tus, upload };
  }

  it("stay charged while that is on its way, and as long as it comes to nothing", async () => {
    const service = limited({ image_size_total: 5 });
    const { id } = await withOpen(service);
    const body = bodyOf(async function* () {
      yield bytesOf(MiB);
      expect(await rowOf(owner.projectId)).toMatchObject({ open_uploads: 1 });
      const other = await service.createEmpty(owner);
      const headers = { "content-length": String(2 * MiB) };
      await expectOver(
        await service.upload(owner, other.id, bytesOf(2 * MiB), headers),
        "image_size_total",
      );
    });
    const headers = { "x-openstack-image-size": String(2 * MiB) };
    expect((await service.upload(owner, id, body, headers)).status).toBe(400);
    expect(await rowOf(owner.projectId)).toMatchObject({ reserved_size: 3 * MiB });
    expect(await rowOf(owner.projectId)).toEqual(await sumOf(owner.projectId));
  });

  it.each(["file", "import", "location"])("end with it, and are gone: by %s", async (way) => {
    const service = new Service({ settings: OPEN_LOCATIONS });
    const { id, tus, upload } = await withOpen(service);
    if (way === "file") {
      expect((await service.upload(owner, id, bytesOf(MiB))).status).toBe(204);
    } else if (way === "import") {
      expect((await stage(service, owner, id, bytesOf(MiB))).status).toBe(204);
      await beginImport(service, owner, id, "glance-direct");
    } else {
      const value = { url: source.fileUrl({ size: MiB }), metadata: {} };
      const patch = [{ op: "add", path: "/locations/-", value }];
      const response = await service.call(owner, "PATCH", `/v2/images/${id}`, { patch });
      expect(response.status, await response.text()).toBe(200);
    }
    await new TestedObject(id).ringAll(service.env);
    await new TestedObject(id).ringAll(service.env);
    expect(await service.show(owner, id)).toMatchObject({ status: "active", size: MiB });
    expect(await rowOf(owner.projectId)).toMatchObject({ open_uploads: 0, reserved_size: 0 });
    expect((await tus.send(owner, upload, MiB, bytesOf(2 * MiB))).status).toBe(409);
    expect((await tus.head(owner, upload)).status).toBe(404);
    await new TestedObject(id).untilAtRest(service.env);
    expect(await storedKeys(id)).toHaveLength(way === "location" ? 0 : 1);
  });
});

describe("what a project may have open", () => {
  it("PROJECT_UPLOAD_QUOTA: so many resumable uploads and no more, however many come at once", async () => {
    const service = new Service({ settings: { STORES, PROJECT_UPLOAD_QUOTA: "5" } });
    const tus = new Tus(service);
    const images = await Promise.all(Array.from({ length: 12 }, () => service.createEmpty(owner)));
    const answers = await Promise.all(
      images.map(({ id }) => tus.begin(owner, id, { "upload-length": "5" })),
    );
    expect(answers.filter(({ status }) => status === 201)).toHaveLength(5);
    const refused = answers.filter(({ status }) => status !== 201);
    for (const answer of refused) await expectOver(answer, "open_resumable_uploads");
    expect(await rowOf(owner.projectId)).toMatchObject({ open_uploads: 5 });
    const { id } = await service.createEmpty(stranger);
    expect((await tus.begin(stranger, id, { "upload-length": "5" })).status).toBe(201);
    const done = answers.find(({ status }) => status === 201)?.headers.get("location") ?? "";
    await tus.patch(owner, new URL(done).pathname, 0, "hello");
    const late = await service.createEmpty(owner);
    expect((await tus.begin(owner, late.id, { "upload-length": "5" })).status).toBe(201);
    expect(await rowOf(owner.projectId)).toEqual(await sumOf(owner.projectId));
  });

  it("is mended by the alarm where the object died between its ledger and the row", async () => {
    const service = limited({ image_size_total: 9 });
    const { id } = await service.createEmpty(owner);
    await new Tus(service).create(owner, id, { "upload-length": String(MiB) });
    const sql = "UPDATE images SET open_uploads = 7, open_upload_bytes = 8388608 WHERE id = ?";
    await env.DB.prepare(sql).bind(id).run();
    passTime(86_401);
    await new TestedObject(id).ringAll(service.env);
    expect(await rowOf(owner.projectId)).toMatchObject({ open_uploads: 0, reserved_size: 0 });
  });

  it("no grant is less than nothing, by the database itself", async () => {
    const { id } = await new Service().createEmpty(owner);
    for (const column of ["reserved", "open_uploads", "open_upload_bytes"]) {
      const less = env.DB.prepare(`UPDATE images SET ${column} = -1 WHERE id = ?`).bind(id).run();
      await expect(less).rejects.toThrow("less than nothing");
    }
  });
});

describe("imports", () => {
  const download = (uri: string) => ({ method: { name: "web-download", uri } });

  /** A service that tells what its objects store. */
  function watched(settings: Readonly<Record<string, string>>) {
    const stored: string[] = [];
    const BLOBS = interceptR2(env.BLOBS, (call, proceed) => {
      if (call.operation === "put" || call.operation === "part") stored.push(call.operation);
      return proceed();
    });
    const QUOTAS = JSON.stringify({ default: { ...NONE, image_size_total: 20 } });
    const limits = { USE_KEYSTONE_LIMITS: "true", QUOTAS };
    const service = new Service({ settings: { ...limits, ...settings }, bindings: { BLOBS } });
    return { service, stored };
  }

  it.each([
    ["in ranges", {}],
    ["in one pass", { ranges: "no" } as const],
  ])(
    "12 §6 web-download: held against what is left before a byte is stored, %s",
    async (_, query) => {
      const { service, stored } = watched({});
      const id = crypto.randomUUID();
      const image = await service.createEmpty(owner);
      const uri = source.fileUrl({ id, size: 30 * MiB, ...query });
      await beginImport(service, owner, image.id, download(uri));
      const { task, image: after } = await finishImport(service, image.id);
      expect(task).toMatchObject({
        status: "failure",
        message: "image_size_total is over limit of 20 due to current usage 0 and delta 30",
      });
      expect(after).toMatchObject({ status: "queued" });
      expect(stored).toEqual([]);
      expect(await rowOf(owner.projectId)).toEqual(await sumOf(owner.projectId));
    },
  );

  it("12 §6 web-download: keeps the space of what is under way from others", async () => {
    const service = limited({ image_size_total: 20 });
    const { id } = await service.createEmpty(owner);
    const gate = crypto.randomUUID();
    const uri = source.fileUrl({ size: 15 * MiB, gate, "gate-at": 12 * MiB, ranges: "no" });
    await beginImport(service, owner, id, download(uri));
    const working = new TestedObject(id).ring(service.env);
    await source.waitAtGate(gate);
    expect(await rowOf(owner.projectId)).toMatchObject({ reserved_size: 15 * MiB });
    const other = await service.createEmpty(owner);
    const headers = { "content-length": String(8 * MiB) };
    await expectOver(
      await service.upload(owner, other.id, bytesOf(8 * MiB), headers),
      "image_size_total",
    );
    await source.openGate(gate);
    await working;
    expect((await finishImport(service, id)).image).toMatchObject({ status: "active" });
    expect(await rowOf(owner.projectId)).toMatchObject({ size: 15 * MiB, reserved_size: 0 });
  });

  it("12 §6 Soft limits: a download of unknown length stops at the limit", async () => {
    const { service, stored } = watched({});
    const { id } = await service.createEmpty(owner);
    const uri = source.fileUrl({ size: 64 * MiB, chunked: 1 });
    await beginImport(service, owner, id, download(uri));
    const { task } = await finishImport(service, id);
    expect(task?.message).toContain("image_size_total is over limit of 20");
    // Parts have 16 MiB.
    expect(stored.length).toBeLessThan(2);
    expect(await storedKeys(id)).toEqual([]);
    expect(await rowOf(owner.projectId)).toMatchObject({ size: 0, reserved_size: 0 });
  });

  it("10 §14 image_decompression: is charged as it unpacks, and stops at the limit", async () => {
    const { service, stored } = watched({ IMAGE_IMPORT_PLUGINS: "image_decompression" });
    const zeros = new Blob([new Uint8Array(96 * MiB)]).stream();
    const packed = await new Response(zeros.pipeThrough(new CompressionStream("gzip"))).bytes();
    const { id } = await createStaged(service, packed as Uint8Array<ArrayBuffer>);
    await beginImport(service, owner, id, "glance-direct");
    const { task, image } = await finishImport(service, id);
    expect(task?.message).toContain("image_size_total is over limit of 20");
    expect(image).toMatchObject({ status: "queued" });
    expect(stored.length).toBeLessThan(4);
    expect(await storedKeys(id)).toEqual([]);
    expect(await rowOf(owner.projectId)).toEqual(await sumOf(owner.projectId));
  });

  it("PROJECT_IMPORT_QUOTA: so many at work and no more, however many come at once", async () => {
    const settings = { STORES: JSON.stringify(TWO_BUCKETS), PROJECT_IMPORT_QUOTA: "3" };
    const service = new Service({ settings });
    const images = await Promise.all(Array.from({ length: 8 }, () => service.createEmpty(owner)));
    const uri = source.fileUrl({ size: 5 });
    const answers = await Promise.all(
      images.map(({ id }, index) =>
        index % 2 === 0
          ? callImport(service, owner, id, download(uri))
          : callAddLocation(service, owner, id, { url: uri }),
      ),
    );
    expect(answers.filter(({ status }) => status === 202)).toHaveLength(3);
    for (const answer of answers.filter(({ status }) => status !== 202)) {
      await expectOver(answer, "imports_at_work");
    }
    expect(await rowOf(owner.projectId)).toMatchObject({ jobs: 3 });
    for (const { id } of images) await new TestedObject(id).untilAtRest(service.env);
    expect(await rowOf(owner.projectId)).toMatchObject({ jobs: 0 });
    const late = await service.createEmpty(owner);
    await beginImport(service, owner, late.id, download(uri));
    expect((await finishImport(service, late.id)).image).toMatchObject({ status: "active" });
    expect(await rowOf(owner.projectId)).toEqual(await sumOf(owner.projectId));
  });
});

describe("data that trickles", () => {
  const settings = {
    ...OPEN_LOCATIONS,
    ...{ IMPORT_MIN_BYTES_PER_SECOND: "50000", IMPORT_MIN_RATE_SECONDS: "1" },
  };
  const service = new Service({ settings });
  const slow = source.fileUrl({ size: MiB, rate: 2_000 });

  it("ends its import with a reason, and does not try again", async () => {
    const { id } = await service.createEmpty(owner);
    await beginImport(service, owner, id, { method: { name: "web-download", uri: slow } });
    await new TestedObject(id).ring(service.env);
    const { task, image } = await finishImport(service, id);
    expect(task).toMatchObject({
      status: "failure",
      message: expect.stringContaining("less than 50000 bytes a second, for 1 seconds"),
    });
    expect(task?.message).not.toContain("try");
    expect(image).toMatchObject({ status: "queued" });
    expect(await storedKeys(id)).toEqual([]);
  });

  it("ends the read of a location", async () => {
    const { id } = await service.createEmpty(owner);
    const validation = { os_hash_algo: "sha256", os_hash_value: "0".repeat(64) };
    const json = { url: slow, validation_data: validation };
    await beginAddLocation(service, owner, id, json);
    const { task, image } = await finishImport(service, id);
    expect(task?.message).toContain("less than 50000 bytes a second");
    expect(image).toMatchObject({ status: "queued" });
  });

  it("comes through where it is no slower than it may be", async () => {
    const { id } = await service.createEmpty(owner);
    const uri = source.fileUrl({ size: 400_000, rate: 200_000 });
    await beginImport(service, owner, id, { method: { name: "web-download", uri } });
    expect((await finishImport(service, id)).image).toMatchObject({ status: "active" });
  });
});

describe("IMAGE_SIZE_CAP", () => {
  const service = new Service({ settings: { ...OPEN_LOCATIONS, IMAGE_SIZE_CAP: "1000" } });

  it("LIM-8, LOP-9: holds for a location that is added by PATCH", async () => {
    const { id } = await service.createEmpty(owner);
    const add = (size: number) =>
      patchLocations(service, owner, id, [addingLocation(source.fileUrl({ size }))]);
    expect((await add(1001)).status).toBe(413);
    expect(await service.show(owner, id)).toMatchObject({ status: "queued", size: null });
    expect((await add(1000)).status).toBe(200);
  });

  it("LIM-8, 11 §8: holds for a location that is added by POST", async () => {
    const { id } = await service.createEmpty(owner);
    await beginAddLocation(service, owner, id, { url: source.fileUrl({ size: 1001 }) });
    const { task, image } = await finishImport(service, id);
    expect(task).toMatchObject({
      status: "failure",
      message: expect.stringContaining("larger than the 1000 bytes"),
    });
    expect(image).toMatchObject({ status: "queued" });
  });
});

describe("user_storage_quota", () => {
  const quota = (text: string) => new Service({ settings: { STORES, USER_STORAGE_QUOTA: text } });

  it("LIM-9, STO-6: refuses a known size beyond what is left, and stops an unknown one", async () => {
    const service = quota("3MB");
    await service.createActive(owner, bytesOf(2 * MiB));
    const { id } = await service.createEmpty(owner);
    const headers = { "content-length": String(MiB + 1) };
    await expectOver(
      await service.upload(owner, id, bytesOf(MiB + 1), headers),
      "user_storage_quota",
    );
    const body = bodyOf(async function* () {
      for (let sent = 0; sent < 8; sent++) yield bytesOf(MiB / 4);
    });
    await expectOver(await service.upload(owner, id, body), "user_storage_quota");
    expect(await service.show(owner, id)).toMatchObject({ status: "queued" });
    expect((await service.upload(owner, id, bytesOf(MiB))).status).toBe(204);
  });

  it("LIM-9: counts staged bytes, those that come and those that are there", async () => {
    const service = quota("5MB");
    await service.createActive(owner, bytesOf(MiB));
    const { id } = await service.createEmpty(owner);
    const announced = { "content-length": String(5 * MiB) };
    await expectOver(
      await stage(service, owner, id, bytesOf(5 * MiB), announced),
      "user_storage_quota",
    );
    const endless = bodyOf(async function* () {
      for (let sent = 0; sent < 100; sent++) yield bytesOf(MiB / 4);
    });
    await expectOver(await stage(service, owner, id, endless), "user_storage_quota");
    expect(await service.show(owner, id)).toMatchObject({ status: "queued" });
    expect((await stage(service, owner, id, bytesOf(3 * MiB))).status).toBe(204);
    expect(await rowOf(owner.projectId)).toMatchObject({ staged: 3 * MiB, reserved_stage: 0 });
    const other = await service.createEmpty(owner);
    const headers = { "content-length": String(2 * MiB) };
    await expectOver(
      await service.upload(owner, other.id, bytesOf(2 * MiB), headers),
      "user_storage_quota",
    );
    // Importing them takes no room that they do not have.
    await beginImport(service, owner, id, "glance-direct");
    expect((await finishImport(service, id)).image).toMatchObject({ status: "active" });
    expect((await service.upload(owner, other.id, bytesOf(MiB))).status).toBe(204);
    expect(await rowOf(owner.projectId)).toMatchObject({ staged: 0, size: 5 * MiB });
  });

  it.each([
    ["comes through where there is room", "30MB", "active"],
    ["stops at the limit", "20MB", "queued"],
  ])("10 §14 image_decompression of staged bytes %s", async (_, most, status) => {
    const settings = {
      ...{ STORES, USER_STORAGE_QUOTA: most },
      IMAGE_IMPORT_PLUGINS: "image_decompression",
    };
    const service = new Service({ settings });
    const zeros = new Blob([new Uint8Array(30 * MiB)]).stream();
    const packed = await new Response(zeros.pipeThrough(new CompressionStream("gzip"))).bytes();
    const { id } = await createStaged(service, packed as Uint8Array<ArrayBuffer>);
    await beginImport(service, owner, id, "glance-direct");
    const { image } = await finishImport(service, id);
    expect(image).toMatchObject({ status });
    expect(await rowOf(owner.projectId)).toEqual(await sumOf(owner.projectId));
  });

  it("LIM-9: is ignored while the four limits are on", async () => {
    const settings = { STORES, USE_KEYSTONE_LIMITS: "true", USER_STORAGE_QUOTA: "1B" };
    const service = new Service({
      settings: { ...settings, QUOTAS: JSON.stringify({ default: NONE }) },
    });
    await service.createActive(owner, "hello");
  });
});

it("12 §5: usage is read off one row, which is the sum over the images after anything that was done", async () => {
  const service = limited({ image_size_total: 12, image_stage_total: 6, image_count_total: 6 });
  const steps = [
    ...(["create", "upload", "fail", "stage", "import", "delete", "give", "copy"] as const),
    ...(["open", "open deferred", "send", "end"] as const),
  ];
  const step = fc.tuple(
    fc.constantFrom(...steps),
    fc.nat(9),
    fc.constantFrom(0, 1, 2 * MiB, 5 * MiB),
  );
  await fc.assert(
    fc.asyncProperty(fc.array(step, { minLength: 5, maxLength: 14 }), async (plan) => {
      const ids: string[] = [];
      for (const [what, index, size] of plan) {
        const id = ids[index % Math.max(1, ids.length)] ?? crypto.randomUUID();
        await doStep(service, what, id, size, ids);
        expect(await rowOf(owner.projectId)).toEqual(await sumOf(owner.projectId));
      }
    }),
    { numRuns: 15 },
  );
}, 60_000);

async function doStep(service: Service, what: string, id: string, size: number, ids: string[]) {
  const path = `/v2/images/${id}`;
  switch (what) {
    case "create": {
      const json = { disk_format: "raw", container_format: "bare" };
      const response = await service.call(owner, "POST", "/v2/images", { json });
      if (response.status === 201) ids.push(((await response.json()) as { id: string }).id);
      return;
    }
    case "upload":
      return service.upload(owner, id, bytesOf(size), { "content-length": String(size) });
    case "fail":
      return service.upload(owner, id, bytesOf(size), {
        "x-openstack-image-size": String(size + 1),
      });
    case "stage":
      return stage(service, owner, id, bytesOf(size));
    case "import":
      await callImport(service, owner, id, { method: { name: "glance-direct" }, all_stores: true });
      return new TestedObject(id).untilAtRest(service.env);
    case "delete":
      return service.call(owner, "DELETE", path);
    case "give":
      return service.call(admin, "PATCH", path, {
        patch: [{ op: "replace", path: "/owner", value: stranger.projectId }],
      });
    case "open":
      return new Tus(service).begin(owner, id, { "upload-length": String(size) });
    case "open deferred":
      return new Tus(service).begin(owner, id, { "upload-defer-length": "1" });
    case "send":
    case "end": {
      const [upload] = await new TestedObject(id).resumables();
      const address = `${path}/uploads/${upload?.id}`;
      if (what === "end") return new Tus(service).terminate(owner, address);
      return new Tus(service).send(owner, address, 0, bytesOf(size));
    }
    default:
      await callImport(service, admin, id, { method: { name: "copy-image" }, all_stores: true });
      return new TestedObject(id).untilAtRest(service.env);
  }
}

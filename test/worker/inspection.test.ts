import { env } from "cloudflare:workers";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { admin, owner } from "../support/callers.ts";
import { resumeTime, stopTime } from "../support/clock.ts";
import { aKernel } from "../support/formats.ts";
import { beginImport, createStaged, finishImport, sources } from "../support/imports.ts";
import { interceptR2 } from "../support/intercept.ts";
import { type ImageRecord, Service } from "../support/service.ts";
import { bodyParameter } from "../support/source-control.ts";
import { storedKeys } from "../support/stored-bytes.ts";
import { TWO_BUCKETS } from "../support/stores.ts";
import { TestedObject } from "../support/tested-object.ts";
import { bodyOf } from "../support/upload-body.ts";

// How content that is inspected goes through the service: what a refusal does, and where there is none. What is told
// of which bytes is for test/unit/inspect.

const KiB = 1024;
const MiB = 1024 ** 2;
const STORES = JSON.stringify(TWO_BUCKETS);
const service = new Service({ settings: { STORES } });
const lenient = new Service({ settings: { REQUIRE_IMAGE_FORMAT_MATCH: "false" } });
const source = sources();

beforeEach(stopTime);
afterEach(resumeTime);

/** A qcow2 of version 3 and a disk of 10 GiB. */
function qcow2({ backingFile = false, bytes = 64 * KiB } = {}): Uint8Array<ArrayBuffer> {
  const image = new Uint8Array(bytes);
  image.set([0x51, 0x46, 0x49, 0xfb, 0, 0, 0, 3]);
  new DataView(image.buffer).setBigUint64(24, 10n * 1024n ** 3n);
  if (backingFile) new DataView(image.buffer).setBigUint64(8, 0x200n);
  return image;
}

/** A disk with an MBR that has a partition with an impossible boot flag. */
function oddDisk(): Uint8Array<ArrayBuffer> {
  const disk = new Uint8Array(64 * KiB);
  disk.set([0x55, 0xaa], 510);
  disk.set([0x7f, 0, 0, 0, 0x83], 446);
  return disk;
}

const NO_DATA = {
  status: "queued",
  size: null,
  virtual_size: null,
  checksum: null,
  os_hash_algo: null,
  os_hash_value: null,
};

/** Uploads what must be refused, and gives the reason; the image is as if nothing had come. */
async function refuse(
  image: Pick<ImageRecord, "id">,
  body: BodyInit,
  by: Service = service,
): Promise<string> {
  const response = await by.upload(owner, image.id, body);
  const { code, message } = (await response.json()) as { code: string; message: string };
  expect([response.status, code]).toEqual([415, "415 Unsupported Media Type"]);
  expect(await by.show(owner, image.id)).toMatchObject(NO_DATA);
  await new TestedObject(image.id).untilAtRest(by.env);
  expect(await storedKeys(image.id)).toEqual([]);
  stopTime();
  return message;
}

describe("uploads", () => {
  it("13 §1 PUT file, FMT-1: shows the size of the disk within", async () => {
    const image = await service.createActive(owner, qcow2(), { disk_format: "qcow2" });
    expect(image).toMatchObject({ status: "active", size: 64 * KiB, virtual_size: 10 * 1024 ** 3 });
  });

  it("13 §3 raw, FMT-3, FMT-4: counts the bytes of a raw disk, whatever they are", async () => {
    expect(await service.createActive(owner, "hello")).toMatchObject({ virtual_size: 5 });
    expect(await service.createActive(owner, "")).toMatchObject({ virtual_size: null });
    expect(await service.createActive(owner, qcow2())).toMatchObject({ virtual_size: 64 * KiB });
  });

  it("13 §3 not inspectable: a kernel is taken as aki, ari, ami and raw, in whatever container", async () => {
    for (const disk_format of ["aki", "ari", "ami", "raw"]) {
      for (const container_format of ["bare", "aki", "ari", "ami"]) {
        const image = await service.createActive(owner, aKernel(), {
          disk_format,
          container_format,
        });
        expect(image).toMatchObject({ status: "active", size: 8 * KiB });
      }
    }
    const disk = await service.createEmpty(owner, { disk_format: "qcow2" });
    await refuse(disk, aKernel());
  });

  it("13 §3 raw: packed data is taken, and the log says so", async () => {
    const lines: object[] = [];
    const spy = vi.spyOn(console, "log");
    spy.mockImplementation((line: string) => void lines.push(JSON.parse(line)));
    const xz = Uint8Array.from([0xfd, 0x37, 0x7a, 0x58, 0x5a, 0, ...new Uint8Array(600)]);
    const { id } = await service.createActive(owner, xz);
    spy.mockRestore();
    const told = { event: "data_is_packed", image_id: id, packing: "xz" };
    expect(lines).toContainEqual(expect.objectContaining(told));
    const refused = await service.createEmpty(owner, { disk_format: "qcow2" });
    expect(await refuse(refused, xz)).toContain("packed with xz, not qcow2");
  });

  it("13 §6 PUT file, HSH-4, HSH-5: a refusal is 415, leaves nothing, and the next try succeeds", async () => {
    const image = await service.createEmpty(owner, { disk_format: "qcow2" });
    expect(await refuse(image, "no qcow2 at all")).toBe(
      "The data is refused: it is of no format that is recognised, not qcow2 as the image's disk_format says.",
    );
    expect(await refuse(image, qcow2({ backingFile: true }))).toBe(
      "The data is refused: it is qcow2, and it names a backing file (check backing_file).",
    );
    expect((await service.upload(owner, image.id, qcow2())).status).toBe(204);
    expect(await service.show(owner, image.id)).toMatchObject({
      status: "active",
      virtual_size: 10 * 1024 ** 3,
      checksum: expect.any(String),
    });
  });

  it("13 §4, FMT-5: refuses what is unsafe even as raw, and with every format allowed", async () => {
    for (const by of [service, lenient]) {
      const image = await by.createEmpty(owner);
      expect(await refuse(image, qcow2({ backingFile: true }), by)).toContain("backing_file");
      expect(await refuse(image, oddDisk(), by)).toContain("check mbr");
    }
  });

  it("13 §6 PUT file: refuses an unsafe image of gigabytes, of which it reads less than a MiB", async () => {
    const image = await service.createEmpty(owner, { disk_format: "qcow2" });
    let sent = 0;
    const body = bodyOf(async function* () {
      for (let chunk = qcow2({ backingFile: true }); ; chunk = new Uint8Array(64 * KiB)) {
        sent += chunk.length;
        yield chunk;
      }
    });
    const headers = { "content-length": String(10 * 1024 ** 3) };
    const response = await service.upload(owner, image.id, body, headers);
    expect(response.status).toBe(415);
    expect(sent).toBeLessThan(MiB);
    expect(await service.show(owner, image.id)).toMatchObject(NO_DATA);
  });

  it("13 §1 container_format, HSH-2: does not look into containers other than bare", async () => {
    const record = { disk_format: "qcow2", container_format: "ova" };
    const image = await service.createActive(owner, qcow2({ backingFile: true }), record);
    expect(image).toMatchObject({ status: "active", virtual_size: null });
  });

  it("13 §3 require_image_format_match false, HSH-3: takes what it is not, of unknown size", async () => {
    const image = await lenient.createActive(owner, "no qcow2", { disk_format: "qcow2" });
    expect(image).toMatchObject({ status: "active", virtual_size: null });
  });

  it("13 §1 gpt_safety_checks_nonfatal: takes odd disks where that is configured", async () => {
    const tolerant = new Service({ settings: { GPT_SAFETY_CHECKS_NONFATAL: "mbr" } });
    const image = await tolerant.createActive(owner, oddDisk());
    expect(image).toMatchObject({ status: "active", virtual_size: 64 * KiB });
  });

  it("looks for the formats that are configured only", async () => {
    const blind = new Service({ settings: { INSPECT_FORMATS: "" } });
    const image = await blind.createActive(owner, qcow2({ backingFile: true }));
    expect(image).toMatchObject({ status: "active", virtual_size: 64 * KiB });
    const named = await blind.createActive(owner, "whatever", { disk_format: "qcow2" });
    expect(named).toMatchObject({ status: "active", virtual_size: null });
  });
});

describe("imports", () => {
  async function importing(record: object, method: object | "glance-direct", bytes: Uint8Array) {
    const image =
      method === "glance-direct"
        ? await createStaged(service, bytes, record)
        : await service.createEmpty(owner, record);
    await beginImport(service, owner, image.id, method);
    return { id: image.id, ...(await finishImport(service, image.id)) };
  }

  function download(bytes: Uint8Array) {
    const uri = source.fileUrl({ body: bodyParameter(bytes) });
    return { method: { name: "web-download", uri } };
  }

  it.each(["glance-direct", "web-download"])(
    "13 §1 import, §5: %s shows the size of the disk within",
    async (method) => {
      const bytes = qcow2({ bytes: 600 });
      const request = method === "glance-direct" ? method : download(bytes);
      const { image } = await importing({ disk_format: "qcow2" }, request, bytes);
      expect(image).toMatchObject({ status: "active", size: 600, virtual_size: 10 * 1024 ** 3 });
    },
  );

  it.each(["glance-direct", "web-download"])(
    "13 §6 import, HSH-6: of what %s brings, a refusal fails the task with the reason",
    async (method) => {
      const bytes = qcow2({ bytes: 600, backingFile: true });
      const request = method === "glance-direct" ? method : download(bytes);
      const { id, image, task } = await importing({ disk_format: "qcow2" }, request, bytes);
      expect(task).toMatchObject({
        status: "failure",
        message:
          "The data is refused: it is qcow2, and it names a backing file (check backing_file).",
      });
      expect(image).toMatchObject(NO_DATA);
      expect(await storedKeys(id)).toEqual([]);
    },
  );

  it("13 §1 PUT stage: is not inspected", async () => {
    const image = await createStaged(service, qcow2({ backingFile: true }));
    expect(image).toMatchObject({ status: "uploading", virtual_size: null });
  });

  it.each([{}, { ranges: "no" }, { chunked: 1 }] as const)(
    "leaves most of a large source alone that begins with what is refused: %j",
    async (how) => {
      const id = crypto.randomUUID();
      const uri = source.fileUrl({ id, size: 400 * MiB, ...how });
      const request = { method: { name: "web-download", uri } };
      const { image, task } = await importing({ disk_format: "qcow2" }, request, new Uint8Array());
      expect(task?.message).toContain("not qcow2");
      expect(image).toMatchObject(NO_DATA);
      const sent = (await source.log(id)).reduce((sum, { bytesSent }) => sum + bytesSent, 0);
      expect(sent).toBeLessThan(100 * MiB);
    },
  );

  // Formats may be changed while an import goes on (contract PRO-5).
  const changeTo = async (by: Service, id: string, diskFormat: string | null) => {
    const patch = [
      { op: "replace", path: "/container_format", value: "bare" },
      { op: "replace", path: "/disk_format", value: diskFormat },
    ];
    expect((await by.call(owner, "PATCH", `/v2/images/${id}`, { patch })).status).toBe(200);
  };

  it("13 §3: a format that is taken away while the import goes on ends it", async () => {
    const { id } = await createStaged(service, qcow2({ backingFile: true }));
    await beginImport(service, owner, id, "glance-direct");
    await changeTo(service, id, null);
    const { image, task } = await finishImport(service, id);
    expect(task?.message).toContain("disk_format");
    expect(image).toMatchObject(NO_DATA);
  });

  it("13 §3: data is judged by the formats that the image has in the end", async () => {
    let id = "";
    let isChanged = false;
    const ARCHIVE = interceptR2(env.ARCHIVE, async (call, proceed) => {
      if (call.operation === "put" && !isChanged) {
        isChanged = true;
        await changeTo(watched, id, "qcow2");
      }
      return proceed();
    });
    const watched: Service = new Service({ settings: { STORES }, bindings: { ARCHIVE } });
    const record = { disk_format: "qcow2", container_format: "ova" };
    ({ id } = await createStaged(watched, qcow2({ backingFile: true }), record));
    const request = { method: { name: "glance-direct" }, stores: ["archive"] };
    await beginImport(watched, owner, id, request);
    const { image, task } = await finishImport(watched, id);
    expect([isChanged, task?.status]).toEqual([true, "failure"]);
    expect(image).toMatchObject(NO_DATA);
    expect(await storedKeys(id)).toEqual([]);
  });

  it("13 §3: a change of formats during the check has it done again", async () => {
    let id = "";
    let changes = 0;
    const BLOBS = interceptR2(env.BLOBS, async (call, proceed) => {
      const result = await proceed();
      if (call.operation === "get" && id !== "" && changes++ === 0) {
        await changeTo(watched, id, "vmdk");
        await changeTo(watched, id, "ami");
      }
      return result;
    });
    const watched: Service = new Service({ bindings: { BLOBS } });
    ({ id } = await createStaged(watched, "raw bytes", { disk_format: "raw" }));
    await beginImport(watched, owner, id, "glance-direct");
    const { image } = await finishImport(watched, id);
    expect(image).toMatchObject({ status: "active", disk_format: "ami", virtual_size: null });
    expect(changes).toBe(2);
  });

  it("13 §1 copy-image: copies no bytes that would not be taken today", async () => {
    const blind = new Service({ settings: { STORES, INSPECT_FORMATS: "" } });
    const { id } = await blind.createActive(owner, qcow2({ backingFile: true }));
    const request = { method: { name: "copy-image" }, stores: ["archive"] };
    await beginImport(service, admin, id, request);
    const { image, task } = await finishImport(service, id, admin);
    expect(task).toMatchObject({ status: "failure" });
    expect(task?.message).toContain("backing_file");
    expect(image).toMatchObject({ status: "active", stores: "fast" });
  });
});

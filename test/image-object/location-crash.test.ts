import { runInDurableObject } from "cloudflare:test";
import { env } from "cloudflare:workers";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { ImageObject } from "../../src/image-object/image-object.ts";
import { toHex } from "../../src/lib/hex.ts";
import { admin, owner } from "../support/callers.ts";
import { passTime, resumeTime, stopTime } from "../support/clock.ts";
import { finishImport, sources, tasksOf } from "../support/imports.ts";
import { type BindingCall, interceptD1 } from "../support/intercept.ts";
import { beginAddLocation, OPEN_LOCATIONS, patchLocations } from "../support/locations.ts";
import { Service } from "../support/service.ts";
import { dataOf } from "../support/source-data.ts";
import { TestedObject } from "../support/tested-object.ts";

// Locations whose hashing is broken off wherever it may be, and goes on.

const MiB = 1024 ** 2;
const SIZE = 20 * MiB;
const service = new Service({ settings: OPEN_LOCATIONS });
const source = sources();

beforeEach(stopTime);
afterEach(resumeTime);

async function sha512(seed: number, size = SIZE): Promise<string> {
  return toHex(await crypto.subtle.digest("SHA-512", dataOf({ seed, size })));
}

describe("a server that breaks off", () => {
  it("is asked again, and the image is active all the while", async () => {
    const { id } = await service.createEmpty(owner);
    const url = source.fileUrl({ size: SIZE, seed: 1, id, reset: 4 * MiB, times: 3 });
    await beginAddLocation(service, owner, id, { url });
    const object = new TestedObject(id);
    await object.ring(service.env);
    expect(await service.show(owner, id)).toMatchObject({ status: "active", os_hash_value: null });
    const [task] = await tasksOf(service, owner, id);
    expect(task).toMatchObject({ status: "processing" });
    expect(task?.message).toMatch(/Try 2 follows/);
    const { image, task: done } = await finishImport(service, id);
    expect(done).toMatchObject({ status: "success" });
    expect(image.os_hash_value).toBe(await sha512(1));
  });

  it.each([
    ["goes on where it was, where it gives ranges", {}, /^bytes=[1-9]\d+-/],
    ["begins anew, where it gives none", { ranges: "no" } as const, undefined],
  ])("%s", async (_, more, expected) => {
    const { id } = await service.createEmpty(owner);
    const trouble = { reset: 8 * MiB, times: 1, ...more };
    const url = source.fileUrl({ size: SIZE, seed: 2, id, ...trouble });
    await beginAddLocation(service, owner, id, { url });
    // One and the same instance, which remembers what it has read.
    await runInDurableObject(new TestedObject(id).stub, async (_instance, state) => {
      const instance = new ImageObject(state, service.env);
      for (let rings = 0; rings < 3; rings++) {
        await state.storage.deleteAlarm();
        await instance.alarm();
        passTime(5);
      }
    });
    expect((await service.show(owner, id)).os_hash_value).toBe(await sha512(2));
    const last = (await source.log(id)).at(-1)?.range;
    if (expected === undefined) expect(last).toBeNull();
    else expect(last).toMatch(expected);
  });

  it("11 §8 Retries used up: an image that is active stays so, without a hash", async () => {
    const { id } = await service.createEmpty(owner);
    const url = source.fileUrl({ size: SIZE, seed: 1, id, reset: 4096 });
    await beginAddLocation(service, owner, id, { url });
    const { image, task } = await finishImport(service, id);
    expect(task).toMatchObject({ status: "failure" });
    expect(image).toMatchObject({
      status: "active",
      size: SIZE,
      checksum: null,
      os_hash_algo: null,
      os_hash_value: null,
    });
    expect(image).not.toHaveProperty("os_glance_import_task");
  });

  it("11 §8 Retries used up: one that is importing is queued again", async () => {
    const { id } = await service.createEmpty(owner);
    const url = source.fileUrl({ size: SIZE, seed: 1, id, reset: 4096 });
    const validation_data = { os_hash_algo: "sha512", os_hash_value: await sha512(1) };
    await beginAddLocation(service, owner, id, { url, validation_data });
    const { image, task } = await finishImport(service, id);
    expect(task).toMatchObject({ status: "failure" });
    expect(image).toMatchObject({ status: "queued", size: null, locations: [] });
  });
});

describe("data that is replaced while it is hashed", () => {
  it("is hashed anew, as it then is", async () => {
    const { id } = await service.createEmpty(owner);
    const url = source.fileUrl({ size: SIZE, seed: 5, id, "change-at": 2 });
    await beginAddLocation(service, owner, id, { url });
    const { image, task } = await finishImport(service, id);
    expect(task).toMatchObject({ status: "success" });
    expect(image.os_hash_value).toBe(await sha512(6));
  });
});

describe("a location that is taken away while it is hashed", () => {
  it("leaves the image without a hash", async () => {
    const { id } = await service.createEmpty(owner);
    const url = source.fileUrl({ size: SIZE, seed: 1, id, reset: 4096, times: 1 });
    await beginAddLocation(service, owner, id, { url });
    await new TestedObject(id).ring(service.env);
    const other = { url: source.fileUrl({ size: SIZE, seed: 1 }), metadata: {} };
    const operations = [
      { op: "add", path: "/locations/-", value: other },
      { op: "remove", path: "/locations/0" },
    ];
    const response = await patchLocations(service, admin, id, operations);
    expect(response.status, await response.text()).toBe(200);
    const { image, task } = await finishImport(service, id);
    expect(task).toMatchObject({ status: "failure" });
    expect(image).toMatchObject({ status: "active", os_hash_value: null });
  });
});

/* Every call that the work makes of D1 is made to fail once, before or behind its effect. */
describe("an added location of which one call fails", () => {
  async function addWith(failing: number, moment: "before" | "behind", isDeclared: boolean) {
    let calls = 0;
    const around = async <T>(_call: BindingCall, proceed: () => Promise<T>): Promise<T> => {
      const isIt = calls++ === failing;
      if (isIt && moment === "before") throw new Error("Network connection lost.");
      const result = await proceed();
      if (isIt) throw new Error("Network connection lost.");
      return result;
    };
    const DB = interceptD1(env.DB, around);
    const failingService = new Service({ settings: OPEN_LOCATIONS, bindings: { DB } });
    const { id } = await service.createEmpty(owner);
    const url = source.fileUrl({ size: 1000, seed: 2 });
    const hash = { os_hash_algo: "sha512", os_hash_value: await sha512(2, 1000) };
    const validation_data = isDeclared ? hash : {};
    await beginAddLocation(service, owner, id, { url, validation_data });
    await new TestedObject(id).untilAtRest(failingService.env);
    return { id, hasFailed: calls > failing };
  }

  it.each([
    ["before", true],
    ["before", false],
    ["behind", true],
    ["behind", false],
  ] as const)("comes through, failing %s its effect, declared %s", async (moment, isDeclared) => {
    const expected = await sha512(2, 1000);
    for (let failing = 0; ; failing++) {
      const { id, hasFailed } = await addWith(failing, moment, isDeclared);
      if (!hasFailed) {
        expect(failing).toBeGreaterThan(4);
        break;
      }
      const image = await service.show(owner, id);
      expect([failing, image.status, image.stores]).toEqual([failing, "active", "http"]);
      expect(image.os_hash_value).toBe(expected);
      expect(image).not.toHaveProperty("os_glance_import_task");
      const [task] = await tasksOf(service, owner, id);
      expect([failing, task?.status]).toEqual([failing, "success"]);
      expect(await new TestedObject(id).isAtRest()).toBe(true);
    }
  });
});

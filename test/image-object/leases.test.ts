import { abortAllDurableObjects, evictDurableObject, runDurableObjectAlarm } from "cloudflare:test";
import { env } from "cloudflare:workers";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { unwrap } from "../../src/image-object/rpc.ts";
import { owner } from "../support/callers.ts";
import { passTime, resumeTime, stopTime } from "../support/clock.ts";
import {
  expectData,
  expectNothingLeft,
  expectQueued,
  expectRetryWorks,
} from "../support/expect-sound.ts";
import { type Around, interceptR2 } from "../support/intercept.ts";
import { Service } from "../support/service.ts";
import { storedKeys } from "../support/stored-bytes.ts";
import { TestedObject } from "../support/tested-object.ts";
import { bodyOf, bytesOf } from "../support/upload-body.ts";

// Whoever uploads holds the image by a lease that its bytes renew. When it runs out the image is given back.

const MiB = 1024 ** 2;
/** What the default of UPLOAD_LEASE_SECONDS comes to with the time between two renewals. */
const LEASE_SECONDS = 400;
const service = new Service();

beforeEach(stopTime);
afterEach(resumeTime);

const uploader = {
  userId: "member-of-owner-project",
  projectId: owner.projectId,
  scope: "project",
  roles: ["member", "reader"],
  isAnonymous: false,
} as const;

/** How many uploads have run out of time, as GET /metrics tells. */
async function lapses(): Promise<number> {
  const { results } = await env.DB.prepare(
    "SELECT total FROM event_counts WHERE event = 'lapse' AND way = 'file'",
  ).all<{ total: number }>();
  return results[0]?.total ?? 0;
}

/** Claims a new image for an upload of which nothing is heard any more. */
async function claim() {
  const { id } = await service.createEmpty(owner);
  const object = new TestedObject(id);
  const attemptId = crypto.randomUUID();
  const caller = { imageId: id, identity: uploader, rule: "upload_image" } as const;
  const grant = unwrap(
    await object.stub.beginUpload(caller, {
      attemptId,
      purpose: "data",
      storeId: "default",
      declaredBytes: undefined,
    }),
  );
  return { id, object, attemptId, ...grant };
}

describe("an upload of which nothing is heard any more", () => {
  it("UPL-13: is given up by the alarm at its deadline, and not before", async () => {
    const { id, object } = await claim();
    expect(await object.alarmAtMs()).toBe(Date.now() + LEASE_SECONDS * 1000);
    passTime(LEASE_SECONDS - 1);
    // Early, as alarms may be.
    expect(await runDurableObjectAlarm(object.stub)).toBe(true);
    expect(await service.show(owner, id)).toMatchObject({ status: "saving" });
    passTime(1);
    const countedBefore = await lapses();
    expect(await runDurableObjectAlarm(object.stub)).toBe(true);
    expect(await lapses()).toBe(countedBefore + 1);
    await expectQueued(id);
    await expectRetryWorks(id);
    await expectNothingLeft(id);
  });

  it("UPL-13: leaves no bytes of a put behind, not even of one that lands late", async () => {
    const { id, object, key } = await claim();
    passTime(LEASE_SECONDS);
    await object.ringAll();
    await env.BLOBS.put(key, "late");
    await expectQueued(id);
    await expectNothingLeft(id);
  });

  it("UPL-13: leaves no multipart upload behind", async () => {
    const { id, object, attemptId, key } = await claim();
    const multipartId = unwrap(await object.stub.openMultipart(id, attemptId));
    await env.BLOBS.resumeMultipartUpload(key, multipartId).uploadPart(1, bytesOf(5 * MiB));
    passTime(LEASE_SECONDS);
    await object.ringAll();
    await expectQueued(id);
    await expectNothingLeft(id, new Map([[multipartId, key]]));
  });

  it("UPL-13: leaves no bytes behind when it had been completed, but not committed", async () => {
    const { id, object, attemptId, key } = await claim();
    const multipartId = unwrap(await object.stub.openMultipart(id, attemptId));
    const upload = env.BLOBS.resumeMultipartUpload(key, multipartId);
    await upload.complete([await upload.uploadPart(1, bytesOf(MiB))]);
    passTime(LEASE_SECONDS);
    await object.ringAll();
    await expectQueued(id);
    await expectNothingLeft(id);
  });

  it("UPL-13: holds the image until its deadline and not longer, even if the alarm is late", async () => {
    const { id } = await claim();
    passTime(LEASE_SECONDS - 1);
    expect((await service.upload(owner, id, "hello")).status).toBe(409);
    passTime(1);
    await expectRetryWorks(id);
    await expectNothingLeft(id);
  });

  it("UPL-13: is given up by the deadline that UPLOAD_LEASE_SECONDS sets", async () => {
    const { id, object } = await claim();
    const hasty = new Service({ settings: { UPLOAD_LEASE_SECONDS: "6" } });
    passTime(LEASE_SECONDS);
    await object.ringAll();
    const body = bodyOf(async function* () {
      expect(await object.alarmAtMs()).toBe(Date.now() + 8_000);
      yield bytesOf(1);
    });
    expect((await hasty.upload(owner, id, body)).status).toBe(204);
  });

  it("UPL-11: is granted again to the same attempt, whose first answer was lost, and to no other", async () => {
    const { id } = await service.createEmpty(owner);
    const { stub } = new TestedObject(id);
    const caller = { imageId: id, identity: uploader, rule: "upload_image" } as const;
    const ask = (attemptId: string) =>
      stub.beginUpload(caller, {
        attemptId,
        purpose: "data",
        storeId: "default",
        declaredBytes: undefined,
      });
    const attemptId = crypto.randomUUID();
    const first = unwrap(await ask(attemptId));
    expect(unwrap(await ask(attemptId))).toEqual(first);
    expect(await ask(crypto.randomUUID())).toMatchObject({ ok: false, code: "image_not_queued" });
  });

  it("UPL-13: lets the image be deleted, and leaves no bytes", async () => {
    const { id, object, key } = await claim();
    await env.BLOBS.put(key, "there already");
    expect((await service.call(owner, "DELETE", `/v2/images/${id}`)).status).toBe(204);
    // At once, not when the lease ends.
    await object.ringAll();
    expect(await storedKeys(id)).toEqual([]);
    await expectNothingLeft(id);
  });
});

/** Uploads chunk by chunk; `between` happens before each but the first. */
async function uploadSlowly(
  id: string,
  chunks: readonly Uint8Array[],
  between: (chunk: number) => Promise<unknown>,
  through: Service = service,
): Promise<Response> {
  const size = chunks.reduce((sum, { length }) => sum + length, 0);
  const body = bodyOf(async function* () {
    for (const [index, chunk] of chunks.entries()) {
      if (index > 0) await between(index);
      yield chunk;
    }
  });
  return through.upload(owner, id, body, { "x-openstack-image-size": String(size) });
}

describe.each([
  { kind: "one put", data: bytesOf(40), longestPut: MiB },
  { kind: "one put that streams", data: bytesOf(20 * MiB), longestPut: 100 * MiB },
  { kind: "parts", data: bytesOf(20 * MiB), longestPut: 0 },
])("a slow upload in $kind", ({ data, longestPut }) => {
  const settings = { SINGLE_PUT_MAX_BYTES: String(longestPut) };
  const through = new Service({ settings });
  const isInParts = longestPut === 0;
  const chunks = Array.from({ length: 10 }, (_, index) =>
    data.subarray((index * data.length) / 10, ((index + 1) * data.length) / 10),
  );

  /** Lets the lease run out, when nothing that would renew it is under way. */
  async function outlastLease(object: TestedObject): Promise<void> {
    if (isInParts) await object.uploadInParts();
    passTime(LEASE_SECONDS);
  }

  it("UPL-9: keeps its lease as long as bytes come, however long it takes", async () => {
    const { id } = await service.createEmpty(owner);
    const object = new TestedObject(id);
    const response = await uploadSlowly(
      id,
      chunks,
      async () => {
        passTime(LEASE_SECONDS * 0.6);
        await object.ringAll();
        expect(await service.show(owner, id)).toMatchObject({ status: "saving" });
      },
      through,
    );
    expect(response.status).toBe(204);
    await expectData(id, data);
    await expectNothingLeft(id);
  });

  it("UPL-9: tells the object of its bytes four times a lease at the most", async () => {
    const { id } = await service.createEmpty(owner);
    let renewals = 0;
    const around: Around = ({ operation }, proceed) => {
      if (operation === "renewLease") renewals += 1;
      return proceed();
    };
    const counted = new Service({ settings, aroundObjects: around });
    const pause = 40;
    const between = async () => passTime(pause);
    expect((await uploadSlowly(id, chunks, between, counted)).status).toBe(204);
    const leases = (pause * (chunks.length - 1)) / LEASE_SECONDS;
    expect(renewals).toBeGreaterThan(0);
    expect(renewals).toBeLessThanOrEqual(4 * leases);
  });

  it("UPL-13: gets 409 when it comes back after it was given up, and leaves no bytes", async () => {
    const { id } = await service.createEmpty(owner);
    const object = new TestedObject(id);
    const response = await uploadSlowly(
      id,
      chunks,
      async (index) => {
        if (index !== 6) return;
        await outlastLease(object);
        await object.ringAll();
        await expectQueued(id);
      },
      through,
    );
    expect(response.status).toBe(409);
    await expectQueued(id);
    await expectRetryWorks(id);
    await expectNothingLeft(id);
  });

  it("UPL-13: gets 409 and changes nothing when another took the image over", async () => {
    const { id } = await service.createEmpty(owner);
    const other = bytesOf(8 * MiB + 5, 9);
    const response = await uploadSlowly(
      id,
      chunks,
      async (index) => {
        if (index !== 6) return;
        await outlastLease(new TestedObject(id));
        expect((await service.upload(owner, id, other)).status).toBe(204);
      },
      through,
    );
    expect(response.status).toBe(409);
    await expectData(id, other);
    await expectNothingLeft(id);
  });

  it("UPL-13: gets 409 while another that took the image over goes on", async () => {
    const { id } = await service.createEmpty(owner);
    const other = bytesOf(30, 9);
    let second: Promise<Response> | undefined;
    let release = () => {};
    const isReleased = new Promise<void>((resolve) => {
      release = resolve;
    });
    const response = await uploadSlowly(
      id,
      chunks,
      async (index) => {
        if (index !== 6) return;
        await outlastLease(new TestedObject(id));
        const hasBegun = new Promise<void>((resolve) => {
          const body = bodyOf(async function* () {
            resolve();
            yield other.subarray(0, 10);
            await isReleased;
            yield other.subarray(10);
          });
          second = service.upload(owner, id, body);
        });
        await hasBegun;
      },
      through,
    );
    expect(response.status).toBe(409);
    expect(await service.show(owner, id)).toMatchObject({ status: "saving" });
    release();
    expect((await second)?.status).toBe(204);
    await expectData(id, other);
    await expectNothingLeft(id);
  });

  const interruptions: [string, (object: TestedObject) => Promise<void>][] = [
    ["is evicted", (object) => evictDurableObject(object.stub)],
  ];
  // The bucket is an object too, locally: a put that streams into it would end with it.
  if (data.length < MiB || isInParts) {
    interruptions.push(["is restarted", () => abortAllDurableObjects()]);
  }
  it.each(interruptions)(
    "UPL-1: is not lost when its object %s on the way",
    async (_, interrupt) => {
      const { id } = await service.createEmpty(owner);
      const object = new TestedObject(id);
      const response = await uploadSlowly(
        id,
        chunks,
        async (index) => {
          passTime(LEASE_SECONDS / 2);
          if (index < 6) return;
          // An eviction finds no call under way; one that is, is another test's.
          if (isInParts) await object.uploadInParts();
          await interrupt(object);
        },
        through,
      );
      expect(response.status).toBe(204);
      await expectData(id, data);
      await expectNothingLeft(id);
    },
  );
});

describe("a put that outlasts its lease", () => {
  it("UPL-13: gets 409, and its bytes go, though the object has forgotten all about it", async () => {
    const { id } = await service.createEmpty(owner);
    const around: Around = async ({ operation }, proceed) => {
      if (operation === "put") {
        passTime(LEASE_SECONDS);
        await new TestedObject(id).untilAtRest();
      }
      return proceed();
    };
    const slow = new Service({ bindings: { BLOBS: interceptR2(env.BLOBS, around) } });
    expect((await slow.upload(owner, id, "hello")).status).toBe(409);
    expect(await storedKeys(id)).toEqual([]);
    await expectQueued(id);
    await expectRetryWorks(id);
  });
});

describe("a token", () => {
  it("UPL-14: is asked for once: an upload that outlives it is finished", async () => {
    const { id } = await service.createEmpty(owner);
    const headers = { "x-auth-token": await owner.token() };
    const response = await uploadSlowly(id, [bytesOf(5), bytesOf(5)], async () => {
      passTime(4 * 3600);
      const shown = await service.call(null, "GET", `/v2/images/${id}`, { headers });
      expect(shown.status).toBe(401);
    });
    expect(response.status).toBe(204);
  });
});

import { env } from "cloudflare:workers";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { Breakdown, type BreakdownPlan } from "../support/breakdown.ts";
import { owner } from "../support/callers.ts";
import { resumeTime, stopTime } from "../support/clock.ts";
import {
  expectData,
  expectNothingLeft,
  expectQueued,
  expectRetryWorks,
} from "../support/expect-sound.ts";
import { interceptD1, interceptR2 } from "../support/intercept.ts";
import { Service } from "../support/service.ts";
import { findStrays } from "../support/stored-bytes.ts";
import { TestedObject } from "../support/tested-object.ts";
import { bytesOf } from "../support/upload-body.ts";

// An upload is a handful of calls to D1, R2 and the image's object. Here each of them fails in turn: it is not
// made, or it is made and its answer is lost; once, or until somebody mends it. Whatever happens, an acknowledged
// upload is there, an image never sticks in `saving`, and in the end nobody's bytes are left.

const MiB = 1024 ** 2;

beforeEach(stopTime);
afterEach(resumeTime);

const HOW = ["refused", "unheard"] as const;

/** Each of the calls, which come in this order, failing in each way. */
function failing(...calls: readonly string[]) {
  return calls.flatMap((call, index) =>
    HOW.flatMap((how) => [
      { call, nth: index + 1, how, lasts: false, fails: how },
      { call, nth: index + 1, how, lasts: true, fails: `${how} until mended` },
    ]),
  );
}

/** A bucket that remembers the multipart uploads that were begun, by id, and their keys. */
class WatchedBucket {
  readonly multipartIds = new Map<string, string>();
  readonly bucket = interceptR2(env.BLOBS, async (call, proceed) => {
    const answer = await proceed();
    if (call.operation === "createMultipartUpload" && isMultipart(answer)) {
      this.multipartIds.set(answer.uploadId, answer.key);
    }
    return answer;
  });
}

function isMultipart(answer: unknown): answer is R2MultipartUpload {
  return typeof answer === "object" && answer !== null && "uploadId" in answer;
}

/** Uploads while something breaks down, mends it, and demands a sound end. */
async function expectSoundEnd(
  size: number,
  plan: BreakdownPlan,
  where: "db" | "blobs" | "objects",
  settings: Readonly<Record<string, string>> = {},
) {
  const breakdown = new Breakdown(plan);
  const watched = new WatchedBucket();
  const broken = new Service({
    settings,
    bindings: {
      DB: where === "db" ? interceptD1(env.DB, breakdown.around) : env.DB,
      BLOBS: where === "blobs" ? interceptR2(watched.bucket, breakdown.around) : watched.bucket,
    },
    ...(where === "objects" && { aroundObjects: breakdown.around }),
  });
  const { id } = await new Service().createEmpty(owner);
  const data = bytesOf(size);
  const response = await broken.upload(owner, id, data, { "content-length": String(size) });
  expect(breakdown.hits).toBeGreaterThan(0);
  expect([204, 500, 503]).toContain(response.status);
  expect(await findStrays(id)).toEqual([]);
  if (response.status === 204) await expectData(id, data);

  const object = new TestedObject(id);
  await object.ring(broken.env);
  breakdown.mend();
  await object.untilAtRest();
  const { status } = await new Service().show(owner, id);
  if (response.status === 204 || status === "active") {
    await expectData(id, data);
  } else {
    await expectQueued(id);
    await expectRetryWorks(id);
  }
  await expectNothingLeft(id, watched.multipartIds);
}

describe("an upload in one put", () => {
  it.each(failing("first read", "claim", "second read", "commit"))(
    "UPL-13, STO-13: survives that D1's $call is $fails",
    (plan) => expectSoundEnd(10, plan, "db"),
  );

  it.each(failing("put"))("UPL-13, STO-13: survives that R2's $call is $fails", (plan) =>
    expectSoundEnd(10, plan, "blobs"),
  );

  it.each(failing("beginUpload", "finishUpload"))(
    "UPL-13, STO-13: survives that the object's $call is $fails",
    (plan) => expectSoundEnd(10, plan, "objects"),
  );
});

describe("an upload that goes straight through in one put", () => {
  const size = 8 * MiB + 1;

  it.each(failing("first read", "claim", "second read", "commit").filter(({ lasts }) => lasts))(
    "UPL-13, STO-13: survives that D1's $call is $fails",
    (plan) => expectSoundEnd(size, plan, "db"),
  );

  it.each(failing("put"))("UPL-13, STO-13: survives that R2's $call is $fails", (plan) =>
    expectSoundEnd(size, plan, "blobs"),
  );

  it.each(failing("beginUpload", "finishUpload").filter(({ lasts }) => lasts))(
    "UPL-13, STO-13: survives that the object's $call is $fails",
    (plan) => expectSoundEnd(size, plan, "objects"),
  );
});

describe("an upload in two parts", () => {
  const size = 8 * MiB + 1;
  const settings = { SINGLE_PUT_MAX_BYTES: "0" };

  it.each(failing("first read", "claim", "second read", "commit").filter(({ lasts }) => lasts))(
    "UPL-13, STO-13: survives that D1's $call is $fails",
    (plan) => expectSoundEnd(size, plan, "db", settings),
  );

  // An upload that R2 began without our hearing of it has no parts, and R2 drops it after seven days.
  it.each(
    failing("beginning", "first part", "second part", "completion").filter(
      ({ call, how }) => call !== "beginning" || how === "refused",
    ),
  )("UPL-13, STO-13: survives that R2's $call is $fails", (plan) =>
    expectSoundEnd(size, plan, "blobs", settings),
  );

  it.each(failing("beginUpload", "openMultipart", "finishUpload").filter(({ lasts }) => lasts))(
    "UPL-13, STO-13: survives that the object's $call is $fails",
    (plan) => expectSoundEnd(size, plan, "objects", settings),
  );
});

describe("the end of an upload that failed", () => {
  // R2 refuses the put, and then one of the calls that clean up fails too.
  it.each(failing("read", "claim", "second read", "giving back").slice(-8))(
    "UPL-13: survives that D1's $call is $fails",
    async (plan) => {
      const { id } = await new Service().createEmpty(owner);
      const refusal = new Breakdown({
        nth: 1,
        how: "refused",
        only: (call) => call.operation === "put",
      });
      const breakdown = new Breakdown(plan);
      const broken = new Service({
        bindings: {
          DB: interceptD1(env.DB, breakdown.around),
          BLOBS: interceptR2(env.BLOBS, refusal.around),
        },
      });
      expect((await broken.upload(owner, id, "hello")).status).toBe(503);
      expect(breakdown.hits).toBeGreaterThan(0);
      await new TestedObject(id).ring(broken.env);
      breakdown.mend();
      await new TestedObject(id).untilAtRest();
      await expectQueued(id);
      await expectRetryWorks(id);
      await expectNothingLeft(id);
    },
  );

  it("UPL-13: needs no lease to run out when it was the claim that was refused", async () => {
    const { id } = await new Service().createEmpty(owner);
    const claim = new Breakdown({ nth: 2, how: "refused" });
    const broken = new Service({ bindings: { DB: interceptD1(env.DB, claim.around) } });
    expect((await broken.upload(owner, id, "hello")).status).toBe(500);
    await expectQueued(id);
    await expectRetryWorks(id);
    await expectNothingLeft(id);
  });

  it("UPL-1: goes on, where only D1's answer to the claim was lost", async () => {
    const { id } = await new Service().createEmpty(owner);
    const claim = new Breakdown({ nth: 2, how: "unheard" });
    const broken = new Service({ bindings: { DB: interceptD1(env.DB, claim.around) } });
    expect((await broken.upload(owner, id, "hello")).status).toBe(204);
    expect(claim.hits).toBe(1);
    await expectData(id, new TextEncoder().encode("hello"));
    await expectNothingLeft(id);
  });

  it("UPL-1: is the success it was, where D1's answer to the commit was lost", async () => {
    const { id } = await new Service().createEmpty(owner);
    const commit = new Breakdown({ nth: 4, how: "unheard" });
    const broken = new Service({ bindings: { DB: interceptD1(env.DB, commit.around) } });
    expect((await broken.upload(owner, id, "hello")).status).toBe(204);
    expect(commit.hits).toBe(1);
    await expectData(id, new TextEncoder().encode("hello"));
    await expectNothingLeft(id);
  });

  it("UPL-1: is the success it was, where only the commit's answer was lost", async () => {
    const { id } = await new Service().createEmpty(owner);
    const finish = new Breakdown({
      nth: 1,
      how: "unheard",
      only: ({ operation }) => operation === "finishUpload",
    });
    const unheard = new Service({ aroundObjects: finish.around });
    expect((await unheard.upload(owner, id, "hello")).status).toBe(204);
    expect(finish.hits).toBe(1);
    await expectData(id, new TextEncoder().encode("hello"));
    await expectNothingLeft(id);
  });

  it.each(["openMultipart", "finishUpload"])(
    "UPL-1: is a success although %s met an object that was just restarted",
    async (operation) => {
      const error = Object.assign(new Error("The object was reset."), { retryable: true });
      for (const how of HOW) {
        const { id } = await new Service().createEmpty(owner);
        const only = (call: { operation: string }) => call.operation === operation;
        const restart = new Breakdown({ nth: 1, how, only, error });
        const settings = { SINGLE_PUT_MAX_BYTES: "0" };
        const restarted = new Service({ settings, aroundObjects: restart.around });
        const data = bytesOf(8 * MiB + 1);
        const headers = { "content-length": String(data.length) };
        expect((await restarted.upload(owner, id, data, headers)).status).toBe(204);
        expect(restart.hits).toBe(1);
        await expectData(id, data);
        await expectNothingLeft(id);
      }
    },
  );
});

import { env } from "cloudflare:workers";
import fc from "fast-check";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { owner } from "../support/callers.ts";
import { resumeTime, stopTime } from "../support/clock.ts";
import {
  expectData,
  expectNothingLeft,
  expectQueued,
  expectRetryWorks,
} from "../support/expect-sound.ts";
import { type Around, type BindingCall, interceptD1 } from "../support/intercept.ts";
import { type CallOptions, Service } from "../support/service.ts";
import { TestedObject } from "../support/tested-object.ts";
import { bytesOf } from "../support/upload-body.ts";

// An object that was replaced can live on for a moment, and a write can land later than its writer learnt. Neither
// may write over what is newer: each write holds only at the revision it was decided on.

const service = new Service();

beforeEach(stopTime);
afterEach(resumeTime);

function isWrite({ statements = [] }: BindingCall): boolean {
  return statements.some(({ sql }) => !/^\s*select/i.test(sql));
}

/** A service whose objects are behind: somebody else changes the image just before their n-th write of it. */
function behindAt(nthWrite: number, change = "name = 'newer'"): Service {
  let writes = 0;
  const around: Around = async (call, proceed) => {
    if (isWrite(call)) {
      writes += 1;
      if (writes === nthWrite) {
        await env.DB.prepare(
          `UPDATE images SET revision = revision + 1, ${change} WHERE status <> 'deleted'`,
        ).run();
      }
    }
    return proceed();
  };
  return new Service({ bindings: { DB: interceptD1(env.DB, around) } });
}

describe("an object that is behind", () => {
  const member = { json: { member: "other-project" } };
  it.each<[string, string, CallOptions]>([
    ["PATCH", "", { patch: [{ op: "replace", path: "/name", value: "older" }] }],
    ["PUT", "/tags/older", {}],
    ["DELETE", "/tags/old", {}],
    ["POST", "/actions/deactivate", {}],
    ["POST", "/members", member],
    ["DELETE", "/members/member-project", {}],
    ["DELETE", "", {}],
  ])("cannot write over a newer state: %s %s", async (method, path, options) => {
    const { id } = await service.createActive(owner, "hello", { tags: ["old"] });
    await service.call(owner, "POST", `/v2/images/${id}/members`, {
      json: { member: "member-project" },
    });
    const before = await service.show(owner, id);
    const response = await behindAt(1).call(owner, method, `/v2/images/${id}${path}`, options);
    expect(response.status).toBe(409);
    expect(await service.show(owner, id)).toEqual({ ...before, name: "newer" });
    await expectData(id, new TextEncoder().encode("hello"));
    await expectNothingLeft(id);
  });

  it.each([
    ["claims it", 1],
    ["commits it", 2],
  ])("UPL-12: cannot upload over a newer state when it %s", async (_, nthWrite) => {
    const { id } = await service.createEmpty(owner);
    expect((await behindAt(nthWrite).upload(owner, id, "hello")).status).toBe(409);
    await expectQueued(id);
    expect(await service.show(owner, id)).toMatchObject({ name: "newer" });
    await expectRetryWorks(id);
    await expectNothingLeft(id);
  });

  it("UPL-11: does not give back an image that another has just claimed", async () => {
    const { id } = await service.createEmpty(owner);
    const behind = behindAt(1, "status = 'saving'");
    expect((await behind.upload(owner, id, "hello")).status).toBe(409);
    expect(await service.show(owner, id)).toMatchObject({ status: "saving" });
  });

  it("cannot lose what another acknowledged, in whatever order they read and write", async () => {
    await fc.assert(
      fc.asyncProperty(fc.scheduler(), async (scheduler) => {
        const { id } = await service.createEmpty(owner);
        const around: Around = async (_, proceed) => {
          await scheduler.schedule(Promise.resolve());
          return proceed();
        };
        // Each call runs on an instance of its own, and they share no lock.
        const others = new Service({ bindings: { DB: interceptD1(env.DB, around) } });
        const tags = ["a", "b", "c", "d"];
        const calls = tags.map((tag) => others.call(owner, "PUT", `/v2/images/${id}/tags/${tag}`));
        const responses = await scheduler.waitFor(Promise.all(calls));
        const kept = tags.filter((_, index) => responses[index]?.status === 204);
        expect(responses.every(({ status }) => status === 204 || status === 409)).toBe(true);
        expect(kept.length).toBeGreaterThan(0);
        expect((await service.show(owner, id)).tags.toSorted()).toEqual(kept);
      }),
      { numRuns: 15 },
    );
  });
});

/** A service that loses the answer to its n-th write, which is made later: in front of a later call to D1, or by hand. */
class LateWrite {
  land: () => Promise<unknown> = () => Promise.reject(new Error("there was no such write"));
  readonly service: Service;
  #writes = 0;
  #calls = 0;

  constructor(nthWrite: number, callsLater: number) {
    const around: Around = async (call, proceed) => {
      if (this.#writes === nthWrite) {
        this.#calls += 1;
        if (this.#calls === callsLater) await this.land();
      } else if (isWrite(call)) {
        this.#writes += 1;
        if (this.#writes === nthWrite) {
          this.land = proceed;
          throw new Error("the connection was lost");
        }
      }
      return proceed();
    };
    this.service = new Service({ bindings: { DB: interceptD1(env.DB, around) } });
  }
}

const BY_HAND = Number.POSITIVE_INFINITY;

describe("a write that lands late", () => {
  it.each([
    ...[1, 2, 3, BY_HAND].map((later) => ({ what: "claim", nthWrite: 1, later })),
    ...[1, 2, 3, 4, BY_HAND].map((later) => ({ what: "commit", nthWrite: 2, later })),
  ])(
    "UPL-13: leaves the image sound: its $what, $later calls later",
    async ({ nthWrite, later }) => {
      const { id } = await service.createEmpty(owner);
      const data = bytesOf(10);
      const late = new LateWrite(nthWrite, later);
      const response = await late.service.upload(owner, id, data);
      const object = new TestedObject(id);
      await object.ringAll(late.service.env);
      if (later === BY_HAND) await late.land();
      await object.untilAtRest(late.service.env);
      const { status } = await service.show(owner, id);
      if (response.status === 204 || status === "active") {
        await expectData(id, data);
      } else {
        await expectQueued(id);
        await expectRetryWorks(id);
      }
      await expectNothingLeft(id);
    },
  );

  it.each([1, BY_HAND])(
    "UPL-10: is a deletion that leaves nothing, %d calls later",
    async (later) => {
      const { id } = await service.createActive(owner, "hello");
      const late = new LateWrite(1, later);
      const response = await late.service.call(owner, "DELETE", `/v2/images/${id}`);
      expect(response.status).toBe(500);
      const object = new TestedObject(id);
      await object.ringAll(late.service.env);
      if (later === BY_HAND) {
        await expectData(id, new TextEncoder().encode("hello"));
        await late.land();
      }
      await object.untilAtRest(late.service.env);
      expect((await service.call(owner, "GET", `/v2/images/${id}`)).status).toBe(404);
      await expectNothingLeft(id);
    },
  );
});

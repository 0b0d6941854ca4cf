import { abortAllDurableObjects, evictDurableObject } from "cloudflare:test";
import fc from "fast-check";
import { afterEach, beforeEach, expect, it } from "vitest";
import { owner } from "../support/callers.ts";
import { passTime, resumeTime, stopTime } from "../support/clock.ts";
import { expectData, expectNothingLeft, expectQueued } from "../support/expect-sound.ts";
import { OpenBody } from "../support/open-body.ts";
import { Service } from "../support/service.ts";
import { TestedObject } from "../support/tested-object.ts";
import { bytesOf } from "../support/upload-body.ts";

// Several uploads to one image, changes, its deletion, restarts of its object, time and alarms, in any order. What was
// acknowledged is there, at most one upload is, and nothing else is left.

const MiB = 1024 ** 2;
const service = new Service();

beforeEach(stopTime);
afterEach(resumeTime);

/** One upload as its client plays it: two halves, which may come, break off, or never come. */
class Sender {
  readonly #body = new OpenBody();
  readonly data: Uint8Array;
  status: number | undefined;
  readonly #isAnswered: Promise<void>;
  #sent = 0;

  constructor(imageId: string, seed: number, size: number) {
    this.data = bytesOf(size, seed);
    const announced = { "x-openstack-image-size": String(size) };
    this.#isAnswered = service
      .upload(owner, imageId, this.#body.stream, announced)
      .then(({ status }) => {
        this.status = status;
      });
  }

  async sendHalf(): Promise<void> {
    const from = this.#sent;
    if (from >= this.data.length) return;
    this.#sent += Math.ceil(this.data.length / 2);
    await this.#unlessAnswered(this.#body.send(this.data.subarray(from, this.#sent)));
    if (this.#sent >= this.data.length) await this.#unlessAnswered(this.#body.end());
  }

  async breakOff(): Promise<void> {
    await this.#unlessAnswered(this.#body.breakOff());
  }

  /** Sees the upload to its end; one that did not send everything has gone. */
  async settle(): Promise<void> {
    if (this.#sent < this.data.length) await this.breakOff();
    await this.#isAnswered;
  }

  async #unlessAnswered(step: Promise<void>): Promise<void> {
    await Promise.race([step, this.#isAnswered]);
  }
}

/** The image, and what its clients know of it. */
class World {
  readonly senders: Sender[] = [];
  readonly tags: string[] = [];
  isDeleted = false;

  constructor(readonly imageId: string) {}

  get object(): TestedObject {
    return new TestedObject(this.imageId);
  }

  call(method: string, path = ""): Promise<Response> {
    return service.call(owner, method, `/v2/images/${this.imageId}${path}`);
  }
}

type Step = (world: World) => Promise<unknown>;

const begin =
  (size: number): Step =>
  async (world) => {
    if (world.senders.length >= SENDERS.length) return;
    world.senders.push(new Sender(world.imageId, world.senders.length + 1, size));
    // It may get as far as it likes before the next step.
    await scheduler.wait(1);
  };

async function tag(world: World): Promise<void> {
  const name = `tag-${world.tags.length}`;
  if ((await world.call("PUT", `/tags/${name}`)).status === 204) world.tags.push(name);
}

async function remove(world: World): Promise<void> {
  if ((await world.call("DELETE")).status === 204) world.isDeleted = true;
}

const SENDERS = [0, 1, 2, 3];

/** What may happen, and how often beside the rest. */
const STEPS: Readonly<Record<string, { weight: number; step: Step }>> = {
  begin: { weight: 6, step: begin(10) },
  "begin in parts": { weight: 2, step: begin(9 * MiB) },
  "50 seconds": { weight: 2, step: async () => passTime(50) },
  "150 seconds": { weight: 2, step: async () => passTime(150) },
  "300 seconds": { weight: 2, step: async () => passTime(300) },
  ring: { weight: 6, step: ({ object }) => object.ringAll() },
  tag: { weight: 2, step: tag },
  delete: { weight: 1, step: remove },
  // Refused where the object is not in memory.
  evict: { weight: 1, step: ({ object }) => evictDurableObject(object.stub).catch(() => {}) },
  restart: { weight: 1, step: () => abortAllDurableObjects() },
  ...Object.fromEntries(
    SENDERS.flatMap((n) => [
      [`half of ${n}`, { weight: 4, step: async (world: World) => world.senders[n]?.sendHalf() }],
      [`${n} leaves`, { weight: 1, step: async (world: World) => world.senders[n]?.breakOff() }],
    ]),
  ),
};

const anySteps = fc.array(
  fc.oneof(
    ...Object.entries(STEPS).map(([name, { weight }]) => ({
      weight,
      arbitrary: fc.constant(name),
    })),
  ),
  { minLength: 4, maxLength: 25 },
);

async function expectSound(world: World): Promise<void> {
  await Promise.all(world.senders.map((upload) => upload.settle()));
  await world.object.untilAtRest();
  const statuses = world.senders.map(({ status }) => status);
  // 500 is what a call gets whose object was restarted under it.
  for (const status of statuses) expect([204, 400, 404, 409, 410, 500, 503]).toContain(status);
  const winners = world.senders.filter(({ status }) => status === 204);
  expect(winners.length).toBeLessThanOrEqual(1);
  const shown = await world.call("GET");
  if (world.isDeleted) {
    expect(shown.status).toBe(404);
  } else if (shown.status === 200) {
    const image: { status: string; tags: string[] } = await shown.json();
    expect(image.tags).toEqual(expect.arrayContaining(world.tags));
    if (image.status === "active") {
      const unheard = world.senders.filter(({ status }) => status === 500);
      const kept = winners[0] ?? unheard[0];
      expect(kept).toBeDefined();
      if (winners[0] !== undefined || unheard.length === 1) {
        await expectData(world.imageId, kept?.data ?? new Uint8Array());
      }
    } else {
      expect(winners).toEqual([]);
      await expectQueued(world.imageId);
    }
  }
  await expectNothingLeft(world.imageId);
}

it("UPL-8, UPL-10, UPL-12, UPL-13: keeps its promises in whatever order things happen", async () => {
  await fc.assert(
    fc.asyncProperty(anySteps, async (steps) => {
      stopTime();
      const { id } = await service.createEmpty(owner);
      const world = new World(id);
      for (const name of steps) await STEPS[name]?.step(world);
      await expectSound(world);
    }),
    { numRuns: 40, endOnFailure: true },
  );
}, 60_000);

import { describe, expect, it } from "vitest";
import { HashTurns } from "../../../src/auth/hash-turns.ts";

/** A clock that moves when somebody waits, or computes: the earliest of those who wait goes on next. */
class Clock {
  nowMs = 0;
  readonly #sleeping: { untilMs: number; wake: () => void }[] = [];

  readonly now = () => this.nowMs;

  readonly wait = (ms: number) =>
    new Promise<void>((wake) => {
      this.#sleeping.push({ untilMs: this.nowMs + ms, wake });
    });

  runUntilIdle(): Promise<void> {
    return this.runUntil(() => false);
  }

  async runUntil(isOver: () => boolean): Promise<void> {
    for (let wakes = 0; !isOver(); wakes++) {
      if (wakes > 3_000) throw new Error("somebody waits for ever");
      await settled();
      this.#sleeping.sort((a, b) => a.untilMs - b.untilMs);
      const next = this.#sleeping.shift();
      if (next === undefined) return;
      this.nowMs = Math.max(this.nowMs, next.untilMs);
      next.wake();
    }
  }
}

/** Every promise that can go on has done so. */
const settled = () => scheduler.wait(0);

function turns() {
  const clock = new Clock();
  return { clock, turns: new HashTurns(clock.now, clock.wait) };
}

describe("BI-7: turns at password hashes", () => {
  it("come one at a time, with a rest of thrice the time that the last one took", async () => {
    const { clock, turns: queue } = turns();
    const began: number[] = [];
    const hash = async () => {
      began.push(clock.nowMs);
      clock.nowMs += 50;
    };
    const all = Promise.all(Array.from({ length: 5 }, () => queue.run(false, "one", hash)));
    await clock.runUntilIdle();
    await all;
    const pauses = began.slice(1).map((at, n) => at - (began[n] ?? 0));
    for (const pause of pauses) {
      expect(pause).toBeGreaterThanOrEqual(200);
      expect(pause).toBeLessThan(300);
    }
  });

  it("come at once when nobody else hashes", async () => {
    const { clock, turns: queue } = turns();
    for (let n = 0; n < 3; n++) {
      const before = clock.nowMs;
      const turn = queue.run(false, "one", async () => clock.nowMs);
      await clock.runUntilIdle();
      expect(await turn).toBe(before);
      clock.nowMs += 500;
    }
  });

  it("are given to known ones first", async () => {
    const { clock, turns: queue } = turns();
    const order: string[] = [];
    const hash = (name: string) => async () => {
      order.push(name);
      clock.nowMs += 50;
    };
    const all = [
      queue.run(false, "one", hash("first")),
      ...["stranger 1", "stranger 2"].map((name) => queue.run(false, "one", hash(name))),
      queue.run(true, "one", hash("known")),
    ];
    await clock.runUntilIdle();
    await Promise.all(all);
    expect(order).toEqual(["first", "known", "stranger 1", "stranger 2"]);
  });

  it("are refused when 200 wait, of strangers and of known ones each", async () => {
    const { turns: queue } = turns();
    const never = () => new Promise(() => undefined);
    const endOf = (isKnown: boolean) =>
      Promise.race([queue.run(isKnown, "one", never).catch((cause: unknown) => cause), settled()]);
    const refusal = { code: "sign_ins_waiting", status: 503, detail: { retryAfter: 5 } };
    // One of them has its turn at once.
    for (let n = 0; n < 201; n++) void queue.run(false, "one", never);
    expect(await endOf(false)).toMatchObject(refusal);
    for (let n = 0; n < 199; n++) void queue.run(true, "one", never);
    expect(await endOf(true)).toBeUndefined();
    expect(await endOf(true)).toMatchObject(refusal);
  });

  it("come to everybody before anybody has another", async () => {
    const { clock, turns: queue } = turns();
    const order: string[] = [];
    const wait = (name: string, whose: string) =>
      queue.run(false, whose, async () => {
        order.push(name);
        clock.nowMs += 50;
      });
    const all = ["a1", "a2", "a3", "a4", "b1", "b2", "c1"].map((name) =>
      wait(name, name.slice(0, 1)),
    );
    await clock.runUntilIdle();
    await Promise.all(all);
    expect(order).toEqual(["a1", "a2", "b1", "c1", "a3", "b2", "a4"]);
  });

  it("are there for a newcomer when 200 wait of one address, the last of which is refused", async () => {
    const { clock, turns: queue } = turns();
    const order: string[] = [];
    const wait = (whose: string) =>
      queue
        .run(false, whose, async () => {
          order.push(whose);
          clock.nowMs += 50;
        })
        .catch((cause: unknown) => order.push(`${whose}: ${(cause as { code: string }).code}`));
    for (let n = 0; n < 201; n++) void wait("many");
    await settled();
    void wait("new");
    const refused = "many: sign_ins_waiting";
    await clock.runUntil(() => order.includes("new") && order.includes(refused));
    expect(order.indexOf("new")).toBeLessThanOrEqual(3);
    expect(order.filter((entry) => entry === refused)).toHaveLength(1);
  });

  it("go on when one who waits, or hashes, is cut off and never heard of again", async () => {
    const { clock, turns: queue } = turns();
    void queue.run(false, "one", () => new Promise(() => undefined));
    await settled();
    const next = queue.run(false, "one", async () => clock.nowMs);
    await clock.runUntilIdle();
    expect(await next).toBeLessThan(10_000);
  });

  it("come to all that wait, however long nothing on the isolate went on", async () => {
    const { clock, turns: queue } = turns();
    const order: number[] = [];
    const hash = (name: number, tookMs: number) => async () => {
      order.push(name);
      clock.nowMs += tookMs;
    };
    const all = [queue.run(false, "one", hash(0, 20_000))];
    for (const name of [1, 2, 3]) all.push(queue.run(name === 2, "one", hash(name, 50)));
    await clock.runUntilIdle();
    await Promise.all(all);
    expect(order.toSorted()).toEqual([0, 1, 2, 3]);
  });

  it("end when the work fails, with its error", async () => {
    const { clock, turns: queue } = turns();
    const failing = queue.run(false, "one", async () => {
      throw new Error("no");
    });
    const outcome = failing.catch((cause: unknown) => cause);
    await clock.runUntilIdle();
    expect(await outcome).toMatchObject({ message: "no" });
    const next = queue.run(false, "one", async () => "in");
    await clock.runUntilIdle();
    expect(await next).toBe("in");
  });
});

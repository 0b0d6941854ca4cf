import { describe, expect, it } from "vitest";
import { Timings, timed, withTimings } from "../../../src/lib/timings.ts";

describe("the time that a request waits", () => {
  it("is told by what it waits for, in the order of the first calls", () => {
    const timings = new Timings();
    timings.add("object", 3.6);
    timings.add("d1", 1);
    timings.add("d1", 1.2);
    expect(timings.metrics()).toEqual(['object;dur=4;desc="1"', 'd1;dur=2;desc="2"']);
    expect(timings.fields()).toEqual({ object_calls: 1, object_ms: 4, d1_calls: 2, d1_ms: 2 });
  });

  it("is nothing when it waits for nothing", () => {
    expect(new Timings().metrics()).toEqual([]);
    expect(new Timings().fields()).toEqual({});
  });

  it("is noted for the request that waits, of several at once, and when a call fails", async () => {
    const [first, second] = [new Timings(), new Timings()];
    const failing = timed("r2", async () => {
      throw new Error("no");
    });
    await expect(failing).rejects.toThrow("no");
    await Promise.all([
      withTimings(first, async () => {
        await timed("d1", () => scheduler.wait(1));
        await timed("r2", async () => Promise.reject(new Error("no"))).catch(() => undefined);
      }),
      withTimings(second, () => timed("object", () => scheduler.wait(1))),
    ]);
    expect(first.fields()).toMatchObject({ d1_calls: 1, r2_calls: 1 });
    expect(second.fields()).toMatchObject({ object_calls: 1 });
    expect(Object.keys(second.fields())).toHaveLength(2);
  });
});

import { describe, expect, it } from "vitest";
import { Pace } from "../../../src/image-object/pace.ts";

const least = { bytesPerSecond: 1_000, windowMs: 60_000 };

describe("the pace of a source", () => {
  it("is judged at the end of each window, by what came in it", () => {
    const pace = new Pace(least);
    for (let second = 1; second < 60; second++) {
      pace.came(100);
      expect(pace.passed(1_000)).toBeUndefined();
    }
    const slow = pace.passed(1_000);
    expect(slow).toMatchObject({ code: "source_rejected" });
    expect(slow?.text).toContain("less than 1000 bytes a second, for 60 seconds");
  });

  it("lets a pause pass that the rest of the window makes good, and the very least", () => {
    const pace = new Pace(least);
    expect(pace.passed(50_000)).toBeUndefined();
    pace.came(60_000);
    expect(pace.passed(10_000)).toBeUndefined();
    // The next window begins with nothing.
    expect(pace.passed(59_999)).toBeUndefined();
    expect(pace.passed(1)).toMatchObject({ code: "source_rejected" });
  });

  it("may be any where the least is nothing", () => {
    const pace = new Pace({ ...least, bytesPerSecond: 0 });
    expect(pace.passed(10 ** 9)).toBeUndefined();
  });
});

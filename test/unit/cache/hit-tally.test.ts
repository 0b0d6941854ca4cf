import { describe, expect, it } from "vitest";
import { HitTally } from "../../../src/cache/hit-tally.ts";

describe("the tally of hits", () => {
  it("has the first hit put down at once, and the next ones together a while later", () => {
    const tally = new HitTally();
    expect(tally.add("a", "e", 100_000)).toEqual({ imageId: "a", epoch: "e", count: 1 });
    expect(tally.add("a", "e", 100_001)).toBeUndefined();
    expect(tally.add("a", "e", 109_999)).toBeUndefined();
    expect(tally.add("b", "e", 109_999)).toMatchObject({ imageId: "b", count: 1 });
    expect(tally.add("a", "e", 110_000)).toEqual({ imageId: "a", epoch: "e", count: 3 });
    expect(tally.drain()).toEqual([]);
  });

  it("gives what is not put down yet, once", () => {
    const tally = new HitTally();
    for (let n = 0; n < 3; n++) tally.add("a", "e", 100_000);
    tally.add("b", "e", 100_000);
    expect(tally.drain()).toEqual([{ imageId: "a", epoch: "e", count: 2 }]);
    expect(tally.drain()).toEqual([]);
  });

  it("begins anew with another epoch", () => {
    const tally = new HitTally();
    for (let n = 0; n < 3; n++) tally.add("a", "e", 100_000);
    expect(tally.add("a", "f", 100_001)).toEqual({ imageId: "a", epoch: "f", count: 1 });
    expect(tally.drain()).toEqual([]);
  });

  it("forgets the images that were read longest ago", () => {
    const tally = new HitTally();
    for (let n = 0; n < 1001; n++) {
      tally.add(`image-${n}`, "e", 100_000);
      tally.add(`image-${n}`, "e", 100_000);
    }
    const ids = tally.drain().map(({ imageId }) => imageId);
    expect(ids).toHaveLength(1000);
    expect(ids).not.toContain("image-0");
  });
});

import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { LARGEST_BUFFERED_BYTES, planParts } from "../../../src/blob/part-size.ts";

const MiB = 1024 ** 2;
const GiB = 1024 ** 3;
const R2_MAX_PARTS = 10_000;
const R2_MIN_PART_BYTES = 5 * MiB;
const R2_MAX_OBJECT_BYTES = 5 * 1024 ** 4;

describe("the plan of parts", () => {
  it.each([
    ["a short body", 1, 8 * MiB, false],
    ["a body of 70 GiB", 70 * GiB, 8 * MiB, false],
    ["one byte more than 9,000 parts of 8 MiB", 9000 * 8 * MiB + 1, 9 * MiB, false],
    ["a body of 140 GiB", 140 * GiB, 16 * MiB, false],
    ["one byte more than 9,000 parts of 16 MiB", 9000 * 16 * MiB + 1, 17 * MiB, true],
    ["a body of unknown length", undefined, 16 * MiB, false],
  ])("UPL-3: suits %s", (_, lengthBytes, partBytes, isStraight) => {
    expect(planParts(lengthBytes)).toMatchObject({ partBytes, isStraight });
  });

  it("UPL-3: stays within R2's limits and the memory budget for every length", () => {
    fc.assert(
      fc.property(fc.integer({ min: -10, max: R2_MAX_OBJECT_BYTES }), (lengthBytes) => {
        const { partBytes, isStraight, maxTotalBytes } = planParts(lengthBytes);
        expect(Math.ceil(lengthBytes / partBytes)).toBeLessThanOrEqual(R2_MAX_PARTS);
        expect(partBytes).toBeGreaterThanOrEqual(R2_MIN_PART_BYTES);
        expect(isStraight).toBe(partBytes > LARGEST_BUFFERED_BYTES);
        expect(lengthBytes).toBeLessThanOrEqual(maxTotalBytes);
      }),
    );
  });
});

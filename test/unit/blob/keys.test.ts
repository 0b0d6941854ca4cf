import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { blobKey } from "../../../src/blob/keys.ts";

const IMAGE = "71c675ab-d94f-49cd-a114-e12490b328d9";
const ATTEMPT = "0B5C0E6E-4C1D-4F0B-8F57-0D0E2C2AFE11";

describe("keys", () => {
  it("keep ids as they are given, letter case included", () => {
    expect(blobKey(IMAGE, ATTEMPT)).toBe(`blobs/${IMAGE}/${ATTEMPT}`);
    expect(blobKey(ATTEMPT, IMAGE)).toBe(`blobs/${ATTEMPT}/${IMAGE}`);
  });

  it.each(["", "..", `../${IMAGE}`, `${IMAGE}/x`, `${IMAGE}\n`, IMAGE.replaceAll("-", "")])(
    "CRE-3, CRE-12b: are not made of %j",
    (id) => {
      expect(() => blobKey(id, ATTEMPT)).toThrow();
      expect(() => blobKey(IMAGE, id)).toThrow();
    },
  );

  it("CRE-3: have three segments, whatever the ids", () => {
    fc.assert(
      fc.property(fc.oneof(fc.uuid(), fc.string()), (id) => {
        let key = "";
        try {
          key = blobKey(id, ATTEMPT);
        } catch {
          return;
        }
        expect(key.split("/")).toEqual(["blobs", id, ATTEMPT]);
      }),
    );
  });
});

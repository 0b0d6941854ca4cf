import { describe, expect, it } from "vitest";
import { addTag, checkTag, removeTag } from "../../../src/domain/tags.ts";
import { anImage, limits, outcome, someTags } from "./builders.ts";

describe("checkTag", () => {
  it("TAG-2, LIM-13: refuses more than 255 characters", () => {
    expect(outcome(() => checkTag("é".repeat(255)))).toBe("no fault");
    expect(outcome(() => checkTag("é".repeat(256)))).toBe("400 invalid_value");
  });

  it("TAG-8: refuses characters of four bytes, and takes the rest of Unicode", () => {
    expect(outcome(() => checkTag("schön 漢字"))).toBe("no fault");
    expect(outcome(() => checkTag("😀"))).toBe("400 unsupported_characters");
  });

  it("TAG-7: takes blanks, commas, dots, + and @", () => {
    for (const tag of [" ", "a,b", "a.b", "a+b", "a@b", "__proto__"]) {
      expect(outcome(() => checkTag(tag))).toBe("no fault");
    }
  });
});

describe("addTag", () => {
  it("TAG-1: adds a tag once, and is a change each time", () => {
    const image = addTag(anImage(), "a", limits);
    expect(image.tags).toEqual(["a"]);
    const again = addTag(image, "a", limits);
    expect(again).toEqual(image);
    // The object writes what is not the very same image, and so moves updated_at on (TIM-3).
    expect(again).not.toBe(image);
  });

  it("TAG-3: refuses a tag beyond the quota, but not one that is there", () => {
    const image = anImage({ tags: someTags(128) });
    expect(outcome(() => addTag(image, "new", limits))).toBe("413 quota_exceeded");
    expect(outcome(() => addTag(image, "t0", limits))).toBe("no fault");
    const lowered = { ...limits, imageTags: 127 };
    expect(outcome(() => addTag(image, "t0", lowered))).toBe("413 quota_exceeded");
    expect(outcome(() => addTag(image, "new", { ...limits, imageTags: -1 }))).toBe("no fault");
  });

  it("LIM-7: has an end even without a quota: the record's 128 KiB with the properties", () => {
    const image = anImage({ properties: new Map([["p", "x".repeat(128 * 1024 - 20)]]) });
    const unlimited = { ...limits, imageTags: -1 };
    expect(outcome(() => addTag(image, "a", unlimited))).toBe("no fault");
    expect(outcome(() => addTag(image, "a".repeat(50), unlimited))).toBe("413 quota_exceeded");
  });

  it("TAG-7: tells letter cases apart", () => {
    expect(addTag(anImage({ tags: ["a"] }), "A", limits).tags).toEqual(["a", "A"]);
  });
});

describe("removeTag", () => {
  it("TAG-4: removes a tag, also over quota, and refuses one that is not there", () => {
    const image = anImage({ tags: someTags(200) });
    expect(removeTag(image, "t0").tags).toEqual(someTags(200).slice(1));
    expect(outcome(() => removeTag(image, "T0"))).toBe("404 tag_not_found");
    expect(image.tags).toHaveLength(200);
  });
});

import { describe, expect, it } from "vitest";
import { Fault } from "../../../src/domain/fault.ts";
import type { Image } from "../../../src/domain/image.ts";
import { applyPatch, type PatchOptions } from "../../../src/domain/patch.ts";
import { type PatchVersion, parsePatch } from "../../../src/domain/patch-parse.ts";
import { STATUSES } from "../../../src/domain/status.ts";
import {
  anImage,
  asAdmin,
  asOwner,
  limits,
  outcome,
  schema,
  someProperties,
  someTags,
} from "./builders.ts";

interface Attempt {
  version?: PatchVersion;
  image?: Image;
  as?: PatchOptions;
}

/** The patch applied as its owner would, unless said otherwise. */
function patch(operations: readonly object[], attempt: Attempt = {}): Image {
  const { version = "v2.1", image = anImage(), as = asOwner() } = attempt;
  return applyPatch(image, parsePatch(version, operations, schema), as);
}

function patching(operations: readonly object[], attempt: Attempt = {}): string {
  return outcome(() => patch(operations, attempt));
}

const add = (name: string, value: unknown) => ({ op: "add", path: `/${name}`, value });
const replace = (name: string, value: unknown) => ({ op: "replace", path: `/${name}`, value });
const remove = (name: string) => ({ op: "remove", path: `/${name}` });
const withProperties = (...entries: [string, string | null][]) =>
  anImage({ properties: new Map(entries) });

describe("a patch as a whole", () => {
  it("PAT-6, TIM-3: an empty one changes nothing", () => {
    const image = anImage();
    expect(patch([], { image })).toBe(image);
  });

  it("TIM-3: any other moves revision and time on, even when no value changes", () => {
    const image = anImage({ name: "same" });
    expect(patch([replace("name", "same")], { image })).toEqual({
      ...image,
      revision: image.revision + 1,
      updatedAtMs: 9000,
    });
  });

  it("leaves the image it was given alone, whether it works or not", () => {
    const image = withProperties(["a", "1"]);
    const before = structuredClone(image);
    patch([replace("a", "2"), remove("a"), add("b", "1"), add("tags", ["x"])], { image });
    expect(patching([remove("a"), remove("a")], { image })).toBe("409 property_missing");
    expect(image).toEqual(before);
  });

  it("PRO-17: later operations see earlier ones", () => {
    const operations = [add("a", "1"), replace("a", "2"), remove("a"), add("a", "3")];
    expect(patch(operations).properties).toEqual(new Map([["a", "3"]]));
    expect(patching([add("a", "1"), remove("a"), replace("a", "2")])).toBe("409 property_missing");
  });

  it("PRO-18: works in every status", () => {
    for (const status of STATUSES) {
      expect(patch([replace("name", "x")], { image: anImage({ status }) }).name).toBe("x");
    }
  });
});

describe("base properties", () => {
  it.each([
    ["name", "x", { name: "x" }],
    ["name", null, { name: null }],
    ["visibility", "private", { visibility: "private" }],
    ["protected", true, { isProtected: true }],
    ["os_hidden", true, { isHidden: true }],
    ["min_disk", 3, { minDisk: 3 }],
    ["min_ram", 64, { minRam: 64 }],
    ["tags", ["b", "a"], { tags: ["b", "a"] }],
  ])("PRO-4, CS-2: %s is set to %j by add and by replace", (name, value, expected) => {
    expect(patch([add(name, value)])).toMatchObject(expected);
    expect(patch([replace(name, value)])).toMatchObject(expected);
  });

  it.each(
    "name,visibility,protected,os_hidden,min_disk,min_ram,tags,disk_format,container_format,owner".split(
      ",",
    ),
  )(
    "PRO-4, PRO-5, PRO-6, PRO-7, PRO-8, NUL-1: %s may not be removed, not by an admin either",
    (name) => {
      expect(patching([remove(name)])).toBe("403 property_not_removable");
      expect(patching([remove(name)], { as: asAdmin() })).toBe("403 property_not_removable");
    },
  );

  it.each(STATUSES)("PRO-5, MX-2: formats in status %s", (status) => {
    const image = anImage({ status, diskFormat: "raw", containerFormat: "bare" });
    const expected =
      status === "queued" || status === "importing" ? "no fault" : "403 property_fixed";
    for (const as of [asOwner(), asAdmin()]) {
      expect(patching([replace("disk_format", "qcow2")], { image, as })).toBe(expected);
      expect(patching([add("container_format", "ovf")], { image, as })).toBe(expected);
      expect(patching([replace("disk_format", "raw")], { image, as })).toBe(expected);
    }
  });

  it("PRO-5, NUL-1: formats may be set and set back to null", () => {
    const image = patch([add("disk_format", "raw"), replace("container_format", "bare")]);
    expect(image).toMatchObject({ diskFormat: "raw", containerFormat: "bare" });
    expect(patch([replace("disk_format", null)], { image }).diskFormat).toBeNull();
  });

  it("PRO-6, CHG-7, CHG-8: the owner is no owner's to change, whatever the visibility", () => {
    for (const visibility of ["public", "community", "shared", "private"] as const) {
      const image = anImage({ visibility });
      for (const owner of ["project-2", "project-1", null]) {
        expect(patching([add("owner", owner)], { image })).toBe("403 forbidden_reason");
        expect(patching([replace("owner", owner)], { image })).toBe("403 forbidden_reason");
      }
      expect(patching([{ add: "/owner", value: "x" }], { image, version: "v2.0" })).toBe(
        "403 forbidden_reason",
      );
    }
  });

  it("PRO-7, CHG-6: an admin sets any owner, or none", () => {
    const as = asAdmin();
    expect(patch([replace("owner", "project-2")], { as }).owner).toBe("project-2");
    expect(patch([add("owner", "x".repeat(255))], { as }).owner).toBe("x".repeat(255));
    expect(patch([replace("owner", null)], { as }).owner).toBeNull();
  });

  it("CRE-14: an empty owner is none in a patch too", () => {
    expect(patch([replace("owner", "")], { as: asAdmin() }).owner).toBeNull();
  });

  it("PRO-8, CS-4: tags are replaced as a set", () => {
    const image = anImage({ tags: ["old"] });
    expect(patch([replace("tags", ["a", "b", "a"])], { image }).tags).toEqual(["a", "b"]);
    expect(patch([replace("tags", [])], { image }).tags).toEqual([]);
    expect(patch([replace("tags", ["old"])], { image }).tags).toEqual(["old"]);
  });

  it("PRO-8, LIM-4: the quota counts distinct tags", () => {
    expect(patching([replace("tags", [...someTags(128), "t0"])])).toBe("no fault");
    expect(patching([replace("tags", someTags(129))])).toBe("413 quota_exceeded");
    expect(patching([add("tags", someTags(129))])).toBe("413 quota_exceeded");
  });

  it("PRO-8: other changes work while an image is over a lowered tag quota", () => {
    const image = anImage({ tags: someTags(5) });
    const as = asOwner({ limits: { ...limits, imageTags: 3 } });
    expect(patching([replace("name", "x")], { image, as })).toBe("no fault");
    expect(patching([replace("tags", someTags(5))], { image, as })).toBe("413 quota_exceeded");
  });

  it.each([
    ["name", "x"],
    ["protected", true],
    ["tags", []],
    ["visibility", "private"],
    ["disk_format", "raw"],
    ["min_ram", 1],
  ])("PRO-11: v2.0 cannot add %s, which is always there", (name, value) => {
    expect(patching([{ add: `/${name}`, value }], { version: "v2.0" })).toBe("409 property_exists");
    expect(patching([{ replace: `/${name}`, value }], { version: "v2.0" })).toBe("no fault");
  });
});

describe("custom properties", () => {
  it("PRO-9: an existing one is overwritten and deleted", () => {
    const image = withProperties(["a", "1"], ["b", "2"]);
    expect(patch([add("a", "9")], { image }).properties.get("a")).toBe("9");
    expect(patch([replace("a", "9")], { image }).properties.get("a")).toBe("9");
    expect(patch([remove("a")], { image }).properties).toEqual(new Map([["b", "2"]]));
  });

  it("PRO-9: v2.0 cannot add an existing one", () => {
    const image = withProperties(["a", "1"]);
    const attempt: Attempt = { image, version: "v2.0" };
    expect(patching([{ add: "/a", value: "1" }], attempt)).toBe("409 property_exists");
    expect(patching([{ remove: "/a" }, { add: "/a", value: "2" }], attempt)).toBe("no fault");
    expect(patching([{ add: "/b", value: "1" }], attempt)).toBe("no fault");
  });

  it("PRO-10: a missing one can only be added", () => {
    expect(patch([add("a", "1")]).properties).toEqual(new Map([["a", "1"]]));
    expect(patching([replace("a", "1")])).toBe("409 property_missing");
    expect(patching([remove("a")])).toBe("409 property_missing");
  });

  it("REP-19, NUL-2: a declared one may be null, and any may be empty", () => {
    const { properties } = patch([add("kernel_id", null), add("note", "")]);
    expect([...properties]).toEqual([
      ["kernel_id", null],
      ["note", ""],
    ]);
  });

  it.each([
    "image_id",
    "extra_properties",
    "member",
    "image",
    "context",
    "__proto__",
    "constructor",
    "toString",
    "hasOwnProperty",
    "is_public",
  ])("PRO-13: %s is one like any other", (name) => {
    expect(patching([replace(name, "x")])).toBe("409 property_missing");
    expect(patching([remove(name)])).toBe("409 property_missing");
    const image = patch([add(name, "x"), replace(name, "y")]);
    expect([...image.properties]).toEqual([[name, "y"]]);
    expect(image.id).toBe(anImage().id);
    expect(patch([remove(name)], { image }).properties.size).toBe(0);
  });

  it("PRO-14, LIM-3: the quota refuses a new name beyond it", () => {
    const full = anImage({ properties: someProperties(128) });
    expect(patching([add("new", "v")], { image: full })).toBe("413 quota_exceeded");
    const almost = anImage({ properties: someProperties(127) });
    expect(patching([add("new", "v")], { image: almost })).toBe("no fault");
    expect(patching([add("new", "v"), add("newer", "v")], { image: almost })).toBe(
      "413 quota_exceeded",
    );
  });

  it("PRO-14: at the limit one may take another's place, in either order", () => {
    const image = anImage({ properties: someProperties(128) });
    expect(patching([remove("p0"), add("new", "v")], { image })).toBe("no fault");
    expect(patching([add("new", "v"), remove("p0")], { image })).toBe("no fault");
  });

  it("PRO-14: beyond a lowered quota, values change and names go, but none comes", () => {
    const image = anImage({ properties: someProperties(10) });
    const as = asOwner({ limits: { ...limits, imageProperties: 5 } });
    expect(patching([replace("p0", "x"), add("p1", "x")], { image, as })).toBe("no fault");
    expect(patching([remove("p0")], { image, as })).toBe("no fault");
    expect(patching([remove("p0"), add("p0", "x")], { image, as })).toBe("no fault");
    expect(patching([remove("p0"), add("new", "x")], { image, as })).toBe("413 quota_exceeded");
  });

  it("LIM-3: the service's own notes do not count", () => {
    const properties = someProperties(127).set("os_glance_import_task", "x");
    expect(patching([add("new", "v")], { image: anImage({ properties }) })).toBe("no fault");
  });

  it("LIM-7: a negative quota means none", () => {
    const as = asOwner({ limits: { ...limits, imageProperties: -1 } });
    const operations = [...someProperties(500)].map(([name, value]) => add(name, value));
    expect(patch(operations, { as }).properties.size).toBe(500);
  });

  it("LIM-15: all of them together have 128 KiB", () => {
    const half = "x".repeat(64 * 1024);
    const image = patch([add("a", half)]);
    expect(patching([add("b", half)], { image })).toBe("413 quota_exceeded");
    expect(patching([remove("a"), add("b", half)], { image })).toBe("no fault");
  });
});

describe("stored values", () => {
  it("PRO-15, LIM-16: minimums lie within 0 and 2147483647", () => {
    for (const name of ["min_disk", "min_ram"]) {
      expect(patching([replace(name, 2147483647)])).toBe("no fault");
      expect(patching([replace(name, -1)])).toBe("400 invalid_value");
      expect(patching([add(name, 2147483648)])).toBe("400 invalid_value");
    }
  });

  it("PRO-15, LIM-20: no character has four bytes", () => {
    const as = asAdmin();
    for (const operation of [
      replace("name", "😀"),
      replace("owner", "😀"),
      replace("tags", ["😀"]),
      add("note", "😀"),
      add("😀", "v"),
    ]) {
      expect(patching([operation], { as })).toBe("400 unsupported_characters");
    }
  });
});

describe("locations", () => {
  it("LOP-1, LOP-3: no operation on them is let through while they are out of sight", () => {
    const value = { url: "http://a/", metadata: {} };
    for (const as of [asOwner(), asAdmin()]) {
      expect(patching([add("locations/-", value)], { as })).toBe("403 forbidden_reason");
      expect(patching([replace("locations", [value])], { as })).toBe("403 forbidden_reason");
      expect(patching([replace("locations", [])], { as })).toBe("403 forbidden_reason");
      const refused = as.isAdmin ? "403 forbidden_reason" : "403 forbidden";
      expect(patching([remove("locations/0")], { as })).toBe(refused);
    }
  });
});

describe("visibility", () => {
  it("CHG-1: an owner changes it among private, shared and community, and away from public", () => {
    for (const from of ["private", "shared", "community", "public"] as const) {
      for (const to of ["private", "shared", "community"] as const) {
        const image = anImage({ visibility: from });
        expect(patch([replace("visibility", to)], { image }).visibility).toBe(to);
      }
    }
  });

  it("PRO-16, CHG-2: an owner cannot make it public, not even when it is", () => {
    for (const from of ["private", "shared", "community", "public"] as const) {
      const image = anImage({ visibility: from });
      expect(patching([replace("visibility", "public")], { image })).toBe("403 forbidden");
      expect(patching([add("visibility", "public")], { image })).toBe("403 forbidden");
      expect(patching([{ add: "/visibility", value: "public" }], { image, version: "v2.0" })).toBe(
        "403 forbidden",
      );
    }
  });

  it("CHG-3: the owner of a public image still changes its other properties", () => {
    const image = anImage({ visibility: "public" });
    expect(patch([replace("name", "x"), add("a", "b")], { image })).toMatchObject({
      name: "x",
      visibility: "public",
    });
  });

  it("CHG-4: an admin makes any change", () => {
    for (const to of ["private", "shared", "community", "public"] as const) {
      expect(patch([replace("visibility", to)], { as: asAdmin() }).visibility).toBe(to);
    }
  });

  it("POL-6, POL-7: asks for the rule by name, with the image as it would be", () => {
    const asked: string[] = [];
    const as = asOwner({
      authorize: (rule, changed) => void asked.push(`${rule} ${changed.visibility}`),
    });
    patch(
      ["public", "community", "private", "shared"].map((to) => replace("visibility", to)),
      { as },
    );
    expect(asked).toEqual(["publicize_image public", "communitize_image community"]);
  });

  it("POL-7: a refusal to make it community stands", () => {
    const as = asOwner({
      authorize: (rule) => {
        throw new Fault("forbidden", { rule });
      },
    });
    expect(patching([replace("visibility", "community")], { as })).toBe("403 forbidden");
    expect(patching([replace("visibility", "private")], { as })).toBe("no fault");
  });
});

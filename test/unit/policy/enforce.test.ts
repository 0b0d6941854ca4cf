import { describe, expect, it } from "vitest";
import { Fault } from "../../../src/domain/fault.ts";
import type { Identity } from "../../../src/domain/identity.ts";
import type { Image, Membership } from "../../../src/domain/image.ts";
import { Policy } from "../../../src/policy/enforce.ts";
import type { RuleName } from "../../../src/policy/rules.ts";

const policy = new Policy();

function identity(
  projectId: string | null,
  roles: string[],
  scope: Identity["scope"] = "project",
): Identity {
  return { userId: "u", projectId, roles, scope, isAnonymous: false };
}

function image(visibility: Image["visibility"], owner: string | null = "p1"): Image {
  return {
    id: "4ed1b1a0-2d1c-4d1e-8a55-3d33e2a0f001",
    revision: 1,
    status: "active",
    visibility,
    owner,
    name: null,
    diskFormat: "raw",
    containerFormat: "bare",
    minDisk: 0,
    minRam: 0,
    isProtected: false,
    isHidden: false,
    size: 1,
    virtualSize: null,
    checksum: null,
    osHashAlgo: null,
    osHashValue: null,
    createdAtMs: 0,
    updatedAtMs: 0,
    properties: new Map(),
    tags: [],
    locations: [],
    staged: null,
    reservedBytes: 0,
    openUploads: { count: 0, bytes: 0 },
  };
}

function verdict(
  rule: RuleName,
  who: Identity,
  of: Image,
  membership: Membership = undefined,
): number {
  try {
    policy.enforceOnImage(rule, who, { image: of, membership });
    return 200;
  } catch (error) {
    if (error instanceof Fault) return error.status;
    throw error;
  }
}

describe("Policy", () => {
  it("ROL-1: a member without the reader role downloads but does not show", () => {
    const memberOnly = identity("p1", ["member"]);
    expect(verdict("get_image", memberOnly, image("private"))).toBe(404);
    expect(verdict("download_image", memberOnly, image("private"))).toBe(200);
    expect(policy.allows("get_images", memberOnly, {})).toBe(false);
  });

  it("ROL-2: the service role alone neither shows nor lists", () => {
    const service = identity("p1", ["service"]);
    expect(verdict("get_image", service, image("public"))).toBe(404);
    expect(policy.allows("get_images", service, {})).toBe(false);
  });

  it.each(["system", "domain"] as const)(
    "ROL-3: a %s-scoped token lists, creates and shows nothing, an administrator's included",
    (scope) => {
      const who = identity(null, ["admin", "member", "reader"], scope);
      expect(policy.allows("get_images", who, {})).toBe(false);
      expect(policy.allows("add_image", who, {})).toBe(false);
      expect(verdict("get_image", who, image("public"))).toBe(404);
    },
  );

  it("CTX-4: an admin role counts in whatever project", () => {
    expect(policy.isAdmin(identity("elsewhere", ["admin"]))).toBe(true);
    expect(verdict("delete_image", identity("elsewhere", ["admin"]), image("private"))).toBe(200);
  });

  it("MSK-2, MSK-3: a denied action is 403 to those who may see the image and 404 to those who may not", () => {
    const stranger = identity("p2", ["member", "reader"]);
    expect(verdict("modify_image", stranger, image("public"))).toBe(403);
    expect(verdict("modify_image", stranger, image("private"))).toBe(404);
    expect(verdict("modify_image", identity("p2", ["member"]), image("public"))).toBe(404);
  });

  it("MSK-4: an allowed action is done although get_image is denied", () => {
    expect(verdict("modify_image", identity("p1", ["member"]), image("private"))).toBe(200);
  });

  it("VIS-5, VIS-6: an image without owner is there for others only when public or community", () => {
    const anyone = identity("p2", ["member", "reader"]);
    expect(verdict("get_image", anyone, image("public", null))).toBe(200);
    expect(verdict("get_image", anyone, image("community", null))).toBe(200);
    expect(verdict("get_image", anyone, image("shared", null), "accepted")).toBe(404);
    expect(verdict("get_image", anyone, image("private", null))).toBe(404);
    const unowned = identity(null, ["member", "reader"], "none");
    expect(verdict("get_image", unowned, image("private", null))).toBe(404);
  });

  it("MIN-3, MIN-4: an operator's expressions take the place of the defaults", () => {
    const relaxed = new Policy({
      download_image: "role:reader",
      deactivate: "rule:context_is_admin",
    });
    const reader = identity("p1", ["reader"]);
    expect(
      relaxed.allowsOnImage("download_image", reader, {
        image: image("private"),
        membership: undefined,
      }),
    ).toBe(true);
    const owner = identity("p1", ["member", "reader"]);
    expect(
      relaxed.allowsOnImage("deactivate", owner, {
        image: image("private"),
        membership: undefined,
      }),
    ).toBe(false);
  });

  it.each([
    [{ no_such_rule: "@" }, "no_such_rule"],
    [{ get_image: "role:" + "(" }, "get_image"],
    [{ get_image: "rule:get_image" }, "refers to itself"],
    [{ get_image: "rule:nothing" }, "nothing"],
  ])("refuses %j with a sentence that says what is wrong", (overrides, phrase) => {
    expect(() => new Policy(overrides as Record<string, string>)).toThrow(phrase);
  });
});

import { describe, expect, it } from "vitest";
import { parseInjection } from "../../../src/domain/import-plugins.ts";

const parse = (document: unknown) => parseInjection(JSON.stringify(document));
const propertiesOf = (inject: unknown) => Object.fromEntries(parse({ inject }).properties);

describe("10 §14 inject_image_metadata", () => {
  it("10 §14 inject_image_metadata: adds nothing and leaves admins alone by default", () => {
    expect(parse({})).toEqual({ ignoreUserRoles: ["admin"], properties: new Map() });
  });

  it("10 §14 inject_image_metadata: takes properties in their order", () => {
    const { properties } = parse({ inject: { os_distro: "debian", "a:b": "", hw_x: "1" } });
    expect([...properties]).toEqual([
      ["os_distro", "debian"],
      ["a:b", ""],
      ["hw_x", "1"],
    ]);
  });

  it("10 §14 inject_image_metadata: compares roles without regard to case", () => {
    const { ignoreUserRoles } = parse({ ignore_user_roles: ["Admin", "IMAGE_service", "member"] });
    expect(ignoreUserRoles).toEqual(["admin", "image_service", "member"]);
  });

  it("10 §14 inject_image_metadata: leaves nobody alone when the list is empty", () => {
    expect(parse({ ignore_user_roles: [] }).ignoreUserRoles).toEqual([]);
  });

  it.each(["os_glance_x", "os_glance", "location", "deleted", "deleted_at"])(
    "10 §14 inject_image_metadata: drops %s, which the service keeps for itself",
    (name) => {
      expect(propertiesOf({ [name]: "x", kept: "y" })).toEqual({ kept: "y" });
    },
  );

  it("10 §14 inject_image_metadata: takes names that JavaScript knows too", () => {
    const { properties } = parseInjection('{"inject": {"__proto__": "a", "constructor": "b"}}');
    expect([...properties]).toEqual([
      ["__proto__", "a"],
      ["constructor", "b"],
    ]);
  });

  it.each([
    ["[]", "it is not a JSON object"],
    ["null", "it is not a JSON object"],
    ['"inject"', "it is not a JSON object"],
    ['{"injects": {}}', '"injects" is not known there'],
    ['{"ignore_user_roles": "admin"}', "ignore_user_roles is not a list of roles"],
    ['{"ignore_user_roles": null}', "ignore_user_roles is not a list of roles"],
    ['{"ignore_user_roles": ["admin", 7]}', "ignore_user_roles is not a list of roles"],
    ['{"inject": null}', "inject is not an object of properties"],
    ['{"inject": ["a"]}', "inject is not an object of properties"],
    ['{"inject": {"a": 1}}', 'the property "a" is not a text'],
    ['{"inject": {"os_glance_x": null}}', 'the property "os_glance_x" is not a text'],
  ])("10 §14 inject_image_metadata: refuses %s", (json, sentence) => {
    expect(() => parseInjection(json)).toThrow(new Error(sentence));
  });

  it.each(["", "{", "inject"])(
    "10 §14 inject_image_metadata: refuses what is no JSON: %j",
    (text) => {
      expect(() => parseInjection(text)).toThrow(SyntaxError);
    },
  );
});

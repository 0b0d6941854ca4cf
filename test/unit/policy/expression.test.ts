import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { parseExpression } from "../../../src/policy/expression.ts";

const who = {
  roles: ["member", "reader"],
  attributes: { user_id: "u1", project_id: "p1" },
};
const target = { owner: "p1", member_id: null, visibility: "public" };

function evaluate(text: string): boolean {
  return parseExpression(text, () => () => true)(who, target);
}

describe("the policy language", () => {
  it.each([
    ["", true],
    ["@", true],
    ["!", false],
    ["role:member", true],
    ["role:MEMBER", true],
    ["role:admin", false],
    ["project_id:%(owner)s", true],
    ["project_id:%(member_id)s", false],
    ["user_id:u1", true],
    ["'public':%(visibility)s", true],
    ["'shared':%(visibility)s", false],
    ["role:admin or role:reader", true],
    ["role:admin and role:reader", false],
    ["not role:admin", true],
    ["not not role:admin", false],
    ["role:admin or (role:member and project_id:%(owner)s)", true],
    ["(role:admin or role:member) and not 'public':%(visibility)s", false],
    ["role:admin and role:admin or role:member", true],
    ["rule:anything", true],
  ])("reads %j as %s for a member of the owning project", (text, expected) => {
    expect(evaluate(text)).toBe(expected);
  });

  it("never takes a missing attribute for an equal one", () => {
    const nobody = { roles: [], attributes: { project_id: null } };
    const ownerless = { owner: null };
    const check = parseExpression(
      "project_id:%(owner)s or project_id:%(unknown)s",
      () => () => true,
    );
    expect(check(nobody, ownerless)).toBe(false);
  });

  it.each([
    "role",
    "role:a role:b",
    "(role:a",
    "role:a)",
    "and role:a",
    "role:a or",
    "a:%(b",
    "%x:1",
  ])("refuses %j with a sentence", (text) => {
    expect(() => evaluate(text)).toThrow(Error);
  });

  it("refuses or reads any text, and fails in no other way", () => {
    const pieces = fc.constantFrom(
      "role:a",
      "and",
      "or",
      "not",
      "(",
      ")",
      "@",
      "!",
      "'x':%(owner)s",
      ":",
      "%(",
    );
    fc.assert(
      fc.property(
        fc.oneof(
          fc.string(),
          fc.array(pieces).map((p) => p.join(" ")),
        ),
        (text) => {
          try {
            expect(typeof evaluate(text)).toBe("boolean");
          } catch (error) {
            expect(error).toBeInstanceOf(Error);
            expect((error as Error).message).not.toBe("");
          }
        },
      ),
    );
  });
});

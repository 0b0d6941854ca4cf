import fc from "fast-check";
import { describe, expect, it } from "vitest";
import type { Identity } from "../../../src/domain/identity.ts";
import { type PropertyOperation, UNPROTECTED } from "../../../src/domain/property-protection.ts";
import { Policy } from "../../../src/policy/enforce.ts";
import { parsePropertyProtections } from "../../../src/policy/property-protection-document.ts";

const OPERATIONS: readonly PropertyOperation[] = ["create", "read", "update", "delete"];
const OPEN = { create: "@", read: "@", update: "@", delete: "@" };

function caller(...roles: string[]): Identity {
  return { userId: "u", projectId: "p", scope: "project", roles, isAnonymous: false };
}

function parse(document: unknown, policy = new Policy()) {
  const json = typeof document === "string" ? document : JSON.stringify(document);
  return parsePropertyProtections(json, policy);
}

/** What a caller with these roles may do with a property. */
function allowed(document: unknown, name: string, ...roles: string[]): string {
  const protection = parse(document)(caller(...roles));
  return OPERATIONS.filter((operation) => protection.may(operation, name)).join();
}

function refusal(document: unknown): string {
  try {
    parse(document);
  } catch (error) {
    return (error as Error).message;
  }
  return "accepted";
}

describe("rules of property protection", () => {
  it("13 §9 off: without a document everyone may do everything", () => {
    expect(parse("")(caller())).toBe(UNPROTECTED);
  });

  it("13 §9 File: an expression is searched in the name, wherever it stands there, and case counts", () => {
    const rules = [{ property: "own.r", ...OPEN }];
    expect(allowed({ rules }, "x_owner_y")).toBe("create,read,update,delete");
    expect(allowed({ rules }, "x_OWNER_y")).toBe("");
    expect(allowed({ rules: [{ property: "^own.r$", ...OPEN }] }, "x_owner_y")).toBe("");
  });

  it("13 §9 First match wins: later rules do not add to it", () => {
    const rules = [
      { property: "^a", create: "", read: "@", update: "!", delete: [] },
      { property: "a", ...OPEN },
    ];
    expect(allowed({ rules }, "abc")).toBe("read");
    expect(allowed({ rules }, "bac")).toBe("create,read,update,delete");
  });

  it("13 §9 First match wins: without a match everything is denied, to admins too", () => {
    expect(allowed({ rules: [] }, "a", "admin")).toBe("");
    expect(allowed({ rules: [{ property: "^a", ...OPEN }] }, "b", "admin")).toBe("");
  });

  it("13 §9 Value, format roles: comma text and list say the same, in any letter case", () => {
    for (const update of ["Admin, mEmber", ["ADMIN", "member"], ["admin,member"]]) {
      const rules = [{ ...OPEN, property: "a", update, read: "!", create: "auditor" }];
      expect(allowed({ rules }, "a", "member")).toBe("update,delete");
      expect(allowed({ format: "roles", rules }, "a", "auditor")).toBe("create,delete");
    }
  });

  it("13 §9 Value, format roles: @ and ! outweigh the roles beside them", () => {
    const rules = [
      { property: "a", create: "admin,@", read: "!,admin", update: ",", delete: " @ " },
    ];
    expect(allowed({ rules }, "a", "member")).toBe("create,delete");
    expect(allowed({ rules }, "a", "admin")).toBe("create,delete");
  });

  it("13 §9 Value, format policies: one policy rule each, of POLICY or of the document", () => {
    const document = {
      format: "policies",
      policies: { curator: "role:curator", staff: "rule:curator or rule:context_is_admin" },
      rules: [{ property: "a", create: "staff", read: ["@"], update: "!", delete: "add_member" }],
    };
    expect(allowed(document, "a", "member")).toBe("read");
    expect(allowed(document, "a", "curator")).toBe("create,read");
    expect(allowed(document, "a", "admin")).toBe("create,read,delete");
    // The rule is asked without a target, so no image makes its caller an owner.
    const owned = { ...document, rules: [{ ...OPEN, property: "a", read: "modify_image" }] };
    expect(allowed(owned, "a", "member")).toBe("create,update,delete");
    const policy = new Policy({ context_is_admin: "role:boss" });
    expect(parse(document, policy)(caller("boss")).may("create", "a")).toBe(true);
  });

  it("13 §9 Reserved names: rules for them are dropped, and everyone may see the service's notes", () => {
    const rules = [
      { property: "os_glance_.*", read: "(" },
      { property: ".", ...OPEN, read: "!" },
    ];
    expect(allowed({ rules }, "os_glance_failed_import")).toBe("create,read,update,delete");
    // The reference searches for its own expression, too, and so opens every name with os_glance in it.
    expect(allowed({ rules }, "x_os_glance")).toBe("create,update,delete");
  });

  it("tests no name that is longer than one can be", () => {
    const rules = [{ property: ".", ...OPEN }];
    expect(allowed({ rules }, "é".repeat(255))).toBe("create,read,update,delete");
    expect(allowed({ rules }, "é".repeat(256))).toBe("");
  });

  it("judges a name the same however often it is asked", () => {
    const protection = parse({ rules: [{ property: "a", ...OPEN }] })(caller());
    for (const name of ["a", "b", "a", "b"])
      expect(protection.may("read", name)).toBe(name === "a");
  });
});

describe("a document that cannot be used", () => {
  const rule = { property: "^x$", ...OPEN };
  it.each<[string, unknown, string]>([
    [
      "File, an operation missing",
      { rules: [{ ...rule, delete: undefined }] },
      "delete of '^x$' is missing",
    ],
    [
      "File, a bad expression",
      { rules: [{ ...rule, property: "(" }] },
      "'(' is not a regular expression",
    ],
    [
      "File, another dialect",
      { rules: [{ ...rule, property: "x\\Z" }] },
      "'x\\Z' is not a regular expression",
    ],
    [
      "File, no name",
      { rules: [{ ...OPEN }] },
      "a rule has no property, which is a regular expression",
    ],
    [
      "File, an empty name",
      { rules: [{ ...OPEN, property: "" }] },
      "a rule has no property, which is a regular expression",
    ],
    ["File, unknown keys", { rules: [{ ...rule, write: "@" }] }, '"write" is not known there'],
    ["File, a key beside the rules", { rules: [], rule: [] }, '"rule" is not known there'],
    ["File, no rules", {}, "rules is not a list"],
    ["File, a rule of another form", { rules: ["x"] }, "a rule is not an object"],
    ["File, no object", [], "it is not a JSON object"],
    ["Value, both", { rules: [{ ...rule, read: "@,!" }] }, "read of '^x$' has both '@' and '!'"],
    [
      "Value, both in a list",
      { rules: [{ ...rule, read: ["!", "a", "@"] }] },
      "read of '^x$' has both '@' and '!'",
    ],
    [
      "Value, no text",
      { rules: [{ ...rule, read: [1] }] },
      "read of '^x$' is neither a text nor a list of texts",
    ],
    [
      "Value, null",
      { rules: [{ ...rule, read: null }] },
      "read of '^x$' is neither a text nor a list of texts",
    ],
    ["Value, format", { format: "Roles", rules: [] }, "format is neither roles nor policies"],
    [
      "Value, policies among roles",
      { policies: {}, rules: [] },
      "policies are for the format policies",
    ],
    [
      "Value, a list of policies",
      policies({ read: "get_image,add_image" }),
      "read of '^x$' is not exactly one policy rule",
    ],
    ["Value, no policy", policies({ read: "" }), "read of '^x$' is not exactly one policy rule"],
    [
      "Value, an unknown policy",
      policies({ read: "nobody" }),
      "read of '^x$' names 'nobody', which is no policy rule",
    ],
    ["Value, both as policies", policies({ read: "@,!" }), "read of '^x$' has both '@' and '!'"],
    [
      "Value, a policy twice",
      policies({}, { get_image: "@" }),
      "POLICY already has a rule 'get_image'",
    ],
    ["Value, a policy of no text", policies({}, { a: 1 }), "the policy 'a' is not a text"],
    ["Value, a bad policy", policies({}, { a: "role" }), "the policy 'a': 'role' is not a check"],
    [
      "Value, a circle",
      policies({}, { a: "rule:a" }),
      "the policy 'a': names 'a', which is no policy rule",
    ],
    [
      "Value, policies of another form",
      policies({}, []),
      "policies is not an object of expressions",
    ],
  ])("13 §9 %s: is refused with a sentence", (_, document, sentence) => {
    expect(refusal(document)).toBe(sentence);
  });

  function policies(changes: object, definitions: unknown = {}) {
    return { format: "policies", policies: definitions, rules: [{ ...rule, ...changes }] };
  }

  it("throws errors with a sentence and nothing else, and gives to roles only", () => {
    const mostly = <A, B>(usual: fc.Arbitrary<A>, odd: fc.Arbitrary<B>) =>
      fc.oneof({ weight: 20, arbitrary: usual }, { weight: 1, arbitrary: odd });
    const words = ["@", "!", "add_image", ["add_image"], ["@"]];
    const permission = mostly(
      fc.constantFrom(...words),
      fc.constantFrom("Admin,b", "", [], 1, null),
    );
    const property = mostly(fc.constantFrom("^x_", "a|b", ".", "os_glance"), fc.anything());
    const rule = fc.record({
      property,
      create: permission,
      read: permission,
      update: permission,
      delete: permission,
    });
    const document = fc.record(
      {
        format: mostly(fc.constantFrom("roles", "policies"), fc.anything()),
        rules: mostly(fc.array(rule, { maxLength: 3 }), fc.anything()),
        policies: fc.oneof(fc.dictionary(fc.string(), fc.string()), fc.anything()),
      },
      { requiredKeys: ["rules"] },
    );
    let read = 0;
    fc.assert(
      fc.property(document, fc.string(), (given, name) => {
        const sentence = refusal(given);
        expect(sentence).toMatch(/^accepted$|\S \S/);
        if (sentence !== "accepted") return;
        read += 1;
        const [admin, nobody] = [allowed(given, name, "admin"), allowed(given, name)];
        for (const operation of nobody.split(",")) expect(admin).toContain(operation);
      }),
      { numRuns: 1000 },
    );
    expect(read).toBeGreaterThan(50);
  });
});

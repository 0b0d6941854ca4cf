import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { parseAuthSettings } from "../../../src/auth/authenticate.ts";
import { assertServable } from "../../../src/auth/settings.ts";
import { Fault } from "../../../src/domain/fault.ts";
import { aCloud, aDocument, byId, type CloudDocument, TOKEN_SECRET } from "./a-cloud.ts";

function refusalOf(parse: () => unknown): string {
  try {
    parse();
  } catch (cause) {
    expect(cause).toBeInstanceOf(Fault);
    expect((cause as Fault).code).toBe("misconfigured");
    return (cause as Fault).text;
  }
  throw new Error("nothing was refused");
}

const refusalOfVariables = (variables: Readonly<Record<string, unknown>>) =>
  refusalOf(() =>
    parseAuthSettings({ TOKEN_SECRET, IDENTITY: JSON.stringify(aDocument()), ...variables }),
  );

const refusalOfDocument = (change: (document: CloudDocument) => void) =>
  refusalOf(() => aCloud(change));

describe("the variables", () => {
  it("have defaults: built-in mode, four hours, nobody anonymous", () => {
    expect(aCloud()).toMatchObject({
      mode: "builtin",
      tokenTtlSeconds: 14_400,
      allowAnonymous: false,
      region: "RegionOne",
    });
  });

  it("are taken where they are set", () => {
    const variables = {
      AUTH: "builtin",
      TOKEN_TTL_SECONDS: "60",
      ALLOW_ANONYMOUS_ACCESS: "true",
      REGION: "eu-west 1",
    };
    expect(aCloud(undefined, variables)).toMatchObject({
      tokenTtlSeconds: 60,
      allowAnonymous: true,
      region: "eu-west 1",
    });
  });

  it.each([
    ["AUTH", "none"],
    ["TOKEN_TTL_SECONDS", "0"],
    ["TOKEN_TTL_SECONDS", "1.5"],
    ["TOKEN_TTL_SECONDS", "forever"],
    ["ALLOW_ANONYMOUS_ACCESS", "yes"],
    ["REGION", " RegionOne"],
    ["REGION", "Region\nOne"],
    ["REGION", "r".repeat(256)],
  ])("are refused with a sentence that names them: %s = %s", (name, value) => {
    expect(refusalOfVariables({ [name]: value })).toContain(name);
  });

  it("say how to set a secret that is missing or too short to sign with", () => {
    for (const secret of [undefined, "", "x".repeat(31)]) {
      const reason = refusalOfVariables({ TOKEN_SECRET: secret });
      expect(reason).toMatch(/^TOKEN_SECRET is .*wrangler secret put TOKEN_SECRET/);
    }
  });

  it("say how to set a missing identity document", () => {
    const reason = refusalOfVariables({ IDENTITY: undefined });
    expect(reason).toMatch(/^IDENTITY is not set: .*wrangler secret put IDENTITY/);
  });
});

describe("the development document", () => {
  const development = JSON.stringify({ ...aDocument(), development: true });
  const settings = () =>
    parseAuthSettings({ TOKEN_SECRET, IDENTITY: development, DEVELOPMENT: "true" });

  it("is refused unless DEVELOPMENT says so", () => {
    for (const DEVELOPMENT of [undefined, "", "false", "1"]) {
      const reason = refusalOfVariables({ IDENTITY: development, DEVELOPMENT });
      expect(reason).toContain("local development only");
    }
  });

  it("is refused to requests that came through the edge", () => {
    const request = new Request("https://x/", { headers: { "cf-ray": "8f0000000000-FRA" } });
    const reason = refusalOf(() => assertServable(request, settings()));
    expect(reason).toContain("local development only");
  });

  it("is served to requests that did not", () => {
    expect(() => assertServable(new Request("http://localhost/"), settings())).not.toThrow();
  });

  it("is no matter for a document of one's own", () => {
    const request = new Request("https://x/", { headers: { "cf-ray": "8f0000000000-FRA" } });
    expect(() => assertServable(request, aCloud())).not.toThrow();
  });
});

describe("the identity document", () => {
  it("is refused by the place that is wrong", () => {
    const ann = (document: CloudDocument) => byId(document.users, "u-ann");
    const changes: readonly [(document: CloudDocument) => void, string][] = [
      [(d) => Reflect.deleteProperty(d, "users"), "users is missing."],
      [(d) => Object.assign(d, { user: [] }), "user is not a setting of this document."],
      [(d) => Reflect.deleteProperty(ann(d), "id"), "users[1].id is missing."],
      [
        (d) => Object.assign(ann(d), { enabled: "no" }),
        "users[1].enabled must be of type boolean.",
      ],
      [(d) => Object.assign(ann(d), { id: "a/b" }), "users[1].id must be 1 to 64 letters"],
      [(d) => Object.assign(ann(d), { id: "constructor" }), "users[1].id is a reserved word."],
      [(d) => Object.assign(ann(d), { id: "u-root" }), "users[1].id is taken by another one."],
      [(d) => Object.assign(ann(d), { name: "root" }), "users[1].name is taken by another one;"],
      [
        (d) => Object.assign(ann(d), { name: "Root" }),
        "users[1].name is taken by another one; names are compared without case.",
      ],
      [(d) => Object.assign(ann(d), { name: "a\nb" }), "users[1].name must be 1 to 255 characters"],
      [
        (d) => Object.assign(ann(d), { roles: { "p-x": [] } }),
        "users[1].roles.p-x names a project",
      ],
      [(d) => Object.assign(ann(d), { domain_id: "d9" }), "users[1].domain_id names a domain"],
      [
        (d) => Object.assign(ann(d), { default_project_id: "p-x" }),
        "users[1].default_project_id names a project",
      ],
      [
        (d) => Object.assign(ann(d).application_credentials?.[0] ?? {}, { expires_at: "soon" }),
        "users[1].application_credentials[0].expires_at must be a time",
      ],
      [
        (d) => Object.assign(ann(d).application_credentials?.[0] ?? {}, { project_id: "p-x" }),
        "users[1].application_credentials[0].project_id names a project",
      ],
      [
        (d) => Object.assign(byId(d.projects, "p-beta"), { name: "alpha" }),
        "projects[1].name is taken by another one; names are compared without case.",
      ],
    ];
    for (const [change, place] of changes) {
      expect(refusalOfDocument(change)).toContain(`IDENTITY is not usable: ${place}`);
    }
  });

  it("is refused when a password asks for more iterations than production computes", () => {
    const reason = refusalOfDocument((document) => {
      const user = byId(document.users, "u-ann");
      user.password = user.password.replace("$10$", "$600000$");
    });
    expect(reason).toBe(
      "IDENTITY is not usable: users[1].password asks for 600000 PBKDF2 iterations, but Workers compute at most 100000.",
    );
  });

  it("is refused without quoting from it", () => {
    expect(refusalOfVariables({ IDENTITY: '{"password": "hunter2' })).toBe(
      "IDENTITY is not valid JSON.",
    );
    const reason = refusalOfDocument((d) =>
      Object.assign(byId(d.users, "u-ann"), { password: "hunter2" }),
    );
    expect(reason).toContain("users[1].password must be a hash");
    expect(reason).not.toContain("hunter2");
  });

  it("needs no domains: there is a default one", () => {
    const { projects, users } = { projects: [{ id: "p", name: "p" }], users: [] };
    const settings = parseAuthSettings({
      TOKEN_SECRET,
      IDENTITY: JSON.stringify({ projects, users }),
    });
    expect(settings.identity.projects.get("p")?.domain).toMatchObject({
      id: "default",
      name: "Default",
    });
  });

  it("CTX-3: has its role names in lower case", () => {
    const root = aCloud().identity.users.get("u-root");
    expect(root?.rolesByProject.get("p-alpha")).toEqual(["admin"]);
  });

  it("is read or refused with a Fault, whatever the text", () => {
    const shaped = fc.record(
      { projects: fc.jsonValue(), users: fc.jsonValue(), domains: fc.jsonValue() },
      { requiredKeys: [] },
    );
    fc.assert(
      fc.property(
        fc.oneof(
          fc.string(),
          fc.json(),
          shaped.map((v) => JSON.stringify(v)),
        ),
        (text) => {
          try {
            parseAuthSettings({ TOKEN_SECRET, IDENTITY: text });
          } catch (cause) {
            expect(cause).toBeInstanceOf(Fault);
          }
        },
      ),
    );
  });
});

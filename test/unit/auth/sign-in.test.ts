import fc from "fast-check";
import { describe, expect, it } from "vitest";
import {
  aCloud,
  BASE_URL,
  byId,
  type CloudDocument,
  call,
  NOW_MS,
  tokenFor,
  withCredential,
  withPassword,
  withToken,
} from "./a-cloud.ts";

const PATH = "/identity/v3/auth/tokens";
const ALPHA = { id: "p-alpha", name: "alpha", domain: { id: "default", name: "Default" } };

interface TokenBody {
  readonly token: {
    readonly methods: string[];
    readonly project?: { id: string };
    readonly roles?: { id: string; name: string }[];
    readonly catalog?: { type: string; endpoints: Record<string, string>[] }[];
    readonly audit_ids: string[];
    readonly expires_at: string;
  };
}

async function signIn(body: unknown, change?: (document: CloudDocument) => void) {
  const reply = await call("POST", PATH, { body, settings: aCloud(change) });
  expect(reply.status).toBe(201);
  return ((await reply.json()) as TokenBody).token;
}

async function refusalOf(body: unknown, change?: (document: CloudDocument) => void) {
  const reply = await call("POST", PATH, { body, settings: aCloud(change) });
  expect(reply.headers.get("x-subject-token")).toBeNull();
  const { error } = (await reply.json()) as { error: { code: number; message: string } };
  expect(error.code).toBe(reply.status);
  return { status: reply.status, message: error.message };
}

describe("signing in with a password", () => {
  it("gives a token as Keystone describes it", async () => {
    const reply = await call("POST", PATH, { body: withPassword("ann", "ann secret") });
    expect(reply.status).toBe(201);
    expect(reply.headers.get("content-type")).toBe("application/json");
    expect(reply.headers.get("x-subject-token")).toMatch(/^[\w-]+\.[\w-]+\.[\w-]+$/);
    const { token } = (await reply.json()) as TokenBody;
    expect(token).toEqual({
      methods: ["password"],
      user: {
        id: "u-ann",
        name: "ann",
        domain: { id: "default", name: "Default" },
        password_expires_at: null,
      },
      audit_ids: [expect.any(String)],
      issued_at: "2026-11-24T12:00:00.000000Z",
      expires_at: "2026-11-24T16:00:00.000000Z",
      project: ALPHA,
      is_domain: false,
      roles: ["member", "service", "reader"].map((name) => ({ id: name, name })),
      catalog: expect.any(Array),
    });
  });

  it("BI-1: compares names of users, domains and projects without case, and ids exactly", async () => {
    const user = { name: "BOB", domain: { name: "elsewhere" }, password: "bob secret" };
    const identity = { methods: ["password"], password: { user } };
    const project = { name: "Alpha", domain: { name: "ELSEWHERE" } };
    expect(await signIn({ auth: { identity, scope: { project } } })).toMatchObject({
      user: { id: "u-bob", name: "bob", domain: { name: "Elsewhere" } },
      project: { id: "p-far", name: "alpha" },
    });
    const byDomainId = { name: "ann", domain: { id: "Default" }, password: "ann secret" };
    const wrongIds = [{ id: "U-ANN", password: "ann secret" }, byDomainId];
    for (const user of wrongIds) {
      const body = { auth: { identity: { methods: ["password"], password: { user } } } };
      expect((await refusalOf(body)).status).toBe(401);
    }
  });

  it("finds the user by id, by name and domain id, and by name and domain name", async () => {
    const domains = [
      { id: "u-bob" },
      { name: "bob", domain: { id: "d2" } },
      { name: "bob", domain: { name: "Elsewhere" } },
    ];
    for (const reference of domains) {
      const user = { ...reference, password: "bob secret" };
      const body = { auth: { identity: { methods: ["password"], password: { user } } } };
      expect(await signIn(body)).toMatchObject({ user: { id: "u-bob" } });
    }
  });

  it("looks for a name without a domain in the default one", async () => {
    const user = { name: "ann", password: "ann secret" };
    const body = { auth: { identity: { methods: ["password"], password: { user } } } };
    expect(await signIn(body)).toMatchObject({ user: { id: "u-ann" } });
  });

  it("refuses all wrong guesses with the same 401", async () => {
    const disabled = (d: CloudDocument) =>
      Object.assign(byId(d.users, "u-ann"), { enabled: false });
    const refusals = [
      await refusalOf(withPassword("ann", "wrong")),
      await refusalOf(withPassword("ann", "")),
      await refusalOf(withPassword("nobody", "ann secret")),
      await refusalOf(withPassword("bob", "bob secret")),
      await refusalOf(withPassword("ann", "ann secret"), disabled),
      await refusalOf(withPassword("ann", "wrong", { project: { id: "p-far" } })),
    ];
    const expected = { status: 401, message: "The request you have made requires authentication." };
    expect(refusals).toEqual(refusals.map(() => expected));
  });

  it("CTX-2: says on a 401 where tokens are to be had", async () => {
    const reply = await call("POST", PATH, { body: withPassword("ann", "wrong") });
    expect(reply.headers.get("www-authenticate")).toBe(`Keystone uri="${BASE_URL}/identity"`);
    expect(await reply.json()).toEqual({
      error: {
        code: 401,
        message: "The request you have made requires authentication.",
        title: "Unauthorized",
      },
    });
  });
});

describe("the scope", () => {
  const scoped = (scope?: unknown) => withPassword("ann", "ann secret", scope);

  it("is a project by id, by name and domain id, or by name and domain name", async () => {
    const references = [
      { id: "p-beta" },
      { name: "beta", domain: { id: "default" } },
      { name: "beta", domain: { name: "Default" } },
      { name: "beta" },
    ];
    for (const project of references) {
      const token = await signIn(scoped({ project }));
      expect(token).toMatchObject({ project: { id: "p-beta" }, roles: [{ name: "reader" }] });
    }
  });

  it("is the user's default project when none is asked for", async () => {
    expect((await signIn(scoped())).project).toEqual(ALPHA);
  });

  it("is nothing for a user without a default project, or none that is open", async () => {
    const closings: ((document: CloudDocument) => void)[] = [
      (d) => Reflect.deleteProperty(byId(d.users, "u-ann"), "default_project_id"),
      (d) => Object.assign(byId(d.projects, "p-alpha"), { enabled: false }),
      (d) => Reflect.deleteProperty(byId(d.users, "u-ann").roles, "p-alpha"),
    ];
    for (const change of closings) {
      const token = await signIn(scoped(), change);
      expect(token).not.toHaveProperty("project");
      expect(token).not.toHaveProperty("roles");
      expect(token).not.toHaveProperty("catalog");
    }
  });

  it("is nothing when the caller wants none, in either spelling", async () => {
    for (const scope of ["unscoped", { unscoped: {} }]) {
      expect(await signIn(scoped(scope))).not.toHaveProperty("project");
    }
  });

  it("is refused in the same words for projects unknown, disabled and of others", async () => {
    const closed = (d: CloudDocument) =>
      Object.assign(byId(d.projects, "p-beta"), { enabled: false });
    const refusals = [
      await refusalOf(scoped({ project: { id: "p-none" } })),
      await refusalOf(scoped({ project: { id: "p-far" } })),
      await refusalOf(scoped({ project: { name: "alpha", domain: { id: "d2" } } })),
      await refusalOf(scoped({ project: { id: "p-beta" } }), closed),
    ];
    const message = "You have no role on the project that was asked for.";
    expect(refusals).toEqual(refusals.map(() => ({ status: 401, message })));
  });

  it("ROL-3: is never a domain, the system or a trust", async () => {
    const scopes = [
      { domain: { id: "default" } },
      { system: { all: true } },
      { "OS-TRUST:trust": { id: "x" } },
      {},
    ];
    for (const scope of scopes) expect((await refusalOf(scoped(scope))).status).toBe(401);
  });
});

describe("signing in with a token", () => {
  it("changes the scope, and keeps the end and the audit chain", async () => {
    const settings = aCloud();
    const first = await call("POST", PATH, {
      settings,
      body: withPassword("ann", "ann secret", "unscoped"),
    });
    const original = ((await first.json()) as TokenBody).token;
    const body = withToken(first.headers.get("x-subject-token") ?? "", {
      project: { id: "p-beta" },
    });
    const reply = await call("POST", PATH, { settings, body, nowMs: NOW_MS + 3_600_000 });
    const { token } = (await reply.json()) as TokenBody;
    expect(token).toMatchObject({
      methods: ["password", "token"],
      project: { id: "p-beta" },
      issued_at: "2026-11-24T13:00:00.000000Z",
      expires_at: original.expires_at,
    });
    expect(token.audit_ids).toEqual([expect.any(String), original.audit_ids[0]]);
  });

  it("needs a token that holds", async () => {
    expect((await refusalOf(withToken("garbage"))).status).toBe(401);
  });

  it("is refused for a token of an application credential, which would widen it", async () => {
    const token = await tokenFor(withCredential({ id: "c-robot", secret: "robot secret" }));
    expect((await refusalOf(withToken(token, { project: { id: "p-beta" } }))).status).toBe(403);
  });
});

describe("signing in with an application credential", () => {
  const secret = "robot secret";

  it("finds it by id, or by its name and its user", async () => {
    const credentials = [
      { id: "c-robot", secret },
      { name: "robot", user: { id: "u-ann" }, secret },
      { name: "robot", user: { name: "ann", domain: { name: "Default" } }, secret },
      { name: "Robot", user: { name: "Ann", domain: { name: "default" } }, secret },
    ];
    for (const credential of credentials) {
      expect(await signIn(withCredential(credential))).toMatchObject({
        methods: ["application_credential"],
        user: { id: "u-ann" },
        project: { id: "p-alpha" },
        roles: [{ id: "reader", name: "reader" }],
        expires_at: "2026-11-24T12:30:00.000000Z",
        application_credential: { id: "c-robot", name: "robot", restricted: true },
      });
    }
  });

  it("refuses what is wrong, unknown, expired or disabled with the same 401", async () => {
    const expired = (d: CloudDocument) => {
      const [credential] = byId(d.users, "u-ann").application_credentials ?? [];
      Object.assign(credential ?? {}, { expires_at: "2026-11-24T12:00:00Z" });
    };
    const disabled = (d: CloudDocument) =>
      Object.assign(byId(d.users, "u-ann"), { enabled: false });
    const refusals = [
      await refusalOf(withCredential({ id: "c-robot", secret: "wrong" })),
      await refusalOf(withCredential({ id: "c-none", secret })),
      await refusalOf(withCredential({ name: "robot", user: { id: "u-bob" }, secret })),
      await refusalOf(withCredential({ name: "robot", user: { id: "u-none" }, secret })),
      await refusalOf(withCredential({ id: "c-robot", secret }), expired),
      await refusalOf(withCredential({ id: "c-robot", secret }), disabled),
    ];
    const expected = { status: 401, message: "The request you have made requires authentication." };
    expect(refusals).toEqual(refusals.map(() => expected));
  });

  it("refuses a scope, for the credential has its own", async () => {
    const body = withCredential({ id: "c-robot", secret }) as { auth: object };
    const auth = { ...body.auth, scope: { project: { id: "p-alpha" } } };
    expect((await refusalOf({ auth })).status).toBe(401);
  });
});

describe("the body of a sign-in", () => {
  it.each<[string, unknown]>([
    ["nothing", ""],
    ["an array", []],
    ["no auth", {}],
    ["no methods", { auth: { identity: {} } }],
    ["an empty list of methods", { auth: { identity: { methods: [] } } }],
    ["two methods", { auth: { identity: { methods: ["password", "token"] } } }],
    ["a method without its part", { auth: { identity: { methods: ["password"] } } }],
    [
      "a user without id or name",
      { auth: { identity: { methods: ["password"], password: { user: { password: "x" } } } } },
    ],
    ["a credential without id or name", withCredential({ secret: "x" })],
    ["a credential name without a user", withCredential({ name: "robot", secret: "x" })],
  ])("is a 400 with %s", async (_, body) => {
    expect((await refusalOf(body)).status).toBe(400);
  });

  it("is a 401 with a method that is not known here", async () => {
    expect((await refusalOf({ auth: { identity: { methods: ["totp"] } } })).status).toBe(401);
  });

  it("is not quoted when it cannot be parsed", async () => {
    const { status, message } = await refusalOf('{"auth": {"password": hunter2');
    expect(status).toBe(400);
    expect(message).not.toContain("hunter2");
  });

  it("is a 413 when it is larger than 64 KiB", async () => {
    expect((await refusalOf(withPassword("ann", "x".repeat(65_536)))).status).toBe(413);
  });

  it("gives a token or a Fault, whatever it is", async () => {
    const settings = aCloud();
    const word = fc.constantFrom(
      "password",
      "token",
      "application_credential",
      "unscoped",
      "u-ann",
      "",
    );
    const leaf = fc.oneof(word, fc.jsonValue({ maxDepth: 1 }));
    const reference = fc.record({ id: leaf, name: leaf, domain: leaf }, { requiredKeys: [] });
    const body = fc.record({
      auth: fc.record(
        {
          identity: fc.record(
            {
              methods: fc.oneof(leaf, fc.array(word, { maxLength: 2 })),
              password: fc.oneof(leaf, fc.record({ user: fc.oneof(reference, leaf) })),
              token: fc.oneof(leaf, fc.record({ id: leaf })),
              application_credential: fc.oneof(
                leaf,
                fc.record({ id: leaf, secret: leaf, user: reference }),
              ),
            },
            { requiredKeys: [] },
          ),
          scope: fc.oneof(leaf, fc.record({ project: fc.oneof(reference, leaf) })),
        },
        { requiredKeys: [] },
      ),
    });
    await fc.assert(
      fc.asyncProperty(fc.oneof(body, fc.jsonValue(), fc.string()), async (given) => {
        const reply = await call("POST", PATH, { settings, body: given });
        expect([400, 401]).toContain(reply.status);
        await reply.body?.cancel();
      }),
    );
  });
});

describe("the catalog", () => {
  it("VER-6: has the identity and the image service at the address of the request", async () => {
    const { catalog = [] } = await signIn(withPassword("ann", "ann secret"));
    const listed = catalog.map(({ type, endpoints }) => ({
      type,
      endpoints: endpoints.map(({ interface: side, region, region_id, url }) => [
        side,
        region,
        region_id,
        url,
      ]),
    }));
    const endpoints = (url: string) =>
      ["public", "internal", "admin"].map((side) => [side, "RegionOne", "RegionOne", url]);
    expect(listed).toEqual([
      { type: "identity", endpoints: endpoints(`${BASE_URL}/identity`) },
      { type: "image", endpoints: endpoints(BASE_URL) },
    ]);
  });

  it("names the region that REGION says", async () => {
    const settings = aCloud(undefined, { REGION: "eu-west" });
    const reply = await call("POST", PATH, { body: withPassword("ann", "ann secret"), settings });
    const { catalog = [] } = ((await reply.json()) as TokenBody).token;
    const regions = catalog.flatMap(({ endpoints }) =>
      endpoints.flatMap(({ region, region_id }) => [region, region_id]),
    );
    expect(new Set(regions)).toEqual(new Set(["eu-west"]));
  });

  it("is left out on request", async () => {
    const reply = await call("POST", `${PATH}?nocatalog`, {
      body: withPassword("ann", "ann secret"),
    });
    expect(((await reply.json()) as TokenBody).token).not.toHaveProperty("catalog");
  });
});

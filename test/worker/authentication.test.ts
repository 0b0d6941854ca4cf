import { env } from "cloudflare:workers";
import { describe, expect, it } from "vitest";
import { parseAuthSettings } from "../../src/auth/authenticate.ts";
import { rolesOn } from "../../src/auth/identity-document.ts";
import { type Grant, signToken } from "../../src/auth/token.ts";
import {
  admin,
  type Caller,
  membersReader,
  owner,
  ownersReader,
  unscoped,
} from "../support/callers.ts";
import { identityDocument } from "../support/identity-document.ts";
import { type ImageRecord, Service } from "../support/service.ts";

const service = new Service();

/** A caller of a cloud of its own: one project in which one user has these roles, as spelled. */
function callerWithRoles(roles: readonly string[]): { at: Service; caller: Caller } {
  const [user] = identityDocument.users;
  const projectId = "owner-project";
  const document = {
    projects: identityDocument.projects,
    users: [{ ...user, id: "someone", name: "someone", roles: { [projectId]: roles } }],
  };
  const settings = { IDENTITY: JSON.stringify(document) };
  return {
    at: new Service({ settings }),
    caller: { projectId, token: () => tokenFor("someone", projectId, settings) },
  };
}

async function tokenFor(
  userId: string,
  projectId: string,
  settings: Readonly<Record<string, string>> = {},
  change: Partial<Grant> = {},
): Promise<string> {
  const auth = parseAuthSettings({ ...env, ...settings });
  const user = auth.identity.users.get(userId);
  const project = auth.identity.projects.get(projectId);
  if (user === undefined || project === undefined) throw new Error(`no ${userId} or ${projectId}`);
  const issuedAtMs = Math.floor(Date.now() / 1000) * 1000;
  const grant: Grant = {
    user,
    project,
    roles: rolesOn(user, projectId),
    methods: ["password"],
    auditIds: ["test"],
    issuedAtMs,
    expiresAtMs: issuedAtMs + 60_000,
    credential: null,
    ...change,
  };
  return await signToken(grant, auth);
}

const visible = async (response: Response) => {
  const { images } = await response.json<{ images: ImageRecord[] }>();
  return images.map(({ id }) => id);
};

describe("who needs a token", () => {
  it.each(["/v2/images", "/v2/nothing", "/v2/images/", "/v2.5/images", "/v2/schemas/image"])(
    "CTX-1: %s does",
    async (path) => {
      expect((await service.call(null, "GET", path)).status).toBe(401);
    },
  );

  it.each([
    ["/", 300],
    ["/versions", 200],
    ["/v2", 200],
    ["/v3/images", 300],
    ["/healthcheck", 200],
    ["/identity/v3", 200],
  ])("CTX-1: %s does not: %i", async (path, status) => {
    expect((await service.call(null, "GET", path)).status).toBe(status);
  });

  it.each([
    ["an empty one", ""],
    ["a word", "secret"],
    ["three empty parts", ".."],
    ["an unsigned one", "eyJhbGciOiJub25lIn0.e30."],
    ["one beyond ASCII", "gAAAAA\u00e9"],
  ])("CTX-1: %s is no token", async (_, token) => {
    const headers = { "x-auth-token": token };
    expect((await service.call(null, "GET", "/v2/images", { headers })).status).toBe(401);
  });

  it("CTX-1: a token that has expired, or that another secret signed, is none", async () => {
    const userId = "member-of-owner-project";
    const expired = { expiresAtMs: Math.floor(Date.now() / 1000 - 60) * 1000 };
    const foreign = { TOKEN_SECRET: "another-secret-only-for-this-test-0123456789" };
    const tokens = [
      await tokenFor(userId, "owner-project", {}, expired),
      await tokenFor(userId, "owner-project", foreign),
    ];
    for (const token of tokens) {
      const headers = { "x-auth-token": token };
      expect((await service.call(null, "GET", "/v2/images", { headers })).status).toBe(401);
    }
    const headers = { "x-auth-token": await tokenFor(userId, "owner-project") };
    expect((await service.call(null, "GET", "/v2/images", { headers })).status).toBe(200);
  });

  it("CTX-2: a 401 says where tokens are to be had", async () => {
    const headers = { "x-auth-token": "nonsense" };
    for (const options of [{}, { headers }]) {
      const response = await service.call(null, "GET", "/v2/images", options);
      expect(response.headers.get("www-authenticate")).toBe(
        'Keystone uri="http://image.test/identity"',
      );
    }
    const at = new Service({ settings: { PUBLIC_ENDPOINT: "https://example.com/image/" } });
    const response = await at.call(null, "GET", "/v2/images");
    expect(response.headers.get("www-authenticate")).toBe(
      'Keystone uri="https://example.com/image/identity"',
    );
  });
});

describe("roles", () => {
  it.each(["admin", "Admin", "ADMIN"])("CTX-3: %s is admin", async (role) => {
    const { at, caller } = callerWithRoles([role]);
    const json = { visibility: "public" };
    expect((await at.call(caller, "POST", "/v2/images", { json })).status).toBe(201);
  });

  it.each(["member", "Member", "MEMBER"])("CTX-3: %s is member and not admin", async (role) => {
    const { at, caller } = callerWithRoles([role]);
    expect((await at.call(caller, "POST", "/v2/images", { json: {} })).status).toBe(201);
    const json = { visibility: "public" };
    expect((await at.call(caller, "POST", "/v2/images", { json })).status).toBe(403);
  });

  it.each(["reader", "Reader"])("CTX-3: %s is reader and creates nothing", async (role) => {
    const { at, caller } = callerWithRoles([role]);
    expect((await at.call(caller, "GET", "/v2/images")).status).toBe(200);
    expect((await at.call(caller, "POST", "/v2/images", { json: {} })).status).toBe(403);
  });

  it("CTX-4: the role admin counts in whatever project it is held", async () => {
    const { id } = await service.create(owner, { visibility: "private" });
    const elsewhere: Caller = {
      projectId: "other-project",
      token: () => tokenFor("admin-of-other-project", "other-project"),
    };
    for (const caller of [admin, elsewhere]) {
      expect((await service.call(caller, "GET", `/v2/images/${id}`)).status).toBe(200);
      const patch = [{ op: "replace", path: "/name", value: caller.projectId }];
      expect((await service.call(caller, "PATCH", `/v2/images/${id}`, { patch })).status).toBe(200);
    }
    expect((await service.call(membersReader, "GET", `/v2/images/${id}`)).status).toBe(404);
  });

  it("CTX-4: who is admin is for the policy context_is_admin to say", async () => {
    const { id } = await service.create(owner, { visibility: "private" });
    const POLICY = JSON.stringify({ context_is_admin: "role:service" });
    const at = new Service({ settings: { POLICY } });
    expect((await at.call(admin, "GET", `/v2/images/${id}`)).status).toBe(404);
  });
});

describe("anonymous callers", () => {
  const open = new Service({ settings: { ALLOW_ANONYMOUS_ACCESS: "true" } });

  it.each([
    ["POST", "/v2/images", { json: {} }],
    ["PATCH", "/v2/images/:id", { patch: [] }],
    ["DELETE", "/v2/images/:id", {}],
    ["PUT", "/v2/images/:id/file", { body: "x" }],
    ["PUT", "/v2/images/:id/tags/blue", {}],
    ["POST", "/v2/images/:id/members", { json: { member: "m" } }],
    ["POST", "/v2/images/:id/actions/deactivate", {}],
  ])("CTX-5: %s %s is refused as read-only: 403", async (method, pattern, options) => {
    const { id } = await service.create(admin, { visibility: "public" });
    const response = await open.call(null, method, pattern.replace(":id", id), options);
    expect(response.status).toBe(403);
    expect(await response.text()).toContain("Read-only access");
  });

  it("CTX-5: they may not list by the default policy, and may when it lets them", async () => {
    expect((await open.call(null, "GET", "/v2/images")).status).toBe(403);
    const { id } = await service.create(admin, { visibility: "public" });
    const hidden = await service.create(owner, { visibility: "private" });
    const nobodys = await service.create(admin, { visibility: "private", owner: null });
    const POLICY = JSON.stringify({ get_images: "@", get_image: "@" });
    const at = new Service({ settings: { ALLOW_ANONYMOUS_ACCESS: "true", POLICY } });
    const ids = await visible(await at.call(null, "GET", "/v2/images?limit=1000"));
    expect(ids).toContain(id);
    expect(ids).not.toContain(hidden.id);
    expect(ids).not.toContain(nobodys.id);
    expect((await at.call(null, "GET", `/v2/images/${id}`)).status).toBe(200);
    expect((await at.call(null, "GET", `/v2/images/${hidden.id}`)).status).toBe(404);
  });

  it("CTX-5: a token that does not hold is 401 even where none is needed", async () => {
    const headers = { "x-auth-token": "nonsense" };
    expect((await open.call(null, "GET", "/v2/schemas/image")).status).toBe(200);
    expect((await open.call(null, "GET", "/v2/schemas/image", { headers })).status).toBe(401);
  });
});

describe("a token without a project", () => {
  it("CTX-6: creates nothing: 403, for there is nobody to own it", async () => {
    for (const json of [{}, { owner: null }, { owner: "owner-project" }]) {
      expect((await service.call(unscoped, "POST", "/v2/images", { json })).status).toBe(403);
    }
  });

  it("CTX-6: lists without own images where the policy lets it list", async () => {
    const own = await service.create(owner, { visibility: "private" });
    const open = await service.create(admin, { visibility: "public" });
    expect((await service.call(unscoped, "GET", "/v2/images")).status).toBe(403);
    const POLICY = JSON.stringify({ get_images: "@", get_image: "@" });
    const at = new Service({ settings: { POLICY } });
    const ids = await visible(await at.call(unscoped, "GET", "/v2/images?limit=1000"));
    expect(ids).toContain(open.id);
    expect(ids).not.toContain(own.id);
    const ofProject = await visible(await at.call(ownersReader, "GET", "/v2/images?limit=1000"));
    expect(ofProject).toContain(own.id);
  });
});

import { describe, expect, it } from "vitest";
import { identityRoutes } from "../../../src/api/identity.ts";
import { aCloud, BASE_URL, call, tokenFor, withPassword } from "./a-cloud.ts";

const V3 = "/identity/v3";
const TOKENS = `${V3}/auth/tokens`;

const ann = await tokenFor(withPassword("ann", "ann secret"));
const root = await tokenFor(withPassword("root", "root secret"));
const unscoped = await tokenFor(withPassword("ann", "ann secret", "unscoped"));

async function get(token: string, path: string) {
  const reply = await call("GET", `${V3}${path}`, { headers: { "x-auth-token": token } });
  return { status: reply.status, body: (await reply.json()) as Record<string, unknown> };
}

/** The ids of the records in a list, or the status where there is no list. */
async function idsOf(token: string, path: string): Promise<unknown> {
  const { status, body } = await get(token, path);
  const records = Object.entries(body).find(([key]) => key !== "links")?.[1];
  return status === 200 ? (records as { id: string }[]).map(({ id }) => id) : status;
}

describe("discovery", () => {
  const version = {
    id: "v3.14",
    status: "stable",
    updated: "2020-04-07T00:00:00Z",
    links: [{ rel: "self", href: `${BASE_URL}/identity/v3/` }],
    "media-types": [
      { base: "application/json", type: "application/vnd.openstack.identity-v3+json" },
    ],
  };

  it("lists the versions at /identity, with or without a slash and a token", async () => {
    for (const path of ["/identity", "/identity/"]) {
      const reply = await call("GET", path);
      expect(reply.status).toBe(300);
      expect(await reply.json()).toEqual({ versions: { values: [version] } });
    }
  });

  it("describes version 3 at /identity/v3, with or without a slash and a token", async () => {
    for (const path of [V3, `${V3}/`]) {
      const reply = await call("GET", path);
      expect(reply.status).toBe(200);
      expect(await reply.json()).toEqual({ version });
    }
  });
});

describe("the routes", () => {
  it("CTX-1: answer 401 without a token, all but the public ones", async () => {
    for (const route of identityRoutes) {
      if (route.access === "public") continue;
      const reply = await call(route.method, route.path.replace(":id", "x"));
      expect([route.path, reply.status]).toEqual([route.path, 401]);
      await reply.body?.cancel();
    }
  });

  it("serve no development document through the edge, the public ones included", async () => {
    const settings = aCloud((d) => Object.assign(d, { development: true }), {
      DEVELOPMENT: "true",
    });
    for (const route of identityRoutes) {
      const reply = await call(route.method, route.path.replace(":id", "x"), {
        settings,
        headers: { "cf-ray": "8f0000000000-FRA" },
        ...(route.method === "POST" && { body: withPassword("ann", "ann secret") }),
      });
      expect([route.path, reply.status]).toEqual([route.path, 503]);
      await reply.body?.cancel();
    }
  });
});

describe("looking at a token", () => {
  const inspect = (method: string, caller: string, subject?: string) =>
    call(method, TOKENS, {
      headers: {
        "x-auth-token": caller,
        ...(subject !== undefined && { "x-subject-token": subject }),
      },
    });

  it("shows callers their own, with and without a scope", async () => {
    const reply = await inspect("GET", unscoped, ann);
    expect(reply.status).toBe(200);
    expect(reply.headers.get("x-subject-token")).toBe(ann);
    expect(await reply.json()).toMatchObject({
      token: { user: { id: "u-ann" }, project: { id: "p-alpha" }, methods: ["password"] },
    });
  });

  it("shows admins any, and others only their own", async () => {
    const statuses = [];
    for (const [caller, subject] of [
      [root, ann],
      [ann, root],
    ] as const) {
      const reply = await inspect("GET", caller, subject);
      statuses.push(reply.status);
      await reply.body?.cancel();
    }
    expect(statuses).toEqual([200, 403]);
  });

  it("answers a HEAD without a body", async () => {
    const reply = await inspect("HEAD", ann, ann);
    expect([reply.status, reply.body]).toEqual([200, null]);
  });

  it("does not find one that does not hold, or none", async () => {
    for (const subject of ["garbage", undefined]) {
      const reply = await inspect("GET", ann, subject);
      expect(reply.status).toBe(404);
      await reply.body?.cancel();
    }
  });

  it("is revoked in word only: the call succeeds and the token lives until it expires", async () => {
    const reply = await inspect("DELETE", ann, ann);
    expect([reply.status, reply.body]).toEqual([204, null]);
    expect((await get(ann, "/auth/projects")).status).toBe(200);
  });

  it("is not revoked for others", async () => {
    const reply = await inspect("DELETE", ann, root);
    expect(reply.status).toBe(403);
    await reply.body?.cancel();
  });
});

describe("what a token opens", () => {
  it("lists the projects to choose from, for an unscoped token too", async () => {
    expect(await idsOf(unscoped, "/auth/projects")).toEqual(["p-alpha", "p-beta"]);
  });

  it("lists the catalog for a token with a project", async () => {
    expect(await idsOf(ann, "/auth/catalog")).toEqual(["identity", "image"]);
    expect(await idsOf(unscoped, "/auth/catalog")).toBe(403);
  });
});

describe("looking up projects", () => {
  it("shows admins all of them, by name, domain and state", async () => {
    expect(await idsOf(root, "/projects")).toEqual(["p-alpha", "p-beta", "p-far"]);
    expect(await idsOf(root, "/projects?name=alpha")).toEqual(["p-alpha", "p-far"]);
    expect(await idsOf(root, "/projects?name=alpha&domain_id=d2")).toEqual(["p-far"]);
    expect(await idsOf(root, "/projects?name=ALPHA&domain_id=d2")).toEqual(["p-far"]);
    expect(await idsOf(root, "/projects?enabled=true&parent_id=d2")).toEqual(["p-far"]);
    expect(await idsOf(root, "/projects?enabled=false")).toEqual([]);
    expect(await idsOf(root, "/projects?is_domain=true")).toEqual([]);
    expect(await idsOf(root, "/projects?name=none")).toEqual([]);
    expect(await idsOf(root, "/users/u-ann/projects")).toEqual(["p-alpha", "p-beta"]);
  });

  it("shows others their own by id and name, and refuses the rest as if it did not exist", async () => {
    expect(await idsOf(ann, "/projects?name=beta")).toEqual(["p-beta"]);
    expect(await idsOf(ann, "/users/u-ann/projects")).toEqual(["p-alpha", "p-beta"]);
    const refused = ["/projects?name=none", "/users/u-bob/projects"];
    for (const path of [...refused, "/projects/p-far", "/projects/p-none"]) {
      expect([path, (await get(ann, path)).status]).toEqual([path, 403]);
    }
  });

  it("tells everyone the id of a project whose exact name they know, so that sharing by name works", async () => {
    expect(await idsOf(ann, "/projects?name=alpha&domain_id=d2")).toEqual(["p-far"]);
  });

  it("refuses others the whole list, without which the stock client cannot fall back to an id", async () => {
    for (const path of ["/projects", "/projects?domain_id=default", "/users", "/domains"]) {
      expect([path, (await get(ann, path)).status]).toEqual([path, 403]);
    }
  });

  it("shows one as Keystone does", async () => {
    expect(await get(ann, "/projects/p-beta")).toEqual({
      status: 200,
      body: {
        project: {
          id: "p-beta",
          name: "beta",
          domain_id: "default",
          parent_id: "default",
          description: "",
          enabled: true,
          is_domain: false,
          options: {},
          tags: [],
          links: { self: `${BASE_URL}/identity/v3/projects/p-beta` },
        },
      },
    });
  });

  it("does not find for an admin what does not exist", async () => {
    const { status, body } = await get(root, "/projects/p-none");
    expect(status).toBe(404);
    expect(body).toEqual({
      error: { code: 404, message: "Could not find project: p-none.", title: "Not Found" },
    });
  });

  it("gives lists a link to themselves", async () => {
    const { body } = await get(root, "/projects?name=beta");
    const self = `${BASE_URL}/identity/v3/projects?name=beta`;
    expect(body.links).toEqual({ self, previous: null, next: null });
  });
});

describe("looking up users", () => {
  it("shows admins all of them", async () => {
    expect(await idsOf(root, "/users")).toEqual(["u-root", "u-ann", "u-bob"]);
    expect(await idsOf(root, "/users?name=bob&domain_id=d2")).toEqual(["u-bob"]);
    expect((await get(root, "/users/u-none")).status).toBe(404);
  });

  it("shows others themselves only", async () => {
    expect(await idsOf(ann, "/users?name=ann")).toEqual(["u-ann"]);
    expect((await get(ann, "/users/u-ann")).status).toBe(200);
    expect(await idsOf(ann, "/users?name=bob")).toBe(403);
    expect((await get(ann, "/users/u-bob")).status).toBe(403);
  });

  it("never shows what stands for a password", async () => {
    const { body } = await get(root, "/users/u-ann");
    expect(body).toEqual({
      user: {
        id: "u-ann",
        name: "ann",
        domain_id: "default",
        description: "",
        enabled: true,
        default_project_id: "p-alpha",
        password_expires_at: null,
        options: {},
        links: { self: `${BASE_URL}/identity/v3/users/u-ann` },
      },
    });
  });
});

describe("looking up domains and roles", () => {
  it("shows admins all of them", async () => {
    expect(await idsOf(root, "/domains")).toEqual(["default", "d2"]);
    expect(await idsOf(root, "/domains?name=Elsewhere")).toEqual(["d2"]);
    expect(await idsOf(root, "/roles")).toEqual(["admin", "member", "reader", "service"]);
    expect(await idsOf(root, "/roles?name=service")).toEqual(["service"]);
    expect((await get(root, "/roles/member")).body).toMatchObject({ role: { name: "member" } });
  });

  it("shows others their own domain and no roles", async () => {
    expect(await idsOf(ann, "/domains?name=Default")).toEqual(["default"]);
    expect((await get(ann, "/domains/default")).body).toMatchObject({
      domain: { name: "Default" },
    });
    for (const path of ["/domains/d2", "/roles", "/roles/member"]) {
      expect([path, (await get(ann, path)).status]).toEqual([path, 403]);
    }
  });
});

import { env } from "cloudflare:workers";
import { describe, expect, it } from "vitest";
import objects from "../../src/db/schema-objects.json";
import { owner } from "../support/callers.ts";
import { CountingService } from "../support/counting.ts";
import { Service } from "../support/service.ts";

const service = new Service();

interface Version {
  id: string;
  status: string;
  links: { rel: string; href: string }[];
}

async function versionsOf(response: Response): Promise<Version[]> {
  const { versions } = await response.json<{ versions: Version[] }>();
  return versions;
}

/** Where the discovery document says that the API is; every entry must say the same. */
async function linkOf(at: Service, url: string): Promise<string | undefined> {
  const versions = await versionsOf(await at.fetch(new Request(url)));
  const hrefs = new Set(versions.flatMap(({ links }) => links.map(({ href }) => href)));
  expect(hrefs.size).toBe(1);
  return [...hrefs][0];
}

describe("the discovery document", () => {
  it.each(["http://image.test/", "http://image.test", "http://image.test/?a=b"])(
    "VER-1: %s is 300 with the list of versions",
    async (url) => {
      const response = await service.fetch(new Request(url));
      expect(response.status).toBe(300);
      expect(response.headers.get("content-type")).toBe("application/json");
      expect(await versionsOf(response)).toContainEqual({
        id: "v2.17",
        status: "CURRENT",
        links: [{ rel: "self", href: "http://image.test/v2/" }],
      });
    },
  );

  it.each(["/versions", "/versions/", "/versions/anything", "/versions/v2/images"])(
    "VER-2: %s is 200 with the same body",
    async (path) => {
      const response = await service.call(null, "GET", path);
      expect(response.status).toBe(200);
      const root = await service.call(null, "GET", "/");
      expect(await response.text()).toBe(await root.text());
    },
  );

  it.each(["/v1", "/v1/images", "/v3/images", "/foo", "/v2.99", "/v2.99/images", "/V2/images"])(
    "VER-3: %s is 300 with the same body and never 404",
    async (path) => {
      const response = await service.call(null, "GET", path);
      expect(response.status).toBe(300);
      const root = await service.call(null, "GET", "/");
      expect(await response.text()).toBe(await root.text());
    },
  );

  it("VER-3: whoever has a token is told the same", async () => {
    expect((await service.call(owner, "GET", "/v3/images")).status).toBe(300);
  });

  it.each(
    ["/", "/versions", "/v2", "/v2/", "/v3/images"].flatMap((path) =>
      ["POST", "PUT", "PATCH", "DELETE", "PROPFIND"].map((method) => [method, path] as const),
    ),
  )("VER-4: %s %s is 405 and says that GET and HEAD are allowed", async (method, path) => {
    const response = await service.call(null, method, path);
    expect(response.status).toBe(405);
    expect(response.headers.get("allow")).toBe("GET, HEAD");
  });

  it.each([
    ["/", 300],
    ["/versions", 200],
    ["/v2/", 200],
  ])("VER-4: HEAD %s has the status of GET (%i) and no body", async (path, status) => {
    const response = await service.call(null, "HEAD", path);
    expect(response.status).toBe(status);
    expect(response.headers.get("content-type")).toBe("application/json");
    expect(await response.text()).toBe("");
  });

  it("VER-5: each entry has an id, a status and one self link to the same place", async () => {
    const response = await service.call(null, "GET", "/");
    const body = await response.json<{ versions: Version[] }>();
    expect(Object.keys(body)).toEqual(["versions"]);
    for (const version of body.versions) {
      expect(version).toEqual({
        id: expect.stringMatching(/^v2\.\d+$/),
        status: expect.stringMatching(/^(CURRENT|SUPPORTED)$/),
        links: [{ rel: "self", href: "http://image.test/v2/" }],
      });
    }
    expect(body.versions.filter(({ status }) => status === "CURRENT")).toHaveLength(1);
  });

  it("VER-9: carries a request id", async () => {
    for (const path of ["/", "/versions", "/v2/", "/v9"]) {
      const { headers } = await service.call(null, "GET", path);
      expect(headers.get("x-openstack-request-id")).toMatch(/^req-/);
    }
  });
});

describe("the base address", () => {
  it.each([
    ["http://image.test/", "http://image.test/v2/"],
    ["https://image.test/versions", "https://image.test/v2/"],
    ["http://127.0.0.1:9292/", "http://127.0.0.1:9292/v2/"],
    ["http://[::1]:9292/v3", "http://[::1]:9292/v2/"],
  ])("VER-6: is that of the request: %s gives %s", async (url, href) => {
    expect(await linkOf(service, url)).toBe(href);
  });

  it.each([
    ["https://images.example.com", "https://images.example.com/v2/"],
    ["https://images.example.com/", "https://images.example.com/v2/"],
    ["https://images.example.com//", "https://images.example.com/v2/"],
    ["https://example.com:8443/image", "https://example.com:8443/image/v2/"],
    ["https://example.com/a/b/", "https://example.com/a/b/v2/"],
  ])("VER-6: is PUBLIC_ENDPOINT when that is set: %s gives %s", async (PUBLIC_ENDPOINT, href) => {
    const own = new Service({ settings: { PUBLIC_ENDPOINT } });
    expect(await linkOf(own, "http://inner.test/")).toBe(href);
    expect(await linkOf(own, "http://inner.test/versions")).toBe(href);
  });

  it("VER-6: with a mount prefix, paths are taken with it and without it", async () => {
    const own = new Service({ settings: { PUBLIC_ENDPOINT: "https://example.com/image/" } });
    const statusOf = async (path: string) => (await own.call(owner, "GET", path)).status;
    expect(await statusOf("/image/v2/images")).toBe(200);
    expect(await statusOf("/v2/images")).toBe(200);
    expect(await statusOf("/image")).toBe(300);
    expect(await statusOf("/image/")).toBe(300);
    expect(await statusOf("/image/versions")).toBe(200);
    expect(await statusOf("/image/healthcheck")).toBe(200);
    expect(await statusOf("/images/v2/images")).toBe(300);
  });
});

describe("below the version", () => {
  it.each([
    ["VER-7", "/v2/"],
    ["VER-8", "/v2"],
    ["VER-7", "/v2.5/"],
    ["VER-8", "/v2.5"],
  ])("%s: %s is 200 with the list, with a token or without", async (_, path) => {
    const root = await (await service.call(null, "GET", "/")).text();
    for (const caller of [null, owner]) {
      const response = await service.call(caller, "GET", path);
      expect(response.status).toBe(200);
      expect(await response.text()).toBe(root);
    }
  });

  it.each(["v2", "v2.0", "v2.1", "v2.2", "v2.3", "v2.4", "v2.5", "v2.6", "v2.7", "v2.9", "v2.15"])(
    "VER-10: /%s/images is the list of images",
    async (version) => {
      const { id } = await service.create(owner, { name: version });
      const response = await service.call(owner, "GET", `/${version}/images?name=${version}`);
      expect(response.status).toBe(200);
      expect(await response.json()).toMatchObject({
        images: [{ id, self: `/v2/images/${id}`, file: `/v2/images/${id}/file` }],
        first: `/v2/images?name=${version}`,
        schema: "/v2/schemas/images",
      });
    },
  );

  it("VER-10: an image created under /v2.17 has its address under /v2", async () => {
    const response = await service.call(owner, "POST", "/v2.17/images", { json: {} });
    const { id } = await response.json<{ id: string }>();
    expect(response.headers.get("location")).toBe(`http://image.test/v2/images/${id}`);
  });

  it.each(["/v2.07/images", "/v2.5.1/images", "/v2./images", "/v20/images", "/v2x/images"])(
    "VER-10: %s names no version",
    async (path) => {
      expect((await service.call(owner, "GET", path)).status).toBe(300);
    },
  );

  it("VER-11: a version in the Accept header is no version of the path, and harms none", async () => {
    const headers = { accept: "application/vnd.openstack.images-v2" };
    expect((await service.call(owner, "GET", "/images", { headers })).status).toBe(300);
    expect((await service.call(owner, "GET", "/v2/images", { headers })).status).toBe(200);
  });
});

describe("GET /healthcheck", () => {
  it("VER-12: is 200 without a token while the database answers", async () => {
    const response = await service.call(null, "GET", "/healthcheck");
    expect(response.status).toBe(200);
    expect(await response.text()).toBe("OK");
  });

  it.each([
    ["a table", "ALTER TABLE event_counts RENAME TO x", "ALTER TABLE x RENAME TO event_counts"],
    [
      "a column",
      "ALTER TABLE images RENAME COLUMN place TO x",
      "ALTER TABLE images RENAME COLUMN x TO place",
    ],
  ])("VER-12: is 503 while %s is missing, and says which", async (_, change, back) => {
    await env.DB.prepare(change).run();
    const response = await service.call(null, "GET", "/healthcheck");
    const head = await service.call(null, "HEAD", "/healthcheck");
    await env.DB.prepare(back).run();
    expect([response.status, head.status]).toEqual([503, 503]);
    expect(await response.text()).toMatch(/not up to date: .*(event_counts|place).*npm run deploy/);
    expect((await service.call(null, "GET", "/healthcheck")).status).toBe(200);
  });

  it.each(["images_by_owner_name", "usage_by_update", "tasks_by_expiry", "images_deleted"])(
    "VER-12: is 503 while %s is missing, and says so",
    async (name) => {
      const [{ type, sql } = { type: "", sql: "" }] = (
        await env.DB.prepare("SELECT type, sql FROM sqlite_master WHERE name = ?")
          .bind(name)
          .all<{ type: string; sql: string }>()
      ).results;
      await env.DB.prepare(`DROP ${type} ${name}`).run();
      const response = await service.call(null, "GET", "/healthcheck");
      await env.DB.prepare(sql).run();
      expect(response.status).toBe(503);
      expect(await response.text()).toContain(`it lacks ${name}.`);
      expect((await service.call(null, "GET", "/healthcheck")).status).toBe(200);
    },
  );

  it("VER-12: looks for everything that the migrations make, in one round trip", async () => {
    const { results } = await env.DB.prepare(
      `SELECT name FROM sqlite_master WHERE type IN ('table', 'index', 'trigger')
       AND name NOT LIKE 'sqlite_%' AND name NOT LIKE '_cf_%' AND name <> 'd1_migrations' ORDER BY name`,
    ).all<{ name: string }>();
    expect(results.map(({ name }) => name)).toEqual(objects);
    const counting = new CountingService();
    const cost = await counting.costOf(() => counting.call(null, "GET", "/healthcheck"));
    expect(cost.d1).toBe(1);
  });

  it("VER-12: fails when the database does not answer", async () => {
    const DB = {
      prepare: () => {
        throw new Error("no such database");
      },
      batch: () => Promise.reject(new Error("no such database")),
    };
    const broken = new Service({ bindings: { DB: Object.assign(Object.create(null), DB) } });
    const response = await broken.call(null, "GET", "/healthcheck");
    expect(response.status).toBe(500);
    expect(await response.text()).not.toContain("no such database");
  });

  it("VER-12: takes HEAD and nothing else", async () => {
    expect((await service.call(null, "HEAD", "/healthcheck")).status).toBe(200);
    const response = await service.call(null, "POST", "/healthcheck");
    expect(response.status).toBe(405);
    expect(response.headers.get("allow")).toBe("GET, HEAD");
  });
});

describe("what is advertised", () => {
  const advertised = async () =>
    (await versionsOf(await service.call(null, "GET", "/"))).map(({ id, status }) => [id, status]);

  it("VER-16: is, of the versions without cache and stores, what works: 2.17, 2.13, 2.9, and 2.7 and below", async () => {
    expect(await advertised()).toEqual([
      ["v2.17", "CURRENT"],
      ["v2.13", "SUPPORTED"],
      ["v2.9", "SUPPORTED"],
      ["v2.7", "SUPPORTED"],
      ["v2.6", "SUPPORTED"],
      ["v2.5", "SUPPORTED"],
      ["v2.4", "SUPPORTED"],
      ["v2.3", "SUPPORTED"],
      ["v2.2", "SUPPORTED"],
      ["v2.1", "SUPPORTED"],
      ["v2.0", "SUPPORTED"],
    ]);
  });

  it.each([
    ["VER-13", ["v2.10", "v2.11", "v2.12"]],
    ["VER-14", ["v2.14", "v2.16", "v2.18"]],
    ["VER-15", ["v2.8"]],
  ])(
    "%s: the versions of image cache and stores, %j, are neither listed nor served",
    async (_, versions) => {
      const ids = (await advertised()).map(([id]) => id);
      for (const version of versions) {
        expect(ids).not.toContain(version);
        expect((await service.call(owner, "GET", `/${version}/images`)).status).toBe(300);
      }
    },
  );
});

import { describe, expect, it } from "vitest";
import { admin, member, owner } from "../support/callers.ts";
import { type CallOptions, Service } from "../support/service.ts";

const service = new Service();

const MISSING = "00000000-0000-4000-8000-000000000000";
const GENERATED = /^req-[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/;
const UUID = "0a1b2c3d-4e5f-4a6b-8c7d-9e0f1a2b3c4d";

const withId = (id: string): CallOptions => ({ headers: { "x-openstack-request-id": id } });
const idOf = (response: Response) => response.headers.get("x-openstack-request-id");

describe("x-openstack-request-id", () => {
  it.each([
    ["GET", "/"],
    ["GET", "/v3"],
    ["GET", "/v2/images"],
    ["GET", "/v2/nothing"],
    ["PUT", "/v2/images"],
    ["GET", `/v2/images/${MISSING}`],
    ["POST", "/v2/images"],
    ["OPTIONS", "/v2/images"],
    ["HEAD", `/v2/images/${MISSING}`],
    ["GET", "/identity/v3"],
    ["GET", "/healthcheck"],
  ])("HDR-1: is on every answer: %s %s", async (method, path) => {
    expect(idOf(await service.call(owner, method, path))).toMatch(GENERATED);
    expect(idOf(await service.call(null, method, path))).toMatch(GENERATED);
  });

  it("HDR-1: is another one for each request", async () => {
    const ids = [];
    for (let count = 0; count < 5; count++) ids.push(idOf(await service.call(null, "GET", "/")));
    expect(new Set(ids).size).toBe(5);
  });

  it.each([
    [`req-${UUID}`, `req-${UUID}`],
    [UUID, `req-${UUID}`],
    ["mine", "req-mine"],
    ["req-", "req-"],
    ["REQ-mine", "req-REQ-mine"],
    ["r".repeat(64), `req-${"r".repeat(64)}`],
  ])("HDR-1: echoes the caller's %s as %s", async (given, echoed) => {
    for (const path of ["/v2/images", "/v2/nothing", "/"]) {
      expect(idOf(await service.call(owner, "GET", path, withId(given)))).toBe(echoed);
    }
  });

  it.each(["", "two words", "é", "tab\there"])(
    "HDR-1: replaces %j, which a log line could not hold as it is",
    async (given) => {
      const response = await service.call(owner, "GET", "/v2/images", withId(given));
      expect(response.status).toBe(200);
      expect(idOf(response)).toMatch(GENERATED);
    },
  );

  it("HDR-2: longer than the limit is 431, before anything else", async () => {
    const options = withId("r".repeat(65));
    for (const [caller, path] of [
      [owner, "/v2/images"],
      [null, "/v2/images"],
      [null, "/"],
      [owner, "/v2/nothing"],
    ] as const) {
      const response = await service.call(caller, "GET", path, options);
      expect(response.status).toBe(431);
      expect(await response.text()).toContain("64");
    }
  });

  it("HDR-2: the limit is a setting, and 0 means none", async () => {
    const statusAt = async (limit: string, length: number) => {
      const at = new Service({ settings: { MAX_REQUEST_ID_LENGTH: limit } });
      return (await at.call(owner, "GET", "/v2/images", withId("r".repeat(length)))).status;
    };
    expect(await statusAt("10", 10)).toBe(200);
    expect(await statusAt("10", 11)).toBe(431);
    expect(await statusAt("0", 4000)).toBe(200);
  });
});

describe("headers of a new image", () => {
  const create = async (at: Service, url: string) => {
    const headers = { "x-auth-token": await owner.token() };
    const response = await at.fetch(new Request(url, { method: "POST", headers, body: "{}" }));
    expect(response.status).toBe(201);
    const { id } = await response.json<{ id: string }>();
    return { id, location: response.headers.get("location"), headers: response.headers };
  };

  it.each(["http://image.test", "https://image.test:8443", "http://127.0.0.1:9292"])(
    "HDR-3: Location is the image's address at %s",
    async (origin) => {
      const { id, location } = await create(service, `${origin}/v2/images`);
      expect(location).toBe(`${origin}/v2/images/${id}`);
    },
  );

  it("HDR-3: Location keeps the mount prefix of PUBLIC_ENDPOINT", async () => {
    const at = new Service({ settings: { PUBLIC_ENDPOINT: "https://example.com/image/" } });
    for (const url of ["http://inner.test/v2/images", "http://inner.test/image/v2/images"]) {
      const { id, location } = await create(at, url);
      expect(location).toBe(`https://example.com/image/v2/images/${id}`);
    }
  });

  it("HDR-4: names the import methods in configured order, without blanks", async () => {
    const { headers } = await create(service, "http://image.test/v2/images");
    const methods = "glance-direct,web-download,copy-image";
    expect(headers.get("openstack-image-import-methods")).toBe(methods);
  });

  it("HDR-4, HDR-5: no import methods and one store: neither is named", async () => {
    const none = new Service({ settings: { IMPORT_METHODS: "" } });
    const { headers } = await create(none, "http://image.test/v2/images");
    expect(headers.has("openstack-image-import-methods")).toBe(false);
    expect(headers.has("openstack-image-store-ids")).toBe(false);
  });

  it("HDR-3: no other call has a Location", async () => {
    const { id } = await service.create(owner);
    for (const [method, path] of [
      ["GET", "/v2/images"],
      ["GET", `/v2/images/${id}`],
      ["PUT", `/v2/images/${id}/tags/blue`],
    ] as const) {
      expect((await service.call(owner, method, path)).headers.has("location")).toBe(false);
    }
  });
});

describe("headers of refusals", () => {
  it.each(["application/json", "text/plain", "", undefined])(
    "HDR-6: a patch as %j is told which media types are taken",
    async (type) => {
      const options = {
        body: new TextEncoder().encode("[]"),
        ...(type !== undefined && { headers: { "content-type": type } }),
      };
      const response = await service.call(owner, "PATCH", `/v2/images/${MISSING}`, options);
      expect(response.status).toBe(415);
      expect(response.headers.get("accept-patch")).toBe(
        "application/openstack-images-v2.0-json-patch, application/openstack-images-v2.1-json-patch",
      );
    },
  );

  it("HDR-6: data of a wrong type is told of no patch", async () => {
    const response = await service.call(owner, "PUT", `/v2/images/${MISSING}/file`, { body: "x" });
    expect(response.status).toBe(415);
    expect(response.headers.has("accept-patch")).toBe(false);
  });
});

describe("headers of successes", () => {
  it("HDR-7: 204 has no Content-Type and no body", async () => {
    const image = await service.createEmpty(owner, { tags: ["blue"], visibility: "shared" });
    const path = `/v2/images/${image.id}`;
    const json = { member: member.projectId };
    await service.call(owner, "POST", `${path}/members`, { json });
    const octets = { "content-type": "application/octet-stream" };
    const calls = [
      ["GET", `${path}/file`, {}],
      ["PUT", `${path}/file`, { body: "x", headers: octets }],
      ["PUT", `${path}/tags/red`, {}],
      ["DELETE", `${path}/tags/blue`, {}],
      ["POST", `${path}/actions/deactivate`, {}],
      ["POST", `${path}/actions/reactivate`, {}],
      ["DELETE", `${path}/members/${member.projectId}`, {}],
      ["DELETE", path, {}],
    ] as const;
    for (const [method, url, options] of calls) {
      const response = await service.call(owner, method, url, options);
      expect(response.status).toBe(204);
      expect(response.headers.has("content-type")).toBe(false);
      expect(response.body).toBeNull();
    }
  });

  it("HDR-8: JSON is application/json without charset, in UTF-8, nothing escaped", async () => {
    const name = "größer € 日本";
    const created = await service.call(owner, "POST", "/v2/images", { json: { name } });
    const { id } = await created.clone().json<{ id: string }>();
    const patch = [{ op: "add", path: "/note", value: name }];
    const answers = [
      created,
      await service.call(owner, "GET", `/v2/images/${id}`),
      await service.call(owner, "GET", `/v2/images?name=${encodeURIComponent(name)}`),
      await service.call(owner, "PATCH", `/v2/images/${id}`, { patch }),
    ];
    for (const response of answers) {
      expect(response.headers.get("content-type")).toBe("application/json");
      const bytes = await response.arrayBuffer();
      expect(new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes)).toContain(
        `"${name}"`,
      );
    }
    for (const path of ["/v2/schemas/image", "/v2/info/import", "/versions"]) {
      const { headers } = await service.call(owner, "GET", path);
      expect(headers.get("content-type")).toBe("application/json");
    }
  });
});

describe("CORS", () => {
  const origin = "https://horizon.example.com";
  const listOf = (response: Response, name: string) =>
    (response.headers.get(name) ?? "").split(", ").map((item) => item.toLowerCase());

  const METHODS = ["GET", "PUT", "POST", "DELETE", "PATCH"];
  const ALLOWED = [
    "Content-MD5",
    "X-Image-Meta-Checksum",
    "X-Storage-Token",
    "Accept-Encoding",
    "X-Auth-Token",
    "X-Identity-Status",
    "X-Roles",
    "X-Service-Catalog",
    "X-User-Id",
    "X-Tenant-Id",
    "X-OpenStack-Request-ID",
  ];
  const EXPOSED = [
    "X-Image-Meta-Checksum",
    "X-Auth-Token",
    "X-Subject-Token",
    "X-Service-Token",
    "X-OpenStack-Request-ID",
  ];

  it.each(["/v2/images", `/v2/images/${MISSING}/file`, "/identity/v3/auth/tokens"])(
    "HDR-9, RT-22: a browser may ask before it calls %s",
    async (path) => {
      const headers = {
        origin,
        "access-control-request-method": "PATCH",
        "access-control-request-headers": [...ALLOWED, "Content-Type", "Range"].join(", "),
      };
      const response = await service.call(null, "OPTIONS", path, { headers });
      expect(response.status).toBe(200);
      expect(response.headers.get("access-control-allow-origin")).toBe("*");
      for (const method of METHODS) {
        expect(listOf(response, "access-control-allow-methods")).toContain(method.toLowerCase());
      }
      for (const name of [...ALLOWED, "Content-Type", "Range"]) {
        expect(listOf(response, "access-control-allow-headers")).toContain(name.toLowerCase());
      }
    },
  );

  it.each([
    ["GET", "/v2/images", 200],
    ["GET", `/v2/images/${MISSING}`, 404],
    ["PUT", "/v2/images", 405],
    ["GET", "/", 300],
  ])("HDR-9: a browser may read the answer to %s %s: %i", async (method, path, status) => {
    const response = await service.call(owner, method, path, { headers: { origin } });
    expect(response.status).toBe(status);
    expect(response.headers.get("access-control-allow-origin")).toBe("*");
    for (const name of EXPOSED) {
      expect(listOf(response, "access-control-expose-headers")).toContain(name.toLowerCase());
    }
  });

  it("HDR-9: a browser may read every header that answers have", async () => {
    // The Fetch standard lets scripts read these by themselves, or never at all.
    const ALWAYS = ["cache-control", "content-type", "vary", "x-content-type-options"];
    const { id } = await service.createActive(owner, "0123456789", { name: "read" });
    const file = `/v2/images/${id}/file`;
    const empty = await service.createEmpty(owner);
    const uploads = `/v2/images/${empty.id}/uploads`;
    const tus = { "tus-resumable": "1.0.0" };
    const wrongSecret = {
      auth: {
        identity: { methods: ["password"], password: { user: { name: "x", password: "y" } } },
      },
    };
    const calls: [string, string, CallOptions?][] = [
      ["GET", "/v2/images"],
      ["POST", "/v2/images", { json: {} }],
      ["GET", file],
      ["GET", file, { headers: { range: "bytes=0-1" } }],
      ["GET", file, { headers: { range: "bytes=99-" } }],
      ["HEAD", `/v2/images/${id}`],
      ["PATCH", `/v2/images/${id}`, { body: "[]" }],
      ["PUT", "/v2/images"],
      ["GET", "/"],
      ["POST", uploads, { headers: { ...tus, "upload-length": "10" } }],
      ["POST", uploads, { headers: { "tus-resumable": "0.1" } }],
      ["POST", "/identity/v3/auth/tokens", { json: wrongSecret }],
    ];
    for (const [method, path, options = {}] of calls) {
      const headers = { ...options.headers, origin };
      const response = await service.call(owner, method, path, { ...options, headers });
      const exposed = listOf(response, "access-control-expose-headers");
      const hidden = [...response.headers.keys()].filter(
        (name) => !name.startsWith("access-control-") && ![...ALWAYS, ...exposed].includes(name),
      );
      expect([method, path, hidden]).toEqual([method, path, []]);
    }
  });

  it("HDR-9: a 401 may be read too, or a front end could not say what is wrong", async () => {
    const denied = await service.call(null, "GET", "/v2/images", { headers: { origin } });
    expect(denied.status).toBe(401);
    expect(denied.headers.get("access-control-allow-origin")).toBe("*");
  });

  it("HDR-9: credentials are never allowed, for the token travels in a header", async () => {
    const response = await service.call(null, "OPTIONS", "/", { headers: { origin } });
    expect(response.headers.has("access-control-allow-credentials")).toBe(false);
  });

  it("HDR-9: without an Origin there is nothing to say", async () => {
    const { headers } = await service.call(owner, "GET", "/v2/images");
    const names = [...headers.keys()].filter((name) => name.startsWith("access-control"));
    expect(names).toEqual([]);
  });

  it("HDR-9: only origins of the setting are let in, and caches are told", async () => {
    const settings = { CORS_ALLOWED_ORIGINS: `https://other.example.com, ${origin}` };
    const at = new Service({ settings });
    const allowed = await at.call(owner, "GET", "/v2/images", { headers: { origin } });
    expect(allowed.headers.get("access-control-allow-origin")).toBe(origin);
    expect(allowed.headers.get("vary")).toContain("Origin");
    for (const stranger of ["https://evil.example.com", `${origin}:8443`, "null"]) {
      const headers = { origin: stranger };
      const response = await at.call(owner, "GET", "/v2/images", { headers });
      expect(response.status).toBe(200);
      expect(response.headers.has("access-control-allow-origin")).toBe(false);
      expect(response.headers.get("vary")).toContain("Origin");
    }
  });
});

describe("what caches and browsers may do with an answer", () => {
  const guards = ({ headers }: Response) => ({
    cache: headers.get("cache-control"),
    vary: headers.get("vary"),
    sniff: headers.get("x-content-type-options"),
  });

  it("HDR-10: nothing is kept that depends on who asks, but data, which is asked for again", async () => {
    const { id } = await service.createActive(owner, "0123456789");
    const own = { cache: "no-store", vary: "X-Auth-Token", sniff: "nosniff" };
    const data = { ...own, cache: "private, no-cache" };
    const etag = (await service.call(owner, "HEAD", `/v2/images/${id}/file`)).headers.get("etag");
    const held = { headers: { "if-none-match": etag ?? "" } };
    const past = { headers: { range: "bytes=99-" } };
    for (const [method, path, options, status, expected] of [
      ["GET", "/v2/images", {}, 200, own],
      ["GET", `/v2/images/${id}`, {}, 200, own],
      ["HEAD", `/v2/images/${id}`, {}, 200, data],
      ["GET", `/v2/images/${id}/file`, {}, 200, data],
      ["HEAD", `/v2/images/${id}/file`, {}, 200, data],
      ["GET", `/v2/images/${id}/file`, held, 304, data],
      ["GET", `/v2/images/${id}/file`, past, 416, own],
      ["GET", `/v2/images/${MISSING}`, {}, 404, own],
      ["GET", "/v2/nothing", {}, 404, own],
      ["GET", "/identity/v3/auth/tokens", {}, 404, own],
      ["GET", "/metrics", {}, 403, own],
    ] as const) {
      const response = await service.call(owner, method, path, options);
      expect([path, response.status, guards(response)]).toEqual([path, status, expected]);
    }
    const denied = await service.call(null, "GET", "/v2/images");
    expect(guards(denied)).toEqual(own);
  });

  it("HDR-10: what is the same for everybody varies with nothing", async () => {
    for (const path of ["/", "/versions", "/v2/", "/healthcheck"]) {
      const response = await service.call(null, "GET", path);
      expect(guards(response)).toEqual({ cache: "no-store", vary: null, sniff: "nosniff" });
    }
  });
});

describe("links", () => {
  it("01 §1.7: are paths from the root, never addresses, whatever the endpoint", async () => {
    const at = new Service({ settings: { PUBLIC_ENDPOINT: "https://example.com/image" } });
    const { id } = await at.create(admin, { visibility: "shared", name: "linked" });
    await at.call(admin, "POST", `/v2/images/${id}/members`, { json: { member: "m" } });
    const bodies = await Promise.all(
      [
        `/v2/images/${id}`,
        "/image/v2.5/images?limit=1&name=linked",
        `/v2/images/${id}/members`,
      ].map(async (path) => (await at.call(admin, "GET", path)).text()),
    );
    const links: string[] = [];
    for (const body of bodies) {
      JSON.parse(body, (key, value: unknown) => {
        if (["self", "file", "schema", "first", "next"].includes(key)) links.push(String(value));
        return value;
      });
    }
    expect(links).toHaveLength(11);
    for (const link of links) expect(link).toMatch(/^\/v2\//);
  });
});

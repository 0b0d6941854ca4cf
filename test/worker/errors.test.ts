import { describe, expect, it } from "vitest";
import {
  type Caller,
  member,
  owner,
  ownersReader,
  serviceUser,
  stranger,
} from "../support/callers.ts";
import { plantMembers } from "../support/image-state.ts";
import { type CallOptions, Service } from "../support/service.ts";

const service = new Service();

const MISSING = "00000000-0000-4000-8000-000000000000";

interface ErrorBody {
  message: string;
  code: string;
  title: string;
}

function refused(accept?: string, path = `/v2/images/${MISSING}`): Promise<Response> {
  return service.call(owner, "GET", path, accept === undefined ? {} : { headers: { accept } });
}

describe("the shape of an error", () => {
  it.each([
    "application/json",
    "application/json, text/html;q=0.9",
    "text/html;q=0.1, application/json",
    "application/json;q=0.5, */*;q=0.1",
    "APPLICATION/JSON",
  ])("ERR-1: is JSON for %j", async (accept) => {
    const response = await refused(accept);
    expect(response.status).toBe(404);
    expect(response.headers.get("content-type")).toBe("application/json");
    expect(await response.json()).toEqual({
      message: expect.stringContaining(MISSING),
      code: "404 Not Found",
      title: "Not Found",
    });
  });

  it.each([
    ["401 Unauthorized", null, "GET", "/v2/images", {}],
    ["400 Bad Request", owner, "GET", "/v2/images?limit=-1", {}],
    ["403 Forbidden", ownersReader, "POST", "/v2/images", { json: {} }],
    ["404 Not Found", owner, "GET", "/v2/nothing", {}],
    ["405 Method Not Allowed", owner, "PUT", "/v2/images", {}],
    ["413 Request Entity Too Large", owner, "POST", "/v2/images", tooManyTags()],
    ["415 Unsupported Media Type", owner, "PATCH", `/v2/images/${MISSING}`, { body: "[]" }],
    ["431 Request Header Fields Too Large", owner, "GET", "/v2/images", longRequestId()],
    ["501 Not Implemented", owner, "PROPFIND", "/v2/nothing", {}],
  ] as const)("ERR-1: code is the text %j", async (code, caller, method, path, options) => {
    const response = await service.call(caller, method, path, options);
    expect(response.status).toBe(Number(code.slice(0, 3)));
    const body = await response.json<ErrorBody>();
    expect(Object.keys(body)).toEqual(["message", "code", "title"]);
    expect(body.code).toBe(code);
    expect(body.title).toBe(code.slice(4));
  });

  it.each([
    "*/*",
    "text/html",
    "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,*/*;q=0.8",
    "text/html, application/json;q=0.9",
  ])("ERR-2: is HTML for %j", async (accept) => {
    const response = await refused(accept);
    expect(response.headers.get("content-type")).toBe("text/html; charset=UTF-8");
    const html = await response.text();
    expect(html).toContain("<title>404 Not Found</title>");
    expect(html).toContain("<h1>404 Not Found</h1>");
    expect(html).toContain(MISSING);
  });

  it("ERR-2: escapes what it quotes as text, quotes as they are", async () => {
    const tag = encodeURIComponent(`<script>alert("1")</script>&'`);
    const { id } = await service.create(owner);
    const response = await service.call(owner, "DELETE", `/v2/images/${id}/tags/${tag}`, {
      headers: { accept: "text/html" },
    });
    expect(response.status).toBe(404);
    // The encoded slash in it makes another path, which quotes nothing; this one has none.
    const plain = encodeURIComponent(`<b>"1"&'`);
    const quoted = await service.call(owner, "DELETE", `/v2/images/${id}/tags/${plain}`, {
      headers: { accept: "text/html" },
    });
    const html = await quoted.text();
    expect(html).not.toContain("<b>");
    expect(html).toContain(`&lt;b&gt;"1"&amp;'`);
  });

  it.each(["text/plain", "text/plain, */*;q=0.1", "text/plain, application/json;q=0.9"])(
    "ERR-3: is plain text for %j: the status line, a blank one, the message",
    async (accept) => {
      const response = await refused(accept);
      expect(response.headers.get("content-type")).toBe("text/plain; charset=UTF-8");
      expect(await response.text()).toMatch(/^404 Not Found\n\n.*00000000-0000-4000/);
    },
  );

  it.each([undefined, "", "image/png", "application/xml;q=0.5", "application/json;q=0", ";"])(
    "ERR-8: is JSON for %j, which every client reads",
    async (accept) => {
      const response = await refused(accept);
      expect(response.status).toBe(404);
      expect(response.headers.get("content-type")).toBe("application/json");
      expect(await response.json()).toMatchObject({ code: "404 Not Found" });
    },
  );

  it("ERR-4: the message is a plain sentence in all three", async () => {
    const { message } = await (await refused("application/json")).json<ErrorBody>();
    expect(message).not.toMatch(/[<>\n]/);
    expect(await (await refused("text/html")).text()).toContain(message);
    expect(await (await refused("text/plain")).text()).toContain(message);
  });

  it("ERR-5: a 415 without Content-Type says none", async () => {
    const body = new TextEncoder().encode("[]");
    for (const [method, path] of [
      ["PATCH", `/v2/images/${MISSING}`],
      ["PUT", `/v2/images/${MISSING}/file`],
    ] as const) {
      const response = await service.call(owner, method, path, { body });
      expect(response.status).toBe(415);
      const { message } = await response.json<ErrorBody>();
      expect(message).toContain("'none'");
      expect(message).not.toContain("$");
    }
  });

  it("ERR-7: is English whatever language is asked for", async () => {
    const headers = { "accept-language": "de, fr;q=0.5" };
    const german = await service.call(owner, "GET", `/v2/images/${MISSING}`, { headers });
    expect(await german.text()).toBe(await (await refused()).text());
  });

  it("ERR-1: does not depend on words in the path", async () => {
    const { id } = await service.create(owner);
    for (const path of [`/v2/images/${id}/tags/identity`, `/v2/images/identity/file`]) {
      const response = await service.call(owner, "DELETE", path);
      expect(response.ok).toBe(false);
      expect(await response.json()).toMatchObject({ title: expect.any(String) });
    }
  });

  it("ERR-1: of the identity service it is Keystone's", async () => {
    for (const path of ["/identity/v3/auth/projects", "/identity/nothing"]) {
      const response = await service.call(null, "GET", path);
      const { status } = response;
      expect(await response.json()).toMatchObject({ error: { code: status } });
    }
    const settings = { PUBLIC_ENDPOINT: "https://example.com/image" };
    const below = new Service({ settings });
    const response = await below.call(null, "GET", "/image/identity/v3/auth/projects");
    expect(await response.json()).toMatchObject({ error: { code: 401 } });
  });
});

describe("a fault of our own", () => {
  const SECRET = "secret-internal-name";
  const brokenDatabase = new Proxy(Object.create(null), {
    get: () => () => {
      throw new Error(SECRET);
    },
  });
  const broken = new Service({ bindings: { DB: brokenDatabase } });

  it.each([
    ["application/json", "application/json"],
    ["text/html", "text/html; charset=UTF-8"],
    ["text/plain", "text/plain; charset=UTF-8"],
  ])("ERR-6: is 500 as %s, with the request id and without internals", async (accept, type) => {
    for (const [method, path, options] of [
      ["GET", "/v2/images", {}],
      ["POST", "/v2/images", { json: {} }],
      ["GET", `/v2/images/${MISSING}`, {}],
    ] as const) {
      const headers = { accept, "x-openstack-request-id": "req-mine" };
      const response = await broken.call(owner, method, path, { ...options, headers });
      expect(response.status).toBe(500);
      expect(response.headers.get("content-type")).toBe(type);
      expect(response.headers.get("x-openstack-request-id")).toBe("req-mine");
      const text = await response.text();
      expect(text).toContain("500 Internal Server Error");
      expect(text).toContain("req-mine");
      expect(text).not.toContain(SECRET);
    }
  });

  it("ERR-6: one that will pass is 503", async () => {
    const overloaded = new Proxy(Object.create(null), {
      get: () => () => {
        throw new Error(`D1_ERROR: D1 DB is overloaded. ${SECRET}`);
      },
    });
    const busy = new Service({ bindings: { DB: overloaded } });
    const response = await busy.call(owner, "GET", "/v2/images");
    expect(response.status).toBe(503);
    expect(await response.text()).not.toContain(SECRET);
  });

  it("ERR-6: leaves no route half open: HEAD has the status and no body", async () => {
    const response = await broken.call(owner, "HEAD", `/v2/images/${MISSING}`);
    expect(response.status).toBe(500);
    expect(await response.text()).toBe("");
  });
});

/** Who calls what on an image of the kind that the line needs, and what comes of it. */
type Line = readonly [
  status: number,
  why: string,
  (at: Service) => Promise<readonly [Caller, string, string, CallOptions?]>,
];

const bytes = { body: "hello", headers: { "content-type": "application/octet-stream" } };
const rename = { patch: [{ op: "replace", path: "/name", value: "n" }] };

async function path(at: Service, record: object = {}, below = ""): Promise<string> {
  return `/v2/images/${(await at.createEmpty(owner, record)).id}${below}`;
}

async function activePath(at: Service, below = "", record: object = {}): Promise<string> {
  return `/v2/images/${(await at.createActive(owner, "hello", record)).id}${below}`;
}

async function sharedPath(at: Service, below = "/members"): Promise<string> {
  return `/v2/images/${(await at.createShared(owner, member)).id}${below}`;
}

const post =
  (json: object, caller = owner): Line[2] =>
  async () => [caller, "POST", "/v2/images", { json }];
const list =
  (query: string, caller = owner): Line[2] =>
  async () => [caller, "GET", `/v2/images?${query}`];

const CALLS: Readonly<Record<string, readonly Line[]>> = {
  "COD-1: POST images": [
    [201, "created", post({ name: "n" })],
    [400, "schema", post({ visibility: "secret" })],
    [400, "JSON", async () => [owner, "POST", "/v2/images", { body: "{" }]],
    [400, "range", post({ min_ram: -1 })],
    [403, "role", post({}, ownersReader)],
    [403, "foreign owner", post({ owner: "other-project" })],
    [403, "public", post({ visibility: "public" })],
    [403, "read-only property", post({ status: "active" })],
    [403, "reserved property", post({ os_glance_x: "x" })],
    [409, "id taken", async (at) => post({ id: (await at.create(owner)).id })(at)],
    [413, "quota", async () => [owner, "POST", "/v2/images", tooManyTags()]],
  ],
  "COD-2: GET image": [
    [200, "shown", async (at) => [owner, "GET", await path(at)]],
    [
      400,
      "body present",
      async (at) => [owner, "GET", await path(at), { headers: { "content-length": "2" } }],
    ],
    [
      404,
      "not visible",
      async (at) => [stranger, "GET", await path(at, { visibility: "private" })],
    ],
  ],
  "COD-3: GET images": [
    [200, "listed", list("")],
    [400, "bad parameter", list("sort_key=secret")],
    [400, "bad marker", list(`marker=${MISSING}`)],
    [403, "role", async () => [serviceUser, "GET", "/v2/images"]],
  ],
  "COD-4: PATCH image": [
    [200, "changed", async (at) => [owner, "PATCH", await path(at), rename]],
    [400, "bad document", async (at) => [owner, "PATCH", await path(at), { patch: {} }]],
    [403, "role", async (at) => [ownersReader, "PATCH", await path(at), rename]],
    [409, "property missing", async (at) => [owner, "PATCH", await path(at), removal("absent")]],
    [413, "quota", async (at) => [owner, "PATCH", await path(at), { patch: [manyTags()] }]],
    [415, "media type", async (at) => [owner, "PATCH", await path(at), { body: "[]" }]],
  ],
  "COD-5: DELETE image": [
    [204, "deleted", async (at) => [owner, "DELETE", await path(at)]],
    [400, "body", async (at) => [owner, "DELETE", await path(at), { body: "x" }]],
    [403, "protected", async (at) => [owner, "DELETE", await path(at, { protected: true })]],
    [
      403,
      "not owner",
      async (at) => [stranger, "DELETE", await path(at, { visibility: "community" })],
    ],
  ],
  "COD-6: PUT file": [
    [204, "stored", async (at) => [owner, "PUT", await path(at, {}, "/file"), bytes]],
    [
      400,
      "formats",
      async (at) => [owner, "PUT", await path(at, { disk_format: null }, "/file"), bytes],
    ],
    [400, "size", async (at) => [owner, "PUT", await path(at, {}, "/file"), announcing("9")]],
    [403, "role", async (at) => [ownersReader, "PUT", await path(at, {}, "/file"), bytes]],
    [409, "status", async (at) => [owner, "PUT", await activePath(at, "/file"), bytes]],
    [
      413,
      "size",
      async (at) => [owner, "PUT", await path(at, {}, "/file"), announcing("2000000000000")],
    ],
    [415, "media type", async (at) => [owner, "PUT", await path(at, {}, "/file"), { body: "x" }]],
  ],
  "COD-8: GET file": [
    [200, "all", async (at) => [owner, "GET", await activePath(at, "/file")]],
    [204, "no data", async (at) => [owner, "GET", await path(at, {}, "/file")]],
    [206, "part", async (at) => [owner, "GET", await activePath(at, "/file"), range("0-1")]],
    [
      400,
      "several ranges",
      async (at) => [owner, "GET", await activePath(at, "/file"), range("0-1,3-4")],
    ],
    [400, "prefer", async (at) => [owner, "GET", await activePath(at, "/file?prefer=slow")]],
    [403, "reader", async (at) => [ownersReader, "GET", await activePath(at, "/file")]],
    [403, "deactivated", async (at) => [owner, "GET", await deactivatedPath(at)]],
    [
      416,
      "beyond the end",
      async (at) => [owner, "GET", await activePath(at, "/file"), range("9-")],
    ],
  ],
  "COD-10: actions": [
    [204, "done", async (at) => [owner, "POST", await activePath(at, "/actions/deactivate")]],
    [
      400,
      "body",
      async (at) => [owner, "POST", await activePath(at, "/actions/reactivate"), { body: "{}" }],
    ],
    [
      403,
      "role",
      async (at) => [ownersReader, "POST", await activePath(at, "/actions/deactivate")],
    ],
    [403, "status", async (at) => [owner, "POST", await path(at, {}, "/actions/deactivate")]],
  ],
  "COD-11: tags": [
    [204, "added", async (at) => [owner, "PUT", await path(at, {}, "/tags/blue")]],
    [
      204,
      "removed",
      async (at) => [owner, "DELETE", await path(at, { tags: ["blue"] }, "/tags/blue")],
    ],
    [400, "too long", async (at) => [owner, "PUT", await path(at, {}, `/tags/${"t".repeat(256)}`)]],
    [403, "role", async (at) => [ownersReader, "PUT", await path(at, {}, "/tags/blue")]],
    [404, "no such tag", async (at) => [owner, "DELETE", await path(at, {}, "/tags/blue")]],
    [
      413,
      "quota",
      async (at) => [owner, "PUT", await path(at, { tags: someTags(128) }, "/tags/blue")],
    ],
  ],
  "COD-12: members": [
    [
      200,
      "added",
      async (at) => [owner, "POST", await sharedPath(at), { json: { member: "new" } }],
    ],
    [200, "listed", async (at) => [owner, "GET", await sharedPath(at)]],
    [
      204,
      "removed",
      async (at) => [owner, "DELETE", await sharedPath(at, "/members/member-project")],
    ],
    [
      400,
      "status",
      async (at) => [
        member,
        "PUT",
        await sharedPath(at, "/members/member-project"),
        { json: { status: "?" } },
      ],
    ],
    [
      403,
      "not shared",
      async (at) => [owner, "GET", await path(at, { visibility: "private" }, "/members")],
    ],
    [404, "no such member", async (at) => [owner, "GET", await sharedPath(at, "/members/nobody")]],
    [
      409,
      "duplicate",
      async (at) => [owner, "POST", await sharedPath(at), { json: { member: member.projectId } }],
    ],
    [
      413,
      "quota",
      async (at) => [owner, "POST", await fullPath(at), { json: { member: "one-too-many" } }],
    ],
  ],
};

describe("status codes of each call", () => {
  const lines = Object.entries(CALLS).flatMap(([call, all]) =>
    all.map(([status, why, prepare]) => [call, status, why, prepare] as const),
  );
  it.each(lines)("%s: %i (%s)", async (_call, status, _why, prepare) => {
    const [caller, method, url, options] = await prepare(service);
    const response = await service.call(caller, method, url, options);
    await response.arrayBuffer();
    expect(response.status).toBe(status);
  });
});

describe("status codes that need an accident", () => {
  it("COD-6: 410 when the image is deleted while its data comes in", async () => {
    const { id } = await service.createEmpty(owner);
    const body = new ReadableStream<Uint8Array>({
      async start(controller) {
        controller.enqueue(new TextEncoder().encode("hello"));
        await until(async () => (await service.show(owner, id)).status === "saving");
        expect((await service.call(owner, "DELETE", `/v2/images/${id}`)).status).toBe(204);
        controller.close();
      },
    });
    expect((await service.upload(owner, id, body)).status).toBe(410);
  });

  it("COD-6, COD-8: 503 when the store does not work; the image is queued again", async () => {
    const { id } = await service.createEmpty(owner);
    const stored = await activePath(service, "/file");
    const failing = new Proxy(Object.create(null), {
      get: () => () => {
        throw new Error("put: The bucket does not exist. (10006)");
      },
    });
    const broken = new Service({ bindings: { BLOBS: failing } });
    expect((await broken.upload(owner, id, "hello")).status).toBe(503);
    expect((await service.show(owner, id)).status).toBe("queued");
    expect((await broken.call(owner, "GET", stored)).status).toBe(503);
  });
});

async function until(isTrue: () => Promise<boolean>): Promise<void> {
  for (let tries = 0; tries < 200; tries++) {
    if (await isTrue()) return;
    await scheduler.wait(10);
  }
  throw new Error("it did not come to that");
}

async function deactivatedPath(at: Service): Promise<string> {
  const file = await activePath(at, "/file");
  await at.call(owner, "POST", file.replace(/file$/, "actions/deactivate"));
  return file;
}

/** The members of an image that has as many as there may be. */
async function fullPath(at: Service): Promise<string> {
  const { id } = await at.create(owner, { visibility: "shared" });
  await plantMembers(
    id,
    Array.from({ length: 128 }, (_, index) => `member-${index}`),
  );
  return `/v2/images/${id}/members`;
}

function someTags(count: number): string[] {
  return Array.from({ length: count }, (_, index) => `tag-${index}`);
}

function tooManyTags(): CallOptions {
  return { json: { tags: someTags(129) } };
}

function manyTags(): object {
  return { op: "replace", path: "/tags", value: someTags(129) };
}

function longRequestId(): CallOptions {
  return { headers: { "x-openstack-request-id": "r".repeat(65) } };
}

function removal(name: string): CallOptions {
  return { patch: [{ op: "remove", path: `/${name}` }] };
}

function announcing(size: string): CallOptions {
  return { ...bytes, headers: { ...bytes.headers, "x-openstack-image-size": size } };
}

function range(bytesRange: string): CallOptions {
  return { headers: { range: `bytes=${bytesRange}` } };
}

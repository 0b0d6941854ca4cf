import { describe, expect, it } from "vitest";
import { admin, type Caller, member, owner, ownersReader, stranger } from "../support/callers.ts";
import { type CallOptions, type ImageRecord, Service } from "../support/service.ts";

const service = new Service();

const MISSING = "00000000-0000-4000-8000-000000000000";
const PATCH_TYPE = "application/openstack-images-v2.1-json-patch";
const KiB = 1024;

const create = (options: CallOptions) => service.call(owner, "POST", "/v2/images", options);

/** Every call that reads JSON, as a function of what is sent to it. */
const JSON_CALLS: readonly (readonly [string, (options: CallOptions) => Promise<Response>])[] = [
  ["POST images", create],
  ["PATCH image", (options) => callOnImage(owner, "PATCH", "", withPatchType(options))],
  ["POST members", (options) => callOnImage(owner, "POST", "/members", options)],
  ["PUT member", (options) => callOnImage(member, "PUT", `/members/${member.projectId}`, options)],
];

/** The others, for what is the same whatever the call. */
const MORE_JSON_CALLS: typeof JSON_CALLS = [
  ["POST import", (options) => callOnImage(owner, "POST", "/import", options)],
  ["POST locations", (options) => callOnImage(owner, "POST", "/locations", options)],
  ["POST tasks", (options) => service.call(admin, "POST", "/v2/tasks", options)],
  ["POST tokens", (options) => service.call(null, "POST", "/identity/v3/auth/tokens", options)],
];

function withPatchType(options: CallOptions): CallOptions {
  return { ...options, headers: { "content-type": PATCH_TYPE, ...options.headers } };
}

async function callOnImage(
  caller: Caller,
  method: string,
  below: string,
  options: CallOptions,
): Promise<Response> {
  const { id } = await service.createShared(owner, member, "pending");
  return service.call(caller, method, `/v2/images/${id}${below}`, options);
}

/** A body without Content-Length, in chunks of the given size. */
function chunked(text: string, chunkBytes = 3): ReadableStream<Uint8Array> {
  const bytes = new TextEncoder().encode(text);
  let sent = 0;
  return new ReadableStream({
    pull(controller) {
      if (sent >= bytes.length) return controller.close();
      controller.enqueue(bytes.slice(sent, sent + chunkBytes));
      sent += chunkBytes;
    },
  });
}

describe("Content-Type", () => {
  it.each([undefined, "", "text/plain", "application/xml", "application/octet-stream", "nonsense"])(
    "REQ-1: of a JSON POST or PUT does not matter: %j",
    async (type) => {
      const headers: Record<string, string> = type === undefined ? {} : { "content-type": type };
      const body = (value: object) => ({ body: new TextEncoder().encode(JSON.stringify(value)) });
      expect((await create({ ...body({ name: "n" }), headers })).status).toBe(201);
      const { id } = await service.create(owner, { visibility: "shared" });
      const members = `/v2/images/${id}/members`;
      const added = await service.call(owner, "POST", members, {
        ...body({ member: member.projectId }),
        headers,
      });
      expect(added.status).toBe(200);
      const answered = await service.call(member, "PUT", `${members}/${member.projectId}`, {
        ...body({ status: "accepted" }),
        headers,
      });
      expect(answered.status).toBe(200);
    },
  );

  it.each(["text/plain", "application/json", "", "Application/octet-stream"])(
    "REQ-1: %j is 415 for PATCH and for data",
    async (type) => {
      const { id } = await service.createEmpty(owner);
      const headers = { "content-type": type };
      const path = `/v2/images/${id}`;
      const body = "[]";
      expect((await service.call(owner, "PATCH", path, { body, headers })).status).toBe(415);
      expect((await service.call(owner, "PUT", `${path}/file`, { body, headers })).status).toBe(
        415,
      );
    },
  );
});

describe("a JSON body", () => {
  it.each(JSON_CALLS)("REQ-2: %s needs one: 400 without, or with an empty one", async (_, call) => {
    expect((await call({})).status).toBe(400);
    expect((await call({ headers: { "content-length": "0" } })).status).toBe(400);
    expect((await call({ body: "" })).status).toBe(400);
    expect((await call({ body: chunked("") })).status).toBe(400);
  });

  const malformed = [
    "{",
    "{]",
    '{"name": }',
    "{'name': 'n'}",
    '{"name": "n"} {}',
    '{"name": "n",}',
    '\ufeff{"name": "n"}',
    "name=n",
    "\0",
    " ",
  ];
  it.each(JSON_CALLS)("REQ-3: %s refuses what is not JSON: 400", async (_, call) => {
    for (const body of malformed) expect((await call({ body })).status).toBe(400);
  });

  it.each(JSON_CALLS)("REQ-3: %s refuses what is not UTF-8: 400", async (_, call) => {
    const latin1 = [0x7b, 0x22, 0x61, 0x22, 0x3a, 0x22, 0xe9, 0x22, 0x7d];
    const truncated = [0x7b, 0x22, 0x61, 0x22, 0x3a, 0x22, 0xe2, 0x82];
    const utf16 = [0xff, 0xfe, 0x7b, 0x00, 0x7d, 0x00];
    for (const bytes of [latin1, truncated, utf16]) {
      expect((await call({ body: new Uint8Array(bytes) })).status).toBe(400);
    }
  });

  it.each(JSON_CALLS)("REQ-4: %s refuses a scalar at the top: 400", async (_, call) => {
    for (const body of ['"text"', "1", "1.5", "true", "false", "null"]) {
      expect((await call({ body })).status).toBe(400);
    }
  });

  /** Arrays in arrays, or objects in objects. */
  const nested = (levels: number, [open, close]: readonly [string, string]) =>
    open.repeat(levels) + (open === "[" ? "" : "1") + close.repeat(levels);

  it.each([...JSON_CALLS, ...MORE_JSON_CALLS])(
    "REQ-11: %s refuses more than 64 levels with a 400 that says so, be it 100,000",
    async (_, call) => {
      for (const brackets of [
        ["[", "]"],
        ['{"a":', "}"],
      ] as const) {
        for (const levels of [65, 5_000, 100_000]) {
          const body = nested(levels, brackets);
          const response = await call({ body: body.slice(0, 1024 ** 2) });
          // Half a MiB is more than some of these calls read.
          const isTooLong = response.status === 413 && levels > 5_000;
          if (isTooLong) continue;
          expect([levels, response.status]).toEqual([levels, 400]);
          expect(await response.text()).toMatch(/64 levels|cannot be parsed/);
        }
      }
    },
  );

  it("REQ-11: 64 levels are taken, where they mean something", async () => {
    const body = `{"method": {"name": "web-download", "uri": 1, "x": ${nested(62, ["[", "]"])}}}`;
    const { id } = await service.createEmpty(owner);
    const response = await service.call(owner, "POST", `/v2/images/${id}/import`, { body });
    expect(await response.text()).not.toContain("levels");
  });

  it("REQ-11: a task that is refused leaves no image behind", async () => {
    const deep = nested(100, ["[", "]"]);
    const name = "of a deep task";
    const body = `{"type": "import", "input": {"import_from": "https://image.test/x", "import_from_format": "raw", "image_properties": {"name": "${name}"}, "x": ${deep}}}`;
    expect((await service.call(admin, "POST", "/v2/tasks", { body })).status).toBe(400);
    const list = await service.call(admin, "GET", `/v2/images?name=${encodeURIComponent(name)}`);
    expect(await list.json()).toMatchObject({ images: [] });
  });

  it("REQ-5: an image is no array: 400", async () => {
    for (const json of [[], [{ name: "n" }], [["name", "n"]]]) {
      expect((await create({ json })).status).toBe(400);
    }
  });

  it("REQ-6: of two equal keys the last one counts", async () => {
    const response = await create({ body: '{"name":"first","team":"a","name":"last","team":"b"}' });
    expect(await response.json()).toMatchObject({ name: "last", team: "b" });
  });

  it.each(["NaN", "Infinity", "-Infinity", "1e999"])(
    "REQ-7: %s is no value: 400",
    async (value) => {
      expect((await create({ body: `{"min_ram": ${value}}` })).status).toBe(400);
      expect((await create({ body: `{"team": ${value}}` })).status).toBe(400);
    },
  );

  it.each(JSON_CALLS)("REQ-8: %s takes one in chunks", async (name, call) => {
    const bodies: Record<string, string> = {
      "POST images": '{"name":"größer"}',
      "PATCH image": '[{"op":"add","path":"/name","value":"größer"}]',
      "POST members": '{"member":"projéct"}',
      "PUT member": '{"status":"accepted"}',
    };
    // One byte a chunk: letters of two bytes are cut.
    const response = await call({ body: chunked(bodies[name] ?? "", 1) });
    expect(response.status).toBeLessThan(300);
    expect(await response.text()).toMatch(/größer|projéct|accepted/);
  });

  it("REQ-8: data comes in chunks too", async () => {
    const { id } = await service.createEmpty(owner);
    expect((await service.upload(owner, id, chunked("hello"))).status).toBe(204);
    expect(await service.show(owner, id)).toMatchObject({ status: "active", size: 5 });
  });

  it.each([
    ["an array", ["p"]],
    ["an object", { id: "p" }],
    ["an integer", 7],
    ["null", null],
    ["a boolean", true],
    ["empty", ""],
  ])("REQ-10: a member that is %s is 400", async (_, value) => {
    const response = await callOnImage(owner, "POST", "/members", { json: { member: value } });
    expect(response.status).toBe(400);
  });

  it("REQ-10: no member at all is 400", async () => {
    for (const json of [{}, [], { member_id: "p" }]) {
      expect((await callOnImage(owner, "POST", "/members", { json })).status).toBe(400);
    }
  });

  it("is refused with 413 as soon as it is too large, and never collected", async () => {
    let sentBytes = 0;
    const endless = new ReadableStream<Uint8Array>({
      pull(controller) {
        sentBytes += 64 * KiB;
        controller.enqueue(new Uint8Array(64 * KiB).fill(0x20));
      },
    });
    expect((await create({ body: endless })).status).toBe(413);
    expect(sentBytes).toBeLessThan(4096 * KiB);
    const json = { member: "m", padding: "x".repeat(64 * KiB) };
    expect((await callOnImage(owner, "POST", "/members", { json })).status).toBe(413);
  });
});

describe("encoding", () => {
  const notUtf8 = ["%ff", "%c3", "%c3%28", "%e2%82", "%ed%a0%80", "%c0%af", "%f5%80%80%80"];

  it.each(notUtf8)("REQ-9: a query string with %s is 400", async (bytes) => {
    const { id } = await service.create(owner);
    for (const path of ["/v2/images", `/v2/images/${id}`, "/v2/schemas/image"]) {
      for (const query of [`name=${bytes}`, `${bytes}=x`, bytes]) {
        expect((await service.call(owner, "GET", `${path}?${query}`)).status).toBe(400);
      }
    }
  });

  it.each(notUtf8)("REQ-9: a path with %s is 400, in a tag too", async (bytes) => {
    const { id } = await service.createShared(owner, member);
    const calls = [
      ["GET", `/v2/images/${bytes}`],
      ["GET", `/v2/images/${bytes}/file`],
      ["GET", `/v2/images/${id}/members/a${bytes}`],
      ["PUT", `/v2/images/${id}/tags/${bytes}`],
      ["DELETE", `/v2/images/${id}/tags/a${bytes}b`],
      ["GET", `/v2/${bytes}`],
      ["GET", `/v2/images/${id}/${bytes}`],
    ] as const;
    for (const [method, path] of calls) {
      expect((await service.call(owner, method, path)).status).toBe(400);
    }
  });

  it("REQ-9: comes after the token: 401 without one", async () => {
    expect((await service.call(null, "GET", "/v2/images/%ff?%ff")).status).toBe(401);
  });

  it("REQ-9: what is UTF-8, or no escape at all, is taken", async () => {
    const { id } = await service.create(owner, { name: "ü %zz €" });
    for (const query of ["name=%C3%BC+%zz+%E2%82%AC", "name=%c3%bc%20%zz%20%e2%82%ac"]) {
      const response = await service.call(owner, "GET", `/v2/images?${query}`);
      expect(await response.json()).toMatchObject({ images: [{ id }] });
    }
  });
});

/** Two reasons to refuse at once: the first one of contract 01 §1.5 is the one that is given. */
describe("the order of refusals", () => {
  const patchHeaders = { "content-type": PATCH_TYPE };
  const dataHeaders = { "content-type": "application/octet-stream" };
  const status = async (
    caller: Caller | null,
    method: string,
    path: string,
    options: CallOptions = {},
  ) => (await service.call(caller, method, path, options)).status;

  it("01 §1.5: an unknown version comes before the token", async () => {
    expect(await status(null, "GET", "/v3/images")).toBe(300);
  });

  it("01 §1.5: the token comes before path and method", async () => {
    expect(await status(null, "GET", "/v2/nothing")).toBe(401);
    expect(await status(null, "PROPFIND", "/v2/images")).toBe(401);
    expect(await status(null, "DELETE", "/v2/images/", { body: "x" })).toBe(401);
  });

  it("01 §1.5: path and method come before the body", async () => {
    expect(await status(owner, "POST", "/v2/nothing", { body: "{" })).toBe(404);
    expect(await status(owner, "DELETE", "/v2/images", { body: "x" })).toBe(405);
    expect(await status(owner, "PUT", `/v2/images/${MISSING}`, { body: "{" })).toBe(405);
  });

  it("01 §1.5: a body that is not allowed comes before values, image and policy", async () => {
    const { id } = await service.create(owner, { visibility: "private", protected: true });
    const tooLong = "t".repeat(256);
    for (const imageId of ["nonsense", MISSING, id]) {
      for (const caller of [owner, ownersReader, stranger]) {
        const path = `/v2/images/${imageId}`;
        expect(await status(caller, "DELETE", path, { body: "x" })).toBe(400);
        expect(await status(caller, "PUT", `${path}/tags/${tooLong}`, { body: "x" })).toBe(400);
      }
    }
  });

  it("01 §1.5: the media type comes before the body, the image and the policy", async () => {
    const headers = { "content-type": "application/json" };
    const { id } = await service.createEmpty(owner, { visibility: "community" });
    for (const imageId of [MISSING, id]) {
      const path = `/v2/images/${imageId}`;
      expect(await status(stranger, "PATCH", path, { body: "{", headers })).toBe(415);
      expect(await status(stranger, "PATCH", path, { headers })).toBe(415);
      expect(await status(stranger, "PUT", `${path}/file`, { body: "x", headers })).toBe(415);
    }
  });

  it("01 §1.5: the body's form comes before the image", async () => {
    const path = `/v2/images/${MISSING}`;
    for (const body of ["{", "", "null", "{}", '"x"']) {
      expect(await status(owner, "PATCH", path, { body, headers: patchHeaders })).toBe(400);
    }
    expect(await status(owner, "POST", `${path}/members`, { body: "{" })).toBe(400);
    expect(await status(owner, "POST", `${path}/members`, { json: { member: 1 } })).toBe(400);
    expect(await status(owner, "PUT", `${path}/members/m`, { json: {} })).toBe(400);
  });

  it("01 §1.5: values come before the image: 400 and 403 for one that is not there", async () => {
    const path = `/v2/images/${MISSING}`;
    const change = (name: string, value: unknown) => ({
      patch: [{ op: "replace", path: `/${name}`, value }],
    });
    expect(await status(owner, "PATCH", path, change("visibility", "secret"))).toBe(400);
    expect(await status(owner, "PATCH", path, change("min_ram", "much"))).toBe(400);
    expect(await status(owner, "PATCH", path, change("status", "active"))).toBe(403);
    expect(await status(owner, "PATCH", path, change("size", 1))).toBe(403);
    expect(await status(owner, "PUT", `${path}/tags/${"t".repeat(256)}`)).toBe(400);
  });

  it("01 §1.5: the image comes before the policy: 404 to those who do not see it", async () => {
    const { id } = await service.createEmpty(owner, { visibility: "private" });
    for (const imageId of [MISSING, id]) {
      const path = `/v2/images/${imageId}`;
      const patch = [{ op: "replace", path: "/name", value: "n" }];
      expect(await status(stranger, "PATCH", path, { patch })).toBe(404);
      expect(await status(stranger, "DELETE", path)).toBe(404);
      expect(await status(stranger, "PUT", `${path}/tags/blue`)).toBe(404);
      expect(await status(stranger, "POST", `${path}/members`, { json: { member: "m" } })).toBe(
        404,
      );
      const data = { body: "x", headers: dataHeaders };
      expect(await status(stranger, "PUT", `${path}/file`, data)).toBe(404);
    }
  });

  it("01 §1.5: the policy comes before the image's state", async () => {
    const active = await service.createActive(owner, "hello", { visibility: "community" });
    const guarded = await service.create(owner, { visibility: "community", protected: true });
    const data = { body: "x", headers: dataHeaders };
    const statusFor = (caller: Caller, method: string, path: string, options?: CallOptions) =>
      status(caller, method, `/v2/images/${path}`, options);
    for (const caller of [ownersReader, stranger]) {
      expect(await statusFor(caller, "PUT", `${active.id}/file`, data)).toBe(403);
      const response = await service.call(caller, "DELETE", `/v2/images/${guarded.id}`);
      expect(response.status).toBe(403);
      expect(await response.text()).toContain("not authorized");
      const add = [{ op: "add", path: "/checksum_of_mine", value: "x" }];
      const missing = [{ op: "remove", path: "/absent" }];
      for (const patch of [add, missing]) {
        expect(await statusFor(caller, "PATCH", guarded.id, { patch })).toBe(403);
      }
    }
    expect(await statusFor(owner, "PUT", `${active.id}/file`, data)).toBe(409);
    const missing = [{ op: "remove", path: "/absent" }];
    expect(await statusFor(owner, "PATCH", guarded.id, { patch: missing })).toBe(409);
  });

  it("01 §1.5: the state comes before the quota", async () => {
    const small = new Service({ settings: { IMAGE_SIZE_CAP: "3", IMAGE_PROPERTY_QUOTA: "1" } });
    const active: ImageRecord = await service.createActive(owner, "hello");
    const queued = await service.createEmpty(owner);
    expect((await small.upload(owner, active.id, "hello")).status).toBe(409);
    expect((await small.upload(owner, queued.id, "hello")).status).toBe(413);
    const patch = [
      { op: "add", path: "/one", value: "1" },
      { op: "add", path: "/two", value: "2" },
      { op: "remove", path: "/absent" },
    ];
    const call = (operations: object[]) =>
      small.call(owner, "PATCH", `/v2/images/${queued.id}`, { patch: operations });
    expect((await call(patch)).status).toBe(409);
    expect((await call(patch.slice(0, 2))).status).toBe(413);
  });
});

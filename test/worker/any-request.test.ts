import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { type Route, routes } from "../../src/routes.ts";
import { admin, type Caller, member, owner, stranger, unscoped } from "../support/callers.ts";
import { callOf, FULL, Metadefs, NAMESPACES } from "../support/metadefs.ts";
import { Service } from "../support/service.ts";

/*
 * Whatever is sent, the answer is one that the contract knows. The requests are random, but near enough to
 * real ones that most of them get past the router: known routes, an image that is there, almost right bodies.
 */

const service = new Service();

const metadefs = new Metadefs(service);

const RUNS = 150;
const TIMEOUT_MS = 120_000;
const IMAGE = "IMAGE";
const NAMESPACE = "ns-of-many-words";

const text = fc.oneof(
  fc.string({ unit: "binary", maxLength: 20 }),
  fc.string({ maxLength: 20 }),
  fc.constantFrom(
    "",
    "null",
    "-1",
    "0",
    "99999999999999999999",
    "in:a,b",
    'in:"',
    "%",
    "\0",
    "a/b",
    "..",
  ),
  fc.constantFrom(
    "x".repeat(255),
    "x".repeat(256),
    "é",
    "😀",
    "\ud800",
    "__proto__",
    "constructor",
  ),
);

/** Percent-encoded, or as it comes: with broken escapes and bytes that are no UTF-8. */
const encoded = fc.oneof(
  { arbitrary: text.map((value) => encodeURIComponent(value.toWellFormed())), weight: 4 },
  fc.string({ unit: fc.constantFrom(..."%0123456789abcdefF.-_~+;:@&=/") }),
);

const idLike = fc.oneof(
  { arbitrary: fc.constant(IMAGE), weight: 6 },
  { arbitrary: fc.uuid(), weight: 1 },
  { arbitrary: encoded, weight: 1 },
);

const path = (route: Route) =>
  fc.tuple(idLike, encoded, encoded).map(([imageId, memberId, tag]) =>
    route.path
      .replace(":image_id", () => imageId)
      .replace(":task_id", () => imageId)
      .replace(":member_id", () => memberId || member.projectId)
      .replace(":tag", () => tag || "blue")
      .replace(":namespace", () => (tag.length % 3 === 0 ? tag : NAMESPACE))
      .replace(/:(property|object|resource_type)$/, () => memberId || "colour"),
  );

const WORDS = [
  ...[
    "",
    "v2",
    "v2.5",
    "v3",
    "versions",
    "images",
    "file",
    "members",
    "tags",
    "actions",
    "schemas",
  ],
  ...[
    "identity",
    "v3",
    "auth",
    "tokens",
    "users",
    "projects",
    "healthcheck",
    "info",
    "import",
    IMAGE,
  ],
];
const anyPath = fc
  .array(fc.oneof({ arbitrary: fc.constantFrom(...WORDS), weight: 3 }, encoded), { maxLength: 6 })
  .map((segments) => `/${segments.join("/")}`);

const PARAMETERS = [
  ...[
    "limit",
    "marker",
    "sort",
    "sort_key",
    "sort_dir",
    "name",
    "id",
    "status",
    "visibility",
    "owner",
  ],
  ...[
    "tag",
    "protected",
    "os_hidden",
    "member_status",
    "size_min",
    "size_max",
    "created_at",
    "prefer",
  ],
  ...["disk_format", "min_ram", "updated_at", "checksum"],
  ...["resource_types", "resource_type", "include"],
];
const VALUES = [
  ...[
    "1",
    "0",
    "name:asc",
    "created_at:desc,name",
    "asc",
    "all",
    "shared",
    "true",
    "gt:2020-01-01",
  ],
  ...["OS::Test::Image", "properties,tags", "namespace", "OS::A,OS::B"],
  ...["in:raw,qcow2", IMAGE, "neq:x", "lte:2020-01-01T00:00:00Z", "gt:", "2020-13-45"],
];
const query = fc
  .array(
    fc.tuple(
      fc.oneof({ arbitrary: fc.constantFrom(...PARAMETERS), weight: 5 }, encoded),
      fc.oneof({ arbitrary: fc.constantFrom(...VALUES), weight: 2 }, encoded),
    ),
    { maxLength: 4 },
  )
  .map((pairs) => pairs.map(([name, value]) => `${name}=${value}`).join("&"));

const METHODS = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"];
const method = fc.oneof(
  { arbitrary: fc.constantFrom(...METHODS), weight: 12 },
  fc.constantFrom("OPTIONS", "PROPFIND", "PURGE", "SEARCH"),
);

const HEADERS: Readonly<Record<string, readonly string[]>> = {
  accept: ["text/html", "text/plain", "*/*;q=0.1", "application/json"],
  "content-type": [
    "application/octet-stream",
    "application/json",
    "application/openstack-images-v2.0-json-patch",
    "application/openstack-images-v2.1-json-patch",
  ],
  range: ["bytes=0-1", "bytes=-2", "bytes=9-", "bytes=5-1", "bytes=0-0,2-3", "chunks=1-2"],
  "content-range": ["bytes 0-1/5", "bytes */5"],
  "if-match": ["*", '"x"', 'W/"x"'],
  "if-none-match": ["*", '"x", "y"'],
  "if-range": ['"x"', "Wed, 21 Oct 2015 07:28:00 GMT"],
  origin: ["https://a.example", "null"],
  "x-openstack-image-size": ["0", "5", "-1", "99999999999999999999", "1e3"],
  "x-openstack-request-id": ["mine", "req-mine"],
  "x-image-meta-store": ["default"],
  "x-subject-token": ["nonsense"],
};
const headers = fc.dictionary(fc.constantFrom(...Object.keys(HEADERS)), fc.tuple(fc.nat(), text), {
  maxKeys: 5,
});

const PROPERTIES = [
  ...[
    "name",
    "id",
    "owner",
    "visibility",
    "protected",
    "os_hidden",
    "tags",
    "disk_format",
    "status",
  ],
  ...["container_format", "min_disk", "min_ram", "size", "locations", "self", "member", "team"],
  ...["namespace", "display_name", "properties", "objects", "title", "type", "default", "prefix"],
];
const SETTINGS = [null, true, false, 0, 1, -1, 1.5, 2 ** 31, "", "raw", "public", "shared", [], {}];
const value = fc.oneof(
  fc.constantFrom<unknown[]>(...SETTINGS),
  text,
  fc.array(text, { maxLength: 3 }),
  fc.jsonValue({ maxDepth: 3 }),
);
const record = fc.dictionary(fc.oneof(fc.constantFrom(...PROPERTIES), text), value, { maxKeys: 4 });
const operation = fc.oneof(
  fc.record(
    {
      op: fc.constantFrom<unknown[]>("add", "replace", "remove", "move", null, 1),
      path: fc.oneof(
        fc.constantFrom(...PROPERTIES).map((name) => `/${name}`),
        fc.constantFrom("", "/", "/tags/0", "/locations/-", "/a~1b", "/~2", "name", null, 7),
        text.map((name) => `/${name}`),
      ),
      value,
    },
    { requiredKeys: [] },
  ),
  fc.dictionary(fc.constantFrom("add", "replace", "remove"), fc.oneof(text, value)),
  value,
);

type Body =
  | { readonly kind: "none" }
  | { readonly kind: "whole" | "chunks"; readonly bytes: Uint8Array };
const toBytes = (content: unknown) => new TextEncoder().encode(JSON.stringify(content) ?? "");
const bytes = fc.oneof(
  { arbitrary: record.map(toBytes), weight: 3 },
  { arbitrary: fc.array(operation, { maxLength: 4 }).map(toBytes), weight: 3 },
  fc.record({ member: value, status: value }).map(toBytes),
  fc.record({ auth: fc.jsonValue() }).map(toBytes),
  // Metadata definitions: what is asked for is there, and anything beside it and in it.
  fc
    .tuple(record, text)
    .map(([more, name]) => toBytes({ ...more, name, title: name, type: "array" })),
  fc
    .tuple(record, text, fc.dictionary(text, record, { maxKeys: 2 }))
    .map(([more, namespace, properties]) => toBytes({ ...more, namespace, properties })),
  fc.jsonValue().map(toBytes),
  fc.uint8Array({ maxLength: 50 }),
);
const body: fc.Arbitrary<Body> = fc.oneof(
  fc.constant({ kind: "none" } as const),
  fc.record({ kind: fc.constantFrom("whole" as const, "chunks" as const), bytes }),
);

const CALLERS: readonly (Caller | null)[] = [
  owner,
  owner,
  owner,
  admin,
  member,
  stranger,
  unscoped,
  null,
];

function inChunks(content: Uint8Array): ReadableStream<Uint8Array> {
  let offset = 0;
  return new ReadableStream({
    pull(controller) {
      if (offset >= content.length) return controller.close();
      controller.enqueue(content.slice(offset, offset + 7));
      offset += 7;
    },
  });
}

/** An image with members and tags, now without data, now with it, now deactivated. */
async function anImage(kind: number): Promise<string> {
  const record = { visibility: "shared", tags: ["blue"], name: "x" };
  const { id } =
    kind === 0
      ? await service.createEmpty(owner, record)
      : await service.createActive(owner, "hello", record);
  const json = { member: member.projectId };
  await service.call(owner, "POST", `/v2/images/${id}/members`, { json });
  if (kind === 2) await service.call(owner, "POST", `/v2/images/${id}/actions/deactivate`);
  return id;
}

/** The request as far as the platform lets one be made; undefined when it does not. */
async function requestOf(
  caller: Caller | null,
  verb: string,
  url: string,
  given: Readonly<Record<string, readonly [number, string]>>,
  content: Body,
): Promise<Request | undefined> {
  const sent = new Headers();
  const hasBody = content.kind !== "none" && verb !== "GET" && verb !== "HEAD";
  try {
    for (const [name, [choice, own]] of Object.entries(given)) {
      const known = HEADERS[name] ?? [];
      sent.set(name, known[choice % (known.length + 1)] ?? own);
    }
    if (caller !== null) sent.set("x-auth-token", await caller.token());
    if (content.kind === "whole" && hasBody) {
      sent.set("content-length", String(content.bytes.length));
    }
    return new Request(url, {
      method: verb,
      headers: sent,
      ...(hasBody && { body: content.kind === "chunks" ? inChunks(content.bytes) : content.bytes }),
    });
  } catch {
    return undefined;
  }
}

/** Never ours to mend: no 500, nothing that "will pass", and an answer in the shape that clients parse. */
async function expectDecentAnswer(request: Request): Promise<void> {
  const response = await service.fetch(request);
  const answer = new TextDecoder().decode(await response.arrayBuffer());
  const what = `${request.method} ${request.url}: ${response.status} ${answer.slice(0, 300)}`;
  expect(response.status === 501 || response.status < 500, what).toBe(true);
  expect(response.headers.get("x-openstack-request-id"), what).toMatch(/^req-/);
  if (request.method === "HEAD") expect(answer, what).toBe("");
  else if (response.headers.get("content-type") === "application/json") JSON.parse(answer);
}

interface Scenario {
  readonly path: string;
  readonly query: string;
  readonly method: string;
  readonly headers: Readonly<Record<string, readonly [number, string]>>;
  readonly body: Body;
  readonly caller: Caller | null;
  readonly kind: number;
}

const parts = {
  query,
  headers,
  body,
  caller: fc.constantFrom(...CALLERS),
  kind: fc.nat({ max: 2 }),
};

/** A call of a route, three times out of four with the kind of body that it takes. */
const knownCall: fc.Arbitrary<Scenario> = fc.constantFrom(...routes).chain((route) =>
  fc
    .record({
      ...parts,
      path: path(route),
      method: fc.oneof({ arbitrary: fc.constant<string>(route.method), weight: 9 }, method),
      isTidy: fc.nat({ max: 3 }).map((chance) => chance > 0),
    })
    .map(({ isTidy, ...scenario }) => {
      if (!isTidy) return scenario;
      if (route.body === "none") return { ...scenario, body: { kind: "none" } as const };
      const choice = route.body === "stream" ? 0 : 3;
      const headers = { ...scenario.headers, "content-type": [choice, ""] as const };
      return { ...scenario, headers };
    }),
);

const anyCall: fc.Arbitrary<Scenario> = fc.record({ ...parts, path: anyPath, method });

async function play(given: Scenario): Promise<void> {
  const address = `${given.path}${given.query === "" ? "" : `?${given.query}`}`;
  const id = address.includes(IMAGE) ? await anImage(given.kind) : "";
  const url = `http://image.test${address.replaceAll(IMAGE, id)}`;
  const request = await requestOf(given.caller, given.method, url, given.headers, given.body);
  if (request !== undefined) await expectDecentAnswer(request);
}

describe("any request", () => {
  it(
    "ERR-6: to a known route never gives 500",
    async () => {
      await fc.assert(fc.asyncProperty(knownCall, play), { numRuns: 2 * RUNS });
    },
    TIMEOUT_MS,
  );

  it(
    "ERR-6: to any path never gives 500",
    async () => {
      await fc.assert(fc.asyncProperty(anyCall, play), { numRuns: RUNS });
    },
    TIMEOUT_MS,
  );

  it(
    "ERR-6: with any image body never gives 500",
    async () => {
      await fc.assert(
        fc.asyncProperty(fc.oneof(record.map(toBytes), bytes), async (content) => {
          const headers = { "x-auth-token": await admin.token() };
          const url = "http://image.test/v2/images";
          await expectDecentAnswer(new Request(url, { method: "POST", headers, body: content }));
        }),
        { numRuns: RUNS },
      );
    },
    TIMEOUT_MS,
  );

  it(
    "MN-43, ERR-6: with any body never gives 500 from a call about metadata definitions",
    async () => {
      await metadefs.post(NAMESPACES, { namespace: NAMESPACE, ...FULL });
      const calls = routes.filter(
        ({ path, body }) => path.startsWith(NAMESPACES) && typeof body === "object",
      );
      await fc.assert(
        fc.asyncProperty(fc.constantFrom(...calls), bytes, async (route, content) => {
          const headers = { "x-auth-token": await admin.token() };
          const { path } = callOf(route, NAMESPACE);
          const url = `http://image.test${path}`;
          const request = new Request(url, { method: route.method, headers, body: content });
          await expectDecentAnswer(request);
        }),
        { numRuns: 2 * RUNS },
      );
    },
    TIMEOUT_MS,
  );

  it(
    "ERR-6: with any patch never gives 500",
    async () => {
      const types = HEADERS["content-type"]?.slice(2) ?? [];
      await fc.assert(
        fc.asyncProperty(
          fc.array(operation, { maxLength: 3 }),
          fc.constantFrom(...types),
          async (patch, type) => {
            const id = await anImage(0);
            const headers = { "x-auth-token": await admin.token(), "content-type": type };
            const url = `http://image.test/v2/images/${id}`;
            const body = toBytes(patch);
            await expectDecentAnswer(new Request(url, { method: "PATCH", headers, body }));
          },
        ),
        { numRuns: RUNS },
      );
    },
    TIMEOUT_MS,
  );

  it(
    "ERR-6: with any list query never gives 500",
    async () => {
      await fc.assert(
        fc.asyncProperty(query, fc.constantFrom(...CALLERS), async (parameters, caller) => {
          const url = `http://image.test/v2/images?${parameters.replaceAll(IMAGE, "x")}`;
          const request = await requestOf(caller, "GET", url, {}, { kind: "none" });
          if (request !== undefined) await expectDecentAnswer(request);
        }),
        { numRuns: 2 * RUNS },
      );
    },
    TIMEOUT_MS,
  );
});

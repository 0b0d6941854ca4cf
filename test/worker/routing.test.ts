import { env } from "cloudflare:workers";
import { describe, expect, it } from "vitest";
import { DEFAULT_RULES } from "../../src/policy/rules.ts";
import { type Route, routes } from "../../src/routes.ts";
import { admin, type Caller, member, owner, unscoped } from "../support/callers.ts";
import { callOf, FULL, Metadefs } from "../support/metadefs.ts";
import { copyTo } from "../support/second-copy.ts";
import { type CallOptions, Service } from "../support/service.ts";
import { TWO_BUCKETS } from "../support/stores.ts";
import { plantTask } from "../support/tasks.ts";

const service = new Service();

/** The routes about stores are there only where there are several. */
const settings = { STORES: JSON.stringify(TWO_BUCKETS) };
const severalStores = new Service({ settings });

const metadefs = new Metadefs(service);

const MISSING = "00000000-0000-4000-8000-000000000000";
const TASK = "00000000-0000-4000-8000-00000000007a";
const METHODS = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "PROPFIND", "PURGE"];

/** A route's path with its parameters filled in. */
function pathOf({ path }: Pick<Route, "path">, imageId = MISSING): string {
  if (path.startsWith("/v2/metadefs")) return callOf({ method: "GET", path }, "nothing").path;
  return path
    .replace(":image_id", imageId)
    .replace(":task_id", TASK)
    .replace(":store_id", "fast")
    .replace(":member_id", member.projectId)
    .replace(":tag", "blue");
}

const named = routes.map((route) => [`${route.method} ${route.path}`, route] as const);
const paths = [...new Set(routes.map(({ path }) => path))];

/** Methods of one path in the order of the route table. */
function methodsOf(path: string): string[] {
  return routes.filter((route) => route.path === path).map(({ method }) => method);
}

describe("every route of the table", () => {
  it.each(named)("CTX-1: %s without a token is 401", async (_, route) => {
    const response = await service.call(null, route.method, pathOf(route));
    expect(response.status).toBe(401);
  });

  it.each(named)("CTX-1: %s with a token that nobody signed is 401", async (_, route) => {
    const headers = { "x-auth-token": "gAAAAA" };
    const response = await service.call(null, route.method, pathOf(route), { headers });
    expect(response.status).toBe(401);
  });

  it.each(named)("%s stands under a rule that exists, or is for every token", (_, { rule }) => {
    expect(["authenticated", ...Object.keys(DEFAULT_RULES)]).toContain(rule);
  });

  const ruled = named.filter(([, { rule }]) => rule !== "authenticated");
  it.each(ruled)(
    "%s asks its rule: refused when nobody has it, else let through",
    async (_, route) => {
      const POLICY = JSON.stringify({ [route.rule]: "!" });
      const { caller, path, options } = await prepare(route);
      const own = { ...settings, ...(route.path.startsWith("/v2/cache") && { IMAGE_CACHE: "on" }) };
      const refused = await new Service({ settings: { ...own, POLICY } }).call(
        caller,
        route.method,
        path,
        options(),
      );
      expect([403, 404]).toContain(refused.status);
      const granted = await new Service({ settings: own }).call(
        caller,
        route.method,
        path,
        options(),
      );
      expect(granted.status).toBeLessThan(300);
    },
  );

  const open = named.filter(([, { rule }]) => rule === "authenticated");
  it.each(open)(
    "SCH-2: %s is for every token, one without project or roles too",
    async (_, route) => {
      expect((await severalStores.call(unscoped, route.method, pathOf(route))).status).toBe(200);
    },
  );

  const unsupported = paths.flatMap((path) =>
    METHODS.filter((method) => !methodsOf(path).includes(method)).map(
      (method) => [method, path] as const,
    ),
  );
  it.each(unsupported)("RT-17: %s %s is 405 and names what is allowed", async (method, path) => {
    const response = await service.call(owner, method, pathOf({ path }));
    expect(response.status).toBe(405);
    expect(response.headers.get("allow")).toBe(methodsOf(path).join(", "));
  });

  it.each(paths)("RT-19: %s with a slash behind it is 404", async (path) => {
    for (const method of methodsOf(path)) {
      const response = await service.call(owner, method, `${pathOf({ path })}/`);
      expect(response.status).toBe(404);
    }
  });

  const bodiless = named.filter(([, { body }]) => body === "none");
  it.each(bodiless)("%s with a body is 400, before the image is looked for", async (_, route) => {
    const hasMethodBody = route.method !== "GET" && route.method !== "HEAD";
    const options = hasMethodBody ? { body: "{}" } : { headers: { "content-length": "2" } };
    const response = await service.call(owner, route.method, pathOf(route), options);
    expect(response.status).toBe(400);
    if (route.method !== "HEAD") expect(await response.text()).toContain("takes no request body");
  });

  /** An image, a caller and a body with which a route succeeds by default. */
  async function prepare(route: Route): Promise<{
    caller: Caller;
    path: string;
    options: () => CallOptions;
  }> {
    if (route.path.startsWith("/v2/metadefs")) {
      const { path, options } = callOf(route, await metadefs.create(FULL));
      return { caller: admin, path, options: () => options };
    }
    const isRemoval = route.rule === "delete_image_location";
    const wantsData = isRemoval || /\/actions\/|^\/v2\/cache/.test(route.path);
    const record = { visibility: "shared", tags: ["blue"] };
    const { id } = wantsData
      ? await severalStores.createActive(owner, "bytes", record)
      : await service.createEmpty(owner, record);
    if (route.path.includes(":task_id")) await plantTask({ id: TASK });
    if (isRemoval) await copyTo(env.ARCHIVE, "archive", id, "bytes");
    const isAddingMember = route.rule === "add_member";
    if (!isAddingMember) {
      const json = { member: member.projectId };
      await service.call(owner, "POST", `/v2/images/${id}/members`, { json });
    }
    const data = { body: "x", headers: { "content-type": "application/octet-stream" } };
    if (route.path.endsWith("/import")) {
      await severalStores.call(owner, "PUT", `/v2/images/${id}/stage`, data);
    }
    const byPath: Readonly<Record<string, CallOptions>> = {
      "PUT /v2/images/:image_id/stage": data,
      "POST /v2/tasks": {
        json: {
          type: "import",
          input: {
            import_from: "http://127.0.0.1:9/",
            import_from_format: "raw",
            image_properties: {},
          },
        },
      },
      "POST /v2/images/:image_id/import": { json: { method: { name: "glance-direct" } } },
    };
    const tus = { "tus-resumable": "1.0.0", "upload-length": "1" };
    const pieceHeaders = {
      "upload-offset": "0",
      "content-type": "application/offset+octet-stream",
    };
    const piece = { body: "x", headers: { ...tus, ...pieceHeaders } };
    const uploads = "/v2/images/:image_id/uploads";
    if (route.path === `${uploads}/:upload_id`) {
      const { path, headers } = { path: `/v2/images/${id}/uploads`, headers: tus };
      const begun = await severalStores.call(owner, "POST", path, { headers });
      const { pathname } = new URL(begun.headers.get("location") ?? "");
      const options = () => (route.method === "PATCH" ? piece : { headers: tus });
      return { caller: admin, path: pathname, options };
    }
    if (route.path === uploads) {
      return { caller: admin, path: pathOf(route, id), options: () => ({ headers: tus }) };
    }
    const bodies: Partial<Record<Route["rule"], CallOptions>> = {
      add_image: { json: {} },
      add_member: { json: { member: member.projectId } },
      add_image_location: { json: { url: "http://127.0.0.1:9/" } },
      modify_member: { json: { status: "accepted" } },
      upload_image: data,
    };
    const patch = { patch: [{ op: "replace", path: "/name", value: "n" }] };
    const options = () =>
      route.method === "PATCH"
        ? patch
        : (byPath[`${route.method} ${route.path}`] ?? bodies[route.rule] ?? {});
    return { caller: admin, path: pathOf(route, id), options };
  }
});

/** HEAD on an image and its data is ours: contract 01 knows none, so these lines differ by it. */
const ALLOWED = [
  ["RT-1", "/images", "GET, POST"],
  ["RT-2", `/images/${MISSING}`, "GET, HEAD, PATCH, DELETE"],
  ["RT-3", `/images/${MISSING}/file`, "GET, HEAD, PUT"],
  ["RT-6", `/images/${MISSING}/actions/deactivate`, "POST"],
  ["RT-6", `/images/${MISSING}/actions/reactivate`, "POST"],
  ["RT-7", `/images/${MISSING}/tags/blue`, "PUT, DELETE"],
  ["RT-8", `/images/${MISSING}/members`, "GET, POST"],
  ["RT-9", `/images/${MISSING}/members/m`, "GET, PUT, DELETE"],
  ["RT-10", `/images/${MISSING}/locations`, "GET, POST"],
  ["RT-11", `/images/${MISSING}/tasks`, "GET"],
  ["12 §2 DELETE, other methods", "/tasks", "GET, POST"],
  ["12 §2 DELETE, other methods", `/tasks/${MISSING}`, "GET"],
  ["RT-12", `/stores/fast/${MISSING}`, "DELETE"],
  ["RT-13", "/schemas/image", "GET"],
  ["RT-13", "/schemas/images", "GET"],
  ["RT-13", "/schemas/member", "GET"],
  ["RT-13", "/schemas/members", "GET"],
  ["RT-13", "/schemas/task", "GET"],
  ["RT-13", "/schemas/tasks", "GET"],
  ["RT-4", `/images/${MISSING}/stage`, "PUT"],
  ["RT-5", `/images/${MISSING}/import`, "POST"],
  ["RT-14", "/info/import", "GET"],
  ["RT-14", "/info/stores", "GET"],
  ["RT-14", "/info/stores/detail", "GET"],
  ["MN-25", "/metadefs/namespaces", "GET, POST"],
  ["MN-26", "/metadefs/namespaces/n", "GET, PUT, DELETE"],
  ["MN-27", "/metadefs/namespaces/n/properties", "GET, POST, DELETE"],
  ["MN-28", "/metadefs/namespaces/n/properties/p", "GET, PUT, DELETE"],
  ["MN-29", "/metadefs/namespaces/n/objects", "GET, POST, DELETE"],
  ["MN-30", "/metadefs/namespaces/n/objects/o", "GET, PUT, DELETE"],
  ["MN-31", "/metadefs/namespaces/n/tags", "GET, POST, DELETE"],
  ["MN-32", "/metadefs/namespaces/n/tags/t", "GET, POST, PUT, DELETE"],
  ["MN-33", "/metadefs/namespaces/n/resource_types", "GET, POST"],
  ["MN-34", "/metadefs/namespaces/n/resource_types/r", "DELETE"],
  ["MN-35", "/metadefs/resource_types", "GET"],
  ["MN-36", "/schemas/metadefs/namespace", "GET"],
] as const;

describe("methods", () => {
  it.each(ALLOWED)("%s, RT-17: %s allows %s", async (_, path, allowed) => {
    const response = await service.call(owner, "PURGE", `/v2${path}`);
    expect(response.status).toBe(405);
    expect(response.headers.get("allow")).toBe(allowed);
  });

  it("RT-1: lists with 200 and creates with 201", async () => {
    expect((await service.call(owner, "GET", "/v2/images")).status).toBe(200);
    expect((await service.call(owner, "POST", "/v2/images", { json: {} })).status).toBe(201);
  });

  it("RT-2: shows and changes an image with 200, deletes it with 204", async () => {
    const { id } = await service.create(owner);
    const path = `/v2/images/${id}`;
    expect((await service.call(owner, "GET", path)).status).toBe(200);
    expect((await service.call(owner, "HEAD", path)).status).toBe(200);
    expect((await service.call(owner, "PATCH", path, { patch: [] })).status).toBe(200);
    expect((await service.call(owner, "DELETE", path)).status).toBe(204);
  });

  it("RT-3: takes data with 204 and gives it with 204, 200 or 206", async () => {
    const { id } = await service.createEmpty(owner);
    const path = `/v2/images/${id}/file`;
    const headers = { range: "bytes=0-1" };
    expect((await service.call(owner, "GET", path)).status).toBe(204);
    expect((await service.upload(owner, id, "hello")).status).toBe(204);
    const statuses = [];
    for (const options of [{}, { headers }]) {
      const response = await service.call(owner, "GET", path, options);
      await response.arrayBuffer();
      statuses.push(response.status);
    }
    expect(statuses).toEqual([200, 206]);
    expect((await service.call(owner, "HEAD", path)).status).toBe(200);
  });

  it("RT-6: deactivates and reactivates with 204", async () => {
    const { id } = await service.createActive(owner, "hello");
    for (const action of ["deactivate", "reactivate"]) {
      const response = await service.call(owner, "POST", `/v2/images/${id}/actions/${action}`);
      expect(response.status).toBe(204);
    }
  });

  it("RT-7: adds and removes a tag with 204", async () => {
    const { id } = await service.create(owner);
    for (const method of ["PUT", "DELETE"]) {
      expect((await service.call(owner, method, `/v2/images/${id}/tags/blue`)).status).toBe(204);
    }
  });

  it("RT-8, RT-9: adds, lists, shows and changes members with 200, removes them with 204", async () => {
    const { id } = await service.create(owner, { visibility: "shared" });
    const all = `/v2/images/${id}/members`;
    const one = `${all}/${member.projectId}`;
    const calls = [
      [owner, "POST", all, { json: { member: member.projectId } }, 200],
      [owner, "GET", all, {}, 200],
      [owner, "GET", one, {}, 200],
      [member, "PUT", one, { json: { status: "accepted" } }, 200],
      [owner, "DELETE", one, {}, 204],
    ] as const;
    for (const [caller, method, path, options, status] of calls) {
      expect((await service.call(caller, method, path, options)).status).toBe(status);
    }
  });

  it("RT-14, LIM-23, IMP-16: gives the import methods that are on: three of four by default", async () => {
    const response = await service.call(owner, "GET", "/v2/info/import");
    expect(response.status).toBe(200);
    const value = ["glance-direct", "web-download", "copy-image"];
    const description = expect.any(String);
    expect(await response.json()).toEqual({
      "import-methods": { description, type: "array", value },
    });
  });
});

describe("unknown paths", () => {
  const unknown = [
    "/v2/nothing",
    "/v2/images/a/b/c",
    `/v2/images/${MISSING}/`,
    `/v2/images/${MISSING}/nothing`,
    `/v2/images/${MISSING}/tags`,
    `/v2/images/${MISSING}/tags/`,
    `/v2/images/${MISSING}/tags/a/b`,
    `/v2/images/${MISSING}/actions`,
    `/v2/images/${MISSING}/actions/close`,
    "/v2/Images",
    "/v2/schemas",
    "/v2/schemas/metadefs",
    "/v2/metadefs",
    "/v2/metadefs/namespaces/n/colours",
    "/v2/metadefs/namespaces/n/resource_types/r/x",
    "/v2/info",
  ];

  it.each(unknown)("RT-18: %s is 404 by every common method", async (path) => {
    for (const method of ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"]) {
      expect((await service.call(owner, method, path)).status).toBe(404);
    }
  });

  it.each(unknown)("RT-18: %s by a method that no path knows is 501", async (path) => {
    expect((await service.call(owner, "PROPFIND", path)).status).toBe(501);
  });

  it("RT-19: a slash behind the path is another path", async () => {
    const { id } = await service.create(owner);
    expect((await service.call(owner, "GET", "/v2/images/")).status).toBe(404);
    expect((await service.call(owner, "GET", `/v2/images/${id}/`)).status).toBe(404);
    expect((await service.call(owner, "DELETE", `/v2/images/${id}/`)).status).toBe(404);
    expect((await service.call(owner, "GET", `/v2/images/${id}`)).status).toBe(200);
  });

  it("RT-20: repeated slashes are one", async () => {
    const { id } = await service.create(owner, { name: "slashes" });
    for (const path of [`/v2//images/${id}`, `//v2/images/${id}`, `///v2////images//${id}`]) {
      const response = await service.call(owner, "GET", path);
      expect(await response.json(), path).toMatchObject({ id, file: `/v2/images/${id}/file` });
    }
    const list = await service.call(owner, "GET", "/v2//images?name=a//b");
    expect(await list.json()).toMatchObject({ first: "/v2/images?name=a%2F%2Fb" });
    expect((await service.call(owner, "PUT", `/v2/images//${id}/tags//a`)).status).toBe(204);
    expect((await service.call(owner, "POST", `//v2/images/${id}//uploads`)).status).toBe(412);
    expect((await service.call(null, "GET", "//")).status).toBe(300);
    expect((await service.call(null, "GET", "//versions//")).status).toBe(200);
    expect((await service.call(null, "GET", "//identity//v3")).status).toBe(200);
    expect((await service.call(null, "GET", "//healthcheck")).status).toBe(200);
  });

  it("RT-19, RT-20, RT-21: what is folded still has its end, and an encoded slash is not folded", async () => {
    const { id } = await service.create(owner);
    for (const path of ["/v2/images//", `/v2/images/${id}//`, `/v2%2F/images/${id}`]) {
      expect([300, 404]).toContain((await service.call(owner, "GET", path)).status);
    }
    const tag = `/v2/images/${id}/tags//%2Fa`;
    expect((await service.call(owner, "PUT", tag)).status).toBe(404);
  });
});

describe("percent-encoding in paths", () => {
  it.each(["a%2Fb", "a%2fb", "%2F", "%2f%2f"])(
    "RT-21: a tag %s holds a slash, so no route is its own: 404",
    async (tag) => {
      const { id } = await service.create(owner, { tags: ["a/b"] });
      for (const method of ["PUT", "DELETE"]) {
        expect((await service.call(owner, method, `/v2/images/${id}/tags/${tag}`)).status).toBe(
          404,
        );
      }
      expect((await service.show(owner, id)).tags).toEqual(["a/b"]);
    },
  );

  it("RT-21: so it is with a member and with an id", async () => {
    const { id } = await service.createShared(owner, member);
    for (const path of [`${id}/members/a%2Fb`, `${id}%2Ffile`, `${id}%2F`, `%2F${id}`]) {
      expect((await service.call(owner, "GET", `/v2/images/${path}`)).status).toBe(404);
    }
  });

  it("RT-21: everything else is decoded, once", async () => {
    const { id } = await service.create(owner);
    for (const tag of ["%C3%BC", "%25", "%252F", "a%20b", "a+b", "100%", "%zz"]) {
      expect((await service.call(owner, "PUT", `/v2/images/${id}/tags/${tag}`)).status).toBe(204);
    }
    const { tags } = await service.show(owner, id);
    expect([...tags].sort()).toEqual(["%", "%2F", "%zz", "100%", "a b", "a+b", "ü"].sort());
  });

  it("RT-21: an id may be encoded too", async () => {
    const { id } = await service.create(owner);
    const encoded = id.replaceAll("-", "%2D");
    expect((await service.call(owner, "GET", `/v2/images/${encoded}`)).status).toBe(200);
  });
});

describe("OPTIONS", () => {
  it.each([
    "/",
    "/v2/images",
    `/v2/images/${MISSING}/file`,
    "/v2/nothing",
    "/healthcheck",
    "/identity/v3",
  ])("RT-22: %s is 200 without a token", async (path) => {
    const response = await service.call(null, "OPTIONS", path);
    expect(response.status).toBe(200);
    expect(await response.text()).toBe("");
    expect(response.headers.get("x-openstack-request-id")).toMatch(/^req-/);
  });
});

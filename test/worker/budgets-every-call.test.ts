import { describe, expect, it } from "vitest";
import { identityRoutes } from "../../src/api/identity.ts";
import { METADEF_SCHEMAS } from "../../src/api/metadefs/schemas.ts";
import { routes } from "../../src/routes.ts";
import { CachedService } from "../support/cached-service.ts";
import { admin, type Caller, member, owner } from "../support/callers.ts";
import { createStaged } from "../support/imports.ts";
import { callOf, FULL, Metadefs, NAMESPACES } from "../support/metadefs.ts";
import type { CallOptions } from "../support/service.ts";
import { TWO_BUCKETS } from "../support/stores.ts";
import { plantTask } from "../support/tasks.ts";
import { TestedObject } from "../support/tested-object.ts";
import { Tus } from "../support/tus.ts";

/*
 * What each call of the API may cost: round trips to D1 and the rows they read, calls of image objects, operations of
 * R2. A route that is not in this table fails the last test.
 */

const service = new CachedService({
  STORES: JSON.stringify(TWO_BUCKETS),
  IMPORT_METHODS: "glance-direct,web-download,copy-image",
});
const tus = new Tus(service);
const metadefs = new Metadefs(service);

interface Made {
  readonly path: string;
  readonly options?: CallOptions;
  readonly as?: Caller;
}

interface Budget {
  /** Makes what is needed before, and says what is asked for. */
  readonly ask: () => Made | Promise<Made>;
  readonly d1: number;
  readonly rows: number;
  readonly objects: number;
  readonly r2: number;
}

const FREE = { d1: 0, rows: 0, objects: 0, r2: 0 };
const READ = { d1: 1, rows: 2, objects: 0, r2: 0 };
/** A change: one look at the row, one write of it. */
const CHANGE = { d1: 2, rows: 20, objects: 1, r2: 0 };

const to = (path: string, options: CallOptions = {}, as: Caller = owner): Made => ({
  path,
  options,
  as,
});
const active = async () => (await service.createActive(owner, "0123456789")).id;
const shared = async () => (await service.createShared(owner, member)).id;
const empty = async () => (await service.createEmpty(owner)).id;
const stream = { "content-type": "application/octet-stream" };
const tusHeaders = { "tus-resumable": "1.0.0" };
const newUpload = async () => tus.create(owner, await empty(), { "upload-length": "10" });

const BUDGETS: Readonly<Record<string, Budget>> = {
  "GET /v2/images": { ...READ, rows: 104, ask: () => to("/v2/images") },
  "POST /v2/images": {
    ...{ d1: 1, rows: 12, objects: 0, r2: 0 },
    ask: () => to("/v2/images", { json: { name: "x", tags: ["a", "b"], colour: "red" } }),
  },
  "GET /v2/images/:image_id": { ...READ, ask: async () => to(`/v2/images/${await active()}`) },
  "HEAD /v2/images/:image_id": { ...READ, ask: async () => to(`/v2/images/${await active()}`) },
  "PATCH /v2/images/:image_id": {
    ...CHANGE,
    ask: async () => {
      const patch = [{ op: "add", path: "/colour", value: "red" }];
      return to(`/v2/images/${await active()}`, { patch });
    },
  },
  "DELETE /v2/images/:image_id": { ...CHANGE, ask: async () => to(`/v2/images/${await active()}`) },

  // The row comes with its entry in the cache; what a read fills is put down behind its answer.
  "GET /v2/images/:image_id/file": {
    ...{ d1: 2, rows: 6, objects: 0, r2: 1 },
    ask: async () => to(`/v2/images/${await active()}/file`),
  },
  "HEAD /v2/images/:image_id/file": {
    ...{ d1: 1, rows: 3, objects: 0, r2: 1 },
    ask: async () => to(`/v2/images/${await active()}/file`),
  },
  "PUT /v2/images/:image_id/file": {
    ...{ d1: 5, rows: 40, objects: 2, r2: 1 },
    ask: async () => to(`/v2/images/${await empty()}/file`, { body: "data", headers: stream }),
  },
  "PUT /v2/images/:image_id/stage": {
    ...{ d1: 5, rows: 40, objects: 2, r2: 1 },
    ask: async () => to(`/v2/images/${await empty()}/stage`, { body: "data", headers: stream }),
  },

  "POST /v2/images/:image_id/uploads": {
    ...{ d1: 2, rows: 20, objects: 1, r2: 0 },
    ask: async () =>
      to(`/v2/images/${await empty()}/uploads`, {
        headers: { ...tusHeaders, "upload-length": "10" },
      }),
  },
  "HEAD /v2/images/:image_id/uploads/:upload_id": {
    ...{ d1: 1, rows: 2, objects: 1, r2: 0 },
    ask: async () => to(await newUpload(), { headers: tusHeaders }),
  },
  // The last bytes: stored, and handed over to the work that makes them the image's.
  "PATCH /v2/images/:image_id/uploads/:upload_id": {
    ...{ d1: 5, rows: 60, objects: 1, r2: 1 },
    ask: async () =>
      to(await newUpload(), {
        body: "0123456789",
        headers: {
          ...tusHeaders,
          "upload-offset": "0",
          "content-type": "application/offset+octet-stream",
        },
      }),
  },
  "DELETE /v2/images/:image_id/uploads/:upload_id": {
    ...{ d1: 3, rows: 20, objects: 1, r2: 0 },
    ask: async () => to(await newUpload(), { headers: tusHeaders }),
  },

  "POST /v2/images/:image_id/import": {
    ...{ d1: 3, rows: 40, objects: 1, r2: 0 },
    ask: async () => {
      const { id } = await createStaged(service, "data");
      return to(`/v2/images/${id}/import`, { json: { method: { name: "glance-direct" } } });
    },
  },
  "GET /v2/images/:image_id/locations": {
    ...READ,
    ask: async () => to(`/v2/images/${await active()}/locations`, {}, admin),
  },
  "POST /v2/images/:image_id/locations": {
    ...{ d1: 3, rows: 40, objects: 1, r2: 0 },
    ask: async () =>
      to(`/v2/images/${await empty()}/locations`, { json: { url: "https://image.test/x" } }),
  },

  "POST /v2/images/:image_id/actions/deactivate": {
    ...CHANGE,
    ask: async () => to(`/v2/images/${await active()}/actions/deactivate`),
  },
  "POST /v2/images/:image_id/actions/reactivate": {
    ...CHANGE,
    ask: async () => {
      const path = `/v2/images/${await active()}/actions`;
      await service.call(owner, "POST", `${path}/deactivate`);
      return to(`${path}/reactivate`);
    },
  },
  "PUT /v2/images/:image_id/tags/:tag": {
    ...CHANGE,
    ask: async () => to(`/v2/images/${await active()}/tags/new`),
  },
  "DELETE /v2/images/:image_id/tags/:tag": {
    ...CHANGE,
    ask: async () => {
      const { id } = await service.create(owner, { tags: ["old"] });
      return to(`/v2/images/${id}/tags/old`);
    },
  },

  "GET /v2/images/:image_id/members": {
    ...{ ...READ, rows: 4 },
    ask: async () => to(`/v2/images/${await shared()}/members`),
  },
  "POST /v2/images/:image_id/members": {
    ...CHANGE,
    ask: async () => to(`/v2/images/${await shared()}/members`, { json: { member: "another" } }),
  },
  "GET /v2/images/:image_id/members/:member_id": {
    ...{ ...READ, rows: 6 },
    ask: async () => to(`/v2/images/${await shared()}/members/${member.projectId}`),
  },
  "PUT /v2/images/:image_id/members/:member_id": {
    ...CHANGE,
    ask: async () => {
      const path = `/v2/images/${await shared()}/members/${member.projectId}`;
      return to(path, { json: { status: "rejected" } }, member);
    },
  },
  "DELETE /v2/images/:image_id/members/:member_id": {
    ...CHANGE,
    ask: async () => to(`/v2/images/${await shared()}/members/${member.projectId}`),
  },

  "GET /v2/images/:image_id/tasks": {
    ...{ ...READ, rows: 4 },
    ask: async () => {
      const imageId = await active();
      await plantTask({ imageId });
      return to(`/v2/images/${imageId}/tasks`);
    },
  },
  "GET /v2/tasks": { ...READ, rows: 60, ask: () => to("/v2/tasks", {}, admin) },
  "POST /v2/tasks": {
    // An image is made, and its import begun.
    ...{ d1: 5, rows: 60, objects: 1, r2: 0 },
    ask: () =>
      to(
        "/v2/tasks",
        {
          json: {
            type: "import",
            input: {
              import_from: "https://image.test/x",
              import_from_format: "raw",
              image_properties: { name: "x" },
            },
          },
        },
        admin,
      ),
  },
  "GET /v2/tasks/:task_id": {
    ...READ,
    ask: async () => to(`/v2/tasks/${(await plantTask()).id}`, {}, admin),
  },

  "DELETE /v2/stores/:store_id/:image_id": {
    ...CHANGE,
    ask: async () => {
      const { id } = await service.createActive(owner, "0123456789");
      const json = { method: { name: "copy-image" }, all_stores: true };
      const copied = await service.call(admin, "POST", `/v2/images/${id}/import`, { json });
      expect(copied.status).toBe(202);
      await new TestedObject(id).ringAll(service.env);
      return to(`/v2/stores/archive/${id}`, {}, admin);
    },
  },
  "GET /v2/info/stores": { ...FREE, ask: () => to("/v2/info/stores") },
  "GET /v2/info/stores/detail": { ...FREE, ask: () => to("/v2/info/stores/detail", {}, admin) },

  "GET /v2/cache": { ...READ, rows: 40, ask: () => to("/v2/cache", {}, admin) },
  "PUT /v2/cache/:image_id": {
    ...{ d1: 3, rows: 10, objects: 1, r2: 0 },
    ask: async () => to(`/v2/cache/${await active()}`, {}, admin),
  },
  "DELETE /v2/cache/:image_id": {
    ...{ d1: 2, rows: 6, objects: 0, r2: 0 },
    ask: async () => to(`/v2/cache/${await cached()}`, {}, admin),
  },
  "GET /v2/cache/nodes/:image_id": {
    ...{ ...READ, rows: 4 },
    ask: async () => to(`/v2/cache/nodes/${await cached()}`, {}, admin),
  },
  "POST /v2/cache/clean": {
    ...{ d1: 1, rows: 40, objects: 0, r2: 0 },
    ask: () => to("/v2/cache/clean", {}, admin),
  },
  "POST /v2/cache/prune": {
    ...{ d1: 2, rows: 40, objects: 0, r2: 0 },
    ask: () => to("/v2/cache/prune", {}, admin),
  },
  "DELETE /v2/cache": {
    ...{ d1: 1, rows: 40, objects: 0, r2: 0 },
    ask: () => to("/v2/cache", {}, admin),
  },

  // A namespace is one row with everything in it. A change of it is one look at the row, and one write.
  ...Object.fromEntries(
    routes
      .filter(({ path }) => path.startsWith(NAMESPACES))
      .map((route): [string, Budget] => [
        `${route.method} ${route.path}`,
        {
          ...(route.method === "GET" ? READ : { d1: 2, rows: 2, objects: 0, r2: 0 }),
          ask: async () => {
            const { path, options } = callOf(route, await metadefs.create(FULL));
            return to(path, options, admin);
          },
        },
      ]),
  ),
  [`GET ${NAMESPACES}`]: { ...READ, rows: 104, ask: () => to(`${NAMESPACES}?include=tags`) },
  [`POST ${NAMESPACES}`]: {
    ...{ d1: 1, rows: 0, objects: 0, r2: 0 },
    ask: () => to(NAMESPACES, { json: { namespace: crypto.randomUUID(), ...FULL } }, admin),
  },
  // All that there are, 1,000 at the most.
  "GET /v2/metadefs/resource_types": {
    ...{ ...READ, rows: 10 },
    ask: () => to("/v2/metadefs/resource_types"),
  },
  ...Object.fromEntries(
    METADEF_SCHEMAS.map((name): [string, Budget] => [
      `GET /v2/schemas/metadefs/${name}`,
      { ...FREE, ask: () => to(`/v2/schemas/metadefs/${name}`) },
    ]),
  ),

  ...Object.fromEntries(
    ["image", "images", "member", "members", "task", "tasks"].map((name): [string, Budget] => [
      `GET /v2/schemas/${name}`,
      { ...FREE, ask: () => to(`/v2/schemas/${name}`) },
    ]),
  ),
  "GET /v2/info/import": { ...FREE, ask: () => to("/v2/info/import") },
  "GET /v2/info/usage": { ...FREE, ask: () => to("/v2/info/usage") },
};

/** An image that is in the cache. */
async function cached(): Promise<string> {
  const id = await active();
  await (await service.call(owner, "GET", `/v2/images/${id}/file`)).arrayBuffer();
  return id;
}

describe("one call costs at the most", () => {
  it.each(Object.entries(BUDGETS))("%s", async (route, { ask, ...budget }) => {
    const [method = ""] = route.split(" ");
    const { path, options, as = owner } = await ask();
    const cost = await service.costOf(async () => {
      const response = await service.call(as, method, path, options);
      const text = await response.text();
      expect(response.status, text).toBeLessThan(300);
    });
    const found = {
      d1: cost.d1,
      rows: cost.rowsRead,
      objects: cost.objects.length,
      r2: cost.r2.length,
    };
    for (const [what, most] of Object.entries(budget)) {
      expect(Reflect.get(found, what), `${what} of ${JSON.stringify(found)}`).toBeLessThanOrEqual(
        most,
      );
    }
  });

  it("nothing for the identity service, the versions and a refused token", async () => {
    const gets = identityRoutes.filter(
      ({ method, path }) => method === "GET" && !path.includes(":"),
    );
    const paths = ["/", "/v2/", "/versions", ...gets.map(({ path }) => path)];
    const cost = await service.costOf(async () => {
      for (const path of paths) await (await service.call(owner, "GET", path)).arrayBuffer();
      await (await service.call(null, "GET", "/v2/images")).arrayBuffer();
    });
    expect(cost).toMatchObject({ d1: 0, objects: [], r2: [] });
  });

  it("has an entry for every route", () => {
    const all = routes.map(({ method, path }) => `${method} ${path}`);
    expect(all.filter((route) => BUDGETS[route] === undefined)).toEqual([]);
  });
});

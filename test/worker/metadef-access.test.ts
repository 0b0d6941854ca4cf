import { describe, expect, it } from "vitest";
import {
  admin,
  type Caller,
  member,
  owner,
  ownersReader,
  serviceUser,
  stranger,
  strangersReader,
  unscoped,
} from "../support/callers.ts";
import { at, FULL, Metadefs, NAMESPACES, SHORT } from "../support/metadefs.ts";
import { type CallOptions, Service } from "../support/service.ts";

/*
 * Who may do what with namespaces and what is in them (contract 14 §2): every call, as everybody, on a namespace of
 * each visibility.
 */

const service = new Service();
const metadefs = new Metadefs(service);

interface Call {
  readonly method: string;
  readonly below: readonly string[];
  readonly options?: CallOptions;
}

const to = (method: string, below: readonly string[] = [], json?: unknown): Call => ({
  method,
  below,
  ...(json !== undefined && { options: { json } }),
});

const READS: readonly Call[] = [
  to("GET"),
  to("GET", ["properties"]),
  to("GET", ["properties", "colour"]),
  to("GET", ["objects"]),
  to("GET", ["objects", "box"]),
  to("GET", ["tags"]),
  to("GET", ["tags", "first"]),
  to("GET", ["resource_types"]),
];

/** In an order in which each of them finds what it needs. */
const WRITES: readonly Call[] = [
  to("POST", ["properties"], { name: "new", ...SHORT }),
  to("PUT", ["properties", "colour"], { name: "colour", ...SHORT }),
  to("DELETE", ["properties", "colour"]),
  to("DELETE", ["properties"]),
  to("POST", ["objects"], { name: "new" }),
  to("PUT", ["objects", "box"], { name: "box" }),
  to("DELETE", ["objects", "box"]),
  to("DELETE", ["objects"]),
  to("POST", ["tags", "new"]),
  to("PUT", ["tags", "first"], { name: "first" }),
  to("DELETE", ["tags", "first"]),
  to("POST", ["tags"], { tags: [{ name: "newer" }] }),
  to("DELETE", ["tags"]),
  to("POST", ["resource_types"], { name: "OS::Test::New" }),
  to("DELETE", ["resource_types", "OS::Test::New"]),
];

const answers = async (caller: Caller, name: string, calls: readonly Call[]) => {
  const statuses = new Set<number>();
  for (const { method, below, options } of calls) {
    statuses.add((await metadefs.call(caller, method, at(name, ...below), options)).status);
  }
  return [...statuses].sort();
};

const ownBy = (caller: Caller, visibility: string) =>
  metadefs.create({ ...FULL, visibility, owner: caller.projectId });

describe("reads", () => {
  it.each([
    ["the project's member", owner, "private", 200],
    ["the project's reader", ownersReader, "private", 200],
    ["an administrator", admin, "private", 200],
    ["another project's member", stranger, "private", 404],
    ["another project's reader", strangersReader, "private", 404],
    ["another project's member", stranger, "public", 200],
    ["another project's reader", strangersReader, "public", 200],
  ] as const)("MN-14, MN-16: for %s of a %s namespace", async (_, caller, visibility, status) => {
    const name = await ownBy(owner, visibility);
    expect(await answers(caller, name, READS)).toEqual([status]);
  });

  it("MN-14, MN-16: to whom may not read it, a namespace is not there, be it public", async () => {
    for (const visibility of ["public", "private"]) {
      const name = await ownBy(owner, visibility);
      expect(await answers(serviceUser, name, [...READS, ...WRITES])).toEqual([404]);
    }
    const settings = { POLICY: JSON.stringify({ get_metadef_namespace: "role:member" }) };
    const strict = new Metadefs(new Service({ settings }));
    const type = `OS::Test::${crypto.randomUUID()}`;
    const part = { visibility: "public", resource_type_associations: [{ name: type }] };
    const name = await metadefs.create(part);
    await metadefs.create(part);
    const list = `${NAMESPACES}?resource_types=${type}&limit=1`;
    expect((await strict.call(strangersReader, "GET", at(name))).status).toBe(404);
    const hidden = await strict.get(list, strangersReader);
    expect(hidden.namespaces).toEqual([]);
    expect(hidden.next).toContain("marker=");
    expect((await strict.get(list, stranger)).namespaces).toHaveLength(1);
  });

  it("MN-14: lists are for readers: of namespaces, and of resource types (MR-1)", async () => {
    for (const path of [NAMESPACES, "/v2/metadefs/resource_types"]) {
      for (const caller of [owner, ownersReader, stranger, admin]) {
        expect((await metadefs.call(caller, "GET", path)).status).toBe(200);
      }
      for (const caller of [serviceUser, unscoped]) {
        expect((await metadefs.call(caller, "GET", path)).status).toBe(403);
      }
    }
  });

  it.each([
    "list_metadef_resource_types",
    "get_metadef_objects",
    "get_metadef_properties",
    "get_metadef_tags",
  ])("MN-17, MN-24: a namespace is not shown to whom %s is denied", async (rule) => {
    const name = await ownBy(owner, "public");
    const denying = new Service({ settings: { POLICY: JSON.stringify({ [rule]: "!" }) } });
    expect((await denying.call(owner, "GET", at(name))).status).toBe(403);
  });
});

describe("writes", () => {
  it.each([
    ["private", owner, 403],
    ["private", ownersReader, 403],
    ["private", stranger, 404],
    ["public", owner, 403],
    ["public", stranger, 403],
    ["public", strangersReader, 403],
  ] as const)(
    "MN-15, MN-16, MN-17: of a %s namespace are an administrator's alone",
    async (visibility, caller, status) => {
      const name = await ownBy(owner, visibility);
      const before = await metadefs.get(at(name));
      const own = [to("PUT", [], { namespace: name }), to("DELETE")];
      expect(await answers(caller, name, [...WRITES, ...own])).toEqual([status]);
      expect(await metadefs.get(at(name))).toEqual(before);
    },
  );

  it("MN-15: an administrator of any project makes each of them", async () => {
    const name = await ownBy(owner, "private");
    for (const { method, below, options } of WRITES) {
      const { status } = await metadefs.call(admin, method, at(name, ...below), options);
      expect(status, `${method} ${below}`).toBe({ POST: 201, PUT: 200, DELETE: 204 }[method]);
    }
  });

  it("MN-15: nobody else makes a namespace", async () => {
    for (const caller of [owner, ownersReader, serviceUser, unscoped]) {
      const { status } = await metadefs.post(NAMESPACES, { namespace: "mine" }, caller);
      expect(status).toBe(403);
    }
    expect((await metadefs.call(admin, "GET", at("mine"))).status).toBe(404);
  });

  it("MN-20: what is wrong with a body is said first, then that there is nothing, then that it may not be", async () => {
    const name = await ownBy(owner, "public");
    const paths = [name, "nowhere"].flatMap((one) => [
      ["PUT", at(one), "namespace"] as const,
      ["POST", at(one, "objects"), "name"] as const,
      ["POST", at(one, "properties"), "name"] as const,
      ["POST", at(one, "resource_types"), "name"] as const,
    ]);
    for (const [method, path] of paths) {
      expect((await metadefs.call(owner, method, path, { json: { zzz: 1 } })).status).toBe(400);
      const readOnly = { json: { created_at: "x", zzz: 1 } };
      expect((await metadefs.call(owner, method, path, readOnly)).status).toBe(403);
    }
    const good = { json: { name: "o" } };
    expect((await metadefs.call(owner, "POST", at("nowhere", "objects"), good)).status).toBe(404);
    expect((await metadefs.call(owner, "POST", at(name, "objects"), good)).status).toBe(403);
  });

  it.each([
    ["add_metadef_resource_type_association", { resource_type_associations: [{ name: "OS::X" }] }],
    ["add_metadef_object", { objects: [{ name: "o" }] }],
    ["add_metadef_property", { properties: { p: SHORT } }],
    ["add_metadef_tag", { tags: [{ name: "t" }] }],
  ])("MN-49: a part that comes with a namespace stands under %s", async (rule, part) => {
    const settings = { POLICY: JSON.stringify({ [rule]: "!" }) };
    const denied = new Metadefs(new Service({ settings }));
    const namespace = `ns-${crypto.randomUUID()}`;
    expect((await denied.post(NAMESPACES, { namespace, ...part })).status).toBe(403);
    expect((await metadefs.call(admin, "GET", at(namespace))).status).toBe(404);
    expect((await denied.post(NAMESPACES, { namespace })).status).toBe(201);
  });

  it("MN-63: tags are emptied under delete_metadef_tags, too", async () => {
    const name = await ownBy(owner, "public");
    for (const rule of ["delete_metadef_tags", "delete_metadef_namespace"]) {
      const settings = { POLICY: JSON.stringify({ [rule]: "!" }) };
      const denied = await new Service({ settings }).call(admin, "DELETE", at(name, "tags"));
      expect(denied.status).toBe(403);
    }
    expect((await metadefs.get(at(name, "tags"))).tags).toHaveLength(2);
  });

  it("MN-15: a policy of one's own lets a project keep its own namespaces", async () => {
    const settings = {
      POLICY: JSON.stringify({ metadef_admin: "role:member and project_id:%(project_id)s" }),
    };
    const open = new Metadefs(new Service({ settings }));
    const namespace = `ns-${crypto.randomUUID()}`;
    expect((await open.post(NAMESPACES, { namespace }, owner)).body.owner).toBe(owner.projectId);
    expect((await open.post(at(namespace, "objects"), { name: "o" }, owner)).status).toBe(201);
    expect((await open.post(at(namespace, "objects"), { name: "p" }, stranger)).status).toBe(404);
    expect((await open.put(at(namespace), { namespace, visibility: "public" }, owner)).status).toBe(
      200,
    );
    expect((await open.post(at(namespace, "objects"), { name: "p" }, stranger)).status).toBe(403);
  });
});

it("MN-22: a policy of one's own lets nobody but administrators have namespaces for others", async () => {
  const settings = { POLICY: JSON.stringify({ metadef_admin: "role:member" }) };
  const open = new Metadefs(new Service({ settings }));
  const namespace = `ns-${crypto.randomUUID()}`;
  const others = { namespace, owner: stranger.projectId };
  expect((await open.post(NAMESPACES, others, owner)).status).toBe(403);
  expect((await open.post(NAMESPACES, { namespace }, owner)).status).toBe(201);
  expect((await open.put(at(namespace), others, owner)).status).toBe(403);
  expect((await open.put(at(namespace), others, admin)).status).toBe(200);
  const shown = { ...others, visibility: "public" };
  expect((await open.put(at(namespace), shown, admin)).status).toBe(200);
  expect((await open.put(at(namespace), shown, owner)).status).toBe(200);
});

describe("what changes of a namespace", () => {
  it("MN-16, MN-22: its visibility and its owner count at once", async () => {
    const name = await ownBy(owner, "private");
    const sees = async (caller: Caller) => {
      const { namespaces } = await metadefs.get(`${NAMESPACES}?limit=1000`, caller);
      const isListed = namespaces.some((one: { namespace: string }) => one.namespace === name);
      const { status } = await metadefs.call(caller, "GET", at(name));
      expect(isListed).toBe(status === 200);
      return isListed;
    };
    expect([await sees(owner), await sees(member), await sees(stranger)]).toEqual([
      true,
      false,
      false,
    ]);
    await metadefs.put(at(name), { namespace: name, owner: member.projectId });
    expect([await sees(owner), await sees(member), await sees(stranger)]).toEqual([
      false,
      true,
      false,
    ]);
    await metadefs.put(at(name), { namespace: name, visibility: "public", owner: "nobody" });
    expect([await sees(owner), await sees(member), await sees(stranger)]).toEqual([
      true,
      true,
      true,
    ]);
  });
});

describe("without a token", () => {
  it("MN-19: everything is 401, and read-only where callers without one are let in", async () => {
    const paths = [NAMESPACES, at("x"), "/v2/metadefs/resource_types", "/v2/schemas/metadefs/tag"];
    for (const path of paths) expect((await metadefs.call(null, "GET", path)).status).toBe(401);
    const anonymous = new Metadefs(new Service({ settings: { ALLOW_ANONYMOUS_ACCESS: "true" } }));
    const json = { namespace: "anybody's" };
    expect((await anonymous.call(null, "POST", NAMESPACES, { json })).status).toBe(403);
  });
});

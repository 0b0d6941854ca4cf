import { describe, expect, it } from "vitest";
import { admin, type Caller, owner, ownersReader, stranger } from "../support/callers.ts";
import { expectRefusal, movesOn, plantStatus, stateOf } from "../support/image-state.ts";
import { type ImageRecord, Service } from "../support/service.ts";

const service = new Service();

const V20 = "application/openstack-images-v2.0-json-patch";
const V21 = "application/openstack-images-v2.1-json-patch";

type Operation = Readonly<Record<string, unknown>>;

function patch(
  imageId: string,
  operations: unknown,
  { by = owner, type = V21, on = service }: { by?: Caller; type?: string; on?: Service } = {},
): Promise<Response> {
  return on.call(by, "PATCH", `/v2/images/${imageId}`, {
    patch: operations,
    headers: { "content-type": type },
  });
}

async function change(imageId: string, operations: unknown, by = owner): Promise<ImageRecord> {
  const response = await patch(imageId, operations, { by });
  if (response.status !== 200)
    throw new Error(`patch: ${response.status} ${await response.text()}`);
  return response.json();
}

/** The refusal's sentence; the image is as it was. */
function refuse(
  status: number,
  imageId: string,
  operations: unknown,
  options: Parameters<typeof patch>[2] = {},
): Promise<string> {
  return expectRefusal(status, imageId, () => patch(imageId, operations, options));
}

const add = (name: string, value: unknown): Operation => ({ op: "add", path: `/${name}`, value });
const replace = (name: string, value: unknown): Operation => ({
  op: "replace",
  path: `/${name}`,
  value,
});
const remove = (name: string): Operation => ({ op: "remove", path: `/${name}` });

describe("a patch's media type", () => {
  it("PAT-1: v2.1 answers 200 with the full image as it then is", async () => {
    const image = await service.create(owner, { old: "x" });
    const response = await patch(image.id, [
      replace("name", "cirros"),
      add("new", "y"),
      remove("old"),
    ]);
    expect(response.status).toBe(200);
    expect(response.headers.get("content-type")).toBe("application/json");
    const changed = await response.json<ImageRecord>();
    const { old: _, ...rest } = image;
    expect(changed).toEqual({
      ...rest,
      name: "cirros",
      new: "y",
      updated_at: expect.any(String),
    });
    expect(await service.show(owner, image.id)).toEqual(changed);
  });

  it("PAT-2: v2.0 has the operation as the key of its path", async () => {
    const { id } = await service.create(owner, { old: "x" });
    const operations = [
      { replace: "/name", value: "cirros" },
      { add: "/new", value: "y" },
      { remove: "/old" },
    ];
    const response = await patch(id, operations, { type: V20 });
    expect(response.status).toBe(200);
    const image = await response.json<ImageRecord>();
    expect(image).toMatchObject({ name: "cirros", new: "y" });
    expect(image).not.toHaveProperty("old");
  });

  it("PAT-2: v2.0 refuses an operation with none or two of the keys", async () => {
    const { id } = await service.create(owner);
    await refuse(400, id, [{ value: "x" }], { type: V20 });
    await refuse(400, id, [{ add: "/a", replace: "/b", value: "x" }], { type: V20 });
    await refuse(400, id, [add("a", "x")], { type: V20 });
  });

  it.each([`${V21}; charset=utf-8`, `${V21};charset=UTF-8`, `${V20} ; x=y`])(
    "PAT-3: %s may have parameters",
    async (type) => {
      const { id } = await service.create(owner);
      expect((await patch(id, [], { type })).status).toBe(200);
    },
  );

  it.each([
    V21.toUpperCase(),
    "application/json",
    "application/json-patch+json",
    "application/octet-stream",
    "text/plain",
    `${V21}x`,
  ])("PAT-3, PAT-4, HDR-6: %s is answered 415 with the ones that are taken", async (type) => {
    const { id } = await service.create(owner);
    await refuse(415, id, [add("a", "x")], { type });
    const response = await patch(id, [], { type });
    expect(response.headers.get("accept-patch")).toBe(`${V20}, ${V21}`);
  });

  it("PAT-4, HDR-6: none is answered 415", async () => {
    const { id } = await service.create(owner);
    const body = new TextEncoder().encode("[]");
    const response = await service.call(owner, "PATCH", `/v2/images/${id}`, { body });
    expect(response.status).toBe(415);
    expect(response.headers.get("accept-patch")).toBe(`${V20}, ${V21}`);
  });
});

describe("a patch's document", () => {
  it.each(["", "[", "{}", '"x"', "5", "null", '["x"]', "[null]", "[[]]", "[5]"])(
    "PAT-5, REQ-2, REQ-3, REQ-4: is refused as %j",
    async (body) => {
      const { id } = await service.create(owner);
      const headers = { "content-type": V21 };
      await expectRefusal(400, id, () =>
        service.call(owner, "PATCH", `/v2/images/${id}`, { body, headers }),
      );
    },
  );

  it("PAT-5, REQ-3: is refused when it is not UTF-8", async () => {
    const { id } = await service.create(owner);
    const body = new Uint8Array([0x5b, 0xff, 0x5d]);
    const headers = { "content-type": V21 };
    await expectRefusal(400, id, () =>
      service.call(owner, "PATCH", `/v2/images/${id}`, { body, headers }),
    );
  });

  it("PAT-6, TIM-3: may be empty, which changes nothing and needs only the right to see", async () => {
    const image = await service.create(owner, { visibility: "community" });
    const before = await stateOf(image.id);
    for (const by of [owner, ownersReader, stranger, admin]) {
      const response = await patch(image.id, [], { by });
      expect(response.status).toBe(200);
      expect(await response.json()).toEqual(image);
    }
    expect(await stateOf(image.id)).toEqual(before);
  });

  it("PAT-6, MSK-1: is 404 when empty, for an image that is not visible", async () => {
    const { id } = await service.create(owner);
    await refuse(404, id, [], { by: stranger });
  });

  it.each([
    ["PAT-7", { path: "/a", value: "x" }],
    ["PAT-7", { op: "test", path: "/name", value: null }],
    ["PAT-7", { op: "move", from: "/a", path: "/b" }],
    ["PAT-7", { op: "copy", from: "/a", path: "/b" }],
    ["PAT-8", { op: "add", value: "x" }],
    ["PAT-8", { op: "add", path: 5, value: "x" }],
    ["PAT-9", { op: "add", path: "/a" }],
    ["PAT-9", { op: "replace", path: "/name" }],
    ["PTR-1", { op: "add", path: "a", value: "x" }],
    ["PTR-2", { op: "add", path: "/a~2", value: "x" }],
    ["PTR-3", { op: "add", path: "/a/", value: "x" }],
    ["PTR-3", { op: "add", path: "//a", value: "x" }],
    ["PTR-5", { op: "add", path: "/tags/-", value: "x" }],
    ["PTR-5", { op: "replace", path: "/a/b", value: "x" }],
    ["PTR-6", { op: "add", path: "/", value: "x" }],
  ])(
    "%s: is refused with the operation %j, and nothing before it is done",
    async (_, operation) => {
      const { id } = await service.create(owner);
      await refuse(400, id, [replace("name", "done"), operation]);
    },
  );

  it("PAT-9, NUL-1: may have null as a value", async () => {
    const { id } = await service.createEmpty(owner, { name: "cirros" });
    const changed = await change(id, [
      replace("name", null),
      replace("disk_format", null),
      add("container_format", null),
    ]);
    expect(changed).toMatchObject({ name: null, disk_format: null, container_format: null });
  });

  it("PAT-10: may have keys without meaning", async () => {
    const { id } = await service.create(owner, { a: "x" });
    const operation = { ...remove("a"), value: "y", from: "/b" };
    expect(await change(id, [operation])).not.toHaveProperty("a");
  });

  it("PTR-2: escapes slash and tilde in names", async () => {
    const { id } = await service.create(owner);
    const changed = await change(id, [
      add("a~1b", "slash"),
      add("c~0d", "tilde"),
      add("~01", "both"),
    ]);
    expect(changed).toMatchObject({ "a/b": "slash", "c~d": "tilde", "~1": "both" });
  });

  it("PTR-4: keeps blanks in names", async () => {
    const { id } = await service.create(owner);
    expect(await change(id, [add(" x ", "y")])).toMatchObject({ " x ": "y" });
  });

  it("MSK-9: is judged before the image is looked up", async () => {
    const absent = crypto.randomUUID();
    expect((await patch(absent, [], { type: "application/json" })).status).toBe(415);
    expect((await patch(absent, {})).status).toBe(400);
    expect((await patch(absent, [add("min_disk", "x")])).status).toBe(400);
    expect((await patch(absent, [replace("status", "active")])).status).toBe(403);
    expect((await patch(absent, [add("a", "x")])).status).toBe(404);
    const { id } = await service.create(owner, { visibility: "private" });
    await refuse(403, id, [replace("status", "active")], { by: stranger });
    await refuse(404, id, [add("a", "x")], { by: stranger });
  });

  it("PAT-1, LIM-15: may be as large as a record, and no larger than the body limit", async () => {
    const { id } = await service.create(owner);
    const value = "x".repeat(120_000);
    expect(await change(id, [add("long", value)])).toMatchObject({ long: value });
    await refuse(413, id, [add("longer", "x".repeat(1_100_000))]);
  });
});

describe("properties in a patch", () => {
  const readOnly =
    "id,status,checksum,os_hash_algo,os_hash_value,size,virtual_size,created_at,updated_at,direct_url,self,file,schema";

  it.each(readOnly.split(","))("PRO-1: %s is read-only, for admins too", async (name) => {
    const { id } = await service.create(owner);
    for (const by of [owner, admin]) {
      expect(await refuse(403, id, [add(name, "x")], { by })).toContain(name);
      await refuse(403, id, [replace(name, "x")], { by });
      await refuse(403, id, [remove(name)], { by });
    }
  });

  it.each(["location", "deleted", "deleted_at", "os_glance_import_task", "os_glancex"])(
    "PRO-2: %s is reserved, for admins too",
    async (name) => {
      const { id } = await service.create(owner);
      for (const by of [owner, admin]) {
        expect(await refuse(403, id, [add(name, "x")], { by })).toContain(name);
        await refuse(403, id, [replace(name, "x")], { by });
        await refuse(403, id, [remove(name)], { by });
      }
    },
  );

  it.each([
    ["name", 5],
    ["name", "x".repeat(256)],
    ["visibility", "secret"],
    ["protected", "yes"],
    ["os_hidden", null],
    ["tags", ["x".repeat(256)]],
    ["min_ram", "5"],
    ["disk_format", "RAW"],
    ["kernel_id", "no-uuid"],
    ["custom", 5],
    ["custom", null],
    ["x".repeat(256), "x"],
  ])("PRO-3, NUL-2, LIM-14: %s cannot become %j", async (name, value) => {
    const { id } = await service.create(owner, { custom: "x" });
    await refuse(400, id, [add(name, value)]);
    await refuse(400, id, [replace(name, value)]);
  });

  it("PRO-4, CHG-1: base properties are set by add and replace alike", async () => {
    const { id } = await service.create(owner);
    const some = {
      name: "cirros",
      visibility: "private",
      protected: true,
      os_hidden: true,
      min_disk: 1,
      min_ram: 2,
      tags: ["a"],
    };
    const operations = Object.entries(some);
    expect(
      await change(
        id,
        operations.map(([name, value]) => replace(name, value)),
      ),
    ).toMatchObject(some);
    const other = { ...some, name: null, protected: false, os_hidden: false, tags: ["b"] };
    expect(
      await change(
        id,
        Object.entries(other).map(([name, value]) => add(name, value)),
      ),
    ).toMatchObject(other);
  });

  it.each([
    "name",
    "visibility",
    "protected",
    "os_hidden",
    "min_disk",
    "min_ram",
    "tags",
    "disk_format",
    "container_format",
  ])("PRO-4, PRO-5, PRO-8, NUL-1: %s cannot be removed", async (name) => {
    const { id } = await service.create(owner);
    expect(await refuse(403, id, [remove(name)])).toContain(name);
  });

  it("PRO-5: formats are fixed once there is data, even to the same value", async () => {
    const { id } = await service.createActive(owner, "data");
    await refuse(403, id, [replace("disk_format", "raw")]);
    await refuse(403, id, [add("container_format", "bare")]);
    await refuse(403, id, [replace("disk_format", "qcow2")], { by: admin });
  });

  it("PRO-8, LIM-4: tags are replaced as a set within the quota", async () => {
    const { id } = await service.create(owner, { tags: ["a", "b"] });
    expect((await change(id, [replace("tags", ["b", "c", "c"])])).tags.toSorted()).toEqual([
      "b",
      "c",
    ]);
    const full = Array.from({ length: 128 }, (_, index) => `t${index}`);
    expect((await change(id, [add("tags", [...full, "t0"])])).tags).toHaveLength(128);
    await refuse(413, id, [replace("tags", [...full, "one-more"])]);
    expect((await change(id, [replace("tags", [])])).tags).toEqual([]);
  });

  it("PRO-9: an existing custom property is overwritten or deleted, but not added in v2.0", async () => {
    const { id } = await service.create(owner, { a: "1", b: "1", c: "1" });
    await refuse(409, id, [{ add: "/a", value: "2" }], { type: V20 });
    const changed = await change(id, [add("a", "2"), replace("b", "2"), remove("c")]);
    expect(changed).toMatchObject({ a: "2", b: "2" });
    expect(changed).not.toHaveProperty("c");
  });

  it("PRO-10: a missing custom property can only be added", async () => {
    const { id } = await service.create(owner);
    await refuse(409, id, [replace("a", "x")]);
    await refuse(409, id, [remove("a")]);
    await refuse(409, id, [{ remove: "/a" }], { type: V20 });
    expect(await change(id, [add("a", "x")])).toMatchObject({ a: "x" });
  });

  it("PRO-11: a base property cannot be added in v2.0, being there already", async () => {
    const { id } = await service.create(owner);
    await refuse(409, id, [{ add: "/name", value: "x" }], { type: V20 });
    await refuse(409, id, [{ add: "/tags", value: ["x"] }], { type: V20 });
  });

  it("PRO-12: stores is read-only", async () => {
    const { id } = await service.create(owner);
    await refuse(403, id, [add("stores", "fast")]);
    await refuse(403, id, [replace("stores", "fast")], { by: admin });
    await refuse(403, id, [remove("stores")]);
  });

  it.each(["image_id", "extra_properties", "member", "image", "context", "__proto__", "revision"])(
    "PRO-13: %s is a custom property like any other",
    async (name) => {
      const { id } = await service.create(owner);
      const bystander = await service.create(owner);
      await refuse(409, id, [replace(name, "x")]);
      const created = await patch(id, [add(name, bystander.id)]);
      expect(created.status).toBe(200);
      expect(await created.text()).toContain(`"${name}":"${bystander.id}"`);
      expect((await patch(id, [remove(name)])).status).toBe(200);
      expect(await service.show(owner, bystander.id)).toEqual(bystander);
    },
  );

  it("PRO-14, LIM-3: the quota counts when a new name comes", async () => {
    const full = Object.fromEntries(Array.from({ length: 128 }, (_, index) => [`p${index}`, "v"]));
    const { id } = await service.create(owner, full);
    await refuse(413, id, [add("one-more", "x")]);
    expect(await change(id, [replace("p0", "w"), remove("p1"), add("q", "x")])).toMatchObject({
      p0: "w",
      q: "x",
    });
    const lowered = new Service({ settings: { IMAGE_PROPERTY_QUOTA: "5" } });
    expect((await patch(id, [remove("p2"), add("p3", "y")], { on: lowered })).status).toBe(200);
    await refuse(413, id, [remove("p4"), add("p4b", "x")], { on: lowered });
  });

  it("PRO-15, LIM-16, LIM-20: values that no record can hold are refused", async () => {
    const { id } = await service.create(owner);
    await refuse(400, id, [replace("min_disk", -1)]);
    await refuse(400, id, [replace("min_ram", 2147483648)]);
    await refuse(400, id, [replace("name", "😀")]);
    await refuse(400, id, [add("a", "😀")]);
    await refuse(400, id, [add("😀", "a")]);
    await refuse(400, id, [add("tags", ["😀"])]);
  });

  it("PRO-17: later operations see earlier ones", async () => {
    const { id } = await service.create(owner);
    const changed = await change(id, [
      add("a", "1"),
      replace("a", "2"),
      remove("a"),
      add("b", "1"),
      replace("b", "2"),
    ]);
    expect(changed).not.toHaveProperty("a");
    expect(changed).toMatchObject({ b: "2" });
    await refuse(409, id, [remove("b"), replace("b", "x")]);
  });

  it("PRO-18: other projects' images are 404 or 403, whatever their status", async () => {
    const seen = await service.create(owner, { visibility: "community" });
    const unseen = await service.create(owner, { visibility: "private" });
    for (const status of ["queued", "active", "killed"] as const) {
      await plantStatus(seen.id, status);
      await plantStatus(unseen.id, status);
      await refuse(403, seen.id, [add("a", "x")], { by: stranger });
      await refuse(404, unseen.id, [add("a", "x")], { by: stranger });
      await refuse(403, unseen.id, [add("a", "x")], { by: ownersReader });
    }
    expect((await patch(crypto.randomUUID(), [add("a", "x")])).status).toBe(404);
  });

  it("TIM-3: updated_at moves on with every change, even one of no value", async () => {
    const { id } = await service.create(owner, { name: "same" });
    expect(await movesOn(id, () => change(id, [replace("name", "same")]))).toBe(true);
    expect(await movesOn(id, () => change(id, []))).toBe(false);
  });
});

describe("locations in a patch", () => {
  const location = { url: "http://example.org/x", metadata: {} };

  it("LOP-1, LOP-3: are refused while the setting is off, to admins too", async () => {
    const { id } = await service.createActive(owner, "data");
    for (const by of [owner, admin]) {
      await refuse(403, id, [add("locations/-", location)], { by });
      await refuse(403, id, [replace("locations", [location])], { by });
      await refuse(403, id, [replace("locations", [])], { by });
      await refuse(403, id, [remove("locations/0")], { by });
    }
  });

  it("LOP-1, LOP-2: are refused behind the checks of pointer, form and policy", async () => {
    const { id } = await service.create(owner, { visibility: "private" });
    await refuse(400, id, [remove("locations")]);
    await refuse(400, id, [add("locations", location)]);
    await refuse(400, id, [add("locations/-", { url: 5 })]);
    await refuse(404, id, [add("locations/-", location)], { by: stranger });
  });
});

describe("patches at the same time", () => {
  it("PAT-1: all survive when twenty add different properties", async () => {
    const { id } = await service.create(owner);
    const names = Array.from({ length: 20 }, (_, index) => `p${index}`);
    const answers = await Promise.all(names.map((name) => patch(id, [add(name, `of ${name}`)])));
    expect(answers.map(({ status }) => status)).toEqual(names.map(() => 200));
    const image = await service.show(owner, id);
    expect(image).toMatchObject(Object.fromEntries(names.map((name) => [name, `of ${name}`])));
  });

  it("PRO-9: one succeeds when twenty add the same property in v2.0", async () => {
    const { id } = await service.create(owner);
    const answers = await Promise.all(
      Array.from({ length: 20 }, (_, index) =>
        patch(id, [{ add: "/a", value: `${index}` }], { type: V20 }),
      ),
    );
    const statuses = answers.map(({ status }) => status).toSorted();
    expect(statuses).toEqual([200, ...Array.from({ length: 19 }, () => 409)]);
  });

  it("PRO-14: just the quota comes in when more ask for the last places", async () => {
    const some = Object.fromEntries(Array.from({ length: 124 }, (_, index) => [`p${index}`, "v"]));
    const { id } = await service.create(owner, some);
    const answers = await Promise.all(
      Array.from({ length: 10 }, (_, index) => patch(id, [add(`q${index}`, "x")])),
    );
    expect(answers.filter(({ status }) => status === 200)).toHaveLength(4);
    expect(answers.filter(({ status }) => status === 413)).toHaveLength(6);
    const names = Object.keys(await service.show(owner, id));
    expect(names.filter((name) => /^[pq]\d+$/.test(name))).toHaveLength(128);
  });
});

import { describe, expect, it } from "vitest";
import { admin, type Caller, member, owner, ownersReader, stranger } from "../support/callers.ts";
import { expectNoImage } from "../support/image-state.ts";
import { type ImageRecord, Service } from "../support/service.ts";

const service = new Service();

function create(caller: Caller, record: unknown, on = service): Promise<Response> {
  return on.call(caller, "POST", "/v2/images", { json: record });
}

/** The refusal's sentence; no image has come into being. */
function refuse(status: number, record: unknown, caller: Caller = owner): Promise<string> {
  return expectNoImage(status, () => create(caller, record));
}

const TIME = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$/;
const UUID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/;

describe("a new image", () => {
  it("CRE-1, REP-1, REP-2, REP-3, REP-4, REP-5, REP-6, REP-7, REP-8, REP-9, REP-10, REP-11, REP-12, REP-13, REP-14, REP-15, CHG-5, TIM-2: has every base key and the defaults", async () => {
    const response = await create(owner, {});
    expect(response.status).toBe(201);
    const image = await response.json<ImageRecord>();
    expect(image).toEqual({
      id: expect.stringMatching(UUID),
      name: null,
      status: "queued",
      visibility: "shared",
      owner: owner.projectId,
      protected: false,
      os_hidden: false,
      tags: [],
      disk_format: null,
      container_format: null,
      min_disk: 0,
      min_ram: 0,
      size: null,
      virtual_size: null,
      checksum: null,
      os_hash_algo: null,
      os_hash_value: null,
      created_at: expect.stringMatching(TIME),
      updated_at: image.created_at,
      self: `/v2/images/${image.id}`,
      file: `/v2/images/${image.id}/file`,
      schema: "/v2/schemas/image",
    });
  });

  it("CRE-1, HDR-3, HDR-4, HDR-5, HDR-8: is announced by its address, with the import methods and without stores", async () => {
    const response = await create(owner, {});
    const { id } = await response.json<ImageRecord>();
    const headers = Object.fromEntries(response.headers);
    expect(headers).toMatchObject({
      location: `http://image.test/v2/images/${id}`,
      "content-type": "application/json",
      "x-openstack-request-id": expect.stringMatching(/^req-/),
    });
    expect(headers).toHaveProperty("openstack-image-import-methods");
    expect(headers).not.toHaveProperty("openstack-image-store-ids");
  });

  it("REP-1, REP-2, REP-4, REP-6, REP-7, REP-8, REP-9, REP-10, REP-19: carries what the request set, then and later", async () => {
    const record = {
      name: "cirros ü",
      visibility: "private",
      protected: true,
      os_hidden: true,
      tags: ["a", "b"],
      disk_format: "qcow2",
      container_format: "bare",
      min_disk: 5,
      min_ram: 2147483647,
      os_distro: "cirros",
      "hw:any thing/at~all": 'äöü \n " \\ end',
    };
    const created = await service.create(owner, record);
    expect(created).toMatchObject(record);
    expect(await service.show(owner, created.id)).toEqual(created);
  });

  it("REP-16, REP-17, REP-18: names no locations, direct_url or stores while their settings are off", async () => {
    const created = await service.createEmpty(owner);
    const active = await service.createActive(owner, "data");
    for (const image of [created, active]) {
      expect(Object.keys(image)).not.toContain("locations");
      expect(Object.keys(image)).not.toContain("direct_url");
      expect(Object.keys(image)).not.toContain("stores");
    }
  });

  it("CRE-4: takes 1.0 as an integer", async () => {
    const response = await service.call(owner, "POST", "/v2/images", { body: '{"min_disk": 1.0}' });
    expect(response.status).toBe(201);
    expect(await response.json()).toMatchObject({ min_disk: 1 });
  });

  it("CRE-6, REP-19, NUL-2: keeps null for declared properties that may be null", async () => {
    const id = crypto.randomUUID();
    const image = await service.create(owner, { kernel_id: id, ramdisk_id: null, empty: "" });
    expect(image).toMatchObject({ kernel_id: id, ramdisk_id: null, empty: "" });
    expect(await service.show(owner, image.id)).toEqual(image);
  });

  it("CRE-11, PRO-13: keeps unknown names as custom properties, whatever they mean elsewhere", async () => {
    const names = [
      "is_public",
      "member",
      "image_id",
      "properties",
      "extra_properties",
      "",
      "name ",
      " name",
      "Name",
      "constructor",
      "toString",
      "0",
      'quo"ted',
      "$.a[0]",
    ];
    const properties = Object.fromEntries(names.map((name) => [name, `value of ${name}`]));
    const image = await service.create(owner, properties);
    expect(await service.show(owner, image.id)).toMatchObject({ ...properties, name: null });
  });

  it("CRE-11, PRO-13: takes __proto__ as a name like any other", async () => {
    const response = await service.call(owner, "POST", "/v2/images", {
      body: '{"__proto__": "x"}',
    });
    expect(response.status).toBe(201);
    expect(await response.text()).toContain('"__proto__":"x"');
  });

  it("CRE-12, LIM-17: has the id it asks for, in small letters", async () => {
    const id = crypto.randomUUID();
    const response = await service.call(owner, "POST", "/v2/images", {
      json: { id: id.toUpperCase() },
    });
    expect(await response.json()).toMatchObject({ id, self: `/v2/images/${id}` });
    expect(response.headers.get("location")).toBe(`http://image.test/v2/images/${id}`);
  });

  it("CRE-13: may name its creator's project as owner", async () => {
    expect(await service.create(owner, { owner: owner.projectId })).toMatchObject({
      owner: owner.projectId,
    });
  });

  it.each([
    ["any-project-at-all", "any-project-at-all"],
    [null, null],
    ["", null],
  ])("CRE-14, ROL-4: of an admin that names %j as owner belongs to %j", async (given, kept) => {
    const image = await service.create(admin, { owner: given });
    expect(image.owner).toBe(kept);
    expect((await service.show(admin, image.id)).owner).toBe(kept);
  });

  it("CRE-14, ROL-4: of an admin belongs to the admin's own project by default", async () => {
    expect(await service.create(admin)).toMatchObject({ owner: admin.projectId });
  });

  it.each(["community", "private", "shared"])(
    "CRE-16: may be %s from the start",
    async (visibility) => {
      expect(await service.create(owner, { visibility })).toMatchObject({ visibility });
    },
  );

  it("CRE-16: may be public from the start when an admin makes it", async () => {
    expect(await service.create(admin, { visibility: "public" })).toMatchObject({
      visibility: "public",
    });
  });

  it("CRE-18, LIM-3, LIM-4: may have just as many properties and tags as the quotas allow", async () => {
    const image = await service.create(owner, { ...manyProperties(128), tags: manyTags(128) });
    expect(image.tags).toHaveLength(128);
    expect(image).toMatchObject(manyProperties(128));
  });

  it("CRE-18, CRE-19: merges duplicate tags before they are counted", async () => {
    const image = await service.create(owner, { tags: [...manyTags(128), "t0", "t1"] });
    expect(image.tags.toSorted()).toEqual(manyTags(128).toSorted());
  });

  it("CRE-18, LIM-3, LIM-4, LIM-7: has the room that the settings give", async () => {
    const narrow = new Service({
      settings: { IMAGE_TAG_QUOTA: "0", IMAGE_PROPERTY_QUOTA: "1" },
    });
    const wide = new Service({ settings: { IMAGE_TAG_QUOTA: "-1", IMAGE_PROPERTY_QUOTA: "-1" } });
    await expectNoImage(413, () => create(owner, { tags: ["a"] }, narrow));
    await expectNoImage(413, () => create(owner, { a: "1", b: "2" }, narrow));
    await narrow.create(owner, { a: "1" });
    const image = await wide.create(owner, { ...manyProperties(200), tags: manyTags(200) });
    expect(image.tags).toHaveLength(200);
  });

  it("CRE-21: may have every character up to U+FFFF in its texts", async () => {
    const text = "\u0001\u007f\u0080\u2028\uffff";
    const record = { name: text, [text]: text, tags: [text] };
    const image = await service.create(owner, record);
    expect(await service.show(owner, image.id)).toMatchObject(record);
  });

  it("CRE-21: keeps texts that differ only behind a NUL apart", async () => {
    const record = { name: "a\0b", "p\0a": "v\0a", "p\0b": "v\0b", tags: ["t\0a", "t\0b"] };
    const image = await service.create(owner, record);
    expect(await service.show(owner, image.id)).toMatchObject(record);
  });

  it("NUL-1: may have null as name, owner and formats", async () => {
    const nothing = { name: null, owner: null, disk_format: null, container_format: null };
    expect(await service.create(admin, nothing)).toMatchObject(nothing);
  });
});

describe("a request to create an image", () => {
  it.each(
    ["direct_url", "self", "file", "schema", "stores"].flatMap((name) =>
      ["x", null, 5].map((value) => [name, value] as const),
    ),
  )("CRE-2: is refused when it mentions %s, here as %j", async (name, value) => {
    expect(await refuse(403, { [name]: value })).toContain(name);
    expect(await refuse(403, { [name]: value }, admin)).toContain(name);
  });

  it.each([
    ["id", "not-a-uuid"],
    ["id", null],
    ["name", 5],
    ["name", "x".repeat(256)],
    ["owner", "x".repeat(256)],
    ["status", "foo"],
    ["status", null],
    ["visibility", "secret"],
    ["visibility", null],
    ["protected", "true"],
    ["protected", null],
    ["os_hidden", 1],
    ["os_hidden", null],
    ["tags", "a"],
    ["tags", null],
    ["tags", [1]],
    ["tags", ["x".repeat(256)]],
    ["disk_format", "RAW"],
    ["container_format", "box"],
    ["min_disk", null],
    ["min_ram", null],
    ["checksum", "x".repeat(33)],
  ])("CRE-3: is refused when %s is %j", async (name, value) => {
    expect(await refuse(400, { [name]: value })).toContain(name);
  });

  it.each(["5", true, 1.5])("CRE-4: is refused when min_disk or min_ram is %j", async (value) => {
    await refuse(400, { min_disk: value });
    await refuse(400, { min_ram: value });
  });

  it.each([1, true, null, {}, []])(
    "CRE-5: is refused when a custom property is %j",
    async (value) => {
      await refuse(400, { custom: value });
    },
  );

  it.each([
    ["kernel_id", "not-a-uuid"],
    ["ramdisk_id", ""],
    ["cinder_encryption_key_deletion_policy", "sometimes"],
    ["os_distro", null],
  ])("CRE-6: is refused when the declared property %s is %j", async (name, value) => {
    expect(await refuse(400, { [name]: value })).toContain(name);
  });

  it.each(["location", "deleted", "deleted_at", "os_glance_stage_host", "os_glancex"])(
    "CRE-7: is refused when it uses the reserved name %s",
    async (name) => {
      expect(await refuse(403, { [name]: "x" })).toContain(name);
      expect(await refuse(403, { [name]: "x" }, admin)).toContain(name);
      await refuse(400, { [name]: 5 });
    },
  );

  it.each([
    ["created_at", "2020-01-01T00:00:00Z"],
    ["updated_at", "2020-01-01T00:00:00Z"],
    ["status", "queued"],
    ["checksum", null],
    ["size", 5],
    ["virtual_size", null],
  ])("CRE-8: is refused when it sets %s, an admin's too", async (name, value) => {
    expect(await refuse(403, { [name]: value })).toContain(name);
    expect(await refuse(403, { [name]: value }, admin)).toContain(name);
  });

  it.each(["os_hash_algo", "os_hash_value"])("CRE-9: is refused when it sets %s", async (name) => {
    expect(await refuse(403, { [name]: "sha512" })).toContain(name);
  });

  it("CRE-10: is refused when it names locations, even none", async () => {
    expect(await refuse(403, { locations: [] })).toContain("locations");
    await refuse(403, { locations: [{ url: "http://example.org/x", metadata: {} }] }, admin);
  });

  it("CRE-12: is refused when the id is taken, by whomever and however long ago", async () => {
    const { id } = await service.create(owner, { visibility: "private" });
    await refuse(409, { id });
    await refuse(409, { id }, stranger);
    await refuse(409, { id }, admin);
    await service.call(owner, "DELETE", `/v2/images/${id}`);
    await refuse(409, { id });
    await refuse(409, { id }, admin);
  });

  it("CRE-12: wins the id for one of many that ask for it at once", async () => {
    const id = crypto.randomUUID();
    const answers = await Promise.all(
      Array.from({ length: 20 }, (_, index) => create(owner, { id, name: `n${index}` })),
    );
    const won = answers.filter(({ status }) => status === 201);
    expect(won).toHaveLength(1);
    expect(answers.filter(({ status }) => status === 409)).toHaveLength(19);
    expect(await service.show(owner, id)).toEqual(await won[0]?.json());
  });

  it("CRE-12b: is refused when a newline follows the id", async () => {
    await refuse(400, { id: `${crypto.randomUUID()}\n` });
  });

  it.each(["other-project", null, ""])(
    "CRE-13, MSK-5: is refused when a member names %j as owner",
    async (named) => {
      const sentence = await refuse(403, { owner: named });
      if (named) expect(sentence).toContain(named);
    },
  );

  it("CRE-15, POL-6: is refused when a member wants the image public", async () => {
    await refuse(403, { visibility: "public" });
  });

  it("CRE-17, POL-3, MSK-5: is refused to a reader, unless its form is wrong already", async () => {
    await refuse(403, {}, ownersReader);
    await refuse(400, { min_disk: "x" }, ownersReader);
  });

  it("CRE-18: is refused with more properties or distinct tags than the quotas allow", async () => {
    expect(await refuse(413, manyProperties(129))).toContain("128");
    expect(await refuse(413, { tags: manyTags(129) })).toContain("128");
  });

  it.each([-1, 2147483648])("CRE-20: is refused when min_disk or min_ram is %d", async (value) => {
    await refuse(400, { min_disk: value });
    await refuse(400, { min_ram: value });
  });

  it.each([
    [{ name: "a😀" }],
    [{ tags: ["ok", "😀"] }],
    [{ custom: "😀" }],
    [{ "😀": "custom" }],
    [{ name: "half \ud83d" }],
  ])("CRE-21: is refused with characters beyond U+FFFF: %j", async (record) => {
    await refuse(400, record);
  });

  it("CRE-21: is refused with such characters in the owner", async () => {
    await refuse(400, { owner: "😀" }, admin);
  });

  it("NUL-2, CRE-5: is refused when a custom property is null", async () => {
    await refuse(400, { custom: null });
  });

  it.each(["", "not json", "[]", '"text"', "5", "null", "{"])(
    "REQ-2, REQ-3, REQ-4, REQ-5: is refused with the body %j",
    async (body) => {
      await expectNoImage(400, () => service.call(owner, "POST", "/v2/images", { body }));
    },
  );
});

describe("CRE-22: of several faults in a request to create an image", () => {
  const taken = crypto.randomUUID();
  const readOnly = { status: "queued" };
  const fourBytes = { custom: "😀" };

  it("CRE-22: a link is named before a value that breaks the schema", async () => {
    expect(await refuse(403, { min_disk: "x", self: "x" })).toContain("self");
  });

  it("CRE-22: the schema comes before long and reserved names", async () => {
    expect(await refuse(400, { location: "x", min_disk: "x" })).toContain("min_disk");
  });

  it("CRE-22: long and reserved names come before the policy", async () => {
    expect(await refuse(403, { location: "x" }, ownersReader)).toContain("location");
    await refuse(400, { ["x".repeat(256)]: "x" }, ownersReader);
  });

  it("CRE-22: the right to add comes before the right to publish", async () => {
    expect(await refuse(403, { visibility: "public" }, ownersReader)).toContain("add_image");
    expect(await refuse(403, { visibility: "public" })).toContain("publicize_image");
  });

  it("CRE-22: the policy comes before the tag quota", async () => {
    const record = { tags: manyTags(129) };
    await refuse(403, record, ownersReader);
    await refuse(403, { ...record, visibility: "public" });
  });

  it("CRE-22: the tag quota comes before read-only properties", async () => {
    await refuse(413, { tags: manyTags(129), ...readOnly });
  });

  it("CRE-22: read-only properties come before the property quota", async () => {
    await refuse(403, { ...manyProperties(129), ...readOnly });
    await refuse(403, { ...manyProperties(129), locations: [] });
  });

  it("CRE-22: the property quota comes before stored values", async () => {
    await refuse(413, { ...manyProperties(128), ...fourBytes });
  });

  it("CRE-22: stored values come before the id that is taken", async () => {
    await service.create(member, { id: taken });
    await refuse(400, { id: taken, ...fourBytes });
    await refuse(400, { id: taken, min_disk: -1 });
  });
});

function manyProperties(count: number): Record<string, string> {
  return Object.fromEntries(Array.from({ length: count }, (_, index) => [`p${index}`, "v"]));
}

function manyTags(count: number): string[] {
  return Array.from({ length: count }, (_, index) => `t${index}`);
}

import { describe, expect, it } from "vitest";
import { member, owner } from "../support/callers.ts";
import { plantMembers } from "../support/image-state.ts";
import { type CallOptions, type ImageRecord, Service } from "../support/service.ts";

const service = new Service();

const withSettings = (settings: Readonly<Record<string, string>>) => new Service({ settings });

/** As many names as asked for. */
const names = (count: number, prefix = "n") =>
  Array.from({ length: count }, (_, index) => `${prefix}${index}`);

const properties = (count: number) => Object.fromEntries(names(count).map((name) => [name, "v"]));

async function statusOfCreate(json: object, at = service): Promise<number> {
  return (await at.call(owner, "POST", "/v2/images", { json })).status;
}

async function statusOfChange(
  id: string,
  name: string,
  value: unknown,
  at = service,
  op = "add",
): Promise<number> {
  const patch = [{ op, path: `/${name}`, value }];
  return (await at.call(owner, "PATCH", `/v2/images/${id}`, { patch })).status;
}

async function statusOf(at: Service, method: string, path: string, options: CallOptions = {}) {
  return (await at.call(owner, method, path, options)).status;
}

/** The limits that a body can be over, with the value on the edge and the one beyond. */
async function expectEdge(name: string, within: unknown, beyond: unknown): Promise<void> {
  expect(await statusOfCreate({ [name]: within })).toBe(201);
  expect(await statusOfCreate({ [name]: beyond })).toBe(400);
  const { id } = await service.create(owner);
  expect(await statusOfChange(id, name, within)).toBe(200);
  expect(await statusOfChange(id, name, beyond)).toBe(400);
}

describe("the page size", () => {
  const pageOf = async (at: Service, query: string) => {
    const response = await at.call(owner, "GET", `/v2/images?name=page&${query}`);
    expect(response.status).toBe(200);
    return (await response.json<{ images: ImageRecord[] }>()).images.length;
  };

  it("LIM-1: is 25 unless asked for or set otherwise", async () => {
    for (let count = 0; count < 27; count++) await service.create(owner, { name: "page" });
    expect(await pageOf(service, "")).toBe(25);
    expect(await pageOf(service, "limit=26")).toBe(26);
    expect(await pageOf(withSettings({ LIMIT_PARAM_DEFAULT: "3" }), "")).toBe(3);
  });

  it("LIM-2: is cut down to the most there may be, without a word", async () => {
    const small = withSettings({ API_LIMIT_MAX: "4", LIMIT_PARAM_DEFAULT: "2" });
    expect(await pageOf(small, "limit=4")).toBe(4);
    expect(await pageOf(small, "limit=5")).toBe(4);
    expect(await pageOf(small, "limit=99999999999999999999")).toBe(4);
    expect(await pageOf(withSettings({ API_LIMIT_MAX: "4" }), "")).toBe(4);
    expect(await pageOf(service, "limit=1001")).toBe(27);
  });
});

describe("quotas", () => {
  it("LIM-3: 128 custom properties, one more is 413", async () => {
    expect(await statusOfCreate({ ...properties(128), name: "base ones do not count" })).toBe(201);
    expect(await statusOfCreate(properties(129))).toBe(413);
    const { id } = await service.create(owner, properties(128));
    expect(await statusOfChange(id, "one_more", "v")).toBe(413);
    expect(await statusOfChange(id, "n0", "w")).toBe(200);
  });

  it("LIM-4: 128 tags, one more is 413", async () => {
    expect(await statusOfCreate({ tags: names(129) })).toBe(413);
    const { id } = await service.create(owner, { tags: names(128) });
    expect(await statusOf(service, "PUT", `/v2/images/${id}/tags/more`)).toBe(413);
    expect(await statusOf(service, "PUT", `/v2/images/${id}/tags/n0`)).toBe(204);
    expect(await statusOfChange(id, "tags", names(129), service, "replace")).toBe(413);
  });

  it("LIM-5: 128 members, one more is 413", async () => {
    const { id } = await service.create(owner, { visibility: "shared" });
    await plantMembers(id, names(127));
    const add = (name: string) =>
      statusOf(service, "POST", `/v2/images/${id}/members`, { json: { member: name } });
    expect(await add("the-last")).toBe(200);
    expect(await add("one-too-many")).toBe(413);
  });

  it.each([
    ["LIM-3", "IMAGE_PROPERTY_QUOTA", (at: Service) => statusOfCreate(properties(129), at)],
    ["LIM-4", "IMAGE_TAG_QUOTA", (at: Service) => statusOfCreate({ tags: names(129) }, at)],
    ["LIM-5", "IMAGE_MEMBER_QUOTA", statusOfMember129],
  ])("LIM-7, %s: a negative %s means unlimited", async (_, variable, status) => {
    expect(await status(service)).toBe(413);
    expect(await status(withSettings({ [variable]: "-1" }))).toBeLessThan(300);
  });

  it.each([
    ["LIM-3", "IMAGE_PROPERTY_QUOTA", (at: Service) => statusOfCreate(properties(1), at)],
    ["LIM-4", "IMAGE_TAG_QUOTA", (at: Service) => statusOfCreate({ tags: ["t"] }, at)],
    ["LIM-5", "IMAGE_MEMBER_QUOTA", statusOfFirstMember],
  ])("LIM-7, %s: 0 as %s allows none", async (_, variable, status) => {
    expect(await status(service)).toBeLessThan(300);
    expect(await status(withSettings({ [variable]: "0" }))).toBe(413);
    expect(await statusOfCreate({}, withSettings({ [variable]: "0" }))).toBe(201);
  });

  async function statusOfMember129(at: Service): Promise<number> {
    const { id } = await service.create(owner, { visibility: "shared" });
    await plantMembers(id, names(128));
    return statusOf(at, "POST", `/v2/images/${id}/members`, { json: { member: "one-more" } });
  }

  async function statusOfFirstMember(at: Service): Promise<number> {
    const { id } = await service.create(owner, { visibility: "shared" });
    const json = { member: member.projectId };
    return statusOf(at, "POST", `/v2/images/${id}/members`, { json });
  }

  it("LIM-8: an image may be as large as the cap, one byte more is 413", async () => {
    const small = withSettings({ IMAGE_SIZE_CAP: "5" });
    const announced = (size: string) => ({ "x-openstack-image-size": size });
    const upload = async (body: BodyInit, headers: Record<string, string> = {}) => {
      const { id } = await service.createEmpty(owner);
      const { status } = await small.upload(owner, id, body, headers);
      return [status, (await service.show(owner, id)).status];
    };
    const stream = (text: string) => new Response(text).body ?? "";
    expect(await upload("12345")).toEqual([204, "active"]);
    expect(await upload("123456")).toEqual([413, "queued"]);
    expect(await upload(stream("123456"))).toEqual([413, "queued"]);
    expect(await upload("12345", announced("5"))).toEqual([204, "active"]);
    expect(await upload("123456", announced("6"))).toEqual([413, "queued"]);
  });

  it("LIM-8: the cap is 1 TiB unless it is set", async () => {
    const tebibyte = 1024 ** 4;
    const announce = async (bytes: number) => {
      const { id } = await service.createEmpty(owner);
      const headers = { "x-openstack-image-size": String(bytes) };
      return (await service.upload(owner, id, "x", headers)).status;
    };
    expect(await announce(tebibyte + 1)).toBe(413);
    // Within the cap, so it is only wrong: one byte is not a tebibyte.
    expect(await announce(tebibyte)).toBe(400);
  });
});

describe("texts", () => {
  it("LIM-11: a name has up to 255 characters, none, or is null", async () => {
    await expectEdge("name", "n".repeat(255), "n".repeat(256));
    await expectEdge("name", "é".repeat(255), "é".repeat(256));
    for (const name of ["", null]) expect(await statusOfCreate({ name })).toBe(201);
  });

  it("LIM-12: an owner has up to 255 characters", async () => {
    // 403, for it is another's; only one that is too long is no owner at all.
    expect(await statusOfCreate({ owner: "o".repeat(255) })).toBe(403);
    expect(await statusOfCreate({ owner: "o".repeat(256) })).toBe(400);
  });

  it("LIM-13: a tag has up to 255 characters, and in a body none at all", async () => {
    await expectEdge("tags", ["t".repeat(255)], ["t".repeat(256)]);
    expect(await statusOfCreate({ tags: [""] })).toBe(201);
    const { id } = await service.create(owner);
    const put = (tag: string) => statusOf(service, "PUT", `/v2/images/${id}/tags/${tag}`);
    expect(await put("t".repeat(255))).toBe(204);
    expect(await put("%C3%A9".repeat(255))).toBe(204);
    expect(await put("t".repeat(256))).toBe(400);
  });

  it("LIM-14: a property's name has up to 255 characters, on creation and in a patch", async () => {
    expect(await statusOfCreate({ ["p".repeat(255)]: "v" })).toBe(201);
    expect(await statusOfCreate({ ["p".repeat(256)]: "v" })).toBe(400);
    const { id } = await service.create(owner);
    expect(await statusOfChange(id, "p".repeat(255), "v")).toBe(200);
    expect(await statusOfChange(id, "p".repeat(256), "v")).toBe(400);
  });

  it("LIM-15: a property's value is a string of any length that the record has room for", async () => {
    const value = "v".repeat(100_000);
    const { id } = await service.create(owner, { long: value });
    expect((await service.show(owner, id)).long).toBe(value);
    for (const wrong of [1, true, ["x"], { x: "y" }]) {
      expect(await statusOfCreate({ long: wrong })).toBe(400);
    }
  });

  it.each(["min_disk", "min_ram"])(
    "LIM-16: %s is a whole number from 0 to 2147483647",
    async (name) => {
      await expectEdge(name, 2147483647, 2147483648);
      await expectEdge(name, 0, -1);
      for (const wrong of ["1", 1.5, null, true, 1e300]) {
        expect(await statusOfCreate({ [name]: wrong })).toBe(400);
      }
    },
  );

  it("LIM-17: an id is a UUID, in either letter case", async () => {
    const id = "ABCDEFab-1234-4321-abcd-EF0123456789";
    const small = id.toLowerCase();
    expect((await service.create(owner, { id })).id).toBe(small);
    for (const spelling of [id, small, id.toUpperCase()]) {
      expect((await service.show(owner, spelling)).id).toBe(small);
      expect(await statusOfCreate({ id: spelling })).toBe(409);
    }
    await service.call(owner, "DELETE", `/v2/images/${id}`);
    for (const spelling of [id, small, id.toUpperCase()]) {
      expect(await statusOfCreate({ id: spelling })).toBe(409);
    }
    for (const wrong of ["", "x", `${id}0`, `{${id}}`, id.replaceAll("-", ""), 7, null]) {
      expect(await statusOfCreate({ id: wrong })).toBe(400);
    }
  });

  it("LIM-19: a member's id has up to 255 characters, and at least one", async () => {
    const { id } = await service.create(owner, { visibility: "shared" });
    const add = (name: string) =>
      statusOf(service, "POST", `/v2/images/${id}/members`, { json: { member: name } });
    expect(await add("m".repeat(255))).toBe(200);
    expect(await add("m".repeat(256))).toBe(400);
    expect(await add("")).toBe(400);
  });

  it.each(["😀", "a😀b", "\u{10000}", "\u{10ffff}", "\ud83d", "\udc00x"])(
    "LIM-20: %j is beyond what records hold: 400 on every write",
    async (text) => {
      for (const json of [{ name: text }, { tags: [text] }, { team: text }, { [text]: "v" }]) {
        expect(await statusOfCreate(json)).toBe(400);
      }
      const { id } = await service.create(owner, { visibility: "shared" });
      expect(await statusOfChange(id, "name", text, service, "replace")).toBe(400);
      expect(await statusOfChange(id, "team", text)).toBe(400);
      expect(await statusOfChange(id, text, "v")).toBe(400);
      expect(await statusOfChange(id, "tags", [text], service, "replace")).toBe(400);
      const json = { member: text };
      expect(await statusOf(service, "POST", `/v2/images/${id}/members`, { json })).toBe(400);
    },
  );

  it("LIM-20: so it is in a tag's address, and in filters it finds nothing", async () => {
    const { id } = await service.create(owner);
    const emoji = encodeURIComponent("😀");
    expect(await statusOf(service, "PUT", `/v2/images/${id}/tags/${emoji}`)).toBe(400);
    for (const query of [`name=${emoji}`, `tag=${emoji}`, `team=${emoji}`, `${emoji}=x`]) {
      const response = await service.call(owner, "GET", `/v2/images?${query}`);
      expect(response.status).toBe(200);
      expect(await response.json()).toMatchObject({ images: [] });
    }
  });

  it("LIM-20: everything up to U+FFFF is held as it is", async () => {
    const text = "é\u0800\uffff日本\u0001";
    const { id } = await service.create(owner, { name: text, team: text, tags: [text] });
    expect(await service.show(owner, id)).toMatchObject({ name: text, team: text, tags: [text] });
  });
});

describe("formats", () => {
  const DISK = "ami ari aki vhd vhdx vmdk raw qcow2 vdi iso ploop".split(" ");
  const CONTAINER = "ami ari aki bare ovf ova docker compressed".split(" ");

  it.each([
    ["LIM-21", "disk_format", DISK],
    ["LIM-22", "container_format", CONTAINER],
  ])("%s: %s is one of the list, in lower case, or null", async (_, name, formats) => {
    for (const format of [...formats, null]) {
      expect(await statusOfCreate({ [name]: format })).toBe(201);
    }
    for (const format of ["RAW", "Bare", "", "zip", 7]) {
      expect(await statusOfCreate({ [name]: format })).toBe(400);
    }
  });

  it("LIM-21, LIM-22: the lists are settings", async () => {
    const own = withSettings({ DISK_FORMATS: "raw, squashfs", CONTAINER_FORMATS: "oci" });
    expect(await statusOfCreate({ disk_format: "squashfs", container_format: "oci" }, own)).toBe(
      201,
    );
    expect(await statusOfCreate({ disk_format: "qcow2" }, own)).toBe(400);
    expect(await statusOfCreate({ container_format: "bare" }, own)).toBe(400);
  });

  it("LIM-21, LIM-22: any pair is accepted", async () => {
    for (const [disk, container] of [
      ["ami", "bare"],
      ["raw", "ami"],
      ["iso", "docker"],
      [null, "ovf"],
    ]) {
      expect(await statusOfCreate({ disk_format: disk, container_format: container })).toBe(201);
    }
  });
});

describe("hashes and what is shown", () => {
  it.each([
    ["sha512", 128],
    ["sha384", 96],
    ["sha256", 64],
    ["sha1", 40],
    ["md5", 32],
  ])("LIM-24: os_hash_value may be %s", async (algorithm, characters) => {
    const at = withSettings({ HASHING_ALGORITHM: algorithm });
    const image = await at.createActive(owner, "hello");
    expect(image.os_hash_algo).toBe(algorithm);
    expect(image.os_hash_value).toMatch(new RegExp(`^[0-9a-f]{${characters}}$`));
  });

  it("LIM-24: it is sha512 unless set", async () => {
    const { os_hash_algo, os_hash_value } = await service.createActive(owner, "hello");
    expect(os_hash_algo).toBe("sha512");
    expect(os_hash_value).toMatch(/^9b71d224bd62f378/);
  });

  it("LIM-25: neither direct_url nor locations are shown", async () => {
    const image = await service.createActive(owner, "hello");
    expect(image).not.toHaveProperty("direct_url");
    expect(image).not.toHaveProperty("locations");
  });
});

/** Settings of the reference that this version knows and does not offer: it says so and does not start. */
describe("what this version does not offer", () => {
  it.each([["LIM-26", "DELAYED_DELETE", "true"]])(
    "%s: %s=%s is refused by name, and its default is not",
    async (_, name, value) => {
      const response = await withSettings({ [name]: value }).call(owner, "GET", "/v2/images");
      expect(response.status).toBe(503);
      expect(await response.text()).toContain(name);
      expect(await statusOf(service, "GET", "/v2/images")).toBe(200);
    },
  );
});

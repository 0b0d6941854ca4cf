import { env } from "cloudflare:workers";
import { describe, expect, it } from "vitest";
import { toHex } from "../../src/lib/hex.ts";
import {
  admin,
  type Caller,
  member,
  owner,
  ownersReader,
  serviceUser,
  stranger,
} from "../support/callers.ts";
import { resumeTime, stopTime } from "../support/clock.ts";
import { expectNothingLeft } from "../support/expect-sound.ts";
import { sources } from "../support/imports.ts";
import {
  addingLocation,
  createPointing,
  type LocationRecord,
  OPEN_LOCATIONS,
  patchLocations,
} from "../support/locations.ts";
import { copyTo } from "../support/second-copy.ts";
import { type ImageRecord, Service } from "../support/service.ts";
import { bodyParameter } from "../support/source-control.ts";
import { storedKeys } from "../support/stored-bytes.ts";
import { TestedObject } from "../support/tested-object.ts";

// Locations as images show them, and as patches change them.

const service = new Service({ settings: OPEN_LOCATIONS });
const closed = new Service({ settings: { STORES: OPEN_LOCATIONS.STORES } });
const source = sources();

const bytes = new TextEncoder().encode("somebody else's bytes");
const fileUrl = (more: object = {}) => source.fileUrl({ body: bodyParameter(bytes), ...more });

async function digestOf(algorithm: "MD5" | "SHA-256" | "SHA-512", data: Uint8Array) {
  return toHex(await crypto.subtle.digest(algorithm, data));
}

const locationsOf = (image: ImageRecord) => image.locations as readonly LocationRecord[];

async function refuse(
  status: number,
  imageId: string,
  operations: readonly object[],
  by: Caller = owner,
): Promise<string> {
  const before = await service.show(admin, imageId);
  const response = await patchLocations(service, by, imageId, operations);
  const text = await response.text();
  expect([response.status, text]).toEqual([status, expect.anything()]);
  expect(await service.show(admin, imageId)).toEqual(before);
  return text;
}

async function patched(
  imageId: string,
  operations: readonly object[],
  by: Caller = owner,
): Promise<ImageRecord> {
  const response = await patchLocations(service, by, imageId, operations);
  expect(response.status, await response.clone().text()).toBe(200);
  return response.json();
}

describe("what images show of their locations", () => {
  it("REP-16, REP-17, 11 §5: both keys, with addresses that tell nothing of the store's account", async () => {
    const image = await service.createActive(owner, "hello");
    const [key] = await storedKeys(image.id);
    const url = `glimpse://fast/${key}`;
    expect(image).toMatchObject({
      direct_url: url,
      locations: [{ url, metadata: { store: "fast" } }],
      stores: "fast",
    });
    const listed = await service.call(owner, "GET", `/v2/images?id=in:${image.id}`);
    expect(await listed.json()).toMatchObject({ images: [{ direct_url: url }] });
  });

  it("REP-16, 11 §5: an empty list and no direct_url where there are none, in the create reply too", async () => {
    const image = await service.create(owner);
    expect(image.locations).toEqual([]);
    expect(image).not.toHaveProperty("direct_url");
  });

  it("11 §5: each key by its own setting", async () => {
    const { id } = await service.createActive(owner, "hello");
    const settings = { STORES: OPEN_LOCATIONS.STORES };
    const direct = new Service({ settings: { ...settings, SHOW_IMAGE_DIRECT_URL: "true" } });
    const image = await direct.show(owner, id);
    expect(Object.keys(image)).toContain("direct_url");
    expect(Object.keys(image)).not.toContain("locations");
    expect(Object.keys(await closed.show(owner, id))).not.toContain("direct_url");
  });

  it("11 §5 get_image_location: they are kept from those whom policy does not let know", async () => {
    const record = { visibility: "community" };
    const { id } = await service.createActive(owner, "hello", record);
    expect(await service.show(ownersReader, id)).toHaveProperty("locations");
    expect(await service.show(admin, id)).toHaveProperty("locations");
    for (const keys of [
      Object.keys(await service.show(stranger, id)),
      Object.keys(await listed(stranger, id)),
    ]) {
      expect(keys).not.toContain("locations");
      expect(keys).not.toContain("direct_url");
    }
  });

  async function listed(caller: Caller, id: string): Promise<ImageRecord> {
    const path = `/v2/images?visibility=community&id=in:${id}`;
    const response = await service.call(caller, "GET", path);
    const { images } = await response.json<{ images: ImageRecord[] }>();
    const [image] = images;
    if (image === undefined) throw new Error("it is not listed");
    return image;
  }

  it("REP-22, ACT-8: of a deactivated image only administrators learn where it lies", async () => {
    const { id } = await service.createActive(owner, "hello");
    await service.call(owner, "POST", `/v2/images/${id}/actions/deactivate`);
    const seen = await service.show(owner, id);
    expect(seen.locations).toEqual([]);
    expect(seen).not.toHaveProperty("direct_url");
    expect(locationsOf(await service.show(admin, id))).toHaveLength(1);
  });

  it("11 §1 weight: the heaviest store comes first", async () => {
    const { id } = await service.createActive(owner, "hello");
    await copyTo(env.ARCHIVE, "archive", id, "hello");
    const heavy = JSON.stringify([
      { id: "fast", type: "r2", binding: "BLOBS", default: true },
      { id: "archive", type: "r2", binding: "ARCHIVE", weight: 9 },
    ]);
    const weighed = new Service({ settings: { ...OPEN_LOCATIONS, STORES: heavy } });
    const image = await weighed.show(owner, id);
    expect(image.stores).toBe("archive,fast");
    expect(image.direct_url).toMatch(/^glimpse:\/\/archive\//);
  });
});

describe("GET locations", () => {
  const get = (caller: Caller, id: string) =>
    closed.call(caller, "GET", `/v2/images/${id}/locations`);

  it("LEP-9, COD-13, 11 §7: is a bare array, whatever is shown with images", async () => {
    const image = await service.createActive(owner, "hello");
    const response = await get(admin, image.id);
    expect(response.status).toBe(200);
    expect(await response.json()).toEqual(image.locations);
    const { id } = await service.create(owner);
    expect(await (await get(admin, id)).json()).toEqual([]);
  });

  it("LEP-10, POL-17, ROL-2: is for services and administrators, of images that they see", async () => {
    const { id } = await service.createActive(owner, "hello", { visibility: "community" });
    expect((await get(serviceUser, id)).status).toBe(200);
    expect((await service.call(serviceUser, "GET", `/v2/images/${id}`)).status).toBe(404);
    expect((await get(owner, id)).status).toBe(403);
    expect((await get(stranger, id)).status).toBe(403);
    const hidden = await service.createActive(owner, "hello", { visibility: "private" });
    expect((await get(serviceUser, hidden.id)).status).toBe(404);
    expect((await get(stranger, hidden.id)).status).toBe(404);
    const { id: shared } = await service.createShared(owner, member);
    expect((await get(member, shared)).status).toBe(403);
  });
});

describe("locations added by PATCH", () => {
  it("LOP-11, ST-11: make a queued image active, with the size that the server tells and no hash", async () => {
    const url = fileUrl();
    const image = await createPointing(service, url);
    expect(image).toMatchObject({
      status: "active",
      size: bytes.length,
      virtual_size: null,
      checksum: null,
      os_hash_algo: null,
      os_hash_value: null,
      direct_url: url,
      stores: "http",
      locations: [{ url, metadata: { store: "http" } }],
    });
    expect(await new TestedObject(image.id).isAtRest()).toBe(true);
  });

  it("LOP-11: take the size from HEAD where GET does not tell it, and can be downloaded then", async () => {
    const url = fileUrl({ chunked: "get" });
    const image = await createPointing(service, url);
    expect(image).toMatchObject({ status: "active", size: bytes.length });
    const response = await service.call(owner, "GET", `/v2/images/${image.id}/file`);
    expect([response.status, response.headers.get("content-length")]).toEqual([
      200,
      String(bytes.length),
    ]);
    expect(await response.bytes()).toEqual(new Uint8Array(bytes));
  });

  it("LOP-9: several are asked at once", async () => {
    const { id } = await service.createEmpty(owner);
    const scenario = crypto.randomUUID();
    const gate = crypto.randomUUID();
    const value = [1, 2, 3].map((seed) => ({
      url: fileUrl({ id: scenario, seed, gate }),
      metadata: {},
    }));
    const answer = patchLocations(service, owner, id, [
      { op: "replace", path: "/locations", value },
    ]);
    await source.waitAtGate(gate, 3);
    await source.openGate(gate);
    expect((await answer).status).toBe(200);
    expect(await source.log(scenario)).toHaveLength(3);
  });

  it("LOP-11, COD-4: are refused on a queued image without formats, before anybody is asked", async () => {
    const { id } = await service.create(owner);
    const scenario = crypto.randomUUID();
    await refuse(400, id, [addingLocation(fileUrl({ id: scenario }))]);
    expect(await source.log(scenario)).toEqual([]);
  });

  it.each([
    ["is not there", () => fileUrl({ status: 404 })],
    ["is in trouble", () => fileUrl({ status: 503 })],
    ["has no data", () => source.fileUrl({ size: 0 })],
    ["does not say how much it has", () => fileUrl({ chunked: 1 })],
    ["cannot be reached", () => "http://127.0.0.1:1/x"],
    ["has a password in its address", () => fileUrl().replace("http://", "http://user:secret@")],
  ])("LOP-9: one that %s is refused with 400", async (_, url) => {
    const { id } = await service.createEmpty(owner);
    expect(await refuse(400, id, [addingLocation(url())])).not.toContain("secret");
    await refuse(400, id, [
      { op: "replace", path: "/locations", value: [{ url: url(), metadata: {} }] },
    ]);
  });

  it("LOP-9, 10 §11: what web-download may not fetch, no location points to", async () => {
    const strict = new Service({
      settings: {
        ...OPEN_LOCATIONS,
        DEVELOPMENT: "false",
        IMPORT_ALLOW_PRIVATE_ADDRESSES: "false",
        RESOLVER_URL: "",
      },
    });
    const { id } = await service.createEmpty(owner);
    for (const url of ["http://127.0.0.1/x", "http://[::1]/x", "http://intranet/x", fileUrl()]) {
      const response = await patchLocations(strict, owner, id, [addingLocation(url)]);
      expect([url, response.status]).toEqual([url, 400]);
    }
  });

  it("LOP-9: another image's bytes are not to be had by their address", async () => {
    const victim = await service.createActive(stranger, "secret", { visibility: "private" });
    const [key = ""] = await storedKeys(victim.id);
    const { id } = await service.createEmpty(owner);
    for (const url of [`glimpse://fast/${key}`, key, `r2://fast/${key}`]) {
      for (const by of [owner, admin]) await refuse(400, id, [addingLocation(url)], by);
    }
  });

  it("LOP-4, MX-8: are refused in every other status", async () => {
    const { id } = await service.createActive(owner, bytes);
    await service.call(owner, "POST", `/v2/images/${id}/actions/deactivate`);
    await refuse(409, id, [addingLocation(fileUrl())]);
  });

  it("POL-15: are for the owner and administrators", async () => {
    const { id } = await service.createEmpty(owner, { visibility: "community" });
    await refuse(403, id, [addingLocation(fileUrl())], ownersReader);
    await refuse(403, id, [addingLocation(fileUrl())], stranger);
    await patched(id, [addingLocation(fileUrl())], admin);
  });

  it("LOP-8, LOP-10, LOP-13, LIM-6: go where they are asked to, once each, ten at the most", async () => {
    const { id } = await service.createActive(owner, bytes);
    const own = (await service.show(owner, id)).direct_url;
    const first = { op: "add", path: "/locations/0", value: { url: fileUrl(), metadata: {} } };
    const image = await patched(id, [first]);
    expect(locationsOf(image).map(({ url }) => url)).toEqual([fileUrl(), own]);
    expect(image.stores).toBe("http,fast");
    await refuse(400, id, [first]);
    const more = Array.from({ length: 9 }, (_, n) => addingLocation(fileUrl({ seed: n })));
    await refuse(413, id, more);
    await patched(id, more.slice(1));
  });

  it("are refused when the data has another size than the image", async () => {
    const { id } = await service.createActive(owner, "hello");
    expect(await refuse(400, id, [addingLocation(fileUrl())])).toContain("the image has 5");
  });

  it("LIM-9: count for the project's storage, and are refused beyond it", async () => {
    const settings = { ...OPEN_LOCATIONS, USER_STORAGE_QUOTA: "1GB" };
    const limited = new Service({ settings });
    const { id } = await service.createEmpty(owner);
    const url = source.fileUrl({ size: 1024 ** 3 + 1, seed: 1 });
    const response = await patchLocations(limited, owner, id, [addingLocation(url)]);
    expect([response.status, await response.text()]).toEqual([
      413,
      expect.stringContaining("user_storage_quota"),
    ]);
    expect(await service.show(owner, id)).toMatchObject({ status: "queued", locations: [] });
  });
});

describe("validation data in a patch", () => {
  const validated = async (changes: object = {}) => ({
    validation_data: {
      os_hash_algo: "sha512",
      os_hash_value: await digestOf("SHA-512", bytes),
      ...changes,
    },
  });

  it("LOP-15, 11 §6: is taken as given, at once, and is never shown", async () => {
    const { id } = await service.createEmpty(owner);
    const gate = crypto.randomUUID();
    // Its head comes, and no byte of its data.
    const url = fileUrl({ gate, "gate-at": 0 });
    const checksum = "5".repeat(32);
    const os_hash_value = "0f".repeat(64);
    const value = await validated({ checksum: checksum.toUpperCase(), os_hash_value });
    const image = await patched(id, [addingLocation(url, value)]);
    expect(image).toMatchObject({
      status: "active",
      size: bytes.length,
      checksum,
      os_hash_algo: "sha512",
      os_hash_value,
      locations: [{ url, metadata: { store: "http" } }],
    });
    expect(JSON.stringify(image)).not.toContain("validation_data");
    await source.openGate(gate);
  });

  it("LOP-17, 11 §6: a second location with the same hashes is taken, one with others is 409", async () => {
    const { id } = await service.createEmpty(owner);
    const given = { checksum: "5".repeat(32), os_hash_value: "0f".repeat(64) };
    await patched(id, [addingLocation(fileUrl(), await validated(given))]);
    const second = fileUrl({ seed: 1 });
    for (const wrong of [{ checksum: "6".repeat(32) }, { os_hash_value: "00".repeat(64) }]) {
      const other = await validated({ ...given, ...wrong });
      await refuse(409, id, [addingLocation(second, other)]);
    }
    const image = await patched(id, [addingLocation(second, await validated(given))]);
    expect(locationsOf(image).map(({ url }) => url)).toEqual([fileUrl(), second]);
    expect(image).toMatchObject({ checksum: given.checksum, os_hash_value: given.os_hash_value });
  });

  it("LOP-16, LOP-17, LOP-18: is 409 where it cannot be the image's", async () => {
    const { id } = await service.createEmpty(owner);
    const otherAlgorithm = {
      os_hash_algo: "sha256",
      os_hash_value: await digestOf("SHA-256", bytes),
    };
    await refuse(409, id, [addingLocation(fileUrl(), await validated(otherAlgorithm))]);
    const other = await validated({ os_hash_value: "00".repeat(64) });
    const value = [
      { url: fileUrl(), metadata: {}, ...(await validated()) },
      { url: fileUrl({ seed: 1 }), metadata: {}, ...other },
    ];
    await refuse(409, id, [{ op: "replace", path: "/locations", value }]);
    await patched(id, [addingLocation(fileUrl())]);
    await refuse(409, id, [addingLocation(fileUrl({ seed: 1 }), await validated())]);
  });
});

describe("locations replaced and removed by PATCH", () => {
  it("LOP-12: only their metadata changes, and the service tells the store itself", async () => {
    const image = await createPointing(service, fileUrl());
    const replacing = (url: string, metadata: object) => [
      { op: "replace", path: "/locations", value: [{ url, metadata }] },
    ];
    const changed = await patched(image.id, replacing(fileUrl(), { zone: "a", store: "fast" }));
    expect(changed.locations).toEqual([{ url: fileUrl(), metadata: { zone: "a", store: "http" } }]);
    await refuse(400, image.id, replacing(fileUrl({ seed: 1 }), {}));
    await refuse(400, image.id, replacing(fileUrl(), { zone: 5 }));
  });

  it("LOP-12: those of our own stores can be given back", async () => {
    const image = await service.createActive(owner, bytes);
    const [own] = locationsOf(image);
    const value = [{ ...own, metadata: { zone: ["a", "b"] } }];
    const changed = await patched(image.id, [{ op: "replace", path: "/locations", value }]);
    expect(changed.locations).toEqual([
      { url: own?.url, metadata: { zone: ["a", "b"], store: "fast" } },
    ]);
    expect(await storedKeys(image.id)).toHaveLength(1);
  });

  it("LOP-5, LOP-6, LOP-7, LOP-8: administrators remove any but the last one, of an active image", async () => {
    const { id } = await service.createActive(owner, bytes);
    const remove = (position: string) => [{ op: "remove", path: `/locations/${position}` }];
    await refuse(403, id, remove("0"), admin);
    await patched(id, [addingLocation(fileUrl())]);
    await refuse(403, id, remove("0"));
    for (const position of ["2", "foo", "-1"]) await refuse(400, id, remove(position), admin);
    const { id: queued } = await service.createEmpty(owner);
    await refuse(409, queued, remove("0"), admin);
    const image = await patched(id, remove("-"), admin);
    expect(locationsOf(image).map(({ metadata }) => metadata)).toEqual([{ store: "fast" }]);
  });

  it("11 §6 remove: takes our own bytes away, and leaves those of others", async () => {
    stopTime();
    const { id } = await service.createActive(owner, bytes);
    await patched(id, [addingLocation(fileUrl())]);
    await patched(id, [{ op: "remove", path: "/locations/0" }], admin);
    await new TestedObject(id).untilAtRest(service.env);
    expect(await storedKeys(id)).toEqual([]);
    expect(await service.show(owner, id)).toMatchObject({ status: "active", stores: "http" });
    const data = await service.call(owner, "GET", `/v2/images/${id}/file`);
    expect(await data.bytes()).toEqual(bytes);
    resumeTime();
  });

  it("11 §4 http: a copy elsewhere is forgotten, and a deleted image owes nothing for it", async () => {
    stopTime();
    const { id } = await service.createActive(owner, bytes);
    const scenario = crypto.randomUUID();
    await patched(id, [addingLocation(fileUrl({ id: scenario }))]);
    const response = await service.call(admin, "DELETE", `/v2/stores/http/${id}`);
    expect(response.status).toBe(204);
    expect(await service.show(owner, id)).toMatchObject({ stores: "fast" });
    expect(await new TestedObject(id).isAtRest()).toBe(true);
    const pointing = await createPointing(service, fileUrl({ id: scenario }));
    expect((await service.call(owner, "DELETE", `/v2/images/${pointing.id}`)).status).toBe(204);
    expect(await new TestedObject(pointing.id).isAtRest()).toBe(true);
    const methods = (await source.log(scenario)).map(({ method }) => method);
    expect(new Set(methods)).toEqual(new Set(["GET"]));
    await expectNothingLeft(id);
    resumeTime();
  });
});

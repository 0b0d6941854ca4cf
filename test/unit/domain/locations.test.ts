import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { Fault } from "../../../src/domain/fault.ts";
import type { Image } from "../../../src/domain/image.ts";
import {
  declaredHash,
  type LocationRequest,
  parseLocationRequest,
} from "../../../src/domain/location-request.ts";
import { isRemote, locationViews, planLocation, urlOf } from "../../../src/domain/locations.ts";
import { applyPatch, type PatchOptions } from "../../../src/domain/patch.ts";
import { parsePatch } from "../../../src/domain/patch-parse.ts";
import { STATUSES } from "../../../src/domain/status.ts";
import { parseStores } from "../../../src/domain/store-definition.ts";
import { Stores } from "../../../src/domain/stores.ts";
import { TWO_BUCKETS } from "../../support/stores.ts";
import {
  anImage,
  asAdmin,
  asOwner,
  closedLocations,
  imageId,
  limits,
  outcome,
  schema,
} from "./builders.ts";

const stores = new Stores(parseStores(JSON.stringify(TWO_BUCKETS)));
const open: PatchOptions["locations"] = { ...closedLocations, areOpen: true, sizeOf: () => 100 };
const owner = asOwner({ locations: open });
const admin = asAdmin({ locations: open });

const URL_A = "http://a.example/image";
const URL_B = "https://b.example/image";
const SHA512 = "ab".repeat(64);
const MD5 = "cd".repeat(16);
const ownKey = (name: string) => `blobs/${imageId}/${name}`;

const ready: Partial<Image> = { diskFormat: "raw", containerFormat: "bare" };
const queued = anImage(ready);
const active = (changes: Partial<Image> = {}) =>
  anImage({
    ...ready,
    status: "active",
    size: 100,
    locations: [{ store: "fast", key: ownKey("1") }],
    ...changes,
  });

const at = (url: string, metadata: object = {}, validation?: object) => ({
  url,
  metadata,
  ...(validation !== undefined && { validation_data: validation }),
});
const add = (value: object, position = "-") => ({
  op: "add",
  path: `/locations/${position}`,
  value,
});
const replace = (...value: object[]) => ({ op: "replace", path: "/locations", value });
const remove = (position: string) => ({ op: "remove", path: `/locations/${position}` });
const hashed = (changes: object = {}) => ({
  os_hash_algo: "sha512",
  os_hash_value: SHA512,
  ...changes,
});

function patch(image: Image, operations: readonly object[], as = owner): Image {
  return applyPatch(image, parsePatch("v2.1", operations, schema), as);
}

function patching(image: Image, operations: readonly object[], as = owner): string {
  return outcome(() => patch(image, operations, as));
}

const urlsOf = ({ locations }: Image) => locations.map(urlOf);

describe("addresses", () => {
  it("are those of the other server, or a name of our own copy that nobody can open", () => {
    expect(urlOf({ store: "http", key: URL_A })).toBe(URL_A);
    expect(urlOf({ store: "fast", key: ownKey("1") })).toBe(`glimpse://fast/${ownKey("1")}`);
    expect(isRemote({ key: ownKey("1") })).toBe(false);
  });

  it("11 §1 Which store: the metadata that is shown names the store, where there are several", () => {
    const image = active({
      locations: [{ store: "http", key: URL_A, metadata: { zone: "one" } }],
    });
    expect(locationViews(image, stores)).toEqual([
      { url: URL_A, metadata: { zone: "one", store: "http" } },
    ]);
    const single = new Stores(parseStores('[{"id":"default","type":"r2","binding":"BLOBS"}]'));
    const alone = active({ locations: [{ store: "default", key: ownKey("1") }] });
    expect(locationViews(alone, single)).toMatchObject([{ metadata: {} }]);
  });

  it("11 §1 weight: are listed from the heaviest store down, ties as they came", () => {
    const heavy = TWO_BUCKETS.map((one) => (one.id === "http" ? { ...one, weight: 5 } : one));
    const weighed = new Stores(parseStores(JSON.stringify(heavy)));
    const locations = [
      { store: "fast", key: ownKey("1") },
      { store: "archive", key: ownKey("2") },
      { store: "http", key: URL_A },
    ];
    const shown = locationViews(active({ locations }), weighed).map(({ url }) => url);
    expect(shown).toEqual([
      URL_A,
      ...[ownKey("1"), ownKey("2")].map((key, n) => `glimpse://${["fast", "archive"][n]}/${key}`),
    ]);
  });
});

describe("locations in a patch", () => {
  it("LOP-2: what is not known of a location is dropped, and so is a store it names", () => {
    const value = { ...at(URL_A, { store: "fast", note: "x" }), id: 7, status: "deleted" };
    expect(patch(active(), [add(value)]).locations.at(-1)).toEqual({
      store: "http",
      key: URL_A,
      metadata: { note: "x" },
    });
  });

  it("LOP-3: a list cannot be emptied", () => {
    expect(patching(active(), [replace()])).toBe("403 forbidden_reason");
    expect(patching(active(), [replace()], asOwner())).toBe("403 forbidden_reason");
  });

  it("LOP-4, MX-8: they are added and replaced while the image is queued or active", () => {
    for (const status of STATUSES) {
      const isOpen = status === "queued" || status === "active";
      const image = status === "queued" ? queued : active({ status });
      const expected = isOpen ? "no fault" : "409 locations_fixed";
      expect([status, patching(image, [add(at(URL_A))])]).toEqual([status, expected]);
      const same = image.locations.map((location) => at(urlOf(location), { note: "x" }));
      const list = status === "queued" ? [at(URL_A)] : same;
      expect([status, patching(image, [replace(...list)])]).toEqual([status, expected]);
    }
  });

  it("LOP-5: they are removed while it is active", () => {
    const two = [
      { store: "fast", key: ownKey("1") },
      { store: "archive", key: ownKey("2") },
    ];
    for (const status of STATUSES) {
      const image = active({ status, locations: two });
      const expected = status === "active" ? "no fault" : "409 locations_fixed";
      expect([status, patching(image, [remove("0")], admin)]).toEqual([status, expected]);
    }
  });

  it("LOP-6, POL-15: owners add and replace, and administrators alone remove", () => {
    expect(patching(active(), [add(at(URL_A))])).toBe("no fault");
    expect(patching(active(), [remove("0")])).toBe("403 forbidden");
  });

  it("LOP-7: the only one cannot be removed", () => {
    expect(patching(active(), [remove("0")], admin)).toBe("403 last_copy");
    expect(patching(active(), [remove("foo")], admin)).toBe("403 last_copy");
    const both = [add(at(URL_A)), remove("0"), remove("0")];
    expect(patching(active(), both, admin)).toBe("403 last_copy");
  });

  it.each([
    ["0", [URL_A, "own"]],
    ["1", ["own", URL_A]],
    ["-", ["own", URL_A]],
    ["7", ["own", URL_A]],
  ])("LOP-8: at position %s one is added as %j", (position, expected) => {
    const urls = urlsOf(patch(active(), [add(at(URL_A), position)]));
    expect(urls.map((url) => (url === URL_A ? url : "own"))).toEqual(expected);
  });

  it.each(["foo", "-1", "1.0", "+1", " 1", "1e0", "٣"])("LOP-8: %j is no position", (position) => {
    expect(patching(active(), [add(at(URL_A), position)])).toBe("400 bad_request");
    const two = active({ locations: [...active().locations, { store: "http", key: URL_A }] });
    expect(patching(two, [remove(position)], admin)).toBe("400 bad_request");
  });

  it("LOP-8: removes by position, and none beyond the last", () => {
    const two = active({ locations: [...active().locations, { store: "http", key: URL_A }] });
    expect(urlsOf(patch(two, [remove("0")], admin))).toEqual([URL_A]);
    expect(urlsOf(patch(two, [remove("-")], admin))).not.toContain(URL_A);
    expect(patching(two, [remove("2")], admin)).toBe("400 bad_request");
  });

  it.each([
    "file:///etc/passwd",
    "filesystem:///x",
    "swift+config://c/x",
    "s3://key:secret@host/bucket/x",
    "rbd://pool/image",
    "glimpse://fast/blobs/another/image",
    `glimpse://fast/${ownKey("1")}`,
    ownKey("1"),
    "",
    "ftp://a.example/x",
  ])("LOP-9: %s cannot be added, whoever asks", (url) => {
    for (const as of [owner, admin]) {
      expect(patching(active(), [add(at(url))], as)).toBe("400 uri_refused");
      expect(patching(queued, [replace(at(url))], as)).toBe("400 uri_refused");
    }
  });

  it("LOP-9: without a store of the type http, none can be added", () => {
    const single = new Stores(parseStores('[{"id":"fast","type":"r2","binding":"BLOBS"}]'));
    const as = asOwner({ locations: { ...open, stores: single } });
    expect(patching(active(), [add(at(URL_A))], as)).toBe("400 uri_refused");
  });

  it("LOP-9: data of another size is not the image's", () => {
    expect(patching(active({ size: 99 }), [add(at(URL_A))])).toBe("400 source_rejected");
  });

  it("LOP-10: one that is there with the same metadata is not added again", () => {
    const once = patch(active(), [add(at(URL_A, { zone: "1" }))]);
    expect(patching(once, [add(at(URL_A, { zone: "1" }))])).toBe("400 location_exists");
    expect(urlsOf(patch(once, [add(at(URL_A, { zone: "2" }))]))).toHaveLength(3);
    expect(patching(queued, [replace(at(URL_A), at(URL_A))])).toBe("400 location_exists");
    const twice = patch(once, [add(at(URL_A, { zone: "2" }))]);
    const merged = replace(at(urlsOf(twice)[0] ?? ""), at(URL_A), at(URL_A));
    expect(patching(twice, [merged])).toBe("400 location_exists");
  });

  it("LOP-11, ST-11: by its first one a queued image becomes active, with the size of the data", () => {
    expect(patch(queued, [add(at(URL_A))])).toMatchObject({
      status: "active",
      size: 100,
      checksum: null,
      osHashAlgo: null,
      osHashValue: null,
      locations: [{ store: "http", key: URL_A }],
    });
    expect(urlsOf(patch(queued, [replace(at(URL_A), at(URL_B))]))).toEqual([URL_A, URL_B]);
    // Bytes that were granted to uploads of it come back.
    expect(patch({ ...queued, reservedBytes: 7 }, [add(at(URL_A))]).reservedBytes).toBe(0);
  });

  it("LOP-11, NUL-3: not without both formats, which may come with the same patch", () => {
    const bare = anImage({ containerFormat: "bare" });
    expect(patching(bare, [add(at(URL_A))])).toBe("400 formats_missing");
    const format = { op: "add", path: "/disk_format", value: "raw" };
    expect(patch(bare, [format, add(at(URL_A))]).status).toBe("active");
  });

  it("LOP-12: a replacement changes metadata and order, and no address", () => {
    const image = active({ locations: [...active().locations, { store: "http", key: URL_A }] });
    const [own = "", other = ""] = urlsOf(image);
    const changed = patch(image, [replace(at(other, { a: "1" }), at(own, { b: ["x"] }))]);
    expect(changed.locations).toEqual([
      { store: "http", key: URL_A, metadata: { a: "1" } },
      { store: "fast", key: ownKey("1"), metadata: { b: ["x"] } },
    ]);
    for (const list of [[at(own)], [at(own), at(URL_B)], [at(own), at(other), at(URL_B)]]) {
      expect(patching(image, [replace(...list)])).toBe("400 locations_differ");
    }
  });

  it("LOP-13, LIM-6: an image has ten, or as many as the operator says", () => {
    const many = (count: number) => Array.from({ length: count }, (_, n) => at(`${URL_A}${n}`));
    expect(patch(queued, [replace(...many(10))]).locations).toHaveLength(10);
    expect(patching(queued, [replace(...many(11))])).toBe("413 quota_exceeded");
    const unlimited = { ...owner, limits: { ...limits, imageLocations: -1 } };
    expect(patching(queued, [replace(...many(100))], unlimited)).toBe("no fault");
    expect(patching(queued, [replace(...many(101))], unlimited)).toBe("413 quota_exceeded");
  });

  it.each([5, null, true, [5], { a: 5 }, { a: [] }, [[]]])(
    "LOP-14: %j is no value of metadata",
    (value) => {
      expect(patching(active(), [add(at(URL_A, { key: value }))])).toBe("400 invalid_value");
    },
  );

  it("LIM-20: nothing of a location has a character beyond U+FFFF", () => {
    for (const value of [at("http://a/😀"), at(URL_A, { "😀": "" }), at(URL_A, { a: ["😀"] })]) {
      expect(patching(active(), [add(value)])).toBe("400 unsupported_characters");
    }
  });

  it("LOP-15: validation data has a hash, a checksum if need be, and nothing else", () => {
    for (const validation of [
      {},
      { os_hash_algo: "sha512" },
      { os_hash_value: SHA512 },
      hashed({ more: "x" }),
      hashed({ checksum: "short" }),
    ]) {
      expect(patching(queued, [add(at(URL_A, {}, validation))])).toBe("400 invalid_value");
    }
    const changed = patch(queued, [add(at(URL_A, {}, hashed({ checksum: MD5.toUpperCase() })))]);
    expect(changed).toMatchObject({ checksum: MD5, osHashAlgo: "sha512", osHashValue: SHA512 });
  });

  it("LOP-16: it is by the service's algorithm, and hex of the right length", () => {
    for (const changes of [
      { os_hash_algo: "sha256", os_hash_value: "ab".repeat(32) },
      { os_hash_value: "ab" },
      { os_hash_value: "xy".repeat(64) },
      { checksum: "xy".repeat(16) },
    ]) {
      const operations = [add(at(URL_A, {}, hashed(changes)))];
      expect(patching(queued, operations)).toBe("409 validation_conflict");
    }
  });

  it("LOP-17: that of an active image is what the image has", () => {
    const image = active({ checksum: MD5, osHashAlgo: "sha512", osHashValue: SHA512 });
    expect(patching(image, [add(at(URL_A, {}, hashed()))])).toBe("no fault");
    expect(patching(image, [add(at(URL_A, {}, hashed({ checksum: MD5 })))])).toBe("no fault");
    for (const [from, changes] of [
      [image, { os_hash_value: "00".repeat(64) }],
      [image, { checksum: "00".repeat(16) }],
      [active(), {}],
    ] as const) {
      const operations = [add(at(URL_A, {}, hashed(changes)))];
      expect(patching(from, operations)).toBe("409 validation_conflict");
    }
  });

  it("LOP-18: the locations of one replacement agree on it", () => {
    const other = hashed({ os_hash_value: "00".repeat(64) });
    const operations = [replace(at(URL_A, {}, hashed()), at(URL_B, {}, other))];
    expect(patching(queued, operations)).toBe("409 validation_conflict");
    const same = [replace(at(URL_A, {}, hashed()), at(URL_B), at(`${URL_B}2`, {}, hashed()))];
    expect(patch(queued, same)).toMatchObject({ osHashValue: SHA512 });
  });
});

describe("the call that adds a location", () => {
  const parsing = (body: unknown) => outcome(() => parseLocationRequest(body));

  it.each([
    null,
    [],
    "x",
    {},
    { url: 5 },
    { url: null },
    { url: "x".repeat(2049) },
    { url: URL_A, validation_data: null },
    { url: URL_A, validation_data: [] },
    { url: URL_A, validation_data: { os_hash_algo: "md5" } },
    { url: URL_A, validation_data: { os_hash_value: MD5 } },
    { url: URL_A, validation_data: { os_hash_algo: "md5", os_hash_value: MD5, checksum: MD5 } },
    { url: URL_A, validation_data: { os_hash_algo: "sha384", os_hash_value: "ab".repeat(48) } },
    { url: URL_A, validation_data: { os_hash_algo: "MD5", os_hash_value: MD5 } },
    { url: URL_A, validation_data: { os_hash_algo: "md5", os_hash_value: 5 } },
    { url: URL_A, validation_data: { os_hash_algo: "sha1", os_hash_value: "a".repeat(129) } },
  ])("SIN-1, LEP-3: refuses %j", (body) => {
    expect(parsing(body)).toBe("400 invalid_value");
  });

  it("SIN-1: takes an address, with a hash or without, and ignores what it does not know", () => {
    const plain = { url: URL_A, validation: undefined };
    expect(parseLocationRequest({ url: URL_A })).toEqual(plain);
    expect(parseLocationRequest({ url: URL_A, validation_data: {} })).toEqual(plain);
    expect(parseLocationRequest({ url: URL_A, do_secure_hash: false, metadata: 5 })).toEqual(plain);
    const validation_data = { os_hash_algo: "md5", os_hash_value: MD5 };
    expect(parseLocationRequest({ url: URL_A, validation_data })).toEqual({
      url: URL_A,
      validation: { algorithm: "md5", value: MD5 },
    });
  });

  it("LEP-4: the hash is hex and as long as its algorithm has it", () => {
    const judge = (algorithm: string, value: string) =>
      outcome(() => declaredHash({ url: URL_A, validation: { algorithm, value } }));
    expect(judge("md5", MD5.toUpperCase())).toBe("no fault");
    expect(judge("sha256", MD5)).toBe("400 invalid_value");
    expect(judge("md5", "xy".repeat(16))).toBe("400 invalid_value");
  });

  const planning = (
    { url, validation }: Partial<LocationRequest>,
    { image = queued, isService = false, allowed = true, isLocked = false, ...others } = {},
  ) =>
    outcome(() =>
      planLocation(
        image,
        { url: url ?? URL_A, validation },
        {
          stores,
          isService,
          authorize: () => {
            if (!allowed) throw new Fault("forbidden");
          },
          assertUnlocked: () => {
            if (isLocked) throw new Fault("import_under_way");
          },
          ...others,
        },
      ),
    );
  const badHash = { validation: { algorithm: "md5", value: "x" } };

  it("11 §8 order: status, policy, address, hash, formats, lock", () => {
    const worst = { image: active(), allowed: false, isLocked: true };
    expect(planning({ ...badHash, url: "rbd://x" }, worst)).toBe("409 locations_fixed");
    const bare = anImage();
    const rest = { image: bare, isLocked: true };
    expect(planning({ ...badHash, url: "rbd://x" }, { ...rest, allowed: false })).toBe(
      "403 forbidden",
    );
    expect(planning({ ...badHash, url: "rbd://x" }, rest)).toBe("403 forbidden_reason");
    expect(planning(badHash, rest)).toBe("400 invalid_value");
    expect(planning({}, rest)).toBe("409 import_formats_missing");
    expect(planning({}, { isLocked: true })).toBe("409 import_under_way");
    expect(planning({})).toBe("no fault");
  });

  it("LEP-6: services may name any address, though none but http will do", () => {
    expect(planning({ url: "rbd://x" }, { isService: true })).toBe("no fault");
  });
});

describe("whatever comes", () => {
  it("the body of the call is read or refused, and the address is as it came", () => {
    const body = fc.oneof(
      fc.jsonValue(),
      fc.record(
        {
          url: fc.oneof(fc.webUrl(), fc.string({ unit: "binary" }), fc.jsonValue()),
          validation_data: fc.oneof(
            fc.jsonValue(),
            fc.record(
              {
                os_hash_algo: fc.oneof(fc.constantFrom("md5", "sha512", "x"), fc.jsonValue()),
                os_hash_value: fc.oneof(fc.constantFrom(MD5, SHA512, "x"), fc.jsonValue()),
              },
              { requiredKeys: [] },
            ),
          ),
        },
        { requiredKeys: [] },
      ),
    );
    fc.assert(
      fc.property(body, (given) => {
        try {
          const { url } = parseLocationRequest(given);
          expect(given).toHaveProperty("url", url);
        } catch (error) {
          expect(error).toBeInstanceOf(Fault);
        }
      }),
    );
  });

  it("a patch of locations never names data that is not there already or another server's", () => {
    const url = fc.oneof(
      fc.constantFrom(URL_A, URL_B, `glimpse://fast/${ownKey("1")}`, "glimpse://fast/other"),
      fc.string({ unit: "binary" }),
    );
    const text = fc.string({ unit: "binary", maxLength: 4 });
    const metadata = fc.dictionary(fc.oneof(fc.constant("store"), text), fc.jsonValue());
    const location = fc.record({ url, metadata });
    const position = fc.oneof(fc.constantFrom("-", "0", "1"), fc.string());
    const operation = fc.oneof(
      fc.tuple(location, position).map(([value, where]) => add(value, where)),
      fc.array(location, { maxLength: 4 }).map((list) => replace(...list)),
      position.map(remove),
    );
    const known = new Set([ownKey("1"), ownKey("2")]);
    const image = active({
      locations: [...known].map((key) => ({ store: "fast", key })),
    });
    fc.assert(
      fc.property(fc.array(operation, { maxLength: 4 }), (operations) => {
        let changed = image;
        try {
          changed = patch(image, operations, admin);
        } catch (error) {
          expect(error).toBeInstanceOf(Fault);
        }
        expect(changed.locations.length).toBeGreaterThan(0);
        for (const one of changed.locations) {
          const isOwn = one.store === "fast" && known.has(one.key);
          expect(isOwn || (one.store === "http" && isRemote(one))).toBe(true);
          expect(Object.keys(one.metadata ?? {})).not.toContain("store");
        }
      }),
    );
  });
});

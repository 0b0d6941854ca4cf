import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { planImport } from "../../../src/domain/import-plan.ts";
import {
  IMPORT_METHODS,
  type ImportMethodName,
  parseImportRequest,
} from "../../../src/domain/import-request.ts";
import { STATUSES } from "../../../src/domain/status.ts";
import { parseStores } from "../../../src/domain/store-definition.ts";
import { Stores } from "../../../src/domain/stores.ts";
import { ONE_STORE, TWO_BUCKETS } from "../../support/stores.ts";
import { anImage, imageId, outcome, textOf } from "./builders.ts";

const parse = (body: object, enabled: readonly ImportMethodName[] = IMPORT_METHODS) =>
  parseImportRequest(body, enabled);
const parsing = (body: object) => outcome(() => parse(body));
const direct = { method: { name: "glance-direct" } };

describe("parseImportRequest", () => {
  it.each(IMPORT_METHODS)("IMP-1, IMP-4: takes %s, with the defaults", (name) => {
    const body = { method: { name } };
    expect(parse(body)).toEqual({
      method: name,
      body,
      settings: body.method,
      stores: undefined,
      allStores: false,
      mustSucceed: true,
      expected: undefined,
    });
  });

  it("IMP-1: takes what the body says of stores", () => {
    const body = { ...direct, stores: ["a"], all_stores: true, all_stores_must_succeed: false };
    expect(parse(body)).toMatchObject({ stores: ["a"], allStores: true, mustSucceed: false });
  });

  it("10 §3 Unknown keys: are ignored and not kept, and all_stores within method is one of them", () => {
    const method = { name: "glance-direct", all_stores: "yes", x: [1] };
    const body = { method, input: { deep: null } };
    expect(parse(body)).toMatchObject({ allStores: false });
    expect(parse(body).body).toEqual({ method: { name: "glance-direct" } });
  });

  it("IMP-2, 10 §4 #2: refuses a body without method, or a method without name", () => {
    expect(parsing({})).toBe("400 invalid_value");
    expect(parsing({ method: {} })).toBe("400 invalid_value");
    expect(parsing({ name: "glance-direct" })).toBe("400 invalid_value");
    expect(textOf(() => parse({}))).toContain("method: it must be an object with the name of an");
  });

  it.each([[null], [1], ["glance-direct"], [["glance-direct"]], [true]])(
    "IMP-2, 10 §4 #3: refuses a method that is %j",
    (method) => {
      expect(parsing({ method })).toBe("400 invalid_value");
      expect(parsing({ method: { name: method === "glance-direct" ? 0 : method } })).toBe(
        "400 invalid_value",
      );
    },
  );

  it("10 §4 #1, #3: refuses an array", () => {
    expect(parsing([])).toBe("400 bad_request");
    expect(parsing([direct])).toBe("400 bad_request");
  });

  it("IMP-3, 10 §4 #2: refuses a method that is not enabled, naming those that are", () => {
    const of = (enabled: ImportMethodName[]) => textOf(() => parse(direct, enabled));
    expect(of(["web-download", "copy-image"])).toBe(
      "The import method 'glance-direct' is not enabled. Enabled methods: web-download, copy-image.",
    );
    expect(of([])).toContain("Enabled methods: none.");
    for (const name of ["Glance-Direct", "", "toString", "x".repeat(9000)]) {
      expect(parsing({ method: { name } })).toBe("400 import_method_disabled");
    }
  });

  it.each(["all_stores", "all_stores_must_succeed"])(
    "IMP-4, 10 §4 #4: refuses a value of %s other than true and false",
    (name) => {
      for (const value of [null, 0, 1, "true", "", [], {}]) {
        expect(parsing({ ...direct, [name]: value })).toBe("400 invalid_value");
        expect(textOf(() => parse({ ...direct, [name]: value }))).toContain(` ${name}:`);
      }
    },
  );

  it("10 §4 #2 … #4: checks in this order", () => {
    const bad = { all_stores: 1, all_stores_must_succeed: 1 };
    const named = (name: string) => ({ ...bad, method: { name, checksum: "?" } });
    expect(textOf(() => parse({ ...bad, method: "x" }))).toContain("method:");
    expect(parsing(named("rsync"))).toBe("400 import_method_disabled");
    expect(textOf(() => parse(named("copy-image")))).toContain("all_stores_must_succeed:");
    const better = { ...named("copy-image"), all_stores_must_succeed: true };
    expect(textOf(() => parse(better))).toContain("all_stores:");
    expect(textOf(() => parse({ ...better, all_stores: true }))).toContain("method.checksum:");
  });

  it("10 §3: an inherited method is none", () => {
    expect(parsing(JSON.parse('{"__proto__": {"method": {"name": "glance-direct"}}}'))).toBe(
      "400 invalid_value",
    );
  });
});

describe("method.checksum, ours", () => {
  const checksum = `md5:${"AB".repeat(16)}`;

  it.each(IMPORT_METHODS.filter((name) => name !== "copy-image"))("is taken for %s", (name) => {
    const { expected } = parse({ method: { name, checksum } });
    expect(expected).toEqual({ algorithm: "md5", value: "ab".repeat(16) });
  });

  it("is refused in any other form, and for copy-image in all", () => {
    for (const given of ["md5", "ab".repeat(16), null, 5, [checksum]]) {
      const body = { method: { name: "glance-direct", checksum: given } };
      expect(parsing(body)).toBe("400 invalid_value");
    }
    const copy = { method: { name: "copy-image", checksum } };
    expect(textOf(() => parse(copy))).toContain("a copy is checked by itself; leave it out");
  });
});

describe("bodies from strangers", () => {
  const text = fc.oneof(
    fc.constantFrom("fast", "archive", "http", "os_glance_x", "", imageId, "https://h/x"),
    fc.constantFrom("__proto__", "constructor", "\ud800", "x".repeat(5000)),
    fc.string(),
  );
  const storeId = fc.oneof({ weight: 5, arbitrary: fc.constantFrom("fast", "archive") }, text);
  const odd = fc.oneof({ weight: 3, arbitrary: text }, { weight: 1, arbitrary: fc.jsonValue() });
  const method = fc.record(
    {
      name: fc.oneof({ weight: 9, arbitrary: fc.constantFrom(...IMPORT_METHODS) }, odd),
      uri: odd,
      checksum: fc.oneof({ weight: 4, arbitrary: fc.constant(`md5:${"0".repeat(32)}`) }, odd),
      glance_region: odd,
      glance_image_id: fc.oneof(fc.constant(imageId), odd),
      glance_service_interface: odd,
      ["__proto__"]: odd,
    },
    { requiredKeys: ["name"] },
  );
  const flag = fc.oneof({ weight: 5, arbitrary: fc.boolean() }, odd);
  const near = fc.record(
    {
      method: fc.oneof({ weight: 9, arbitrary: method }, odd),
      stores: fc.oneof({ weight: 5, arbitrary: fc.array(storeId, { maxLength: 4 }) }, odd),
      all_stores: flag,
      all_stores_must_succeed: flag,
    },
    { requiredKeys: ["method"] },
  );
  const body = fc.oneof(
    { weight: 4, arbitrary: near.map((value) => JSON.stringify(value)) },
    { weight: 1, arbitrary: fc.json() },
  );
  const stores = fc.constantFrom(
    ...[ONE_STORE, TWO_BUCKETS].map((list) => new Stores(parseStores(JSON.stringify(list)))),
  );
  const image = fc
    .oneof(fc.constantFrom("queued", "uploading", "active"), fc.constantFrom(...STATUSES))
    .map((status) => anImage({ status, diskFormat: "raw", containerFormat: "bare" }));

  it("IMP-2, 10 §4: a request ends in a 400, a 409 or a plan, in few words", () => {
    let planned = 0;
    fc.assert(
      fc.property(
        body,
        image,
        stores,
        fc.option(storeId, { freq: 1 }),
        (json, of, among, storeHeader) => {
          const value: unknown = JSON.parse(json);
          if (typeof value !== "object" || value === null) return;
          const plan = () =>
            planImport(of, parse(value), {
              stores: among,
              storeHeader,
              authorize: () => {},
              assertUnlocked: () => {},
              checkUri: () => {},
            });
          const ended = outcome(plan);
          expect(ended).toMatch(/^(no fault|4(00|09) \w+)$/);
          expect(textOf(plan).length).toBeLessThan(500);
          if (ended !== "no fault") return;
          planned += 1;
          expect(among.writableIds).toEqual(expect.arrayContaining([...(plan()?.stores ?? [])]));
        },
      ),
      { numRuns: 2000 },
    );
    expect(planned).toBeGreaterThan(5);
  });
});

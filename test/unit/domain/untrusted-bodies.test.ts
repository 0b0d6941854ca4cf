import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { finishCreate, parseCreate } from "../../../src/domain/create.ts";
import { Fault } from "../../../src/domain/fault.ts";
import type { Image } from "../../../src/domain/image.ts";
import { applyPatch, type PatchOptions } from "../../../src/domain/patch.ts";
import { parsePatch } from "../../../src/domain/patch-parse.ts";
import { UNPROTECTED } from "../../../src/domain/property-protection.ts";
import { anImage, asAdmin, asOwner, imageId, limits, schema } from "./builders.ts";

/*
 * Bodies that nobody meant: anything JSON can say, and things close to what is meant, made of the names and
 * values that the rules speak of. They go through JSON text, as on the wire, so that `__proto__` is a key.
 */

const NAMES = [
  ..."id,name,status,visibility,owner,protected,os_hidden,tags,disk_format,container_format".split(
    ",",
  ),
  ..."min_disk,min_ram,size,checksum,os_hash_algo,locations,self,stores,location,os_glance_x".split(
    ",",
  ),
  ..."kernel_id,note,image_id,__proto__,constructor,prototype,toString,hasOwnProperty,,a b".split(
    ",",
  ),
];
const name = fc.oneof(fc.constantFrom(...NAMES), fc.string({ unit: "binary", maxLength: 8 }));
const value = fc.oneof(
  fc.constantFrom("x", "", "public", "community", "shared", "raw", "bare", imageId, "queued", "😀"),
  fc.constantFrom(null, true, false, 0, 1, -1, 1.5, 2 ** 31, [], {}, ["a", "a"], [{ url: "u" }]),
  fc.jsonValue(),
);
const path = fc.oneof(
  name.map((text) => `/${text.replaceAll("~", "~0").replaceAll("/", "~1")}`),
  fc.constantFrom("/", "//", "/a/b", "/locations/-", "/locations/0", "name", "/~", "/~2"),
  fc.string(),
);
const op = fc.constantFrom("add", "replace", "remove", "test", "");
const operation = fc.oneof(
  { weight: 4, arbitrary: fc.record({ op, path, value }, { requiredKeys: ["op", "path"] }) },
  {
    weight: 2,
    arbitrary: fc.tuple(op, path, value).map(([key, at, given]) => ({ [key]: at, value: given })),
  },
  { weight: 1, arbitrary: fc.jsonValue() },
);
const version = fc.constantFrom("v2.0" as const, "v2.1" as const);
const options = fc.constantFrom(asAdmin(), asOwner());

/** As text and back; a record's `__proto__` is written by hand, since JSON.stringify would lose it. */
const createBody = fc.oneof(
  { weight: 1, arbitrary: fc.json().map((text): unknown => JSON.parse(text)) },
  {
    weight: 3,
    arbitrary: fc
      .array(fc.tuple(name, value), { maxLength: 8 })
      .map((fields) =>
        fields.map(([key, given]) => `${JSON.stringify(key)}:${JSON.stringify(given)}`),
      )
      .map((members): unknown => JSON.parse(`{${members.join()}}`)),
  },
);
const patchBody = fc.oneof(
  { weight: 1, arbitrary: fc.json().map((text): unknown => JSON.parse(text)) },
  {
    weight: 3,
    arbitrary: fc
      .array(operation, { maxLength: 6 })
      .map((operations): unknown => JSON.parse(JSON.stringify(operations))),
  },
);

/** The result, or undefined when a Fault ended the call; anything else thrown fails the test. */
function tryOrFault<T>(call: () => T): T | undefined {
  try {
    return call();
  } catch (error) {
    if (error instanceof Fault) {
      expect(error.text.length).toBeLessThan(2000);
      return undefined;
    }
    throw error;
  }
}

function expectSound(image: Image): void {
  expect(new Set(image.tags).size).toBe(image.tags.length);
  expect(image.minDisk).toBeGreaterThanOrEqual(0);
  expect(image.owner).not.toBe("");
  for (const [key, text] of image.properties) {
    expect(NEVER_CUSTOM).not.toContain(key);
    expect(text === null || typeof text === "string").toBe(true);
  }
  // Stored as JSON and read back, nothing is lost and no prototype is set.
  const stored = JSON.parse(JSON.stringify(Object.fromEntries(image.properties)));
  expect(Object.getPrototypeOf(stored)).toBe(Object.prototype);
  expect(new Map(Object.entries(stored))).toEqual(new Map(image.properties));
}

const context = { limits, protection: UNPROTECTED, owner: null, id: imageId, nowMs: 1 };

const NEVER_CUSTOM = NAMES.slice(0, NAMES.indexOf("kernel_id"));

describe("bodies from strangers", () => {
  it("CRE-3, CRE-11: a create ends in a Fault or in a sound image", () => {
    let created = 0;
    fc.assert(
      fc.property(createBody, (body) => {
        const image = tryOrFault(() => finishCreate(parseCreate(body, schema), context));
        if (image === undefined) return;
        created += 1;
        expectSound(image);
      }),
      { numRuns: 1000 },
    );
    expect(created).toBeGreaterThan(50);
  });

  it("PAT-5, PRO-17: a patch ends in a Fault and no change, or in a sound image", () => {
    const image = anImage({ tags: ["t"], properties: new Map([["note", "old"]]) });
    const before = structuredClone(image);
    let patched = 0;
    fc.assert(
      fc.property(version, patchBody, options, (as, body, by: PatchOptions) => {
        const operations = tryOrFault(() => parsePatch(as, body, schema));
        if (operations === undefined) return;
        expect(structuredClone(operations)).toEqual(operations);
        const changed = tryOrFault(() => applyPatch(image, operations, by));
        expect(image).toEqual(before);
        if (changed === undefined) return;
        patched += 1;
        expectSound(changed);
        expect(changed.revision).toBe(image.revision + (operations.length === 0 ? 0 : 1));
        expect(changed.id).toBe(image.id);
        expect(changed.status).toBe(image.status);
      }),
      { numRuns: 1000 },
    );
    expect(patched).toBeGreaterThan(50);
  });

  it("PRO-13: no name reaches a prototype", () => {
    const own = Object.getOwnPropertyNames(Object.prototype);
    fc.assert(
      fc.property(fc.constantFrom(...own), fc.string(), (key, text) => {
        const body = JSON.parse(`{${JSON.stringify(key)}:${JSON.stringify(text)}}`);
        const request = parseCreate(body, schema);
        const image = tryOrFault(() => finishCreate(request, context));
        if (image !== undefined) expect([...image.properties]).toEqual([[key, text]]);
        expect(Object.getOwnPropertyNames(Object.prototype)).toEqual(own);
      }),
    );
  });

  it("PRO-9, PRO-10: what is added and removed again leaves the properties as they were", () => {
    const properties = fc
      .uniqueArray(fc.tuple(name, fc.string()), { selector: ([key]) => key, maxLength: 5 })
      .map((entries) => new Map(entries.filter(([key]) => !NEVER_CUSTOM.includes(key))));
    fc.assert(
      fc.property(properties, fc.string({ minLength: 1, maxLength: 20 }), (given, text) => {
        const key = `new ${text}`;
        fc.pre(!given.has(key));
        const image = anImage({ properties: given });
        const at = `/${key.replaceAll("~", "~0").replaceAll("/", "~1")}`;
        const operations = parsePatch(
          "v2.1",
          [
            { op: "add", path: at, value: text },
            { op: "remove", path: at },
          ],
          schema,
        );
        const changed = tryOrFault(() => applyPatch(image, operations, asOwner()));
        if (changed !== undefined) expect(changed.properties).toEqual(image.properties);
      }),
    );
  });
});

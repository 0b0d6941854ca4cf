import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { Fault } from "../../../../src/domain/fault.ts";
import { findFailure } from "../../../../src/domain/json-schema.ts";
import {
  parseAssociation,
  parseNamespaceChange,
  parseNewNamespace,
  parseObject,
  parseProperty,
  parseTag,
  parseTags,
} from "../../../../src/domain/metadefs/bodies.ts";
import {
  addParts,
  assertNamespaceFits,
  removePart,
  replacePart,
} from "../../../../src/domain/metadefs/changes.ts";
import { NAMESPACE, PROPERTY } from "../../../../src/domain/metadefs/documents.ts";
import { prefixed } from "../../../../src/domain/metadefs/prefix.ts";

/*
 * Bodies that nobody meant: anything JSON can say, and things close to what is meant, made of the words of the
 * schemas. They go through JSON text, as on the wire, so that `__proto__` is a key.
 */

const NOW_MS = 1_700_000_000_000;

const WORDS = [
  ..."namespace,name,title,type,description,display_name,visibility,protected,owner,tags".split(
    ",",
  ),
  ..."objects,properties,required,resource_type_associations,prefix,properties_target".split(","),
  ..."self,schema,created_at,updated_at,default,enum,items,minimum,maxLength,minItems".split(","),
  ..."uniqueItems,operators,confidential,__proto__,constructor,toString,,a/b,a b".split(","),
];
const word = fc.oneof(fc.constantFrom(...WORDS), fc.string({ unit: "binary", maxLength: 6 }));
const scalar = fc.oneof(
  fc.constantFrom("x", "", "public", "string", "array", "/", "..", "é😀", "\ud800", "\0"),
  fc.constantFrom(null, true, false, 0, -1, 1.5, 2 ** 60, [], {}),
);

const { tree } = fc.letrec((tie) => ({
  tree: fc.oneof(
    { depthSize: "small", withCrossShrink: true },
    scalar,
    fc.array(tie("tree"), { maxLength: 3 }),
    fc
      .array(fc.tuple(word, tie("tree")), { maxLength: 6 })
      .map((members) => Object.fromEntries(members)),
  ),
}));

/** Nearly right: what is needed is there, with anything beside it and in it. */
const definition = fc.record(
  {
    title: fc.oneof(fc.constant("T"), scalar),
    type: fc.constantFrom("string", "array"),
    default: tree,
    enum: tree,
    items: tree,
  },
  { requiredKeys: ["title", "type"] },
);
/** A name that can be one, nine times out of ten. */
const name = fc.oneof(
  {
    weight: 9,
    arbitrary: fc.string({ unit: fc.constantFrom(..."abc :"), minLength: 1, maxLength: 6 }),
  },
  word,
);
const named = fc.oneof(
  { weight: 8, arbitrary: fc.record({ name }) },
  fc.record({ name, required: tree, properties: fc.dictionary(word, definition) }),
  tree,
);
const namespace = fc.record(
  {
    namespace: name,
    display_name: fc.oneof(name, scalar),
    visibility: fc.constantFrom("public", "private", "shared"),
    protected: fc.oneof({ weight: 5, arbitrary: fc.boolean() }, scalar),
    properties: fc.dictionary(name, definition, { maxKeys: 3 }),
    objects: fc.array(named, { maxLength: 3 }),
    tags: fc.array(named, { maxLength: 3 }),
    resource_type_associations: fc.array(named, { maxLength: 3 }),
  },
  { requiredKeys: ["namespace"] },
);
const body = fc
  .oneof(tree, namespace, named, definition, fc.jsonValue())
  .map((value): unknown => JSON.parse(JSON.stringify(value)))
  .filter((value): value is object => typeof value === "object" && value !== null);

const PARSERS = {
  namespace: (given: object) => parseNewNamespace(given, "p", NOW_MS),
  "namespace change": (given: object) => parseNamespaceChange(given, "p"),
  property: parseProperty,
  object: (given: object) => parseObject(given, NOW_MS),
  tag: (given: object) => parseTag(given, NOW_MS),
  tags: (given: object) => parseTags(given, NOW_MS),
  association: (given: object) => parseAssociation(given, NOW_MS),
};

describe("any body", () => {
  it.each(Object.entries(PARSERS))(
    "MN-39, MN-40, MN-43, MN-44, MN-45: as %s is taken, or refused with 400 or 403",
    (_, parse) => {
      fc.assert(
        fc.property(body, (given) => {
          const before = JSON.stringify(given);
          try {
            parse(given);
          } catch (error) {
            expect(error).toBeInstanceOf(Fault);
            expect([400, 403]).toContain((error as Fault).status);
          }
          expect(JSON.stringify(given)).toBe(before);
        }),
        { numRuns: 500 },
      );
    },
  );

  it("of a namespace that is taken meets the published schema, and comes back out of JSON the same", () => {
    let taken = 0;
    fc.assert(
      fc.property(namespace, (value) => {
        const given = JSON.parse(JSON.stringify(value));
        try {
          const parsed = parseNewNamespace(given, "p", NOW_MS).namespace;
          taken++;
          expect(
            findFailure({ type: "object", ...NAMESPACE }, given, NAMESPACE.definitions),
          ).toBeUndefined();
          expect(JSON.parse(JSON.stringify(parsed))).toEqual(parsed);
          const { id, revision } = { id: 1, revision: 1 };
          expect(prefixed({ ...parsed, id, revision }, "none").properties).toBe(parsed.properties);
        } catch (error) {
          if (!(error instanceof Fault)) throw error;
        }
      }),
      { numRuns: 1000 },
    );
    expect(taken).toBeGreaterThan(10);
  });

  it("is walked to its bounds and no deeper", () => {
    const deep = JSON.parse(
      `{"namespace": "x", "properties": ${"[".repeat(100_000)}${"]".repeat(100_000)}}`,
    );
    for (const parse of Object.values(PARSERS)) expect(() => parse(deep)).toThrow(Fault);
  });
});

describe("a namespace's parts", () => {
  const { namespace: fresh } = parseNewNamespace({ namespace: "x" }, "p", NOW_MS);
  const empty = { ...fresh, id: 1, revision: 1 };
  const one = fc.constantFrom("a", "b", "c", "__proto__");
  const step = fc.oneof(
    fc.record({ do: fc.constant("add" as const), name: one }),
    fc.record({ do: fc.constant("replace" as const), name: one, to: one }),
    fc.record({ do: fc.constant("remove" as const), name: one }),
  );

  it("MN-47, MP-15, MP-16: are what a map of them would be after any changes", () => {
    const property = (one: string) => ({ name: one, title: one, type: "string" });
    fc.assert(
      fc.property(fc.array(step, { maxLength: 12 }), (steps) => {
        const model = new Set<string>();
        let current = empty;
        for (const one of steps) {
          const has = model.has(one.name);
          const change = () => {
            if (one.do === "add") return addParts(current, "property", [property(one.name)]);
            if (one.do === "remove") return removePart(current, "property", one.name);
            return replacePart(current, "property", one.name, property(one.to));
          };
          const isConflict =
            one.do === "add"
              ? has
              : one.do === "replace" && has && one.to !== one.name && model.has(one.to);
          if (isConflict) expect(change).toThrow(expect.objectContaining({ status: 409 }));
          else if (one.do !== "add" && !has)
            expect(change).toThrow(expect.objectContaining({ status: 404 }));
          else {
            current = change();
            if (one.do !== "add") model.delete(one.name);
            if (one.do !== "remove") model.add(one.do === "add" ? one.name : one.to);
          }
          expect(current.properties.map((item) => item.name).sort()).toEqual([...model].sort());
        }
      }),
    );
  });

  it("come to 256 KiB at the most, in bytes", () => {
    const fits = (text: string) => () =>
      assertNamespaceFits({ ...empty, properties: [{ name: "p", title: text }] });
    expect(fits("é".repeat(130_000))).not.toThrow();
    expect(fits("é".repeat(131_072))).toThrow(expect.objectContaining({ status: 413 }));
  });

  it("are 16 KiB of resource types and 1,000 objects at the most", () => {
    const times = { createdAtMs: NOW_MS, updatedAtMs: NOW_MS };
    const parts = (n: number) => Array.from({ length: n }, (_, i) => ({ name: `n${i}`, ...times }));
    const tooMuch = expect.objectContaining({ status: 413 });
    const fits = (some: object) => () => assertNamespaceFits({ ...empty, ...some });
    expect(fits({ associations: parts(200) })).not.toThrow();
    expect(fits({ associations: parts(250) })).toThrow(tooMuch);
    expect(fits({ objects: parts(1000), tags: parts(1001) })).not.toThrow();
    expect(fits({ objects: parts(1001) })).toThrow(tooMuch);
  });
});

it("MS-3, MP-1: a property names what it lacks and what it may not have", () => {
  const of = (given: object) => () => parseProperty(given);
  expect(of({ name: "p", type: "string" })).toThrow(
    expect.objectContaining({ text: expect.stringContaining("title") }),
  );
  expect(of({ name: "p", title: "t", type: "string", zzz: 1 })).toThrow(
    expect.objectContaining({ text: expect.stringContaining("zzz") }),
  );
  expect(PROPERTY.required).toEqual(["type", "title", "name"]);
});

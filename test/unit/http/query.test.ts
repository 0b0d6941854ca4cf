import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { Fault } from "../../../src/domain/fault.ts";
import { parseImageList } from "../../../src/http/query.ts";
import { decodeQuery } from "../../../src/http/query-string.ts";
import { LIMITS } from "../db/list-fixtures.ts";

const parse = (search: string) => parseImageList(search, LIMITS);
const sortOf = (search: string) =>
  parse(search)
    .sort.map(({ key, direction }) => `${key} ${direction}`)
    .join(", ");
const valuesOf = (search: string, field: "name" | "status" | "owner") =>
  parse(search).filters.oneOf.get(field);

function refuses(search: string, code = "invalid_parameter"): void {
  expect(() => parse(search), search).toThrow(expect.objectContaining({ code, status: 400 }));
}

describe("a query string", () => {
  it("is decoded once, in order, with its repeats", () => {
    expect(decodeQuery("?a=1&b=x+y%2B&a=2&c&=d&&e=f=g")).toEqual([
      ["a", "1"],
      ["b", "x y+"],
      ["a", "2"],
      ["c", ""],
      ["", "d"],
      ["e", "f=g"],
    ]);
    expect(decodeQuery("")).toEqual([]);
    expect(decodeQuery("?")).toEqual([]);
  });

  it("REQ-9: is refused when it is not UTF-8, in a name or a value", () => {
    refuses("?name=%ff", "invalid_encoding");
    refuses("?%c3=x", "invalid_encoding");
  });
});

describe("paging", () => {
  it("PAG-1, LIM-1: asks for 25 by default", () => {
    expect(parse("").limit).toBe(25);
    expect(parse("").marker).toBeUndefined();
  });

  it("PAG-2, PAG-3, LIM-2: takes any whole number from 0, cut down to the maximum", () => {
    expect(parse("?limit=0").limit).toBe(0);
    expect(parse("?limit=+7%20").limit).toBe(7);
    expect(parse("?limit=1001").limit).toBe(1000);
    expect(parse(`?limit=${"9".repeat(400)}`).limit).toBe(1000);
  });

  it("PAG-3: refuses limits that are none", () => {
    for (const limit of ["-1", "abc", "", "1.5", "1e2", "0x1", "1_0", "１"]) {
      refuses(`?limit=${limit}`);
    }
  });

  it("PAG-8: refuses an empty marker", () => {
    refuses("?marker=", "invalid_marker");
  });

  it("PAG-12: the last of a repeated limit, marker or sort counts, and none is a filter", () => {
    const query = parse("?limit=1&limit=2&marker=a&marker=b&sort=name&sort=size");
    expect(query.limit).toBe(2);
    expect(query.marker).toBe("b");
    expect(query.sort[0]?.key).toBe("size");
    expect(query.filters.properties.size).toBe(0);
  });
});

describe("sorting", () => {
  it.each([
    ["SRT-1", "", "createdAtMs desc, id desc"],
    ["SRT-4", "sort_key=name&sort_key=size", "name desc, size desc, createdAtMs desc, id desc"],
    ["SRT-5", "sort_dir=asc", "createdAtMs asc, id asc"],
    [
      "SRT-5",
      "sort_key=name&sort_key=size&sort_dir=asc",
      "name asc, size asc, createdAtMs asc, id asc",
    ],
    [
      "SRT-6",
      "sort_key=name&sort_key=size&sort_dir=asc&sort_dir=desc",
      "name asc, size desc, createdAtMs desc, id desc",
    ],
    ["SRT-7", "sort=name:asc", "name asc, createdAtMs asc, id asc"],
    ["SRT-7", "sort=name,size:", "name desc, size desc, createdAtMs desc, id desc"],
    ["SRT-7", "sort=+name+:+asc+,+id+", "name asc, id desc, createdAtMs desc"],
    ["SRT-9", "sort_key=id&sort_dir=asc", "id asc, createdAtMs asc"],
    ["SRT-9", "sort=created_at:asc,updated_at", "createdAtMs asc, updatedAtMs desc, id desc"],
    ["SRT-2", "sort_key=status", "status desc, createdAtMs desc, id desc"],
    [
      "SRT-2",
      "sort_key=container_format&sort_key=disk_format",
      "containerFormat desc, diskFormat desc, createdAtMs desc, id desc",
    ],
    ["SRT-9", "sort=name:asc,name:desc", "name asc, createdAtMs desc, id desc"],
  ])("%s: '%s' is %s", (_, search, expected) => {
    expect(sortOf(search)).toBe(expected);
  });

  it.each([
    ["SRT-2", "sort_key=min_ram"],
    ["SRT-2", "sort_key=owner"],
    ["SRT-2", "sort_key=visibility"],
    ["SRT-2", "sort_key="],
    ["SRT-2", "sort_key=createdAtMs"],
    ["SRT-3", "sort_dir=ASC"],
    ["SRT-3", "sort_dir="],
    ["SRT-3", "sort=name:up"],
    ["SRT-6", "sort_dir=asc&sort_dir=asc"],
    ["SRT-6", "sort_key=name&sort_key=size&sort_key=id&sort_dir=asc&sort_dir=asc"],
    ["SRT-7", "sort="],
    ["SRT-7", "sort=name,"],
    ["SRT-7", "sort=,name"],
    ["SRT-7", "sort=name:asc:desc"],
    ["SRT-8", "sort=name&sort_key=name"],
    ["SRT-8", "sort=name&sort_dir=asc"],
  ])("%s: refuses '%s'", (_, search) => {
    refuses(search);
  });
});

describe("filters", () => {
  it.each([
    ["FIL-1", "name=a", ["a"]],
    ["FIL-1", "name=eq:a:b", ["a:b"]],
    ["FIL-1", "name=eq:in:b", ["in:b"]],
    ["FIL-1", "name=", [""]],
    ["FIL-2", "name=in:a,b,a", ["a", "b"]],
    ["FIL-2", "name=in:a,,b,", ["a", "b"]],
    ["FIL-2", 'name=in:"a,4",b', ["a,4", "b"]],
    ["FIL-2", 'name=in:"a:b"', ["a:b"]],
    ["FIL-2", 'name=in:"a\\"b",c', ['a\\"b', "c"]],
    ["FIL-2", 'name=in:a\\"b', ['a\\"b']],
    ["FIL-2", 'name=in:"",a', ["", "a"]],
    ["FIL-2", 'name=in:""', [""]],
    ["FIL-2", "name=in: a ,b", [" a ", "b"]],
  ])("%s: %s", (_, search, expected) => {
    expect(valuesOf(search, "name")).toEqual(expected);
  });

  it.each([
    ["FIL-1", "name=neq:a"],
    ["FIL-1", "status=gt:a"],
    ["FIL-1", "id=foo:a"],
    ["FIL-1", "disk_format=:a"],
    ["FIL-1", "container_format=IN:a"],
    ["FIL-2", 'name=in:a"b'],
    ["FIL-2", 'name=in:"a'],
    ["FIL-2", 'name=in:"a"b'],
    ["FIL-2", 'name=in:a"'],
    ["FIL-2", 'name=in:"'],
    ["FIL-2", 'name=in:a, "b"'],
    ["FIL-4", "visibility=secret"],
    ["FIL-4", "visibility=Public"],
    ["FIL-5", "member_status="],
    ["FIL-5", "member_status=maybe"],
    ["FIL-6", "os_hidden="],
    ["FIL-6", "os_hidden=both"],
    ["FIL-7", "protected=True"],
    ["FIL-7", "protected="],
    ["FIL-9", "size_min="],
    ["FIL-9", "size_max=1.5"],
    ["FIL-10", "min_ram_min=x"],
    ["FIL-11", "created_at=after:2015-08-27"],
    ["FIL-11", "created_at=gt:"],
    ["FIL-11", "updated_at="],
    ["FIL-12", "updated_at=2015-08-27T09:49:58+01:00"],
    ["FIL-12", "created_at=gt:200001"],
    ["FIL-18", "changes-since=2015-08-27"],
    ["FIL-18", "changes-since="],
  ])("%s: refuses '%s'", (_, search) => {
    refuses(search);
  });

  it("FIL-2, FIL-4, FIL-15: knows what can match nothing", () => {
    for (const search of ["name=in:", "status=in:,,", "visibility=", "size=x", "min_disk=in:1"]) {
      expect(parse(search).matchesNothing, search).toBe(true);
    }
    expect(parse("name=&owner=").matchesNothing).toBe(false);
  });

  it("FIL-5, FIL-6, FIL-7: has accepted shares, shown images and any protection by default", () => {
    const { visibility, memberStatuses, isHidden, filters } = parse("");
    expect({ visibility, memberStatuses, isHidden, isProtected: filters.isProtected }).toEqual({
      visibility: undefined,
      memberStatuses: ["accepted"],
      isHidden: false,
      isProtected: undefined,
    });
    expect(parse("os_hidden=TRUE").isHidden).toBe(true);
    expect(parse("member_status=all").memberStatuses).toEqual(["pending", "accepted", "rejected"]);
  });

  it("FIL-8: collects tags, without blanks around them and once each", () => {
    expect(parse("tag=a&tag=+b+&tag=a&tag=c%20d").filters.tags).toEqual(["a", "b", "c d"]);
  });

  it("FIL-9, FIL-10: bounds belong to the range", () => {
    expect(parse("size_min=-1&virtual_size_max=9").filters.ranges).toEqual([
      { field: "size", min: -1, max: Number.MAX_SAFE_INTEGER, isOutside: false },
      { field: "virtualSize", min: Number.MIN_SAFE_INTEGER, max: 9, isOutside: false },
    ]);
  });

  it("FIL-13: a time stands for its whole second", () => {
    const second = Date.UTC(2015, 7, 27, 9, 49, 58);
    const rangeOf = (text: string) => parse(`created_at=${text}`).filters.ranges[0];
    expect(rangeOf("2015-08-27T09:49:58Z")).toMatchObject({ min: second, max: second + 999 });
    expect(rangeOf("gt:2015-08-27T09:49:58.5Z")).toMatchObject({ min: second + 1000 });
    expect(rangeOf("lt:2015-08-27T09:49:58.5Z")).toMatchObject({ max: second - 1 });
    expect(rangeOf("neq:2015-08-27T11:49:58%2B02:00")).toMatchObject({
      min: second,
      max: second + 999,
      isOutside: true,
    });
  });

  it("FIL-14, FIL-15: owner and hashes know no operators", () => {
    expect(valuesOf("owner=in:a,b", "owner")).toEqual(["in:a,b"]);
    expect(parse("os_hash_value=eq:x").filters.oneOf.get("osHashValue")).toEqual(["eq:x"]);
  });

  it("FIL-10, FIL-16, FIL-17, FIL-20, FIL-21: any other name is a custom property, the last one sent", () => {
    const names = [
      "foo",
      "foo_min",
      "created_at_min",
      "tags",
      "properties",
      "locations",
      "members",
      "self",
      "__proto__",
      "constructor",
      "",
    ];
    const { filters } = parse(names.map((name) => `${name}=old&${name}=in:a`).join("&"));
    expect([...filters.properties]).toEqual(names.map((name) => [name, "in:a"]));
  });

  it("FIL-19: ignores deleted", () => {
    expect(parse("deleted=true")).toEqual(parse(""));
  });
});

describe("whatever the query string", () => {
  const name = fc.constantFrom(
    ...["limit", "marker", "sort", "sort_key", "sort_dir", "name", "status", "visibility", "tag"],
    ...["member_status", "os_hidden", "protected", "size", "size_min", "created_at", "owner", "x"],
  );
  const value = fc.oneof(
    fc.string(),
    fc.string({ unit: "binary" }),
    fc.stringMatching(/^(in|eq|gt|neq)?:?[",:\\a0-9T+%-]*$/),
    fc.constantFrom("asc", "name:desc", "all", "true", "25", "2015-08-27T09:49:58Z"),
  );
  const search = fc.oneof(
    fc.string({ unit: "binary" }),
    fc.array(fc.tuple(name, value)).map((pairs) => pairs.map((pair) => pair.join("=")).join("&")),
    fc.array(fc.tuple(name, value)).map((pairs) => new URLSearchParams(pairs).toString()),
  );

  it("PAG-3, SRT-2, FIL-1, REQ-9: the parser throws nothing but a 400, and orders by a unique key", () => {
    fc.assert(
      fc.property(search, (text) => {
        try {
          const { limit, sort } = parse(text);
          expect(limit).toBeGreaterThanOrEqual(0);
          expect(limit).toBeLessThanOrEqual(1000);
          expect(sort.map(({ key }) => key)).toContain("id");
        } catch (error) {
          if (!(error instanceof Fault)) throw error;
          expect(error.status).toBe(400);
        }
      }),
      { numRuns: 2000 },
    );
  });
});

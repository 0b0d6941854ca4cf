import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { Fault } from "../../../src/domain/fault.ts";
import { parseTaskList } from "../../../src/http/task-list.ts";
import { id, LIMITS } from "../db/list-fixtures.ts";

const parse = (search: string) => parseTaskList(search, LIMITS);

function refuses(search: string, code = "invalid_parameter"): void {
  expect(() => parse(search), search).toThrow(expect.objectContaining({ code, status: 400 }));
}

describe("the parameters of a list of tasks", () => {
  it("12 §2 List parameters: have defaults", () => {
    expect(parse("")).toEqual({
      limit: 25,
      marker: undefined,
      sortKey: "createdAtMs",
      sortDirection: "desc",
      texts: new Map(),
      times: new Map(),
    });
  });

  it("12 §2 List parameters, limit: is any whole number from 0, cut down to the maximum", () => {
    expect(parse("?limit=0").limit).toBe(0);
    expect(parse("?limit=7").limit).toBe(7);
    expect(parse("?limit=1001").limit).toBe(1000);
    for (const limit of ["-1", "abc", "", "1.5"]) refuses(`?limit=${limit}`);
  });

  it("12 §2 List parameters, marker: looks like a UUID", () => {
    expect(parse(`?marker=${id(1)}`).marker).toBe(id(1));
    for (const marker of ["", "x", `${id(1)}0`, id(1).replaceAll("-", "")]) {
      refuses(`?marker=${marker}`);
    }
  });

  it("12 §2 List parameters, sort_dir: is asc or desc", () => {
    expect(parse("?sort_dir=asc").sortDirection).toBe("asc");
    expect(parse("?sort_dir=desc").sortDirection).toBe("desc");
    for (const direction of ["", "ASC", "up"]) refuses(`?sort_dir=${direction}`);
  });

  it.each([
    ["id", "id"],
    ["type", "type"],
    ["status", "status"],
    ["owner", "owner"],
    ["image_id", "imageId"],
    ["request_id", "requestId"],
    ["user_id", "userId"],
    ["created_at", "createdAtMs"],
    ["updated_at", "updatedAtMs"],
    ["expires_at", "expiresAtMs"],
  ])("12 §2 List parameters, sort_key: may be %s", (name, key) => {
    expect(parse(`?sort_key=${name}`).sortKey).toBe(key);
  });

  it.each(["", "name", "imageId", "createdAtMs", "input", "__proto__", "id,type"])(
    "12 §2 List parameters, sort_key: may not be '%s'",
    (name) => {
      refuses(`?sort_key=${name}`);
    },
  );

  it.each(["pending", "processing", "success", "failure"])(
    "12 §2 List parameters, status: may be %s",
    (status) => {
      expect(parse(`?status=${status}`).texts.get("status")).toBe(status);
    },
  );

  it.each(["import", "api_image_import", "location_import"])(
    "12 §2 List parameters, type: may be %s",
    (type) => {
      expect(parse(`?type=${type}`).texts.get("type")).toBe(type);
    },
  );

  it("12 §2 List parameters, status, type: are refused when there is none like it", () => {
    for (const value of ["", "Pending", "killed", "in:import,pending"]) {
      refuses(`?status=${value}`);
      refuses(`?type=${value}`);
    }
  });

  it("12 §2 List parameters, any other parameter naming a column: is compared as it is", () => {
    const { texts } = parse("?id=in:a&owner=&image_id=I&request_id=req-1&user_id=u");
    expect(Object.fromEntries(texts)).toEqual({
      id: "in:a",
      owner: "",
      imageId: "I",
      requestId: "req-1",
      userId: "u",
    });
  });

  it("12 §2 List parameters, any other parameter naming a column: a time is the second it is shown as", () => {
    const second = Date.UTC(2026, 10, 23, 8, 55, 25);
    const { times } = parse("?created_at=2026-11-23T08:55:25Z&updated_at=2026-11-23T08:55:25.9Z");
    expect(Object.fromEntries(times)).toEqual({ createdAtMs: second, updatedAtMs: second });
    expect(parse("?expires_at=2026-11-23T09:55:25%2B01:00").times.get("expiresAtMs")).toBe(second);
    for (const time of ["", "now", "gt:2026-11-23", "2026-13-01"]) refuses(`?created_at=${time}`);
  });

  it("12 §2 List parameters, names of no column: are ignored", () => {
    expect(parse("?name=x&sort=name:up&Status=x&__proto__=y&input=z&message=&=&tag")).toEqual(
      parse(""),
    );
  });

  it("count as sent last when they are sent twice", () => {
    const { limit, texts } = parse("?limit=x&limit=3&owner=a&owner=b");
    expect(limit).toBe(3);
    expect(texts.get("owner")).toBe("b");
  });

  it("REQ-9: are refused when they are not UTF-8", () => {
    refuses("?owner=%ff", "invalid_encoding");
  });
});

const names = fc.constantFrom(
  ...["limit", "marker", "sort_key", "sort_dir", "status", "type", "id", "owner", "image_id"],
  ...["request_id", "user_id", "created_at", "updated_at", "expires_at", "input", "__proto__"],
);
const values = fc.oneof(
  fc.constantFrom("asc", "id", "created_at", "success", "import", "-0", "25", "9".repeat(30)),
  fc.constantFrom("2026-11-23", "2026-02-30T25:61:61+99:99", "0000-01-01", id(1)),
  fc.string({ unit: "binary" }),
  fc.uuid(),
);

describe("any query string", () => {
  it("12 §2 List parameters: is parsed or refused with a Fault of status 400", () => {
    const pairs = fc.array(fc.tuple(fc.oneof(names, fc.string()), values), { maxLength: 6 });
    const searches = fc.oneof(
      pairs.map((parameters) => new URLSearchParams(parameters).toString()),
      fc.string({ unit: fc.constantFrom(..."%&=+?limtsdr_keyf0123456789") }),
      fc.string({ unit: "binary" }),
    );
    fc.assert(
      fc.property(searches, (search) => {
        try {
          const { limit, times } = parse(search);
          expect(limit).toBeGreaterThanOrEqual(0);
          expect(limit).toBeLessThanOrEqual(1000);
          for (const ms of times.values()) expect(ms % 1000).toBeCloseTo(0);
        } catch (error) {
          if (!(error instanceof Fault)) throw error;
          expect(error.status).toBe(400);
        }
      }),
      { numRuns: 1000 },
    );
  });
});

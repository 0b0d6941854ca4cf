import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { Fault } from "../../../src/domain/fault.ts";
import { requestIdOf } from "../../../src/http/request-id.ts";

const OURS = "req-fresh";

function requestWith(id?: string): Request {
  const headers: Record<string, string> = id === undefined ? {} : { "x-openstack-request-id": id };
  return new Request("http://x/", { headers });
}

describe("requestIdOf", () => {
  it.each([
    [undefined, "req-fresh"],
    ["", "req-fresh"],
    ["mine", "req-mine"],
    ["req-mine", "req-mine"],
    ["  mine  ", "req-mine"],
    ["req-", "req-"],
    ["Req-mine", "req-Req-mine"],
    ["two words", "req-fresh"],
    ['{"a":"b"}', 'req-{"a":"b"}'],
  ])("HDR-1: makes of %j the id %s", (given, id) => {
    expect(requestIdOf(requestWith(given), 0, OURS)).toBe(id);
  });

  it("HDR-1: is always something that a header holds, whatever was sent", () => {
    fc.assert(
      fc.property(fc.string({ unit: "binary" }), (given) => {
        let request: Request;
        try {
          request = requestWith(given);
        } catch {
          return; // No header has such a value.
        }
        const id = requestIdOf(request, 0, OURS);
        expect(id).toMatch(/^req-[\x21-\x7e]*$/);
        expect(new Headers({ "x-openstack-request-id": id }).get("x-openstack-request-id")).toBe(
          id,
        );
      }),
    );
  });
});

describe("the limit of a request id", () => {
  const check = (length: number, maximum: number) =>
    requestIdOf(requestWith("r".repeat(length)), maximum, OURS);

  it("HDR-2: lets an id pass that is as long as the limit", () => {
    expect(() => check(64, 64)).not.toThrow();
    expect(() => requestIdOf(requestWith(), 64, OURS)).not.toThrow();
  });

  it("HDR-2: refuses one that is longer, and names the limit", () => {
    expect(() => check(65, 64)).toThrow(Fault);
    expect(() => check(65, 64)).toThrow(
      expect.objectContaining({ status: 431, detail: { maximum: 64 } }),
    );
  });

  it("HDR-2: knows no limit when that is 0", () => {
    expect(() => check(5000, 0)).not.toThrow();
  });
});

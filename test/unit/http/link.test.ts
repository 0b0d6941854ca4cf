import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { buildLinks } from "../../../src/http/link.ts";
import { decodeQuery } from "../../../src/http/query-string.ts";

describe("the links of a list", () => {
  it("PAG-5: have no question mark where there are no parameters", () => {
    expect(buildLinks("")).toEqual({ first: "/v2/images" });
    expect(buildLinks("?marker=m")).toEqual({ first: "/v2/images" });
    expect(buildLinks("", "i1")).toEqual({ first: "/v2/images", next: "/v2/images?marker=i1" });
  });

  it("PAG-5: replace the marker, and encode blanks and colons", () => {
    expect(buildLinks("?name=in:a%20b&marker=old&status=active", "i1")).toEqual({
      first: "/v2/images?name=in%3Aa+b&status=active",
      next: "/v2/images?name=in%3Aa+b&status=active&marker=i1",
    });
  });

  it("PAG-6: keep every repeated parameter, in order", () => {
    const { next } = buildLinks("?tag=x&sort_key=name&tag=y&sort_key=size&marker=a&marker=b", "i1");
    expect(next).toBe("/v2/images?tag=x&sort_key=name&tag=y&sort_key=size&marker=i1");
  });

  it("PAG-7: keep the limit as it was sent, and name none where none was", () => {
    expect(buildLinks("?limit=5000", "i1").next).toBe("/v2/images?limit=5000&marker=i1");
    expect(buildLinks("?limit=%202%20", "i1").next).toBe("/v2/images?limit=+2+&marker=i1");
  });

  it("say the same as the request, whatever it says", () => {
    const pairs = fc.array(fc.tuple(fc.string({ unit: "binary" }), fc.string({ unit: "binary" })));
    fc.assert(
      fc.property(pairs, fc.uuid(), (parameters, lastId) => {
        const { first, next } = buildLinks(new URLSearchParams(parameters).toString(), lastId);
        const kept = parameters.filter(([name]) => name !== "marker");
        expect(decodeQuery(first.replace("/v2/images", ""))).toEqual(kept);
        expect(decodeQuery(next?.replace("/v2/images", "") ?? "")).toEqual([
          ...kept,
          ["marker", lastId],
        ]);
      }),
    );
  });
});

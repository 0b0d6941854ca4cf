import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { evaluateConditions, strongEtag } from "../../../src/http/conditional.ts";

const ETAG = strongEtag("0a1b2c");
const WHOLE_ONLY = { outcome: "proceed", rangeApplies: false };
const PROCEED = { outcome: "proceed", rangeApplies: true };
const NOT_MODIFIED = { outcome: "not_modified" };
const FAILED = { outcome: "precondition_failed" };

function evaluate(headers: Record<string, string>, etag: string | undefined = ETAG) {
  return evaluateConditions(new Headers(headers), etag);
}

it("DWN-10: sends the hash as a strong entity tag", () => {
  expect(ETAG).toBe('"0a1b2c"');
});

it("DWN-10: proceeds, ranges included, when nothing is asked", () => {
  expect(evaluate({})).toEqual(PROCEED);
});

describe("If-Match (RFC 9110 §13.1.1)", () => {
  it.each([
    ["DWN-10: holds for the same tag", '"0a1b2c"', PROCEED],
    ["DWN-10: holds for any data", "*", PROCEED],
    ["DWN-10: holds when one of several matches", '"x" ,"a,b",, "0a1b2c"', PROCEED],
    ["DWN-10: fails for another tag", '"other"', FAILED],
    ["DWN-10: fails for a weak tag, which proves no equal bytes", 'W/"0a1b2c"', FAILED],
    ["DWN-10: fails for an empty list", "", FAILED],
    ["DWN-10: fails for a tag without quotes", "0a1b2c", FAILED],
    ["DWN-10: fails for a list that is not well-formed", '"0a1b2c" "x"', FAILED],
    ["DWN-10: fails for a star among tags", '*, "0a1b2c"', FAILED],
  ])("%s", (_, header, outcome) => {
    expect(evaluate({ "if-match": header })).toEqual(outcome);
  });

  it("DWN-10: holds for data without a hash only as a star", () => {
    expect(evaluateConditions(new Headers({ "if-match": "*" }), undefined)).toEqual(PROCEED);
    expect(evaluateConditions(new Headers({ "if-match": '"x"' }), undefined)).toEqual(FAILED);
  });
});

describe("If-None-Match (RFC 9110 §13.1.2)", () => {
  it.each([
    ["DWN-10: answers 304 for the same tag", '"0a1b2c"', NOT_MODIFIED],
    ["DWN-10: answers 304 for a weak form of the tag", 'W/"0a1b2c"', NOT_MODIFIED],
    ["DWN-10: answers 304 for any data", "*", NOT_MODIFIED],
    ["DWN-10: answers 304 when one of several matches", ' "x",\tW/"0a1b2c" ,', NOT_MODIFIED],
    ["DWN-10: proceeds for another tag", '"other"', PROCEED],
    ["DWN-10: proceeds for a lower-case weakness mark", 'w/"0a1b2c"', PROCEED],
    ["DWN-10: proceeds for an unfinished tag", '"0a1b2c', PROCEED],
    ["DWN-10: proceeds for a list that is not well-formed", '"0a1b2c", x', PROCEED],
  ])("%s", (_, header, outcome) => {
    expect(evaluate({ "if-none-match": header })).toEqual(outcome);
  });

  it("DWN-10: is looked at after If-Match", () => {
    expect(evaluate({ "if-match": '"x"', "if-none-match": "*" })).toEqual(FAILED);
    expect(evaluate({ "if-match": ETAG, "if-none-match": ETAG })).toEqual(NOT_MODIFIED);
  });
});

describe("If-Range (RFC 9110 §13.1.5)", () => {
  it.each([
    ["DWN-10: lets the range apply for the same tag", '"0a1b2c"', PROCEED],
    ["DWN-10: sends the whole for another tag", '"other"', WHOLE_ONLY],
    ["DWN-10: sends the whole for a weak tag", 'W/"0a1b2c"', WHOLE_ONLY],
    ["DWN-10: sends the whole for a list", '"0a1b2c", "x"', WHOLE_ONLY],
    ["DWN-10: sends the whole for a date", "Sat, 29 Oct 2022 19:43:31 GMT", WHOLE_ONLY],
    ["DWN-10: sends the whole for a star, which is no validator here", "*", WHOLE_ONLY],
  ])("%s", (_, header, outcome) => {
    expect(evaluate({ range: "bytes=0-1", "if-range": header })).toEqual(outcome);
  });

  it("DWN-10: sends the whole of data without a hash", () => {
    expect(evaluateConditions(new Headers({ "if-range": '"x"' }), undefined)).toEqual(WHOLE_ONLY);
  });
});

it("DWN-10: ignores dates, as the data carries none", () => {
  const date = "Sat, 29 Oct 1994 19:43:31 GMT";
  expect(evaluate({ "if-modified-since": date, "if-unmodified-since": date })).toEqual(PROCEED);
});

describe("any headers", () => {
  const pieces = ['"', "W/", ",", " ", "*", '"0a1b2c"', "x", "\t"];
  const value = fc.oneof(
    fc.array(fc.constantFrom(...pieces), { maxLength: 8 }).map((parts) => parts.join("")),
    fc.string({ unit: "grapheme-ascii" }),
  );

  it("DWN-10: never make the evaluation fail", () => {
    const headers = fc.record({ "if-match": value, "if-none-match": value, "if-range": value });
    fc.assert(
      fc.property(headers, fc.option(fc.constant(ETAG), { nil: undefined }), (given, etag) => {
        const { outcome } = evaluateConditions(new Headers(given), etag);
        expect(["proceed", "not_modified", "precondition_failed"]).toContain(outcome);
      }),
    );
  });

  it("DWN-10: match exactly when the tag is among those listed", () => {
    const opaque = fc.stringMatching(/^[!#-~]{0,6}$/);
    const listed = fc.array(fc.tuple(fc.boolean(), opaque), { maxLength: 5 });
    fc.assert(
      fc.property(listed, opaque, (tags, hash) => {
        const header = tags.map(([isWeak, tag]) => `${isWeak ? "W/" : ""}"${tag}"`).join(" , ");
        const etag = strongEtag(hash);
        const isListed = tags.some(([, tag]) => tag === hash);
        const isListedStrongly = tags.some(([isWeak, tag]) => !isWeak && tag === hash);
        expect(evaluate({ "if-none-match": header }, etag)).toEqual(
          isListed ? NOT_MODIFIED : PROCEED,
        );
        expect(evaluate({ "if-match": header }, etag)).toEqual(isListedStrongly ? PROCEED : FAILED);
      }),
    );
  });

  it("DWN-10: cost no time, however many blanks they have", () => {
    const startedAtMs = performance.now();
    expect(evaluate({ "if-none-match": `"x"${" ".repeat(100_000)}x` })).toEqual(PROCEED);
    expect(performance.now() - startedAtMs).toBeLessThan(500);
  });
});

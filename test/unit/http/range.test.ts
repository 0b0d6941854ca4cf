import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { Fault } from "../../../src/domain/fault.ts";
import { formatContentRange, parseRange } from "../../../src/http/range.ts";

const SIZE = 10;

/** What an answer would say: its Content-Range, "whole", or the fault's code. */
function answerTo(headers: Record<string, string>, size = SIZE): string {
  try {
    const selection = parseRange(new Headers(headers), size);
    if (selection.kind === "whole") return "whole";
    return formatContentRange(selection.offset, selection.length, size);
  } catch (error) {
    if (error instanceof Fault) return error.code;
    throw error;
  }
}

describe("Range", () => {
  it("DWN-1: gives the whole data when no range is asked for", () => {
    expect(answerTo({})).toBe("whole");
  });

  it.each([
    ["RNG-1: gives a range within the data", "bytes=0-4", "bytes 0-4/10"],
    ["RNG-2: reads an open end as the data's end", "bytes=5-", "bytes 5-9/10"],
    ["RNG-3: answers a range from the start on as a part", "bytes=0-", "bytes 0-9/10"],
    ["RNG-4: reads a suffix from the end", "bytes=-3", "bytes 7-9/10"],
    ["RNG-5: gives everything for a suffix of the data's length", "bytes=-10", "bytes 0-9/10"],
    ["RNG-5: gives everything for a suffix one longer", "bytes=-11", "bytes 0-9/10"],
    ["RNG-5: gives everything for a suffix far longer", "bytes=-100", "bytes 0-9/10"],
    ["RNG-6: refuses a suffix of no bytes", "bytes=-0", "range_not_satisfiable"],
    ["RNG-7: cuts an end past the last byte", "bytes=9-20", "bytes 9-9/10"],
    ["RNG-7: cuts an end beyond what numbers hold", `bytes=1-${"9".repeat(400)}`, "bytes 1-9/10"],
    ["RNG-8: refuses a start past the last byte", "bytes=10-", "range_not_satisfiable"],
    ["RNG-8: refuses a range past the last byte", "bytes=10-12", "range_not_satisfiable"],
    ["RNG-9: refuses an end before the start", "bytes=5-2", "range_not_satisfiable"],
    ["RNG-9: refuses letters", "bytes=a-b", "range_not_satisfiable"],
    ["RNG-9: refuses a unit without a range", "bytes=", "range_not_satisfiable"],
    ["RNG-9: refuses another unit", "foo=0-1", "range_not_satisfiable"],
    ["RNG-9: refuses a range without a unit", "0-4", "range_not_satisfiable"],
    ["RNG-9: refuses an empty value", "", "range_not_satisfiable"],
    ["RNG-9: refuses what follows the range", "bytes=0-4x", "range_not_satisfiable"],
    ["RNG-10: refuses several ranges with 400", "bytes=0-1,3-4", "multiple_ranges"],
    ["RNG-10: refuses a trailing comma with 400", "bytes=0-4,", "multiple_ranges"],
    ["RNG-10: refuses a comma anywhere with 400", "foo,bar", "multiple_ranges"],
    ["RNG-11: accepts the unit in capitals", "BYTES=0-4", "bytes 0-4/10"],
    ["RNG-11: accepts blanks around numbers", "bytes = 0 - 4 ", "bytes 0-4/10"],
    ["RNG-11: accepts blanks around a suffix", "bytes= - 4", "bytes 6-9/10"],
    ["RNG-12: refuses a range without numbers", "bytes=-", "range_not_satisfiable"],
  ])("%s", (_, range, answer) => {
    expect(answerTo({ range })).toBe(answer);
  });

  it("RNG-8: tells the data's size for the answer's Content-Range", () => {
    const refuse = () => parseRange(new Headers({ range: "bytes=10-" }), SIZE);
    expect(refuse).toThrow(expect.objectContaining({ status: 416, detail: { size: SIZE } }));
  });

  it("RNG-10: refuses two Range headers as several ranges", () => {
    const headers = new Headers([
      ["range", "bytes=0-1"],
      ["range", "bytes=3-4"],
    ]);
    expect(() => parseRange(headers, SIZE)).toThrow(expect.objectContaining({ status: 400 }));
  });

  it("RNG-8: refuses any range from a first byte on of empty data", () => {
    expect(answerTo({ range: "bytes=0-" }, 0)).toBe("range_not_satisfiable");
    expect(answerTo({ range: "bytes=0-0" }, 0)).toBe("range_not_satisfiable");
  });

  it("RNG-5: gives the whole of empty data for a suffix, as no Content-Range could name it", () => {
    expect(answerTo({ range: "bytes=-5" }, 0)).toBe("whole");
    expect(answerTo({ range: "bytes=-0" }, 0)).toBe("range_not_satisfiable");
  });

  it("RNG-9: spends no time on a header of blanks", () => {
    const range = `bytes=${" ".repeat(100_000)}x`;
    const startedAtMs = performance.now();
    expect(answerTo({ range })).toBe("range_not_satisfiable");
    expect(performance.now() - startedAtMs).toBeLessThan(500);
  });
});

describe("Content-Range in a request", () => {
  it.each([
    ["RNG-14: gives the range named", "bytes 0-4/10", "bytes 0-4/10"],
    ["RNG-14: gives the range named without a total", "bytes 0-4/*", "bytes 0-4/10"],
    ["RNG-15: refuses an end past its own total", "bytes 3-16/10", "range_not_satisfiable"],
    ["RNG-15: refuses a start at its own total", "bytes 10-10/10", "range_not_satisfiable"],
    ["RNG-15: refuses an end before the start", "bytes 5-2/10", "range_not_satisfiable"],
    ["RNG-15: refuses what is no range", "foo", "range_not_satisfiable"],
    ["RNG-15: refuses an empty value", "", "range_not_satisfiable"],
    ["RNG-15: refuses a range without a total", "bytes 0-4", "range_not_satisfiable"],
    ["RNG-15: refuses the form of Range", "bytes=0-4", "range_not_satisfiable"],
    ["RNG-16: refuses an end past the data", "bytes 3-16/*", "range_not_satisfiable"],
    ["RNG-16: refuses a start past the data", "bytes 10-12/*", "range_not_satisfiable"],
    ["RNG-17: gives what lies within the data for a larger total", "bytes 0-9/20", "bytes 0-9/10"],
    ["RNG-17: gives what lies within a smaller total", "bytes 0-4/5", "bytes 0-4/10"],
    ["RNG-17: refuses a range that leaves the data", "bytes 5-15/20", "range_not_satisfiable"],
    ["RNG-18: refuses a total without a range", "bytes */10", "range_not_satisfiable"],
  ])("%s", (_, contentRange, answer) => {
    expect(answerTo({ "content-range": contentRange })).toBe(answer);
  });

  it("RNG-14: gives way to Range", () => {
    expect(answerTo({ range: "bytes=1-2", "content-range": "bytes 0-4/10" })).toBe("bytes 1-2/10");
    expect(answerTo({ range: "foo", "content-range": "bytes 0-4/10" })).toBe(
      "range_not_satisfiable",
    );
  });
});

describe("any header", () => {
  const size = fc.oneof(fc.integer({ min: 0, max: 20 }), fc.maxSafeNat());
  const pieces = [
    "bytes",
    "BYTES",
    "=",
    "-",
    " ",
    "\t",
    "/",
    "*",
    "0",
    "5",
    "10",
    "99999999999999999999",
  ];
  const headerText = fc.oneof(
    fc.array(fc.constantFrom(...pieces), { maxLength: 10 }).map((parts) => parts.join("")),
    fc.string({ unit: "grapheme-ascii" }),
  );

  it("RNG-9, RNG-15: is answered or refused with a Fault, and never leaves the data", () => {
    const name = fc.constantFrom("range", "content-range");
    fc.assert(
      fc.property(name, headerText, size, (header, value, bytes) => {
        try {
          const selection = parseRange(new Headers({ [header]: value }), bytes);
          if (selection.kind === "whole") return;
          expect(selection.offset).toBeGreaterThanOrEqual(0);
          expect(selection.length).toBeGreaterThanOrEqual(1);
          expect(selection.offset + selection.length).toBeLessThanOrEqual(bytes);
        } catch (error) {
          expect(error).toBeInstanceOf(Fault);
        }
      }),
    );
  });

  it("RNG-1, RNG-7, RNG-8: selects the bytes that a list of positions would", () => {
    const position = fc.integer({ min: 0, max: 25 });
    fc.assert(
      fc.property(position, fc.option(position), fc.integer({ min: 0, max: 20 }), (a, b, bytes) => {
        const positions = Array.from({ length: bytes }, (_, i) => i);
        const wanted = positions.filter((i) => i >= a && i <= (b ?? bytes));
        const expected =
          wanted.length === 0
            ? "range_not_satisfiable"
            : `bytes ${wanted[0]}-${wanted.at(-1)}/${bytes}`;
        expect(answerTo({ range: `bytes=${a}-${b ?? ""}` }, bytes)).toBe(expected);
      }),
    );
  });
});

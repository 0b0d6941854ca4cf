import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { formatTime, parseTime } from "../../../src/lib/time.ts";

describe("times", () => {
  it("TIM-1: are shown in UTC and whole seconds", () => {
    expect(formatTime(Date.UTC(2015, 7, 27, 9, 49, 58, 999))).toBe("2015-08-27T09:49:58Z");
    expect(formatTime(-1)).toBe("1969-12-31T23:59:59Z");
  });

  it.each([
    "2015-08-27T09:49:58Z",
    "2015-08-27T09:49:58",
    "2015-08-27 09:49:58",
    "2015-08-27T09:49:58.000Z",
    "2015-08-27T09:49:58,0Z",
    "2015-08-27T11:49:58+02:00",
    "2015-08-27T11:49:58+0200",
    "2015-08-27T11:49:58+02",
    "2015-08-26T23:19:58-10:30",
    "20150827T094958Z",
    "20150827T094958",
  ])("FIL-12: %s is a time", (text) => {
    expect(parseTime(text)).toBe(Date.UTC(2015, 7, 27, 9, 49, 58));
  });

  it("FIL-12: a date alone is its midnight, and parts of a second count", () => {
    expect(parseTime("2015-08-27")).toBe(Date.UTC(2015, 7, 27));
    expect(parseTime("20150827")).toBe(Date.UTC(2015, 7, 27));
    expect(parseTime("2015-08-27T09:49")).toBe(Date.UTC(2015, 7, 27, 9, 49));
    expect(parseTime("2015-08-27T09:49:58.1239Z")).toBe(Date.UTC(2015, 7, 27, 9, 49, 58, 123));
    expect(parseTime("2016-02-29")).toBe(Date.UTC(2016, 1, 29));
  });

  it("FIL-12: leading zeros may be missing behind a dash, and so may a month, a day", () => {
    expect(parseTime("2000-1-1")).toBe(Date.UTC(2000, 0, 1));
    expect(parseTime("2000-1-1T02:03:4+01:00")).toBe(Date.UTC(2000, 0, 1, 1, 3, 4));
    expect(parseTime("2000-12-1 02")).toBe(Date.UTC(2000, 11, 1, 2));
    expect(parseTime("2000-2")).toBe(Date.UTC(2000, 1, 1));
    expect(parseTime("2000-02")).toBe(Date.UTC(2000, 1, 1));
    expect(parseTime("2000")).toBe(Date.UTC(2000, 0, 1));
  });

  it.each([
    "",
    "now",
    "201",
    "200001",
    "2015-0",
    "2015-1-0",
    "2015-08T09:49",
    "2015T09:49",
    "2000/1/1",
    "2015-13-01",
    "2015-02-29",
    "2015-08-32",
    "2015-08-27T24:00:00",
    "2015-08-27T09:60:00",
    "2015-08-27T09:49:60",
    "2015-08-27T",
    "2015-08-27Z",
    "2015-08-27T09:49:58 02:00",
    "2015-08-27T09:49:58+25:00",
    "2015-08-27T09:49:58+02:60",
    "2015-08-27T09:49:58Zulu",
    "1440668998",
  ])("FIL-12: %j is no time", (text) => {
    expect(parseTime(text)).toBeUndefined();
  });

  it("reads what it shows", () => {
    const seconds = fc.integer({ min: -62_135_596_800, max: 253_402_300_799 });
    fc.assert(
      fc.property(seconds, (second) => {
        expect(parseTime(formatTime(second * 1000))).toBe(second * 1000);
      }),
    );
  });
});

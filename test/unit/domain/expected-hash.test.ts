import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { parseExpectedHash } from "../../../src/domain/expected-hash.ts";
import { outcome, textOf } from "./builders.ts";

const LENGTHS = { sha512: 128, sha384: 96, sha256: 64, sha1: 40, md5: 32 };

const parse = (given: unknown) => parseExpectedHash("method.checksum", given);

describe("parseExpectedHash", () => {
  it.each(Object.entries(LENGTHS))(
    "takes a %s of %i hex digits, in either case",
    (name, length) => {
      const value = "0aF9".repeat(length / 4);
      expect(parse(`${name}:${value}`)).toEqual({ algorithm: name, value: value.toLowerCase() });
    },
  );

  it.each(Object.entries(LENGTHS))("refuses a %s of other than %i hex digits", (name, length) => {
    for (const digits of [0, 1, length - 1, length + 1, 2 * length]) {
      expect(outcome(() => parse(`${name}:${"a".repeat(digits)}`))).toBe("400 invalid_value");
    }
  });

  const hex = "a".repeat(32);
  it.each([
    ...[hex, `:${hex}`, `md5${hex}`, `md5=${hex}`, `md5:${hex} `, ` md5:${hex}`, `md5: ${hex}`],
    ...[`MD5:${hex}`, `md4:${hex}`, `crc32:${"a".repeat(8)}`, `md5:${"g".repeat(32)}`, "md5:", ""],
    ...[`md5:0x${"a".repeat(30)}`, `md5:${hex}\n`, "constructor:a", `__proto__:${hex}`],
  ])("refuses %j", (given) => {
    expect(outcome(() => parse(given))).toBe("400 invalid_value");
  });

  it.each([[null], [1], [true], [[`md5:${hex}`]], [{ md5: hex }], [undefined]])(
    "refuses %j",
    (given) => {
      expect(outcome(() => parse(given))).toBe("400 invalid_value");
    },
  );

  it("says which forms there are, and for which field", () => {
    expect(textOf(() => parse("?"))).toBe(
      "Invalid value for method.checksum: it must be <algorithm>:<hex>, where the algorithm is " +
        "one of sha512 (128 digits), sha384 (96 digits), sha256 (64 digits), sha1 (40 digits), " +
        "md5 (32 digits)",
    );
  });

  it("ends in a Fault or in the hash that was given", () => {
    const near = fc
      .tuple(fc.constantFrom(...Object.keys(LENGTHS), "toString"), fc.constantFrom(":", "=", ""))
      .chain(([name, mark]) =>
        fc
          .string({ unit: fc.constantFrom(..."0123456789abcdefABCDEF"), maxLength: 130 })
          .map((digits) => `${name}${mark}${digits}`),
      );
    fc.assert(
      fc.property(fc.oneof(near, fc.string(), fc.jsonValue()), (given) => {
        if (outcome(() => parse(given)) !== "no fault") return;
        const { algorithm, value } = parse(given);
        expect(`${algorithm}:${value}`).toBe(String(given).toLowerCase());
        expect(value).toHaveLength(LENGTHS[algorithm]);
      }),
    );
  });
});

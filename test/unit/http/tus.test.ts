import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { Fault } from "../../../src/domain/fault.ts";
import {
  assertTusVersion,
  describeTus,
  parseChecksum,
  parseCreation,
  parseOffset,
  readCount,
  speaksTus,
  withMeantMethod,
} from "../../../src/http/tus.ts";

/** Text that a header can have, often with the pieces that mean something. */
const pieces = fc.constantFrom(
  ...[
    "final;",
    "partial",
    "1",
    "0",
    "-1",
    " ",
    ",",
    ";",
    "=",
    "==",
    "QQ==",
    "sha1",
    "md5",
    "a",
    "/",
  ],
);
const anything = fc.string({ unit: fc.integer({ min: 1, max: 255 }).map(String.fromCharCode) });
const text = fc
  .oneof(
    anything,
    fc.array(fc.oneof(pieces, fc.string()), { maxLength: 8 }).map((all) => all.join("")),
  )
  .map((value) => value.replace(/[^\x20-\x7e]/g, ""));
const headersWith = (...names: readonly string[]) =>
  fc
    .record(Object.fromEntries(names.map((name) => [name, text])), { requiredKeys: [] })
    .map((fields) => new Headers(fields as Record<string, string>));

/** What is thrown is the caller's to read. */
function codeOf(parse: () => unknown): string | undefined {
  try {
    parse();
    return undefined;
  } catch (error) {
    if (!(error instanceof Fault)) throw error;
    return error.code;
  }
}

describe("headers of tus, whatever they are,", () => {
  it("are read, or are an invalid value", () => {
    const creation = ["Upload-Length", "Upload-Defer-Length", "Upload-Concat", "Upload-Metadata"];
    const all = [...creation, "Upload-Offset", "Upload-Checksum"];
    fc.assert(
      fc.property(headersWith(...all), (headers) => {
        for (const parse of [
          () => parseCreation(headers),
          () => parseOffset(headers),
          () => parseChecksum(headers),
          () => readCount(headers, "Upload-Length"),
        ]) {
          expect([undefined, "invalid_value"]).toContain(codeOf(parse));
        }
      }),
      { numRuns: 1_000 },
    );
  });

  it("are of this version, or of an unknown one", () => {
    fc.assert(
      fc.property(headersWith("Tus-Resumable"), (headers) => {
        const isKnown = headers.get("tus-resumable") === "1.0.0";
        expect(codeOf(() => assertTusVersion(headers))).toBe(
          isKnown ? undefined : "tus_version_unknown",
        );
      }),
    );
    expect(codeOf(() => assertTusVersion(new Headers({ "tus-resumable": "1.0.0" })))).toBe(
      undefined,
    );
  });

  it("mean a method that is known, or none", () => {
    fc.assert(
      fc.property(headersWith("X-HTTP-Method-Override"), (headers) => {
        const request = new Request("http://x.test/", { method: "POST", headers, body: "x" });
        expect([undefined, "unknown_method"]).toContain(codeOf(() => withMeantMethod(request)));
      }),
    );
  });
});

describe("a count of bytes", () => {
  it("is any safe integer that is not negative", () => {
    fc.assert(
      fc.property(fc.maxSafeNat(), (count) => {
        expect(readCount(new Headers({ n: String(count) }), "n")).toBe(count);
      }),
    );
    expect(readCount(new Headers(), "n")).toBeUndefined();
    for (const value of ["9007199254740992", "00000000000000000", "+1", "1 1"]) {
      expect(codeOf(() => readCount(new Headers({ n: value }), "n"))).toBe("invalid_value");
    }
  });
});

describe("metadata", () => {
  const key = fc.string({
    unit: fc
      .integer({ min: 33, max: 126 })
      .filter((code) => code !== 44)
      .map((code) => String.fromCharCode(code)),
    minLength: 1,
    maxLength: 20,
  });
  const encode = (value: string) => btoa(String.fromCharCode(...new TextEncoder().encode(value)));

  it("comes back as it was put together", () => {
    const pairs = fc.uniqueArray(fc.tuple(key, fc.string({ unit: "grapheme", maxLength: 20 })), {
      selector: ([name]) => name,
      minLength: 1,
      maxLength: 10,
    });
    fc.assert(
      fc.property(pairs, (given) => {
        // Text that begins with a mark of its byte order loses that.
        const kept = given.filter(([, value]) => !value.startsWith("\ufeff"));
        fc.pre(kept.length > 0);
        const header = kept
          .map(([name, value]) => (value === "" ? name : `${name} ${encode(value)}`))
          .join(",");
        const headers = new Headers({ "upload-length": "1", "upload-metadata": header });
        const { fields, metadata } = parseCreation(headers);
        expect(metadata).toBe(header);
        expect([...fields]).toEqual(kept.map(([name, value]) => [name, value.toWellFormed()]));
      }),
    );
  });

  it("has 4,096 characters at most, which may be nothing that a header cannot carry", () => {
    const long = `a ${"A".repeat(4_092)}`;
    expect(codeOf(() => creationWith(long))).toBe(undefined);
    expect(codeOf(() => creationWith(`${long.replace("a ", "aaaaa ")}`))).toBe("invalid_value");
  });

  const creationWith = (metadata: string) =>
    parseCreation(new Headers({ "upload-length": "1", "upload-metadata": metadata }));
});

describe("a checksum", () => {
  it("is read by any algorithm that is announced, in its length only", () => {
    const algorithms = describeTus(1)["tus-checksum-algorithm"]?.split(",") ?? [];
    expect(algorithms).toContain("sha1");
    const bytesOf: Readonly<Record<string, number>> = {
      ...{ md5: 16, sha1: 20, sha256: 32, sha384: 48, sha512: 64 },
    };
    for (const name of algorithms) {
      for (const size of [0, 15, 16, 20, 32, 48, 64, 65]) {
        const digest = btoa("\xab".repeat(size));
        const headers = new Headers({ "upload-checksum": `${name} ${digest}` });
        const isRight = size === bytesOf[name];
        expect(codeOf(() => parseChecksum(headers))).toBe(isRight ? undefined : "invalid_value");
        if (!isRight) continue;
        expect(parseChecksum(headers)).toEqual({ algorithm: name, value: "ab".repeat(size) });
      }
    }
  });
});

describe("the parts of a final upload", () => {
  it("are up to 64 addresses, and the header stays as it was", () => {
    const concatOf = (count: number) =>
      `final;${Array.from({ length: count }, (_, n) => `/files/${n}`).join(" ")}`;
    const parse = (concat: string) =>
      parseCreation(new Headers({ "upload-concat": concat })).concat;
    expect(parse(concatOf(64))).toMatchObject({ given: concatOf(64) });
    expect(codeOf(() => parse(concatOf(65)))).toBe("invalid_value");
    expect(parse("final; a  b ")).toEqual({ parts: ["a", "b"], given: "final; a  b" });
  });
});

describe("the paths of tus", () => {
  it.each([
    ["/v2/images/x/uploads", true],
    ["/v2/images/x/uploads/y", true],
    ["/v2/images/x/uploads/", true],
    ["/prefix/v2/images/x/uploads/y", true],
    ["/v2/images/x/file", false],
    ["/v2/images/x/uploads/y/z", false],
    ["/v2/images/uploads", false],
    ["/v2/images/x/uploads2", false],
  ])("%s: %s", (path, speaks) => {
    expect(speaksTus(path)).toBe(speaks);
  });
});

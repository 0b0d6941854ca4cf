import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { Fault } from "../../../src/domain/fault.ts";
import { parseContentDigests } from "../../../src/http/content-digest.ts";

// Of the empty text.
const SHA256 = "47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=";
const SHA256_HEX = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
const SHA512 =
  "z4PhNX7vuL3xVChQ1m2AB9Yg5AULVxXcg/SpIdNs6c5H0NE8XYXysP+DGNKHfuwvY7kxvUdBeoGlODJ6+SfaPg==";
const MD5 = "1B2M2Y8AsgTpgAmY7PhCfg==";
const MD5_HEX = "d41d8cd98f00b204e9800998ecf8427e";

const sha256 = { algorithm: "sha256", value: SHA256_HEX };
const sha512 = { algorithm: "sha512", value: expect.stringMatching(/^cf83e1357eefb8bd/) };

function parse(name: string, field: string) {
  return parseContentDigests(new Headers({ [name]: field }));
}

function refusal(name: string, field: string): string {
  try {
    return `accepted: ${JSON.stringify(parse(name, field))}`;
  } catch (error) {
    if (!(error instanceof Fault)) throw error;
    return `${error.status} ${error.text}`;
  }
}

describe.each(["Content-Digest", "Repr-Digest"])("%s (RFC 9530)", (name) => {
  it.each([
    ["a digest", `sha-256=:${SHA256}:`, [sha256]],
    ["one of 512 bits", `sha-512=:${SHA512}:`, [sha512]],
    ["several", `sha-256=:${SHA256}:,sha-512=:${SHA512}:`, [sha256, sha512]],
    ["space between them", `  sha-256=:${SHA256}: ,\t sha-512=:${SHA512}: `, [sha256, sha512]],
    ["others beside it", `md5=:${MD5}:, sha-256=:${SHA256}:, id-x="a,b;c\\"", n=1, t`, [sha256]],
    ["parameters, which mean nothing", `sha-256=:${SHA256}:;a=1;b, sha=:AAAA:;c=?0`, [sha256]],
    ["the last of two", `sha-256=:AAAA:, sha-256=:${SHA256}:`, [sha256]],
  ])("takes %s", (_, field, expected) => {
    expect(parse(name, field)).toEqual(expected);
  });

  it.each([
    ["nothing", ""],
    ["no list", "hello world"],
    ["a comma behind the last", `sha-256=:${SHA256}:,`],
    ["a comma without a member", `sha-256=:${SHA256}:,,sha-512=:${SHA512}:`],
    ["a digest in hex", `sha-256=${SHA256_HEX}`],
    ["a digest without colons", `sha-256=${SHA256}`],
    ["a digest in quotes", `sha-256="${SHA256}"`],
    ["a digest with one colon", `sha-256=:${SHA256}`],
    ["a digest without padding", `sha-256=:${SHA256.slice(0, -1)}:`],
    ["a digest that is too short", "sha-256=:AAAA:"],
    ["a digest of the other length", `sha-512=:${SHA256}:`],
    ["Base64 for addresses", `sha-256=:${SHA256.replace("+", "-").replace("/", "_")}:`],
    ["a key in capitals", `SHA-256=:${SHA256}:`],
    ["a key alone", "sha-256"],
    ["a field without end", `sha-256=:${SHA256}:, ${"a".repeat(3000)}`],
  ])("refuses %s", (_, field) => {
    expect(refusal(name, field)).toMatch(new RegExp(`^400 Invalid value for ${name}: `));
  });

  it("says which algorithms there are to one who gives only others", () => {
    expect(refusal(name, `md5=:${MD5}:`)).toBe(
      `400 Invalid value for ${name}: of the algorithms only sha-256 and sha-512 are checked, and none of them is given`,
    );
  });

  it("takes any bytes of the right number, and refuses those of any other", () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 70 }), (bytes) => {
        const field = `sha-256=:${btoa(String.fromCharCode(...bytes))}:`;
        if (bytes.length === 32) expect(parse(name, field)).toHaveLength(1);
        else expect(refusal(name, field)).toMatch(/^400 /);
      }),
    );
  });

  it("refuses whatever else, and never for long", () => {
    const piece = fc.constantFrom(...'sha-256=,:;"\\ \t?', "sha-256=:", ":,", SHA256, ";;;;", "é");
    fc.assert(
      fc.property(fc.array(piece, { maxLength: 400 }), (pieces) => {
        const headers = new Map([[name, pieces.join("")]]);
        const fake = { get: (wanted: string) => headers.get(wanted) ?? null } as unknown as Headers;
        try {
          for (const { algorithm, value } of parseContentDigests(fake)) {
            expect(value).toHaveLength({ sha256: 64, sha512: 128 }[algorithm as "sha256"]);
          }
        } catch (error) {
          expect(error).toMatchObject({ code: "invalid_value" });
        }
      }),
    );
  });
});

describe("Content-MD5 (RFC 1864)", () => {
  it.each([
    ["in Base64", MD5],
    ["in hex, as downloads have it", MD5_HEX],
    ["in hex of capitals", MD5_HEX.toUpperCase()],
  ])("takes a digest %s", (_, field) => {
    expect(parse("Content-MD5", field)).toEqual([{ algorithm: "md5", value: MD5_HEX }]);
  });

  it.each(["", "x", "AAAA", SHA256, `${MD5_HEX}0`, `:${MD5}:`, MD5.slice(0, -1)])(
    "refuses %j",
    (field) => {
      expect(refusal("Content-MD5", field)).toBe(
        "400 Invalid value for Content-MD5: it is not an MD5 digest in Base64",
      );
    },
  );
});

it("expects nothing of a request without such fields, and all of one with several", () => {
  expect(parseContentDigests(new Headers({ digest: `sha-256=${SHA256}` }))).toEqual([]);
  const headers = new Headers({
    "content-digest": `sha-512=:${SHA512}:`,
    "repr-digest": `sha-256=:${SHA256}:`,
    "content-md5": MD5,
  });
  expect(parseContentDigests(headers)).toEqual([
    sha512,
    sha256,
    { algorithm: "md5", value: MD5_HEX },
  ]);
});

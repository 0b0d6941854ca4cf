import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { decoyFor, matchesSecret, parseSecretHash } from "../../../src/auth/secret-hash.ts";
import { base64url, hashPassword, hashSecret } from "./a-cloud.ts";

const SALT = base64url(new Uint8Array(16));
const HASH = base64url(new Uint8Array(32));

describe("the hash of a password", () => {
  it("matches the password it was made of and no other", async () => {
    const hash = parseSecretHash(await hashPassword("pässword"), false);
    expect(await matchesSecret("pässword", hash)).toBe(true);
    expect(await matchesSecret("password", hash)).toBe(false);
    expect(await matchesSecret("", hash)).toBe(false);
  });

  it("may take as many iterations as production computes", async () => {
    const hash = parseSecretHash(await hashPassword("slow", 100_000), false);
    expect(await matchesSecret("slow", hash)).toBe(true);
  });

  it("is refused with one iteration more than production computes", () => {
    expect(() => parseSecretHash(`pbkdf2-sha256$100001$${SALT}$${HASH}`, false)).toThrow(
      "asks for 100001 PBKDF2 iterations, but Workers compute at most 100000",
    );
  });

  it.each([
    ["no iterations", `pbkdf2-sha256$0$${SALT}$${HASH}`],
    ["a short salt", `pbkdf2-sha256$1000$AAAA$${HASH}`],
    ["a short hash", `pbkdf2-sha256$1000$${SALT}$AAAA`],
    ["a salt that is not base64url", `pbkdf2-sha256$1000$A$${HASH}`],
    ["another scheme", `bcrypt$10$${SALT}$${HASH}`],
    ["a password in clear", "correct horse battery staple"],
  ])("is refused with %s", (_, text) => {
    expect(() => parseSecretHash(text, false)).toThrow(RangeError);
  });

  it("is read or refused with a RangeError, whatever the text", () => {
    const piece = fc.oneof(
      fc.string(),
      fc.constantFrom("pbkdf2-sha256", "sha256", "1000", SALT, HASH),
    );
    fc.assert(
      fc.property(fc.array(piece, { maxLength: 5 }), (pieces) => {
        try {
          parseSecretHash(pieces.join("$"), true);
        } catch (cause) {
          expect(cause).toBeInstanceOf(RangeError);
        }
      }),
    );
  });
});

describe("the hash of a random secret", () => {
  it("may be one SHA-256", async () => {
    const hash = parseSecretHash(await hashSecret("robot"), true);
    expect(await matchesSecret("robot", hash)).toBe(true);
    expect(await matchesSecret("robots", hash)).toBe(false);
  });

  it("is refused where a password is meant", async () => {
    const text = await hashSecret("robot");
    expect(() => parseSecretHash(text, false)).toThrow(RangeError);
  });
});

describe("a decoy", () => {
  it("costs as much as the dearest hash and matches nothing", async () => {
    const hashes = [
      await hashPassword("a", 20),
      await hashPassword("b", 30),
      await hashSecret("c"),
    ];
    const decoy = decoyFor(hashes.map((text) => parseSecretHash(text, true)));
    expect(decoy).toMatchObject({ kind: "pbkdf2-sha256", iterations: 30 });
    expect(await matchesSecret("a", decoy)).toBe(false);
  });

  it("is one SHA-256 where nothing dearer is kept", () => {
    expect(decoyFor([]).kind).toBe("sha256");
  });
});

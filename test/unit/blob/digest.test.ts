import { describe, expect, it } from "vitest";
import { type HashAlgorithm, ImageDigest } from "../../../src/blob/digest.ts";
import { toHex } from "../../../src/lib/hex.ts";

const bytes = crypto.getRandomValues(new Uint8Array(1000));

describe("hashes", () => {
  it.each<[HashAlgorithm, string]>([
    ["sha512", "SHA-512"],
    ["sha384", "SHA-384"],
    ["sha256", "SHA-256"],
    ["sha1", "SHA-1"],
    ["md5", "MD5"],
  ])("HSH-1: are MD5 and %s of all bytes", async (algorithm, name) => {
    const digest = new ImageDigest(algorithm);
    for (let at = 0; at < bytes.length; at += 300)
      await digest.update(bytes.subarray(at, at + 300));
    expect(await digest.finish()).toEqual({
      checksum: toHex(await crypto.subtle.digest("MD5", bytes)),
      osHashValue: toHex(await crypto.subtle.digest(name, bytes)),
    });
  });

  it("HSH-1, UPL-4: of no bytes are those of the empty string", async () => {
    expect(await new ImageDigest("sha256").finish()).toEqual({
      checksum: "d41d8cd98f00b204e9800998ecf8427e",
      osHashValue: "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    });
  });

  it("HSH-1: take bytes whose memory is used for others afterwards", async () => {
    const digest = new ImageDigest("sha256");
    const reused = bytes.slice();
    await digest.update(reused);
    reused.fill(0);
    const { checksum } = await digest.finish();
    expect(checksum).toBe(toHex(await crypto.subtle.digest("MD5", bytes)));
  });

  it("UPL-13: can be given up at any time", async () => {
    const unused = new ImageDigest("sha512");
    unused.abort();
    const used = new ImageDigest("md5");
    await used.update(bytes);
    used.abort();
    used.abort();
    await scheduler.wait(1);
  });
});

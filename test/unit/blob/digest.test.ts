import { beforeEach, describe, expect, it } from "vitest";
import { Digests, type HashAlgorithm } from "../../../src/blob/digest.ts";
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
    const digest = new Digests(["md5", algorithm]);
    for (let at = 0; at < bytes.length; at += 300)
      await digest.update(bytes.subarray(at, at + 300));
    expect(await digest.finish()).toEqual({
      md5: toHex(await crypto.subtle.digest("MD5", bytes)),
      [algorithm]: toHex(await crypto.subtle.digest(name, bytes)),
    });
  });

  it("HSH-1, UPL-4: of no bytes are those of the empty string", async () => {
    expect(await new Digests(["md5", "sha256"]).finish()).toEqual({
      md5: "d41d8cd98f00b204e9800998ecf8427e",
      sha256: "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    });
  });

  it("HSH-1: take bytes whose memory is used for others afterwards", async () => {
    const digest = new Digests(["md5"]);
    const reused = bytes.slice();
    await digest.update(reused);
    reused.fill(0);
    const { md5 } = await digest.finish();
    expect(md5).toBe(toHex(await crypto.subtle.digest("MD5", bytes)));
  });

  it("UPL-13: can be given up at any time", async () => {
    const unused = new Digests(["sha512"]);
    unused.abort();
    const used = new Digests(["md5"]);
    await used.update(bytes);
    used.abort();
    used.abort();
    await scheduler.wait(1);
  });
});

describe("hashes of bytes that come a part at a time", () => {
  let digest: Digests;

  beforeEach(() => {
    digest = new Digests(["sha256", "md5"]);
  });

  async function expectWhole(): Promise<void> {
    expect(digest.position).toBe(bytes.length);
    expect(await digest.finish()).toEqual({
      sha256: toHex(await crypto.subtle.digest("SHA-256", bytes)),
      md5: toHex(await crypto.subtle.digest("MD5", bytes)),
    });
  }

  it("HSH-1: are those of all of them, and know how far they are", async () => {
    for (let at = 0; at < bytes.length; at += 300) {
      expect(digest.position).toBe(at);
      await digest.take(at, bytes.subarray(at, at + 300));
    }
    await expectWhole();
  });

  it("HSH-1: leave out what they have had already", async () => {
    await digest.take(0, bytes.subarray(0, 400));
    await digest.take(0, bytes.subarray(0, 400));
    await digest.take(100, bytes.subarray(100, 300));
    await digest.take(300, bytes.subarray(300, 700));
    await digest.take(0, bytes);
    await digest.take(1000, bytes.subarray(1000));
    await expectWhole();
  });

  it("HSH-1: refuse bytes beyond the next, and go on as before", async () => {
    await digest.take(0, bytes.subarray(0, 400));
    await expect(digest.take(401, bytes.subarray(401))).rejects.toThrow("in order");
    expect(digest.position).toBe(400);
    await digest.take(400, bytes.subarray(400));
    await expectWhole();
  });

  it("HSH-1: may be asked for twice, also at once", async () => {
    await digest.take(0, bytes);
    const [once, again] = await Promise.all([digest.finish(), digest.finish()]);
    expect(again).toEqual(once);
    await expectWhole();
  });

  it("HSH-1: name an algorithm once, though it was wanted twice", async () => {
    const twice = new Digests(["md5", "md5"]);
    expect(await twice.finish()).toEqual({ md5: "d41d8cd98f00b204e9800998ecf8427e" });
  });

  it("UPL-13: can be given up at any time", async () => {
    digest.abort();
    const used = new Digests(["sha512"]);
    await used.take(0, bytes);
    used.abort();
    used.abort();
    const finished = new Digests(["sha1"]);
    await finished.take(0, bytes);
    const hashes = await finished.finish();
    finished.abort();
    expect(await finished.finish()).toEqual(hashes);
    await scheduler.wait(1);
  });
});

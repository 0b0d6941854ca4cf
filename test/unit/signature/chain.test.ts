import "@abraham/reflection";
import {
  BasicConstraintsExtension,
  ExtendedKeyUsageExtension,
  Extension,
  KeyUsageFlags,
  KeyUsagesExtension,
} from "@peculiar/x509";
import { describe, expect, it } from "vitest";
import { Fault } from "../../../src/domain/fault.ts";
import {
  ANY_SIGNATURE,
  authority,
  DAY,
  type Holder,
  issue,
  makeKeys,
  NOW,
  pemOf,
  trusting,
} from "./authority.ts";

/** The sentence with which a chain is refused; undefined when it is trusted. */
async function objection(
  chain: readonly Holder[],
  roots: readonly Holder[],
  nowMs = NOW,
): Promise<string | undefined> {
  const store = trusting(pemOf(...chain), ...roots.map((root) => pemOf(root)));
  try {
    await store.verifier(ANY_SIGNATURE, nowMs);
    return undefined;
  } catch (error) {
    if (error instanceof Fault && error.code === "signature_unusable") return error.text;
    throw error;
  }
}

const root = await issue("Root", { extensions: authority() });
const middle = await issue("Middle", { issuer: root, extensions: authority() });
const leaf = await issue("Leaf", { issuer: middle });

describe("13 §8 the chain of a certificate to a configured root", () => {
  it("trusts a certificate of a root, and through intermediates in any order", async () => {
    const lower = await issue("Lower", { issuer: middle, extensions: authority() });
    const deep = await issue("Deep", { issuer: lower });
    expect(await objection([await issue("Leaf", { issuer: root })], [root])).toBeUndefined();
    expect(await objection([leaf, middle], [root])).toBeUndefined();
    expect(await objection([deep, lower, middle], [root])).toBeUndefined();
    expect(await objection([deep, middle, lower], [root])).toBeUndefined();
  });

  it("trusts a root of the bundle too, and one root of several", async () => {
    const other = await issue("Other", { extensions: authority() });
    expect(await objection([leaf, middle, root], [other, root])).toBeUndefined();
  });

  it("trusts a certificate signed by itself that is a root, and any other that is", async () => {
    const own = await issue("Own");
    expect(await objection([own], [own])).toBeUndefined();
    expect(await objection([leaf], [leaf])).toBeUndefined();
  });

  it("trusts nothing without roots", async () => {
    expect(await objection([leaf, middle, root], [])).toContain(
      'is not trusted: the issuer of "CN=Root" is not configured',
    );
    expect(await objection([await issue("Own")], [])).toContain(
      'the issuer of "CN=Own" is not configured',
    );
  });

  it("does not trust another root, nor one of the same name", async () => {
    const other = await issue("Other", { extensions: authority() });
    expect(await objection([leaf, middle], [other])).toContain("is not configured");
    const namesake = await issue("Root", { extensions: authority() });
    expect(await objection([leaf, middle], [namesake])).toContain(
      '"CN=Middle" was not signed by its issuer',
    );
    expect(await objection([leaf, middle], [namesake, root])).toBeUndefined();
    expect(await objection([leaf, middle], [root, namesake])).toBeUndefined();
  });

  it("does not trust a chain with a link missing", async () => {
    expect(await objection([leaf], [root])).toContain('the issuer of "CN=Leaf" is not configured');
  });

  it("does not trust a flipped bit in the certificate's signature", async () => {
    const der = new Uint8Array(leaf.certificate.rawData.slice(0));
    der[der.length - 1] = (der.at(-1) ?? 0) ^ 1;
    const base64 = btoa(String.fromCharCode(...der));
    const pem = `-----BEGIN CERTIFICATE-----\n${base64}\n-----END CERTIFICATE-----\n`;
    const store = trusting(pem + pemOf(middle), pemOf(root));
    await expect(store.verifier(ANY_SIGNATURE, NOW)).rejects.toMatchObject({
      code: "signature_unusable",
      detail: { reason: expect.stringContaining('"CN=Leaf" was not signed by its issuer') },
    });
  });

  it("refuses what is not valid yet and what has expired, to the second", async () => {
    const [notBefore, notAfter] = [NOW - DAY, NOW + DAY];
    const brief = await issue("Brief", { issuer: root, notBefore, notAfter });
    expect(await objection([brief], [root], notBefore)).toBeUndefined();
    expect(await objection([brief], [root], notAfter)).toBeUndefined();
    expect(await objection([brief], [root], notBefore - 1000)).toContain(
      '"CN=Brief" is not valid yet',
    );
    expect(await objection([brief], [root], notAfter + 1000)).toContain('"CN=Brief" has expired');
  });

  it("refuses an expired intermediate and an expired root", async () => {
    const past = { notAfter: NOW - DAY, extensions: authority() };
    const oldMiddle = await issue("Old middle", { issuer: root, ...past });
    const oldRoot = await issue("Old root", past);
    const ofMiddle = await issue("Leaf", { issuer: oldMiddle });
    const ofRoot = await issue("Leaf", { issuer: oldRoot });
    expect(await objection([ofMiddle, oldMiddle], [root])).toContain("has expired");
    expect(await objection([ofRoot], [oldRoot])).toContain('"CN=Old root" has expired');
  });

  it.each([
    ["without basicConstraints", []],
    ["with CA false", [new BasicConstraintsExtension(false, undefined, true)]],
  ])("refuses an intermediate %s", async (_, extensions) => {
    const fake = await issue("Fake", { issuer: root, extensions });
    const victim = await issue("Leaf", { issuer: fake });
    expect(await objection([victim, fake], [root])).toContain(
      '"CN=Fake" is not a certificate authority',
    );
  });

  it("refuses a root that is no authority for others' certificates", async () => {
    const own = await issue("Own");
    expect(await objection([await issue("Leaf", { issuer: own })], [own])).toContain(
      '"CN=Own" is not a certificate authority',
    );
  });

  it("refuses an authority whose key is not for signing certificates", async () => {
    const extensions = [
      new BasicConstraintsExtension(true, undefined, true),
      new KeyUsagesExtension(KeyUsageFlags.digitalSignature, true),
    ];
    const fake = await issue("Fake", { issuer: root, extensions });
    const victim = await issue("Leaf", { issuer: fake });
    expect(await objection([victim, fake], [root])).toContain(
      '"CN=Fake" is not for signing certificates',
    );
  });

  it("refuses a certificate whose key is not for signing data", async () => {
    const signing = [new KeyUsagesExtension(KeyUsageFlags.digitalSignature, true)];
    const other = [new KeyUsagesExtension(KeyUsageFlags.keyEncipherment)];
    const good = await issue("Good", { issuer: root, extensions: signing });
    const bad = await issue("Bad", { issuer: root, extensions: other });
    expect(await objection([good], [root])).toBeUndefined();
    expect(await objection([bad], [root])).toContain('"CN=Bad" is not for signing data');
  });

  it("counts the authorities below one against its path length", async () => {
    const strict = await issue("Strict", { extensions: authority(0) });
    const roomy = await issue("Roomy", { extensions: authority(1) });
    const under = async (top: Holder) => {
      const between = await issue("Between", { issuer: top, extensions: authority() });
      return [await issue("Leaf", { issuer: between }), between];
    };
    expect(await objection([await issue("Leaf", { issuer: strict })], [strict])).toBeUndefined();
    expect(await objection(await under(strict), [strict])).toContain(
      '"CN=Strict" has more authorities below it than it allows',
    );
    expect(await objection(await under(roomy), [roomy])).toBeUndefined();
    const [end, ...rest] = await under(
      await issue("Mid", { issuer: roomy, extensions: authority() }),
    );
    expect(end && (await objection([end, ...rest], [roomy]))).toContain("is not configured");
  });

  it("does not count a certificate that an authority issued to itself", async () => {
    const strict = await issue("Strict", { extensions: authority(0) });
    const renewed = await issue("Strict", { issuer: strict, extensions: authority(0) });
    const end = await issue("Leaf", { issuer: renewed });
    expect(await objection([end, renewed], [strict])).toBeUndefined();
  });

  it("refuses critical extensions that it does not check, and no others", async () => {
    const codeSigning = "1.3.6.1.5.5.7.3.3";
    const mild = [new ExtendedKeyUsageExtension([codeSigning])];
    const strict = [new Extension("1.2.3.4", true, Uint8Array.of(5, 0))];
    const good = await issue("Good", { issuer: root, extensions: mild });
    const bad = await issue("Bad", { issuer: root, extensions: strict });
    expect(await objection([good], [root])).toBeUndefined();
    expect(await objection([bad], [root])).toContain('"CN=Bad" has the critical extension 1.2.3.4');
  });

  it("refuses a link signed with SHA-1", async () => {
    const weak = await issue("Weak", { issuer: root, hash: "SHA-1" });
    expect(await objection([weak], [root])).toContain("or not in a safe way");
  });

  it("comes to an end where authorities vouch for each other", async () => {
    const keys = await makeKeys();
    const crowd = await Promise.all(
      Array.from({ length: 3 }, () => issue("Same", { keys, extensions: authority() })),
    );
    const [first] = crowd;
    const end = await issue("Leaf", first === undefined ? {} : { issuer: first });
    expect(await objection([end, ...crowd], [root])).toContain("is not configured");
  });
});

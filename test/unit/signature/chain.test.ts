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
  makeRsaKeys,
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

/** `openssl req -x509 -newkey rsa:2047 -nodes -subj /CN=Almost -days 36500`, which WebCrypto does not make. */
const ALMOST =
  "MIIDBDCCAeygAwIBAgIUQsEzdfw4J81yCL+v+YlwUpx7W0UwDQYJKoZIhvcNAQELBQAwETEPMA0GA1UEAwwGQWxtb3" +
  "N0MCAXDTI2MTIwMTE3MjIwNFoYDzIxMjYxMTA3MTcyMjA0WjARMQ8wDQYDVQQDDAZBbG1vc3QwggEhMA0GCSqGSIb3" +
  "DQEBAQUAA4IBDgAwggEJAoIBAFi6FWfsCr2oAUgHh8qEucQhv7ciTw6Vd5TuRCgCcIfv1ClyhPUzeLVzSOc6o8aqeQ" +
  "4CgVJJP/X1ZXT7gsZIYchwq/cVd6DlwFtbz74ETfo6ZMtPqFwhvc0kjVncwKKo+q9HrOLNu9MR1QHYe1JnbgEsMPSU" +
  "RvA/nGHqLrAi9N0bc3btMJjY0jpombQJgmV22mOdh+DoRLj2h2nr+d7UWgz8yz5FsTNPOmfyeA4Wzb9iiZLqIXA5k8" +
  "sb/f/U4qrqqsMQTfBZpmbgN+9e4fxK3sjPaRWVedLfCvWJ9XFl9cJVnQT5tl1pq3/nBZbC4JExKS3cKTo9H1oLrIjm" +
  "ygU/59UCAwEAAaNTMFEwHQYDVR0OBBYEFCj+CAUwrGDgN6TPCpzCsR1odjyPMB8GA1UdIwQYMBaAFCj+CAUwrGDgN6" +
  "TPCpzCsR1odjyPMA8GA1UdEwEB/wQFMAMBAf8wDQYJKoZIhvcNAQELBQADggEBAB6lNvgTTTAGZHf2A2qvEic20X3X" +
  "ur2+RkOaMf7UsnVD4zU9byXoWgp1ainKgCuYbGlLT9unTc9zO1y0bj1Gydmio9ziMa2m4Q6rKMx7xjsUjHEJq4CsAO" +
  "urirjDL9YQTjua5kigaBkdPYXMjpSaAu8LAQRPrYj7+hpkpZM7cUfx4oMg1kMo3IrBSA3hHAf8H3p5s8oxISyJiV62" +
  "oLMo2i+0JLTfVk/WAk1VPSg+Q8cyaaMSUJftbNAjb5Jf//lA805vn+voJq+HC/o44yZf/jOgIm5k4b9IJ+6FcjGUMD" +
  "l5HVXec/gjQ1hVzX2Zo7Ztee1l7Eyhz507+AySFmahwhg=";

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
    const strict = [new Extension("1.2.3.4", true, Uint8Array.of(5, 0))];
    const mild = [new Extension("1.2.3.4", false, Uint8Array.of(5, 0))];
    const good = await issue("Good", { issuer: root, extensions: mild });
    const bad = await issue("Bad", { issuer: root, extensions: strict });
    expect(await objection([good], [root])).toBeUndefined();
    expect(await objection([bad], [root])).toContain('"CN=Bad" has the critical extension 1.2.3.4');
  });

  const PURPOSES = {
    any: "2.5.29.37.0",
    server: "1.3.6.1.5.5.7.3.1",
    client: "1.3.6.1.5.5.7.3.2",
    code: "1.3.6.1.5.5.7.3.3",
    time: "1.3.6.1.5.5.7.3.8",
    documents: "1.3.6.1.5.5.7.3.36",
  };

  it.each([true, false])(
    "extended key usage: only what takes in signing is for images (critical: %j)",
    async (critical) => {
      const withUsage = (...of: (keyof typeof PURPOSES)[]) =>
        issue("Purposeful", {
          issuer: root,
          extensions: [
            new ExtendedKeyUsageExtension(
              of.map((name) => PURPOSES[name]),
              critical,
            ),
          ],
        });
      for (const good of [
        await withUsage("code"),
        await withUsage("any"),
        await withUsage("server", "documents"),
      ]) {
        expect(await objection([good], [root])).toBeUndefined();
      }
      for (const bad of [
        await withUsage("server"),
        await withUsage("client", "time"),
        await withUsage(),
      ]) {
        expect(await objection([bad], [root])).toContain(
          '"CN=Purposeful" is for other purposes than signing',
        );
      }
    },
  );

  it("extended key usage: that of an authority limits what is below it", async () => {
    const usage = new ExtendedKeyUsageExtension([PURPOSES.server]);
    const web = await issue("Web", { issuer: root, extensions: [...authority(), usage] });
    expect(await objection([await issue("Leaf", { issuer: web }), web], [root])).toContain(
      '"CN=Web" is for other purposes than signing',
    );
  });

  it.each([1024, 1920])("refuses an RSA key of %i bits, wherever it stands", async (bits) => {
    const keys = await makeRsaKeys(bits);
    const hash = "SHA-256";
    const shortRoot = await issue("Short", { keys, hash, extensions: authority() });
    const below = await issue("Leaf", { issuer: shortRoot, hash });
    const short = await issue("Short", { issuer: root, keys });
    for (const [chain, top] of [
      [[below], shortRoot],
      [[short], root],
    ] as const) {
      expect(await objection(chain, [top])).toContain(
        '"CN=Short" has an RSA key of fewer than 2048 bits',
      );
    }
  });

  it("refuses an RSA key whose 2048th bit is not used", async () => {
    const pem = `-----BEGIN CERTIFICATE-----\n${ALMOST}\n-----END CERTIFICATE-----\n`;
    await expect(trusting(pem, pem).verifier(ANY_SIGNATURE, NOW)).rejects.toMatchObject({
      detail: { reason: expect.stringContaining("fewer than 2048 bits") },
    });
  });

  it("takes an authority with an RSA key of 2048 bits", async () => {
    const keys = await makeRsaKeys(2048);
    const hash = "SHA-256";
    const top = await issue("Enough", { keys, hash, extensions: authority() });
    expect(await objection([await issue("Leaf", { issuer: top, hash })], [top])).toBeUndefined();
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

import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { parseTrustStore } from "../../../src/signature/trust-store.ts";
import { ANY_SIGNATURE, ID, issue, NOW, pemOf, trusting } from "./authority.ts";
import { INTERMEDIATE, LEAVES, ROOT, SIGNATURES } from "./openssl-signed.ts";

const refused = (reason: string) => ({
  name: "Fault",
  code: "signature_unusable",
  status: 400,
  detail: { reason: expect.stringContaining(reason) },
});

describe("SIGNATURE_CERTIFICATES", () => {
  it.each(["", "{}", '{"certificates": {}, "roots": []}'])(
    "13 §8 unknown certificate: %j has none, so signed images are refused",
    async (json) => {
      await expect(parseTrustStore(json).verifier(ANY_SIGNATURE, NOW)).rejects.toMatchObject(
        refused("its certificate is not known here"),
      );
    },
  );

  it("13 §8 unknown certificate: an id is that of one certificate only", async () => {
    const own = pemOf(await issue("Own"));
    const store = trusting(own, own);
    for (const certificateId of ["", "toString", "__proto__", ID.toUpperCase()]) {
      const signature = { ...ANY_SIGNATURE, certificateId };
      await expect(store.verifier(signature, NOW)).rejects.toMatchObject(
        refused("its certificate is not known here"),
      );
    }
    await expect(store.verifier(ANY_SIGNATURE, NOW)).resolves.toMatchObject({
      algorithm: "sha384",
    });
  });

  it("reads PEM with text around it and Windows line ends", async () => {
    const own = pemOf(await issue("Own"));
    const talkative = `subject=CN = Own\r\n${own.replaceAll("\n", "\r\n")}\r\nthe end\r\n`;
    await expect(trusting(talkative, own).verifier(ANY_SIGNATURE, NOW)).resolves.toBeDefined();
  });

  it.each([
    ["null", "it is not a JSON object"],
    ['{"certs": {}}', '"certs" is not known there'],
    ['{"certificates": []}', "certificates is not an object of PEM texts"],
    ['{"certificates": {"a": null}}', 'the certificate "a" is not a text'],
    ['{"certificates": {"a": ""}}', 'the certificate "a" has no PEM certificate'],
    [JSON.stringify({ certificates: { "": ROOT } }), "a certificate has an empty id"],
    ['{"roots": "x"}', "roots is not a list of PEM texts"],
    [JSON.stringify({ roots: [ROOT, 1] }), "root 2 is not a text"],
    [JSON.stringify({ roots: [`${ROOT}\n-----BEGIN CERTIFICATE-----`] }), "root 1 has broken PEM"],
    [
      JSON.stringify({ roots: [ROOT.replaceAll("CERTIFICATE", "PRIVATE KEY")] }),
      "root 1 has PEM of another kind than certificates",
    ],
    [JSON.stringify({ roots: [ROOT.replace("MII", "MI?")] }), "has a PEM block that is no DER"],
    [JSON.stringify({ roots: [ROOT.replace("MII", "AII")] }), "has a PEM block that is no DER"],
    [JSON.stringify({ roots: [ROOT.replace("MII", "MIIAMII")] }), "has a PEM block that is no DER"],
    [
      JSON.stringify({ certificates: { a: ROOT.repeat(11) } }),
      'the certificate "a" has more than 9 intermediates',
    ],
  ])("refuses %.60s at the start", (json, sentence) => {
    expect(() => parseTrustStore(json)).toThrow(sentence);
  });

  it("does not quote what may be a private key", () => {
    const secret = "-----BEGIN PRIVATE KEY-----\nTUlJQ2R3\n-----END PRIVATE KEY-----";
    for (const document of [{ roots: [secret] }, { certificates: { a: secret } }]) {
      expect(() => parseTrustStore(JSON.stringify(document))).toThrow(/^(?!.*TUlJQ2R3)/);
    }
  });

  it("never throws anything but an Error with a sentence", () => {
    const text = fc.oneof(
      fc.string({ unit: "binary" }),
      fc.base64String().map((body) => armoured(body)),
    );
    const document = fc.oneof(
      fc.json(),
      fc
        .record({ certificates: fc.dictionary(fc.string(), text), roots: fc.array(text) })
        .map((value) => JSON.stringify(value)),
    );
    fc.assert(
      fc.property(document, (json) => {
        try {
          parseTrustStore(json);
        } catch (error) {
          expect(error).toBeInstanceOf(Error);
          expect(error).not.toBeInstanceOf(TypeError);
          expect(error).not.toBeInstanceOf(RangeError);
        }
      }),
    );
  });
});

const armoured = (base64: string) =>
  `-----BEGIN CERTIFICATE-----\n${base64}\n-----END CERTIFICATE-----\n`;
const base64Of = (bytes: Uint8Array) => btoa(String.fromCharCode(...bytes));
const derOf = (pem: string) =>
  Uint8Array.from(atob(pem.replace(/-----[A-Z ]+-----|\s/g, "")), (char) => char.charCodeAt(0));

describe("certificates that cannot be read", () => {
  const NOW_OF_OPENSSL = Date.UTC(2060, 0, 1);

  /** Random bytes in a SEQUENCE of the right length, so that they get past the start. */
  const sequence = fc
    .uint8Array({ minLength: 0, maxLength: 127 })
    .map((bytes) => Uint8Array.of(0x30, bytes.length, ...bytes));

  it("are refused with the Fault", async () => {
    await fc.assert(
      fc.asyncProperty(sequence, async (der) => {
        const store = trusting(armoured(base64Of(der)), ROOT);
        await expect(store.verifier(ANY_SIGNATURE, NOW_OF_OPENSSL)).rejects.toMatchObject(
          refused("cannot be read"),
        );
      }),
    );
  });

  it("are refused with the Fault when a byte of what was signed is another", async () => {
    const signature = { ...ANY_SIGNATURE, signature: SIGNATURES["p384 sha384"] };
    const good = derOf(LEAVES.p384);
    const chainWith = (der: Uint8Array) => trusting(armoured(base64Of(der)) + INTERMEDIATE, ROOT);
    await chainWith(good).verifier(signature, NOW_OF_OPENSSL);
    // Two headers of four bytes, that of the certificate and that of its signed part, which ends with its length.
    const signedBytes = (good[6] ?? 0) * 256 + (good[7] ?? 0);
    const change = fc.record({
      at: fc.integer({ min: 4, max: 7 + signedBytes }),
      flip: fc.integer({ min: 1, max: 255 }),
    });
    await fc.assert(
      fc.asyncProperty(change, async ({ at, flip }) => {
        const der = good.with(at, (good[at] ?? 0) ^ flip);
        await expect(chainWith(der).verifier(signature, NOW_OF_OPENSSL)).rejects.toMatchObject(
          refused("its certificate"),
        );
      }),
      { numRuns: 300 },
    );
  });
});

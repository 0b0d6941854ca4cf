import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { Fault } from "../../../src/domain/fault.ts";
import { readSignature, signatureBytes, signedHash } from "../../../src/domain/image-signature.ts";

const GOOD = {
  img_signature: "c2lnbmF0dXJl",
  img_signature_hash_method: "SHA-256",
  img_signature_key_type: "RSA-PSS",
  img_signature_certificate_uuid: "5f1a8e3e-0b43-4b0c-8d6c-6a1b9f0a4c55",
};

const read = (changes: Readonly<Record<string, string | null>> = {}) =>
  readSignature(new Map(Object.entries({ os_distro: "debian", ...GOOD, ...changes })));

function refusalOf(changes: Readonly<Record<string, string>>): string {
  try {
    read(changes);
  } catch (error) {
    if (error instanceof Fault && error.code === "signature_unusable" && error.status === 400) {
      return error.text;
    }
    throw error;
  }
  throw new Error(`accepted: ${JSON.stringify(changes)}`);
}

describe("13 §8 image signatures, STO-12", () => {
  it("STO-12: reads the signature of an image with all four properties as plain data", () => {
    const signature = read();
    expect(signature).toEqual({
      signature: GOOD.img_signature,
      hashMethod: "SHA-256",
      keyType: "RSA-PSS",
      certificateId: GOOD.img_signature_certificate_uuid,
    });
    expect(structuredClone(signature)).toEqual(signature);
  });

  it.each(Object.keys(GOOD))("13 §8 Triggered: not at all without %s, or with null", (name) => {
    const properties = new Map<string, string | null>(Object.entries(GOOD));
    properties.set(name, null);
    expect(readSignature(properties)).toBeUndefined();
    properties.delete(name);
    expect(readSignature(properties)).toBeUndefined();
  });

  it("13 §8 Triggered: a missing property lets the others be anything", () => {
    const properties = new Map([
      ["img_signature", "?"],
      ["img_signature_hash_method", "MD5"],
    ]);
    expect(readSignature(properties)).toBeUndefined();
  });

  it.each(["", " ", "?", "c2lnbmF0dXJl=", "c2lnbmF0dXI", "c2ln_mF0dXJl", "YQ==YQ==", "ä"])(
    "13 §8 img_signature: refuses %j, which is not Base64",
    (img_signature) => {
      expect(refusalOf({ img_signature })).toContain("img_signature is not Base64");
    },
  );

  it("13 §8 img_signature: takes Base64 in lines, as tools print it", () => {
    const signature = read({ img_signature: "c2ln\nbmF0\r\ndXJl\n" });
    expect(new TextDecoder().decode(signature && signatureBytes(signature))).toBe("signature");
  });

  it.each([
    ["SHA-256", "sha256"],
    ["SHA-384", "sha384"],
    ["SHA-512", "sha512"],
  ])("13 §8 img_signature_hash_method: takes %s", (method, hash) => {
    const signature = read({ img_signature_hash_method: method });
    expect(signature?.hashMethod).toBe(method);
    expect(signature && signedHash(signature)).toBe(hash);
  });

  it("13 §8 Platform hint: refuses SHA-224 rather than skip the verification", () => {
    expect(refusalOf({ img_signature_hash_method: "SHA-224" })).toBe(
      "The signature of the image cannot be verified: img_signature_hash_method cannot be verified by this service, use SHA-256, SHA-384, SHA-512.",
    );
  });

  it.each(["", "sha-256", "SHA256", "MD5", "SHA-1", "constructor", "__proto__"])(
    "13 §8 img_signature_hash_method: refuses %j",
    (img_signature_hash_method) => {
      expect(refusalOf({ img_signature_hash_method })).toContain("is not known");
    },
  );

  it.each(["RSA-PSS", "ECC_SECP384R1", "ECC_SECP521R1"])(
    "13 §8 img_signature_key_type: takes %s",
    (keyType) => {
      expect(read({ img_signature_key_type: keyType })?.keyType).toBe(keyType);
    },
  );

  it.each(["DSA", "ECC_SECT571K1", "ECC_SECT409K1", "ECC_SECT571R1", "ECC_SECT409R1"])(
    "13 §8 Platform hint: refuses %s rather than skip the verification",
    (img_signature_key_type) => {
      const refusal = refusalOf({ img_signature_key_type });
      expect(refusal).toContain("img_signature_key_type cannot be verified by this service");
      // Nobody who may not read the property learns its value.
      expect(refusal).not.toContain(`${img_signature_key_type} `);
    },
  );

  it.each(["", "RSA", "rsa-pss", "ECC_SECP256R1", "toString", "__proto__"])(
    "13 §8 img_signature_key_type: refuses %j",
    (img_signature_key_type) => {
      expect(refusalOf({ img_signature_key_type })).toContain("is not known");
    },
  );

  it("13 §8 Bad value: quotes no more than the start of a long one", () => {
    expect(refusalOf({ img_signature_key_type: "x".repeat(60_000) }).length).toBeLessThan(300);
  });

  it("13 §8 Bad value: never throws anything but its Fault", () => {
    const text = fc.oneof(fc.string({ unit: "binary" }), fc.base64String());
    const values = fc.record({
      img_signature: text,
      img_signature_hash_method: fc.oneof(text, fc.constant("SHA-512")),
      img_signature_key_type: fc.oneof(text, fc.constant("ECC_SECP384R1")),
      img_signature_certificate_uuid: text,
    });
    fc.assert(
      fc.property(values, (changes) => {
        try {
          const signature = read(changes);
          expect(signature && signatureBytes(signature).length).toBeGreaterThan(0);
        } catch (error) {
          expect(error).toMatchObject({ name: "Fault", code: "signature_unusable" });
        }
      }),
    );
  });
});

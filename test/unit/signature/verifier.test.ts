import fc from "fast-check";
import { describe, expect, it } from "vitest";
import type {
  ImageSignature,
  SignatureHashMethod,
  SignatureKeyType,
} from "../../../src/domain/image-signature.ts";
import { toHex } from "../../../src/lib/hex.ts";
import { ID, issue, makeKeys, NOW, pemOf, trusting } from "./authority.ts";
import { DATA, INTERMEDIATE, LEAVES, OTHERWISE, ROOT, SIGNATURES } from "./openssl-signed.ts";

/** OpenSSL's certificates last for a hundred years. */
const NOW_OF_OPENSSL = Date.UTC(2060, 0, 1);

type Leaf = keyof typeof LEAVES;

const KEY_TYPES: Partial<Record<Leaf, SignatureKeyType>> = {
  p384: "ECC_SECP384R1",
  p521: "ECC_SECP521R1",
};
const HASH_METHODS: Readonly<Record<string, SignatureHashMethod>> = {
  sha256: "SHA-256",
  sha384: "SHA-384",
  sha512: "SHA-512",
};

const signatureOf = (leaf: Leaf, hash: string, signature: string): ImageSignature => ({
  signature,
  hashMethod: HASH_METHODS[hash] ?? "SHA-256",
  keyType: KEY_TYPES[leaf] ?? "RSA-PSS",
  certificateId: ID,
});

const open = (leaf: Leaf, signature: ImageSignature) =>
  trusting(LEAVES[leaf] + INTERMEDIATE, ROOT).verifier(signature, NOW_OF_OPENSSL);

const digestOf = async (data: string, hash: string) =>
  toHex(await crypto.subtle.digest(HASH_METHODS[hash] ?? "", new TextEncoder().encode(data)));

const MISMATCH = { name: "Fault", code: "signature_mismatch", status: 400 };
const refused = (reason: string) => ({
  name: "Fault",
  code: "signature_unusable",
  status: 400,
  detail: { reason: expect.stringContaining(reason) },
});

const isLeaf = (name: string): name is Leaf => Object.hasOwn(LEAVES, name);
const cases = Object.entries(SIGNATURES).map(([name, base64]) => {
  const [leaf = "", hash = ""] = name.split(" ");
  if (!isLeaf(leaf)) throw new Error(leaf);
  return { leaf, hash, base64 };
});

const bytesOf = (base64: string) => Uint8Array.from(atob(base64), (char) => char.charCodeAt(0));
const base64Of = (bytes: Uint8Array) => btoa(String.fromCharCode(...bytes));

describe.each(cases)("13 §8 signatures by OpenSSL: $leaf with $hash", ({ leaf, hash, base64 }) => {
  const verifier = () => open(leaf, signatureOf(leaf, hash, base64));

  it("verifies the data by its digest, in either case of letters", async () => {
    const { algorithm, verify } = await verifier();
    expect(algorithm).toBe(hash);
    const digest = await digestOf(DATA, hash);
    await verify(digest);
    await verify(digest.toUpperCase());
  });

  it("13 §8 Signature wrong: refuses other data", async () => {
    const { verify } = await verifier();
    await expect(verify(await digestOf(`${DATA} `, hash))).rejects.toMatchObject(MISMATCH);
  });

  it("13 §8 Signature wrong: refuses it with any bit flipped", async () => {
    const digest = await digestOf(DATA, hash);
    const bytes = bytesOf(base64);
    const positions = Array.from({ length: 8 }, (_, i) => Math.floor((i * bytes.length) / 8));
    for (const at of [...positions, bytes.length - 1]) {
      const signature = signatureOf(leaf, hash, base64Of(bytes.with(at, (bytes[at] ?? 0) ^ 1)));
      // A flip in the frame of DER is seen at once.
      const attempt = open(leaf, signature).then(({ verify }) => verify(digest));
      await expect(attempt).rejects.toMatchObject({ name: "Fault", status: 400 });
    }
  });

  it("13 §8 img_signature: refuses one that is too short or too long before there is data", async () => {
    const bytes = bytesOf(base64);
    for (const wrong of [bytes.slice(0, -1), Uint8Array.of(...bytes, 0), Uint8Array.of(0)]) {
      await expect(open(leaf, signatureOf(leaf, hash, base64Of(wrong)))).rejects.toMatchObject(
        refused("img_signature"),
      );
    }
  });

  it("takes nothing but a digest of that algorithm", async () => {
    const { verify } = await verifier();
    for (const digest of ["", "zz", "00", "00".repeat(20), "0".repeat(63)]) {
      await expect(verify(digest)).rejects.toBeInstanceOf(TypeError);
    }
  });
});

describe("13 §8 RSA-PSS parameters", () => {
  it.each(Object.entries(OTHERWISE))("refuses %s", async (_, base64) => {
    const { verify } = await open("rsa", signatureOf("rsa", "sha256", base64));
    await expect(verify(await digestOf(DATA, "sha256"))).rejects.toMatchObject(MISMATCH);
  });

  it("refuses a signature that is not below the modulus", async () => {
    const { verify } = await open(
      "rsa",
      signatureOf("rsa", "sha256", base64Of(new Uint8Array(384).fill(0xff))),
    );
    await expect(verify(await digestOf(DATA, "sha256"))).rejects.toMatchObject(MISMATCH);
  });

  it("refuses a signature made with another hash than the image says", async () => {
    const { verify } = await open("rsa", signatureOf("rsa", "sha512", SIGNATURES["rsa sha256"]));
    await expect(verify(await digestOf(DATA, "sha512"))).rejects.toMatchObject(MISMATCH);
  });

  it("refuses a key of less than 2048 bits", async () => {
    const signature = signatureOf("rsaShort", "sha256", base64Of(new Uint8Array(128)));
    await expect(open("rsaShort", signature)).rejects.toMatchObject(
      refused("fewer than 2048 bits"),
    );
  });

  it("refuses a key that is bound to another hash", async () => {
    const signature = signatureOf("rsaPssBound", "sha256", SIGNATURES["rsaPssBound sha384"]);
    await expect(open("rsaPssBound", signature)).rejects.toMatchObject(
      refused("has a key of another type"),
    );
  });

  it("never throws anything but a Fault, whatever the signature is", async () => {
    const digest = await digestOf(DATA, "sha256");
    await fc.assert(
      fc.asyncProperty(fc.uint8Array({ minLength: 384, maxLength: 384 }), async (bytes) => {
        const { verify } = await open("rsa", signatureOf("rsa", "sha256", base64Of(bytes)));
        await expect(verify(digest)).rejects.toMatchObject(MISMATCH);
      }),
      { numRuns: 30 },
    );
  });
});

describe("13 §8 key type not fitting the certificate's key", () => {
  const FITTING: Readonly<Record<SignatureKeyType, readonly string[]>> = {
    "RSA-PSS": ["rsa", "rsaOdd", "rsaPss", "rsaPssBound"],
    ECC_SECP384R1: ["p384"],
    ECC_SECP521R1: ["p521"],
  };
  // What is refused whatever the key type.
  const isTrusted = (leaf: string) => leaf !== "rsaShort";
  const misfits = (Object.keys(FITTING) as SignatureKeyType[]).flatMap((keyType) =>
    Object.keys(LEAVES)
      .filter(isLeaf)
      .filter(isTrusted)
      .filter((leaf) => !FITTING[keyType].includes(leaf))
      .map((leaf) => ({ keyType, leaf })),
  );

  it.each(misfits)("refuses $keyType with a key of $leaf", async ({ keyType, leaf }) => {
    const signature = { ...signatureOf(leaf, "sha384", SIGNATURES["p384 sha384"]), keyType };
    await expect(open(leaf, signature)).rejects.toMatchObject(refused(`has a key of another type`));
  });
});

describe("13 §8 ECDSA signatures", () => {
  it("refuses the signature of another key of the kind", async () => {
    const other = await issue("Other", { keys: await makeKeys() });
    const store = trusting(pemOf(other), pemOf(other));
    const signature = signatureOf("p384", "sha384", SIGNATURES["p384 sha384"]);
    const { verify } = await store.verifier(signature, NOW);
    await expect(verify(await digestOf(DATA, "sha384"))).rejects.toMatchObject(MISMATCH);
  });

  it("refuses what WebCrypto makes, which is no DER", async () => {
    const own = await issue("Own");
    const raw = await crypto.subtle.sign(
      { name: "ECDSA", hash: "SHA-384" },
      own.keys.privateKey,
      new TextEncoder().encode(DATA),
    );
    const store = trusting(pemOf(own), pemOf(own));
    const signature = signatureOf("p384", "sha384", base64Of(new Uint8Array(raw)));
    await expect(store.verifier(signature, NOW)).rejects.toMatchObject(
      refused("is not an ECDSA signature in DER that a key of ECC_SECP384R1 makes"),
    );
  });

  it("takes the larger as well as the smaller s, as signers choose neither", async () => {
    const own = await issue("Own");
    const store = trusting(pemOf(own), pemOf(own));
    const digest = await digestOf(DATA, "sha384");
    // Half of the signatures have the larger one.
    for (let i = 0; i < 12; i++) {
      const raw = await crypto.subtle.sign(
        { name: "ECDSA", hash: "SHA-384" },
        own.keys.privateKey,
        new TextEncoder().encode(DATA),
      );
      const signature = signatureOf("p384", "sha384", base64Of(inDer(new Uint8Array(raw))));
      await (await store.verifier(signature, NOW)).verify(digest);
    }
  });

  it.each([
    ["zero r", 0n, 1n],
    ["zero s", 1n, 0n],
    ["s beyond the order", 1n, 1n << 384n],
  ])("refuses %s at once", async (_, r, s) => {
    const raw = `${r.toString(16).padStart(98, "0")}${s.toString(16).padStart(98, "0")}`;
    const bytes = Uint8Array.from(raw.match(/../g) ?? [], (pair) => Number.parseInt(pair, 16));
    const signature = signatureOf("p384", "sha384", base64Of(inDer(bytes)));
    await expect(open("p384", signature)).rejects.toMatchObject(refused("img_signature"));
  });

  it("never throws anything but a Fault, whatever the signature is", async () => {
    const digest = await digestOf(DATA, "sha512");
    const bytes = fc.oneof(
      fc.uint8Array({ minLength: 1, maxLength: 150 }),
      fc.uint8Array({ minLength: 132, maxLength: 132 }).map((raw) => inDer(raw)),
    );
    await fc.assert(
      fc.asyncProperty(bytes, async (der) => {
        const signature = signatureOf("p521", "sha512", base64Of(der));
        const attempt = open("p521", signature).then(({ verify }) => verify(digest));
        await expect(attempt).rejects.toMatchObject({ name: "Fault", status: 400 });
      }),
      { numRuns: 60 },
    );
  });
});

/** r and s, one after the other, as ECDSA-Sig-Value (RFC 3279 §2.2.3). */
function inDer(raw: Uint8Array): Uint8Array {
  const half = raw.length / 2;
  const integers = [raw.subarray(0, half), raw.subarray(half)].map((bytes) => {
    const from = bytes.findIndex((byte) => byte !== 0);
    const trimmed = from < 0 ? [0] : [...bytes.subarray(from)];
    const body = (trimmed[0] ?? 0) > 0x7f ? [0, ...trimmed] : trimmed;
    return [0x02, body.length, ...body];
  });
  const body = integers.flat();
  const length = body.length > 0x7f ? [0x81, body.length] : [body.length];
  return Uint8Array.of(0x30, ...length, ...body);
}

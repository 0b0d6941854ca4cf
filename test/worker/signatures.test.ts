import { env } from "cloudflare:workers";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { admin, owner } from "../support/callers.ts";
import { passTime, resumeTime, stopTime } from "../support/clock.ts";
import { beginImport, createStaged, finishImport, sources } from "../support/imports.ts";
import { interceptR2 } from "../support/intercept.ts";
import { Service } from "../support/service.ts";
import { bodyParameter } from "../support/source-control.ts";
import { storedKeys } from "../support/stored-bytes.ts";
import { TestedObject } from "../support/tested-object.ts";
import { bodyOf } from "../support/upload-body.ts";
import { DATA, INTERMEDIATE, LEAVES, ROOT, SIGNATURES } from "../unit/signature/openssl-signed.ts";

// Signed images, from the properties to the active image. What a signature has to be is for test/unit/signature.

const ID = "5f1a8e3e-0b43-4b0c-8d6c-6a1b9f0a4c55";
const SIGNATURE_CERTIFICATES = JSON.stringify({
  certificates: { [ID]: `${LEAVES.rsa}\n${INTERMEDIATE}` },
  roots: [ROOT],
});
const service = new Service({ settings: { SIGNATURE_CERTIFICATES } });
const source = sources();

const SIGNED = {
  img_signature: SIGNATURES["rsa sha256"],
  img_signature_hash_method: "SHA-256",
  img_signature_key_type: "RSA-PSS",
  img_signature_certificate_uuid: ID,
};

beforeEach(stopTime);
afterEach(resumeTime);

describe("uploads", () => {
  it("STO-12, 13 §8: takes data that bears the image's signature", async () => {
    expect(await service.createActive(owner, DATA, SIGNED)).toMatchObject({ status: "active" });
  });

  it("13 §8 Signature wrong: refuses other data with 400; its bytes go, and the right ones are taken", async () => {
    const { id } = await service.createEmpty(owner, SIGNED);
    const response = await service.upload(owner, id, `${DATA}!`);
    expect(response.status).toBe(400);
    expect(await response.text()).toContain("signature");
    expect(await service.show(owner, id)).toMatchObject({ status: "queued", checksum: null });
    await new TestedObject(id).untilAtRest(service.env);
    expect(await storedKeys(id)).toEqual([]);
    expect((await service.upload(owner, id, DATA)).status).toBe(204);
  });

  it.each(Object.keys(SIGNED))(
    "13 §8 Triggered: without %s nothing is verified",
    async (missing) => {
      const record = Object.fromEntries(Object.entries(SIGNED).filter(([key]) => key !== missing));
      expect(await service.createActive(owner, "unsigned", record)).toMatchObject({
        status: "active",
      });
    },
  );

  it.each([
    ["img_signature", "no Base64!"],
    ["img_signature_hash_method", "SHA-224"],
    ["img_signature_hash_method", "MD5"],
    ["img_signature_key_type", "DSA"],
    ["img_signature_key_type", "ECC_SECT571K1"],
    ["img_signature_key_type", "ECC_SECP384R1"],
    ["img_signature_certificate_uuid", "another"],
  ])("13 §8 Bad value: %s %j is 400 before any byte is stored", async (name, value) => {
    let calls = 0;
    const BLOBS = interceptR2(env.BLOBS, (_, proceed) => {
      calls += 1;
      return proceed();
    });
    const watched = new Service({ settings: { SIGNATURE_CERTIFICATES }, bindings: { BLOBS } });
    const { id, updated_at } = await watched.createEmpty(owner, { ...SIGNED, [name]: value });
    const response = await watched.upload(owner, id, DATA);
    expect(response.status, await response.text()).toBe(400);
    expect(calls).toBe(0);
    expect(await watched.show(owner, id)).toMatchObject({ status: "queued", updated_at });
  });

  it("13 §8: an image does not come to look signed while its data comes", async () => {
    const { id } = await service.createEmpty(owner);
    const body = bodyOf(async function* () {
      yield new Uint8Array(10);
      const patch = Object.entries(SIGNED).map(([name, value]) => ({
        ...{ op: "add", path: `/${name}`, value },
      }));
      expect((await service.call(owner, "PATCH", `/v2/images/${id}`, { patch })).status).toBe(200);
      yield new Uint8Array(10);
    });
    expect((await service.upload(owner, id, body)).status).toBe(409);
    expect(await service.show(owner, id)).toMatchObject({ status: "queued", checksum: null });
  });

  it("13 §9: tells nobody the values of properties that he may not read", async () => {
    const all = (role: string) => ({ create: role, read: role, update: role, delete: role });
    const rules = [
      { property: "^img_", ...all("admin") },
      { property: ".", ...all("@") },
    ];
    const settings = { SIGNATURE_CERTIFICATES, PROPERTY_PROTECTIONS: JSON.stringify({ rules }) };
    const guarded = new Service({ settings });
    for (const name of ["hash_method", "key_type", "certificate_uuid"]) {
      const secret = { owner: owner.projectId, ...SIGNED, [`img_signature_${name}`]: "TOP-SECRET" };
      const { id } = await guarded.createEmpty(admin, secret);
      const response = await guarded.upload(owner, id, DATA);
      expect(response.status).toBe(400);
      expect(await response.text()).not.toContain("TOP-SECRET");
    }
  });

  it("13 §8 Changing the properties later: verifies nothing again", async () => {
    const { id } = await service.createActive(owner, DATA, SIGNED);
    const patch = [{ op: "replace", path: "/img_signature", value: "AAAA" }];
    expect((await service.call(owner, "PATCH", `/v2/images/${id}`, { patch })).status).toBe(200);
    expect((await service.call(owner, "GET", `/v2/images/${id}/file`)).status).toBe(200);
  });
});

describe("imports", () => {
  async function imported(record: object, data: string, method: "glance-direct" | "web-download") {
    const { id } =
      method === "glance-direct"
        ? await createStaged(service, data, record)
        : await service.createEmpty(owner, record);
    const uri = source.fileUrl({ body: bodyParameter(new TextEncoder().encode(data)) });
    await beginImport(service, owner, id, { method: { name: method, uri } });
    return { id, ...(await finishImport(service, id)) };
  }

  it.each(["glance-direct", "web-download"] as const)(
    "13 §8 import: %s takes signed data, and fails the task for other data",
    async (method) => {
      expect((await imported(SIGNED, DATA, method)).image.status).toBe("active");
      const { id, image, task } = await imported(SIGNED, "other", method);
      expect(image.status).toBe("queued");
      expect(task).toMatchObject({ status: "failure" });
      expect(task?.message).toContain("signature");
      expect(await storedKeys(id)).toEqual([]);
    },
  );

  it("13 §8 Bad value, import: fails the task before anything is fetched", async () => {
    const id = crypto.randomUUID();
    const image = await service.createEmpty(owner, { ...SIGNED, img_signature_key_type: "DSA" });
    const uri = source.fileUrl({ id, size: 5 });
    await beginImport(service, owner, image.id, { method: { name: "web-download", uri } });
    const { task } = await finishImport(service, image.id);
    expect(task).toMatchObject({ status: "failure" });
    expect(await source.log(id)).toEqual([]);
  });

  it("13 §8 Not applied: stage takes what its import refuses", async () => {
    expect(await createStaged(service, "other", SIGNED)).toMatchObject({ status: "uploading" });
  });
});

it("13 §8 Certificate chain or validity dates: refuses a certificate that has expired", async () => {
  const { id } = await service.createEmpty(owner, SIGNED);
  passTime(200 * 365 * 86_400);
  const response = await service.upload(owner, id, DATA);
  expect([response.status, (await response.text()).includes("expired")]).toEqual([400, true]);
});

import { env } from "cloudflare:workers";
import { describe, expect, it } from "vitest";
import { toHex } from "../../src/lib/hex.ts";
import {
  admin,
  type Caller,
  member,
  owner,
  ownersReader,
  stranger,
  strangersReader,
} from "../support/callers.ts";
import { expectRefusal } from "../support/image-state.ts";
import { interceptR2 } from "../support/intercept.ts";
import { Service } from "../support/service.ts";
import { imageIn } from "../support/statuses.ts";
import { bodyOf } from "../support/upload-body.ts";

const service = new Service();
const MISSING = "00000000-0000-4000-8000-000000000000";
const SHA512_OF_NOTHING =
  "cf83e1357eefb8bdf1542850d66d8007d620e4050b5715dc83f4a921d36ce9ce" +
  "47d0d13c5d85f2b0ff8318d2877eec2f63b931bd47417a81a538327af927da3e";

async function hashOf(algorithm: string, text: string): Promise<string> {
  return toHex(await crypto.subtle.digest(algorithm, new TextEncoder().encode(text)));
}

/** The body in two chunks of unknown length, as a chunked request brings it. */
function chunked(text: string): ReadableStream<Uint8Array> {
  const bytes = new TextEncoder().encode(text);
  return bodyOf(async function* () {
    yield bytes.subarray(0, 2);
    yield bytes.subarray(2);
  });
}

describe("PUT file", () => {
  it("UPL-1, HSH-1, CLI-4: answers an empty 204 and makes the image active with size and hashes", async () => {
    const { id } = await service.createEmpty(owner);
    const response = await service.upload(owner, id, "hello");
    expect(response.status).toBe(204);
    expect(response.headers.get("content-type")).toBeNull();
    expect(await response.text()).toBe("");
    expect(await service.show(owner, id)).toMatchObject({
      status: "active",
      size: 5,
      checksum: "5d41402abc4b2a76b9719d911017c592",
      os_hash_algo: "sha512",
      os_hash_value: await hashOf("SHA-512", "hello"),
    });
  });

  it.each([
    ["md5", "MD5"],
    ["sha1", "SHA-1"],
    ["sha256", "SHA-256"],
    ["sha384", "SHA-384"],
    ["sha512", "SHA-512"],
  ])("HSH-1: hashes with the configured %s, beside MD5", async (algorithm, name) => {
    const configured = new Service({ settings: { HASHING_ALGORITHM: algorithm } });
    expect(await configured.createActive(owner, "hello")).toMatchObject({
      checksum: await hashOf("MD5", "hello"),
      os_hash_algo: algorithm,
      os_hash_value: await hashOf(name, "hello"),
    });
  });

  it.each([undefined, "", "text/plain", "Application/Octet-Stream", "application/octet-streams"])(
    "UPL-2: refuses Content-Type %j with 415, and changes nothing",
    async (type) => {
      const { id } = await service.createEmpty(owner);
      const headers: Record<string, string> = type === undefined ? {} : { "content-type": type };
      const body = new TextEncoder().encode("hello");
      await expectRefusal(415, id, () =>
        service.call(owner, "PUT", `/v2/images/${id}/file`, { body, headers }),
      );
    },
  );

  it("UPL-2: lets a refused client finish its body, as python-requests reads no answer before", async () => {
    let isSent = false;
    const body = bodyOf(async function* () {
      yield new Uint8Array(3);
      yield new Uint8Array(3);
      isSent = true;
    });
    expect((await service.upload(owner, MISSING, body)).status).toBe(404);
    expect(isSent).toBe(true);
  });

  it("UPL-2: overlooks the parameters of Content-Type", async () => {
    const { id } = await service.createEmpty(owner);
    const headers = { "content-type": "application/octet-stream; charset=binary" };
    expect((await service.upload(owner, id, "hello", headers)).status).toBe(204);
  });

  it.each([
    ["with Content-Length", "hello", { "content-length": "5" }],
    ["in chunks", chunked("hello"), {}],
    ["in chunks, its size announced", chunked("hello"), { "x-openstack-image-size": "5" }],
  ] as const)("UPL-3: takes a body %s", async (_, body, headers) => {
    const { id } = await service.createEmpty(owner);
    expect((await service.upload(owner, id, body, headers)).status).toBe(204);
    expect(await service.show(owner, id)).toMatchObject({ status: "active", size: 5 });
  });

  it.each([
    ["an empty one", ""],
    ["one in chunks that brings nothing", bodyOf(async function* () {})],
  ])("UPL-4: takes a body without bytes: %s", async (_, body) => {
    const { id } = await service.createEmpty(owner);
    expect((await service.upload(owner, id, body)).status).toBe(204);
    expect(await service.show(owner, id)).toMatchObject({
      status: "active",
      size: 0,
      virtual_size: null,
      checksum: "d41d8cd98f00b204e9800998ecf8427e",
      os_hash_value: SHA512_OF_NOTHING,
    });
  });

  it("UPL-4: takes a request without a body at all", async () => {
    const { id } = await service.createEmpty(owner);
    const headers = { "content-type": "application/octet-stream", "content-length": "0" };
    const response = await service.call(owner, "PUT", `/v2/images/${id}/file`, { headers });
    expect(response.status).toBe(204);
    expect(await service.show(owner, id)).toMatchObject({ status: "active", size: 0 });
  });
});

describe("who may upload", () => {
  it("UPL-5: answers 404 for an image that is unknown, deleted, or not visible", async () => {
    const { id: deleted } = await service.createEmpty(owner);
    await service.call(owner, "DELETE", `/v2/images/${deleted}`);
    const { id: hidden } = await service.createEmpty(owner);
    for (const [caller, id] of [
      [owner, MISSING],
      [owner, "not-an-id"],
      [owner, deleted],
      [stranger, hidden],
    ] as const) {
      await expectRefusal(404, id, () => service.upload(caller, id, "hello"));
    }
  });

  it.each<[string, Caller, object]>([
    ["the owner's reader", ownersReader, {}],
    ["another project, though the image is community", stranger, { visibility: "community" }],
    ["another project's reader", strangersReader, { visibility: "community" }],
  ])("UPL-6: refuses %s with 403", async (_, caller, record) => {
    const { id } = await service.createEmpty(owner, record);
    await expectRefusal(403, id, () => service.upload(caller, id, "hello"));
  });

  it("UPL-6: refuses a member of the image with 403, and takes an admin's data", async () => {
    const formats = { disk_format: "raw", container_format: "bare" };
    const { id } = await service.createShared(owner, member, "accepted", formats);
    await expectRefusal(403, id, () => service.upload(member, id, "hello"));
    expect((await service.upload(admin, id, "hello")).status).toBe(204);
  });
});

describe("what stands in the way of an upload", () => {
  it.each([
    [{}, "disk_format and container_format"],
    [{ disk_format: "raw" }, "container_format"],
    [{ container_format: "bare" }, "disk_format"],
  ])("UPL-7: names the missing formats of %j", async (record, missing) => {
    const { id } = await service.create(owner, record);
    const sentence = await expectRefusal(400, id, () => service.upload(owner, id, "hello"));
    expect(sentence).toContain(`Set ${missing} `);
  });

  it.each(["active", "uploading", "importing", "deactivated", "killed"] as const)(
    "UPL-8: refuses data for an image that is %s with 409",
    async (status) => {
      const { id } = await imageIn(service, status);
      await expectRefusal(409, id, () => service.upload(owner, id, "other"));
    },
  );

  it("UPL-9: shows a running upload as saving, without size and data, and takes no second one", async () => {
    const { id } = await service.createEmpty(owner);
    const seen: unknown[] = [];
    const response = await service.upload(
      owner,
      id,
      bodyOf(async function* () {
        yield new Uint8Array(3);
        const { status, size } = await service.show(owner, id);
        const data = await service.call(owner, "GET", `/v2/images/${id}/file`);
        const second = await service.upload(owner, id, "other");
        seen.push(status, size, data.status, second.status);
        yield new Uint8Array(4);
      }),
    );
    expect(seen).toEqual(["saving", null, 204, 409]);
    expect(response.status).toBe(204);
    expect(await service.show(owner, id)).toMatchObject({ status: "active", size: 7 });
  });
});

describe("the announced size", () => {
  it.each(["ten", "-1", "-0", "1.5", "", "0x10", "1e3", "5 5", "99999999999999999999"])(
    "SIZ-1: refuses x-openstack-image-size %j with 400, whatever the image",
    async (size) => {
      const { id } = await service.createEmpty(owner);
      const headers = { "x-openstack-image-size": size };
      await expectRefusal(400, id, () => service.upload(owner, id, "hello", headers));
      expect((await service.upload(owner, MISSING, "hello", headers)).status).toBe(400);
    },
  );

  it.each([
    ["SIZ-2", "more bytes than announced", "hello", "4", "exceeds"],
    ["SIZ-3", "fewer bytes than announced", "hello", "6", "mismatch"],
    ["SIZ-3", "no bytes where some are announced", "", "6", "mismatch"],
  ])("%s: refuses %s with 400, and can be tried again", async (_, __, body, size, phrase) => {
    const { id } = await service.createEmpty(owner);
    for (const sent of body === "" ? [body] : [body, chunked(body)]) {
      const headers = { "x-openstack-image-size": size };
      const response = await service.upload(owner, id, sent, headers);
      expect(response.status).toBe(400);
      expect(await response.text()).toContain(phrase);
      expect(await service.show(owner, id)).toMatchObject({ status: "queued", size: null });
    }
    expect((await service.upload(owner, id, "hello")).status).toBe(204);
  });

  it.each<[string, Record<string, string>]>([
    ["0", { "x-openstack-image-size": "0" }],
    ["0, before Content-Length", { "x-openstack-image-size": "0", "content-length": "5" }],
    ["nothing", {}],
  ])("SIZ-4: takes any size when %s is announced", async (_, headers) => {
    const { id } = await service.createEmpty(owner);
    expect((await service.upload(owner, id, chunked("hello"), headers)).status).toBe(204);
    expect(await service.show(owner, id)).toMatchObject({ status: "active", size: 5 });
  });

  it("SIZ-5: does not verify X-Image-Meta-Checksum; Content-MD5 is (expected-hashes.test.ts)", async () => {
    const { id } = await service.createEmpty(owner);
    const headers = { "x-image-meta-checksum": "0".repeat(32) };
    expect((await service.upload(owner, id, "hello", headers)).status).toBe(204);
  });

  it.each(["5", "+5", " 5 "])("SIZ-6: takes x-openstack-image-size %j", async (size) => {
    const { id } = await service.createEmpty(owner);
    const headers = { "x-openstack-image-size": size };
    expect((await service.upload(owner, id, "hello", headers)).status).toBe(204);
  });

  it("CLI-2: serves a client that sends an empty Accept, and tells it errors as JSON", async () => {
    const { id } = await service.createEmpty(owner);
    const sdk = { accept: "", "x-openstack-image-size": "5" };
    expect((await service.upload(owner, id, "hello", sdk)).status).toBe(204);
    const refused = await service.upload(owner, id, "hello", sdk);
    expect(refused.headers.get("content-type")).toBe("application/json");
    expect(await refused.json()).toMatchObject({ code: "409 Conflict" });
  });
});

describe("the store", () => {
  it("STO-3: overlooks X-Image-Meta-Store, as there is one store", async () => {
    const { id } = await service.createEmpty(owner);
    const headers = { "x-image-meta-store": "nowhere" };
    expect((await service.upload(owner, id, "hello", headers)).status).toBe(204);
  });

  describe("with a cap on size", () => {
    const capped = new Service({ settings: { IMAGE_SIZE_CAP: "5" } });

    it.each([
      ["of known length", "sixsix", { "content-length": "6" }],
      ["of announced length", "sixsix", { "x-openstack-image-size": "6" }],
      ["of unknown length", chunked("sixsix"), {}],
    ] as const)("STO-5: refuses data over it with 413, %s", async (_, body, headers) => {
      const { id } = await capped.createEmpty(owner);
      expect((await capped.upload(owner, id, body, headers)).status).toBe(413);
      expect(await capped.show(owner, id)).toMatchObject({ status: "queued", size: null });
      expect((await capped.upload(owner, id, "hello")).status).toBe(204);
    });

    it("STO-5: does not even claim the image, where the length is known", async () => {
      const { id } = await capped.createEmpty(owner);
      await expectRefusal(413, id, () =>
        capped.upload(owner, id, chunked("sixsix"), { "x-openstack-image-size": "6" }),
      );
    });

    it.each(["hello", chunked("hello")])("STO-5: takes exactly the cap", async (body) => {
      const { id } = await capped.createEmpty(owner);
      expect((await capped.upload(owner, id, body)).status).toBe(204);
    });
  });

  it("STO-9, STO-13: answers 503 when the store takes nothing, and the image is queued again", async () => {
    const full = new Service({
      bindings: {
        BLOBS: interceptR2(env.BLOBS, () => Promise.reject(new Error("put: no access (10003)"))),
      },
    });
    const { id } = await full.createEmpty(owner);
    expect((await full.upload(owner, id, "hello")).status).toBe(503);
    expect(await full.show(owner, id)).toMatchObject({ status: "queued", size: null });
    expect((await service.upload(owner, id, "hello")).status).toBe(204);
  });
});

import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { owner } from "../support/callers.ts";
import { resumeTime, stopTime } from "../support/clock.ts";
import { Service } from "../support/service.ts";
import { findStrays, storedKeys } from "../support/stored-bytes.ts";
import { TestedObject } from "../support/tested-object.ts";

const service = new Service();
const DATA = "the data of an image";

async function digest(algorithm: string, text: string): Promise<string> {
  const bytes = await crypto.subtle.digest(algorithm, new TextEncoder().encode(text));
  return btoa(String.fromCharCode(...new Uint8Array(bytes)));
}

/** Each header, with the digest of this text. */
async function headersOf(text: string): Promise<ReadonlyArray<Readonly<Record<string, string>>>> {
  const [sha256, sha512] = [await digest("SHA-256", text), await digest("SHA-512", text)];
  return [
    { "content-digest": `sha-256=:${sha256}:` },
    { "content-digest": `sha-512=:${sha512}:` },
    { "repr-digest": `sha-256=:${sha256}:, sha-512=:${sha512}:` },
    { "content-md5": await digest("MD5", text) },
  ];
}

async function send(path: "file" | "stage", id: string, headers: Readonly<Record<string, string>>) {
  return service.call(owner, "PUT", `/v2/images/${id}/${path}`, {
    body: DATA,
    headers: { "content-type": "application/octet-stream", ...headers },
  });
}

beforeEach(stopTime);
afterEach(resumeTime);

describe.each([
  ["file", "active"],
  ["stage", "uploading"],
] as const)("expected hashes of PUT %s", (path, done) => {
  it("takes data that is what its sender says", async () => {
    for (const headers of await headersOf(DATA)) {
      const { id } = await service.createEmpty(owner);
      expect((await send(path, id, headers)).status, JSON.stringify(headers)).toBe(204);
      expect(await service.show(owner, id)).toMatchObject({ status: done, size: DATA.length });
    }
  });

  it("refuses other data with 400: the image is queued, its bytes are gone, the next try succeeds", async () => {
    for (const headers of await headersOf("other data")) {
      const { id } = await service.createEmpty(owner);
      const response = await send(path, id, headers);
      const text = await response.text();
      expect(response.status, text).toBe(400);
      expect(text).toMatch(/The data has the (md5|sha256|sha512) [0-9a-f]+, not [0-9a-f]+ as was/);
      expect(await service.show(owner, id)).toMatchObject({
        status: "queued",
        size: null,
        virtual_size: null,
        checksum: null,
        os_hash_algo: null,
        os_hash_value: null,
      });
      await new TestedObject(id).untilAtRest();
      expect(await storedKeys(id)).toEqual([]);
      stopTime();
      expect((await send(path, id, {})).status).toBe(204);
      expect(await findStrays(id)).toEqual([]);
    }
  });

  it("refuses a malformed field with 400 before the data is looked at, and changes nothing", async () => {
    const { id, updated_at } = await service.createEmpty(owner);
    for (const headers of [
      { "content-digest": "sha-256=nonsense" },
      { "repr-digest": "md5=:1B2M2Y8AsgTpgAmY7PhCfg==:" },
      { "content-md5": "nonsense" },
    ]) {
      const response = await send(path, id, headers);
      expect(response.status).toBe(400);
      expect(await response.text()).toContain("Invalid value for");
    }
    expect(await service.show(owner, id)).toMatchObject({ status: "queued", updated_at });
  });
});

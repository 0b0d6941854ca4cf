import { env } from "cloudflare:workers";
import { beforeAll, describe, expect, it } from "vitest";
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
import { interceptR2 } from "../support/intercept.ts";
import { type ImageRecord, Service } from "../support/service.ts";
import { imageIn } from "../support/statuses.ts";
import { storedKeys } from "../support/stored-bytes.ts";

const service = new Service();
const MISSING = "00000000-0000-4000-8000-000000000000";
const DATA = "0123456789";

type Headers = Readonly<Record<string, string>>;

function get(caller: Caller, id: string, headers: Headers = {}, query = ""): Promise<Response> {
  return service.call(caller, "GET", `/v2/images/${id}/file${query}`, { headers });
}

function head(caller: Caller, id: string, headers: Headers = {}): Promise<Response> {
  return service.call(caller, "HEAD", `/v2/images/${id}/file`, { headers });
}

async function textOf(response: Response): Promise<string> {
  return new TextDecoder().decode(await response.arrayBuffer());
}

let image: ImageRecord;
let etag: string;

beforeAll(async () => {
  image = await service.createActive(owner, DATA);
  etag = `"${image.os_hash_value}"`;
});

describe("GET file", () => {
  it("DWN-1: gives the bytes with their length and their MD5 in hex", async () => {
    const response = await get(owner, image.id);
    expect(response.status).toBe(200);
    expect(Object.fromEntries(response.headers)).toMatchObject({
      "content-type": "application/octet-stream",
      "content-length": "10",
      "content-md5": image.checksum,
    });
    expect(response.headers.has("content-disposition")).toBe(false);
    expect(await textOf(response)).toBe(DATA);
  });

  it("DWN-1: gives an image of no bytes as no bytes", async () => {
    const { id } = await service.createActive(owner, "");
    const response = await get(owner, id);
    expect(response.status).toBe(200);
    expect(response.headers.get("content-length")).toBe("0");
    expect(await textOf(response)).toBe("");
  });

  it("CLI-1: gives bytes that verify against the record that was read first", async () => {
    const record = await service.show(owner, image.id);
    const bytes = await (await get(owner, image.id)).arrayBuffer();
    expect(record.os_hash_algo).toBe("sha512");
    expect(toHex(await crypto.subtle.digest("SHA-512", bytes))).toBe(record.os_hash_value);
    expect(toHex(await crypto.subtle.digest("MD5", bytes))).toBe(record.checksum);
  });

  it.each(["queued", "saving", "uploading", "importing", "killed"] as const)(
    "DWN-2, CLI-3: answers an empty 204 while the image is %s",
    async (status) => {
      const { id } = await imageIn(service, status);
      const response = await get(owner, id);
      expect(response.status).toBe(204);
      expect(response.headers.has("content-type")).toBe(false);
      expect(await textOf(response)).toBe("");
    },
  );

  it("DWN-3: answers 404 when the bytes are gone from the store", async () => {
    const { id } = await service.createActive(owner, DATA);
    await env.BLOBS.delete([...(await storedKeys(id))]);
    const response = await get(owner, id);
    expect(response.status).toBe(404);
    expect(await response.text()).toContain("no longer in its store");
  });

  it("DWN-4: answers 404 for an image that is unknown, deleted, or not visible", async () => {
    const { id: deleted } = await service.createActive(owner, DATA);
    await service.call(owner, "DELETE", `/v2/images/${deleted}`);
    expect((await get(owner, MISSING)).status).toBe(404);
    expect((await get(owner, deleted)).status).toBe(404);
    expect((await get(stranger, image.id)).status).toBe(404);
  });

  it("DWN-5: refuses a deactivated image with 403 to all but admins, before any policy", async () => {
    const { id } = await imageIn(service, "deactivated");
    for (const caller of [owner, ownersReader]) {
      const response = await get(caller, id);
      expect(response.status).toBe(403);
      expect(await response.text()).toContain("deactivated");
    }
    const response = await get(admin, id);
    expect(response.status).toBe(200);
    expect(await textOf(response)).toBe("data");
    expect((await get(stranger, id)).status).toBe(404);
  });

  it("DWN-6: refuses a reader with 403, be the image its project's own or public", async () => {
    const { id } = await service.createActive(admin, DATA, { visibility: "public" });
    expect((await get(ownersReader, image.id)).status).toBe(403);
    expect((await get(strangersReader, id)).status).toBe(403);
    const response = await get(stranger, id);
    expect(response.status).toBe(200);
    expect(await textOf(response)).toBe(DATA);
  });

  it.each(["pending", "accepted", "rejected"] as const)(
    "DWN-7: gives the bytes to a member whose status is %s",
    async (status) => {
      const formats = { disk_format: "raw", container_format: "bare" };
      const { id } = await service.createShared(owner, member, status, formats);
      await service.upload(owner, id, DATA);
      const response = await get(member, id);
      expect(response.status).toBe(200);
      expect(await textOf(response)).toBe(DATA);
    },
  );

  it("DWN-8: refuses a request body with 400", async () => {
    expect((await get(owner, image.id, { "content-length": "3" })).status).toBe(400);
    expect((await get(owner, image.id, { "transfer-encoding": "chunked" })).status).toBe(400);
  });

  it.each(["application/json", "text/html", "image/png", ""])(
    "DWN-9: overlooks Accept %j",
    async (accept) => {
      const response = await get(owner, image.id, { accept });
      expect(response.status).toBe(200);
      expect(response.headers.get("content-type")).toBe("application/octet-stream");
      expect(await textOf(response)).toBe(DATA);
    },
  );

  it("DWN-11: answers 503 when the store does not answer", async () => {
    const broken = new Service({
      bindings: {
        BLOBS: interceptR2(env.BLOBS, () => Promise.reject(new Error("get: denied (10003)"))),
      },
    });
    expect((await broken.call(owner, "GET", `/v2/images/${image.id}/file`)).status).toBe(503);
  });

  it.each(["a", "a,b", "default"])(
    "DWN-15: refuses ?prefer=%s, as there is one store",
    async (to) => {
      expect((await get(owner, image.id, {}, `?prefer=${to}`)).status).toBe(400);
    },
  );

  it.each(["?prefer=", "?prefer=,", "?prefer=,,"])("DWN-15: overlooks %s", async (query) => {
    const response = await get(owner, image.id, {}, query);
    expect(response.status).toBe(200);
    expect(await textOf(response)).toBe(DATA);
  });

  it("DWN-16: overlooks other query parameters", async () => {
    const response = await get(owner, image.id, {}, "?limit=-1&anything=else");
    expect(response.status).toBe(200);
    expect(await textOf(response)).toBe(DATA);
  });

  it("DWN-17: does not begin an answer with bytes that are more or fewer than the image has", async () => {
    const { id } = await service.createActive(owner, DATA);
    const [key = ""] = await storedKeys(id);
    for (const other of ["012345678", "0123456789a"]) {
      await env.BLOBS.put(key, other);
      expect((await get(owner, id)).status).toBe(500);
    }
  });

  it("DWN-17: cuts the answer when the store's bytes break off", async () => {
    const body = new ReadableStream<Uint8Array>({
      pull(controller) {
        controller.enqueue(new TextEncoder().encode("0123"));
        controller.error(new Error("broken off"));
      },
    });
    const short = new Proxy(env.BLOBS, { get: () => async () => ({ size: 10, body }) });
    const failing = new Service({ bindings: { BLOBS: short } });
    const response = await failing.call(owner, "GET", `/v2/images/${image.id}/file`);
    expect(response.status).toBe(200);
    await expect(response.arrayBuffer()).rejects.toThrow("broken off");
  });
});

/** What of the ten bytes comes, or undefined where nothing does. */
const RANGES: readonly [
  row: string,
  headers: Headers,
  status: number,
  range?: string,
  data?: string,
][] = [
  ["RNG-1", { range: "bytes=0-4" }, 206, "bytes 0-4/10", "01234"],
  ["RNG-2", { range: "bytes=5-" }, 206, "bytes 5-9/10", "56789"],
  ["RNG-3", { range: "bytes=0-" }, 206, "bytes 0-9/10", DATA],
  ["RNG-4", { range: "bytes=-3" }, 206, "bytes 7-9/10", "789"],
  ["RNG-5", { range: "bytes=-11" }, 206, "bytes 0-9/10", DATA],
  ["RNG-5", { range: "bytes=-100" }, 206, "bytes 0-9/10", DATA],
  ["RNG-6", { range: "bytes=-0" }, 416],
  ["RNG-7", { range: "bytes=9-20" }, 206, "bytes 9-9/10", "9"],
  ["RNG-8", { range: "bytes=10-" }, 416],
  ["RNG-8", { range: "bytes=10-12" }, 416],
  ["RNG-9", { range: "bytes=5-2" }, 416],
  ["RNG-9", { range: "bytes=a-b" }, 416],
  ["RNG-9", { range: "bytes=" }, 416],
  ["RNG-9", { range: "foo=0-1" }, 416],
  ["RNG-9", { range: "0-4" }, 416],
  ["RNG-9", { range: "" }, 416],
  ["RNG-10", { range: "bytes=0-1,3-4" }, 400],
  ["RNG-10", { range: "bytes=0-4," }, 400],
  ["RNG-11", { range: "BYTES=0-4" }, 206, "bytes 0-4/10", "01234"],
  ["RNG-11", { range: "bytes= 0 - 4 " }, 206, "bytes 0-4/10", "01234"],
  ["RNG-12", { range: "bytes=-" }, 416],
  ["RNG-14", { "content-range": "bytes 0-4/10" }, 206, "bytes 0-4/10", "01234"],
  ["RNG-14", { "content-range": "bytes 0-4/*" }, 206, "bytes 0-4/10", "01234"],
  ["RNG-15", { "content-range": "bytes 3-16/10" }, 416],
  ["RNG-15", { "content-range": "bytes 10-10/10" }, 416],
  ["RNG-15", { "content-range": "bytes 5-2/10" }, 416],
  ["RNG-15", { "content-range": "foo" }, 416],
  ["RNG-15", { "content-range": "bytes 0-4" }, 416],
  ["RNG-15", { "content-range": "bytes=0-4" }, 416],
  ["RNG-16", { "content-range": "bytes 3-16/*" }, 416],
  ["RNG-16", { "content-range": "bytes 10-12/*" }, 416],
  ["RNG-17", { "content-range": "bytes 0-9/20" }, 206, "bytes 0-9/10", DATA],
  ["RNG-17", { "content-range": "bytes 5-15/20" }, 416],
  ["RNG-18", { "content-range": "bytes */10" }, 416],
  ["RNG-14", { range: "bytes=1-2", "content-range": "bytes 0-4/10" }, 206, "bytes 1-2/10", "12"],
];

describe("ranges of ten bytes", () => {
  it.each(RANGES)("%s: %j is answered %d %s", async (_, headers, status, range, data) => {
    const response = await get(owner, image.id, headers);
    expect(response.status).toBe(status);
    const said = response.headers.get("content-range");
    if (data === undefined) {
      // RFC 9110 §14.4: a 416 tells the size.
      expect(said).toBe(status === 416 ? "bytes */10" : null);
      expect(await response.json()).toMatchObject({ message: expect.any(String) });
      return;
    }
    expect(said).toBe(range);
    expect(response.headers.get("content-length")).toBe(String(data.length));
    expect(await textOf(response)).toBe(data);
  });

  it("RNG-13: overlooks any range of an image without data", async () => {
    const { id } = await service.createEmpty(owner);
    for (const range of ["bytes=0-4", "bytes=10-", "foo", "bytes=0-1,3-4"]) {
      expect((await get(owner, id, { range })).status).toBe(204);
    }
  });

  it("RNG-19: gives no Content-MD5 with a part", async () => {
    const response = await get(owner, image.id, { range: "bytes=0-9" });
    expect(response.headers.has("content-md5")).toBe(false);
    expect(response.headers.get("etag")).toBe(etag);
    expect(await textOf(response)).toBe(DATA);
  });

  it("RNG-20: asks who may read before it looks at the range", async () => {
    const { id: deactivated } = await imageIn(service, "deactivated");
    const unsatisfiable = { range: "bytes=100-" };
    expect((await get(ownersReader, image.id, unsatisfiable)).status).toBe(403);
    expect((await get(stranger, image.id, unsatisfiable)).status).toBe(404);
    expect((await get(owner, deactivated, unsatisfiable)).status).toBe(403);
    expect((await get(owner, MISSING, unsatisfiable)).status).toBe(404);
  });
});

describe("conditions on GET file", () => {
  it("DWN-1: names the data by its hash and offers ranges, beyond the reference", async () => {
    const response = await get(owner, image.id);
    expect(response.headers.get("etag")).toBe(etag);
    expect(response.headers.get("accept-ranges")).toBe("bytes");
    await response.arrayBuffer();
  });

  it.each<[string, (own: string) => Headers, number]>([
    ["If-None-Match with the tag", (own) => ({ "if-none-match": own }), 304],
    ["If-None-Match with the tag, weak", (own) => ({ "if-none-match": `W/${own}` }), 304],
    ["If-None-Match *", () => ({ "if-none-match": "*" }), 304],
    ["If-None-Match with another", () => ({ "if-none-match": '"other"' }), 200],
    ["If-Match with the tag", (own) => ({ "if-match": `"other", ${own}` }), 200],
    ["If-Match *", () => ({ "if-match": "*" }), 200],
    ["If-Match with another", () => ({ "if-match": '"other"' }), 412],
    ["If-Match with the tag, weak", (own) => ({ "if-match": `W/${own}` }), 412],
    ["If-Range with the tag", (own) => ({ range: "bytes=0-4", "if-range": own }), 206],
    ["If-Range with another", () => ({ range: "bytes=0-4", "if-range": '"other"' }), 200],
    [
      "If-Range with a date",
      () => ({ range: "bytes=0-4", "if-range": new Date().toUTCString() }),
      200,
    ],
    [
      "a range that cannot be, of other data",
      () => ({ range: "bytes=50-", "if-range": '"other"' }),
      200,
    ],
    ["If-Modified-Since", () => ({ "if-modified-since": new Date().toUTCString() }), 200],
  ])("DWN-10: %s is honoured as HTTP has it", async (_, conditions, status) => {
    const response = await get(owner, image.id, conditions(etag));
    expect(response.status).toBe(status);
    if (status === 304) expect(response.headers.get("etag")).toBe(etag);
    const data = { 200: DATA, 206: "01234", 304: "" }[status];
    const text = await textOf(response);
    expect(data ?? "412 Precondition Failed").toBe(
      data === undefined ? JSON.parse(text).code : text,
    );
  });

  it("DWN-10: tells nobody who may not read whether the tag is right", async () => {
    expect((await get(ownersReader, image.id, { "if-none-match": etag })).status).toBe(403);
    expect((await get(stranger, image.id, { "if-none-match": etag })).status).toBe(404);
  });

  it("DWN-2: answers 204 without data, whatever the condition", async () => {
    const { id } = await service.createEmpty(owner);
    expect((await get(owner, id, { "if-match": '"any"' })).status).toBe(204);
  });
});

describe("HEAD file", () => {
  it("DWN-13: is served beyond the reference: what GET says of the whole, without the bytes", async () => {
    const whole = await get(owner, image.id);
    await whole.arrayBuffer();
    const response = await head(owner, image.id);
    expect(response.status).toBe(200);
    expect(response.body).toBeNull();
    const told = ["content-type", "content-length", "content-md5", "etag", "accept-ranges"];
    for (const name of told) expect(response.headers.get(name)).toBe(whole.headers.get(name));
    expect(Object.fromEntries(response.headers)).toMatchObject({
      "x-openstack-image-size": "10",
      "x-openstack-image-hash-algo": "sha512",
      "x-openstack-image-hash-value": image.os_hash_value,
    });
  });

  it("DWN-3, DWN-17: says what GET says of bytes that are gone or fewer, and both are counted", async () => {
    const { id } = await service.createActive(owner, DATA);
    const [key = ""] = await storedKeys(id);
    const counted = async (found: string) => {
      const text = await (await service.call(admin, "GET", "/metrics")).text();
      const sample = `glimpse_damaged_copies_total{store="default",found="${found}"} `;
      return Number(
        text
          .split("\n")
          .find((line) => line.startsWith(sample))
          ?.slice(sample.length),
      );
    };
    const before = [(await counted("other size")) || 0, (await counted("missing")) || 0] as const;
    await env.BLOBS.put(key, DATA.slice(1));
    const short = [await get(owner, id), await head(owner, id)];
    expect(short.map(({ status }) => status)).toEqual([500, 500]);
    await env.BLOBS.delete(key);
    const gone = [await get(owner, id), await head(owner, id)];
    expect(gone.map(({ status }) => status)).toEqual([404, 404]);
    const after = [await counted("other size"), await counted("missing")];
    expect(after).toEqual([before[0] + 2, before[1] + 2]);
  });

  it("DWN-13: overlooks ranges, which are for GET only (RFC 9110 §14.2)", async () => {
    for (const range of ["bytes=0-4", "bytes=10-", "bytes=0-1,3-4"]) {
      const response = await head(owner, image.id, { range });
      expect(response.status).toBe(200);
      expect(response.headers.get("content-length")).toBe("10");
    }
  });

  it.each([
    ["If-None-Match with the tag", { "if-none-match": "own" }, 304],
    ["If-None-Match with another", { "if-none-match": '"other"' }, 200],
    ["If-Match with the tag", { "if-match": "own" }, 200],
    ["If-Match with another", { "if-match": '"other"' }, 412],
  ])("DWN-10: honours %s", async (_, conditions, status) => {
    const headers = Object.fromEntries(
      Object.entries(conditions).map(([name, tag]) => [name, tag === "own" ? etag : tag]),
    );
    expect((await head(owner, image.id, headers)).status).toBe(status);
    const record = await service.call(owner, "HEAD", `/v2/images/${image.id}`, { headers });
    expect(record.status).toBe(status);
  });

  it("DWN-2, DWN-4, DWN-5, DWN-6: is refused where GET is", async () => {
    const { id: queued } = await imageIn(service, "queued");
    const { id: deactivated } = await imageIn(service, "deactivated");
    expect((await head(owner, queued)).status).toBe(204);
    expect((await head(stranger, image.id)).status).toBe(404);
    expect((await head(owner, deactivated)).status).toBe(403);
    expect((await head(ownersReader, image.id)).status).toBe(403);
  });
});

describe("HEAD image", () => {
  it("DWN-13: tells size, hashes and the data's tag without a body", async () => {
    const response = await service.call(ownersReader, "HEAD", `/v2/images/${image.id}`);
    expect(response.status).toBe(200);
    expect(response.body).toBeNull();
    expect(Object.fromEntries(response.headers)).toMatchObject({
      etag,
      "accept-ranges": "bytes",
      "x-openstack-image-size": "10",
      "x-image-meta-checksum": image.checksum,
      "x-openstack-image-hash-algo": "sha512",
      "x-openstack-image-hash-value": image.os_hash_value,
    });
  });

  it("DWN-13: tells none of these of an image without data", async () => {
    const { id } = await service.createEmpty(owner);
    const response = await service.call(owner, "HEAD", `/v2/images/${id}`);
    expect(response.status).toBe(200);
    const names = [...response.headers.keys()];
    expect(names.filter((name) => /etag|ranges|size|hash|checksum/.test(name))).toEqual([]);
  });
});

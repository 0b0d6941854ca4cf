import { env } from "cloudflare:workers";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { owner } from "../support/callers.ts";
import { passTime, resumeTime, stopTime } from "../support/clock.ts";
import { finishImport, tasksOf } from "../support/imports.ts";
import { type CallOptions, Service } from "../support/service.ts";
import { storedKeys } from "../support/stored-bytes.ts";
import { TestedObject } from "../support/tested-object.ts";
import { Tus } from "../support/tus.ts";
import { bodyOf } from "../support/upload-body.ts";

// What the text of tus 1.0 demands of a server (https://tus.io/protocols/resumable-upload), in its order and in
// short. Each test begins with the section that it is from.

const service = new Service();
const tus = new Tus(service);

const TUS = { "tus-resumable": "1.0.0" };
const LENGTH = { "upload-length": "11" };
const PARTIAL = { "upload-concat": "partial" };
const HELLO = "hello world";

beforeEach(stopTime);
afterEach(resumeTime);

/** A queued image, and an upload to it of so many bytes. */
async function begin(headers: Readonly<Record<string, string>> = LENGTH) {
  const { id } = await service.createEmpty(owner);
  return { id, upload: await tus.create(owner, id, headers) };
}

const call = (method: string, path: string, options: CallOptions = {}) =>
  service.call(owner, method, path, options);

async function digestOf(text: string, algorithm: string): Promise<string> {
  const bytes = await crypto.subtle.digest(algorithm, new TextEncoder().encode(text));
  return btoa(String.fromCharCode(...new Uint8Array(bytes)));
}

async function expectContent(id: string, text: string): Promise<void> {
  expect((await finishImport(service, id)).image).toMatchObject({ status: "active" });
  expect(await (await call("GET", `/v2/images/${id}/file`)).text()).toBe(text);
  expect(await storedKeys(id)).toHaveLength(1);
}

/** Two partial uploads with all their bytes. */
async function beginParts(texts: readonly string[] = ["hello", " world"]) {
  const { id } = await service.createEmpty(owner);
  const parts: string[] = [];
  for (const text of texts) {
    const headers = { "upload-length": String(text.length), ...PARTIAL };
    const part = await tus.create(owner, id, headers);
    if (text !== "") await tus.patch(owner, part, 0, text);
    parts.push(part);
  }
  return { id, parts };
}

const finalOf = (parts: readonly string[]) => ({ "upload-concat": `final;${parts.join(" ")}` });

describe("tus core headers", () => {
  it("Tus-Resumable MUST be in every response", async () => {
    const { id, upload } = await begin();
    const answers = [
      await tus.begin(owner, id, LENGTH),
      await tus.begin(owner, id, {}),
      await tus.head(owner, upload),
      await tus.head(owner, `/v2/images/${id}/uploads/${crypto.randomUUID()}`),
      await tus.send(owner, upload, 7, "x"),
      await tus.send(owner, upload, 0, HELLO),
      await tus.terminate(owner, upload),
      await service.call(null, "HEAD", upload, { headers: TUS }),
      await call("GET", upload, { headers: TUS }),
    ];
    for (const { headers } of answers) expect(headers.get("tus-resumable")).toBe("1.0.0");
  });

  it.each([
    ["HEAD", {}],
    ["HEAD", { "tus-resumable": "0.2.2" }],
    ["PATCH", {}],
    ["PATCH", { "tus-resumable": "1.0.1" }],
    ["DELETE", {}],
    ["DELETE", { "tus-resumable": "2" }],
  ])(
    "another version MUST be 412 with Tus-Version and MUST NOT be processed: %s %j",
    async (method, version) => {
      const { upload } = await begin();
      const headers = {
        "content-type": "application/offset+octet-stream",
        "upload-offset": "0",
        ...version,
      };
      const response = await call(method, upload, {
        headers,
        ...(method === "PATCH" && { body: HELLO }),
      });
      expect(response.status).toBe(412);
      expect(response.headers.get("tus-version")).toBe("1.0.0");
      expect(await tus.offset(owner, upload)).toBe(0);
    },
  );

  it("another version MUST NOT be processed: POST", async () => {
    const { id } = await service.createEmpty(owner);
    const path = `/v2/images/${id}/uploads`;
    const response = await call("POST", path, { headers: { ...LENGTH, "tus-resumable": "9" } });
    expect(response.status).toBe(412);
    expect(response.headers.get("tus-version")).toBe("1.0.0");
    expect(await new TestedObject(id).isAtRest()).toBe(true);
  });

  it.each([
    ["PATCH", "POST"],
    ["HEAD", "POST"],
    ["DELETE", "POST"],
    ["PATCH", "PUT"],
    ["DELETE", "PATCH"],
  ])(
    "X-HTTP-Method-Override MUST be interpreted as the method, the actual one ignored: %s for %s",
    async (meant, actual) => {
      const { upload } = await begin();
      const headers = {
        ...TUS,
        "x-http-method-override": meant,
        ...(meant === "PATCH" && {
          "content-type": "application/offset+octet-stream",
          "upload-offset": "0",
        }),
      };
      const body = meant === "PATCH" ? { body: HELLO } : {};
      const response = await call(actual, upload, { headers, ...body });
      expect(response.status).toBe(meant === "HEAD" ? 200 : 204);
      if (meant !== "DELETE") {
        const offset = meant === "PATCH" ? "11" : "0";
        expect(response.headers.get("upload-offset")).toBe(offset);
      } else {
        expect((await tus.head(owner, upload)).status).toBe(404);
      }
    },
  );

  it.each([
    ["HEAD", "PATCH"],
    ["GET", "PATCH"],
    ["HEAD", "POST"],
  ])(
    "X-HTTP-Method-Override with a body that the method cannot have is refused, not an accident: %s for %s",
    async (meant, actual) => {
      const { upload } = await begin();
      const headers = { ...TUS, "x-http-method-override": meant };
      const response = await call(actual, upload, { headers, body: "x" });
      expect([200, 400, 405]).toContain(response.status);
      expect(response.headers.get("tus-resumable")).toBe("1.0.0");
    },
  );

  it("X-HTTP-Method-Override: the actual method is ignored even for one that is not there", async () => {
    const { id, upload } = await begin();
    for (const method of ["PUT", "BREW"]) {
      const headers = { ...TUS, ...LENGTH, "x-http-method-override": method };
      expect([405, 501]).toContain((await call("DELETE", upload, { headers })).status);
      expect([405, 501]).toContain(
        (await call("POST", `/v2/images/${id}/uploads`, { headers })).status,
      );
    }
    expect(await tus.offset(owner, upload)).toBe(0);
  });
});

describe("tus core HEAD", () => {
  it("MUST include Upload-Offset, even if it is 0, or the upload is completed", async () => {
    const { upload } = await begin();
    expect((await tus.head(owner, upload)).headers.get("upload-offset")).toBe("0");
    await tus.patch(owner, upload, 0, HELLO);
    expect((await tus.head(owner, upload)).headers.get("upload-offset")).toBe("11");
  });

  it("MUST include Upload-Length if it is known", async () => {
    const { upload } = await begin();
    const { headers } = await tus.head(owner, upload);
    expect(headers.get("upload-length")).toBe("11");
    expect(headers.get("upload-defer-length")).toBeNull();
  });

  it("SHOULD be 404 without Upload-Offset if the resource is not found", async () => {
    const { id } = await service.createEmpty(owner);
    for (const name of [crypto.randomUUID(), "x", "%00", "a%2Fb"]) {
      const response = await tus.head(owner, `/v2/images/${id}/uploads/${name}`);
      expect(response.status).toBe(404);
      expect(response.headers.has("upload-offset")).toBe(false);
    }
  });

  it("SHOULD be 200 or 204, MUST have Cache-Control: no-store", async () => {
    const { upload } = await begin();
    const response = await tus.head(owner, upload);
    expect(response.status).toBe(200);
    expect(response.headers.get("cache-control")).toBe("no-store");
  });
});

describe("tus core PATCH", () => {
  it.each(["application/octet-stream", "text/plain", "application/json"])(
    "MUST use application/offset+octet-stream, otherwise 415: %s",
    async (type) => {
      const { upload } = await begin();
      const response = await tus.send(owner, upload, 0, HELLO, { "content-type": type });
      expect(response.status).toBe(415);
      expect(await tus.offset(owner, upload)).toBe(0);
    },
  );

  it.each([1, 4, 6, 11, 12, 2 ** 40])(
    "an offset other than the current one MUST be 409 without modifying: %i",
    async (offset) => {
      const { upload } = await begin();
      await tus.patch(owner, upload, 0, "hello");
      expect((await tus.send(owner, upload, offset, " world")).status).toBe(409);
      expect(await tus.offset(owner, upload)).toBe(5);
    },
  );

  it.each(["-1", "1.5", "x", "", "1e1", "0x0", "99999999999999999999"])(
    "Upload-Offset MUST be a non-negative integer: %j",
    async (offset) => {
      const { upload } = await begin();
      const headers = { "upload-offset": offset };
      expect((await tus.send(owner, upload, 0, HELLO, headers)).status).toBe(400);
      expect(await tus.offset(owner, upload)).toBe(0);
    },
  );

  it("without Upload-Offset is 400", async () => {
    const { upload } = await begin();
    const headers = { ...TUS, "content-type": "application/offset+octet-stream" };
    expect((await call("PATCH", upload, { headers, body: HELLO })).status).toBe(400);
  });

  it("MUST be 204 with the new offset: the old one and the bytes received", async () => {
    const { id, upload } = await begin();
    let offset = 0;
    for (const text of ["h", "ello", "", " wor", "ld"]) {
      const response = await tus.send(owner, upload, offset, text);
      offset += text.length;
      expect(response.status).toBe(204);
      expect(response.headers.get("upload-offset")).toBe(String(offset));
      expect(await tus.offset(owner, upload)).toBe(offset);
    }
    await expectContent(id, HELLO);
  });

  it("against a non-existent resource SHOULD be 404", async () => {
    const { id } = await service.createEmpty(owner);
    const path = `/v2/images/${id}/uploads/${crypto.randomUUID()}`;
    expect((await tus.send(owner, path, 0, "x")).status).toBe(404);
  });

  it("SHOULD always store as much of the received data as possible", async () => {
    const { id, upload } = await begin();
    const broken = bodyOf(async function* () {
      yield new TextEncoder().encode("hello");
      throw new Error("cut");
    });
    expect((await tus.send(owner, upload, 0, broken)).status).toBe(400);
    expect(await tus.offset(owner, upload)).toBe(5);
    await tus.patch(owner, upload, 5, " world");
    await expectContent(id, HELLO);
  });

  it("with more bytes than the upload has is refused, and it goes on as before", async () => {
    const { id, upload } = await begin();
    await tus.patch(owner, upload, 0, "hello");
    expect((await tus.send(owner, upload, 5, " world!")).status).toBe(413);
    expect(await tus.offset(owner, upload)).toBe(5);
    await tus.patch(owner, upload, 5, " world");
    await expectContent(id, HELLO);
  });
});

describe("tus core OPTIONS", () => {
  it.each(["", "/x"])(
    "MUST contain Tus-Version, without a token too, and ignore Tus-Resumable: %j",
    async (below) => {
      const path = `/v2/images/${crypto.randomUUID()}/uploads${below}`;
      for (const headers of [{}, { "tus-resumable": "0.1" }]) {
        const response = await service.call(null, "OPTIONS", path, { headers });
        expect([200, 204]).toContain(response.status);
        expect(response.headers.get("tus-version")).toBe("1.0.0");
      }
    },
  );

  it.each([
    "creation",
    "creation-with-upload",
    "creation-defer-length",
    "expiration",
    "checksum",
    "termination",
    "concatenation",
  ])("MUST announce %s", async (extension) => {
    const response = await service.call(null, "OPTIONS", "/v2/images/x/uploads");
    expect(response.headers.get("tus-extension")?.split(",")).toContain(extension);
  });

  it("SHOULD have Tus-Max-Size, a non-negative integer", async () => {
    const response = await service.call(null, "OPTIONS", "/v2/images/x/uploads");
    expect(response.headers.get("tus-max-size")).toMatch(/^\d+$/);
  });

  it("Tus-Checksum-Algorithm MUST be included, with sha1, in lower-case ASCII", async () => {
    const response = await service.call(null, "OPTIONS", "/v2/images/x/uploads");
    const algorithms = response.headers.get("tus-checksum-algorithm")?.split(",") ?? [];
    expect(algorithms).toContain("sha1");
    for (const algorithm of algorithms) expect(algorithm).toMatch(/^[!-@[-~]+$/);
  });
});

describe("tus creation", () => {
  it("MUST be 201 with Location, whose offset is 0", async () => {
    const { id } = await service.createEmpty(owner);
    const response = await tus.begin(owner, id, LENGTH);
    expect(response.status).toBe(201);
    const { pathname } = new URL(response.headers.get("location") ?? "", "http://image.test");
    expect(await tus.offset(owner, pathname)).toBe(0);
  });

  it.each([
    {},
    { "upload-length": "" },
    { "upload-length": "-1" },
    { "upload-length": "x" },
    { "upload-length": "1.0" },
    { "upload-length": "9".repeat(17) },
    { "upload-defer-length": "0" },
    { "upload-defer-length": "true" },
    { "upload-defer-length": "" },
    { ...LENGTH, "upload-defer-length": "1" },
    { ...LENGTH, "upload-concat": "whole" },
    { ...LENGTH, "upload-concat": "" },
    { "upload-concat": "final" },
    { "upload-concat": "final;" },
    { "upload-concat": "final;  " },
    { ...LENGTH, "upload-concat": "final;/x" },
    { "upload-defer-length": "1", "upload-concat": "final;/x" },
  ])("headers that are no creation are 400: %j", async (headers) => {
    const { id } = await service.createEmpty(owner);
    expect((await tus.begin(owner, id, headers)).status).toBe(400);
    expect(await new TestedObject(id).isAtRest()).toBe(true);
  });

  it("an upload of length 0 is immediately complete", async () => {
    const { id, upload } = await begin({ "upload-length": "0" });
    const { headers } = await tus.head(owner, upload);
    expect(headers.get("upload-offset")).toBe("0");
    expect(headers.get("upload-length")).toBe("0");
    await expectContent(id, "");
  });

  it.each([
    "filename d29ybGRfZG9taW5hdGlvbl9wbGFuLnBkZg==,is_confidential",
    "empty ,other",
    "a",
    "a,b,c",
    "bytes AP8NCgA=",
    "!#$%&'()*+-./:;<=>?@[]^_`{|}~ QQ==",
  ])("responses to HEAD MUST include Upload-Metadata as it was given: %j", async (metadata) => {
    const { upload } = await begin({ ...LENGTH, "upload-metadata": metadata });
    expect((await tus.head(owner, upload)).headers.get("upload-metadata")).toBe(metadata);
  });

  it("responses to HEAD have no Upload-Metadata if none was given", async () => {
    const { upload } = await begin();
    expect((await tus.head(owner, upload)).headers.has("upload-metadata")).toBe(false);
  });

  it.each(["a QQ==,a QQ==", "a,a", ",", "a,", "a QQ", "a *", "a QQ== QQ==", "ä QQ==", "a  QQ=="])(
    "metadata MUST be pairs of a unique key and Base64: %j is 400",
    async (metadata) => {
      const { id } = await service.createEmpty(owner);
      const headers = { ...LENGTH, "upload-metadata": metadata };
      expect((await tus.begin(owner, id, headers)).status).toBe(400);
    },
  );

  it.each(["length", "offset"])(
    "a %s in the metadata of a whole upload is its client's own, whatever it is",
    async (key) => {
      const metadata = `${key} ${btoa("3 minutes")}`;
      const { id, upload } = await begin({ ...LENGTH, "upload-metadata": metadata });
      expect((await tus.head(owner, upload)).headers.get("upload-metadata")).toBe(metadata);
      await tus.patch(owner, upload, 0, HELLO);
      await expectContent(id, HELLO);
      const { id: other } = await service.createEmpty(owner);
      const headers = { ...LENGTH, ...PARTIAL, "upload-metadata": metadata };
      expect((await tus.begin(owner, other, headers)).status).toBe(400);
    },
  );

  it("a length beyond Tus-Max-Size MUST be 413", async () => {
    const { id } = await service.createEmpty(owner);
    const options = await service.call(null, "OPTIONS", `/v2/images/${id}/uploads`);
    const tooLong = String(Number(options.headers.get("tus-max-size")) + 1);
    const place = `offset ${btoa("0")},length ${btoa(tooLong)}`;
    for (const headers of [
      { "upload-length": tooLong },
      { "upload-length": tooLong, ...PARTIAL },
      { "upload-length": String(16 * 1024 ** 2), ...PARTIAL, "upload-metadata": place },
    ]) {
      expect((await tus.begin(owner, id, headers)).status).toBe(413);
    }
    expect(await new TestedObject(id).isAtRest()).toBe(true);
  });

  it("to an image that is not queued is 409", async () => {
    const { id } = await service.createActive(owner, "data");
    expect((await tus.begin(owner, id, LENGTH)).status).toBe(409);
  });
});

describe("tus creation-defer-length", () => {
  it("MUST set Upload-Defer-Length: 1 in responses to HEAD as long as the length is not known", async () => {
    const { id, upload } = await begin({ "upload-defer-length": "1" });
    await tus.patch(owner, upload, 0, "hello");
    const { headers } = await tus.head(owner, upload);
    expect(headers.get("upload-defer-length")).toBe("1");
    expect(headers.has("upload-length")).toBe(false);
    expect(headers.get("upload-offset")).toBe("5");
    await tus.patch(owner, upload, 5, " wor", LENGTH);
    const known = await tus.head(owner, upload);
    expect(known.headers.has("upload-defer-length")).toBe(false);
    expect(known.headers.get("upload-length")).toBe("11");
    await tus.patch(owner, upload, 9, "ld");
    await expectContent(id, HELLO);
  });

  it.each([0, 5])("the length may come with a request without bytes, after %i", async (bytes) => {
    const { id, upload } = await begin({ "upload-defer-length": "1" });
    const text = HELLO.slice(0, bytes);
    if (bytes > 0) await tus.patch(owner, upload, 0, text);
    expect(await tus.patch(owner, upload, bytes, "", { "upload-length": String(bytes) })).toBe(
      bytes,
    );
    await expectContent(id, text);
  });

  it("once set the length MUST NOT be changed", async () => {
    const { upload } = await begin({ "upload-defer-length": "1" });
    await tus.patch(owner, upload, 0, "hello", LENGTH);
    const changed = await tus.send(owner, upload, 5, " world!", { "upload-length": "12" });
    expect(changed.status).toBe(400);
    expect((await tus.head(owner, upload)).headers.get("upload-length")).toBe("11");
    const given = await begin();
    const other = await tus.send(owner, given.upload, 0, "h", { "upload-length": "1" });
    expect(other.status).toBe(400);
    expect(await tus.offset(owner, given.upload)).toBe(0);
    await tus.patch(owner, given.upload, 0, "hello", LENGTH);
  });

  it("a length below the current offset is refused", async () => {
    const { upload } = await begin({ "upload-defer-length": "1" });
    await tus.patch(owner, upload, 0, "hello");
    expect((await tus.send(owner, upload, 5, "", { "upload-length": "4" })).status).toBe(400);
    expect(await tus.offset(owner, upload)).toBe(5);
  });
});

describe("tus creation-with-upload", () => {
  const OFFSET_STREAM = { "content-type": "application/offset+octet-stream" };

  it.each(["hello", HELLO])(
    "MUST include Upload-Offset after the accepted bytes: %s",
    async (text) => {
      const { id } = await service.createEmpty(owner);
      const response = await tus.begin(owner, id, { ...LENGTH, ...OFFSET_STREAM }, text);
      expect(response.status).toBe(201);
      expect(response.headers.get("upload-offset")).toBe(String(text.length));
      const upload = new URL(response.headers.get("location") ?? "").pathname;
      expect(await tus.offset(owner, upload)).toBe(text.length);
      if (text !== HELLO) await tus.patch(owner, upload, 5, " world");
      await expectContent(id, HELLO);
    },
  );

  it("with a checksum that is no checksum is 400, and there is no upload", async () => {
    const { id } = await service.createEmpty(owner);
    const headers = { ...LENGTH, ...OFFSET_STREAM, "upload-checksum": "crc32 AAAAAA==" };
    expect((await tus.begin(owner, id, headers, "hello")).status).toBe(400);
    expect(await new TestedObject(id).isAtRest()).toBe(true);
  });

  it.each(["whole", "partial"])(
    "of no bytes is complete with an empty body, however it is framed: a %s one",
    async (kind) => {
      const none = {
        ...{ "upload-length": "0", ...OFFSET_STREAM },
        ...(kind === "partial" && PARTIAL),
      };
      const chunked = () => bodyOf(async function* () {});
      for (const [body, framing] of [
        ["", { "content-length": "0" }],
        [chunked(), { "transfer-encoding": "chunked" }],
        [chunked(), {}],
      ] as const) {
        const { id } = await service.createEmpty(owner);
        const response = await tus.begin(owner, id, { ...none, ...framing }, body);
        expect(response.status, await response.text()).toBe(201);
        expect(response.headers.get("upload-offset")).toBe("0");
        if (kind === "whole") await expectContent(id, "");
      }
    },
  );

  it("of no bytes with a body that has some is 400, and there is no upload", async () => {
    const { id } = await service.createEmpty(owner);
    const headers = { "upload-length": "0", ...OFFSET_STREAM };
    expect((await tus.begin(owner, id, headers, "x")).status).toBe(400);
    expect(await new TestedObject(id).isAtRest()).toBe(true);
  });

  it("of an empty body, and of a partial upload", async () => {
    const { id } = await service.createEmpty(owner);
    const empty = await tus.begin(owner, id, { ...LENGTH, ...OFFSET_STREAM }, "");
    expect(empty.status).toBe(201);
    const headers = { "upload-length": "5", ...PARTIAL, ...OFFSET_STREAM };
    const partial = await tus.begin(owner, id, headers, "hello");
    expect(partial.headers.get("upload-offset")).toBe("5");
  });
});

describe("tus expiration", () => {
  it("Upload-Expires MUST be in every PATCH response and that to the initial POST, in HTTP's format", async () => {
    const { id } = await service.createEmpty(owner);
    const created = await tus.begin(owner, id, LENGTH);
    const upload = new URL(created.headers.get("location") ?? "").pathname;
    const patched = await tus.send(owner, upload, 0, "hello");
    for (const { headers } of [created, patched, await tus.head(owner, upload)]) {
      const text = headers.get("upload-expires") ?? "";
      expect(text).toMatch(/^\w{3}, \d\d \w{3} \d{4} \d\d:\d\d:\d\d GMT$/);
      expect(Date.parse(text)).toBeGreaterThan(Date.now());
    }
  });

  it("an upload that has been removed since SHOULD be 404 or 410", async () => {
    const { upload } = await begin();
    await tus.patch(owner, upload, 0, "hello");
    passTime(86_401);
    expect((await tus.send(owner, upload, 5, " world")).status).toBe(404);
    expect((await tus.head(owner, upload)).status).toBe(404);
  });

  it("a request that takes longer keeps its upload alive", async () => {
    const { id, upload } = await begin();
    const object = new TestedObject(id);
    const slow = bodyOf(async function* () {
      yield new TextEncoder().encode("hello");
      // It is at work once others are told to wait.
      while ((await tus.head(owner, upload)).status !== 423) await scheduler.wait(5);
      passTime(86_401);
      await object.ringAll();
      passTime(86_401);
      await object.ringAll();
      yield new TextEncoder().encode(" ");
    });
    const response = await tus.send(owner, upload, 0, slow);
    expect([response.status, response.headers.get("upload-offset")]).toEqual([204, "6"]);
    const expires = Date.parse(response.headers.get("upload-expires") ?? "");
    expect(expires).toBeGreaterThan(Date.now() + 86_000_000);
    passTime(86_000);
    expect(await tus.offset(owner, upload)).toBe(6);
    await tus.patch(owner, upload, 6, "world");
    await expectContent(id, HELLO);
  });

  it("its value MAY change over time: bytes put it off", async () => {
    const { upload } = await begin();
    passTime(86_000);
    await tus.patch(owner, upload, 0, "hello");
    passTime(86_000);
    expect(await tus.offset(owner, upload)).toBe(5);
  });
});

describe("tus core, a store that loses what it has", () => {
  const MiB = 1024 ** 2;

  /** An upload of 20 MiB whose first part is stored, and then dropped by the store, as R2 does after seven days. */
  async function beginLost(bytes: number) {
    const { id, upload } = await begin({ "upload-length": String(20 * MiB) });
    await tus.patch(owner, upload, 0, new Uint8Array(bytes));
    const [record] = await new TestedObject(id).resumables();
    const { key = "", multipartId = "" } = record ?? {};
    await env.BLOBS.resumeMultipartUpload(key, multipartId).abort();
    return { id, upload };
  }

  it.each([
    ["when a part comes", 9 * MiB],
    ["when the last byte comes", 17 * MiB],
  ])("the upload ends with a reason, 410: %s", async (_, first) => {
    const { id, upload } = await beginLost(first);
    const response = await tus.send(owner, upload, first, new Uint8Array(20 * MiB - first));
    expect([response.status, await response.text()]).toEqual([
      410,
      expect.stringContaining("from its beginning"),
    ]);
    expect((await tus.head(owner, upload)).status).toBe(404);
    const tasks = await tasksOf(service, owner, id);
    expect(tasks.at(-1)).toMatchObject({
      status: "failure",
      message: expect.stringContaining("no longer has"),
    });
    await new TestedObject(id).untilAtRest();
    expect(await new TestedObject(id).isAtRest()).toBe(true);
    expect(await storedKeys(id)).toEqual([]);
    const again = await tus.create(owner, id, LENGTH);
    await tus.patch(owner, again, 0, HELLO);
    await expectContent(id, HELLO);
  });
});

describe("tus checksum", () => {
  it.each([
    ["sha1", "SHA-1"],
    ["sha256", "SHA-256"],
    ["sha384", "SHA-384"],
    ["sha512", "SHA-512"],
    ["md5", "MD5"],
  ])(
    "MUST verify the chunk: 204 if it matches by %s, else 460 and it is discarded",
    async (name, algorithm) => {
      const { id, upload } = await begin();
      const right = { "upload-checksum": `${name} ${await digestOf("hello", algorithm)}` };
      const wrong = await tus.send(owner, upload, 0, "jello", right);
      expect(wrong.status).toBe(460);
      expect(await tus.offset(owner, upload)).toBe(0);
      expect(await tus.patch(owner, upload, 0, "hello", right)).toBe(5);
      const next = await tus.send(owner, upload, 5, " world", right);
      expect(next.status).toBe(460);
      expect(await tus.offset(owner, upload)).toBe(5);
      await tus.patch(owner, upload, 5, " world");
      await expectContent(id, HELLO);
    },
  );

  it.each([
    "crc32 AAAA",
    "SHA1 AAAA",
    "sha1",
    "sha1 ",
    "sha1 AAAA",
    "sha1 !",
    "sha1  AAAA",
    "",
    "md5 a b",
  ])(
    "an algorithm that is not supported is 400, and the offset MUST NOT be updated: %j",
    async (checksum) => {
      const { upload } = await begin();
      const response = await tus.send(owner, upload, 0, "hello", { "upload-checksum": checksum });
      expect(response.status).toBe(400);
      expect(await tus.offset(owner, upload)).toBe(0);
    },
  );

  it("a chunk of several parts, and one that ends the upload, is discarded as a whole", async () => {
    const MiB = 1024 ** 2;
    const { id, upload } = await begin({ "upload-length": String(20 * MiB) });
    await tus.patch(owner, upload, 0, new Uint8Array(MiB).fill(1));
    const zeros = { "upload-checksum": `sha1 ${await digestOf("", "SHA-1")}` };
    const rest = new Uint8Array(19 * MiB).fill(2);
    expect((await tus.send(owner, upload, MiB, rest, zeros)).status).toBe(460);
    expect(await tus.offset(owner, upload)).toBe(MiB);
    expect((await tus.send(owner, upload, MiB, rest.fill(3))).status).toBe(204);
    const { image } = await finishImport(service, id);
    expect(image).toMatchObject({ status: "active", size: 20 * MiB });
    const bytes = await (await call("GET", `/v2/images/${id}/file`)).bytes();
    expect([bytes[MiB - 1], bytes[MiB], bytes.at(-1)]).toEqual([1, 3, 3]);
    expect(new Set(bytes.subarray(MiB))).toEqual(new Set([3]));
  });

  it.each(["in one request", "behind bytes that are there"])(
    "content that looks unsafe: 460 first if the checksum is wrong, and the upload stays: %s",
    async (when) => {
      const first = when === "in one request" ? 0 : 5;
      const { id, upload } = await begin({ "upload-length": String(2 ** 20 + first) });
      if (first > 0) await tus.patch(owner, upload, 0, new Uint8Array(first));
      // A QED header, which is never safe; where it does not stand first, nothing is wrong with it.
      const bytes = new Uint8Array(2 ** 20);
      bytes.set(new TextEncoder().encode("QED\0"));
      const wrong = { "upload-checksum": `sha1 ${await digestOf("", "SHA-1")}` };
      const damaged = await tus.send(owner, upload, first, bytes, wrong);
      expect(damaged.status).toBe(460);
      expect(await tus.offset(owner, upload)).toBe(first);
      if (first > 0) return;
      const sha1 = await crypto.subtle.digest("SHA-1", bytes);
      const right = {
        "upload-checksum": `sha1 ${btoa(String.fromCharCode(...new Uint8Array(sha1)))}`,
      };
      expect((await tus.send(owner, upload, 0, bytes, right)).status).toBe(415);
      expect((await tus.head(owner, upload)).status).toBe(404);
      await new TestedObject(id).untilAtRest();
      expect(await storedKeys(id)).toEqual([]);
    },
  );

  it("a chunk with a checksum that breaks off is discarded", async () => {
    const { upload } = await begin();
    const broken = bodyOf(async function* () {
      yield new TextEncoder().encode("hello");
      throw new Error("cut");
    });
    const checksum = { "upload-checksum": `sha1 ${await digestOf("hello", "SHA-1")}` };
    expect((await tus.send(owner, upload, 0, broken, checksum)).status).toBe(400);
    expect(await tus.offset(owner, upload)).toBe(0);
  });
});

describe("tus termination", () => {
  it.each(["", "hello", HELLO])(
    "MUST be 204, future requests SHOULD be 404 or 410: with %j",
    async (text) => {
      const { id, upload } = await begin();
      if (text !== "") await tus.patch(owner, upload, 0, text);
      expect((await tus.terminate(owner, upload)).status).toBe(204);
      expect((await tus.head(owner, upload)).status).toBe(404);
      expect([404, 409]).toContain((await tus.send(owner, upload, text.length, "x")).status);
      expect((await tus.terminate(owner, upload)).status).toBe(404);
      if (text === HELLO) return expectContent(id, HELLO);
      await new TestedObject(id).untilAtRest();
      expect(await storedKeys(id)).toEqual([]);
    },
  );

  it("frees a partial upload, whose final then is not found", async () => {
    const { id, parts } = await beginParts();
    expect((await tus.terminate(owner, parts[0] ?? "")).status).toBe(204);
    expect((await tus.begin(owner, id, finalOf(parts))).status).toBe(404);
    await tus.terminate(owner, parts[1] ?? "");
    await new TestedObject(id).untilAtRest();
    expect(await storedKeys(id)).toEqual([]);
  });
});

describe("tus concatenation", () => {
  it("the parts MUST be joined in the list's order; the length is the sum of theirs", async () => {
    const { id, parts } = await beginParts([" world", "hello"]);
    const final = await tus.create(owner, id, finalOf(parts.toReversed()));
    const { headers } = await tus.head(owner, final);
    expect(headers.get("upload-length")).toBe("11");
    expect(headers.get("upload-offset")).toBe("11");
    await expectContent(id, HELLO);
  });

  it("HEAD MUST include Upload-Concat as received: of a partial upload, with its offset", async () => {
    const { upload } = await begin({ ...LENGTH, ...PARTIAL });
    const { headers } = await tus.head(owner, upload);
    expect(headers.get("upload-concat")).toBe("partial");
    expect(headers.get("upload-offset")).toBe("0");
    expect(headers.get("upload-length")).toBe("11");
  });

  it.each([
    ["relative", (path: string) => path],
    ["absolute", (path: string) => `http://image.test${path}`],
    ["relative to nothing", (path: string) => path.split("/").at(-1) ?? ""],
  ])(
    "HEAD MUST include Upload-Concat as received: of a final one, with %s addresses",
    async (_, addressOf) => {
      const { id, parts } = await beginParts();
      const header = finalOf(parts.map(addressOf));
      const final = await tus.create(owner, id, header);
      const { headers } = await tus.head(owner, final);
      expect(headers.get("upload-concat")).toBe(header["upload-concat"]);
      await expectContent(id, HELLO);
    },
  );

  it("PATCH of a final upload MUST be 403 and MUST NOT modify it or its parts", async () => {
    const { id, parts } = await beginParts();
    const final = await tus.create(owner, id, finalOf(parts));
    expect((await tus.send(owner, final, 11, "x")).status).toBe(403);
    expect((await tus.send(owner, final, 0, "x")).status).toBe(403);
    await expectContent(id, HELLO);
  });

  it("a partial upload that is complete is not processed before the final one", async () => {
    const { id } = await beginParts([HELLO]);
    await new TestedObject(id).ring();
    expect(await service.show(owner, id)).toMatchObject({ status: "queued" });
  });

  it("metadata of the parts SHALL NOT be transferred to the final upload", async () => {
    const { id } = await service.createEmpty(owner);
    const headers = { "upload-length": "5", ...PARTIAL, "upload-metadata": "name QQ==" };
    const part = await tus.create(owner, id, headers);
    await tus.patch(owner, part, 0, "hello");
    const own = { ...finalOf([part]), "upload-metadata": "name Qg==" };
    const bare = await tus.create(owner, id, own);
    expect((await tus.head(owner, bare)).headers.get("upload-metadata")).toBe("name Qg==");
  });

  it("of parts without bytes", async () => {
    const { id, parts } = await beginParts(["", HELLO, ""]);
    await tus.create(owner, id, finalOf(parts));
    await expectContent(id, HELLO);
    const nothing = await beginParts(["", ""]);
    await tus.create(owner, nothing.id, finalOf(nothing.parts));
    await expectContent(nothing.id, "");
  });

  it("parts may come by creation-with-upload and with a deferred length", async () => {
    const { id } = await service.createEmpty(owner);
    const deferred = await tus.create(owner, id, { "upload-defer-length": "1", ...PARTIAL });
    await tus.patch(owner, deferred, 0, "hello", { "upload-length": "5" });
    const headers = {
      "upload-length": "6",
      "content-type": "application/offset+octet-stream",
      ...PARTIAL,
    };
    const response = await tus.begin(owner, id, headers, " world");
    const other = new URL(response.headers.get("location") ?? "").pathname;
    await tus.create(owner, id, finalOf([deferred, other]));
    await expectContent(id, HELLO);
  });

  it("of parts that are not there, not complete, somebody else's or whole uploads is refused", async () => {
    const { id, parts } = await beginParts();
    const other = await beginParts();
    const [first = ""] = parts;
    const open = await tus.create(owner, id, { "upload-length": "5", ...PARTIAL });
    const whole = await tus.create(owner, id, LENGTH);
    const bad = [crypto.randomUUID(), open, whole, other.parts[0] ?? "", "/", "x?y#z"];
    const statuses: number[] = [];
    for (const one of bad) {
      statuses.push((await tus.begin(owner, id, finalOf([first, one]))).status);
    }
    expect(statuses).toEqual([404, 409, 404, 404, 404, 404]);
    expect(await tus.offset(owner, first)).toBe(5);
    await tus.create(owner, id, finalOf(parts));
    await expectContent(id, HELLO);
  });
});

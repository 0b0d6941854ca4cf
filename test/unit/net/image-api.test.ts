import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { Fault } from "../../../src/domain/fault.ts";
import {
  describeRemoteImage,
  findEndpoint,
  parseRegions,
  type RemoteImageOptions,
} from "../../../src/net/image-api.ts";
import { FakeWeb, type Handler, redirectTo, watchedBody } from "./fake-web.ts";

const ID = "3f6d2c7a-0b5e-4a53-9a37-5f4f4b1c2d3e";
const ENDPOINT = "https://image.two.example";
const TOKEN = "gAAAA-the-caller's-token";

const RECORD = {
  id: ID,
  name: "cirros",
  status: "active",
  size: 21_430_272,
  disk_format: "qcow2",
  container_format: "bare",
  checksum: "0".repeat(32),
  os_hash_algo: "sha512",
  os_hash_value: "a".repeat(128),
  schema: "/v2/schemas/image",
};

function describeFrom(web: FakeWeb, options: Partial<RemoteImageOptions> = {}) {
  return describeRemoteImage(ENDPOINT, ID, { ...web.door(), token: TOKEN, ...options });
}

/** What comes of a record that is spelled so. */
function describeText(text: string, options: Partial<RemoteImageOptions> = {}) {
  return describeFrom(new FakeWeb({ [ENDPOINT]: () => new Response(text) }), options);
}

function describeRecord(record: unknown, options: Partial<RemoteImageOptions> = {}) {
  return describeText(JSON.stringify(record), options);
}

const failure = (code: string, reason: string) =>
  expect.objectContaining({ code, detail: { reason } });

describe("10 §12 Endpoint", () => {
  const regions = parseRegions(
    JSON.stringify({
      RegionTwo: ENDPOINT,
      three: { public: "https://image.three.example", internal: "http://10.0.0.3:9292/image/" },
    }),
  );

  it("10 §12 Endpoint: lists regions in order, with an address for each interface", () => {
    expect(regions).toEqual([
      { name: "RegionTwo", endpoints: { public: ENDPOINT, internal: ENDPOINT, admin: ENDPOINT } },
      {
        name: "three",
        endpoints: {
          public: "https://image.three.example",
          internal: "http://10.0.0.3:9292/image",
        },
      },
    ]);
    expect(parseRegions("{}")).toEqual([]);
  });

  it.each([
    ["RegionTwo", "public", ENDPOINT],
    ["REGIONtwo", "admin", ENDPOINT],
    ["Three", "internal", "http://10.0.0.3:9292/image"],
    ["three", "admin", undefined],
    ["three", "constructor", undefined],
    ["three", "__proto__", undefined],
    ["three", "Public", undefined],
    ["RegionOne", "public", undefined],
    ["", "public", undefined],
  ])("10 §12 Endpoint: of the region %j, the interface %j is at %s", (region, name, address) => {
    expect(findEndpoint(regions, region, name)).toBe(address);
  });

  it.each([
    ["https://h/", "https://h"],
    ["https://h///", "https://h"],
    ["https://h/v2", "https://h"],
    ["https://h/v2/", "https://h"],
    ["https://h/image/v2", "https://h/image"],
    ["https://h/image", "https://h/image"],
    ["https://h/imagev2", "https://h/imagev2"],
    ["https://v2", "https://v2"],
    ["https://v2/v2", "https://v2"],
    ["http://[fd00::1]:9292/v2", "http://[fd00::1]:9292"],
  ])("10 §12 Endpoint: takes the version off %s", (given, address) => {
    const listed = parseRegions(JSON.stringify({ r: given }));
    expect(findEndpoint(listed, "r", "public")).toBe(address);
  });

  it.each([
    ["[]", "it is not a JSON object of regions' names and addresses"],
    ["null", "it is not a JSON object of regions' names and addresses"],
    ["{", "JSON"],
    ['{"r": "image.two.example"}', "r: it is not a plain http or https address"],
    ['{"r": "ftp://h"}', "r: it is not a plain http or https address"],
    ['{"r": "https://user:secret@h"}', "r: it is not a plain http or https address"],
    ['{"r": "https://h?x"}', "r: it is not a plain http or https address"],
    ['{"r": "https://h#x"}', "r: it is not a plain http or https address"],
    ['{"r": "https:///v2"}', "r: it is not a plain http or https address"],
    ['{"r": "https://h\\\\x"}', "r: it is not a plain http or https address"],
    ['{"r": {"public": "h"}}', "r.public: it is not a plain http or https address"],
    ['{"r": {"private": "https://h"}}', "r.private: "],
    ['{"r": {}}', "r: it has no address"],
    ['{"r": 5}', "r: "],
    ['{"r": null}', "r: "],
    ['{" ": "https://h"}', "a region has no name"],
    ['{"r": "https://h", "R": "https://h"}', "two regions have the same name"],
  ])("10 §12 Endpoint: refuses the list %s", (json, sentence) => {
    expect(() => parseRegions(json)).toThrow(sentence);
  });

  it("10 §12 Endpoint: quotes no password of an address", () => {
    expect(() => parseRegions('{"r": "https://user:secret@h"}')).not.toThrow("secret");
  });
});

describe("10 §12 Auth", () => {
  it("10 §12 Auth: sends the caller's token to the endpoint", async () => {
    const web = new FakeWeb({ [ENDPOINT]: () => Response.json(RECORD) });
    await describeFrom(web);
    expect(web.urls).toEqual([`${ENDPOINT}/v2/images/${ID}`]);
    expect(web.seen[0]?.method).toBe("GET");
    expect(Object.fromEntries(web.seen[0]?.headers ?? [])).toEqual({
      accept: "application/json",
      "accept-encoding": "identity",
      "user-agent": "Glimpse",
      "x-auth-token": TOKEN,
    });
  });

  it("10 §12 Auth: keeps the token on the endpoint's own origin", async () => {
    const web = new FakeWeb({
      [`${ENDPOINT}/v2/images/${ID}`]: redirectTo("/moved"),
      [`${ENDPOINT}/moved`]: redirectTo("https://elsewhere.example/x"),
      "https://elsewhere.example": () => Response.json(RECORD),
    });
    await describeFrom(web);
    expect(web.seen.map(({ headers }) => headers.get("x-auth-token"))).toEqual([
      TOKEN,
      TOKEN,
      null,
    ]);
  });

  it.each(["..", "../tokens", `${ID}/file`, `${ID}?x`, "\ud800", ""])(
    "10 §12 Auth: sends the token nowhere for the image ID %j",
    async (imageId) => {
      const web = new FakeWeb({});
      const options = { ...web.door(), token: TOKEN };
      await expect(describeRemoteImage(ENDPOINT, imageId, options)).rejects.toEqual(
        failure("source_rejected", "it has no such image"),
      );
      expect(web.seen).toEqual([]);
    },
  );

  it.each([401, 403])("10 §12 Auth: fails when the token is answered with %i", async (status) => {
    const body = watchedBody([`no: ${TOKEN}`]);
    const web = new FakeWeb({ [ENDPOINT]: () => new Response(body.stream, { status }) });
    await expect(describeFrom(web)).rejects.toEqual(
      failure("source_rejected", "it refuses the token"),
    );
    expect(body.isCancelled).toBe(true);
  });
});

describe("10 §12 Remote status", () => {
  it.each(["queued", "saving", "deactivated", "deleted", "ACTIVE", ""])(
    "10 §12 Remote status: refuses an image in status %j",
    async (status) => {
      await expect(describeRecord({ ...RECORD, status, size: null })).rejects.toEqual(
        failure("source_rejected", `the remote image is in status ${status}`),
      );
    },
  );

  it.each([
    ["a\r\nb\u0000c\u001b[31m", "abc[31m"],
    ["\u202egnivas\u2028\u200b\ud800", "gnivas"],
    ["x".repeat(500), `${"x".repeat(40)}…`],
    ["\u{1f600}".repeat(500), `${"\u{1f600}".repeat(40)}…`],
  ])("10 §12 Remote status: shows the status %j safely", async (status, shown) => {
    await expect(describeRecord({ ...RECORD, status })).rejects.toEqual(
      failure("source_rejected", `the remote image is in status ${shown}`),
    );
  });

  it("10 §12 Remote status: fails when there is no such image", async () => {
    const web = new FakeWeb({ [ENDPOINT]: () => new Response("no", { status: 404 }) });
    await expect(describeFrom(web)).rejects.toEqual(
      failure("source_rejected", "it has no such image"),
    );
  });

  it.each([408, 425, 429, 500, 502, 503, 599])(
    "10 §12 Remote status: may be asked again after the status %i",
    async (status) => {
      const web = new FakeWeb({ [ENDPOINT]: () => new Response("no", { status }) });
      await expect(describeFrom(web)).rejects.toEqual(
        failure("source_unreachable", `it answers with the status ${status}`),
      );
    },
  );

  it.each([201, 204, 206, 300, 302, 400, 405, 410, 418])(
    "10 §12 Remote status: fails for good after the status %i",
    async (status) => {
      const web = new FakeWeb({ [ENDPOINT]: () => new Response(null, { status }) });
      await expect(describeFrom(web)).rejects.toEqual(
        failure("source_rejected", `it answers with the status ${status}`),
      );
    },
  );
});

describe("10 §12 Copied from remote", () => {
  it("10 §12 Copied from remote: gives formats, size, hash and where the data is", async () => {
    expect(await describeRecord(RECORD)).toEqual({
      size: 21_430_272,
      diskFormat: "qcow2",
      containerFormat: "bare",
      properties: new Map(),
      hash: { algorithm: "sha512", value: "a".repeat(128) },
      dataUrl: `${ENDPOINT}/v2/images/${ID}/file`,
    });
  });

  it.each([[null], [undefined]])("10 §12 Copied from remote: takes formats of %s", async (none) => {
    const record = { ...RECORD, disk_format: none, container_format: none };
    expect(await describeRecord(record)).toMatchObject({ diskFormat: null, containerFormat: null });
  });

  const properties = {
    hw_disk_bus: "scsi",
    hw_: "",
    "trait:HW_CPU_X86_SGX": "required",
    os_distro: "debian",
    os_distro_codename: "bookworm",
    os_secure_boot: "required",
    os_type: "linux",
    os_version: "12",
    HW_DISK_BUS: "ide",
    my_hw_disk_bus: "ide",
    traits: "x",
    hw_number: 5,
    hw_null: null,
    hw_list: ["a"],
    os_glance_import_task: "t",
    architecture: "x86_64",
  };

  it("10 §12 Copied from remote: takes properties with the reference's prefixes", async () => {
    const { properties: copied } = await describeRecord({ ...RECORD, ...properties });
    expect(Object.fromEntries(copied)).toEqual({
      hw_disk_bus: "scsi",
      hw_: "",
      "trait:HW_CPU_X86_SGX": "required",
      os_distro: "debian",
      os_distro_codename: "bookworm",
      os_secure_boot: "required",
      os_type: "linux",
    });
  });

  it("10 §12 Copied from remote: takes properties with configured prefixes instead", async () => {
    const record = { ...RECORD, ...properties };
    const { properties: copied } = await describeRecord(record, { prefixes: ["arch", "os_v"] });
    expect([...copied.keys()].sort()).toEqual(["architecture", "os_version"]);
    expect((await describeRecord(record, { prefixes: [] })).properties.size).toBe(0);
  });

  it("10 §12 Copied from remote: takes os_glance… and facts never, whatever is configured", async () => {
    const record = {
      ...RECORD,
      ...{ os_glance: "x", os_glance_x: "x", location: "x", deleted: "x", owner: "p", file: "/" },
      ...{ visibility: "public", created_at: "x", direct_url: "x", self: "x", own: "kept" },
    };
    const { properties: copied } = await describeRecord(record, { prefixes: ["", "os_glance"] });
    expect(Object.fromEntries(copied)).toEqual({ own: "kept" });
  });

  it("10 §12 Copied from remote: has no trouble with names that objects have", async () => {
    const text = `{"status": "active", "size": 1, "__proto__": "a", "constructor": "b"}`;
    const { properties: copied } = await describeText(text, { prefixes: [""] });
    expect([...copied]).toEqual([
      ["__proto__", "a"],
      ["constructor", "b"],
    ]);
  });

  const md5 = { algorithm: "md5", value: "0".repeat(32) };

  it.each([
    ["sha512", 128],
    ["sha384", 96],
    ["sha256", 64],
    ["sha1", 40],
    ["md5", 32],
  ])("10 §12 Copied from remote: takes a hash by %s", async (algorithm, digits) => {
    const record = {
      ...RECORD,
      os_hash_algo: algorithm,
      os_hash_value: "AbC4".repeat(digits / 4),
    };
    const value = "abc4".repeat(digits / 4);
    expect((await describeRecord(record)).hash).toEqual({ algorithm, value });
  });

  it.each([
    ["another algorithm", { os_hash_algo: "blake2b" }],
    ["a name that objects have", { os_hash_algo: "toString" }],
    ["a value that is too short", { os_hash_value: "a".repeat(127) }],
    ["a value of another algorithm", { os_hash_algo: "sha256" }],
    ["a value that is not hexadecimal", { os_hash_value: `${"a".repeat(127)}g` }],
    ["a value with a line's end", { os_hash_value: `${"a".repeat(127)}\n` }],
    ["no hash", { os_hash_algo: undefined, os_hash_value: undefined }],
    ["an empty hash", { os_hash_algo: null, os_hash_value: null }],
    ["a hash that is no text", { os_hash_algo: 5, os_hash_value: {} }],
  ])("10 §12 Copied from remote: goes by the checksum where there is %s", async (_, hash) => {
    expect((await describeRecord({ ...RECORD, ...hash })).hash).toEqual(md5);
  });

  it.each([[null], [undefined], [""], ["0".repeat(31)], ["g".repeat(32)], [32]])(
    "10 §12 Copied from remote: has no hash where the checksum is %j, too",
    async (checksum) => {
      const record = { ...RECORD, os_hash_algo: null, checksum };
      expect((await describeRecord(record)).hash).toBeUndefined();
    },
  );
});

describe("10 §12 Size", () => {
  it.each([0, 1, Number.MAX_SAFE_INTEGER])("10 §12 Size: takes %i", async (size) => {
    expect((await describeRecord({ ...RECORD, size })).size).toBe(size);
  });

  it.each(["null", '"5"', "-1", "1.5", "9007199254740993", "1e999", "[5]", "true"])(
    "10 §12 Size: refuses %s",
    async (size) => {
      const text = JSON.stringify(RECORD).replace(/"size":\d+/, `"size":${size}`);
      await expect(describeText(text)).rejects.toEqual(
        failure("source_rejected", "it does not tell the size of the image"),
      );
    },
  );

  it("10 §12 Size: refuses a record without one", async () => {
    await expect(describeRecord({ ...RECORD, size: undefined })).rejects.toEqual(
      failure("source_rejected", "it does not tell the size of the image"),
    );
  });
});

describe("10 §12 URL filter", () => {
  it.each([
    ["http://169.254.169.254", "its IP address is not a public one"],
    ["http://image.two.example:9292", "port 9292 is not allowed"],
    ["http://localhost", "its host name is for private use"],
  ])("10 §12 URL filter: asks nothing of %s, which it refuses", async (endpoint, reason) => {
    const web = new FakeWeb({});
    const options = { ...web.door(), token: TOKEN };
    await expect(describeRemoteImage(endpoint, ID, options)).rejects.toEqual(
      failure("uri_refused", reason),
    );
    expect(web.seen).toEqual([]);
  });

  it("10 §12 URL filter: asks an address that the operator lists", async () => {
    const endpoint = "http://10.0.0.3:9292/image";
    const web = new FakeWeb({ "http://10.0.0.3:9292": () => Response.json(RECORD) });
    const door = web.door({ allowedHosts: ["10.0.0.3"], allowedPorts: [9292] });
    const { dataUrl } = await describeRemoteImage(endpoint, ID, { ...door, token: TOKEN });
    expect(dataUrl).toBe(`${endpoint}/v2/images/${ID}/file`);
  });

  it("10 §12 URL filter: refuses to be redirected where it would not go", async () => {
    const web = new FakeWeb({ [ENDPOINT]: redirectTo("http://127.0.0.1/") });
    await expect(describeFrom(web)).rejects.toEqual(
      failure("uri_refused", "its IP address is not a public one (the source redirects to it)"),
    );
  });
});

describe("10 §12 On failure", () => {
  const NO_RECORD = "it does not answer with the record of an image";

  it.each([
    ["", NO_RECORD],
    ["<html>secret</html>", NO_RECORD],
    ["[]", NO_RECORD],
    ["null", NO_RECORD],
    ['"active"', NO_RECORD],
    ["{}", NO_RECORD],
    ['{"status": 5}', NO_RECORD],
    ['{"image": {"status": "active", "size": 5}}', NO_RECORD],
    ['{"status": "active", "size": 5, "disk_format": 5}', NO_RECORD],
    ["[".repeat(500_000), NO_RECORD],
  ])("10 §12 On failure: shows nothing of what is no record: %.20s", async (text, reason) => {
    await expect(describeText(text)).rejects.toEqual(failure("source_rejected", reason));
  });

  it("10 §12 On failure: takes an answer without a body for no record", async () => {
    const web = new FakeWeb({ [ENDPOINT]: () => new Response(null) });
    await expect(describeFrom(web)).rejects.toEqual(failure("source_rejected", NO_RECORD));
  });

  it("10 §12 On failure: reads no endless record", async () => {
    const body = watchedBody(Array.from({ length: 17 }, () => " ".repeat(65_536)));
    const web = new FakeWeb({ [ENDPOINT]: () => new Response(body.stream) });
    await expect(describeFrom(web)).rejects.toEqual(
      failure("source_rejected", "its record of the image is too long"),
    );
    expect(body.isCancelled).toBe(true);
  });

  it("10 §12 On failure: reads a record of 1 MiB, in whatever pieces it comes", async () => {
    const bytes = new TextEncoder().encode(
      JSON.stringify({ ...RECORD, os_type: "Ω" }).padEnd(2 ** 20 - 1),
    );
    const web = new FakeWeb({
      [ENDPOINT]: () =>
        new Response(
          new ReadableStream({
            start(controller) {
              for (const byte of bytes.slice(0, 1000)) controller.enqueue(Uint8Array.of(byte));
              controller.enqueue(bytes.slice(1000));
              controller.close();
            },
          }),
        ),
    });
    expect((await describeFrom(web)).properties.get("os_type")).toBe("Ω");
  });

  it("10 §12 On failure: may ask again when there is no connection", async () => {
    await expect(describeFrom(new FakeWeb({}))).rejects.toEqual(
      failure("source_unreachable", "no connection"),
    );
  });

  it("10 §12 On failure: may ask again when the record breaks off", async () => {
    const broken = () =>
      new ReadableStream({
        start(controller) {
          controller.error(new Error("10.1.2.3: reset"));
        },
      });
    const web = new FakeWeb({ [ENDPOINT]: () => new Response(broken()) });
    await expect(describeFrom(web)).rejects.toEqual(
      failure("source_unreachable", "its data broke off, or is not as long as was announced"),
    );
  });

  /** Sends the start of a record and then nothing, until it is told to stop. */
  const stalling: Handler = ({ init: { signal } }) =>
    new Response(
      new ReadableStream({
        start(controller) {
          controller.enqueue(new TextEncoder().encode("{"));
          signal?.addEventListener("abort", () => controller.error(signal.reason));
        },
      }),
    );

  it("10 §12 On failure: waits no longer for the record's end than for its start", async () => {
    const web = new FakeWeb({ [ENDPOINT]: stalling });
    await expect(describeFrom(web, { timeoutMs: 20 })).rejects.toEqual(
      failure("source_unreachable", "no answer in 0.02 seconds"),
    );
  });

  it("10 §12 On failure: stops when it is told to, with the reason it is given", async () => {
    const stop = new AbortController();
    const web = new FakeWeb({ [ENDPOINT]: stalling });
    const description = describeFrom(web, { signal: stop.signal });
    const reason = new Error("the image was deleted");
    setTimeout(() => stop.abort(reason), 5);
    await expect(description).rejects.toBe(reason);
  });

  const value = fc.oneof(
    fc.string({ unit: "binary" }),
    fc.jsonValue(),
    fc.double(),
    fc.maxSafeNat(),
  );
  const names = fc.oneof(
    fc.constantFrom("__proto__", "hw_x", "os_glance_x", "trait:x", "location"),
    fc.string(),
  );
  const shaped = fc
    .tuple(
      fc.record(
        {
          status: fc.oneof(fc.constant("active"), value),
          size: fc.oneof(fc.nat(), value),
          disk_format: fc.oneof(fc.constant("raw"), value),
          container_format: value,
          checksum: value,
          os_hash_algo: fc.oneof(fc.constantFrom("md5", "sha1", "valueOf"), value),
          os_hash_value: fc.oneof(fc.stringMatching(/^[0-9a-f]{32}$/), value),
        },
        { requiredKeys: [] },
      ),
      fc.dictionary(names, value),
    )
    .map(([known, others]) => JSON.stringify({ ...others, ...known }));

  it("10 §12 On failure: fails with nothing but a Fault, whatever the remote answers", async () => {
    const status = fc.oneof(
      { weight: 4, arbitrary: fc.constant(200) },
      fc.integer({ min: 201, max: 599 }),
    );
    const answers = fc.oneof({ weight: 3, arbitrary: shaped }, fc.json(), fc.string());
    const property = fc.asyncProperty(answers, status, async (text, code) => {
      const hasBody = ![204, 205, 304].includes(code);
      const answer = () => new Response(hasBody ? text : null, { status: code });
      try {
        const image = await describeFrom(new FakeWeb({ [ENDPOINT]: answer }), { prefixes: [""] });
        expect(Number.isSafeInteger(image.size) && image.size >= 0).toBe(true);
        expect([...image.properties.keys()].some((name) => /^os_glance/.test(name))).toBe(false);
      } catch (error) {
        expect(error).toBeInstanceOf(Fault);
        expect((error as Fault).text).toMatch(/^[^\p{Cc}]{1,150}$/u);
      }
    });
    await fc.assert(property, { numRuns: 500 });
  });
});

import { AwsClient } from "aws4fetch";
import fc from "fast-check";
import { describe, expect, inject, it } from "vitest";
import { S3Bucket } from "../../../src/blob/s3-bucket.ts";
import { Fault } from "../../../src/domain/fault.ts";
import {
  probe,
  type RangeRequest,
  readAll,
  readRange,
  readRemoteBy,
  sourceFault,
} from "../../../src/net/source.ts";
import { DEFAULT_URI_FILTER } from "../../../src/net/uri-filter.ts";
import { FakeWeb, type Handler, redirectTo, watchedBody } from "./fake-web.ts";

const URI = "https://a.example/image.qcow2";
const DATA = "0123456789";
const MODIFIED = "Sat, 21 Nov 2026 10:00:00 GMT";
const OTHER_DAY = "Sun, 22 Nov 2026 10:00:00 GMT";

type HeaderMap = Readonly<Record<string, string>>;

const answer =
  (status: number, headers: HeaderMap = {}, body: BodyInit | null = null): Handler =>
  () =>
    new Response(body, { status, headers });

/** A server of DATA that does with Range what it should. */
const serve =
  (headers: HeaderMap = { etag: '"v1"', "last-modified": MODIFIED }): Handler =>
  (request) => {
    const [, first, last] = /^bytes=(\d+)-(\d+)$/.exec(request.headers.get("range") ?? "") ?? [];
    const ifRange = request.headers.get("if-range");
    const isWhole = first === undefined || (ifRange !== null && ifRange !== headers.etag);
    if (isWhole) {
      return new Response(DATA, { headers: { ...headers, "content-length": `${DATA.length}` } });
    }
    const body = DATA.slice(Number(first), Number(last) + 1);
    const range = `bytes ${first}-${last}/${DATA.length}`;
    return new Response(body, { status: 206, headers: { ...headers, "content-range": range } });
  };

const webOf = (handler: Handler) => new FakeWeb({ "https://a.example": handler });

const unreachable = (reason: string) =>
  expect.objectContaining({ code: "source_unreachable", detail: { reason } });
const rejected = (reason: string) =>
  expect.objectContaining({ code: "source_rejected", detail: { reason } });

const PASSING = [408, 425, 429, 500, 502, 503, 530];
const LASTING = [201, 204, 400, 401, 403, 404, 405, 410, 304];

describe("10 §11: probe", () => {
  const probed = (handler: Handler) => probe(URI, webOf(handler).door());

  it("10 §11: learns size, version and ranges from a request for one byte", async () => {
    const web = webOf(serve());
    expect(await probe(URI, web.door())).toEqual({
      size: 10,
      acceptsRanges: true,
      validator: { etag: '"v1"', lastModified: MODIFIED },
      finalUrl: URI,
    });
    expect(web.seen).toHaveLength(1);
    expect(web.seen[0]?.method).toBe("GET");
    expect(web.seen[0]?.headers.get("range")).toBe("bytes=0-0");
    expect(web.seen[0]?.headers.get("accept-encoding")).toBe("identity");
  });

  it.each<[string, HeaderMap, object]>([
    ["no validator", {}, {}],
    ["a weak tag, which proves no equal bytes", { etag: 'W/"v1"' }, {}],
    [
      "a weak tag and a date",
      { etag: 'W/"v1"', "last-modified": MODIFIED },
      { lastModified: MODIFIED },
    ],
    ["a tag without quotes", { etag: "v1" }, {}],
  ])("10 §11: makes the best of %s", async (_, headers, validator) => {
    expect(await probed(serve(headers))).toMatchObject({ acceptsRanges: true, validator });
  });

  it.each<[string, Handler, number | undefined]>([
    ["ranges are ignored", answer(200, { "content-length": "10" }, DATA), 10],
    ["nothing is said of the length", answer(200, {}, DATA), undefined],
    ["the length is no number", answer(200, { "content-length": "10, 10" }, DATA), undefined],
    ["the length is not exact", answer(200, { "content-length": "9".repeat(20) }, DATA), undefined],
    ["the size is not known", answer(206, { "content-range": "bytes 0-0/*" }, "0"), undefined],
    ["it is not said which range", answer(206, {}, "0"), undefined],
    ["another range comes", answer(206, { "content-range": "bytes 1-9/10" }, DATA), undefined],
    ["everything comes", answer(206, { "content-range": "bytes 0-9/10" }, DATA), 10],
    ["the range is no range", answer(206, { "content-range": "bytes 0-0/0" }, "0"), undefined],
    [
      "several ranges come",
      answer(206, { "content-type": "multipart/byteranges; boundary=b" }, "--b"),
      undefined,
    ],
    [
      "the whole is compressed though nobody asked for it",
      answer(200, { "content-encoding": "gzip", "content-length": "5" }, "01234"),
      undefined,
    ],
    [
      "the range is compressed",
      answer(206, { "content-encoding": "gzip", "content-range": "bytes 0-0/5" }, "0"),
      undefined,
    ],
  ])("10 §11: plans no ranges when %s", async (_, handler, size) => {
    expect(await probed(handler)).toMatchObject({ acceptsRanges: false, size });
  });

  it("10 §11: plans ranges when the encoding is said to be none", async () => {
    const handler = serve({ "content-encoding": "Identity" });
    expect(await probed(handler)).toMatchObject({ acceptsRanges: true, size: 10 });
  });

  it.each<[string, Handler]>([
    ["with its size", answer(416, { "content-range": "bytes */0" })],
    ["without its size", answer(416, {}, "no such range")],
  ])("10 §11: asks for empty data again, whole: %s", async (_, refused) => {
    const web = webOf((request) =>
      request.headers.has("range")
        ? refused(request)
        : new Response("", { headers: { "content-length": "0", etag: '"empty"' } }),
    );
    expect(await probe(URI, web.door())).toEqual({
      size: 0,
      acceptsRanges: false,
      validator: { etag: '"empty"' },
      finalUrl: URI,
    });
    expect(web.seen).toHaveLength(2);
  });

  it("10 §11: says where the redirects end", async () => {
    const web = new FakeWeb({
      "https://a.example": redirectTo("https://b.example/signed?s=1"),
      "https://b.example": serve(),
    });
    const facts = await probe(URI, web.door());
    expect(facts.finalUrl).toBe("https://b.example/signed?s=1");
    expect(web.seen[1]?.headers.get("range")).toBe("bytes=0-0");
  });

  it.each([200, 206, 404, 500])("10 §11: leaves no body of a %i unread", async (status) => {
    const body = watchedBody(["0123"]);
    await probed(() => new Response(body.stream, { status })).catch(() => {});
    expect(body.isCancelled).toBe(true);
  });

  it.each(PASSING)("10 §11: holds the status %i for passing", async (status) => {
    await expect(probed(answer(status))).rejects.toEqual(
      unreachable(`it answers with the status ${status}`),
    );
  });

  it.each(LASTING)("10 §11: holds the status %i for lasting", async (status) => {
    await expect(probed(answer(status))).rejects.toEqual(
      rejected(`it answers with the status ${status}`),
    );
  });

  it("10 §11: probes nothing that the filter refuses", async () => {
    await expect(probe("http://10.0.0.1/", webOf(serve()).door())).rejects.toHaveProperty(
      "code",
      "uri_refused",
    );
  });

  it("10 §11: makes nothing but facts and Faults of any headers", async () => {
    const headers = fc.dictionary(
      fc.constantFrom("content-range", "content-length", "etag", "last-modified"),
      fc.oneof(
        fc.stringMatching(/^[!-~]{0,20}$/),
        fc.tuple(fc.nat(), fc.nat(), fc.nat()).map(([a, b, c]) => `bytes ${a}-${b}/${c}`),
        fc.constantFrom("bytes 0-0/1", "bytes 0-0/99", "10", '"v"', 'W/"v"'),
      ),
    );
    const status = fc.constantFrom(200, 206, 404, 416, 500);
    const property = fc.asyncProperty(status, headers, async (code, map) => {
      try {
        const facts = await probed(answer(code, map));
        if (facts.acceptsRanges) expect(facts.size).toBeGreaterThan(0);
        if (facts.size !== undefined) expect(Number.isSafeInteger(facts.size)).toBe(true);
      } catch (error) {
        expect(error).toBeInstanceOf(Fault);
      }
    });
    await fc.assert(property);
  });
});

describe("10 §11: readRange", () => {
  const WANTED: RangeRequest = {
    offset: 2,
    length: 3,
    size: 10,
    validator: { etag: '"v1"', lastModified: MODIFIED },
  };
  const RANGE = { "content-range": "bytes 2-4/10", etag: '"v1"' };

  const read = (handler: Handler, wanted: Partial<RangeRequest> = {}) =>
    readRange(URI, { ...WANTED, ...wanted }, webOf(handler).door());

  async function readText(handler: Handler, wanted: Partial<RangeRequest> = {}) {
    const got = await read(handler, wanted);
    return got.outcome === "data" ? new Response(got.stream).text() : got.outcome;
  }

  it("10 §11: gives the bytes that were asked for", async () => {
    const web = webOf(serve());
    const got = await readRange(URI, WANTED, web.door());
    expect(got.outcome === "data" && (await new Response(got.stream).text())).toBe("234");
    expect(web.seen[0]?.headers.get("range")).toBe("bytes=2-4");
    expect(web.seen[0]?.headers.get("if-range")).toBe('"v1"');
  });

  it("10 §11: gives any range", async () => {
    const range = fc
      .tuple(fc.nat({ max: 9 }), fc.nat({ max: 9 }))
      .map(([a, b]) => ({ offset: Math.min(a, b), length: Math.abs(a - b) + 1 }));
    const property = fc.asyncProperty(range, async ({ offset, length }) => {
      const text = await readText(serve(), { offset, length });
      expect(text).toBe(DATA.slice(offset, offset + length));
    });
    await fc.assert(property, { numRuns: 50 });
  });

  it("10 §11: sends no date as a condition, which servers hold too weak", async () => {
    const headers = { "last-modified": MODIFIED };
    const web = webOf(serve(headers));
    const wanted = { ...WANTED, validator: { lastModified: MODIFIED } };
    expect(await readRange(URI, wanted, web.door())).toMatchObject({ outcome: "data" });
    expect(web.seen[0]?.headers.has("if-range")).toBe(false);
  });

  it("10 §11: reads data that has no version", async () => {
    expect(await readText(serve({}), { validator: {} })).toBe("234");
  });

  it("10 §11: goes by a strong tag rather than by a date", async () => {
    const handler = serve({ etag: '"v1"', "last-modified": OTHER_DAY });
    expect(await readText(handler)).toBe("234");
  });

  it.each<[string, Handler, Partial<RangeRequest>]>([
    ["the condition fails", serve({ etag: '"v2"' }), {}],
    ["the tag differs", answer(206, { ...RANGE, etag: '"v2"' }, "234"), {}],
    ["the tag is weak now", answer(206, { ...RANGE, etag: 'W/"v1"' }, "234"), {}],
    ["the tag is gone", answer(206, { "content-range": "bytes 2-4/10" }, "234"), {}],
    [
      "the date differs",
      serve({ "last-modified": OTHER_DAY }),
      { validator: { lastModified: MODIFIED } },
    ],
    ["the date is gone", serve({}), { validator: { lastModified: MODIFIED } }],
    ["the size differs", answer(206, { ...RANGE, "content-range": "bytes 2-4/11" }, "234"), {}],
    [
      "the range is past the end",
      ({ headers }) =>
        headers.has("range")
          ? new Response(null, { status: 416 })
          : new Response("0", { headers: { etag: '"v1"', "content-length": "1" } }),
      {},
    ],
    ["all comes, and is longer", answer(200, { etag: '"v1"', "content-length": "11" }, DATA), {}],
  ])("10 §11: tells that the source changed when %s", async (_, handler, wanted) => {
    expect(await read(handler, wanted)).toEqual({ outcome: "changed" });
  });

  it.each<[string, Handler]>([
    ["begin elsewhere", answer(206, { ...RANGE, "content-range": "bytes 3-4/10" }, "34")],
    ["end before", answer(206, { ...RANGE, "content-range": "bytes 0-1/10" }, "01")],
    ["are not named", answer(206, { etag: '"v1"' }, "234")],
    ["are of no known size", answer(206, { ...RANGE, "content-range": "bytes 2-4/*" }, "234")],
    ["are compressed", answer(206, { ...RANGE, "content-encoding": "br" }, "234")],
    ["are missing", answer(206, RANGE)],
  ])("10 §11: rejects bytes that %s", async (_, handler) => {
    await expect(read(handler)).rejects.toEqual(
      rejected("it answers with other bytes than it was asked for"),
    );
  });

  it.each([
    ["too few", "23"],
    ["too many", "2345"],
  ])("10 §11: fails the stream when %s bytes come", async (_, body) => {
    await expect(readText(answer(206, RANGE, body))).rejects.toBeInstanceOf(TypeError);
  });

  it("10 §11: goes on where an answer ends, and fails when the data changes in between", async () => {
    const short = (etags: string[]) => {
      const web = webOf(({ headers }) => {
        const [, first = ""] = /^bytes=(\d+)-/.exec(headers.get("range") ?? "") ?? [];
        const range = `bytes ${first}-${first}/10`;
        const etag = etags.shift() ?? '"v1"';
        return new Response(first, { status: 206, headers: { "content-range": range, etag } });
      });
      return readRange(URI, WANTED, web.door());
    };
    const got = await short([]);
    expect(got.outcome === "data" && (await new Response(got.stream).text())).toBe("234");
    const changed = await short(['"v1"', '"v2"']);
    if (changed.outcome !== "data") throw new Error("it changes later");
    const reader = changed.stream.getReader();
    expect((await reader.read()).value).toEqual(new TextEncoder().encode("2"));
    await expect(reader.read()).rejects.toMatchObject({ code: "source_changed" });
  });

  it("10 §11: fails the stream when an answer ends before its range does", async () => {
    const everything = { ...RANGE, "content-range": "bytes 0-9/10" };
    await expect(readText(answer(206, everything, "0123"))).rejects.toMatchObject({
      code: "source_unreachable",
    });
  });

  it("10 §11: lets go of what is longer than the range, and of what its reader leaves", async () => {
    for (const isRead of [true, false]) {
      const body = watchedBody(["0123456"]);
      const headers = { etag: '"v1"' };
      const got = await read(() => new Response(body.stream, { headers }));
      if (got.outcome !== "data") throw new Error("nothing has changed");
      if (isRead) expect(await new Response(got.stream).text()).toBe("234");
      else await got.stream.cancel("enough");
      await expect.poll(() => body.isCancelled).toBe(true);
    }
  });

  it.each<[number, HeaderMap]>([
    [200, { etag: '"v2"' }],
    [206, { ...RANGE, etag: '"v2"' }],
    [206, { ...RANGE, "content-range": "bytes 5-7/10" }],
    [404, {}],
    [503, {}],
  ])("10 §11: leaves no body of a %i with %j unread", async (status, headers) => {
    const body = watchedBody(["234"]);
    await read(() => new Response(body.stream, { status, headers })).catch(() => {});
    expect(body.isCancelled).toBe(true);
  });

  it("10 §11: lets go of the source when its reader does", async () => {
    const body = watchedBody(["2"]);
    const got = await read(() => new Response(body.stream, { status: 206, headers: RANGE }));
    if (got.outcome === "data") await got.stream.cancel("enough");
    await expect.poll(() => body.isCancelled).toBe(true);
  });

  it.each(PASSING)("10 §11: holds the status %i for passing", async (status) => {
    await expect(read(answer(status))).rejects.toEqual(
      unreachable(`it answers with the status ${status}`),
    );
  });

  it.each(LASTING)("10 §11: holds the status %i for lasting", async (status) => {
    await expect(read(answer(status))).rejects.toEqual(
      rejected(`it answers with the status ${status}`),
    );
  });
});

describe("10 §11: readAll", () => {
  const readText = async (handler: Handler) => {
    const { stream } = await readAll(URI, webOf(handler).door());
    return new Response(stream).text();
  };

  it("10 §11: gives the data in one pass", async () => {
    const web = webOf(serve());
    const { stream, ...facts } = await readAll(URI, web.door());
    expect(facts).toEqual({
      size: 10,
      validator: { etag: '"v1"', lastModified: MODIFIED },
      finalUrl: URI,
    });
    expect(await new Response(stream).text()).toBe(DATA);
    expect(web.seen[0]?.headers.has("range")).toBe(false);
  });

  it("10 §11: accepts data without a Content-Length", async () => {
    const { stream, size } = await readAll(URI, webOf(answer(200, {}, DATA)).door());
    expect(size).toBeUndefined();
    expect(await new Response(stream).text()).toBe(DATA);
  });

  it.each([
    ["empty data", answer(200, { "content-length": "0" }, "")],
    ["no body at all", answer(200, { "content-length": "0" })],
    ["no body and no length", answer(200)],
  ])("10 §11: reads %s", async (_, handler) => {
    expect(await readText(handler)).toBe("");
  });

  it.each(["9", "11"])("10 §11: fails ten bytes that were announced as %s", async (length) => {
    const failure = readText(answer(200, { "content-length": length }, DATA));
    await expect(failure).rejects.toBeInstanceOf(TypeError);
  });

  it("10 §11: gives compressed data as the server stores it", async () => {
    const headers = { "content-encoding": "gzip", "content-length": "10" };
    expect(await readText(() => new Response(DATA, { headers, encodeBody: "manual" }))).toBe(DATA);
  });

  it.each(PASSING)("10 §11: holds the status %i for passing", async (status) => {
    await expect(readText(answer(status))).rejects.toHaveProperty("code", "source_unreachable");
  });

  it.each([206, 416, ...LASTING])("10 §11: holds the status %i for lasting", async (status) => {
    await expect(readText(answer(status))).rejects.toHaveProperty("code", "source_rejected");
  });
});

describe("10 §11: sourceFault", () => {
  it("10 §11: keeps a Fault", () => {
    const fault = new Fault("uri_refused", { reason: "r" });
    expect(sourceFault(fault)).toBe(fault);
  });

  it("10 §11: says of any other error nothing that it holds", () => {
    expect(sourceFault(new Error("10.0.0.1 hung up")).text).toBe(
      "The source could not be read: its data broke off, or is not as long as was announced",
    );
  });
});

describe("10 §11: over a real connection", () => {
  const settings = inject("s3");
  const local = {
    filter: { ...DEFAULT_URI_FILTER, allowPrivateAddresses: true, allowedPorts: [] },
    resolve: undefined,
  };

  async function addressOf(key: string, bytes: Uint8Array): Promise<string> {
    await new S3Bucket(settings).call({ method: "PUT", key, body: bytes });
    const { accessKeyId, secretAccessKey, region, endpoint, bucket } = settings;
    const client = new AwsClient({ accessKeyId, secretAccessKey, region, service: "s3" });
    const url = `${endpoint}/${bucket}/${key}?X-Amz-Expires=600`;
    return (await client.sign(url, { aws: { signQuery: true } })).url;
  }

  const bytes = Uint8Array.from({ length: 100_000 }, (_, index) => index % 251);

  it("10 §11: probes and reads data signed for GET, in ranges and whole", async () => {
    const url = await addressOf("net/image.raw", bytes);
    const { size = 0, acceptsRanges, validator } = await probe(url, local);
    expect({ size, acceptsRanges }).toEqual({ size: 100_000, acceptsRanges: true });
    expect(validator.etag).toBeDefined();
    const wanted = { offset: 99_000, length: 1000, size, validator };
    const got = await readRange(url, wanted, local);
    expect(got.outcome).toBe("data");
    if (got.outcome !== "data") return;
    expect(await new Response(got.stream).bytes()).toEqual(bytes.subarray(99_000));
    const whole = await readAll(url, local);
    expect(whole.size).toBe(100_000);
    expect(await new Response(whole.stream).bytes()).toEqual(bytes);
  });

  it("10 §11: tells that data was replaced", async () => {
    const url = await addressOf("net/replaced.raw", bytes);
    const { size = 0, validator } = await probe(url, local);
    await addressOf("net/replaced.raw", bytes.toReversed());
    const wanted = { offset: 0, length: 1000, size, validator };
    expect(await readRange(url, wanted, local)).toEqual({ outcome: "changed" });
  });

  it("10 §11: probes empty data", async () => {
    const url = await addressOf("net/empty.raw", new Uint8Array(0));
    expect(await probe(url, local)).toMatchObject({ size: 0, acceptsRanges: false });
  });

  it("10 §11: fails the stream of a server that hangs up", async () => {
    const { stream, size } = await readAll(inject("brokenS3").endpoint, local);
    expect(size).toBe(10);
    await expect(new Response(stream).text()).rejects.toThrow();
  });

  it("10 §11: says of a server that is not there no more than that", async () => {
    await expect(probe("http://127.0.0.1:1/", local)).rejects.toEqual(unreachable("no connection"));
  });

  it("10 §11: reaches no local server by default", async () => {
    const { endpoint } = inject("brokenS3");
    const door = { filter: DEFAULT_URI_FILTER, resolve: undefined };
    await expect(probe(endpoint, door)).rejects.toHaveProperty("code", "uri_refused");
    await expect(probe(new URL(endpoint).origin.replace(/:\d+$/, ""), door)).rejects.toHaveProperty(
      "code",
      "uri_refused",
    );
  });
});

describe("11 §1 http type: data as a store's", () => {
  const read = (handler: Handler, range?: { offset: number; length: number }) =>
    readRemoteBy(webOf(handler).door())(URI, range);
  const textOf = async (got: ReturnType<typeof read>) => new Response((await got)?.body).text();
  const part = { offset: 2, length: 3 };
  const unavailable = expect.objectContaining({ code: "store_unavailable" });

  it("11 §1 http type: gives the whole and ranges of it, with the size of the whole", async () => {
    expect(await textOf(read(serve()))).toBe(DATA);
    expect(await textOf(read(serve(), part))).toBe("234");
    expect(await read(serve(), part)).toMatchObject({ size: 10 });
  });

  it("LOP-11: takes the size from HEAD where GET does not tell it, and holds the data to it", async () => {
    const untold =
      (length: number): Handler =>
      ({ method }) =>
        method === "HEAD"
          ? new Response(null, { headers: { "content-length": String(length) } })
          : new Response(DATA);
    expect(await read(untold(10))).toMatchObject({ size: 10 });
    expect(await textOf(read(untold(10)))).toBe(DATA);
    await expect(textOf(read(untold(11)))).rejects.toThrow();
    await expect(textOf(read(untold(9)))).rejects.toThrow();
    const refusing: Handler = ({ method }) =>
      new Response(DATA, { status: method === "HEAD" ? 403 : 200 });
    await expect(read(refusing)).rejects.toEqual(unavailable);
  });

  it("11 §1 http type: takes the whole as a range that nobody asked for, and no part of it", async () => {
    const ranged = (range: string, body: string) =>
      answer(206, { "content-range": `bytes ${range}/10` }, body);
    expect(await textOf(read(ranged("0-9", DATA)))).toBe(DATA);
    await expect(read(ranged("0-4", "01234"))).rejects.toEqual(unavailable);
  });

  it("DWN-12: says where ranges are not served", async () => {
    await expect(read(answer(200, { "content-length": "10" }, DATA), part)).rejects.toEqual(
      expect.objectContaining({ code: "range_unsupported" }),
    );
  });

  it.each([404, 410])("11 §1 http type: there is none where the answer is %i", async (status) => {
    expect(await read(answer(status))).toBeUndefined();
    expect(await read(answer(status), part)).toBeUndefined();
  });

  it.each([
    ["trouble", answer(500), undefined],
    ["a refusal", answer(403), undefined],
    ["no length", answer(200, {}, new ReadableStream()), undefined],
    [
      "an encoding",
      answer(200, { "content-length": "10", "content-encoding": "gzip" }, DATA),
      undefined,
    ],
    ["a part, unasked", answer(206, { "content-range": "bytes 0-4/10" }, "01234"), undefined],
    ["another part", answer(206, { "content-range": "bytes 0-2/10" }, "012"), part],
    ["a part of who knows what", answer(206, { "content-range": "bytes 2-4/*" }, "234"), part],
    ["nothing satisfiable", answer(416, { "content-range": "bytes */1" }), part],
  ])(
    "DWN-11: it is not to be had from a server that answers with %s",
    async (_, handler, range) => {
      await expect(read(handler, range)).rejects.toEqual(unavailable);
    },
  );

  it("DWN-17: a body of another length than was announced fails", async () => {
    const short = answer(206, { "content-range": "bytes 2-4/10" }, "23");
    await expect(textOf(read(short, part))).rejects.toThrow();
  });

  it("10 §11: what the filter refuses is out of reach", async () => {
    const door = webOf(serve()).door({ disallowedHosts: ["a.example"] });
    await expect(readRemoteBy(door)(URI)).rejects.toEqual(unavailable);
  });
});

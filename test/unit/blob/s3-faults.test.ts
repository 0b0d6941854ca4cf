import { afterEach, beforeEach, describe, expect, inject, it, vi } from "vitest";
import { S3BlobStore } from "../../../src/blob/s3.ts";

const settings = inject("s3");
const key = "blobs/image/attempt";
const bytes = new TextEncoder().encode("0123456789");

type Reply = Response | Error;

/** A service whose answers are made up; afterwards the real one answers, if there is one. */
class Script {
  readonly requests: Request[] = [];
  readonly waitsMs: number[] = [];
  readonly store: S3BlobStore;

  constructor(
    private readonly replies: Reply[],
    private readonly next?: typeof fetch,
  ) {
    const delay = async (ms: number) => void this.waitsMs.push(ms);
    this.store = new S3BlobStore(settings, {
      delay,
      fetch: (input, init) => this.answer(input, init),
    });
  }

  private async answer(input: RequestInfo | URL, init?: RequestInit): Promise<Response> {
    this.requests.push(new Request(input, init));
    const reply = this.replies.shift();
    if (reply instanceof Error) throw reply;
    if (reply !== undefined) return reply;
    if (this.next === undefined) throw new Error("a request too many");
    return this.next(input, init);
  }
}

function refusal(status: number, code: string): Response {
  const text = `<?xml version="1.0" encoding="UTF-8"?>\n<Error><Code>${code}</Code><Message/></Error>`;
  return new Response(text, { status });
}

const completed = () =>
  new Response(
    `<?xml version="1.0" encoding="UTF-8"?>\n\n   <CompleteMultipartUploadResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/"><ETag>&quot;e&quot;</ETag></CompleteMultipartUploadResult>`,
  );
const lost = () => new Error("Network connection lost.");

describe("passing errors of S3", () => {
  it.each<[string, () => Reply]>([
    ["500 InternalError", () => refusal(500, "InternalError")],
    ["503 SlowDown", () => refusal(503, "SlowDown")],
    ["503 of something in between", () => new Response("<h1>later</h1>", { status: 503 })],
    ["400 RequestTimeout", () => refusal(400, "RequestTimeout")],
    ["429", () => new Response(null, { status: 429 })],
    ["a lost connection", lost],
  ])("STO-13: tries again after %s, waiting longer each time", async (_, reply) => {
    const script = new Script([reply(), reply(), reply(), new Response()]);
    await script.store.put(key, bytes);
    expect(script.waitsMs).toEqual([100, 400, 1600]);
    const sent = await Promise.all(script.requests.map((request) => request.text()));
    expect(sent).toEqual(Array(4).fill("0123456789"));
  });

  it("STO-13: gives up after a few tries, naming the cause", async () => {
    const script = new Script(Array.from({ length: 9 }, () => refusal(503, "SlowDown")));
    await expect(script.store.put(key, bytes)).rejects.toMatchObject({
      code: "store_unavailable",
      cause: { status: 503, code: "SlowDown" },
    });
    expect(script.requests).toHaveLength(4);
  });

  it.each([
    [403, "AccessDenied"],
    [400, "EntityTooLarge"],
    [501, "NotImplemented"],
    [301, "PermanentRedirect"],
  ])("STO-9: does not try again after %i %s", async (status, code) => {
    const script = new Script([refusal(status, code)]);
    await expect(script.store.put(key, bytes)).rejects.toMatchObject({
      code: "store_unavailable",
      cause: { status, code },
    });
    expect(script.requests).toHaveLength(1);
  });

  it("STO-9: follows no redirect, which would be signed for another address", async () => {
    const headers = { location: "http://127.0.0.1:1/" };
    const script = new Script([new Response(null, { status: 307, headers })]);
    await expect(script.store.read(key)).rejects.toMatchObject({ cause: { status: 307 } });
    expect(script.requests[0]?.redirect).toBe("manual");
  });

  it("STO-13: does not send a streamed part again, as its stream is spent", async () => {
    const script = new Script([refusal(503, "SlowDown")]);
    const part = { stream: new Blob([bytes]).stream(), length: bytes.length };
    await expect(script.store.putPart(key, "an upload", 1, part)).rejects.toMatchObject({
      code: "store_unavailable",
    });
    expect(script.requests).toHaveLength(1);
  });
});

describe("a service that hangs", () => {
  beforeEach(() => void vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout"] }));
  afterEach(() => void vi.useRealTimers());

  it.each<[string, number, (store: S3BlobStore) => Promise<unknown>]>([
    ["a read", 30_000, (store) => store.read(key)],
    ["a part", 120_000, (store) => store.putPart(key, "an upload", 1, bytes)],
  ])("STO-13: %s is given up after %i ms without an answer", async (_, waitMs, call) => {
    const hang: typeof fetch = (_, init) =>
      new Promise((_, reject) => {
        init?.signal?.addEventListener("abort", () => reject(new Error("aborted")));
      });
    const script = new Script([lost(), lost(), lost()], hang);
    const failing = expect(call(script.store)).rejects.toMatchObject({ code: "store_unavailable" });
    await vi.waitFor(() => expect(script.requests).toHaveLength(4), { interval: 0 });
    expect(vi.getTimerCount()).toBe(1);
    await vi.advanceTimersByTimeAsync(waitMs);
    await failing;
  });
});

describe("reads that are not what was asked for", () => {
  const range = { offset: 2, length: 3 };

  function partial(contentRange: string, body = "234", status = 206): Response {
    const headers = { "content-range": contentRange, "content-length": String(body.length) };
    return new Response(body, { status, headers });
  }

  it.each<[string, () => Response]>([
    ["the whole object", () => partial("", "0123456789", 200)],
    ["206 without a range", () => partial("")],
    ["another place", () => partial("bytes 3-5/10")],
    ["fewer bytes", () => partial("bytes 2-3/10", "23")],
    ["more bytes", () => partial("bytes 2-5/10", "2345")],
    ["a length that is not the range's", () => partial("bytes 2-4/10", "2345")],
    ["a whole of unknown size", () => partial("bytes 2-4/*")],
    ["several ranges", () => partial("multipart/byteranges")],
    ["a range that reaches beyond the whole", () => partial("bytes 2-4/4")],
  ])("RNG-1: a range answered with %s is a fault", async (_, reply) => {
    const script = new Script([reply()]);
    await expect(script.store.read(key, range)).rejects.toMatchObject({
      code: "store_unavailable",
    });
    expect(script.requests[0]?.headers.get("range")).toBe("bytes=2-4");
  });

  it("RNG-1: takes the range that was asked for", async () => {
    const blob = await new Script([partial("bytes 2-4/10")]).store.read(key, range);
    expect(blob?.size).toBe(10);
    expect(await new Response(blob?.body).text()).toBe("234");
  });

  it.each<[string, number, Record<string, string>]>([
    ["no length", 200, {}],
    ["a length that is no number", 200, { "content-length": "ten" }],
    ["a part only", 206, { "content-length": "3", "content-range": "bytes 2-4/10" }],
  ])("DWN-1: a whole object answered with %s is a fault", async (_, status, headers) => {
    const script = new Script([new Response("234", { status, headers })]);
    await expect(script.store.read(key)).rejects.toMatchObject({ code: "store_unavailable" });
  });

  it.each<[string, () => Response]>([
    ["a page", () => new Response("<html><h1>404</h1></html>", { status: 404 })],
    ["nothing", () => new Response(null, { status: 404 })],
    ["NoSuchBucket", () => refusal(404, "NoSuchBucket")],
  ])("DWN-17: 404 with %s does not mean that the object is gone", async (_, reply) => {
    await expect(new Script([reply()]).store.read(key)).rejects.toMatchObject({
      code: "store_unavailable",
    });
  });
});

describe("uploads in parts that S3 answers strangely", () => {
  const part = { partNumber: 1, etag: '"e"' };

  it("UPL-1: joins the parts in order, with their ETags as they came", async () => {
    const script = new Script([completed()]);
    await script.store.completeMultipart(key, "id & more", [
      { partNumber: 2, etag: '"<&>\'"' },
      { partNumber: 1, etag: "plain" },
    ]);
    const [request] = script.requests;
    expect(new URL(request?.url ?? "").searchParams.get("uploadId")).toBe("id & more");
    expect(await request?.text()).toContain(
      "<Part><PartNumber>1</PartNumber><ETag>plain</ETag></Part><Part><PartNumber>2</PartNumber><ETag>&#34;&#60;&#38;&#62;&#39;&#34;</ETag></Part>",
    );
  });

  it("STO-13: joins again when status 200 turns out to be a passing error", async () => {
    const script = new Script([refusal(200, "InternalError"), completed()]);
    await script.store.completeMultipart(key, "an upload", [part]);
    expect(script.requests).toHaveLength(2);
  });

  it.each<[string, () => Response]>([
    ["an error that stays", () => refusal(200, "InvalidPart")],
    ["a page", () => new Response("<html></html>")],
    ["nothing", () => new Response()],
  ])("UPL-13: status 200 with %s is no object", async (_, reply) => {
    const script = new Script([reply()]);
    const completing = script.store.completeMultipart(key, "an upload", [part]);
    await expect(completing).rejects.toMatchObject({ code: "store_unavailable" });
    expect(script.requests).toHaveLength(1);
  });

  it("STO-13: completes although the answer to the first try was lost", async () => {
    const script = new Script([lost(), refusal(404, "NoSuchUpload"), new Response()]);
    await script.store.completeMultipart(key, "an upload", [part]);
    expect(script.requests.map(({ method }) => method)).toEqual(["POST", "POST", "HEAD"]);
  });

  it.each([
    [404, "parts_lost"],
    // Whether there is an object is not known then.
    [403, "store_unavailable"],
  ])("UPL-13: an upload that is gone is no object when HEAD says %i", async (status, code) => {
    const script = new Script([refusal(404, "NoSuchUpload"), new Response(null, { status })]);
    const completing = script.store.completeMultipart(key, "an upload", [part]);
    await expect(completing).rejects.toMatchObject({ code });
  });

  it.each(["NoSuchUpload", "NoSuchKey"])(
    "UPL-13: takes aborting an upload for success when the service knows none (%s)",
    async (code) => {
      const script = new Script([refusal(404, code)]);
      await script.store.abortMultipart(key, "an upload");
      expect(script.requests).toHaveLength(1);
    },
  );

  it("UPL-13: does not take it for success that a bucket is missing", async () => {
    const script = new Script([refusal(404, "NoSuchBucket"), refusal(404, "NoSuchBucket")]);
    const aborting = script.store.abortMultipart(key, "an upload");
    await expect(aborting).rejects.toMatchObject({ code: "store_unavailable" });
    await expect(script.store.remove(key)).rejects.toMatchObject({ code: "store_unavailable" });
  });

  it("UPL-10: takes removing what the service does not know as success", async () => {
    const script = new Script([refusal(404, "NoSuchKey")]);
    await script.store.remove(key);
    expect(script.requests).toHaveLength(1);
  });

  it.each<[string, string]>([
    ["another document", "<Other><UploadId>id</UploadId></Other>"],
    ["no id", "<InitiateMultipartUploadResult><Key>k</Key></InitiateMultipartUploadResult>"],
    ["an empty id", "<InitiateMultipartUploadResult><UploadId/></InitiateMultipartUploadResult>"],
    ["no XML", "an upload"],
  ])("UPL-13: a new upload answered with %s is a fault", async (_, text) => {
    const beginning = new Script([new Response(text)]).store.beginMultipart(key);
    await expect(beginning).rejects.toMatchObject({ code: "store_unavailable" });
  });

  it("UPL-13: a part without an ETag is a fault", async () => {
    const sending = new Script([new Response()]).store.putPart(key, "an upload", 1, bytes);
    await expect(sending).rejects.toMatchObject({ code: "store_unavailable" });
  });
});

describe("what is sent to S3", () => {
  const etag = () => new Response(null, { headers: { etag: '"e"' } });

  it("UPL-1: bytes in memory go with their sum, streamed ones without", async () => {
    const script = new Script([etag(), etag()]);
    await script.store.putPart(key, "an upload", 1, bytes);
    const { readable, writable } = new FixedLengthStream(bytes.length);
    const writing = new Blob([bytes]).stream().pipeTo(writable);
    await script.store.putPart(key, "an upload", 2, { stream: readable, length: bytes.length });
    const sums = script.requests.map(({ headers }) => headers.get("x-amz-content-sha256"));
    expect(sums).toEqual([
      "84d89877f0d4041efb6bf91a16f0248f2fd573e6af05c19f96bedb9f882f7882",
      "UNSIGNED-PAYLOAD",
    ]);
    await script.requests[1]?.arrayBuffer();
    await writing;
  });

  it("DWN-1: bytes are asked for as they are stored, not compressed", async () => {
    const script = new Script([new Response("", { headers: { "content-length": "0" } })]);
    await script.store.read(key).catch(() => {});
    const [request] = script.requests;
    expect(request?.headers.get("accept-encoding")).toBe("identity");
    expect(request?.headers.get("authorization")).not.toContain("accept-encoding");
  });

  it.each(["blobs/../other", "./blobs", "blobs/.", "a/%2e%2e/../b"])(
    "UPL-1: %j, which an address cannot hold, is never sent",
    async (name) => {
      const script = new Script([]);
      await expect(script.store.read(name)).rejects.toMatchObject({ code: "store_unavailable" });
      expect(script.requests).toEqual([]);
    },
  );
});

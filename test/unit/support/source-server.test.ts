import { describe, expect, inject, it } from "vitest";
import type { FileQuery } from "../../support/source-behaviour.ts";
import { bodyParameter, SourceControl } from "../../support/source-control.ts";
import { dataOf } from "../../support/source-data.ts";

const source = new SourceControl(inject("source").url);
const newId = () => crypto.randomUUID();

const FILE = { seed: 7, size: 200_000 };

function get(query: FileQuery, headers: Record<string, string> = {}, method = "GET") {
  return fetch(source.fileUrl(query), { method, headers, redirect: "manual" });
}

async function getRange(query: FileQuery, range: string, ifRange?: string) {
  const condition = ifRange === undefined ? {} : { "if-range": ifRange };
  const response = await get(query, { range, ...condition });
  const range206 = response.headers.get("content-range");
  return { status: response.status, range: range206, bytes: await response.bytes() };
}

const statusOf = async (query: FileQuery) => {
  const response = await get(query);
  await response.body?.cancel();
  return response.status;
};

describe("dataOf", () => {
  const whole = dataOf(FILE);

  it.each([
    [0, 1],
    [3, 10],
    [65_535, 2],
    [65_536, 65_536],
    [199_999, 100],
    [200_000, 1],
  ])("makes the same bytes for a part as for the whole: %i, %i", (offset, length) => {
    expect(dataOf(FILE, offset, length)).toEqual(whole.slice(offset, offset + length));
  });

  it("makes other bytes for another seed, and in another block", () => {
    const first = dataOf(FILE, 0, 64);
    expect(dataOf({ ...FILE, seed: 8 }, 0, 64)).not.toEqual(first);
    expect(dataOf(FILE, 65_536, 64)).not.toEqual(first);
    const far = { seed: 7, size: 2 ** 50 };
    expect(dataOf(far, 2 ** 47 + 1, 64)).not.toEqual(dataOf(far, 1, 64));
  });
});

describe("a file", () => {
  it("has its length, a strong ETag, a date and ranges", async () => {
    const response = await get(FILE);
    expect(Object.fromEntries(response.headers)).toMatchObject({
      "content-length": "200000",
      etag: '"7-200000"',
      "last-modified": "Thu, 01 Jan 2026 00:00:00 GMT",
      "accept-ranges": "bytes",
    });
    expect(await response.bytes()).toEqual(dataOf(FILE));
    const head = await get(FILE, {}, "HEAD");
    expect(head.headers.get("content-length")).toBe("200000");
  });

  it("is served in ranges", async () => {
    const served = (first: number, last: number) => ({
      status: 206,
      range: `bytes ${first}-${last}/200000`,
      bytes: dataOf(FILE, first, last - first + 1),
    });
    expect(await getRange(FILE, "bytes=5-70000")).toEqual(served(5, 70_000));
    expect(await getRange(FILE, "bytes=199998-")).toEqual(served(199_998, 199_999));
    expect(await getRange(FILE, "bytes=-3")).toEqual(served(199_997, 199_999));
    expect(await getRange(FILE, "bytes=0-0", '"7-200000"')).toEqual(served(0, 0));
    expect(await getRange(FILE, "bytes=0-0", '"other"')).toMatchObject({ status: 200 });
    expect(await getRange(FILE, "bytes=200000-")).toMatchObject({
      status: 416,
      range: "bytes */200000",
    });
    expect(await getRange({ ...FILE, ranges: "no" }, "bytes=0-0")).toMatchObject({ status: 200 });
  });

  it("comes without length, tag or date if asked to", async () => {
    const { headers } = await get({ size: 10, chunked: 1, etag: "no", lastmod: "no" });
    const names = ["content-length", "etag", "last-modified", "accept-ranges"];
    expect(names.filter((name) => headers.has(name))).toEqual([]);
  });

  it("has the bytes of its URL", async () => {
    const bytes = dataOf({ seed: 1, size: 9000 });
    const response = await get({ body: bodyParameter(bytes) });
    expect(await response.bytes()).toEqual(bytes);
  });

  it("is replaced at the request that was named", async () => {
    const query: FileQuery = { ...FILE, id: newId(), "change-at": 2 };
    const before = await get(query);
    const after = await get(query);
    expect(await before.bytes()).toEqual(dataOf(FILE));
    expect(await after.bytes()).toEqual(dataOf({ ...FILE, seed: 8 }));
    expect([before, after].map(({ headers }) => headers.get("etag"))).toEqual([
      '"7-200000"',
      '"8-200000"',
    ]);
  });

  it("has another tag at each request", async () => {
    const query: FileQuery = { size: 1, id: newId(), "change-always": 1 };
    const [first, second] = [await get(query), await get(query)];
    expect(second.headers.get("etag")).not.toBe(first.headers.get("etag"));
  });

  it("is refused when its URL is misspelt or counts without a name", async () => {
    expect((await fetch(`${source.url}/file?sise=1`)).status).toBe(400);
    expect(await statusOf({ size: 1, status: 500, times: 1 })).toBe(400);
  });

  it("is found through redirects", async () => {
    const id = newId();
    const response = await fetch(source.fileUrl({ size: 5, id, redirects: 2 }));
    expect(await response.bytes()).toEqual(dataOf({ seed: 0, size: 5 }));
    expect((await source.log(id)).map(({ status }) => status)).toEqual([302, 302, 200]);
    const away = await get({ redirect: "https://a.example/x" });
    expect(away.headers.get("location")).toBe("https://a.example/x");
  });
});

describe("trouble", () => {
  it("comes as often as it should, and then no more", async () => {
    const query: FileQuery = { size: 1, id: newId(), status: 503, skip: 1, times: 2 };
    const statuses = [];
    for (let count = 0; count < 4; count += 1) statuses.push(await statusOf(query));
    expect(statuses).toEqual([200, 503, 503, 200]);
  });

  it("breaks off a body, but none that is no longer than that", async () => {
    const id = newId();
    const query: FileQuery = { ...FILE, id, reset: 100_000, times: 1 };
    expect(await getRange(query, "bytes=0-0")).toMatchObject({ status: 206 });
    await expect(getRange(query, "bytes=0-")).rejects.toThrow();
    expect(await getRange(query, "bytes=0-")).toMatchObject({ bytes: dataOf(FILE) });
    expect((await source.log(id)).map(({ bytesSent }) => bytesSent)).toEqual([1, 100_000, 200_000]);
  });

  it("announces more than it sends", async () => {
    const query: FileQuery = { size: 10, lie: 5 };
    expect(await getRange(query, "bytes=0-0")).toMatchObject({ range: "bytes 0-0/15" });
    await expect(getRange(query, "bytes=0-14")).rejects.toThrow();
  });

  it("announces less than it sends", async () => {
    const id = newId();
    const response = await get({ id, size: 10, lie: -5 });
    expect(response.headers.get("content-length")).toBe("5");
    await response.bytes();
    expect(await source.log(id)).toMatchObject([{ bytesSent: 10 }]);
  });

  it("never answers", async () => {
    const id = newId();
    const signal = AbortSignal.timeout(50);
    await expect(fetch(source.fileUrl({ id, hang: 1 }), { signal })).rejects.toThrow();
    expect(await source.log(id)).toMatchObject([{ status: null }]);
  });

  it("drips", async () => {
    const response = await get({ size: 2000, rate: 10_000 });
    const startMs = Date.now();
    await response.bytes();
    expect(Date.now() - startMs).toBeGreaterThan(50);
  });
});

describe("a gate", () => {
  it("holds answers until it is opened", async () => {
    const gate = newId();
    const answers = [get({ size: 1, gate }), get({ size: 1, gate })];
    await source.waitAtGate(gate, 2);
    await source.openGate(gate, 1);
    await Promise.race(answers);
    await source.waitAtGate(gate, 1);
    await source.openGate(gate);
    const responses = await Promise.all(answers);
    for (const { body } of responses) await body?.cancel();
    expect(await statusOf({ size: 1, gate })).toBe(200);
  });

  it("holds a body in its middle", async () => {
    const [id, gate] = [newId(), newId()];
    const response = await get({ ...FILE, id, gate, "gate-at": 70_000 });
    await source.waitAtGate(gate);
    expect(await source.log(id)).toMatchObject([{ bytesSent: 70_000 }]);
    await source.openGate(gate, 1);
    expect(await response.bytes()).toEqual(dataOf(FILE));
  });
});

describe("the log", () => {
  it("tells the requests of one id, until it is cleared", async () => {
    const id = newId();
    await getRange({ size: 10, id }, "bytes=2-4");
    expect(await source.log(id)).toEqual([
      {
        method: "GET",
        url: `/file?size=10&id=${id}`,
        range: "bytes=2-4",
        headers: expect.objectContaining({ range: "bytes=2-4" }),
        status: 206,
        bytesSent: 3,
      },
    ]);
    await source.forget(id);
    expect(await source.log(id)).toEqual([]);
  });
});

describe("the fake Image API", () => {
  it("serves the image that it was given, to whom it should", async () => {
    const id = newId();
    const record = { id, status: "active", size: 10 };
    await source.putImage(id, { record, expectToken: "secret", file: { size: 10, seed: 3 } });
    const url = `${source.url}/image-api/v2/images/${id}`;
    const headers = { "x-auth-token": "secret" };
    expect((await fetch(url)).status).toBe(401);
    expect(await (await fetch(url, { headers })).json()).toEqual(record);
    const file = await fetch(`${url}/file`, { headers });
    expect(await file.bytes()).toEqual(dataOf({ size: 10, seed: 3 }));
    const log = await source.log(id);
    expect(log.map(({ status }) => status)).toEqual([401, 200, 200]);
    expect(log.at(-1)?.headers).toMatchObject(headers);
  });
});

import { env } from "cloudflare:workers";
import { afterEach, beforeEach, describe, expect, it } from "vitest";

// What the store on disk takes for granted of workerd's disk service (docs/decisions/0001-disk-store.md).

describe("workerd's disk service", () => {
  let top: string;

  beforeEach(() => {
    top = crypto.randomUUID();
  });

  afterEach(async () => {
    await ask("DELETE", top);
  });

  async function ask(method: string, path: string, init: RequestInit = {}) {
    const response = await env.DISK.fetch(`http://disk/${path}`, { method, ...init });
    const { status, headers } = response;
    return { status, headers, text: await response.text() };
  }

  const put = (path: string, body: BodyInit = "0123456789") => ask("PUT", path, { body });
  const get = (path: string, range: string) => ask("GET", path, { headers: { range } });

  it("writes a file and the directories above it, and gives it back", async () => {
    expect((await put(`${top}/a/b`)).status).toBe(204);
    const { status, headers, text } = await ask("GET", `${top}/a/b`);
    expect([status, text]).toEqual([200, "0123456789"]);
    expect(headers.get("content-length")).toBe("10");
    expect(headers.get("last-modified")).toMatch(/GMT$/);
    expect(headers.has("etag")).toBe(false);
    const head = await ask("HEAD", `${top}/a/b`);
    expect([head.status, head.headers.get("content-length")]).toEqual([200, "10"]);
  });

  it.each([
    ["bytes=2-4", 206, "234", "bytes 2-4/10"],
    ["bytes=8-99", 206, "89", "bytes 8-9/10"],
    ["bytes=7-", 206, "789", "bytes 7-9/10"],
    ["bytes=-2", 206, "89", "bytes 8-9/10"],
    ["bytes=0-9", 200, "0123456789", null],
    ["bytes=0-99", 200, "0123456789", null],
    ["bytes=10-", 416, "Range Not Satisfiable", "bytes */10"],
    ["bytes=0-1,4-5", 200, "0123456789", null],
  ])("answers the range %s", async (range, status, text, contentRange) => {
    await put(`${top}/a`);
    const answer = await get(`${top}/a`, range);
    expect([answer.status, answer.text]).toEqual([status, text]);
    expect(answer.headers.get("content-range")).toBe(contentRange);
  });

  it("lists a directory", async () => {
    await put(`${top}/a`);
    await put(`${top}/b/c`);
    const entries = JSON.parse((await ask("GET", top)).text) as { name: string; type: string }[];
    expect(entries.toSorted((a, b) => a.name.localeCompare(b.name))).toEqual([
      { name: "a", type: "file" },
      { name: "b", type: "directory" },
    ]);
  });

  it("deletes a file, and a directory with what is in it", async () => {
    await put(`${top}/a/b`);
    await put(`${top}/a/c`);
    expect((await ask("DELETE", `${top}/a/b`)).status).toBe(204);
    expect((await ask("DELETE", `${top}/a/b`)).status).toBe(404);
    expect((await ask("DELETE", `${top}/a`)).status).toBe(204);
    expect((await ask("GET", `${top}/a/c`)).status).toBe(404);
    expect((await ask("HEAD", `${top}/a/c`)).status).toBe(404);
  });

  it("replaces a file as a whole: a reader goes on with what it opened", async () => {
    const [before, after] = ["old", "new"].map((word) => word.repeat(1_000_000)) as [
      string,
      string,
    ];
    await put(`${top}/a`, before);
    const response = await env.DISK.fetch(`http://disk/${top}/a`);
    await put(`${top}/a`, after);
    expect(await response.text()).toBe(before);
    const again = await env.DISK.fetch(`http://disk/${top}/a`);
    await ask("DELETE", `${top}/a`);
    expect(await again.text()).toBe(after);
  });

  it("keeps the old file when a body breaks off", async () => {
    await put(`${top}/a`);
    const { readable, writable } = new FixedLengthStream(4);
    const writer = writable.getWriter();
    writer.closed.catch(() => {});
    const putting = put(`${top}/a`, readable);
    const writing = writer.write(new Uint8Array(2)).then(() => writer.abort(new Error("gone")));
    await expect(putting).rejects.toThrow();
    await writing.catch(() => {});
    expect((await ask("GET", `${top}/a`)).text).toBe("0123456789");
  });

  it("makes no directory anew that is deleted while a file is written into it", async () => {
    const { readable, writable } = new FixedLengthStream(4);
    const writer = writable.getWriter();
    writer.closed.catch(() => {});
    const putting = put(`${top}/a`, readable);
    const failing = expect(putting).rejects.toThrow();
    await writer.write(new Uint8Array(2));
    expect((await ask("DELETE", top)).status).toBe(204);
    await writer.write(new Uint8Array(2)).catch(() => {});
    await writer.close().catch(() => {});
    await failing;
    expect((await ask("GET", top)).status).toBe(404);
  });

  it("fails to write over a directory, and below a file", async () => {
    await put(`${top}/a/b`);
    await expect(put(`${top}/a`)).rejects.toThrow();
    await expect(put(`${top}/a/b/c`)).rejects.toThrow();
  });

  it.each([".a", "%2e%2e%2fa", "a%2Fb", "%00"])("has no file of the name %s", async (name) => {
    expect((await put(`${top}/${name}`)).status).toBe(403);
    expect((await ask("DELETE", `${top}/${name}`)).status).toBe(403);
    expect((await ask("GET", `${top}/${name}`)).status).toBe(404);
  });
});

import { afterEach, describe, expect, it, vi } from "vitest";
import { member, owner } from "../support/callers.ts";
import { Service } from "../support/service.ts";

const service = new Service();

afterEach(() => vi.restoreAllMocks());

/** The header of an answer, with its times left out. */
async function timingOf(response: Response): Promise<string | undefined> {
  await response.arrayBuffer();
  return response.headers.get("server-timing")?.replace(/dur=\d+;/g, "");
}

describe("Server-Timing", () => {
  it("tells what a request waited for, and how many calls that were", async () => {
    const { id } = await service.createActive(owner, "data");
    const ask = async (method: string, path: string) =>
      timingOf(await service.call(owner, method, path));
    expect(await ask("GET", `/v2/images/${id}`)).toBe('d1;desc="1"');
    expect(await ask("GET", "/v2/images")).toBe('d1;desc="1"');
    expect(await ask("GET", `/v2/images/${id}/file`)).toBe('d1;desc="1", r2;desc="1"');
    expect(await ask("PUT", `/v2/images/${id}/tags/new`)).toBe('object;desc="1"');
    const { id: empty } = await service.createEmpty(owner);
    const upload = await service.upload(owner, empty, "data");
    expect(await timingOf(upload)).toBe('object;desc="2", r2;desc="1"');
  });

  it("HDR-11: is absent on refusals, which it would tell apart, and where nothing was waited for", async () => {
    const { id } = await service.create(owner, { visibility: "private" });
    for (const hidden of [id, "00000000-0000-4000-8000-000000000000"]) {
      const refused = await service.call(member, "GET", `/v2/images/${hidden}`);
      expect([refused.status, await timingOf(refused)]).toEqual([404, undefined]);
    }
    for (const path of ["/v2/schemas/image", "/", "/v2/images/x"]) {
      expect(await timingOf(await service.call(owner, "GET", path)), path).toBeUndefined();
    }
  });

  it("gives whole milliseconds", async () => {
    const response = await service.call(owner, "GET", "/v2/images");
    expect(response.headers.get("server-timing")).toMatch(/^d1;dur=\d+;desc="1"$/);
  });

  it("is off by SERVER_TIMING=off; the log line tells in any case", async () => {
    const lines: Record<string, unknown>[] = [];
    vi.spyOn(console, "log").mockImplementation((line: string) => lines.push(JSON.parse(line)));
    const quiet = new Service({ settings: { SERVER_TIMING: "off" } });
    const response = await quiet.call(owner, "GET", "/v2/images");
    expect(response.headers.has("server-timing")).toBe(false);
    expect(lines).toMatchObject([{ route: "/v2/images", d1_calls: 1, d1_ms: expect.any(Number) }]);
  });
});

describe("LOG_REQUESTS", () => {
  it.each([
    ["all", [200, 404]],
    ["failed", [404]],
    ["none", []],
  ])("%s logs a line of requests that were answered with %j", async (wanted, statuses) => {
    const lines: Record<string, unknown>[] = [];
    vi.spyOn(console, "log").mockImplementation((line: string) => lines.push(JSON.parse(line)));
    const logging = new Service({ settings: { LOG_REQUESTS: wanted } });
    await logging.call(owner, "GET", "/v2/images");
    await logging.call(owner, "GET", "/v2/nothing");
    expect(lines.map(({ status }) => status)).toEqual(statuses);
  });
});

import { env } from "cloudflare:workers";
import { afterEach, describe, expect, it, vi } from "vitest";
import { owner, ownersReader } from "../support/callers.ts";
import { interceptD1 } from "../support/intercept.ts";
import { OpenBody } from "../support/open-body.ts";
import { Service } from "../support/service.ts";

const service = new Service();
const PATH = "/v2/images";

describe("a refused body", () => {
  it("CTX-1: that never comes does not hold the answer up, when the caller is nobody we know", async () => {
    const body = new OpenBody();
    const response = await service.call(null, "POST", PATH, { body: body.stream });
    expect(response.status).toBe(401);
    await body.breakOff();
  });

  it("UPL-6: is read to its end before a known caller is answered, for clients that send first", async () => {
    const { id } = await service.createEmpty(owner);
    const body = new OpenBody();
    const answer = service.call(ownersReader, "PUT", `${PATH}/${id}/file`, {
      body: body.stream,
      headers: { "content-type": "application/octet-stream" },
    });
    for (let n = 0; n < 20; n++) await body.send(new Uint8Array(64 * 1024));
    await body.end();
    expect((await answer).status).toBe(403);
  });

  it("UPL-6: is not asked for from a client that asks first", async () => {
    const { id } = await service.createEmpty(owner);
    const body = new OpenBody();
    const response = await service.call(ownersReader, "PUT", `${PATH}/${id}/file`, {
      body: body.stream,
      headers: { "content-type": "application/octet-stream", expect: "100-continue" },
    });
    expect(response.status).toBe(403);
    await body.breakOff();
  });
});

describe("the log", () => {
  afterEach(() => void vi.restoreAllMocks());

  it("ERR-6: has nothing of what callers sent, when the database fails", async () => {
    const lines: string[] = [];
    vi.spyOn(console, "log").mockImplementation((line) => void lines.push(String(line)));
    const DB = interceptD1(env.DB, () => Promise.reject(new Error("D1_ERROR: no such luck")));
    const failing = new Service({ bindings: { DB } });
    const json = { name: "top-secret", tags: ["top-secret"], key: "top-secret" };
    expect((await failing.call(owner, "POST", PATH, { json })).status).toBe(500);
    const { id } = await service.create(owner);
    const patch = [{ op: "add", path: "/key", value: "top-secret" }];
    expect((await failing.call(owner, "PATCH", `${PATH}/${id}`, { patch })).status).toBe(500);
    expect(lines.join("\n")).toContain("no such luck");
    expect(lines.join("\n")).not.toContain("top-secret");
  });
});

describe("GET /healthcheck", () => {
  it("VER-12: fails when the database does not answer", async () => {
    const DB = interceptD1(env.DB, () => Promise.reject(new Error("Network connection lost.")));
    const failing = new Service({ bindings: { DB } });
    expect((await failing.call(null, "GET", "/healthcheck")).status).toBe(503);
  });
});

describe("an over-long request id", () => {
  it("HDR-2: is not sent back", async () => {
    const response = await service.call(owner, "GET", PATH, {
      headers: { "x-openstack-request-id": "r".repeat(65) },
    });
    expect(response.status).toBe(431);
    expect(response.headers.get("x-openstack-request-id")).toMatch(/^req-[0-9a-f-]{36}$/);
  });
});

import { describe, expect, it } from "vitest";
import { addCorsHeaders, answerOptions } from "../../../src/http/cors.ts";

const ORIGIN = "https://horizon.example.com";

function headersFor(
  allowed: readonly string[],
  {
    origin,
    method = "GET",
    asks,
  }: { readonly origin?: string; readonly method?: string; readonly asks?: string } = {},
): Record<string, string> {
  const sent: Record<string, string> = {
    ...(origin !== undefined && { origin }),
    ...(asks !== undefined && { "access-control-request-headers": asks }),
  };
  const headers = new Headers({ vary: "Accept" });
  addCorsHeaders(new Request("http://x/", { method, headers: sent }), headers, allowed);
  return Object.fromEntries(headers);
}

describe("addCorsHeaders", () => {
  it("HDR-9: says nothing to a caller that is no browser", () => {
    expect(headersFor(["*"])).toEqual({ vary: "Accept" });
    expect(headersFor([ORIGIN])).toEqual({ vary: "Accept, Origin" });
    expect(headersFor([])).toEqual({ vary: "Accept, Origin" });
  });

  it("HDR-9: lets any origin read the answer when any is allowed", () => {
    expect(headersFor(["*"], { origin: ORIGIN })).toMatchObject({
      "access-control-allow-origin": "*",
      "access-control-expose-headers": expect.stringContaining("X-OpenStack-Request-ID"),
      vary: "Accept",
    });
    expect(headersFor([ORIGIN, "*"], { origin: "null" })).toMatchObject({
      "access-control-allow-origin": "*",
    });
  });

  it("HDR-9: lets a listed origin in by name, for caches too", () => {
    expect(headersFor(["https://a.example", ORIGIN], { origin: ORIGIN })).toMatchObject({
      "access-control-allow-origin": ORIGIN,
      vary: "Accept, Origin",
    });
  });

  it.each(["https://horizon.example.com.evil.example", "http://horizon.example.com", "null", ""])(
    "HDR-9: lets %j in by no resemblance",
    (origin) => {
      const headers = headersFor([ORIGIN], { origin });
      expect(Object.keys(headers)).toEqual(["vary"]);
    },
  );

  it("HDR-9: tells a browser that asks what it may send, and how long that holds", () => {
    const headers = headersFor(["*"], { origin: ORIGIN, method: "OPTIONS" });
    expect(headers).toMatchObject({
      "access-control-allow-methods": expect.stringContaining("PATCH"),
      "access-control-max-age": expect.stringMatching(/^\d+$/),
    });
    expect(headers).not.toHaveProperty("access-control-expose-headers");
  });
});

describe("addCorsHeaders, asked what may be sent", () => {
  const preflight = (asks?: string) =>
    headersFor(["*"], { origin: ORIGIN, method: "OPTIONS", ...(asks !== undefined && { asks }) });

  it.each([
    "x-auth-token",
    "content-type,x-auth-token",
    "tus-resumable, upload-length, upload-metadata, x-auth-token, x-request-id",
  ])("HDR-9: allows %j, for credentials are never allowed", (asks) => {
    expect(preflight(asks)).toMatchObject({
      "access-control-allow-headers": asks,
      vary: "Accept, Access-Control-Request-Headers",
    });
    expect(preflight(asks)).not.toHaveProperty("access-control-allow-credentials");
  });

  it.each([undefined, "", "a b", "a,,b", "a:b", "x-\u00e9", `x-${"a".repeat(5000)}`])(
    "HDR-9: does not give back %j, which is no list of names",
    (asks) => {
      expect(preflight(asks)).not.toHaveProperty("access-control-allow-headers");
    },
  );
});

describe("answerOptions", () => {
  it("RT-22: is 200 with the methods there are, and empty", async () => {
    const response = answerOptions();
    expect(response.status).toBe(200);
    expect(response.headers.get("allow")).toBe("GET, HEAD, PUT, POST, DELETE, PATCH, OPTIONS");
    expect(await response.text()).toBe("");
  });
});

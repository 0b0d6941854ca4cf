import { describe, expect, it } from "vitest";
import { addCorsHeaders, answerOptions } from "../../../src/http/cors.ts";

const ORIGIN = "https://horizon.example.com";

function headersFor(
  allowed: readonly string[],
  { origin, method = "GET" }: { origin?: string; method?: string } = {},
): Record<string, string> {
  const sent: Record<string, string> = origin === undefined ? {} : { origin };
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
      "access-control-allow-headers": expect.stringContaining("X-Auth-Token"),
      "access-control-max-age": expect.stringMatching(/^\d+$/),
    });
    expect(headers).not.toHaveProperty("access-control-expose-headers");
  });
});

describe("answerOptions", () => {
  it("RT-22: is 200 with the methods there are, and empty", async () => {
    const response = answerOptions();
    expect(response.status).toBe(200);
    expect(response.headers.get("allow")).toBe("GET, HEAD, PUT, POST, DELETE, PATCH, OPTIONS");
    expect(await response.text()).toBe("");
  });
});

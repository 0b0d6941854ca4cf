import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { hostOf, LocalAccess } from "../../../src/auth/local-access.ts";
import type { Fault } from "../../../src/domain/fault.ts";

const access = new LocalAccess(
  ["192.168.1.7", "box.lan", "[fd00::7]"],
  ["*", "https://horizon.example.com"],
);

function refusal(url: string, origin?: string): string | undefined {
  try {
    access.assert(new Request(url, { headers: origin === undefined ? {} : { origin } }));
    return undefined;
  } catch (error) {
    return (error as Fault).code;
  }
}

describe("the development users", () => {
  it.each([
    "http://127.0.0.1:9292/",
    "http://127.8.8.8/",
    "http://localhost:9292/v2/images",
    "http://LOCALHOST./",
    "http://app.localhost/",
    "http://[::1]:9292/",
    "http://192.168.1.7:9292/",
    "http://box.lan/",
    "http://BOX.LAN./",
    "http://[fd00:0::7]/",
  ])("are served at %s", (url) => expect(refusal(url)).toBeUndefined());

  it.each([
    "http://evil.example/",
    "http://127.0.0.1.evil.example/",
    "http://localhost.evil.example/",
    "http://evil.example:9292/v2/images",
    "http://127.0.0.1@evil.example/",
    "http://192.168.1.8/",
    "http://xbox.lan/",
    "http://0.0.0.0/",
    "http://[::2]/",
  ])("are not served at %s", (url) => expect(refusal(url)).toBe("misdirected"));

  it.each([
    "http://localhost:3000",
    "http://127.0.0.1:9292",
    "https://box.lan",
    "http://[fd00::7]:8080",
    "https://horizon.example.com",
  ])("are served to pages of %s", (origin) => {
    expect(refusal("http://localhost/", origin)).toBeUndefined();
    expect(access.origins(new Request("http://localhost/", { headers: { origin } }))).toContain(
      origin,
    );
  });

  it.each([
    "null",
    "",
    "https://evil.example",
    "http://horizon.example.com",
    "https://horizon.example.com:444",
    "http://localhost.evil.example",
    "file://localhost",
    "chrome-extension://localhost",
    "*",
  ])("are not served to pages of '%s'", (origin) => {
    expect(refusal("http://localhost/", origin)).toBe("origin_refused");
    expect(access.origins(new Request("http://localhost/", { headers: { origin } }))).toEqual([
      "https://horizon.example.com",
    ]);
  });
});

describe("a host of the settings", () => {
  it.each([
    ["Box.LAN", "box.lan"],
    ["box.lan.", "box.lan"],
    ["127.1", "127.0.0.1"],
    ["::1", "[::1]"],
    ["fd00:0:0::7", "[fd00::7]"],
  ])("%s is spelled %s", (text, host) => expect(hostOf(text)).toBe(host));

  it.each(["", "a b", "box:80", "http://box", "box/x", "u@box", "box?", "box#", "[::1]", "*"])(
    "'%s' is none",
    (text) => expect(hostOf(text)).toBeUndefined(),
  );

  it("is what a request to it has", () => {
    fc.assert(
      fc.property(fc.oneof(fc.domain(), fc.ipV4(), fc.ipV6()), (text) => {
        const host = hostOf(text);
        const url = `http://${text.includes(":") ? `[${text}]` : text}:9292/v2`;
        expect(new URL(url).hostname).toBe(host);
      }),
    );
  });
});

import { afterEach, describe, expect, it, vi } from "vitest";
import { parseOutbound } from "../../../src/net/settings.ts";
import { checkUri, DEFAULT_URI_FILTER, type UriFilter } from "../../../src/net/uri-filter.ts";

const filterOf = (env: Record<string, unknown>) => parseOutbound(env).door.filter;

describe("10 §11: options", () => {
  it("10 §11: starts from the reference's defaults", () => {
    expect(filterOf({})).toEqual(DEFAULT_URI_FILTER);
  });

  it.each<[string, string, string, Partial<UriFilter>]>([
    ["allowed_schemes", "IMPORT_ALLOWED_SCHEMES", "https", { allowedSchemes: ["https"] }],
    ["allowed_schemes", "IMPORT_ALLOWED_SCHEMES", "", { allowedSchemes: [] }],
    ["disallowed_schemes", "IMPORT_DISALLOWED_SCHEMES", "http", { disallowedSchemes: ["http"] }],
    [
      "allowed_hosts",
      "IMPORT_ALLOWED_HOSTS",
      " a.example , [fd00::1],10.0.0.1 ",
      { allowedHosts: ["a.example", "[fd00::1]", "10.0.0.1"] },
    ],
    ["allowed_hosts", "IMPORT_ALLOWED_HOSTS", " ", { allowedHosts: [] }],
    [
      "disallowed_hosts",
      "IMPORT_DISALLOWED_HOSTS",
      "a.example",
      { disallowedHosts: ["a.example"] },
    ],
    ["allowed_ports", "IMPORT_ALLOWED_PORTS", "443, 8443", { allowedPorts: [443, 8443] }],
    ["allowed_ports", "IMPORT_ALLOWED_PORTS", "", { allowedPorts: [] }],
    ["disallowed_ports", "IMPORT_DISALLOWED_PORTS", "25,65535", { disallowedPorts: [25, 65_535] }],
  ])("10 §11 %s: %s takes %j", (_, name, text, expected) => {
    expect(filterOf({ [name]: text })).toEqual({ ...DEFAULT_URI_FILTER, ...expected });
  });

  it.each([
    ["allowed_schemes", "IMPORT_ALLOWED_SCHEMES", "https://", '"https://" is no scheme'],
    ["disallowed_schemes", "IMPORT_DISALLOWED_SCHEMES", "HTTP", '"HTTP" is no scheme'],
    ["allowed_hosts", "IMPORT_ALLOWED_HOSTS", "*.h", '"*.h" is no host name or IP address'],
    ["disallowed_hosts", "IMPORT_DISALLOWED_HOSTS", "h:80", '"h:80" is no host name or IP address'],
    ["allowed_ports", "IMPORT_ALLOWED_PORTS", "x", '"x" is no port'],
    ["allowed_ports", "IMPORT_ALLOWED_PORTS", "80-90", '"80-90" is no port'],
    ["allowed_ports", "IMPORT_ALLOWED_PORTS", "0", "0 is no port"],
    ["disallowed_ports", "IMPORT_DISALLOWED_PORTS", "65536", "65536 is no port"],
    ["disallowed_ports", "IMPORT_DISALLOWED_PORTS", "-1", '"-1" is no port'],
    ["allowed_ports", "IMPORT_ALLOWED_PORTS", "80,", "it has an empty item"],
    ["allowed_hosts", "IMPORT_ALLOWED_HOSTS", ",", "it has an empty item"],
    ["allowed_ports", "IMPORT_ALLOWED_PORTS", 80, "it must be text"],
  ])("10 §11 %s: %s refuses %j", (_, name, value, reason) => {
    expect(() => parseOutbound({ [name]: value })).toThrow(new Error(`${name}: ${reason}`));
  });
});

describe("10 §11: private addresses", () => {
  const NAME = "IMPORT_ALLOW_PRIVATE_ADDRESSES";

  it.each(["false", "", " false "])("10 §11 private addresses: stay out with %j", (text) => {
    const filter = filterOf({ [NAME]: text, DEVELOPMENT: "true" });
    expect(filter.allowPrivateAddresses).toBe(false);
    expect(() => checkUri("http://127.0.0.1/", filter)).toThrow();
  });

  it("10 §11 private addresses: are let in for development", () => {
    const filter = filterOf({ [NAME]: "true", DEVELOPMENT: "true" });
    expect(checkUri("http://127.0.0.1/", filter).url.href).toBe("http://127.0.0.1/");
  });

  it.each([undefined, "", "false", "1"])(
    "10 §11 private addresses: are not let in where DEVELOPMENT is %j",
    (DEVELOPMENT) => {
      expect(() => parseOutbound({ [NAME]: "true", DEVELOPMENT })).toThrow(
        `${NAME}: it may be "true" only where DEVELOPMENT is "true"`,
      );
    },
  );

  it("10 §11 private addresses: want a clear word", () => {
    expect(() => parseOutbound({ [NAME]: "yes" })).toThrow(
      `${NAME}: "yes" is neither true nor false`,
    );
  });
});

describe("10 §11: resolver", () => {
  afterEach(() => {
    vi.unstubAllGlobals();
  });

  /** Where a look-up goes. */
  async function resolverAsked(env: Record<string, unknown>): Promise<string[]> {
    const asked: string[] = [];
    vi.stubGlobal("fetch", async (url: string) => {
      asked.push(url);
      return Response.json({ Status: 0, Answer: [{ type: 1, data: "8.8.8.8" }] });
    });
    expect(await parseOutbound(env).door.resolve?.("a.example")).toEqual(["8.8.8.8"]);
    return asked;
  }

  it.each<[Record<string, string>, string]>([
    [{}, "https://cloudflare-dns.com/dns-query?"],
    [{ RESOLVER_URL: "https://dns.google/resolve?key=1" }, "https://dns.google/resolve?key=1&"],
    [{ RESOLVER_URL: "http://127.0.0.1:8053/q", DEVELOPMENT: "true" }, "http://127.0.0.1:8053/q?"],
  ])("10 §11 host, other: names are looked up as %j says", async (env, start) => {
    const asked = await resolverAsked(env);
    expect(asked.map((url) => url.slice(0, start.length))).toEqual([start, start]);
  });

  it("10 §11 host, other: names are not looked up where RESOLVER_URL is empty", () => {
    expect(parseOutbound({ RESOLVER_URL: "" }).door.resolve).toBeUndefined();
  });

  it.each([
    ["1.1.1.1", "it is not an https address"],
    ["ftp://h/", "it is not an https address"],
    ["https://user:secret@h/", "it is not an https address"],
    ["https://h/#x", "it is not an https address"],
    ["http://h/q", 'it may be an http address only where DEVELOPMENT is "true"'],
    [5, "it must be text"],
  ])("10 §11 host, other: refuses the resolver %j", (RESOLVER_URL, reason) => {
    expect(() => parseOutbound({ RESOLVER_URL })).toThrow(new Error(`RESOLVER_URL: ${reason}`));
  });
});

import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { Fault } from "../../../src/domain/fault.ts";
import { admitUri, type Resolve, remembering, resolveOverHttps } from "../../../src/net/resolve.ts";
import { DEFAULT_URI_FILTER, type UriFilter } from "../../../src/net/uri-filter.ts";
import { FakeWeb, watchedBody } from "./fake-web.ts";

const ENDPOINT = "https://resolver.example/dns-query";

function admit(text: string, resolve: Resolve | undefined, settings: Partial<UriFilter> = {}) {
  return admitUri(text, { filter: { ...DEFAULT_URI_FILTER, ...settings }, resolve });
}

const unused: Resolve = () => Promise.reject(new Error("nothing was to be looked up"));

const refusal = (reason: string) =>
  expect.objectContaining({ code: "uri_refused", detail: { reason } });

describe("a resolver that remembers", () => {
  it("asks again only when its memory is over, and after a failure", async () => {
    let nowMs = 0;
    const asked: string[] = [];
    const resolve = remembering(
      async (host) => {
        asked.push(host);
        if (host === "broken.example" && asked.length < 4) throw new Error("no answer");
        return ["8.8.8.8"];
      },
      1000,
      () => nowMs,
    );
    expect(await resolve("a.example")).toEqual(["8.8.8.8"]);
    expect(await resolve("a.example")).toEqual(["8.8.8.8"]);
    nowMs = 1000;
    await resolve("a.example");
    await expect(resolve("broken.example")).rejects.toThrow("no answer");
    await resolve("broken.example");
    expect(asked).toEqual(["a.example", "a.example", "broken.example", "broken.example"]);
  });
});

describe("admitUri", () => {
  it("10 §11: admits a name whose addresses are all public", async () => {
    const asked: string[] = [];
    const url = await admit("https://Example.com./x", async (host) => {
      asked.push(host);
      return ["8.8.8.8", "2606:4700:4700::1111"];
    });
    expect(url.href).toBe("https://example.com/x");
    expect(asked).toEqual(["example.com"]);
  });

  it.each([
    [["127.0.0.1"]],
    [["8.8.8.8", "10.0.0.1"]],
    [["8.8.8.8", "::1"]],
    [["169.254.169.254"]],
    [["::ffff:192.168.0.1"]],
    [["64:ff9b::a00:1"]],
    [["not an address"]],
    [["127.1"]],
    [[""]],
  ])("10 §11: refuses a name with the addresses %j", async (addresses) => {
    await expect(admit("http://rebound.example/", async () => addresses)).rejects.toEqual(
      refusal("its host name leads to a private IP address"),
    );
  });

  it("10 §11: refuses a name that does not resolve", async () => {
    await expect(admit("http://nowhere.example/", async () => [])).rejects.toEqual(
      refusal("its host name cannot be found"),
    );
  });

  it("10 §11: refuses a name without a dot, which only a local network knows", async () => {
    await expect(admit("http://intranet/", unused)).rejects.toEqual(
      refusal("its host name cannot be found"),
    );
  });

  it("10 §11: refuses by the text before it looks a name up", async () => {
    await expect(admit("ftp://example.com/", unused)).rejects.toEqual(
      refusal("its scheme is not allowed"),
    );
  });

  it.each<[string, string, Partial<UriFilter>]>([
    ["an IP address", "http://8.8.8.8/", {}],
    ["a listed name", "http://images.internal/", { allowedHosts: ["images.internal"] }],
    ["any name where private addresses are let in", "http://h/", { allowPrivateAddresses: true }],
  ])("10 §11: looks %s not up", async (_, text, settings) => {
    expect((await admit(text, unused, settings)).href).toBe(text);
  });

  it("10 §11: goes by the lists alone where there is no resolver", async () => {
    expect((await admit("http://example.com/", undefined)).href).toBe("http://example.com/");
    await expect(admit("http://127.0.0.1/", undefined)).rejects.toThrow(Fault);
    await expect(admit("http://localhost/", undefined)).rejects.toThrow(Fault);
  });

  it("10 §11: passes on that nothing could be looked up", async () => {
    const resolve = () => Promise.reject(new Fault("resolver_unreachable", { reason: "r" }));
    await expect(admit("http://example.com/", resolve)).rejects.toHaveProperty(
      "code",
      "resolver_unreachable",
    );
  });

  describe("10 §11 IP addresses in disallowed_hosts", () => {
    const disallowed = ["8.8.8.8", "[2606:4700:4700:0::1111]", "10.0.0.1"];
    const DISALLOWED = refusal("its host name leads to an address that is not allowed");

    it.each([
      [["8.8.8.8"]],
      [["1.1.1.1", "8.8.8.8"]],
      [["::ffff:8.8.8.8"]],
      [["2606:4700:4700:0:0::1111"]],
    ])("refuse a name that leads to %j", async (addresses) => {
      const settings = { disallowedHosts: disallowed };
      const attempt = admit("http://a.example/", async () => addresses, settings);
      await expect(attempt).rejects.toEqual(DISALLOWED);
    });

    it("refuse it where private addresses are let in, too, and others pass there", async () => {
      const settings = { disallowedHosts: disallowed, allowPrivateAddresses: true };
      const at = (addresses: readonly string[]) =>
        admit("http://a.example/", async () => addresses, settings);
      await expect(at(["10.0.0.1"])).rejects.toEqual(DISALLOWED);
      expect((await at(["10.0.0.2"])).href).toBe("http://a.example/");
    });

    it.each(["localhost", "a.localhost"])(
      "refuse %s for the loopback address, which no resolver is asked for",
      async (name) => {
        const at = (host: string) =>
          admit(`http://${name}/`, unused, {
            disallowedHosts: [host],
            allowPrivateAddresses: true,
          });
        await expect(at("127.0.0.1")).rejects.toEqual(DISALLOWED);
        await expect(at("::1")).rejects.toEqual(DISALLOWED);
        expect((await at("127.0.0.2")).hostname).toBe(name);
      },
    );

    it("are moot where hosts are allowed by name, and look nothing up for names that are disallowed", async () => {
      const allowed = { allowedHosts: ["a.example"], disallowedHosts: disallowed };
      expect((await admit("http://a.example/", unused, allowed)).href).toBe("http://a.example/");
      const names = { disallowedHosts: ["b.example"], allowPrivateAddresses: true };
      expect((await admit("http://a.example/", unused, names)).href).toBe("http://a.example/");
    });
  });
});

describe("resolveOverHttps", () => {
  const NO_DNS = "it does not answer with the JSON of DNS over HTTPS";
  type Json = Readonly<Record<string, unknown>>;

  function resolverThat(answers: { A?: Json; AAAA?: Json }) {
    const none = { Status: 0 };
    const web = new FakeWeb({
      "https://resolver.example": ({ url }) => {
        const type = new URL(url).searchParams.get("type") === "A" ? "A" : "AAAA";
        return Response.json(answers[type] ?? none);
      },
    });
    return { web, resolve: resolveOverHttps(ENDPOINT, web.fetch) };
  }

  it("10 §11: asks for both kinds of addresses of the whole name", async () => {
    const { web, resolve } = resolverThat({
      A: {
        Status: 0,
        TC: false,
        Answer: [
          { name: "www.example.com", type: 5, TTL: 60, data: "example.net." },
          { name: "example.net", type: 1, TTL: 60, data: "8.8.8.8" },
          { name: "example.net", type: 1, TTL: 60, data: "8.8.4.4" },
        ],
      },
      AAAA: { Status: 0, Answer: [{ name: "example.net", type: 28, data: "2606:4700::1" }] },
    });
    expect(await resolve("www.example.com")).toEqual(["8.8.8.8", "8.8.4.4", "2606:4700::1"]);
    expect(web.urls).toEqual([
      `${ENDPOINT}?name=www.example.com.&type=A`,
      `${ENDPOINT}?name=www.example.com.&type=AAAA`,
    ]);
    expect(web.seen[0]?.headers.get("accept")).toBe("application/dns-json");
  });

  it("10 §11: keeps what the resolver's address holds already", async () => {
    const { web } = resolverThat({});
    await resolveOverHttps("https://resolver.example/resolve?key=1", web.fetch)("a.example");
    expect(web.urls[0]).toBe("https://resolver.example/resolve?key=1&name=a.example.&type=A");
  });

  it.each<[string, { A?: Json; AAAA?: Json }]>([
    ["no such name", { A: { Status: 3 }, AAAA: { Status: 3 } }],
    ["no records", { A: { Status: 0 }, AAAA: { Status: 0, Answer: [] } }],
    ["records of other types", { A: { Status: 0, Answer: [{ type: 5, data: "a." }] } }],
  ])("10 §11: finds no address when there are %s", async (_, answers) => {
    expect(await resolverThat(answers).resolve("a.example")).toEqual([]);
  });

  it.each<[string, () => Response | Promise<Response>, string]>([
    ["fails", () => Response.json({ Status: 2 }), "it answers with the code 2"],
    [
      "answers with an error",
      () => new Response("no", { status: 500 }),
      "it answers with the status 500",
    ],
    [
      "redirects",
      () => new Response(null, { status: 302, headers: { location: "http://h/" } }),
      "it answers with the status 302",
    ],
    ["answers nothing", () => new Response(null), "it answers with the status 200"],
    ["answers no JSON", () => new Response("<html>"), NO_DNS],
    ["answers other JSON", () => Response.json([]), NO_DNS],
    [
      "answers other records",
      () => Response.json({ Status: 0, Answer: [{ type: 1, data: 5 }] }),
      NO_DNS,
    ],
    ["cannot be reached", () => Promise.reject(new Error("10.0.0.1: refused")), "no connection"],
    [
      "is silent",
      () => Promise.reject(new DOMException("The operation timed out", "TimeoutError")),
      "no answer in 5 seconds",
    ],
  ])("10 §11: says so, and how, when the resolver %s", async (_, answer, reason) => {
    const web = new FakeWeb({ "https://resolver.example": answer });
    const failure = resolveOverHttps(ENDPOINT, web.fetch)("a.example");
    await expect(failure).rejects.toMatchObject({
      code: "resolver_unreachable",
      status: 503,
      detail: { reason },
      text: expect.stringContaining("RESOLVER_URL"),
    });
  });

  it("10 §11: reads no endless answer", async () => {
    const bodies = Array.from({ length: 2 }, () => watchedBody(["x".repeat(70_000)]));
    const rest = [...bodies];
    const web = new FakeWeb({
      "https://resolver.example": () => new Response(rest.pop()?.stream ?? null),
    });
    await expect(resolveOverHttps(ENDPOINT, web.fetch)("a.example")).rejects.toBeInstanceOf(Fault);
    expect(bodies.some(({ isCancelled }) => isCancelled)).toBe(true);
  });

  it("10 §11: fails with nothing but a Fault, whatever the resolver answers", async () => {
    const record = fc.record({ type: fc.constantFrom(1, 28, 5), data: fc.string() });
    const shaped = fc.record({ Status: fc.constantFrom(0, 3, 2), Answer: fc.array(record) });
    const property = fc.asyncProperty(fc.oneof(shaped, fc.json()), async (answer) => {
      const text = typeof answer === "string" ? answer : JSON.stringify(answer);
      const web = new FakeWeb({ "https://resolver.example": () => new Response(text) });
      try {
        await resolveOverHttps(ENDPOINT, web.fetch)("a.example");
      } catch (error) {
        expect(error).toBeInstanceOf(Fault);
      }
    });
    await fc.assert(property);
  });
});

import { describe, expect, it } from "vitest";
import { type SafeFetchOptions, safeFetch } from "../../../src/net/safe-fetch.ts";
import { FakeWeb, redirectTo, watchedBody } from "./fake-web.ts";

const data = () => new Response("data");

function fetchFrom(web: FakeWeb, url: string, options: Partial<SafeFetchOptions> = {}) {
  return safeFetch(url, { ...web.door(), ...options });
}

/** What one redirect to `location` comes to. */
async function redirectOutcome(location: string): Promise<string> {
  const web = new FakeWeb({
    "https://a.example/dir/x": redirectTo(location),
    "https://a.example": data,
    "https://b.example": data,
    "http://b.example": data,
  });
  const fetched = await fetchFrom(web, "https://a.example/dir/x").catch((error) => error);
  return fetched.finalUrl ?? `${fetched.code}: ${fetched.detail.reason}`;
}

const REDIRECTED = "(the source redirects to it)";

it("10 §11: gives the answer, with the method and headers asked for and none of the runtime's", async () => {
  const web = new FakeWeb({ "https://a.example": data });
  const headers = { range: "bytes=0-1", "x-own": "1" };
  const { response, finalUrl } = await fetchFrom(web, "https://a.example/x#part", {
    method: "HEAD",
    headers,
  });
  expect(await response.text()).toBe("data");
  expect(finalUrl).toBe("https://a.example/x");
  expect(web.seen).toHaveLength(1);
  expect(web.seen[0]).toMatchObject({ url: "https://a.example/x", method: "HEAD" });
  expect(web.seen[0]?.init).toMatchObject({
    redirect: "manual",
    cache: "no-store",
    encodeResponseBody: "manual",
  });
  expect(Object.fromEntries(web.seen[0]?.headers ?? [])).toEqual({
    "accept-encoding": "identity",
    range: "bytes=0-1",
    "user-agent": "Glimpse",
    "x-own": "1",
  });
});

it("10 §11: fetches nothing that the filter refuses", async () => {
  const web = new FakeWeb({});
  await expect(fetchFrom(web, "http://169.254.169.254/")).rejects.toHaveProperty(
    "code",
    "uri_refused",
  );
  expect(web.seen).toEqual([]);
});

it("10 §11: fetches nothing from a name with a private address", async () => {
  const web = new FakeWeb({});
  const resolve = async () => ["192.168.0.1"];
  await expect(fetchFrom(web, "http://a.example/", { resolve })).rejects.toHaveProperty(
    "code",
    "uri_refused",
  );
  expect(web.seen).toEqual([]);
});

describe("10 §11: redirects", () => {
  it.each([301, 302, 303, 307, 308])("10 §11: follows a %i", async (status) => {
    const body = watchedBody(["moved"]);
    const web = new FakeWeb({
      "https://a.example": () =>
        new Response(body.stream, { status, headers: { location: "https://b.example/y" } }),
      "https://b.example": data,
    });
    const { response, finalUrl } = await fetchFrom(web, "https://a.example/x");
    expect(await response.text()).toBe("data");
    expect(finalUrl).toBe("https://b.example/y");
    expect(body.isCancelled).toBe(true);
  });

  it.each([
    ["y", "https://a.example/dir/y"],
    ["/y", "https://a.example/y"],
    ["../y", "https://a.example/y"],
    ["?y", "https://a.example/dir/x?y"],
    ["//b.example/y", "https://b.example/y"],
    ["https://b.example/y?z#part", "https://b.example/y?z"],
    ["http://b.example/y", "http://b.example/y"],
    [" https://b.example/some file ", "https://b.example/some%20file"],
  ])("10 §11: follows the Location %j", async (location, finalUrl) => {
    expect(await redirectOutcome(location)).toBe(finalUrl);
  });

  it.each([
    ["http://127.0.0.1/", "its IP address is not a public one"],
    ["http://[::1]/", "its IP address is not a public one"],
    ["http://169.254.169.254/latest/meta-data/", "its IP address is not a public one"],
    ["//127.0.0.1/", "its IP address is not a public one"],
    ["http://2130706433/", "its IP address is not written as four plain decimal numbers"],
    ["//134744072/", "its IP address is not written as four plain decimal numbers"],
    ["http://localhost/", "its host name is for private use"],
    ["file:///etc/passwd", "its scheme is not allowed"],
    ["ftp://b.example/", "its scheme is not allowed"],
    ["https://b.example:8443/", "port 8443 is not allowed"],
    ["https://user:secret@b.example/", "it has a user name or a password, which is not supported"],
    ["/\\127.0.0.1/", "it has a blank, a control character or a backslash"],
    ["\\\\127.0.0.1/", "it has a blank, a control character or a backslash"],
    ["/\t/127.0.0.1/", "it has a blank, a control character or a backslash"],
    ["https:b.example", "it is not a complete address, such as https://example.com/image.qcow2"],
    ["///b.example/", "it has no host"],
  ])("10 §11: refuses to be redirected to %j", async (location, reason) => {
    expect(await redirectOutcome(location)).toBe(`uri_refused: ${reason} ${REDIRECTED}`);
  });

  it("10 §11: looks the name of each hop up", async () => {
    const web = new FakeWeb({
      "https://a.example": redirectTo("https://rebound.example/"),
      "https://rebound.example": data,
    });
    const resolve = async (host: string) => [host === "a.example" ? "8.8.8.8" : "10.0.0.1"];
    await expect(fetchFrom(web, "https://a.example/", { resolve })).rejects.toMatchObject({
      code: "uri_refused",
      detail: { reason: `its host name leads to a private IP address ${REDIRECTED}` },
    });
    expect(web.urls).toEqual(["https://a.example/"]);
  });

  it("10 §11: looks a name up again when it comes a second time", async () => {
    const web = new FakeWeb({
      "https://a.example/x": redirectTo("/y"),
      "https://a.example": data,
    });
    const answers = [["8.8.8.8"], ["127.0.0.1"]];
    const resolve = async () => answers.shift() ?? [];
    await expect(fetchFrom(web, "https://a.example/x", { resolve })).rejects.toHaveProperty(
      "code",
      "uri_refused",
    );
  });

  it("10 §11: gives a redirect without a Location back as it is", async () => {
    const web = new FakeWeb({ "https://a.example": () => new Response("x", { status: 302 }) });
    const { response } = await fetchFrom(web, "https://a.example/");
    expect(response.status).toBe(302);
    expect(await response.text()).toBe("x");
  });

  it("10 §11: gives an answer back whose Location is no redirect", async () => {
    const web = new FakeWeb({ "https://a.example": redirectTo("https://b.example/", 300) });
    const { response } = await fetchFrom(web, "https://a.example/");
    expect(response.status).toBe(300);
    await response.body?.cancel();
  });

  it("10 §11: gives up after five", async () => {
    const web = new FakeWeb({
      "https://a.example": ({ url }) => redirectTo(`${url}a`)({} as never),
    });
    await expect(fetchFrom(web, "https://a.example/")).rejects.toMatchObject({
      code: "source_rejected",
      detail: { reason: "it redirects too many times" },
    });
    expect(web.seen).toHaveLength(6);
  });

  it("10 §11: follows none when none may be", async () => {
    const web = new FakeWeb({ "https://a.example": redirectTo("https://b.example/") });
    await expect(fetchFrom(web, "https://a.example/", { maxRedirects: 0 })).rejects.toHaveProperty(
      "code",
      "source_rejected",
    );
    expect(web.seen).toHaveLength(1);
  });

  const secrets = { "x-auth-token": "t", authorization: "a", cookie: "c", "if-range": '"e"' };

  it("10 §11: keeps the caller's headers on one origin", async () => {
    const web = new FakeWeb({
      "https://a.example/x": redirectTo("/y"),
      "https://a.example": data,
    });
    await fetchFrom(web, "https://a.example/x", { headers: secrets });
    expect(Object.fromEntries(web.seen[1]?.headers ?? [])).toMatchObject(secrets);
  });

  it.each([
    ["another host", "https://b.example/"],
    ["another scheme", "http://a.example/"],
    ["another port", "https://a.example:80/"],
  ])("10 §11: takes them to no other origin, nor back: %s", async (_, elsewhere) => {
    const web = new FakeWeb({
      "https://a.example/x": redirectTo(elsewhere),
      [elsewhere]: redirectTo("https://a.example/y"),
      "https://a.example/y": data,
    });
    const { response } = await fetchFrom(web, "https://a.example/x", { headers: secrets });
    expect(await response.text()).toBe("data");
    const carried = { "accept-encoding": "identity", "if-range": '"e"', "user-agent": "Glimpse" };
    expect(Object.fromEntries(web.seen[1]?.headers ?? [])).toEqual(carried);
    expect(Object.fromEntries(web.seen[2]?.headers ?? [])).toEqual(carried);
  });

  it("10 §11: brings no cookie of one hop to the next", async () => {
    const web = new FakeWeb({
      "https://a.example/x": () =>
        new Response(null, { status: 302, headers: { location: "/y", "set-cookie": "a=b" } }),
      "https://a.example": data,
    });
    await fetchFrom(web, "https://a.example/x");
    expect(web.seen[1]?.headers.has("cookie")).toBe(false);
  });
});

describe("10 §11: failures", () => {
  it("10 §11: says of a connection that failed no more than that", async () => {
    const failure = fetchFrom(new FakeWeb({}), "https://a.example/x");
    await expect(failure).rejects.toMatchObject({
      code: "source_unreachable",
      status: 503,
      text: "The source could not be read: no connection",
    });
  });

  /** Never answers, until it is told to stop. */
  const silent = new FakeWeb({
    "https://a.example": ({ init: { signal } }) =>
      new Promise((_, reject) => {
        signal?.throwIfAborted();
        signal?.addEventListener("abort", () => reject(signal.reason));
      }),
  });

  it("10 §11: waits no longer for an answer than it may", async () => {
    await expect(fetchFrom(silent, "https://a.example/x", { timeoutMs: 20 })).rejects.toMatchObject(
      {
        code: "source_unreachable",
        detail: { reason: "no answer in 0.02 seconds" },
      },
    );
  });

  it("10 §11: stops when it is told to, with the reason it is given", async () => {
    const stop = new AbortController();
    const failure = fetchFrom(silent, "https://a.example/x", { signal: stop.signal });
    const reason = new Error("the image was deleted");
    stop.abort(reason);
    await expect(failure).rejects.toBe(reason);
  });

  it("10 §11: lets a body take longer than its start may", async () => {
    const web = new FakeWeb({
      "https://a.example": ({ init: { signal } }) =>
        new Response(
          new ReadableStream({
            async pull(controller) {
              await scheduler.wait(60);
              if (signal?.aborted) return controller.error(signal.reason);
              controller.enqueue(new TextEncoder().encode("late"));
              controller.close();
            },
          }),
        ),
    });
    const { response } = await fetchFrom(web, "https://a.example/x", { timeoutMs: 20 });
    expect(await response.text()).toBe("late");
  });
});

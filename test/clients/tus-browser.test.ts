import { type HttpRequest, type HttpResponse, type HttpStack, Upload } from "tus-js-client";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { ImageApi } from "./image-api.ts";
import { poll } from "./poll.ts";
import { killServers, makeStateDir, type Server, startServer } from "./server.ts";

// tus-js-client as a page of another origin runs it: under the rules of CORS (Fetch standard §3.2, §4.8).

const ORIGIN = "https://console.example.com";
const SAFE_REQUEST_HEADERS = ["accept", "accept-language", "content-language"];
const SAFE_RESPONSE_HEADERS = [
  ...["cache-control", "content-language", "content-length", "content-type", "expires"],
  ...["last-modified", "pragma"],
];

let state: Awaited<ReturnType<typeof makeStateDir>>;
let server: Server;

beforeAll(async () => {
  state = await makeStateDir();
  server = await startServer(state.path, { CORS_ALLOWED_ORIGINS: ORIGIN });
});

afterAll(async () => {
  await killServers();
  await state.remove();
});

const listOf = (response: Response, name: string) =>
  (response.headers.get(name) ?? "").split(",").map((item) => item.trim().toLowerCase());

/** Requests that a browser would let a page make, and of the answers what it would let the page read. */
class Browser implements HttpStack {
  /** Names of headers that pages asked to send. */
  readonly asked = new Set<string>();

  getName(): string {
    return "Browser";
  }

  createRequest(method: string, url: string): HttpRequest {
    const headers = new Map<string, string>();
    return {
      getMethod: () => method,
      getURL: () => url,
      setHeader: (name, value) => headers.set(name.toLowerCase(), value),
      getHeader: (name) => headers.get(name.toLowerCase()),
      setProgressHandler: () => undefined,
      send: (body: Buffer | null | undefined) => this.#send(method, url, headers, body),
      abort: async () => undefined,
      getUnderlyingObject: () => undefined,
    };
  }

  async #send(
    method: string,
    url: string,
    headers: ReadonlyMap<string, string>,
    body: Buffer | null | undefined,
  ): Promise<HttpResponse> {
    const names = [...headers.keys()].filter((name) => !SAFE_REQUEST_HEADERS.includes(name)).sort();
    for (const name of names) this.asked.add(name);
    await this.#preflight(method, url, names);
    const response = await fetch(url, {
      method,
      headers: { ...Object.fromEntries(headers), origin: ORIGIN },
      body: body ? new Uint8Array(body) : null,
    });
    if (response.headers.get("access-control-allow-origin") !== ORIGIN) {
      throw new Error(`The answer to ${method} may not be read.`);
    }
    const readable = [
      ...SAFE_RESPONSE_HEADERS,
      ...listOf(response, "access-control-expose-headers"),
    ];
    const text = await response.text();
    return {
      getStatus: () => response.status,
      getHeader: (name) =>
        readable.includes(name.toLowerCase())
          ? (response.headers.get(name) ?? undefined)
          : undefined,
      getBody: () => text,
      getUnderlyingObject: () => response,
    };
  }

  async #preflight(method: string, url: string, names: readonly string[]): Promise<void> {
    const response = await fetch(url, {
      method: "OPTIONS",
      headers: {
        origin: ORIGIN,
        "access-control-request-method": method,
        "access-control-request-headers": names.join(","),
      },
    });
    const allowed = listOf(response, "access-control-allow-headers");
    const refused = names.filter((name) => !allowed.includes(name));
    const isMethod = listOf(response, "access-control-allow-methods").includes(
      method.toLowerCase(),
    );
    const isOrigin = response.headers.get("access-control-allow-origin") === ORIGIN;
    if (!response.ok || !isOrigin || !isMethod || refused.length > 0) {
      throw new Error(`The preflight refuses ${method} with ${refused.join(", ")}.`);
    }
  }
}

describe("HDR-9: tus-js-client in a page of another origin", () => {
  it.each([true, false])("uploads an image (addRequestId: %j)", async (addRequestId) => {
    const api = await ImageApi.signIn(server.url, "glimpse");
    const { id } = await api.create("from a page");
    const browser = new Browser();
    const size = 300_000;
    await new Promise<void>((done, fail) => {
      const upload = new Upload(Buffer.alloc(size), {
        endpoint: `${server.url}/v2/images/${id}/uploads`,
        headers: { "X-Auth-Token": api.token },
        httpStack: browser,
        addRequestId,
        chunkSize: 100_000,
        retryDelays: null,
        onError: fail,
        onSuccess: () => done(),
      });
      upload.start();
    });
    const shown = () => api.show(id);
    await poll(shown, (image) => image.status === "active" && image.size === size, 60);
    expect(browser.asked.has("x-request-id")).toBe(addRequestId);
    expect(browser.asked).toContain("tus-resumable");
  });
});

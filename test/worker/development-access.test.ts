import { beforeEach, describe, expect, it, vi } from "vitest";
import development from "../../dev/identity.json";
import { Service } from "../support/service.ts";

// The development users, whose passwords are public, against pages that a browser of the same machine shows.

const settings = { IDENTITY: JSON.stringify(development), DEVELOPMENT: "true" };
const local = "http://127.0.0.1:9292";
const evil = "https://evil.example";

const signIn = JSON.stringify({
  auth: {
    identity: {
      methods: ["password"],
      password: {
        user: { name: "admin", domain: { id: "default" }, password: "admin-password" },
      },
    },
    scope: { project: { name: "demo", domain: { id: "default" } } },
  },
});

const hashed = vi.spyOn(crypto.subtle, "deriveBits");

beforeEach(() => {
  hashed.mockClear();
});

/** Signs in as a request to that address. */
function signInAt(
  base: string,
  headers: Readonly<Record<string, string>> = {},
  more: Readonly<Record<string, string>> = {},
): Promise<Response> {
  const url = `${base}/identity/v3/auth/tokens`;
  const sent = { "content-type": "application/json", ...headers };
  const service = new Service({ settings: { ...settings, ...more } });
  return service.fetch(new Request(url, { method: "POST", headers: sent, body: signIn }));
}

describe("a request to the development users", () => {
  it("gets in under an address of this machine", async () => {
    expect((await signInAt(local)).status).toBe(201);
    expect(hashed).toHaveBeenCalledTimes(1);
  });

  it("gets in from a page of this machine, which may read the answer, and no other page may", async () => {
    const origin = "http://localhost:5173";
    const response = await signInAt(local, { origin });
    expect(response.status).toBe(201);
    expect(response.headers.get("access-control-allow-origin")).toBe(origin);
    expect(response.headers.get("vary")).toContain("Origin");
  });

  it("is 421 under another name, before any password is hashed", async () => {
    for (const base of [evil, "http://127.0.0.1.evil.example:9292"]) {
      const response = await signInAt(base);
      expect(response.status).toBe(421);
      expect((await response.json<{ error: { message: string } }>()).error.message).toContain(
        "DEVELOPMENT_HOSTS",
      );
    }
    expect(hashed).not.toHaveBeenCalled();
  });

  it.each([evil, "null", "http://localhost.evil.example"])(
    "is 403 from %s, before any password is hashed, and says nothing to the page",
    async (origin) => {
      const response = await signInAt(local, { origin });
      expect(response.status).toBe(403);
      expect(response.headers.has("access-control-allow-origin")).toBe(false);
      expect(hashed).not.toHaveBeenCalled();
    },
  );

  it.each(["/", "/v2/images", "/healthcheck", "/metrics", "/identity/v3"])(
    "is refused on %s like anywhere, and when a browser asks first",
    async (path) => {
      const service = new Service({ settings });
      const ask = (base: string, method: string, headers = {}) =>
        service.fetch(new Request(`${base}${path}`, { method, headers }));
      for (const method of ["GET", "OPTIONS"]) {
        expect((await ask(evil, method)).status).toBe(421);
        const fromPage = await ask(local, method, { origin: evil });
        expect(fromPage.status).toBe(403);
        expect(fromPage.headers.has("access-control-allow-origin")).toBe(false);
      }
    },
  );

  it("gets in under the names and from the origins that the settings have", async () => {
    const more = {
      DEVELOPMENT_HOSTS: "box.lan, 192.168.1.7, fd00::7",
      PUBLIC_ENDPOINT: "https://image.example.com/image",
      CORS_ALLOWED_ORIGINS: evil,
    };
    const bases = ["http://box.lan:9292", "http://192.168.1.7", "http://[fd00::7]:9292"];
    for (const base of [...bases, "https://image.example.com"]) {
      expect((await signInAt(base, { origin: evil }, more)).status).toBe(201);
    }
    expect((await signInAt("http://192.168.1.8", {}, more)).status).toBe(421);
  });

  it("is refused with the name of the setting where that has no host", async () => {
    const response = await signInAt(local, {}, { DEVELOPMENT_HOSTS: "http://box.lan" });
    expect(response.status).toBe(503);
    expect(await response.text()).toContain("DEVELOPMENT_HOSTS");
  });
});

import fc from "fast-check";
import { base64url, SignJWT } from "jose";
import { describe, expect, it } from "vitest";
import { type AuthSettings, authenticate } from "../../../src/auth/authenticate.ts";
import { Fault } from "../../../src/domain/fault.ts";
import type { Identity } from "../../../src/domain/identity.ts";
import {
  aCloud,
  byId,
  type CloudDocument,
  hashPassword,
  NOW_MS,
  TOKEN_SECRET,
  tokenFor,
  withCredential,
  withPassword,
} from "./a-cloud.ts";

const ann = () => tokenFor(withPassword("ann", "ann secret"));
const root = () => tokenFor(withPassword("root", "root secret"));
const robot = () => tokenFor(withCredential({ id: "c-robot", secret: "robot secret" }));

function identify(
  token: string | undefined,
  settings = aCloud(),
  nowMs = NOW_MS,
): Promise<Identity> {
  const headers = token === undefined ? {} : { "x-auth-token": token };
  return authenticate(new Request("https://x/v2/images", { headers }), settings, nowMs);
}

async function refusalOf(token: string | undefined, settings?: AuthSettings, nowMs?: number) {
  const cause = await identify(token, settings, nowMs).then(
    (identity) => new Error(`taken as ${identity.userId}`),
    (thrown: unknown) => thrown,
  );
  if (!(cause instanceof Fault)) throw cause;
  return cause;
}

/** Whether the token holds after a change of the document it was issued under. */
async function holdsAfter(
  token: string,
  change: (document: CloudDocument) => void,
): Promise<boolean> {
  return await identify(token, aCloud(change)).then(
    () => true,
    (cause: Fault) => {
      expect(cause.code).toBe("unauthorized");
      return false;
    },
  );
}

describe("a token", () => {
  it("ROL-1: says who is calling, with the roles that theirs imply", async () => {
    expect(await identify(await ann())).toEqual({
      userId: "u-ann",
      projectId: "p-alpha",
      scope: "project",
      roles: ["member", "service", "reader"],
      isAnonymous: false,
    });
    expect((await identify(await root())).roles).toEqual(["admin", "member", "reader"]);
  });

  it("CTX-6: has neither project nor roles when it is unscoped", async () => {
    const token = await tokenFor(withPassword("ann", "ann secret", "unscoped"));
    expect(await identify(token)).toMatchObject({ projectId: null, scope: "none", roles: [] });
  });

  it("CTX-1: is asked for where it is missing", async () => {
    for (const token of [undefined, ""]) {
      expect((await refusalOf(token)).code).toBe("unauthorized");
    }
  });

  it("holds to its last second and no longer", async () => {
    const token = await ann();
    const lifeMs = 14_400_000;
    expect((await identify(token, aCloud(), NOW_MS + lifeMs - 1000)).userId).toBe("u-ann");
    expect((await refusalOf(token, aCloud(), NOW_MS + lifeMs)).code).toBe("unauthorized");
  });

  it("is good for as long as TOKEN_TTL_SECONDS says", async () => {
    const settings = aCloud(undefined, { TOKEN_TTL_SECONDS: "60" });
    const token = await tokenFor(withPassword("ann", "ann secret"), { settings });
    expect((await refusalOf(token, settings, NOW_MS + 60_000)).code).toBe("unauthorized");
  });

  it("fails in the same words whatever is wrong with it", async () => {
    const token = await ann();
    const [header = "", payload = "", signature = ""] = token.split(".");
    const claims = JSON.parse(new TextDecoder().decode(base64url.decode(payload)));
    const key = new TextEncoder().encode(TOKEN_SECRET);
    const encode = (value: unknown) => base64url.encode(JSON.stringify(value));
    const typ = "glimpse-token+jwt";
    const sign = (content: object, protectedHeader: { alg: string; typ?: string }, secret = key) =>
      new SignJWT({ ...content }).setProtectedHeader(protectedHeader).sign(secret);

    const forgeries = {
      "cut short": `${header}.${payload}`,
      "other content under the old signature": `${header}.${encode({ ...claims, sub: "u-root" })}.${signature}`,
      "another secret": await sign(
        claims,
        { alg: "HS256", typ },
        new TextEncoder().encode("x".repeat(48)),
      ),
      "no signature, alg none": `${encode({ alg: "none", typ })}.${payload}.`,
      "alg none under the old signature": `${encode({ alg: "none", typ })}.${payload}.${signature}`,
      "another algorithm": await sign(claims, { alg: "HS512", typ }),
      "another type": await sign(claims, { alg: "HS256", typ: "JWT" }),
      "no type": await sign(claims, { alg: "HS256" }),
      "no end": await sign({ ...claims, exp: undefined }, { alg: "HS256", typ }),
      "missing claims": await sign({ sub: "u-ann", exp: claims.exp }, { alg: "HS256", typ }),
      "claims of other types": await sign({ ...claims, roles: "admin" }, { alg: "HS256", typ }),
      garbage: "garbage",
    };
    expect((await identify(await sign(claims, { alg: "HS256", typ }))).userId).toBe("u-ann");
    const texts = new Set<string>();
    for (const forgery of Object.values(forgeries)) {
      const fault = await refusalOf(forgery);
      expect(fault.code).toBe("unauthorized");
      texts.add(fault.text);
    }
    expect(texts.size).toBe(1);
  });

  it("BI-2: has one spelling, which is the one it was issued in", async () => {
    const token = await ann();
    const dot = token.lastIndexOf(".") + 1;
    const letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    const last = letters.indexOf(token.at(-1) ?? "");
    const spellings = [
      `${token}=`,
      `${token}==`,
      `${token.slice(0, dot)} ${token.slice(dot)}`,
      `${token.slice(0, dot + 9)}\t${token.slice(dot + 9)}`,
      `${token.slice(0, dot)}${" ".repeat(5000)}${token.slice(dot)}`,
      // The same signature in its bits, with other bits that do not count.
      ...[1, 2, 3].map((bits) => token.slice(0, -1) + letters.charAt(last + bits)),
    ];
    const settings = aCloud();
    expect((await identify(token, settings)).userId).toBe("u-ann");
    for (const spelling of spellings) {
      const fault = await refusalOf(spelling, settings);
      expect([spelling, fault.code]).toEqual([spelling, "unauthorized"]);
    }
  });

  it("BI-2: is refused above 8 KiB, even if it is signed", async () => {
    const payload = (await ann()).split(".")[1] ?? "";
    const claims = JSON.parse(new TextDecoder().decode(base64url.decode(payload)));
    const key = new TextEncoder().encode(TOKEN_SECRET);
    const sign = (padding: number) =>
      new SignJWT({ ...claims, padding: "x".repeat(padding) })
        .setProtectedHeader({ alg: "HS256", typ: "glimpse-token+jwt" })
        .sign(key);
    expect((await identify(await sign(4000))).userId).toBe("u-ann");
    expect((await refusalOf(await sign(7000))).code).toBe("unauthorized");
  });

  it("does not tell the hash of the password", async () => {
    const { digest } = aCloud().identity.users.get("u-ann")?.password ?? {};
    const payload = (await ann()).split(".")[1] ?? "";
    const content = new TextDecoder().decode(base64url.decode(payload));
    expect(content).not.toContain(base64url.encode(digest ?? "").slice(0, 10));
  });

  it("is refused with a Fault, whatever it is", async () => {
    const token = await ann();
    const settings = aCloud();
    const mangled = fc
      .tuple(fc.nat({ max: token.length - 1 }), fc.string({ unit: "grapheme-ascii", maxLength: 3 }))
      .map(([at, piece]) => token.slice(0, at) + piece + token.slice(at + 1));
    const dotted = fc.array(fc.base64String(), { maxLength: 5 }).map((parts) => parts.join("."));
    const ascii = fc.string({ unit: "grapheme-ascii" });
    await fc.assert(
      fc.asyncProperty(fc.oneof(mangled, dotted, ascii), async (text) => {
        // A header's value has no blanks around it.
        if (text.trim() === token) return;
        expect((await refusalOf(text, settings)).code).toBe("unauthorized");
      }),
    );
  });
});

describe("a token after a change of the identity document", () => {
  it("holds when nothing changed for its user", async () => {
    expect(await holdsAfter(await ann(), (d) => d.users.splice(2, 1))).toBe(true);
  });

  it.each<[string, (document: CloudDocument) => void]>([
    ["the user is removed", (d) => d.users.splice(1, 1)],
    ["the user is disabled", (d) => Object.assign(byId(d.users, "u-ann"), { enabled: false })],
    [
      "the project is disabled",
      (d) => Object.assign(byId(d.projects, "p-alpha"), { enabled: false }),
    ],
    ["the last role is taken away", (d) => Object.assign(byId(d.users, "u-ann"), { roles: {} })],
  ])("ends when %s", async (_, change) => {
    expect(await holdsAfter(await ann(), change)).toBe(false);
  });

  it("ends when the project is removed", async () => {
    const token = await tokenFor(withPassword("ann", "ann secret", { project: { id: "p-beta" } }));
    const removeBeta = (d: CloudDocument) => {
      d.projects.splice(1, 1);
      Reflect.deleteProperty(byId(d.users, "u-ann").roles, "p-beta");
    };
    expect(await holdsAfter(token, removeBeta)).toBe(false);
  });

  it("ends when the password is changed, even to the same one", async () => {
    const password = await hashPassword("ann secret");
    expect(
      await holdsAfter(await ann(), (d) => Object.assign(byId(d.users, "u-ann"), { password })),
    ).toBe(false);
  });

  it("loses a role that is taken away", async () => {
    const settings = aCloud((d) =>
      Object.assign(byId(d.users, "u-root"), { roles: { "p-alpha": ["reader"] } }),
    );
    expect((await identify(await root(), settings)).roles).toEqual(["reader"]);
  });

  it("does not gain a role that is given later", async () => {
    const settings = aCloud((d) => byId(d.users, "u-ann").roles["p-alpha"]?.push("admin"));
    expect((await identify(await ann(), settings)).roles).toEqual(["member", "service", "reader"]);
  });

  it("ends when TOKEN_SECRET is changed", async () => {
    const settings = aCloud(undefined, { TOKEN_SECRET: "y".repeat(40) });
    expect((await refusalOf(await ann(), settings)).code).toBe("unauthorized");
  });
});

describe("a token of an application credential", () => {
  const credentialOf = (d: CloudDocument) =>
    byId(d.users, "u-ann").application_credentials?.[0] ?? {};

  it("carries at most the credential's roles", async () => {
    expect(await identify(await robot())).toMatchObject({
      projectId: "p-alpha",
      roles: ["reader"],
    });
  });

  it("carries no role that the user has lost", async () => {
    const settings = aCloud((d) =>
      Object.assign(byId(d.users, "u-ann"), { roles: { "p-alpha": ["service"] } }),
    );
    expect((await refusalOf(await robot(), settings)).code).toBe("unauthorized");
  });

  it("carries what the user has when the credential names no roles", async () => {
    const settings = aCloud((d) => Reflect.deleteProperty(credentialOf(d), "roles"));
    const body = withCredential({ id: "c-robot", secret: "robot secret" });
    const token = await tokenFor(body, { settings });
    expect((await identify(token, settings)).roles).toEqual(["member", "service", "reader"]);
  });

  it.each<[string, (document: CloudDocument) => void]>([
    [
      "the credential is removed",
      (d) => Object.assign(byId(d.users, "u-ann"), { application_credentials: [] }),
    ],
    [
      "its secret is changed",
      (d) => Object.assign(credentialOf(d), { secret_hash: byId(d.users, "u-bob").password }),
    ],
    [
      "it is moved to another project",
      (d) => Object.assign(credentialOf(d), { project_id: "p-beta" }),
    ],
  ])("ends when %s", async (_, change) => {
    expect(await holdsAfter(await robot(), change)).toBe(false);
  });

  it("ends with the credential", async () => {
    const halfAnHourMs = 30 * 60_000;
    expect((await refusalOf(await robot(), aCloud(), NOW_MS + halfAnHourMs)).code).toBe(
      "unauthorized",
    );
  });

  it("outlives a change of the user's password", async () => {
    const password = await hashPassword("new");
    expect(
      await holdsAfter(await robot(), (d) => Object.assign(byId(d.users, "u-ann"), { password })),
    ).toBe(true);
  });
});

describe("a caller without a token", () => {
  const settings = aCloud(undefined, { ALLOW_ANONYMOUS_ACCESS: "true" });

  it("CTX-5: is anonymous where that is allowed", async () => {
    expect(await identify(undefined, settings)).toMatchObject({
      projectId: null,
      scope: "none",
      roles: [],
      isAnonymous: true,
    });
  });

  it("CTX-5: is refused with a bad token even there", async () => {
    expect((await refusalOf("garbage", settings)).code).toBe("unauthorized");
  });
});

describe("the development document", () => {
  const settings = aCloud((d) => Object.assign(d, { development: true }), {
    DEVELOPMENT: "true",
    ALLOW_ANONYMOUS_ACCESS: "true",
  });

  it("lets nobody in through the edge, with a token or without", async () => {
    const token = await tokenFor(withPassword("ann", "ann secret"), { settings });
    for (const headers of [{ "x-auth-token": token }, {}]) {
      const request = new Request("https://x/", { headers: { ...headers, "cf-ray": "8f00-FRA" } });
      await expect(authenticate(request, settings, NOW_MS)).rejects.toMatchObject({
        code: "misconfigured",
        status: 503,
      });
    }
  });
});

import { runDurableObjectAlarm, runInDurableObject } from "cloudflare:test";
import { env } from "cloudflare:workers";
import { afterEach, describe, expect, it } from "vitest";
import { SignInGuard, SignInMemory } from "../../src/auth/sign-in-guard.ts";
import { SIGN_IN_LIMITS } from "../../src/auth/sign-in-limits.ts";
import { Fault } from "../../src/domain/fault.ts";
import { passTime, resumeTime, stopTime } from "../support/clock.ts";
import { CountingService } from "../support/counting.ts";
import { Service } from "../support/service.ts";
import { aDocument, withCredential, withPassword } from "../unit/auth/a-cloud.ts";

const SETTINGS = {
  IDENTITY: JSON.stringify(aDocument()),
  DEVELOPMENT: "false",
  IMPORT_ALLOW_PRIVATE_ADDRESSES: "false",
};
const WINDOW_S = SIGN_IN_LIMITS.windowMs / 1000;
const PATH = "/identity/v3/auth/tokens";

const service = new Service({ settings: SETTINGS });

let addresses = 0;
/** An address that nobody has used before. */
const anAddress = () => `2001:db8:${(++addresses).toString(16)}::1`;
/** What its failures are counted by. */
const networkAround = (address: string) => address.replace(/::1$/, "::/64");

async function signIn(from: string, json: object, at: Service = service) {
  const response = await at.call(null, "POST", PATH, {
    json,
    headers: { "cf-connecting-ip": from },
  });
  const { error } = await response.json<{ error?: { message: string } }>();
  const retryAfter = response.headers.get("retry-after");
  return { status: response.status, message: error?.message, retryAfter };
}

const wrong = (user: string) => withPassword(user, "wrong");
const right = (user: string) => withPassword(user, `${user} secret`);

/** Signs in so often; gives the statuses that came. */
async function often(times: number, from: string, json: object): Promise<number[]> {
  const statuses = new Set<number>();
  for (let n = 0; n < times; n++) statuses.add((await signIn(from, json)).status);
  return [...statuses];
}

const tallies = (name: string) => env.SIGN_IN_TALLIES.get(env.SIGN_IN_TALLIES.idFromName(name));

/** The guard as another isolate has it, for some address and a subject. */
function elsewhere(network: string, subject: string, memory = new SignInMemory()) {
  const guard = new SignInGuard(tallies, network, memory);
  const end = (proof: () => Promise<string>) =>
    guard.prove(subject, false, proof).catch((cause: unknown) => {
      if (cause instanceof Fault) return cause.code;
      throw cause;
    });
  return {
    fail: () => end(() => Promise.reject(new Fault("unauthorized", { reason: "wrong" }))),
    succeed: () => end(() => Promise.resolve("in")),
  };
}

afterEach(resumeTime);

describe("failed sign-ins", () => {
  it("BI-3: of one user from one address end in a 429 that says for how long, be the secret right", async () => {
    const [here, there] = [anAddress(), anAddress()];
    expect(await often(SIGN_IN_LIMITS.pair, here, wrong("ann"))).toEqual([401]);
    const refused = await signIn(here, right("ann"));
    expect(refused.status).toBe(429);
    expect(refused.message).toMatch(/^Too many sign-ins have failed\. Try again in \d+ seconds\.$/);
    expect(Number(refused.retryAfter)).toBeGreaterThan(WINDOW_S - 60);
    expect(Number(refused.retryAfter)).toBeLessThanOrEqual(WINDOW_S);
    expect((await signIn(here, right("root"))).status).toBe(201);
    expect((await signIn(there, right("ann"))).status).toBe(201);
  });

  it("BI-3: are forgotten with the end of their time", async () => {
    stopTime();
    const here = anAddress();
    await often(SIGN_IN_LIMITS.pair, here, wrong("ann"));
    passTime(WINDOW_S - 1);
    expect((await signIn(here, right("ann"))).status).toBe(429);
    passTime(2);
    expect((await signIn(here, right("ann"))).status).toBe(201);
  });

  it("BI-3: of names that nobody has count alike, in the same words", async () => {
    const here = anAddress();
    expect(await often(SIGN_IN_LIMITS.pair, here, wrong("nobody"))).toEqual([401]);
    const refused = await signIn(here, wrong("NOBODY"));
    expect([refused.status, refused.message]).toEqual([429, expect.stringContaining("Too many")]);
  });

  it("BI-3: count alike however a domain is named, of users who are there and of others", async () => {
    const domains = [{ id: "default" }, { name: "Default" }, { name: "DEFAULT" }];
    const asUser = (name: string, domain: object) => ({
      auth: {
        identity: {
          methods: ["password"],
          password: { user: { name, domain, password: "wrong" } },
        },
      },
    });
    const asCredential = (name: string, domain: object) =>
      withCredential({ name, user: { name: "ann", domain }, secret: "wrong" });
    for (const [as, name] of [
      [asUser, "ann"],
      [asUser, "nobody"],
      [asCredential, "robot"],
      [asCredential, "nothing"],
    ] as const) {
      const here = anAddress();
      const [first = {}, ...others] = domains;
      expect(await often(SIGN_IN_LIMITS.pair, here, as(name, first))).toEqual([401]);
      for (const domain of others) {
        expect((await signIn(here, as(name, domain))).status, name).toBe(429);
      }
    }
  });

  it("BI-3: of application credentials count, too", async () => {
    const here = anAddress();
    const wrongSecret = withCredential({ id: "c-robot", secret: "wrong" });
    expect(await often(SIGN_IN_LIMITS.pair, here, wrongSecret)).toEqual([401]);
    expect((await signIn(here, wrongSecret)).status).toBe(429);
    expect((await signIn(here, right("ann"))).status).toBe(201);
  });

  it("BI-3: are known to every isolate", async () => {
    const here = anAddress();
    for (let n = 0; n < SIGN_IN_LIMITS.pair; n++) {
      expect(await elsewhere(here, "user u").fail()).toBe("unauthorized");
    }
    expect(await elsewhere(here, "user u").succeed()).toBe("too_many_failures");
  });

  it("BI-3: count by the network of 64 bits, IPv4 in the clothes of IPv6 by its address", async () => {
    const net = "2001:db8:ffff:1";
    for (let n = 0; n < SIGN_IN_LIMITS.pair; n++) await signIn(`${net}::${n}`, wrong("ann"));
    expect((await signIn(`${net}:aaaa::1`, right("ann"))).status).toBe(429);
    expect((await signIn("2001:db8:ffff:2::1", right("ann"))).status).toBe(201);
    await often(SIGN_IN_LIMITS.pair, "::ffff:192.0.2.77", wrong("ann"));
    expect((await signIn("192.0.2.77", right("ann"))).status).toBe(429);
    expect((await signIn("192.0.2.78", right("ann"))).status).toBe(201);
  });

  it("BI-4: of one address, whoever they are for, keep it from those it has not signed in as", async () => {
    const here = anAddress();
    expect((await signIn(here, right("ann"))).status).toBe(201);
    for (let n = 0; n < SIGN_IN_LIMITS.address; n++) await signIn(here, wrong(`nobody ${n}`));
    expect((await signIn(here, right("root"))).status).toBe(429);
    expect(await elsewhere(networkAround(here), "user u-root").succeed()).toBe("too_many_failures");
    expect((await signIn(here, right("ann"))).status).toBe(201);
    expect(await elsewhere(networkAround(here), "user u-ann").succeed()).toBe("in");
  });

  it("BI-5: of one user over all addresses leave new ones fewer tries, and nobody out", async () => {
    const home = anAddress();
    expect(await elsewhere(home, "user victim").succeed()).toBe("in");
    for (let n = 0; n < SIGN_IN_LIMITS.user; n++) {
      await elsewhere(`stranger ${n}`, "user victim").fail();
    }
    // From home, ten tries as ever, in every isolate.
    for (let n = 0; n < SIGN_IN_LIMITS.pair - 1; n++) await elsewhere(home, "user victim").fail();
    expect(await elsewhere(home, "user victim").succeed()).toBe("in");
    // From a new address, two.
    for (let n = 0; n < SIGN_IN_LIMITS.strange; n++) {
      expect(await elsewhere("guesser", "user victim").fail()).toBe("unauthorized");
    }
    expect(await elsewhere("guesser", "user victim").fail()).toBe("too_many_failures");
    // The user on a journey signs in at once, and is known there from then on.
    expect(await elsewhere("hotel", "user victim").succeed()).toBe("in");
    for (let n = 0; n < SIGN_IN_LIMITS.strange; n++) await elsewhere("hotel", "user victim").fail();
    expect(await elsewhere("hotel", "user victim").succeed()).toBe("in");
  });

  it("BI-3: those that came at the same time do not get round the count", async () => {
    const memory = new SignInMemory();
    const at = elsewhere(anAddress(), "user u", memory);
    const ends = [];
    for (let n = 0; n < 5; n++) {
      ends.push(...(await Promise.all(Array.from({ length: 10 }, () => at.fail()))));
    }
    expect(ends.filter((end) => end === "too_many_failures").length).toBeGreaterThanOrEqual(30);
  });
});

describe("sign-ins that succeed", () => {
  it("BI-6: are never too many", async () => {
    expect(await often(150, anAddress(), right("ann"))).toEqual([201]);
  });

  it("BI-6: leave the failures before them counted, which may be a neighbour's", async () => {
    const here = anAddress();
    await often(SIGN_IN_LIMITS.pair - 1, here, wrong("ann"));
    expect(await often(5, here, right("ann"))).toEqual([201]);
    expect((await signIn(here, wrong("ann"))).status).toBe(401);
    expect((await signIn(here, right("ann"))).status).toBe(429);
  });

  it("BI-8: ask three objects the first time from an address, one in a new isolate, none after", async () => {
    const counting = new CountingService(SETTINGS);
    const here = anAddress();
    const costOf = async (json: object) => {
      const { d1, r2, objects } = await counting.costOf(() => signIn(here, json, counting));
      expect([d1, r2]).toEqual([0, []]);
      return objects;
    };
    expect(await costOf(right("ann"))).toEqual(["look", "look", "welcome"]);
    expect(await costOf(right("ann"))).toEqual([]);
    const asked: string[] = [];
    const noting = (name: string) => {
      asked.push(name.slice(0, -3));
      return tallies(name);
    };
    const guard = new SignInGuard(noting, anAddress(), new SignInMemory());
    await guard.prove("user u", false, async () => "in");
    asked.length = 0;
    const other = new SignInGuard(
      noting,
      `2001:db8:${addresses.toString(16)}::1`,
      new SignInMemory(),
    );
    await other.prove("user u", false, async () => "in");
    expect(asked).toEqual(["address"]);
    expect(await costOf(wrong("ann"))).toEqual(["fail"]);
    expect(await costOf(wrong("root"))).toEqual(["look", "look", "fail", "fail"]);
  });
});

describe("what is remembered of sign-ins", () => {
  it("BI-9: goes by alarm when it no longer matters, and names nobody", async () => {
    stopTime();
    const stub = tallies("address-test");
    await stub.fail(["a", "b"]);
    await stub.welcome("c");
    const left = () =>
      runInDurableObject(stub, (_, state) =>
        state.storage.sql.exec("SELECT key FROM tallies ORDER BY key").toArray(),
      );
    expect(await runDurableObjectAlarm(stub)).toBe(true);
    expect((await left()).length).toBe(3);
    passTime(WINDOW_S + 1);
    expect(await runDurableObjectAlarm(stub)).toBe(true);
    expect(await left()).toEqual([{ key: "c" }]);
    passTime(SIGN_IN_LIMITS.knownMs / 1000);
    expect(await runDurableObjectAlarm(stub)).toBe(true);
    expect(await left()).toEqual([]);
    expect(await runDurableObjectAlarm(stub)).toBe(false);
  });

  it("BI-9: has a bound: what would go first goes at once", async () => {
    const stub = tallies("address-full");
    await stub.welcome("known");
    const keys = Array.from({ length: 10_050 }, (_, n) => `key ${n}`);
    await stub.fail(keys);
    const rows = await runInDurableObject(stub, (_, state) =>
      state.storage.sql.exec("SELECT key FROM tallies").toArray(),
    );
    expect(rows.length).toBe(10_000);
    expect(rows).toContainEqual({ key: "known" });
  });

  it("BI-9: an object that cannot be asked lets nobody in", async () => {
    const broken = () => {
      throw new Error("gone");
    };
    const guard = new SignInGuard(broken, anAddress(), new SignInMemory());
    await expect(guard.prove("user u", false, async () => "in")).rejects.toMatchObject({
      code: "try_again",
      status: 503,
    });
  });
});

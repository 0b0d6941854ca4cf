import ipaddr from "ipaddr.js";
import { Fault } from "../domain/fault.ts";
import { BoundedMap } from "../lib/bounded-map.ts";
import { toHex } from "../lib/hex.ts";
import { canonicalAddress } from "../net/ip.ts";
import { HashTurns } from "./hash-turns.ts";
import {
  isKnownAt,
  NO_TALLY,
  refusedUntilMs,
  SIGN_IN_LIMITS,
  type Tally,
} from "./sign-in-limits.ts";

/** What the guard asks of the objects that remember sign-ins (sign-in-tallies.ts). */
export interface Tallies {
  look(keys: readonly string[]): Promise<Tally[]>;
  fail(keys: readonly string[]): Promise<Tally[]>;
  welcome(key: string): Promise<void>;
}

/** What one isolate knows by itself, so that the usual sign-in asks no object. */
export class SignInMemory {
  /** Until when a key is refused. */
  readonly refused = new BoundedMap<string, number>(10_000);
  /** Until when a pair that has signed in here, and has not failed since, need not be looked up. */
  readonly trusted = new BoundedMap<string, number>(10_000);
  readonly turns = new HashTurns();
}

/** The memory of this isolate. */
export const isolateMemory = new SignInMemory();

/** Another isolate's failures show after so long at the latest. */
const TRUSTED_MS = 3_600_000;

interface Keys {
  readonly address: string;
  readonly user: string;
  readonly pair: string;
}

/** Counts the sign-ins that fail, of one address, and keeps away those that fail too often (contract BI-3 to BI-8). */
export class SignInGuard {
  constructor(
    /** The object of this name. */
    private readonly tallies: (name: string) => Tallies,
    private readonly network: string,
    private readonly memory: SignInMemory = isolateMemory,
    private readonly now: () => number = () => Date.now(),
  ) {}

  /**
   * Proves who somebody is. `subject` is whom they say they are, be it there or not; `isCostly` says whether the proof
   * computes a password's hash. A proof that throws `unauthorized` has failed. Throws `too_many_failures` instead of
   * looking at the secret, and `sign_ins_waiting`.
   */
  async prove<T>(subject: string, isCostly: boolean, proof: () => Promise<T>): Promise<T> {
    const keys = await keysOf(this.network, subject);
    const { isKnown, isFresh } = await this.#admit(keys);
    const attempt = async () => {
      // Others may have failed while this one waited for its turn.
      this.#refuseRemembered(keys, isKnown);
      return proof().then(
        (result) => ({ result }),
        (cause: unknown) => ({ cause }),
      );
    };
    const whose = isKnown ? keys.pair : keys.address;
    const { turns } = this.memory;
    const outcome = isCostly ? await turns.run(isKnown, whose, attempt) : await attempt();
    if ("cause" in outcome) {
      const { cause } = outcome;
      if (cause instanceof Fault && cause.code === "unauthorized") await this.#fail(keys, isKnown);
      throw cause;
    }
    if (!isFresh) await heard(() => this.#addressTallies(keys).welcome(keys.pair));
    this.memory.trusted.set(keys.pair, this.now() + TRUSTED_MS);
    return outcome.result;
  }

  /** Whether the address has signed in as the user before, and whether that needs no saying again. */
  async #admit(keys: Keys): Promise<{ isKnown: boolean; isFresh: boolean }> {
    const nowMs = this.now();
    if ((this.memory.trusted.get(keys.pair) ?? 0) > nowMs) return { isKnown: true, isFresh: true };
    this.#refuseRemembered(keys, true);
    const [address = NO_TALLY, pair = NO_TALLY] = await heard(() =>
      this.#addressTallies(keys).look([keys.address, keys.pair]),
    );
    const isKnown = isKnownAt(pair, nowMs);
    this.#refuse(refusedUntilMs({ address, pair, user: NO_TALLY }, nowMs));
    if (!isKnown) {
      const [user = NO_TALLY] = await heard(() => this.#userTallies(keys).look([keys.user]));
      this.#refuse(refusedUntilMs({ address, pair, user }, nowMs));
    }
    const isFresh = pair.knownUntilMs > nowMs + SIGN_IN_LIMITS.knownMs / 2;
    return { isKnown, isFresh };
  }

  async #fail(keys: Keys, isKnown: boolean): Promise<void> {
    const { refused, trusted } = this.memory;
    trusted.set(keys.pair, 0);
    // Failures from where the user comes from are no strangers'.
    const [[address = NO_TALLY, pair = NO_TALLY], [user = NO_TALLY]] = await heard(() =>
      Promise.all([
        this.#addressTallies(keys).fail([keys.address, keys.pair]),
        isKnown ? [] : this.#userTallies(keys).fail([keys.user]),
      ]),
    );
    const nowMs = this.now();
    refused.set(keys.pair, refusedUntilMs({ address: NO_TALLY, pair, user }, nowMs));
    refused.set(keys.address, refusedUntilMs({ address, pair: NO_TALLY, user: NO_TALLY }, nowMs));
  }

  #refuseRemembered(keys: Keys, isKnown: boolean): void {
    const { refused } = this.memory;
    this.#refuse(refused.get(keys.pair) ?? 0);
    if (!isKnown) this.#refuse(refused.get(keys.address) ?? 0);
  }

  #refuse(untilMs: number): void {
    const leftMs = untilMs - this.now();
    if (leftMs > 0) throw new Fault("too_many_failures", { retryAfter: Math.ceil(leftMs / 1000) });
  }

  #addressTallies({ address }: Keys): Tallies {
    return this.tallies(`address-${address.slice(0, 2)}`);
  }

  #userTallies({ user }: Keys): Tallies {
    return this.tallies(`user-${user.slice(0, 2)}`);
  }
}

/** What an object says. One that cannot be asked is no reason to let anybody in. */
async function heard<T>(ask: () => Promise<T>): Promise<T> {
  try {
    return await ask();
  } catch (cause) {
    throw new Fault("try_again", {}, cause);
  }
}

async function keysOf(network: string, subject: string): Promise<Keys> {
  const [address, user, pair] = await Promise.all(
    [
      ["address", network],
      ["user", subject],
      ["pair", network, subject],
    ].map(digestOf),
  );
  return { address: address ?? "", user: user ?? "", pair: pair ?? "" };
}

async function digestOf(parts: readonly string[]): Promise<string> {
  const bytes = new TextEncoder().encode(JSON.stringify(parts));
  return toHex(new Uint8Array(await crypto.subtle.digest("SHA-256", bytes)));
}

/**
 * What counts as one address: that of IPv4, and of IPv6 the network of 64 bits that a customer is given. The edge names it
 * in CF-Connecting-IP, in place of what a client may have put there. Where there is no edge, all are one.
 */
export function networkOf(request: Request, isBehindEdge: boolean): string {
  const text = isBehindEdge ? request.headers.get("cf-connecting-ip") : null;
  const address = canonicalAddress(text ?? "");
  if (address === undefined) return "unknown";
  const parsed = ipaddr.parse(address);
  if (parsed.kind() === "ipv4") return address;
  return `${ipaddr.IPv6.networkAddressFromCIDR(`${address}/64`).toString()}/64`;
}

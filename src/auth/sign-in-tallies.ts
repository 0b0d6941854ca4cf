import { DurableObject } from "cloudflare:workers";
import { NO_TALLY, SIGN_IN_LIMITS, type Tally } from "./sign-in-limits.ts";

/** Above it the entries that would go first go at once, so that nobody can fill an object. */
const MAX_ENTRIES = 10_000;

/**
 * Remembers failed and good sign-ins for as long as they matter, and beyond the life of an isolate. There are 512 such
 * objects, each for those addresses, or users, whose digests begin alike. Keys are digests, so no address and no name is kept.
 */
export class SignInTallies extends DurableObject<Env> {
  readonly #sql: SqlStorage;

  constructor(state: DurableObjectState, env: Env) {
    super(state, env);
    this.#sql = state.storage.sql;
    this.#sql.exec(`CREATE TABLE IF NOT EXISTS tallies (
      key TEXT PRIMARY KEY, failures INTEGER NOT NULL, failures_end INTEGER NOT NULL,
      known_until INTEGER NOT NULL, expires INTEGER NOT NULL
    ) STRICT, WITHOUT ROWID`);
    this.#sql.exec("CREATE INDEX IF NOT EXISTS tallies_by_end ON tallies (expires)");
  }

  /** What is remembered of each key, in the order asked for. */
  look(keys: readonly string[]): Tally[] {
    return keys.map((key) => this.#read(key));
  }

  /** Counts a failure for each key; what is remembered of them then. */
  async fail(keys: readonly string[]): Promise<Tally[]> {
    const nowMs = Date.now();
    const tallies = keys.map((key) => {
      const tally = this.#read(key);
      const isOpen = tally.failuresEndMs > nowMs;
      return this.#write(key, {
        ...tally,
        failures: isOpen ? tally.failures + 1 : 1,
        failuresEndMs: isOpen ? tally.failuresEndMs : nowMs + SIGN_IN_LIMITS.windowMs,
      });
    });
    await this.#cleanLater(nowMs);
    return tallies;
  }

  /** Remembers that a pair has signed in. Its failures stay, for they may be a neighbour's who guesses. */
  async welcome(key: string): Promise<void> {
    const nowMs = Date.now();
    this.#write(key, { ...this.#read(key), knownUntilMs: nowMs + SIGN_IN_LIMITS.knownMs });
    await this.#cleanLater(nowMs);
  }

  override async alarm(): Promise<void> {
    this.#sql.exec("DELETE FROM tallies WHERE expires <= ?", Date.now());
    const [next] = this.#sql.exec<{ expires: number }>(
      "SELECT expires FROM tallies ORDER BY expires LIMIT 1",
    );
    if (next !== undefined) await this.ctx.storage.setAlarm(next.expires);
  }

  #read(key: string): Tally {
    const [row] = this.#sql.exec<{ failures: number; failures_end: number; known_until: number }>(
      "SELECT failures, failures_end, known_until FROM tallies WHERE key = ?",
      key,
    );
    if (row === undefined) return NO_TALLY;
    return {
      failures: row.failures,
      failuresEndMs: row.failures_end,
      knownUntilMs: row.known_until,
    };
  }

  #write(key: string, tally: Tally): Tally {
    const { failures, failuresEndMs, knownUntilMs } = tally;
    const expires = Math.max(failuresEndMs, knownUntilMs);
    this.#sql.exec(
      "INSERT OR REPLACE INTO tallies (key, failures, failures_end, known_until, expires) VALUES (?, ?, ?, ?, ?)",
      ...[key, failures, failuresEndMs, knownUntilMs, expires],
    );
    return tally;
  }

  async #cleanLater(nowMs: number): Promise<void> {
    this.#sql.exec(
      `DELETE FROM tallies WHERE key IN (
        SELECT key FROM tallies ORDER BY expires LIMIT max(0, (SELECT count(*) FROM tallies) - ?))`,
      MAX_ENTRIES,
    );
    if ((await this.ctx.storage.getAlarm()) !== null) return;
    await this.ctx.storage.setAlarm(nowMs + SIGN_IN_LIMITS.windowMs);
  }
}

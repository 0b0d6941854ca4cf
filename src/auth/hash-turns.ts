import { Fault } from "../domain/fault.ts";

/** A password's hash holds up everything else that its isolate does; so for thrice its time no other follows. */
const REST_FACTOR = 3;
const MAX_REST_MS = 1_000;

/** A request that the platform cuts off while it hashes never says that it is done. */
const PRESUMED_DONE_MS = 5_000;

/** One that waits asks at least so often; it is gone when it has not for some time. */
const MAX_PAUSE_MS = 500;
const PRESUMED_GONE_MS = 10 * MAX_PAUSE_MS;
const MIN_PAUSE_MS = 5;

/** Of those who are known, and of those who are not: each holds a request's body in memory. */
const MAX_WAITING = 200;
const RETRY_AFTER_SECONDS = 5;

interface Waiting {
  lastSeenMs: number;
}

/**
 * Lets an isolate compute one password's hash at a time, with pauses in which other requests get on. Those whose address is
 * known for the user go first, so that strangers cannot keep them waiting. Waiting is asking again, as no request can wake
 * another on this platform.
 */
export class HashTurns {
  readonly #known = new Set<Waiting>();
  readonly #strange = new Set<Waiting>();
  /** Until when somebody hashes, at the most, and until when nobody does. */
  #busyUntilMs = 0;
  #restUntilMs = 0;

  constructor(
    private readonly now: () => number = () => performance.now(),
    private readonly wait: (ms: number) => Promise<unknown> = (ms) => scheduler.wait(ms),
  ) {}

  /** Does the work in its turn. Throws `sign_ins_waiting` when too many of one kind wait already. */
  async run<T>(isKnown: boolean, work: () => Promise<T>): Promise<T> {
    await this.#turn(isKnown);
    const startedAtMs = this.now();
    try {
      return await work();
    } finally {
      // The platform's clock stands still while a request computes.
      await this.wait(0);
      const endedAtMs = this.now();
      const restMs = Math.min(REST_FACTOR * (endedAtMs - startedAtMs), MAX_REST_MS);
      this.#restUntilMs = endedAtMs + restMs;
      this.#busyUntilMs = 0;
    }
  }

  async #turn(isKnown: boolean): Promise<void> {
    const queue = isKnown ? this.#known : this.#strange;
    this.#dropGone();
    if (queue.size >= MAX_WAITING) {
      throw new Fault("sign_ins_waiting", { retryAfter: RETRY_AFTER_SECONDS });
    }
    const me: Waiting = { lastSeenMs: this.now() };
    try {
      for (;;) {
        // Where the whole isolate stood still, others took this one for gone: it stands behind those that were not.
        queue.add(me);
        const place = this.#placeOf(me);
        const nowMs = this.now();
        const restMs = this.#restUntilMs - nowMs;
        if (place === 0 && restMs <= 0 && this.#busyUntilMs <= nowMs) {
          this.#busyUntilMs = nowMs + PRESUMED_DONE_MS;
          return;
        }
        const pauseMs = Math.max(restMs, place * MIN_PAUSE_MS, MIN_PAUSE_MS);
        await this.wait(Math.min(pauseMs, MAX_PAUSE_MS));
        me.lastSeenMs = this.now();
      }
    } finally {
      queue.delete(me);
    }
  }

  /** How many go first. */
  #placeOf(me: Waiting): number {
    this.#dropGone();
    const order = [...this.#known, ...this.#strange];
    return order.indexOf(me);
  }

  #dropGone(): void {
    const earliestMs = this.now() - PRESUMED_GONE_MS;
    for (const queue of [this.#known, this.#strange]) {
      for (const one of queue) if (one.lastSeenMs < earliestMs) queue.delete(one);
    }
  }
}

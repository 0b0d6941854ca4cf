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
  readonly whose: string;
  /** In each round everybody has one turn. */
  readonly round: number;
  lastSeenMs: number;
  /** Whether another has its place. */
  isOut: boolean;
}

/**
 * Lets an isolate compute one password's hash at a time, with pauses in which other requests get on. Those whose address is
 * known for the user go first, so that strangers cannot keep them waiting; and of either kind everybody has a turn before
 * anybody has another. Waiting is asking again, as no request can wake another on this platform.
 */
export class HashTurns {
  readonly #known = new Line();
  readonly #strange = new Line();
  /** Until when somebody hashes, at the most, and until when nobody does. */
  #busyUntilMs = 0;
  #restUntilMs = 0;

  constructor(
    private readonly now: () => number = () => performance.now(),
    private readonly wait: (ms: number) => Promise<unknown> = (ms) => scheduler.wait(ms),
  ) {}

  /**
   * Does the work in its turn, of which `whose` has as many as anybody. Throws `sign_ins_waiting` when too many of one
   * kind wait, to the one whose turn would come last.
   */
  async run<T>(isKnown: boolean, whose: string, work: () => Promise<T>): Promise<T> {
    await this.#turn(isKnown, whose);
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

  async #turn(isKnown: boolean, whose: string): Promise<void> {
    const line = isKnown ? this.#known : this.#strange;
    this.#dropGone();
    const me = line.join(whose, this.now());
    try {
      for (;;) {
        if (me.isOut) throw new Fault("sign_ins_waiting", { retryAfter: RETRY_AFTER_SECONDS });
        // Where the whole isolate stood still, others took this one for gone.
        line.waiting.add(me);
        const place = this.#placeOf(me);
        const nowMs = this.now();
        const restMs = this.#restUntilMs - nowMs;
        if (place === 0 && restMs <= 0 && this.#busyUntilMs <= nowMs) {
          this.#busyUntilMs = nowMs + PRESUMED_DONE_MS;
          line.round = me.round;
          return;
        }
        const pauseMs = Math.max(restMs, place * MIN_PAUSE_MS, MIN_PAUSE_MS);
        await this.wait(Math.min(pauseMs, MAX_PAUSE_MS));
        me.lastSeenMs = this.now();
      }
    } finally {
      line.waiting.delete(me);
    }
  }

  /** How many go first. */
  #placeOf(me: Waiting): number {
    this.#dropGone();
    return [...this.#known.inOrder(), ...this.#strange.inOrder()].indexOf(me);
  }

  #dropGone(): void {
    const earliestMs = this.now() - PRESUMED_GONE_MS;
    for (const { waiting } of [this.#known, this.#strange]) {
      for (const one of waiting) if (one.lastSeenMs < earliestMs) waiting.delete(one);
    }
  }
}

/** The requests of one kind that wait. */
class Line {
  readonly waiting = new Set<Waiting>();
  /** Of the last turn. */
  round = 0;

  /** Stands behind everybody's next turn, and one's own; the last of a line that is too long is put out. */
  join(whose: string, nowMs: number): Waiting {
    const own = [...this.waiting].filter((one) => one.whose === whose);
    const round = Math.max(this.round, ...own.map((one) => one.round)) + 1;
    const me: Waiting = { whose, round, lastSeenMs: nowMs, isOut: false };
    this.waiting.add(me);
    if (this.waiting.size > MAX_WAITING) this.#putOutLast();
    return me;
  }

  inOrder(): readonly Waiting[] {
    return [...this.waiting].sort((a, b) => a.round - b.round);
  }

  #putOutLast(): void {
    const last = this.inOrder().at(-1);
    if (last === undefined) return;
    last.isOut = true;
    this.waiting.delete(last);
  }
}

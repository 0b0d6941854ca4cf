import { AsyncLocalStorage } from "node:async_hooks";

/** What a request waits for: the database, a store of bytes, an image's object. */
export type Awaited = "d1" | "r2" | "object";

/** What one request waited for: how many calls, and milliseconds in all; of calls at the same time both count. */
export class Timings {
  readonly #spent = new Map<Awaited, { calls: number; ms: number }>();

  add(what: Awaited, ms: number): void {
    const spent = this.#spent.get(what);
    if (spent === undefined) this.#spent.set(what, { calls: 1, ms });
    else {
      spent.calls += 1;
      spent.ms += ms;
    }
  }

  /** The metrics of a Server-Timing header (W3C Server Timing §2), without those of which there was nothing. */
  metrics(without: readonly Awaited[] = []): string[] {
    return [...this.#spent]
      .filter(([what]) => !without.includes(what))
      .map(([what, { calls, ms }]) => `${what};dur=${Math.round(ms)};desc="${calls}"`);
  }

  /** The same for the log line. */
  fields(): Record<string, number> {
    return Object.fromEntries(
      [...this.#spent].flatMap(([what, { calls, ms }]) => [
        [`${what}_calls`, calls],
        [`${what}_ms`, Math.round(ms)],
      ]),
    );
  }
}

const current = new AsyncLocalStorage<Timings>();

/** Does a request's work, whose calls are then noted in `timings`. */
export function withTimings<T>(timings: Timings, work: () => Promise<T>): Promise<T> {
  return current.run(timings, work);
}

/** A call that its request waits for; outside a request it is not noted. On Workers, clocks stand still but for I/O. */
export async function timed<T>(what: Awaited, call: () => Promise<T>): Promise<T> {
  const timings = current.getStore();
  if (timings === undefined) return call();
  const startedAtMs = performance.now();
  try {
    return await call();
  } finally {
    timings.add(what, performance.now() - startedAtMs);
  }
}

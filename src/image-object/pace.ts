import type { Fault } from "../domain/fault.ts";
import { rejected } from "../net/safe-fetch.ts";

/** How fast data on other people's servers has to come. */
export interface LeastPace {
  /** 0: as slowly as it likes. */
  readonly bytesPerSecond: number;
  /** Over so long a time, so that a pause does no harm. */
  readonly windowMs: number;
}

/**
 * How fast a source's data comes. A server that trickles is neither silent nor broken, and would hold its place among the
 * work of its project for as long as imports may take. Counted is time in which its data is awaited, whatever tries and
 * alarms that is spread over; waits of our own are not.
 */
export class Pace {
  #ms = 0;
  #bytes = 0;

  constructor(private readonly least: LeastPace) {}

  came(bytes: number): void {
    this.#bytes += bytes;
  }

  /** So much time has passed, with what came in it; gives why the work is to end, if it is. */
  passed(ms: number): Fault | undefined {
    const { bytesPerSecond, windowMs } = this.least;
    this.#ms += ms;
    if (this.#ms < windowMs) return undefined;
    const isEnough = this.#bytes >= (bytesPerSecond * this.#ms) / 1000;
    this.#ms = 0;
    this.#bytes = 0;
    if (isEnough) return undefined;
    const seconds = windowMs / 1000;
    return rejected(
      `its data comes at less than ${bytesPerSecond} bytes a second, for ${seconds} seconds`,
    );
  }
}

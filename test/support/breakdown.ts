import type { Around, BindingCall } from "./intercept.ts";

export interface BreakdownPlan {
  /** The call that fails first, counted from 1. */
  readonly nth: number;
  /** `refused`: it is not made. `unheard`: it is made, but its answer is lost. */
  readonly how: "refused" | "unheard";
  /** Whether the calls after it fail alike, until mended. */
  readonly lasts?: boolean;
  /** Which calls count and fail; all, unless said. */
  readonly only?: (call: BindingCall) => boolean;
  readonly error?: Error;
}

/** A binding, or an object, that breaks down at a certain call. */
export class Breakdown {
  /** Calls that failed. */
  hits = 0;
  #calls = 0;
  #isMended = false;

  constructor(private readonly plan: BreakdownPlan) {}

  readonly around: Around = async (call, proceed) => {
    const { nth, how, lasts = false, only = () => true, error } = this.plan;
    if (this.#isMended || !only(call)) return proceed();
    this.#calls += 1;
    const fails = lasts ? this.#calls >= nth : this.#calls === nth;
    if (!fails) return proceed();
    this.hits += 1;
    if (how === "unheard") await proceed();
    throw error ?? new Error(`${call.operation} is out of order (10003)`);
  };

  mend(): void {
    this.#isMended = true;
  }
}

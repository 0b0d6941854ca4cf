import { Fault } from "../domain/fault.ts";

/** Waits; passed in, so that tests do not. */
export type Delay = (ms: number) => Promise<void>;

const BACK_OFF_MS = [100, 400, 1600] as const;

/** Makes a store's calls; whatever they fail with in the end is the Fault `store_unavailable` (contract STO-9). */
export class StoreCalls {
  constructor(
    private readonly isTransient: (error: unknown) => boolean,
    private readonly delay: Delay = (ms) => scheduler.wait(ms),
  ) {}

  /** Calls again, a little later each time, as long as the error may pass. */
  async retried<T>(call: () => Promise<T>): Promise<T> {
    for (const ms of BACK_OFF_MS) {
      try {
        return await call();
      } catch (error) {
        if (!this.isTransient(error)) throw unavailable(error);
      }
      await this.delay(ms);
    }
    return this.once(call);
  }

  /** Calls once, for what cannot be repeated. */
  async once<T>(call: () => Promise<T>): Promise<T> {
    try {
      return await call();
    } catch (error) {
      throw unavailable(error);
    }
  }
}

function unavailable(cause: unknown): Fault {
  return new Fault("store_unavailable", {}, cause);
}

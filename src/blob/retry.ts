import { Fault } from "../domain/fault.ts";

/** Waits; passed in, so that tests do not. */
export type Delay = (ms: number) => Promise<void>;

const BACK_OFF_MS = [100, 400, 1600] as const;

/**
 * Makes a store's calls. Whatever they fail with in the end is the Fault `store_unavailable` (contract STO-9), or
 * `parts_lost` where an upload is gone, for which no other try is of any use.
 */
export class StoreCalls {
  constructor(
    private readonly isTransient: (error: unknown) => boolean,
    private readonly isUploadGone: (error: unknown) => boolean,
    private readonly delay: Delay = (ms) => scheduler.wait(ms),
  ) {}

  /** Calls again, a little later each time, as long as the error may pass. */
  async retried<T>(call: () => Promise<T>): Promise<T> {
    for (const ms of BACK_OFF_MS) {
      try {
        return await call();
      } catch (error) {
        if (!this.isTransient(error)) throw this.#faultOf(error);
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
      throw this.#faultOf(error);
    }
  }

  #faultOf(cause: unknown): Fault {
    return new Fault(this.isUploadGone(cause) ? "parts_lost" : "store_unavailable", {}, cause);
  }
}

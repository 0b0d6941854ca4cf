import { Fault } from "../domain/fault.ts";

/** Awaits a call of a store; whatever it fails with reaches the caller as a Fault. */
export async function storing<T>(call: Promise<T>): Promise<T> {
  try {
    return await call;
  } catch (cause) {
    throw cause instanceof Fault ? cause : new Fault("store_unavailable", {}, cause);
  }
}

import { Fault } from "../domain/fault.ts";

/** What any call of a store may take, and how fast a store has to be beyond that. */
const CALL_MS = 15_000;
const BYTES_PER_MS = 1_024;

/** How long a call may take that moves so many bytes, in milliseconds. */
export function callLimitMs(bytes = 0): number {
  return CALL_MS + Math.ceil(bytes / BYTES_PER_MS);
}

/**
 * Awaits a call of a store for a limited time, so that one that never settles holds neither memory nor a caller. Throws
 * the Fault `store_unavailable`; what the call comes to later is ignored.
 */
export async function within<T>(limitMs: number, call: Promise<T>): Promise<T> {
  let timer: ReturnType<typeof setTimeout> | null = null;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => {
      reject(new Fault("store_unavailable", {}, new Error(`no answer within ${limitMs} ms`)));
    }, limitMs);
  });
  try {
    return await Promise.race([call, late]);
  } finally {
    clearTimeout(timer);
  }
}

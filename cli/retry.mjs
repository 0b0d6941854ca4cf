// @ts-check

import { setTimeout as sleepFor } from "node:timers/promises";
import { TransientFailure } from "./failure.mjs";

/**
 * How long and how often to go on trying.
 * @typedef {object} Patience
 * @property {number} retries further tries without progress before giving up
 * @property {(failure: TransientFailure, pauseMs: number) => void} [onPause]
 * @property {AbortSignal} [signal]
 * @property {(ms: number, signal: AbortSignal | undefined) => Promise<void>} [sleep]
 */

const LONGEST_PAUSE_MS = 30_000;

/**
 * The pause before the nth further try: 1, 2, 4 … 30 seconds.
 * @param {number} nth
 */
export const pauseMs = (nth) => Math.min(1000 * 2 ** (nth - 1), LONGEST_PAUSE_MS);

/**
 * Waits; throws the signal's reason when that comes first.
 * @param {number} ms
 * @param {AbortSignal | undefined} signal
 */
export async function sleep(ms, signal) {
  try {
    await sleepFor(ms, undefined, { ...(signal && { signal }) });
  } catch (error) {
    throw signal?.aborted ? signal.reason : error;
  }
}

/**
 * Tries until it works, for as long as tries get on. Throws what is no TransientFailure at once, and the last one
 * when `retries` tries after each other made no progress.
 * @template T
 * @param {(tries: number) => Promise<T>} attempt gets how often it was tried before
 * @param {Patience} patience
 * @param {() => number} [progress] a number that changes when something got done
 * @returns {Promise<T>}
 */
export async function persist(attempt, patience, progress = () => 0) {
  const { retries, onPause, signal, sleep: pause = sleep } = patience;
  let inVain = 0;
  let mark = progress();
  for (let tries = 0; ; tries += 1) {
    try {
      return await attempt(tries);
    } catch (error) {
      if (!(error instanceof TransientFailure)) throw error;
      const reached = progress();
      inVain = reached === mark ? inVain + 1 : 1;
      mark = reached;
      if (inVain > retries) throw error;
      const ms = Math.max(pauseMs(inVain), Math.min(error.retryAfterMs, LONGEST_PAUSE_MS));
      onPause?.(error, ms);
      await pause(ms, signal);
    }
  }
}

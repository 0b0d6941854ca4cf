import type { SizedStream } from "../store.ts";
import { storing } from "../storing.ts";
import { callLimitMs, within } from "../time-limit.ts";

/** What a store may still have on its way when it has taken the last byte. */
const LEFT_BYTES = 16 * 1024 ** 2;

/**
 * Bytes that pass through to a store as they come, of a length that is known: they need no buffer, so nobody waits for
 * them, and they get one try.
 */
export async function sendStraight<T>(
  length: number,
  /** Gives the next bytes, `left` at the most and one at least; they are copied before it is called again. */
  read: (left: number) => Promise<Uint8Array>,
  send: (body: SizedStream) => Promise<T>,
  stop: AbortController,
): Promise<T> {
  stop.signal.throwIfAborted();
  const { readable, writable } = new FixedLengthStream(length);
  const writer = writable.getWriter();
  writer.closed.catch(() => {});
  const release = () => void writer.abort(stop.signal.reason).catch(() => {});
  stop.signal.addEventListener("abort", release);
  const sending = storing(send({ stream: readable, length }));
  sending.catch((reason: unknown) => stop.abort(reason));
  try {
    for (let left = length; left > 0; ) {
      const chunk = await read(left);
      left -= chunk.length;
      // A store that takes nothing for so long has failed.
      await within(callLimitMs(chunk.length), writer.write(chunk));
    }
    // The store has kept up until now, so what is left for it to do does not grow with the length.
    const stored = writer.close().then(() => sending);
    return await within(callLimitMs(Math.min(length, LEFT_BYTES)), stored);
  } catch (reason) {
    stop.abort(reason);
    // Nothing is to land behind the caller's back, if the store says so in time.
    await within(callLimitMs(), sending).catch(() => {});
    throw stop.signal.reason;
  } finally {
    stop.signal.removeEventListener("abort", release);
  }
}

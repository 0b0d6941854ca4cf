// @ts-check

/**
 * Does several things at the same time. The first failure stops the others, and is thrown when all have ended, so
 * that nothing still works on what the caller then closes.
 * @template T
 * @param {AbortSignal | undefined} outer stops all, too
 * @param {readonly ((signal: AbortSignal) => Promise<T>)[]} works
 * @returns {Promise<T[]>}
 */
export async function together(outer, works) {
  const stop = new AbortController();
  const signal = AbortSignal.any([stop.signal, ...(outer === undefined ? [] : [outer])]);
  const running = works.map((work) =>
    work(signal).catch((error) => {
      stop.abort(error);
      throw error;
    }),
  );
  await Promise.allSettled(running);
  if (stop.signal.aborted) throw stop.signal.reason;
  return await Promise.all(running);
}

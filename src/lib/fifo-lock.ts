/** Runs pieces of asynchronous work one at a time, in the order they were asked for. */
export class FifoLock {
  #last: Promise<unknown> = Promise.resolve();

  run<T>(work: () => Promise<T>): Promise<T> {
    const result = this.#last.then(work);
    // The next in line waits for the end of this one, however it ends.
    this.#last = result.catch(() => undefined);
    return result;
  }
}

/** What is used here of the runtime's own `node:async_hooks` (compatibility flag `nodejs_compat`). */
declare module "node:async_hooks" {
  export class AsyncLocalStorage<T> {
    run<R>(store: T, work: () => R): R;
    getStore(): T | undefined;
  }
}

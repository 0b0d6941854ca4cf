/** Bodies for tests of what comes in. */

/** A body of these chunks; as of any stream made in JavaScript, they must be copied. */
export function chunked(chunks: Iterable<Uint8Array>): ReadableStream<Uint8Array> {
  const iterator = chunks[Symbol.iterator]();
  return new ReadableStream({
    pull(controller) {
      const { done, value } = iterator.next();
      if (done) controller.close();
      else controller.enqueue(value);
    },
  });
}

/** A body of the runtime's own kind, as a request's is. */
export function native(bytes: Uint8Array): ReadableStream<Uint8Array> {
  return new Blob([bytes]).stream();
}

/** A body that the test feeds. */
export class Feed {
  /** Why the reader gave up; undefined while it has not. */
  cancelled: unknown;
  readonly stream: ReadableStream<Uint8Array>;
  private controller: ReadableStreamDefaultController<Uint8Array> | undefined;

  constructor() {
    this.stream = new ReadableStream<Uint8Array>({
      start: (controller) => {
        this.controller = controller;
      },
      cancel: (reason) => {
        this.cancelled = reason;
      },
    });
  }

  send(bytes: Uint8Array): void {
    this.controller?.enqueue(bytes);
  }

  end(): void {
    this.controller?.close();
  }

  /** As when the client goes away. */
  breakOff(reason: unknown): void {
    this.controller?.error(reason);
  }
}

/** Bytes that are not all alike, the same each time. */
export function patterned(length: number, seed = 1): Uint8Array {
  const bytes = new Uint8Array(length);
  for (let i = 0; i < length; i++) bytes[i] = (i * 31 + seed * 17 + (i >> 8)) & 0xff;
  return bytes;
}

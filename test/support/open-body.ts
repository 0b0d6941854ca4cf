/** The body of an upload whose sender the test plays, as it goes. */
export class OpenBody {
  readonly stream: ReadableStream<Uint8Array>;
  readonly #writer: WritableStreamDefaultWriter<Uint8Array>;

  constructor() {
    const pipe = new IdentityTransformStream();
    this.stream = pipe.readable;
    this.#writer = pipe.writable.getWriter();
    this.#writer.closed.catch(() => {});
  }

  /** Sends bytes; done when they were taken, or when nobody will take them any more. */
  async send(bytes: Uint8Array): Promise<void> {
    await this.#writer.write(bytes).catch(() => {});
  }

  async end(): Promise<void> {
    await this.#writer.close().catch(() => {});
  }

  async breakOff(): Promise<void> {
    await this.#writer.abort(new Error("the client has left")).catch(() => {});
  }
}

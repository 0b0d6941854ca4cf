import { type ByteReader, openByteReader } from "../lib/streams.ts";
import { type Codec, Decoder, unpackable } from "./decoder.ts";

const INPUT_BYTES = 64 * 1024;

/**
 * The plain bytes of compressed ones. The source is read no faster than the result, and cancelled
 * with it. Data that is damaged, cut off, or followed by other bytes makes the result fail with the
 * Fault `image_unpackable`; a source that fails makes it fail alike.
 */
export function decode(
  source: ReadableStream<Uint8Array>,
  codec: Codec,
): ReadableStream<Uint8Array> {
  return new ReadableStream(new Decoding(source, codec), { highWaterMark: 0 });
}

class Decoding {
  private readonly reader: ByteReader;
  private buffer: ArrayBufferLike = new ArrayBuffer(INPUT_BYTES);
  private decoder: Decoder;
  private isSourceEmpty = true;

  constructor(
    source: ReadableStream<Uint8Array>,
    private readonly codec: Codec,
  ) {
    this.reader = openByteReader(source);
    this.decoder = new Decoder(codec.open(), codec.name);
  }

  async pull(controller: ReadableStreamDefaultController<Uint8Array>): Promise<void> {
    try {
      const piece = await this.next();
      if (piece === undefined) this.end(controller);
      else controller.enqueue(piece);
    } catch (reason) {
      void this.cancel(reason);
      throw reason;
    }
  }

  async cancel(reason: unknown): Promise<void> {
    this.decoder.close();
    await this.reader.cancel(reason);
  }

  private end(controller: ReadableStreamDefaultController<Uint8Array>): void {
    this.decoder.close();
    this.reader.release();
    controller.close();
  }

  private async next(): Promise<Uint8Array | undefined> {
    for (;;) {
      const step = await this.decoder.advance();
      if (step === "hungry") await this.feed();
      else if (step !== "ended") return step;
      else if (!(await this.goesOn())) return undefined;
    }
  }

  private async feed(): Promise<void> {
    const chunk = await this.readOn();
    if (chunk.length > 0) this.decoder.feed(chunk);
    else if (this.isSourceEmpty) throw unpackable("there is no data.");
    else this.decoder.finish();
    this.isSourceEmpty = false;
  }

  /** Whether there is more to decode where a decoder has found an end; throws when that is no end. */
  private async goesOn(): Promise<boolean> {
    const { codec, decoder } = this;
    if (codec.mayFollow === "more of the kind" && decoder.rest.length > 0 && decoder.hasBegun) {
      this.decoder = new Decoder(codec.open(), codec.name);
      this.decoder.feed(decoder.rest);
      decoder.close();
      return true;
    }
    for (let rest = decoder.rest; rest.length > 0; rest = await this.readOn()) {
      if (codec.mayFollow !== "zeros" || rest.some((byte) => byte !== 0)) {
        throw unpackable(`${codec.name}: other data follows its end.`);
      }
    }
    return false;
  }

  private async readOn(): Promise<Uint8Array> {
    const chunk = await this.reader.read(new Uint8Array(this.buffer));
    this.buffer = chunk.buffer;
    return chunk;
  }
}

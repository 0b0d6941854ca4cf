import {
  createGunzip,
  createInflateRaw,
  createZstdDecompress,
  type DecoderStream,
} from "node:zlib";
import { Fault } from "../domain/fault.ts";

/** A kind of compression: how its decoder is made, and what may follow where that finds an end. */
export interface Codec {
  readonly name: string;
  readonly open: () => DecoderStream;
  readonly mayFollow: "nothing" | "zeros" | "more of the kind";
}

const PIECE_BYTES = 64 * 1024;

// 8 MiB, which serves every level of zstd up to 19. Beyond that, and with `--long`, it asks for up to 128 MiB, which
// is all that an isolate has for everything.
const MAX_ZSTD_WINDOW_LOG = 23;
const ZSTD_D_WINDOW_LOG_MAX = 100;

/** Bare deflate data (RFC 1951), as in a ZIP archive. */
export const DEFLATE: Codec = {
  name: "deflate",
  open: () => createInflateRaw({ chunkSize: PIECE_BYTES }),
  mayFollow: "nothing",
};

/**
 * RFC 1952. The decoder goes on with the next member by itself (§2.2) until it meets a zero, which is
 * padding, as of tapes, and for gzip(1), too.
 */
export const GZIP: Codec = {
  name: "gzip",
  open: () => createGunzip({ chunkSize: PIECE_BYTES }),
  mayFollow: "zeros",
};

/** RFC 8878. A decoder may stop at the end of a frame, be it of data or a skippable one. */
export const ZSTD: Codec = {
  name: "zstd",
  open: () =>
    createZstdDecompress({
      chunkSize: PIECE_BYTES,
      params: { [ZSTD_D_WINDOW_LOG_MAX]: MAX_ZSTD_WINDOW_LOG },
    }),
  mayFollow: "more of the kind",
};

/** Why data cannot be unpacked, for its owner. */
export function unpackable(reason: string, cause?: unknown): Fault {
  return new Fault("image_unpackable", { reason }, cause);
}

/**
 * A decoder of the runtime that is driven step by step, so that neither input nor output piles up:
 * it is given a chunk only when it is hungry, and works only while its output is taken.
 */
export class Decoder {
  private chunk: Uint8Array = new Uint8Array(0);
  private takenBefore = 0;
  private isHungry = true;
  private isEnded = false;
  private failure: unknown;
  private wake = () => {};

  constructor(
    private readonly stream: DecoderStream,
    private readonly name: string,
  ) {
    stream.on("readable", () => this.wake());
    stream.on("end", () => {
      this.isEnded = true;
      this.wake();
    });
    stream.on("error", (error) => this.fail(error));
    stream.on("close", () => this.fail(new Error("The decoder was closed.")));
  }

  /** Plain bytes, or what the decoder waits for. */
  async advance(): Promise<Uint8Array | "hungry" | "ended"> {
    for (;;) {
      if (this.isEnded) return "ended";
      if (this.failure !== undefined) throw this.failure;
      const piece = this.stream.read();
      if (piece !== null) return piece;
      if (this.isHungry) return "hungry";
      await new Promise<void>((resolve) => {
        this.wake = resolve;
      });
    }
  }

  /** Gives packed bytes to a hungry decoder; they must stay as they are until it is hungry again. */
  feed(chunk: Uint8Array): void {
    this.chunk = chunk;
    this.takenBefore = this.stream.bytesWritten;
    this.isHungry = false;
    this.stream.write(chunk, () => {
      // A decoder that left bytes over has met an end or a fault, and is about to say so.
      this.isHungry = this.rest.length === 0;
      this.wake();
    });
  }

  /** Tells a hungry decoder that there are no more bytes; it fails when it needs some. */
  finish(): void {
    this.chunk = new Uint8Array(0);
    this.takenBefore = this.stream.bytesWritten;
    this.isHungry = false;
    this.stream.end();
  }

  /** What the decoder did not take of the last chunk. */
  get rest(): Uint8Array {
    return this.chunk.subarray(this.stream.bytesWritten - this.takenBefore);
  }

  /** Whether the decoder has taken anything. */
  get hasBegun(): boolean {
    return this.stream.bytesWritten > 0;
  }

  /** Frees the decoder's memory; who waits for it is told that it was closed. */
  close(): void {
    this.stream.destroy();
  }

  private fail(error: Error & { readonly code?: string }): void {
    this.failure ??= DATA_ERRORS.has(error.code ?? "")
      ? unpackable(`${this.name}: ${error.message.replace(/^.* failed: /, "")}.`, error)
      : error;
    this.wake();
  }
}

/** What the decoders call their errors when the data is at fault. */
const DATA_ERRORS: ReadonlySet<string> = new Set([
  "Z_BUF_ERROR",
  "Z_DATA_ERROR",
  "Z_NEED_DICT",
  "ERR_ZSTD_DECOMPRESSION_FAILED",
]);

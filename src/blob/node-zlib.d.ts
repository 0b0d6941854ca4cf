/** What is used here of the runtime's own `node:zlib` (compatibility flag `nodejs_compat`). */
declare module "node:zlib" {
  /** A Node stream that takes packed bytes and gives plain ones. */
  export interface DecoderStream {
    /** Bytes taken so far; those behind the end of the packed data are not. */
    readonly bytesWritten: number;
    write(chunk: Uint8Array, taken: () => void): boolean;
    end(): void;
    read(): Uint8Array | null;
    on(event: "readable" | "end" | "close", listener: () => void): void;
    on(event: "error", listener: (error: Error & { readonly code?: string }) => void): void;
    destroy(): void;
  }

  export interface DecoderOptions {
    /** Bytes of a piece of output. */
    readonly chunkSize?: number;
  }

  export function createGunzip(options?: DecoderOptions): DecoderStream;
  export function createInflateRaw(options?: DecoderOptions): DecoderStream;
  export function createZstdDecompress(
    options?: DecoderOptions & { readonly params?: Readonly<Record<number, number>> },
  ): DecoderStream;
  export function crc32(bytes: Uint8Array, crcSoFar?: number): number;
}

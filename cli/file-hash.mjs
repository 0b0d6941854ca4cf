// @ts-check

import { createHash } from "node:crypto";
import { createReadStream } from "node:fs";
import { withFile } from "./failure.mjs";

const READ_BYTES = 1024 ** 2;

/**
 * The hash of a file, computed as its bytes pass by where they come in order, and from the file for the rest.
 */
export class FileHash {
  #hash;
  #hashed = 0;
  /** @type {Promise<string> | undefined} */
  #end;

  /**
   * @param {string} path
   * @param {string} [algorithm] a name that Node knows
   */
  constructor(path, algorithm = "sha512") {
    this.path = path;
    this.algorithm = algorithm;
    this.#hash = createHash(algorithm);
  }

  /**
   * Takes bytes of the file, if they go on where those before ended, and the rest is not read already.
   * @param {number} offset
   * @param {Buffer} bytes
   */
  take(offset, bytes) {
    if (this.#end !== undefined) return;
    const isNext = offset <= this.#hashed && this.#hashed < offset + bytes.length;
    if (!isNext) return;
    this.#hash.update(bytes.subarray(this.#hashed - offset));
    this.#hashed = offset + bytes.length;
  }

  /**
   * Reads what did not pass by, and gives the hash in hex.
   * @param {AbortSignal} [signal]
   */
  finish(signal) {
    this.#end ??= this.#readRest(signal);
    return this.#end;
  }

  /** @param {AbortSignal | undefined} signal */
  async #readRest(signal) {
    const options = { start: this.#hashed, highWaterMark: READ_BYTES };
    await withFile(this.path, async () => {
      for await (const chunk of createReadStream(this.path, options)) {
        if (signal?.aborted) throw signal.reason;
        this.#hash.update(chunk);
      }
    });
    return this.#hash.digest("hex");
  }
}

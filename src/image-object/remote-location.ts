import { type HashAlgorithm, isHashAlgorithm, RunningDigest } from "../blob/digest.ts";
import { hashSource, type RangedSource } from "../blob/transfer.ts";
import { assertExpected, readHash } from "../domain/expected-hash.ts";
import { Fault } from "../domain/fault.ts";
import type { Hashes } from "../domain/image.ts";
import type { RemoteFacts } from "../domain/import-plan.ts";
import type { LocationRules } from "../domain/locations.ts";
import type { Config } from "../env.ts";
import { type Door, remembering } from "../net/resolve.ts";
import { rejected } from "../net/safe-fetch.ts";
import { probe, readAll, readRange, type SourceOptions } from "../net/source.ts";

/*
 * Data on other people's servers that an image is to point to: asked for its size, and read through the hashes. All of
 * it happens outside the lock, for it takes as long as a server of somebody else's likes.
 */

/** How long the addresses of a server's names hold. */
const NAMES_MS = 10_000;

/** The way to other people's servers, for several requests in a row. */
export function doorOf({ door }: Config): Door {
  return { ...door, resolve: door.resolve && remembering(door.resolve, NAMES_MS) };
}

/** Asks for data that is to be a location (contract LOP-9, 11 §8, size). */
export async function probeLocation(url: string, options: SourceOptions): Promise<RemoteFacts> {
  const { size, acceptsRanges, validator } = await probe(url, options);
  if (size === undefined) throw rejected("it does not tell the size of the data");
  if (size === 0) throw rejected("the data is empty");
  const isTold = validator.etag !== undefined || validator.lastModified !== undefined;
  return { size, isResumable: acceptsRanges && isTold, validator };
}

/** The data that was asked for. Throws `source_changed` when there is other data now. */
export function remoteSource(url: string, facts: RemoteFacts, door: Door): RangedSource {
  const { size, isResumable, validator } = facts;
  return {
    size,
    async read(range, signal) {
      const options = { ...door, signal };
      if (isResumable) {
        const read = await readRange(url, { ...range, size, validator }, options);
        if (read.outcome === "changed") throw new Fault("source_changed");
        return read.stream;
      }
      if (range.length !== size) throw rejected("it cannot be read from any place on");
      const whole = await readAll(url, options);
      if (whole.size === size) return whole.stream;
      await whole.stream.cancel();
      throw new Fault("source_changed");
    },
  };
}

/** A request waits for no more than this; whatever takes longer has the call for it. */
const SURVEY_MS = 300_000;

/**
 * The addresses that a patch adds: first gathered while the patch is tried, then asked, so that the patch is decided
 * on their sizes. What they are said to hash to they are held against now: the image must not become active before.
 */
export class Survey {
  readonly #wanted = new Map<string, Hashes>();
  #sizes: ReadonlyMap<string, number> | undefined;

  constructor(private readonly config: Config) {}

  readonly sizeOf: LocationRules["sizeOf"] = (url, expected) => {
    if (this.#sizes === undefined) {
      this.#wanted.set(url, { ...this.#wanted.get(url), ...expected });
      return undefined;
    }
    const size = this.#sizes.get(url);
    // The image has become another since the patch was tried.
    if (size === undefined) throw new Fault("try_again");
    return size;
  };

  /** Throws `uri_refused`, `source_rejected`, `source_changed` and `hash_mismatch`. */
  async carryOut(): Promise<void> {
    const tooLong = rejected(
      "it takes longer than a request may; add the location by its own call",
    );
    const stop = new AbortController();
    const timer = setTimeout(() => stop.abort(tooLong), SURVEY_MS);
    const sizes = new Map<string, number>();
    try {
      for (const [url, expected] of this.#wanted) {
        sizes.set(url, await this.#ask(url, expected, stop.signal));
      }
    } catch (error) {
      // What another time may go better is the caller's to try again all the same (contract LOP-9).
      if (!(error instanceof Fault) || error.code !== "source_unreachable") throw error;
      throw new Fault("source_rejected", error.detail, error);
    } finally {
      clearTimeout(timer);
    }
    this.#sizes = sizes;
  }

  async #ask(url: string, expected: Hashes, signal: AbortSignal): Promise<number> {
    const door = doorOf(this.config);
    const facts = await probeLocation(url, { ...door, signal });
    const algorithms = Object.keys(expected).filter(isHashAlgorithm);
    if (algorithms.length === 0 || !this.config.hashesLocations) return facts.size;
    const hashes = await hashRemote(remoteSource(url, facts, door), algorithms, signal);
    for (const algorithm of algorithms) {
      assertExpected(readHash(algorithm, expected[algorithm] ?? ""), hashes);
    }
    return facts.size;
  }
}

async function hashRemote(
  source: RangedSource,
  algorithms: readonly HashAlgorithm[],
  signal: AbortSignal,
): Promise<Hashes> {
  const digest = new RunningDigest(algorithms);
  try {
    await hashSource(source, digest, { signal });
    return await digest.finish();
  } finally {
    digest.abort();
  }
}

import type { RangedSource } from "../blob/source.ts";
import { Fault } from "../domain/fault.ts";
import type { RemoteFacts } from "../domain/import-plan.ts";
import type { LocationRules } from "../domain/locations.ts";
import type { Config } from "../env.ts";
import { type Door, remembering } from "../net/resolve.ts";
import { rejected } from "../net/safe-fetch.ts";
import { probe, readAll, readRange, readSize, type SourceOptions } from "../net/source.ts";

/*
 * Data on other people's servers that an image is to point to: asked for its size, and where its task has the time for
 * that, read through the hashes. All of it happens outside the lock, for it takes as long as a server of somebody else's likes.
 */

/** How long the addresses of a server's names hold. */
const NAMES_MS = 10_000;

/** The way to other people's servers, for several requests in a row. */
export function doorOf({ door }: Config): Door {
  return { ...door, resolve: door.resolve && remembering(door.resolve, NAMES_MS) };
}

/** Asks for data that is to be a location (contract LOP-9, 11 §8, size), which has so many bytes at the most (LIM-8). */
export async function probeLocation(
  url: string,
  maximum: number,
  options: SourceOptions,
): Promise<RemoteFacts> {
  const { size: told, acceptsRanges, validator } = await probe(url, options);
  const size = told ?? (await readSize(url, options));
  if (size === undefined) throw rejected("it does not tell the size of the data");
  if (size === 0) throw rejected("the data is empty");
  if (size > maximum) throw new Fault("image_too_large", { maximum });
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
      if (whole.size === undefined) return whole.stream.pipeThrough(new FixedLengthStream(size));
      if (whole.size === size) return whole.stream;
      await whole.stream.cancel();
      throw new Fault("source_changed");
    },
  };
}

/** A request waits no longer than this for servers to tell sizes. */
const SURVEY_MS = 30_000;

/**
 * The addresses that a patch adds: first gathered while the patch is tried, then asked, so that the patch is decided
 * on their sizes. Their data is not read: what it is said to hash to is taken as given (contract 11 §6).
 */
export class Survey {
  readonly #wanted = new Set<string>();
  #sizes: ReadonlyMap<string, number> | undefined;

  constructor(private readonly config: Config) {}

  readonly sizeOf: LocationRules["sizeOf"] = (url) => {
    if (this.#sizes === undefined) {
      this.#wanted.add(url);
      return undefined;
    }
    const size = this.#sizes.get(url);
    // The image has become another since the patch was tried.
    if (size === undefined) throw new Fault("try_again");
    return size;
  };

  /** Throws `uri_refused`, `source_rejected` and `resolver_unreachable`. */
  async carryOut(): Promise<void> {
    const tooLong = rejected(`no answer in ${SURVEY_MS / 1000} seconds`);
    const stop = new AbortController();
    const timer = setTimeout(() => stop.abort(tooLong), SURVEY_MS);
    const options = { ...doorOf(this.config), signal: stop.signal };
    const { imageBytes } = this.config.limits;
    const ask = async (url: string) =>
      [url, (await probeLocation(url, imageBytes, options)).size] as const;
    try {
      this.#sizes = new Map(await Promise.all([...this.#wanted].map(ask)));
    } catch (error) {
      stop.abort(tooLong);
      // What another time may go better is the caller's to try again all the same (contract LOP-9).
      if (!(error instanceof Fault) || error.code !== "source_unreachable") throw error;
      throw new Fault("source_rejected", error.detail, error);
    } finally {
      clearTimeout(timer);
    }
  }
}

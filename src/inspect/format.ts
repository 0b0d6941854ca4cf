/*
 * How a format is read. A reader is straight-line code over bytes that have yet to come: it yields which bytes it wants
 * next and is given them, so that one pass over a stream, front to back, serves all readers at once (inspector.ts).
 *
 *     function* detectFoo(): Reading<Examination | undefined> {
 *       const header = yield { at: 0, length: 512 };
 *       if (!startsWith(header, MAGIC)) return undefined;
 *       return examineFoo(header);
 *     }
 *
 * Readers do no I/O, hold no more than the bytes they asked for, and must be at home in any bytes: what is missing or
 * makes no sense is a finding, never an exception.
 */

/** The most bytes that can be wanted at once. */
export const MAX_WANTED_BYTES = 64 * 1024;

/** The most bytes that can be wanted of the data's end. */
export const MAX_LAST_BYTES = 2 * 1024;

/**
 * The bytes wanted next: those at a place, which is not before the end of what was wanted last, or the last ones of
 * all. Fewer are given where the data has no more, and none of those that have passed.
 */
export type Want = { readonly at: number; readonly length: number } | { readonly last: number };

/** Reads on until it knows. */
export type Reading<T> = Generator<Want, T, Uint8Array>;

/** What goes on once a format was recognised: it looks for what is unsafe, and for the size of the disk within. */
export type Examination = Reading<Findings>;

export interface Findings {
  /** What makes the data unsafe to use, if anything does. */
  readonly danger?: Danger;
  /** Bytes of the disk within, from the length of the data; null or 0 where it is unknown (contract 13 §5). */
  readonly virtualSize: (dataBytes: number) => number | null;
}

/** A safety check that failed (contract 13 §4). */
export interface Danger {
  /** The check's name, such as `backing_file`. */
  readonly check: string;
  /** A clause that says why, such as "it names a backing file". Nothing of the data stands in it unchecked. */
  readonly reason: string;
}

/** One format of disk images. */
export interface Format {
  /** Its name as a `disk_format`. */
  readonly name: string;
  /** Decides from the first bytes whether data is of this format, and if so, how to examine it (contract 13 §2). */
  readonly detect: () => Reading<Examination | undefined>;
}

/** The end of an examination that found something unsafe. */
export function unsafe(check: string, reason: string): Findings {
  return { danger: { check, reason }, virtualSize: () => null };
}

/** The end of an examination that found a disk of this size. */
export function safe(virtualSize: number | null): Findings {
  return { virtualSize: () => virtualSize };
}

/** The limits of contract 01 §1.8. A negative count means unlimited (LIM-7). */
export interface Limits {
  /** Images a page when the caller names no limit (LIM-1). */
  readonly pageDefault: number;
  /** Images a page at most; larger requests are cut down (LIM-2). */
  readonly pageMax: number;
  readonly imageProperties: number;
  readonly imageTags: number;
  readonly imageMembers: number;
  readonly imageLocations: number;
  /** Bytes (LIM-8). */
  readonly imageBytes: number;
  readonly diskFormats: readonly string[];
  readonly containerFormats: readonly string[];
}

/** Whether a count is over a limit of which negative means none. */
export function exceeds(count: number, limit: number): boolean {
  return limit >= 0 && count > limit;
}

const MiB = 1024 ** 2;

/** R2's limit. */
const MAX_PARTS = 10_000;
// Where a known length is cut, some room is left below R2's limit.
const TARGET_PARTS = 9_000;
const SMALLEST_BYTES = 8 * MiB;
/** A part up to here is held in memory, so that it can be sent again. */
export const LARGEST_BUFFERED_BYTES = 16 * MiB;

/** How an upload is cut into parts. */
export interface PartPlan {
  /** Every part but the last, which may be shorter (R2's rule). */
  readonly partBytes: number;
  /** Whether parts go straight through, one at a time and with one try, for they are too large to be held. */
  readonly isStraight: boolean;
  /** The longest body that R2 takes in parts of this size. */
  readonly maxTotalBytes: number;
}

/**
 * Chooses the part size from the announced length (undefined: unknown). A part in memory can be
 * sent again when R2 fails for a moment; one that is too large for that gets one try.
 */
export function planParts(lengthBytes: number | undefined): PartPlan {
  const partBytes = choosePartBytes(lengthBytes);
  const isStraight = partBytes > LARGEST_BUFFERED_BYTES;
  return { partBytes, isStraight, maxTotalBytes: partBytes * MAX_PARTS };
}

/** The longest resumable upload, whose parts are all held in memory one after the other: about 156 GiB. */
export const MAX_RESUMABLE_BYTES = LARGEST_BUFFERED_BYTES * MAX_PARTS;

/** The size of the parts of a resumable upload of this length. */
export function resumablePartBytes(lengthBytes: number | undefined): number {
  return Math.min(choosePartBytes(lengthBytes), LARGEST_BUFFERED_BYTES);
}

function choosePartBytes(lengthBytes: number | undefined): number {
  // As large as can be held, since the body may turn out to be long.
  if (lengthBytes === undefined) return LARGEST_BUFFERED_BYTES;
  return Math.max(SMALLEST_BYTES, Math.ceil(lengthBytes / TARGET_PARTS / MiB) * MiB);
}

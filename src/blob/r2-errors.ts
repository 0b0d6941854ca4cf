/**
 * The only file that knows R2's errors. The binding throws a plain Error whose message ends in R2's
 * own number, as in "uploadPart: The specified multipart upload does not exist. (10024)"; a
 * connection that broke within the platform has no number but the mark `retryable`.
 */
const UPLOAD_GONE = 10024;

const TRANSIENT: ReadonlySet<number> = new Set([
  10001, // internal error, try again
  10043, // service unavailable
  10054, // the connection to R2 was closed half-way
  10058, // too many writes to one key in a second
]);

/** Whether the multipart upload is completed, aborted or expired. */
export function isUploadGone(error: unknown): boolean {
  return codeOf(error) === UPLOAD_GONE;
}

/** Whether the same call may well succeed a moment later. */
export function isTransient(error: unknown): boolean {
  if (!(error instanceof Error)) return false;
  if ("retryable" in error && error.retryable === true) return true;
  const code = codeOf(error);
  return code !== undefined && TRANSIENT.has(code);
}

function codeOf(error: unknown): number | undefined {
  const match = error instanceof Error ? /\((\d+)\)$/.exec(error.message) : null;
  return match?.[1] === undefined ? undefined : Number(match[1]);
}

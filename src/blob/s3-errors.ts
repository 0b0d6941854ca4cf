import { parseS3Document } from "./s3-xml.ts";

/**
 * What an S3 service answered instead of success, or that it did not answer. It holds the error's
 * code and never its text, in which services repeat keys and what was signed.
 */
export class S3Error extends Error {
  constructor(
    /** HTTP status; undefined: no answer. */
    readonly status: number | undefined,
    /** S3's own name for the error; undefined: the answer had none. */
    readonly code: string | undefined,
    options?: ErrorOptions,
  ) {
    super(`S3: ${status ?? "no answer"} ${code ?? ""}`.trimEnd(), options);
    this.name = "S3Error";
  }
}

/** Reads the error out of an answer, whose status may be 200 where a service had begun to answer. */
export function readS3Error(status: number, text: string): S3Error {
  const document = parseS3Document(text);
  const code = document?.root === "Error" ? document.fields.get("Code") : undefined;
  return new S3Error(
    status,
    code !== undefined && /^[A-Za-z0-9.]{1,80}$/.test(code) ? code : undefined,
  );
}

const TRANSIENT_CODES: ReadonlySet<string> = new Set([
  "InternalError",
  "OperationAborted",
  "RequestTimeout",
  "ServiceUnavailable",
  "SlowDown",
  // Bytes that were damaged or lost on the way arrive by another try.
  "BadDigest",
  "IncompleteBody",
  "XAmzContentSHA256Mismatch",
]);

/** Whether the same call may well succeed a moment later. */
export function isTransient(error: unknown): boolean {
  if (!(error instanceof S3Error)) return false;
  const { status, code } = error;
  if (status === undefined || status === 408 || status === 429) return true;
  if (code !== undefined && TRANSIENT_CODES.has(code)) return true;
  return status >= 500 && status !== 501;
}

/** Whether there is no such object. A missing bucket, or another server's 404, is a fault. */
export function isObjectGone(error: unknown): boolean {
  return error instanceof S3Error && error.code === "NoSuchKey";
}

/** Whether the multipart upload is completed, aborted or expired. */
export function isUploadGone(error: unknown): boolean {
  return error instanceof S3Error && error.code === "NoSuchUpload";
}

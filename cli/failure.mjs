// @ts-check

/** How the command ends; `glimpse --help` tells the same. */
export const EXIT = /** @type {const} */ ({
  done: 0,
  unexpected: 1,
  usage: 2,
  access: 3,
  notFound: 4,
  refused: 5,
  unavailable: 6,
  file: 7,
  mismatch: 8,
  interrupted: 130,
});

/** Something to tell the user in a sentence, and the code to end with. */
export class Failure extends Error {
  /**
   * @param {string} message
   * @param {number} exitCode
   * @param {number} [status] of the answer that told of it
   */
  constructor(message, exitCode, status) {
    super(message);
    this.name = "Failure";
    this.exitCode = exitCode;
    this.status = status;
  }
}

/** A failure that another try may not meet. */
export class TransientFailure extends Failure {
  /**
   * @param {string} message
   * @param {object} [details]
   * @param {number | undefined} [details.status]
   * @param {number | undefined} [details.retryAfterMs] what the service asked for
   * @param {number} [details.exitCode] when no other try helped
   */
  constructor(message, { status, retryAfterMs, exitCode = EXIT.unavailable } = {}) {
    super(message, exitCode, status);
    this.retryAfterMs = retryAfterMs ?? 0;
  }
}

/**
 * A failure of the file system in the user's words.
 * @param {unknown} error
 * @param {string} path
 */
export function fileFailure(error, path) {
  if (error instanceof Failure) return error;
  const code = error instanceof Error && "code" in error ? String(error.code) : "";
  /** @type {Record<string, string>} */
  const reasons = {
    ENOENT: "there is no such file or directory",
    EACCES: "permission denied",
    EROFS: "the file system is read-only",
    ELOOP: "it is a link",
    ENAMETOOLONG: "the name is too long; give another with --output",
    EISDIR: "it is a directory",
    EEXIST: "it is there already",
    ENOSPC: "no space is left on the device",
    EDQUOT: "the disk quota is used up",
    EFBIG: "the file system takes no file as large",
  };
  return new Failure(`${path}: ${reasons[code] ?? String(error)}.`, EXIT.file);
}

/**
 * Runs work on a file, telling of its failures as such.
 * @template T
 * @param {string} path
 * @param {() => Promise<T>} work
 */
export async function withFile(path, work) {
  try {
    return await work();
  } catch (error) {
    throw fileFailure(error, path);
  }
}

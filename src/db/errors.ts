import { DrizzleQueryError } from "drizzle-orm";

/**
 * An error as it may be logged and judged: Drizzle's own carries the statement's every value in its message, and
 * those are the callers'. What D1 said stands in the cause.
 */
export function withoutValues(error: unknown): unknown {
  return error instanceof DrizzleQueryError ? withoutValues(error.cause) : error;
}

/*
 * D1 and Durable Objects say in words, or by a flag, that an error will pass. A write is not repeated here:
 * the caller gets 503, and the revision keeps its second try from being made twice.
 */

const PASSING =
  /network connection lost|overloaded|storage operation exceeded timeout|internal error|object to be reset|(was|were) reset|code (was|has been) updated|can no longer access storage|cannot resolve D1 DB/i;

/** Whether an error of a binding is of the kind that a second try, a moment later, may not meet. */
export function isTransient(error: unknown): boolean {
  for (let at = withoutValues(error); at instanceof Error; at = withoutValues(at.cause)) {
    if ("retryable" in at && at.retryable === true) return true;
    if ("durableObjectReset" in at && at.durableObjectReset === true) return true;
    if ("overloaded" in at && at.overloaded === true) return true;
    if (PASSING.test(at.message)) return true;
  }
  return false;
}

import { Fault } from "../domain/fault.ts";

/**
 * The id of a request: the caller's, with `req-` in front, or a new one (contract HDR-1). One that a header
 * or a log line could not hold as it is, is replaced.
 */
export function requestIdOf(request: Request, newId: () => string): string {
  const given = request.headers.get("x-openstack-request-id");
  if (given === null || !/^[\x21-\x7e]+$/.test(given)) return `req-${newId()}`;
  return given.startsWith("req-") ? given : `req-${given}`;
}

/** Throws `request_id_too_long` (contract HDR-2); a maximum of 0 means no limit. */
export function checkRequestIdLength(request: Request, maximum: number): void {
  const given = request.headers.get("x-openstack-request-id");
  if (maximum > 0 && given !== null && given.length > maximum) {
    throw new Fault("request_id_too_long", { maximum });
  }
}

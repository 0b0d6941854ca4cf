import { Fault } from "../domain/fault.ts";

/**
 * The id of a request: the caller's, with `req-` in front, or else ours (contract HDR-1). One that a header or a
 * log line could not hold as it is counts as none. Throws `request_id_too_long` for one of more characters than
 * the maximum, where 0 means no limit (HDR-2).
 */
export function requestIdOf(request: Request, maximum: number, ours: string): string {
  const given = request.headers.get("x-openstack-request-id");
  if (given === null) return ours;
  if (maximum > 0 && given.length > maximum) throw new Fault("request_id_too_long", { maximum });
  if (!/^[\x21-\x7e]+$/.test(given)) return ours;
  return given.startsWith("req-") ? given : `req-${given}`;
}

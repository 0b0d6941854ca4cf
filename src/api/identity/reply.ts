import type { Fault } from "../../domain/fault.ts";
import { reasonPhrase, retryAfter } from "../../http/errors.ts";
import { json } from "../../http/reply.ts";

/**
 * A fault in Keystone's shape; a 401 says where tokens are to be had if the base address is given
 * (contract CTX-2), a 405 says what is allowed, and what passes says
 * when.
 */
export function renderIdentityFault(fault: Fault, baseUrl?: string): Response {
  const error = { code: fault.status, message: fault.text, title: reasonPhrase(fault.status) };
  const reply = json({ error }, fault.status, retryAfter(fault));
  if (fault.code === "unauthorized" && baseUrl !== undefined) {
    reply.headers.set("www-authenticate", `Keystone uri="${baseUrl}/identity"`);
  }
  if (fault.code === "method_not_allowed" && fault.detail.allow !== undefined) {
    reply.headers.set("allow", String(fault.detail.allow));
  }
  return reply;
}

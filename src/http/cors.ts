import { TUS_RESPONSE_HEADERS } from "./tus.ts";

/*
 * Browser front ends call the service from another origin and send the token in a header of their own, never
 * in a cookie; so an answer to any origin gives nothing away that the token does not.
 */

const METHODS = "GET, HEAD, PUT, POST, DELETE, PATCH";

/** A list of names of headers (RFC 9110 §5.1), no longer than any client's. */
const HEADER_NAMES = /^[\w!#$%&'*+.^`|~-]+(?:[ \t]*,[ \t]*[\w!#$%&'*+.^`|~-]+)*$/;
const MAX_HEADER_NAMES_CHARACTERS = 4_096;

/** What scripts may read beyond the few headers that the Fetch standard lets them read anyway. */
const RESPONSE_HEADERS = [
  "Accept-Patch",
  "Accept-Ranges",
  "Allow",
  "Content-Digest",
  "Content-Disposition",
  "Content-Length",
  "Content-MD5",
  "Content-Range",
  "ETag",
  "Location",
  "OpenStack-Image-Import-Methods",
  "OpenStack-Image-Store-IDs",
  "Repr-Digest",
  "Retry-After",
  "Server-Timing",
  ...TUS_RESPONSE_HEADERS,
  "WWW-Authenticate",
  "X-Auth-Token",
  "X-Image-Meta-Checksum",
  "X-OpenStack-Image-Hash-Algo",
  "X-OpenStack-Image-Hash-Value",
  "X-OpenStack-Image-Size",
  "X-OpenStack-Request-ID",
  "X-Service-Token",
  "X-Subject-Token",
].join(", ");

/** The answer to OPTIONS on any path, without a token (contract RT-22). */
export function answerOptions(more: Readonly<Record<string, string>> = {}): Response {
  return new Response(null, { headers: { allow: `${METHODS}, OPTIONS`, ...more } });
}

/** Adds the CORS headers when a browser from an allowed origin asks. */
export function addCorsHeaders(
  request: Request,
  headers: Headers,
  allowedOrigins: readonly string[],
): void {
  const origin = request.headers.get("origin");
  const anyOrigin = allowedOrigins.includes("*");
  if (!anyOrigin) headers.append("vary", "Origin");
  if (origin === null || !(anyOrigin || allowedOrigins.includes(origin))) return;
  headers.set("access-control-allow-origin", anyOrigin ? "*" : origin);
  if (request.method === "OPTIONS") {
    headers.set("access-control-allow-methods", METHODS);
    allowHeaders(request, headers);
    headers.set("access-control-max-age", "3600");
  } else {
    headers.set("access-control-expose-headers", RESPONSE_HEADERS);
  }
}

/** Whatever a script wants to send it may: credentials are never allowed, so no header is more than its value. */
function allowHeaders(request: Request, headers: Headers): void {
  const wanted = request.headers.get("access-control-request-headers") ?? "";
  headers.append("vary", "Access-Control-Request-Headers");
  const isList = wanted.length <= MAX_HEADER_NAMES_CHARACTERS && HEADER_NAMES.test(wanted);
  if (isList) headers.set("access-control-allow-headers", wanted);
}

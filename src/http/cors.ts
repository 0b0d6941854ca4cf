import { TUS_REQUEST_HEADERS, TUS_RESPONSE_HEADERS } from "./tus.ts";

/*
 * Browser front ends call the service from another origin and send the token in a header of their own, never
 * in a cookie; so an answer to any origin gives nothing away that the token does not.
 */

const METHODS = "GET, HEAD, PUT, POST, DELETE, PATCH";

/** What contract HDR-9 lists, and the headers that uploads, ranges and sign-in need. */
const REQUEST_HEADERS = [
  "Accept",
  "Accept-Encoding",
  "Content-MD5",
  "Content-Range",
  "Content-Type",
  "If-Match",
  "If-None-Match",
  "If-Range",
  "Range",
  ...TUS_REQUEST_HEADERS,
  "X-Auth-Token",
  "X-Identity-Status",
  "X-Image-Meta-Checksum",
  "X-OpenStack-Append",
  "X-OpenStack-Image-Size",
  "X-OpenStack-Request-ID",
  "X-Roles",
  "X-Service-Catalog",
  "X-Storage-Token",
  "X-Subject-Token",
  "X-Tenant-Id",
  "X-User-Id",
].join(", ");

const RESPONSE_HEADERS = [
  "Accept-Patch",
  "Accept-Ranges",
  "Allow",
  "Content-Length",
  "Content-MD5",
  "Content-Range",
  "ETag",
  "Location",
  "OpenStack-Image-Import-Methods",
  "OpenStack-Image-Store-IDs",
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
    headers.set("access-control-allow-headers", REQUEST_HEADERS);
    headers.set("access-control-max-age", "3600");
  } else {
    headers.set("access-control-expose-headers", RESPONSE_HEADERS);
  }
}

/** A JSON answer: `application/json` without charset, UTF-8, non-ASCII as it is (contract HDR-8). */
export function json(value: unknown, status = 200, headers: HeadersInit = {}): Response {
  const reply = new Response(JSON.stringify(value), { status, headers });
  reply.headers.set("content-type", "application/json");
  return reply;
}

/** 204 with neither body nor Content-Type (contract HDR-7). */
export function noContent(): Response {
  return new Response(null, { status: 204 });
}

import type { Fault } from "../domain/fault.ts";

const REASONS: Readonly<Record<number, string>> = {
  400: "Bad Request",
  401: "Unauthorized",
  403: "Forbidden",
  404: "Not Found",
  405: "Method Not Allowed",
  409: "Conflict",
  410: "Gone",
  412: "Precondition Failed",
  413: "Request Entity Too Large",
  415: "Unsupported Media Type",
  416: "Requested Range Not Satisfiable",
  421: "Misdirected Request",
  423: "Locked",
  429: "Too Many Requests",
  431: "Request Header Fields Too Large",
  460: "Checksum Mismatch",
  500: "Internal Server Error",
  501: "Not Implemented",
  503: "Service Unavailable",
};

/** The reason phrase of a status this service sends. */
export function reasonPhrase(status: number): string {
  return REASONS[status] ?? "Error";
}

/** A fault as a response in the shape the caller prefers: JSON, HTML or plain text (contract 01 §1.6). */
export function renderFault(fault: Fault, request: Request, baseUrl: string): Response {
  const type = preferredType(request.headers.get("accept"));
  const headers = new Headers({ ...faultHeaders(fault, request, baseUrl), ...retryAfter(fault) });
  headers.set("content-type", type === "application/json" ? type : `${type}; charset=UTF-8`);
  return new Response(faultBody(fault, type), { status: fault.status, headers });
}

/** A store, a database or a server of others that is in trouble for a moment. */
const SHORT_TROUBLE_SECONDS = 10;

/** When a fault that passes may be tried again, in seconds (RFC 9110 §10.2.3); every 503 says so. */
export function retryAfter({ detail, status }: Fault): Record<string, string> {
  const seconds = detail.retryAfter ?? (status === 503 ? SHORT_TROUBLE_SECONDS : undefined);
  return seconds === undefined ? {} : { "retry-after": String(seconds) };
}

function faultBody(fault: Fault, type: OfferedType): string {
  const title = reasonPhrase(fault.status);
  const line = `${fault.status} ${title}`;
  switch (type) {
    case "application/json":
      return JSON.stringify({ message: fault.text, code: line, title });
    case "text/html": {
      const body = `<h1>${line}</h1>\n${escapeHtml(fault.text)}`;
      return `<html>\n<head><title>${line}</title></head>\n<body>\n${body}\n</body>\n</html>\n`;
    }
    case "text/plain":
      return `${line}\n\n${fault.text}\n`;
  }
}

/** The headers that belong to some faults: what is allowed, accepted, there at all, or asked of the caller. */
function faultHeaders(fault: Fault, request: Request, baseUrl: string): Record<string, string> {
  const detail = (name: string) => String(fault.detail[name] ?? "");
  switch (fault.code) {
    case "unauthorized":
      return { "www-authenticate": `Keystone uri="${baseUrl}/identity"` };
    case "method_not_allowed":
      return { allow: detail("allow") };
    case "tus_version_unknown":
      return { "tus-version": detail("version") };
    case "range_not_satisfiable":
      return { "content-range": `bytes */${detail("size")}` };
    case "unsupported_media_type":
      return request.method === "PATCH" ? { "accept-patch": detail("accepted") } : {};
    default:
      return {};
  }
}

const OFFERED = ["application/json", "text/html", "text/plain"] as const;
type OfferedType = (typeof OFFERED)[number];

/**
 * The best of the types that an Accept header names; ties go to JSON. A header with wildcards only gets HTML, as
 * from the reference: glanceclient sends such a one and takes JSON for an error of another shape (contract
 * ERR-2). Without preference it is JSON.
 */
function preferredType(accept: string | null): OfferedType {
  const ranges = (accept ?? "").split(",").map(parseRange);
  const qualityOf = (name: string) => ranges.find(({ range }) => range === name)?.quality ?? 0;
  let best: { type: OfferedType | undefined; quality: number } = { type: undefined, quality: 0 };
  for (const type of OFFERED) {
    if (qualityOf(type) > best.quality) best = { type, quality: qualityOf(type) };
  }
  if (best.type !== undefined) return best.type;
  const takesAnything = qualityOf("*/*") > 0 || qualityOf("text/*") > 0;
  return takesAnything ? "text/html" : "application/json";
}

interface MediaRange {
  readonly range: string;
  readonly quality: number;
}

function parseRange(item: string): MediaRange {
  const [range = "", ...parameters] = item.split(";").map((part) => part.trim().toLowerCase());
  const weight = parameters.find((parameter) => parameter.startsWith("q="))?.slice(2);
  const quality = weight === undefined ? 1 : Number(weight);
  return { range, quality: quality >= 0 && quality <= 1 ? quality : 0 };
}

/** As text between tags, where quotes are themselves: clients show their users the page as it comes. */
function escapeHtml(text: string): string {
  return text.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;");
}

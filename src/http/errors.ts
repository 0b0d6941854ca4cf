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
  431: "Request Header Fields Too Large",
  500: "Internal Server Error",
  501: "Not Implemented",
  503: "Service Unavailable",
};

/** The reason phrase of a status this service sends. */
export function reasonPhrase(status: number): string {
  return REASONS[status] ?? "Error";
}

/**
 * A fault as a response in the shape the caller prefers: JSON, or HTML or plain text for those who ask for
 * them (contract 01 §1.6; ERR-8 lets JSON stand for `*` and for no preference, which every client reads).
 */
export function renderFault(fault: Fault, request: Request, baseUrl: string): Response {
  const type = preferredType(request.headers.get("accept"));
  const headers = new Headers(faultHeaders(fault, request, baseUrl));
  headers.set("content-type", type === "application/json" ? type : `${type}; charset=UTF-8`);
  return new Response(faultBody(fault, type), { status: fault.status, headers });
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

/** The offered type that an Accept header ranks first; ties go to JSON (RFC 9110 §12.5.1). */
function preferredType(accept: string | null): OfferedType {
  let best: { type: OfferedType; quality: number } = { type: "application/json", quality: 0 };
  if (accept === null || accept.trim() === "") return best.type;
  const ranges = accept.split(",").map(parseRange);
  for (const type of OFFERED) {
    const quality = qualityOf(type, ranges);
    if (quality > best.quality) best = { type, quality };
  }
  return best.type;
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

/** The most specific range that covers the type decides its weight. */
function qualityOf(type: string, ranges: readonly MediaRange[]): number {
  const family = `${type.slice(0, type.indexOf("/"))}/*`;
  for (const candidate of [type, family, "*/*"]) {
    const found = ranges.find(({ range }) => range === candidate);
    if (found !== undefined) return found.quality;
  }
  return 0;
}

function escapeHtml(text: string): string {
  return text.replace(/[&<>"']/g, (character) => `&#${character.charCodeAt(0)};`);
}

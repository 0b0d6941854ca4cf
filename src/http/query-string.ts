import { Fault } from "../domain/fault.ts";
import { decodePercent } from "../lib/percent.ts";

/** The parameters of a query string as sent: decoded, in order, repeats kept. */
export type QueryParameters = readonly (readonly [name: string, value: string])[];

/** Splits and decodes a query string, with or without its `?`. Throws `invalid_encoding` (contract REQ-9). */
export function decodeQuery(search: string): QueryParameters {
  return search
    .replace(/^\?/, "")
    .split("&")
    .filter((part) => part !== "")
    .map((part) => {
      const equals = part.indexOf("=");
      const name = equals === -1 ? part : part.slice(0, equals);
      return [decodePart(name), equals === -1 ? "" : decodePart(part.slice(equals + 1))];
    });
}

function decodePart(text: string): string {
  const decoded = decodePercent(text.replaceAll("+", " "));
  if (decoded === undefined) throw new Fault("invalid_encoding", { part: "query string" });
  return decoded;
}

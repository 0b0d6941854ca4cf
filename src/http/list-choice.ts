import { Fault } from "../domain/fault.ts";

/**
 * The values a filter allows: `v`, `eq:v` or `in:v1,v2` (contract FIL-1). What stands before the first colon is
 * always the operator. Throws `invalid_parameter`.
 */
export function parseChoice(name: string, text: string): readonly string[] {
  const colon = text.indexOf(":");
  if (colon === -1) return [text];
  const operator = text.slice(0, colon);
  const operand = text.slice(colon + 1);
  if (operator === "eq") return [operand];
  if (operator === "in") return [...new Set(splitItems(name, operand))];
  throw new Fault("invalid_parameter", {
    name,
    reason: `'${operator}' is no operator for it; put eq: before a value that has a colon`,
  });
}

/**
 * The items of a list (contract FIL-2): double quotes around an item keep its commas, a quote behind a backslash
 * is an ordinary character and so is that backslash. Empty items are left out; a quoted one, `""`, is the empty text.
 */
function splitItems(name: string, text: string): string[] {
  const items: string[] = [];
  let at = 0;
  while (at < text.length) {
    const isQuoted = text[at] === '"';
    const rest = text.slice(isQuoted ? at + 1 : at);
    const length = isQuoted ? findQuote(rest) : endOfItem(rest);
    if (length === -1) refuseQuote(name);
    const item = rest.slice(0, length);
    const end = at + length + (isQuoted ? 2 : 0);
    if (end < text.length && text[end] !== ",") refuseQuote(name);
    if (!isQuoted && findQuote(item) !== -1) refuseQuote(name);
    if (isQuoted || item !== "") items.push(item);
    at = end + 1;
  }
  return items;
}

/** Where the first quote is that no backslash guards, or -1. */
function findQuote(text: string): number {
  return text.search(/(?<!\\)"/);
}

function endOfItem(text: string): number {
  const comma = text.indexOf(",");
  return comma === -1 ? text.length : comma;
}

function refuseQuote(name: string): never {
  throw new Fault("invalid_parameter", {
    name,
    reason: "a double quote must open or close a whole item",
  });
}

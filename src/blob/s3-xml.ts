import type { PartReceipt } from "./store.ts";

/** A document of an S3 service: its root's name, and the text of the root's children by name. */
export interface S3Document {
  readonly root: string;
  readonly fields: ReadonlyMap<string, string>;
}

const DOCUMENT = /^(?:<\?xml[^<>]*\?>\s*)?<(\w+)(?:\s[^<>]*)?>(.*)<\/\1>$/s;
const CHILD = /\s*<(\w+)(?:\s[^<>]*?)?(?:\/>|>([^<]*)<\/\1>)\s*/y;

/**
 * Reads an answer or an error of S3 (API reference, "Error responses", CreateMultipartUpload,
 * CompleteMultipartUpload). All of these are flat; anything else is undefined. White space may come
 * first, which services send to keep a connection open while they work.
 */
export function parseS3Document(text: string): S3Document | undefined {
  const [, root, content] = DOCUMENT.exec(text.trim()) ?? [];
  if (root === undefined || content === undefined) return undefined;
  const fields = new Map<string, string>();
  const child = new RegExp(CHILD);
  while (child.lastIndex < content.length) {
    const [, name, value = ""] = child.exec(content) ?? [];
    if (name === undefined) return undefined;
    fields.set(name, decodeText(value));
  }
  return { root, fields };
}

/** The body of CompleteMultipartUpload; the service wants the parts in order. */
export function renderCompletion(parts: readonly PartReceipt[]): string {
  const list = parts
    .toSorted((a, b) => a.partNumber - b.partNumber)
    .map(
      ({ partNumber, etag }) =>
        `<Part><PartNumber>${partNumber}</PartNumber><ETag>${encodeText(etag)}</ETag></Part>`,
    );
  return `<CompleteMultipartUpload xmlns="http://s3.amazonaws.com/doc/2006-03-01/">${list.join("")}</CompleteMultipartUpload>`;
}

const ENTITIES: ReadonlyMap<string, string> = new Map([
  ["amp", "&"],
  ["lt", "<"],
  ["gt", ">"],
  ["quot", '"'],
  ["apos", "'"],
]);

function encodeText(text: string): string {
  return text.replace(/[&<>"']/g, (character) => `&#${character.charCodeAt(0)};`);
}

function decodeText(text: string): string {
  return text.replace(/&(?:#x([0-9a-f]{1,5})|#(\d{1,6})|(\w+));/gi, (whole, hex, decimal, name) => {
    if (name !== undefined) return ENTITIES.get(name) ?? whole;
    return String.fromCodePoint(hex === undefined ? Number(decimal) : Number.parseInt(hex, 16));
  });
}

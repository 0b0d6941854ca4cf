import { MAX_WANTED_BYTES } from "./format.ts";

/*
 * The descriptor of a VMDK: a text that says which files hold the disk, and how. It lies in a sparse file behind the
 * header, or is a file of its own. Whoever opens it opens what it names, so it may name nothing but itself
 * (CVE-2022-47951), and nothing in it may be left that is not understood.
 */

/** The longest descriptor that is read. Real ones have about a kilobyte. */
export const MAX_DESCRIPTOR_BYTES = MAX_WANTED_BYTES - 1;

/** Those of a single file, in the spelling they are compared in. */
const SAFE_TYPES: readonly string[] = ["monolithicsparse", "streamoptimized"];

/** What QEMU takes for a descriptor, whatever follows; VMware also where there are blanks around the sign. */
const QEMU_BEGINNING = /^(?:#[^\n]*\n| *\r?\n)*version[ \t]*=[ \t]*[123][ \t]*\r?\n/;

/** The text in these bytes, which a zero byte ends, as it does for QEMU; each byte is a character of Latin-1. */
export function textOf(bytes: Uint8Array): string {
  const end = bytes.indexOf(0);
  return charactersOf(end < 0 ? bytes : bytes.subarray(0, end));
}

function charactersOf(bytes: Uint8Array): string {
  let text = "";
  for (const byte of bytes) text += String.fromCharCode(byte);
  return text;
}

/**
 * Whether QEMU opens data that begins with these bytes as a descriptor: in any encoding, and to any length. It looks for
 * the beginning past a zero byte, which ends the text only when that is read.
 */
export function isDescriptorForQemu(beginning: Uint8Array): boolean {
  return QEMU_BEGINNING.test(charactersOf(beginning));
}

/** Whether data that begins with this text may be a descriptor. */
export function mayBeDescriptor(beginning: string): boolean {
  return beginning !== "" && isPlain(beginning);
}

/** Whether data that is this text is a descriptor: plain ASCII with a `createType` (contract 13 §2). */
export function isDescriptor(text: string): boolean {
  return isPlain(text) && /createtype[ \t]*=[ \t]*"/i.test(text);
}

/** A clause that says what is unsafe about a descriptor, if anything is (contract 13 §4). */
export function findUnsafe(descriptor: string): string | undefined {
  const text = descriptor.toLowerCase();
  if (text === "") return "it has no descriptor";
  if (text.length > MAX_DESCRIPTOR_BYTES) return "its descriptor is too long";
  const encoding = encodingOf(text);
  if (!isPlain(text) && !isEncoded(descriptor, encoding)) {
    return "its descriptor is neither plain ASCII nor text of the encoding that it names";
  }
  return findUnsafeType(text) ?? findUnsafeLine(text, encoding);
}

/** The encoding that a descriptor names. VMware writes these; in each of them a byte below 0x40 is an ASCII character. */
function encodingOf(text: string): string {
  const [, encoding = ""] =
    /(?:^|\n)[ \t]*encoding[ \t]*=[ \t]*"?([^"\s]*)"?[ \t\r]*(?:\n|$)/.exec(text) ?? [];
  return encoding;
}

/** Whether these bytes, each a character, are text of the encoding. */
function isEncoded(bytes: string, encoding: string): boolean {
  if (/[^\t\n\v\f\r -~\x80-\xff]/.test(bytes)) return false;
  switch (encoding) {
    case "windows-1252":
      return true;
    case "gbk":
      return new RegExp(`^(?:[\\x00-\\x7f]|${GBK_PAIR})*$`).test(bytes);
    case "utf-8":
      return isUtf8(bytes);
    default:
      return false;
  }
}

/** A character of two bytes, the second of which may be a backslash, but no slash and no quote. */
const GBK_PAIR = "[\\x81-\\xfe][\\x40-\\x7e\\x80-\\xfe]";

function isUtf8(bytes: string): boolean {
  try {
    new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(
      Uint8Array.from(bytes, (c) => c.charCodeAt(0)),
    );
    return true;
  } catch {
    return false;
  }
}

/**
 * Looks at all of the text, comments too, as QEMU does: the first createType counts for it, whatever stands between the
 * word and the value.
 */
function findUnsafeType(text: string): string | undefined {
  const words = text.split("createtype").length - 1;
  const [, type = ""] = CREATE_TYPE.exec(text) ?? [];
  if (words === 0) return "its descriptor has no createType";
  if (words > 1) return "it has several createTypes";
  if (!SAFE_TYPES.includes(type)) {
    return "its createType is neither monolithicSparse nor streamOptimized";
  }
  return text.includes("parentfilenamehint") ? "it names a parent disk" : undefined;
}

const CREATE_TYPE = /(?:^|\n)[ \t]*createtype[ \t]*=[ \t]*"([^"\n]*)"[ \t\r]*(?:\n|$)/;

function findUnsafeLine(text: string, encoding: string): string | undefined {
  // The blanks of ASCII alone: others are a part of the text for QEMU.
  const lines = text.split("\n").map((line) => line.replace(/^[ \t\v\f\r]+|[ \t\v\f\r]+$/g, ""));
  const extents = lines.filter((line) => BEGINS_EXTENT.test(line));
  const others = lines.filter((line) => !BEGINS_EXTENT.test(line));
  if (extents.some((line) => line.includes("/"))) return "it names a file of the host";
  const extent = encoding === "gbk" ? GBK_EXTENT : EXTENT;
  if (!extents.every((line) => extent.test(line)) || !others.every(isHarmless)) {
    return "its descriptor has a line that is not understood";
  }
  return extents.length === 0 ? "its descriptor names no extent" : undefined;
}

const BEGINS_EXTENT = /^(?:rw|rdonly|noaccess)(?: |$)/;

/** A whole one: QEMU goes on in the next line for what is missing. */
const EXTENT = extentOf('[^"/\\\\]');
const GBK_EXTENT = extentOf(`(?:${GBK_PAIR}|[^"/\\\\\\x81-\\xfe])`);

function extentOf(character: string): RegExp {
  return new RegExp(`^(?:rw|rdonly|noaccess) +\\d+ +sparse +"${character}*"(?: +\\d+)?$`);
}

/** A comment, a line of the disk database, or `word=value`. */
function isHarmless(line: string): boolean {
  return line === "" || /^(?:#|ddb)/.test(line) || /^[a-z][a-z0-9_.]*[ \t]*=/.test(line);
}

function isPlain(text: string): boolean {
  return /^[\t\n\v\f\r -~]*$/.test(text);
}

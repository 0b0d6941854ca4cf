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

/** What QEMU takes for a descriptor, whatever follows. */
const QEMU_BEGINNING = /^(?:#[^\n]*\n| *\r?\n)*version=[123]\r?\n/;

/** The text in these bytes, which a zero byte ends, as it does for QEMU; bytes beyond ASCII become some other letter. */
export function textOf(bytes: Uint8Array): string {
  const end = bytes.indexOf(0);
  return new TextDecoder("latin1").decode(end < 0 ? bytes : bytes.subarray(0, end));
}

/** Whether data that begins with this text may be a descriptor. */
export function mayBeDescriptor(beginning: string): boolean {
  return (beginning !== "" && isPlain(beginning)) || QEMU_BEGINNING.test(beginning);
}

/**
 * Whether data that is this text is a descriptor: plain ASCII with a `createType` (contract 13 §2). What QEMU opens as
 * one is one in any case: it reads on in any encoding, and to any length.
 */
export function isDescriptor(text: string): boolean {
  return (isPlain(text) && /createtype="/i.test(text)) || QEMU_BEGINNING.test(text);
}

/** A clause that says what is unsafe about a descriptor, if anything is (contract 13 §4). */
export function findUnsafe(descriptor: string): string | undefined {
  const text = descriptor.toLowerCase();
  if (text === "") return "it has no descriptor";
  if (text.length > MAX_DESCRIPTOR_BYTES) return "its descriptor is too long";
  if (!isPlain(text)) return "its descriptor is not plain ASCII text";
  return findUnsafeType(text) ?? findUnsafeLine(text);
}

/**
 * Looks at all of the text, comments too, as QEMU does: the first createType counts for it, whatever stands between the
 * word and the value.
 */
function findUnsafeType(text: string): string | undefined {
  const words = text.split("createtype").length - 1;
  const [, type = ""] = /(?:^|\n)createtype="([^"\n]*)"[ \t\r]*(?:\n|$)/.exec(text) ?? [];
  if (words === 0) return "its descriptor has no createType";
  if (words > 1) return "it has several createTypes";
  if (!SAFE_TYPES.includes(type)) {
    return "its createType is neither monolithicSparse nor streamOptimized";
  }
  return text.includes("parentfilenamehint") ? "it names a parent disk" : undefined;
}

function findUnsafeLine(text: string): string | undefined {
  const lines = text.split("\n").map((line) => line.trim());
  const extents = lines.filter((line) => BEGINS_EXTENT.test(line));
  const others = lines.filter((line) => !BEGINS_EXTENT.test(line));
  if (extents.some((line) => line.includes("/"))) return "it names a file of the host";
  if (!extents.every((line) => EXTENT.test(line)) || !others.every(isHarmless)) {
    return "its descriptor has a line that is not understood";
  }
  return extents.length === 0 ? "its descriptor names no extent" : undefined;
}

const BEGINS_EXTENT = /^(?:rw|rdonly|noaccess)(?: |$)/;

/** A whole one: QEMU goes on in the next line for what is missing. */
const EXTENT = /^(?:rw|rdonly|noaccess) +\d+ +sparse +"[^"/\\]*"(?: +\d+)?$/;

/** A comment, a line of the disk database, or `word=value`. */
function isHarmless(line: string): boolean {
  return line === "" || /^(?:#|ddb)/.test(line) || /^[a-z][a-z0-9_.]*=/.test(line);
}

function isPlain(text: string): boolean {
  return /^[\t\n\v\f\r -~]*$/.test(text);
}

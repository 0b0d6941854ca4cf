import { unpackable } from "./decoder.ts";

/** The one file of an archive. */
export interface ZipFile {
  /** Whether its bytes are compressed by deflate; else they are stored as they are. */
  readonly isDeflated: boolean;
  /** Where its packed bytes lie. */
  readonly dataOffset: number;
  readonly packedBytes: number;
  /** What it is unpacked: bytes and CRC-32. */
  readonly plainBytes: number;
  readonly crc: number;
}

/** Reads some bytes of the archive, one or more; gives fewer when there are no more. */
export type BytesAt = (offset: number, length: number) => Promise<Uint8Array>;

/**
 * Finds the archive's file, of which there must be exactly one; folders do not count. The places of
 * fields are those of PKWARE's APPNOTE.TXT 6.3.10, whose sections are cited.
 */
export async function findOnlyFile(readAt: BytesAt, sizeBytes: number): Promise<ZipFile> {
  const directory = await findDirectory(readAt, sizeBytes);
  if (directory.bytes > MAX_DIRECTORY_BYTES) throw unpackable("zip: it has too many entries.");
  const entries = readEntries(await readFields(readAt, directory.offset, directory.bytes));
  if (entries.length !== directory.entries) throw damaged();
  const files = entries.filter(({ isFolder }) => !isFolder);
  const [file] = files;
  if (file === undefined || files.length > 1) {
    throw unpackable(`zip: it has ${files.length} files, where it must have exactly one.`);
  }
  assertReadable(file);
  const dataOffset = await findData(readAt, file.headerOffset);
  if (dataOffset + file.packedBytes > directory.offset) throw damaged();
  return { ...file, isDeflated: file.method === DEFLATED, dataOffset };
}

// Ample for one file and the folders around it.
const MAX_DIRECTORY_BYTES = 1024 * 1024;

/** Compression methods (§4.4.5). */
const STORED = 0;
const DEFLATED = 8;

/** Flags (§4.4.4): encrypted, strongly encrypted, headers masked. */
const ENCRYPTED = 0x0001 | 0x0040 | 0x2000;

/** A field too small for its value, which is in the ZIP64 fields then (§4.4.1.4). */
const ELSEWHERE_16 = 0xffff;
const ELSEWHERE_32 = 0xffffffff;

interface Directory {
  readonly entries: number;
  readonly bytes: number;
  readonly offset: number;
}

/** End of central directory record (§4.3.16). */
const END = { signature: 0x06054b50, bytes: 22 };
/** ZIP64 end of central directory locator (§4.3.15). */
const LOCATOR = { signature: 0x07064b50, bytes: 20 };
const MAX_COMMENT_BYTES = 0xffff;

async function findDirectory(readAt: BytesAt, sizeBytes: number): Promise<Directory> {
  const tailBytes = Math.min(sizeBytes, LOCATOR.bytes + END.bytes + MAX_COMMENT_BYTES);
  const tail = await readFields(readAt, sizeBytes - tailBytes, tailBytes);
  const at = findEnd(tail);
  const directory = {
    entries: tail.u16(at + 10),
    bytes: tail.u32(at + 12),
    offset: tail.u32(at + 16),
  };
  const isElsewhere =
    directory.entries === ELSEWHERE_16 ||
    directory.bytes === ELSEWHERE_32 ||
    directory.offset === ELSEWHERE_32;
  if (isElsewhere) return readZip64Directory(readAt, tail, at - LOCATOR.bytes);
  // This disk, the directory's disk, and the entries on this disk.
  const isWhole =
    tail.u16(at + 4) === 0 && tail.u16(at + 6) === 0 && tail.u16(at + 8) === directory.entries;
  if (!isWhole) throw unpackable("zip: it is one of several volumes.");
  return directory;
}

/** The record lies at the very end, but for a comment of the length that it tells. */
function findEnd(tail: Fields): number {
  for (let at = tail.length - END.bytes; at >= 0; at--) {
    const isRecord =
      tail.u32(at) === END.signature && at + END.bytes + tail.u16(at + 20) === tail.length;
    if (isRecord) return at;
  }
  throw unpackable("zip: it has no directory at its end; it may be cut off.");
}

/** ZIP64 end of central directory record (§4.3.14). */
const ZIP64_END = { signature: 0x06064b50, bytes: 56 };

async function readZip64Directory(
  readAt: BytesAt,
  tail: Fields,
  locatorAt: number,
): Promise<Directory> {
  tail.expect(locatorAt, LOCATOR.signature);
  const end = await readFields(readAt, tail.u64(locatorAt + 8), ZIP64_END.bytes);
  end.expect(0, ZIP64_END.signature);
  return { entries: end.u64(32), bytes: end.u64(40), offset: end.u64(48) };
}

interface Entry {
  readonly isFolder: boolean;
  readonly flags: number;
  readonly method: number;
  readonly crc: number;
  readonly packedBytes: number;
  readonly plainBytes: number;
  readonly headerOffset: number;
}

/** Central directory header (§4.3.12). */
const ENTRY = { signature: 0x02014b50, bytes: 46 };

function readEntries(fields: Fields): Entry[] {
  const entries: Entry[] = [];
  for (let at = 0; at < fields.length; ) {
    fields.expect(at, ENTRY.signature);
    const nameBytes = fields.u16(at + 28);
    const nameEnd = at + ENTRY.bytes + nameBytes;
    const extraEnd = nameEnd + fields.u16(at + 30);
    entries.push({
      isFolder: nameBytes > 0 && fields.u8(nameEnd - 1) === SLASH,
      flags: fields.u16(at + 8),
      method: fields.u16(at + 10),
      crc: fields.u32(at + 16),
      ...readPlace(fields, at, findZip64Extra(fields, nameEnd, extraEnd)),
    });
    at = extraEnd + fields.u16(at + 32);
  }
  return entries;
}

const SLASH = 0x2f;

/** Of the ZIP64 values only those are there whose own field says so, in this order (§4.5.3). */
function readPlace(fields: Fields, at: number, extra: Fields) {
  let extraAt = 0;
  const value = (fieldAt: number) => {
    const small = fields.u32(fieldAt);
    if (small !== ELSEWHERE_32) return small;
    extraAt += 8;
    return extra.u64(extraAt - 8);
  };
  const plainBytes = value(at + 24);
  const packedBytes = value(at + 20);
  return { plainBytes, packedBytes, headerOffset: value(at + 42) };
}

const ZIP64_EXTRA = 0x0001;

/** The ZIP64 field among the extra ones (§4.5.1), empty when there is none. */
function findZip64Extra(fields: Fields, from: number, to: number): Fields {
  for (let at = from; at + 4 <= to; ) {
    const end = at + 4 + fields.u16(at + 2);
    if (fields.u16(at) === ZIP64_EXTRA) return fields.part(at + 4, Math.min(end, to));
    at = end;
  }
  return fields.part(to, to);
}

function assertReadable({ flags, method, packedBytes, plainBytes }: Entry): void {
  if ((flags & ENCRYPTED) !== 0) throw unpackable("zip: its file is encrypted.");
  if (method !== STORED && method !== DEFLATED) {
    throw unpackable(`zip: its file is compressed by method ${method}; only deflate is supported.`);
  }
  if (method === STORED && packedBytes !== plainBytes) throw damaged();
}

/** Local file header (§4.3.7), followed by a name and extra fields of its own. */
const HEADER = { signature: 0x04034b50, bytes: 30 };

async function findData(readAt: BytesAt, headerOffset: number): Promise<number> {
  const header = await readFields(readAt, headerOffset, HEADER.bytes);
  header.expect(0, HEADER.signature);
  return headerOffset + HEADER.bytes + header.u16(26) + header.u16(28);
}

async function readFields(readAt: BytesAt, offset: number, length: number): Promise<Fields> {
  return new Fields(length === 0 ? new Uint8Array(0) : await readAt(offset, length));
}

/** Numbers in bytes; throws when they lie outside, or are more than can be counted. */
class Fields {
  private readonly view: DataView;

  constructor(private readonly bytes: Uint8Array) {
    this.view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  }

  get length(): number {
    return this.bytes.length;
  }

  u8(at: number): number {
    return this.view.getUint8(this.within(at, 1));
  }

  u16(at: number): number {
    return this.view.getUint16(this.within(at, 2), true);
  }

  u32(at: number): number {
    return this.view.getUint32(this.within(at, 4), true);
  }

  u64(at: number): number {
    const value = Number(this.view.getBigUint64(this.within(at, 8), true));
    if (!Number.isSafeInteger(value)) throw damaged();
    return value;
  }

  expect(at: number, signature: number): void {
    if (this.u32(at) !== signature) throw damaged();
  }

  part(from: number, to: number): Fields {
    return new Fields(this.bytes.subarray(from, to));
  }

  private within(at: number, length: number): number {
    if (at < 0 || at + length > this.bytes.length) throw damaged();
    return at;
  }
}

function damaged() {
  return unpackable("zip: its directory is damaged.");
}

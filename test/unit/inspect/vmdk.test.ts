import { describe, expect, it } from "vitest";
import { vmdk } from "../../../src/inspect/vmdk.ts";
import {
  anMbrDisk,
  aStreamOptimizedVmdk,
  aTextVmdk,
  aVmdk,
  aVmdkDescriptor,
  bytesWith,
  changed,
  concat,
  latin1,
  le32,
  le64,
  type StreamOptimizedVmdkOptions,
  type VmdkDescriptorOptions,
} from "../../support/formats.ts";
import { readAs } from "./read-format.ts";

const AT_END = 0xffff_ffff_ffff_ffffn;

const read = (data: Uint8Array) => readAs(vmdk, data);
const readText = (text: string) => read(latin1(text));
const descriptorOf = (options: VmdkDescriptorOptions) =>
  read(aVmdk({ descriptor: aVmdkDescriptor(options) }));

describe("13 §4 vmdk: descriptors as VMware writes them", () => {
  const utf8 = (text: string) => String.fromCharCode(...new TextEncoder().encode(text));
  const inEncoding = (encoding: string, name: string) =>
    descriptorOf({
      lines: [`encoding="${encoding}"`, `ddb.comment = "${name}"`, `# ${name}`],
      extents: [`RW 2048 SPARSE "${name}.vmdk"`],
    });

  // In GBK the second byte of a character may be that of a backslash.
  it.each([
    ["UTF-8", utf8("Jürgens Platte 磁盘")],
    ["GBK", "\xb4\xc5\xc5\xcc \x81\x5c \xc1\x7c"],
    ["gbk", "\xb4\xc5"],
    ["windows-1252", "J\xfcrgens Platte \x80 \xa0"],
  ])("passes: %s", (encoding, name) => {
    expect(inEncoding(encoding, name)).toMatchObject({ matches: true, danger: undefined });
  });

  it("passes: tabs and blanks around each sign, in a text alone, too", () => {
    const loosen = (text: string) => text.replace(/^(\w+)=/gm, "$1 \t=\t ");
    const loose = loosen(aVmdkDescriptor());
    expect(loose).toContain('createType \t=\t "monolithicSparse"');
    expect(read(aVmdk({ descriptor: loose })).danger).toBeUndefined();
    expect(readText(loose)).toMatchObject({ matches: true, danger: undefined });
    const flat = loosen(aVmdkDescriptor({ createType: "monolithicFlat" }));
    expect(readText(flat)).toMatchObject({ matches: true, danger: { check: "descriptor" } });
  });

  it.each([
    ["UTF-8", "J\xfcrgen"],
    ["GBK", "\xb4"],
    ["GBK", "\xb4 x"],
    ["UTF-16", "\xfe\xff"],
    ["", "J\xfcrgen"],
    ["windows-1252", "\x1b[m"],
  ])("fails: text that is not of the encoding %j: %j", (encoding, name) => {
    expect(inEncoding(encoding, name).danger?.check).toBe("descriptor");
  });

  it.each(["UTF-8", "GBK", "windows-1252"])(
    "fails: a file of the host in %s, whatever stands beside it",
    (encoding) => {
      for (const name of ["\xc3\xa4/etc/passwd", "\x81\x40/../x", "/\xc3\xa4", "\x81/x"]) {
        expect(inEncoding(encoding, name).danger?.check).toBe("descriptor");
      }
      for (const name of ["..\\x", "\xc3\xa4\\\\x"]) {
        if (encoding !== "GBK") expect(inEncoding(encoding, name).danger?.check).toBe("descriptor");
      }
      const lines = [`encoding="${encoding}"`];
      const flat = descriptorOf({ lines, extents: ['RW 1 FLAT "\xc3\xa4.vmdk"'] });
      expect(flat.danger?.check).toBe("descriptor");
    },
  );
});

describe("13 §2 vmdk: recognition", () => {
  it.each([1, 2, 3])("recognises the magic of a sparse file of version %d", (version) => {
    expect(read(aVmdk({ version }))).toMatchObject({ matches: true, danger: undefined });
  });

  it.each([
    ["of version 0", aVmdk({ version: 0 })],
    ["of version 4", aVmdk({ version: 4 })],
    ["whose descriptor is not at byte 512", aVmdk({ descriptorAt: 2 })],
    ["whose descriptor is at a byte beyond numbers", aVmdk({ descriptorAt: AT_END })],
    ["of junk behind the magic (FMT-5)", concat(latin1("KDMV"), new Uint8Array(4096).fill(7))],
    ["cut off behind the magic", latin1("KDMV")],
    ["cut off behind the header", aVmdk().subarray(0, 512)],
  ])("refuses a sparse file %s, whatever is declared", (_, data) => {
    expect(read(data)).toMatchObject({ matches: true, danger: { check: "descriptor" } });
  });

  it.each([
    ["a descriptor", aTextVmdk()],
    ["one in other case", latin1('# x\nCREATETYPE="monolithicflat"\nRW 1 FLAT "x"\n')],
    ["one with Windows line ends", latin1('version=1\r\ncreateType="vmfs"\r\n')],
    ["one with zeros behind it", concat(aTextVmdk(), new Uint8Array(4096))],
    ["a createType behind the first kilobytes", latin1(`${"# x\n".repeat(2000)}createType="vmfs"`)],
  ])("recognises a text: %s", (_, data) => {
    expect(read(data).matches).toBe(true);
  });

  it.each([
    ["nothing", ""],
    ["zeros", "\0".repeat(4096)],
    ["plain text", "The quick brown fox\n".repeat(200)],
    ["long plain text", "The quick brown fox\n".repeat(8000)],
    ["text that speaks of a createType", "its createType, which is monolithicFlat\n"],
    ["bytes with a createType among them", '\x01\x02\xff createType="monolithicFlat"\n'],
    ["text that goes over into bytes", `${"text\n".repeat(200)}\xff\ncreateType="vmfs"\n`],
    ["a createType behind a zero byte", 'text\n\0createType="vmfs"\n'],
    ["the magic elsewhere", "\0KDMV"],
  ])("does not recognise %s", (_, text) => {
    expect(readText(text).matches).toBe(false);
  });

  // QEMU looks at the first lines only, takes any encoding, and reads on to a zero byte.
  it.each([
    ["in another encoding", "# J\xfcrgen\nversion=1\n"],
    ["with control characters", "#\x01\nversion=1\n"],
    [
      "with a zero byte",
      '#\xff createType="vmfs" parentFileNameHint="/etc/passwd" \0\nversion=1\n',
    ],
    ["that is in Windows line ends", "# \xfc\r\n \r\nversion=3\r\n"],
    ["too long to read", `version=1\n${"# filler\n".repeat(10_000)}`],
  ])("refuses what QEMU takes for a descriptor, %s", (_, beginning) => {
    const text = `${beginning}createType="monolithicFlat"\nRW 4 FLAT "/etc/passwd" 0\n`;
    expect(readText(text)).toMatchObject({ matches: true, danger: { check: "descriptor" } });
  });

  it.each([
    ["zeros", new Uint8Array(4096)],
    ["a disk", anMbrDisk()],
    ["binary data without a zero", new Uint8Array(4096).fill(0x9d)],
    ["short text", latin1("text")],
  ])("knows after a sector that it is not %s", (_, data) => {
    expect(read(data).wants.slice(0, 1)).toEqual([{ at: 0, length: 512 }]);
    expect(read(data).wants.length).toBe(data.length < 512 ? 2 : 1);
  });
});

describe("13 §4 vmdk descriptor", () => {
  it.each(["monolithicSparse", "streamOptimized", "MONOLITHICSPARSE", "streamoptimized"])(
    "passes: createType %s",
    (createType) => {
      expect(descriptorOf({ createType }).danger).toBeUndefined();
    },
  );

  it.each([
    "monolithicFlat",
    "twoGbMaxExtentSparse",
    "vmfs",
    "vmfsSparse",
    "fullDevice",
    "custom",
    "",
  ])("fails: createType '%s'", (createType) => {
    expect(descriptorOf({ createType })).toMatchObject({
      danger: {
        check: "descriptor",
        reason: "its createType is neither monolithicSparse nor streamOptimized",
      },
    });
  });

  it.each(["RW", "RDONLY", "NOACCESS", "rw", "rdonly"])("passes: an extent of %s", (access) => {
    const extents = [`${access} 2048 SPARSE "disk.vmdk"`];
    expect(descriptorOf({ extents }).danger).toBeUndefined();
  });

  it.each([
    ["a comment", "# RW 1 FLAT /etc/passwd is what it has not"],
    ["a blank line", "  \t"],
    ["a line of the disk database", 'ddb.comment = "a / b"'],
    ["word=value", "isNativeSnapshot=no"],
    ["word=value with a path in it", "note=/etc/passwd"],
    ["word=value behind blanks", "  encoding=windows-1252\r"],
    ["tabs and blanks around the sign", "word\t = \tvalue"],
  ])("passes: %s", (_, line) => {
    expect(descriptorOf({ lines: [line] }).danger).toBeUndefined();
  });

  it.each([
    ["a line of words", "something else"],
    ["a value of two words", "two words=value"],
    ["another access mode", 'WO 2048 SPARSE "disk.vmdk"'],
    ["an extent with tabs", 'RW\t2048\tFLAT\t"/etc/passwd="'],
  ])("fails: a line that is not understood: %s", (_, line) => {
    expect(descriptorOf({ lines: [line] }).danger).toEqual({
      check: "descriptor",
      reason: "its descriptor has a line that is not understood",
    });
  });

  it.each([
    'RW 4 FLAT "/etc/passwd" 0',
    'RW 4 SPARSE "../other/disk.vmdk"',
    'RDONLY 4 FLAT "a=/b"',
  ])("fails: an extent with a slash: %s", (extent) => {
    const extents = ['RW 2048 SPARSE "disk.vmdk"', extent];
    expect(descriptorOf({ extents }).danger).toEqual({
      check: "descriptor",
      reason: "it names a file of the host",
    });
  });

  it.each([
    ["it names no extent", aVmdk({ descriptor: aVmdkDescriptor({ extents: [] }) })],
    ["it has no createType", aVmdk({ descriptor: 'version=1\nRW 1 SPARSE "x"\n' })],
    ["it is empty", aVmdk({ descriptor: "" })],
    ["the header gives it no room", aVmdk({ descriptorSectors: 0 })],
    ["it is not ASCII", aVmdk({ descriptor: aVmdkDescriptor({ lines: ["# J\xfcrgen"] }) })],
    ["it has control characters", aVmdk({ descriptor: aVmdkDescriptor({ lines: ["# \x1b[m"] }) })],
  ])("fails: %s", (_, data) => {
    expect(read(data)).toMatchObject({ matches: true, danger: { check: "descriptor" } });
  });

  // QEMU takes the first, whatever two characters stand before the value; and it reads an extent over several lines.
  it.each([
    ["an extent over two lines", ["RW 4 VMFS", '"/etc/hostname"=x']],
    ["an extent whose name is in the next line", ["RW 4 SPARSE", '"a.vmdk"=x']],
    ["an extent of another kind", ['RW 4 VMFS "a.vmdk"']],
    ["a createType that is spelt otherwise", ['createType= vmfs"']],
    ["an extent behind a blank that is none of ASCII", ['\xa0RW 4 FLAT "a.vmdk"']],
  ])("fails: %s", (_, lines) => {
    expect(descriptorOf({ lines }).danger?.check).toBe("descriptor");
    expect(read(aVmdk({ descriptor: aVmdkDescriptor({ lines }) })).danger?.check).toBe(
      "descriptor",
    );
  });

  // QEMU takes one for a descriptor alone, and the other for an older kind of VMDK.
  it("fails: a disk of no size, and a disk of VMware ESX", () => {
    expect(read(aVmdk({ capacity: 0 })).danger?.check).toBe("descriptor");
    const old = changed(aVmdk({}), { 0: latin1("COWD") });
    expect(read(old)).toMatchObject({ matches: true, danger: { check: "descriptor" } });
  });

  it("fails: a footer of another capacity than the header", () => {
    const data = aStreamOptimizedVmdk({ capacity: 128 });
    const footerAt = data.length - 1024;
    const other = changed(data, { [footerAt + 12]: le64(2 << 20) });
    expect(read(other).danger).toMatchObject({ check: "footer" });
  });

  // QEMU takes the first that is spelt as it expects.
  it("fails: several createTypes, one of which is not allowed", () => {
    const lines = ['CreateType="monolithicFlat"'];
    expect(descriptorOf({ lines }).danger?.check).toBe("descriptor");
  });

  // QEMU would open the parent, for which no row of the contract asks.
  it.each(['parentFileNameHint="base.vmdk"', '# parentFileNameHint="/var/lib/base.vmdk"'])(
    "fails: a parent disk: %s",
    (line) => {
      expect(descriptorOf({ lines: [line] }).danger).toEqual({
        check: "descriptor",
        reason: "it names a parent disk",
      });
    },
  );

  it("fails: a text that goes on behind the room that the header gives it", () => {
    const descriptor = aVmdkDescriptor({ lines: ["# filler".repeat(100)] });
    expect(read(aVmdk({ descriptor, descriptorSectors: 1 })).danger).toEqual({
      check: "descriptor",
      reason: "its descriptor is too long",
    });
  });

  it("passes: much room for a short text", () => {
    const big = concat(aVmdk({ descriptorSectors: 1n << 40n }), new Uint8Array(100_000));
    expect(read(big).danger).toBeUndefined();
  });

  it("fails: a text without an end", () => {
    const descriptor = aVmdkDescriptor({ lines: Array(10_000).fill("# filler") });
    expect(read(aVmdk({ descriptor })).danger?.reason).toBe("its descriptor is too long");
  });

  it("[ran] fails: a text VMDK naming /etc/passwd", () => {
    expect(read(aTextVmdk()).danger?.check).toBe("descriptor");
    expect(read(aTextVmdk({ createType: "monolithicSparse" })).danger).toEqual({
      check: "descriptor",
      reason: "it names a file of the host",
    });
  });

  it("[ran] fails: a VMDK of monolithicFlat", () => {
    expect(descriptorOf({ createType: "monolithicFlat" }).danger?.check).toBe("descriptor");
  });

  it("passes: a text VMDK of an allowed type, whose size is unknown", () => {
    const data = aTextVmdk({ createType: "monolithicSparse", extents: ['RW 4 SPARSE "x.vmdk"'] });
    expect(read(data)).toMatchObject({ matches: true, danger: undefined, virtualSize: null });
  });

  it("knows of a bad descriptor before the data's end", () => {
    const descriptor = aVmdkDescriptor({ createType: "monolithicFlat" });
    const { wants } = read(aStreamOptimizedVmdk({ descriptor }));
    expect(wants.some((want) => "last" in want)).toBe(false);
  });
});

describe("13 §4 vmdk footer", () => {
  it("passes: a footer that agrees with the header", () => {
    expect(read(aStreamOptimizedVmdk())).toMatchObject({ matches: true, danger: undefined });
  });

  it("passes: streamOptimized without a footer", () => {
    const descriptor = aVmdkDescriptor({ createType: "streamOptimized" });
    const { danger, wants } = read(aVmdk({ descriptor }));
    expect(danger).toBeUndefined();
    expect(wants.some((want) => "last" in want)).toBe(false);
  });

  it.each<[string, StreamOptimizedVmdkOptions]>([
    ["another signature", { footer: { magic: "COWD" } }],
    ["another version", { footer: { version: 1 } }],
    ["another place of the descriptor", { footer: { descriptorAt: 9 } }],
    ["another size of the descriptor", { footer: { descriptorSectors: 9 } }],
  ])("fails: %s than the header's", (_, options) => {
    expect(read(aStreamOptimizedVmdk(options)).danger).toEqual({
      check: "footer",
      reason: "its footer contradicts its header",
    });
  });

  it("fails: it points to another footer", () => {
    const data = aStreamOptimizedVmdk({ footer: { grainDirectoryAt: AT_END } });
    expect(read(data).danger).toEqual({
      check: "footer",
      reason: "its footer points to another footer",
    });
  });

  it.each<[string, Uint8Array]>([
    ["a footer marker with a size", aStreamOptimizedVmdk({ footerMarker: { 8: le32(1) } })],
    ["a footer marker of another type", aStreamOptimizedVmdk({ footerMarker: { 12: le32(2) } })],
    ["a footer marker with more in it", aStreamOptimizedVmdk({ footerMarker: { 511: "x" } })],
    ["an end marker with a value", aStreamOptimizedVmdk({ endMarker: { 0: le64(1) } })],
    ["an end marker with a size", aStreamOptimizedVmdk({ endMarker: { 8: le32(1) } })],
    ["an end marker of another type", aStreamOptimizedVmdk({ endMarker: { 12: le32(3) } })],
    ["an end marker with more in it", aStreamOptimizedVmdk({ endMarker: { 511: "x" } })],
    ["bytes behind the end", concat(aStreamOptimizedVmdk(), new Uint8Array(512))],
    ["no footer at all", aVmdk({ grainDirectoryAt: AT_END })],
    ["data too short for one", aStreamOptimizedVmdk().subarray(0, 1300)],
  ])("fails: %s", (_, data) => {
    expect(read(data).danger).toEqual({
      check: "footer",
      reason: "its footer is not where it has to be",
    });
  });
});

describe("13 §5 vmdk virtual_size", () => {
  it.each([
    [2048, 1_048_576],
    [1, 512],
    [1n << 40n, 2 ** 49],
    [1n << 60n, null],
  ])("is that of a capacity of %s sectors: %s bytes", (capacity, virtualSize) => {
    expect(read(aVmdk({ capacity })).virtualSize).toBe(virtualSize);
    expect(read(aStreamOptimizedVmdk({ capacity })).virtualSize).toBe(virtualSize);
  });

  it("is the header's, whatever lies around it", () => {
    const data = changed(bytesWith(8192, { 0: aVmdk({ capacity: 16 }) }), { 4096: le64(99) });
    expect(read(data).virtualSize).toBe(8192);
  });
});

import { describe, expect, it } from "vitest";
import { gpt } from "../../../src/inspect/gpt.ts";
import {
  aFatFileSystem,
  aGptDisk,
  aHybridIso,
  aKernel,
  anMbrDisk,
  bytesWith,
  changed,
  type DiskOptions,
  LINUX_PARTITION,
  PROTECTIVE_PARTITION,
} from "../../support/formats.ts";
import { readAs } from "./read-format.ts";

/** Code of a boot loader, where a partition table would be. */
const CODE = { 446: "\x66\x31\xc0\x8e\xd8", 470: "\xee" };
const MARK = { 510: "\x55\xaa" };
/** A protective partition in the second slot, which is no good one. */
const PROTECTION = { 466: "\xee" };
const FAT_FIELDS = { 0: "\xeb\x3c\x90", 11: "\x00\x02\x01", 16: "\x02", 21: "\xf8" };

const read = (data: Uint8Array) => readAs(gpt, data);

describe("13 §2 gpt: recognition", () => {
  it.each([
    ["a GPT disk", aGptDisk()],
    ["a disk with an MBR only", anMbrDisk()],
    ["no more than its boot record", anMbrDisk({ length: 512 })],
    ["a hybrid ISO (FMT-8)", aHybridIso()],
    [
      "what has the media byte of a FAT, and is none",
      changed(anMbrDisk(), { 16: "\x02", 21: "\xf8" }),
    ],
    ["what has three FATs", changed(anMbrDisk(), { ...FAT_FIELDS, 16: "\x03" })],
    ["what has a media byte that no FAT has", changed(anMbrDisk(), { ...FAT_FIELDS, 21: "\xf1" })],
  ])("recognises the signature of %s", (_, data) => {
    expect(read(data).matches).toBe(true);
  });

  it.each([
    ["[ran] a FAT boot sector", aFatFileSystem()],
    ...[0xf0, 0xf8, 0xf9, 0xfa, 0xfb, 0xfc, 0xfd, 0xfe, 0xff].flatMap((media) =>
      [1, 2].map((tables): [string, Uint8Array] => [
        `a FAT of media ${media.toString(16)} and ${tables} tables, whose code stands where a table would`,
        changed(aFatFileSystem({ media, tables }), CODE),
      ]),
    ),
    ["exFAT", bytesWith(4096, { 0: "\xeb\x76\x90EXFAT   ", ...CODE, ...MARK })],
    ["NTFS", bytesWith(4096, { 0: "\xeb\x52\x90NTFS    ", ...CODE, ...MARK })],
    ["ext4 with a boot loader", bytesWith(4096, { ...CODE, ...MARK, 1080: "\x53\xef" })],
    ["a Linux kernel", aKernel()],
    ["a Linux kernel whose code looks like a protective partition", changed(aKernel(), PROTECTION)],
    ["a record without partitions", anMbrDisk({ partitions: [] })],
    ["such a record alone", anMbrDisk({ partitions: [], length: 512 })],
    ["such a record with odd flags", changed(anMbrDisk({ partitions: [] }), { 446: "\x7f" })],
    ["the signature's bytes in other order", bytesWith(512, { 510: "\xaa\x55" })],
    ["a record that is cut off", anMbrDisk({ length: 512 }).subarray(0, 511)],
    ["[ran] zeros", new Uint8Array(4096)],
    ["nothing", new Uint8Array(0)],
  ])("does not recognise %s", (_, data) => {
    expect(read(data).matches).toBe(false);
  });
});

describe("13 §4 gpt mbr", () => {
  it.each<[string, DiskOptions["partitions"]]>([
    ["[ran] one Linux partition", [LINUX_PARTITION]],
    ["[ran] a protective partition", [PROTECTIVE_PARTITION]],
    ["a protective partition to boot from", [{ ...PROTECTIVE_PARTITION, boot: 0x80 }]],
    ["four partitions", Array(4).fill({ ...LINUX_PARTITION, boot: 0 })],
    ["one in the last slot", [undefined, undefined, undefined, LINUX_PARTITION]],
    ["several to boot from", [LINUX_PARTITION, LINUX_PARTITION]],
  ])("passes: %s", (_, partitions) => {
    expect(read(anMbrDisk({ partitions: partitions ?? [] }))).toMatchObject({
      matches: true,
      danger: undefined,
    });
  });

  it.each<[string, DiskOptions["partitions"], string]>([
    [
      "[ran] a bad boot flag",
      [{ ...LINUX_PARTITION, boot: 0x7f }],
      "a partition has an impossible boot flag",
    ],
    [
      "a bad boot flag of an empty slot",
      [LINUX_PARTITION, { type: 0, boot: 1 }],
      "a partition has an impossible boot flag",
    ],
    [
      "[ran] GPT plus another partition",
      [PROTECTIVE_PARTITION, LINUX_PARTITION],
      "its protective partition is not the first and only one",
    ],
    [
      "two protective partitions",
      [PROTECTIVE_PARTITION, PROTECTIVE_PARTITION],
      "its protective partition is not the first and only one",
    ],
    [
      "a protective partition behind another",
      [LINUX_PARTITION, PROTECTIVE_PARTITION],
      "its protective partition is not the first and only one",
    ],
    [
      "a protective partition in the second slot",
      [undefined, PROTECTIVE_PARTITION],
      "its protective partition is not the first and only one",
    ],
    ...[
      ["\x01\x02\x00", "0/1/2"],
      ["\x00\x01\x00", "0/0/1"],
      ["\x00\x02\x01", "1/0/2"],
      ["\xfe\xff\xff", "1023/254/63"],
    ].map(([chs = "", place]): [string, DiskOptions["partitions"], string] => [
      `a protective partition at cylinder/head/sector ${place}`,
      [{ ...PROTECTIVE_PARTITION, chs }],
      `its protective partition begins at cylinder/head/sector ${place}, and not at 0/0/2`,
    ]),
    ...[0, 2, 0x100].map((startsAt): [string, DiskOptions["partitions"], string] => [
      `a protective partition at LBA ${startsAt}`,
      [{ ...PROTECTIVE_PARTITION, startsAt }],
      `its protective partition begins with block ${startsAt}, and not with block 1`,
    ]),
  ])("fails: %s", (_, partitions, reason) => {
    expect(read(aGptDisk({ partitions: partitions ?? [] }))).toMatchObject({
      matches: true,
      danger: { check: "mbr", reason },
    });
  });
});

describe("13 §5 gpt virtual_size", () => {
  it.each([512, 4096, 10_000])("is the %d bytes that there are", (length) => {
    expect(read(anMbrDisk({ length })).virtualSize).toBe(length);
  });
});

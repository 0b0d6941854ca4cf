import { describe, expect, it } from "vitest";
import { gpt } from "../../../src/inspect/gpt.ts";
import {
  aFatFileSystem,
  aGptDisk,
  aHybridIso,
  anMbrDisk,
  bytesWith,
  type DiskOptions,
  LINUX_PARTITION,
  PROTECTIVE_PARTITION,
} from "../../support/formats.ts";
import { readAs } from "./read-format.ts";

const read = (data: Uint8Array) => readAs(gpt, data);

describe("13 §2 gpt: recognition", () => {
  it.each([
    ["a GPT disk", aGptDisk()],
    ["a disk with an MBR only", anMbrDisk()],
    ["no more than its boot record", anMbrDisk({ length: 512 })],
    ["a hybrid ISO (FMT-8)", aHybridIso()],
    ["what has two FATs, but not on a fixed disk", aFatFileSystem({ media: 0xf0 })],
    ["what is on a fixed disk, but has not two FATs", aFatFileSystem({ tables: 1 })],
  ])("recognises the signature of %s", (_, data) => {
    expect(read(data).matches).toBe(true);
  });

  it.each([
    ["[ran] a FAT boot sector", aFatFileSystem()],
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
    ["[ran] an empty table", [], "its partition table is empty"],
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
    ...["\x01\x02\x00", "\x00\x01\x00", "\x00\x02\x01"].map(
      (chs): [string, DiskOptions["partitions"], string] => [
        `a protective partition at CHS ${JSON.stringify(chs)}`,
        [{ ...PROTECTIVE_PARTITION, chs }],
        "its protective partition does not start behind the boot record",
      ],
    ),
    ...[0, 2, 0x100].map((startsAt): [string, DiskOptions["partitions"], string] => [
      `a protective partition at LBA ${startsAt}`,
      [{ ...PROTECTIVE_PARTITION, startsAt }],
      "its protective partition does not start behind the boot record",
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

import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { Fault } from "../../../src/domain/fault.ts";
import type { Format } from "../../../src/inspect/format.ts";
import { FORMATS } from "../../../src/inspect/formats.ts";
import { inspectRanges } from "../../../src/inspect/inspect-ranges.ts";
import { Inspector } from "../../../src/inspect/inspector.ts";
import type { InspectionRules } from "../../../src/inspect/verdict.ts";
import {
  aFatFileSystem,
  aFixedVhd,
  aGptDisk,
  aHybridIso,
  aKernel,
  aLuks,
  anIso,
  anMbrDisk,
  aQcow2,
  aQed,
  aStreamOptimizedVmdk,
  aTextVmdk,
  aVdi,
  aVhd,
  aVhdx,
  aVmdk,
  bytesWith,
  changed,
  concat,
  latin1,
  PROTECTIVE_PARTITION,
  QCOW2_EXTENDED_L2,
  QCOW2_EXTERNAL_DATA_FILE,
} from "../../support/formats.ts";

const KIB = 1024;
const STRICT: InspectionRules = { requireMatch: true, formats: FORMATS, toleratedGptChecks: [] };
const LENIENT: InspectionRules = { ...STRICT, requireMatch: false };
const bare = (diskFormat: string | null) => ({ diskFormat, containerFormat: "bare" });

/** What becomes of data: its virtual size, or why it is refused. */
function outcome(
  diskFormat: string,
  data: Uint8Array,
  rules = STRICT,
  chunkBytes = data.length,
): number | null | string {
  const inspector = new Inspector(bare(diskFormat), rules);
  try {
    for (let at = 0; at < data.length; at += Math.max(1, chunkBytes)) {
      inspector.take(data.slice(at, at + chunkBytes));
    }
    return inspector.finish().virtualSize;
  } catch (error) {
    if (error instanceof Fault && error.code === "content_refused") return `415 ${error.text}`;
    throw error;
  }
}

const refused = expect.stringMatching(/^415 The data is refused: /);
const unsafe = (check: string) => expect.stringContaining(`(check ${check})`);

const GOOD: readonly (readonly [string, Uint8Array, number | null])[] = [
  ["qcow2", aQcow2({ virtualSize: (5 << 30) >>> 0 }), (5 << 30) >>> 0],
  ["qcow2", aQcow2({ version: 2, virtualSize: 12_345 }), 12_345],
  ["vhd", aVhd({ virtualSize: 999_424 }), 999_424],
  ["vhdx", aVhdx({ virtualSize: 3 << 20 }), 3 << 20],
  ["vmdk", aVmdk({ capacity: 2048 }), 1 << 20],
  ["vmdk", aStreamOptimizedVmdk({ capacity: 4096 }), 2 << 20],
  ["vdi", aVdi({ virtualSize: 7 << 20 }), 7 << 20],
  ["iso", anIso({ blocks: 300, blockBytes: 2048 }), 300 * 2048],
];

const NOTHING_IN_PARTICULAR: readonly (readonly [string, Uint8Array])[] = [
  ["zeros", new Uint8Array(100 * KIB)],
  ["text", latin1("just some text\n")],
  ["a fixed VHD", aFixedVhd()],
  ["a FAT file system", aFatFileSystem()],
  ["a kernel", aKernel()],
  ["a boot record without partitions", anMbrDisk({ partitions: [] })],
  ["an initial ramdisk", bytesWith(4 * KIB, { 0: "\x1f\x8b\x08" })],
  ["a unified kernel image", bytesWith(4 * KIB, { 0: "MZ", 60: "\x80", 128: "PE\0\0" })],
];

const UNSAFE: readonly (readonly [string, Uint8Array, string])[] = [
  ["qcow2 backing_file", aQcow2({ backingFileAt: 512 }), "backing_file"],
  ["qcow2 data_file", aQcow2({ features: QCOW2_EXTERNAL_DATA_FILE }), "data_file"],
  ["qcow2 unknown_features", aQcow2({ features: QCOW2_EXTENDED_L2 }), "unknown_features"],
  ["qcow2 unknown_features", aQcow2({ features: 1n << 63n }), "unknown_features"],
  ["qcow2 of version 1", aQcow2({ version: 1 }), "unknown_features"],
  ["qcow2 of version 4", aQcow2({ version: 4 }), "unknown_features"],
  ["qcow2 cut off in its header", aQcow2().slice(0, 100), "unknown_features"],
  ["qed banned", aQed(), "banned"],
  ["vmdk descriptor", aTextVmdk(), "descriptor"],
  ["luks version", aLuks({ version: 2 }), "version"],
  ["gpt mbr: a bad boot flag", anMbrDisk({ partitions: [{ type: 0x83, boot: 1 }] }), "mbr"],
  [
    "gpt mbr: a GPT with another partition",
    aGptDisk({ partitions: [PROTECTIVE_PARTITION, { type: 0x83, startsAt: 2048 }] }),
    "mbr",
  ],
];

describe("what bears the mark of a boot record and is no disk", () => {
  const doors = [
    ["a kernel", { 510: "\x55\xaa\xeb\x6aHdrS" }],
    ["a record without partitions", { 510: "\x55\xaa" }],
    [
      "ext4 with a boot loader",
      { 446: "\x66\x31", 450: "\xee", 510: "\x55\xaa", 1080: "\x53\xef" },
    ],
  ] as const;

  it.each(["aki", "ari", "ami", "raw", "ploop"])("13 §3: a kernel is taken as %s", (declared) => {
    expect(outcome(declared, aKernel())).toBe(declared === "raw" ? 8 * KIB : null);
    expect(outcome("qcow2", aKernel())).toContain("of no format that is recognised");
    expect(outcome("gpt", aKernel())).toEqual(refused);
  });

  it.each(UNSAFE.filter(([name]) => !name.startsWith("gpt") && !name.includes("cut off")))(
    "13 §4: %s stays refused with such a mark within",
    (_, data, check) => {
      for (const [, marks] of doors) {
        const planted = changed(concat(data, new Uint8Array(4 * KIB)), marks);
        for (const declared of ["raw", "aki", "ari", "ami", "qcow2", "vmdk"]) {
          for (const rules of [STRICT, LENIENT]) {
            expect(outcome(declared, planted, rules)).toEqual(unsafe(check));
          }
        }
      }
    },
  );
});

describe("13 §3 verdict", () => {
  it.each(GOOD)(
    "FMT-1, 13 §5: %s of its own format is accepted, with its virtual size",
    (name, data, size) => {
      expect(outcome(name, data)).toBe(size);
    },
  );

  it.each(["qcow2", "vhd", "vhdx", "vmdk", "vdi", "iso"])(
    "FMT-2: %s refuses anything else, plain bytes too",
    (declared) => {
      const others = GOOD.filter(([name]) => name !== declared).map(([, data]) => data);
      for (const data of [
        ...others,
        ...NOTHING_IN_PARTICULAR.map(([, data]) => data),
        new Uint8Array(0),
      ]) {
        expect(outcome(declared, data)).toEqual(refused);
      }
    },
  );

  it.each(NOTHING_IN_PARTICULAR)("FMT-3, 13 §3 raw: %s is a raw disk of its length", (_, data) => {
    expect(outcome("raw", data)).toBe(data.length);
  });

  it("FMT-3: no bytes are a raw disk of unknown size", () => {
    expect(outcome("raw", new Uint8Array(0))).toBeNull();
  });

  it.each([
    ...GOOD,
    ["luks", aLuks(), 0],
    ["gpt", aGptDisk(), 0],
    ["mbr", anMbrDisk(), 0],
  ] as const)("FMT-4, 13 §3 raw, other: takes safe %s as a disk of its length", (_, data) => {
    expect(outcome("raw", data)).toBe(data.length);
  });

  it.each(UNSAFE)(
    "FMT-5, 13 §4 %s: refused as raw, as itself, and where formats need not match",
    (what, data, check) => {
      const [format = ""] = what.split(/[ :]/);
      for (const rules of [STRICT, LENIENT]) {
        expect(outcome("raw", data, rules)).toEqual(unsafe(check));
        expect(outcome(format, data, rules)).toEqual(unsafe(check));
      }
    },
  );

  it.each(["ami", "ari", "aki", "ploop"])(
    "FMT-6, FMT-7, 13 §3 not inspectable: %s takes what is nothing in particular, of unknown size, and nothing else",
    (declared) => {
      for (const [, data] of NOTHING_IN_PARTICULAR) expect(outcome(declared, data)).toBeNull();
      for (const [, data] of GOOD) expect(outcome(declared, data)).toEqual(refused);
      expect(outcome(declared, anMbrDisk())).toEqual(refused);
    },
  );

  it("FMT-8, 13 §3 raw, iso+gpt hybrid: takes a CD with a partition table as iso, and as raw, too", () => {
    const hybrid = aHybridIso({ blocks: 100, blockBytes: 2048 });
    expect(outcome("iso", hybrid)).toBe(204_800);
    expect(outcome("raw", hybrid)).toBe(hybrid.length);
    expect(outcome("gpt", hybrid)).toEqual(refused);
  });

  it("13 §2 any other pair, 13 §3 ambiguous: refuses what is several formats at once", () => {
    const both = changed(aQcow2({ length: 64 * KIB }), {
      510: latin1("\x55\xaa"),
      446: anMbrDisk().slice(446, 510),
    });
    for (const declared of ["qcow2", "raw", "gpt", "ami"]) {
      expect(outcome(declared, both)).toMatch(/several formats at once: qcow2, gpt/);
    }
    expect(outcome("qcow2", both, LENIENT)).toBeNull();
  });

  it("13 §3 good qcow2: qcow2 and raw take it, vmdk and ami do not", () => {
    const data = aQcow2();
    expect(["qcow2", "raw"].map((name) => typeof outcome(name, data))).toEqual([
      "number",
      "number",
    ]);
    expect(["vmdk", "ami"].map((name) => outcome(name, data))).toEqual([refused, refused]);
  });

  it("HSH-3, 13 §3 require_image_format_match false: takes a mismatch, of unknown size", () => {
    expect(outcome("qcow2", latin1("text"), LENIENT)).toBeNull();
    expect(outcome("vmdk", aQcow2(), LENIENT)).toBeNull();
    expect(outcome("qcow2", aQcow2({ virtualSize: 4096 }), LENIENT)).toBe(4096);
  });

  it("13 §3 inspector crashed: is refused, unless formats need not match", () => {
    const broken: Format = {
      name: "broken",
      // biome-ignore lint/correctness/useYield: it does not come that far.
      *detect() {
        throw new Error("a bug");
      },
    };
    const stuck: Format = {
      name: "stuck",
      *detect() {
        for (;;) yield { at: 0, length: 1 };
      },
    };
    for (const format of [broken, stuck]) {
      const rules = { ...STRICT, formats: [format] };
      expect(outcome("raw", latin1("x"), rules)).toContain("could not be made out");
      expect(outcome("raw", latin1("x"), { ...rules, requireMatch: false })).toBe(1);
    }
  });

  it("13 §1 gpt_safety_checks_nonfatal: tolerates what is listed", () => {
    const rules = { ...STRICT, toleratedGptChecks: ["mbr"] };
    const odd = anMbrDisk({ partitions: [{ type: 0x83, boot: 1 }] });
    expect(outcome("raw", odd, rules)).toBe(odd.length);
    expect(outcome("raw", aLuks({ version: 2 }), rules)).toEqual(unsafe("version"));
  });

  it("13 §4 gpt mbr: does not matter to a CD", () => {
    const odd = changed(anIso(), { 510: latin1("\x55\xaa") });
    expect(outcome("iso", odd)).toEqual(expect.any(Number));
  });

  it("13 §1 container_format, HSH-2: looks at nothing in other containers", () => {
    const inspector = new Inspector({ diskFormat: "qcow2", containerFormat: "ova" }, STRICT);
    inspector.take(aQcow2({ backingFileAt: 512 }));
    expect(inspector.finish()).toEqual({
      isAccepted: true,
      virtualSize: null,
      detected: undefined,
    });
  });

  it("13 §5 unknown or 0: stays unknown", () => {
    expect(outcome("qcow2", aQcow2({ virtualSize: 0 }))).toBeNull();
    expect(outcome("qcow2", aQcow2({ virtualSize: 2n ** 63n }))).toBeNull();
    expect(outcome("iso", anIso({ type: 0 }))).toBeNull();
  });

  it("tells what it detected", () => {
    const inspector = new Inspector(bare("raw"), STRICT);
    inspector.take(aVdi());
    expect(inspector.finish()).toMatchObject({ detected: "vdi" });
  });
});

describe("13 §2 match rules", () => {
  it.each([
    ["qed", bytesWith(600, { 0: latin1("QED\0") }), "banned"],
    ["luks", bytesWith(600, { 0: latin1("LUKS\xba\xbe\0\x02") }), "version"],
  ])("recognises %s by its mark", (_, data, check) => {
    expect(outcome("raw", data)).toEqual(unsafe(check));
  });

  it.each([
    ["vhdx without its region table", changed(aVhdx(), { [192 * KIB]: latin1("xxxx") })],
    ["vdi of another mark", changed(aVdi(), { 64: latin1("\0") })],
    ["vhd of another mark", changed(aVhd(), { 0: latin1("C") })],
    ["iso of another mark", changed(anIso(), { 32769: latin1("X") })],
  ])("13 §2: takes %s for nothing in particular", (_, data) => {
    expect(outcome("raw", data)).toBe(data.length);
    expect(outcome("ami", data)).toBeNull();
  });

  it.each(["NSR02", "NSR03"])("13 §2 iso: knows the mark %s", (identifier) => {
    expect(outcome("ami", anIso({ identifier }))).toEqual(refused);
  });
});

describe("bytes as they come", () => {
  const samples = [
    ...GOOD.map(([name, data]) => [name, data] as const),
    ...UNSAFE.map(([, data]) => ["raw", data] as const),
  ];

  it("13 §2: the verdict is the same however the data is cut", () => {
    fc.assert(
      fc.property(
        fc.constantFrom(...samples),
        fc.integer({ min: 1, max: 70_000 }),
        ([name, data], chunkBytes) => {
          const chunk = data.length > 100 * KIB ? Math.max(chunkBytes, 1000) : chunkBytes;
          expect(outcome(name, data, STRICT, chunk)).toEqual(outcome(name, data));
        },
      ),
    );
  });

  it("the verdict is the same where the data is read from any place on, in few reads", async () => {
    for (const [name, data] of samples) {
      const reads: number[] = [];
      const read = async ({ offset, length }: { offset: number; length: number }) => {
        reads.push(length);
        return data.slice(offset, offset + length);
      };
      const found = await inspectRanges(data.length, read, bare(name), STRICT).then(
        ({ virtualSize }) => virtualSize,
        (fault: Fault) => `415 ${fault.text}`,
      );
      expect([name, found]).toEqual([name, outcome(name, data)]);
      expect(reads.length).toBeLessThanOrEqual(4);
      expect(Math.max(...reads)).toBeLessThanOrEqual(64 * KIB);
    }
  });

  it.each(UNSAFE)("%s is refused within its first 64 KiB, byte by byte", (_, data, check) => {
    const inspector = new Inspector(bare("raw"), STRICT);
    const long = new Uint8Array(64 * KIB);
    long.set(data.subarray(0, 64 * KIB));
    const feed = () => {
      for (const byte of long) inspector.take(Uint8Array.of(byte));
    };
    // Text is known to be a descriptor only when it has ended.
    if (data.length < 512) expect(outcome("raw", data)).toEqual(unsafe(check));
    else expect(feed).toThrow(expect.objectContaining({ code: "content_refused" }));
  });
});

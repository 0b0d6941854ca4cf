import { execFile } from "node:child_process";
import { createHash } from "node:crypto";
import { createReadStream } from "node:fs";
import { mkdtemp, open, readFile, rm, stat, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { Fault } from "../../src/domain/fault.ts";
import { FORMATS } from "../../src/inspect/formats.ts";
import { inspectRanges } from "../../src/inspect/inspect-ranges.ts";
import { Inspector } from "../../src/inspect/inspector.ts";
import { makeIso } from "./bootable.ts";

// Real files in every format and option that Debian's qemu-img writes, each held against what `qemu-img info` says.

const run = promisify(execFile);
const MiB = 1024 ** 2;
const rules = { requireMatch: true, formats: FORMATS, toleratedGptChecks: [] };

let dir: string;
let disk: string;

beforeAll(async () => {
  dir = await mkdtemp(join(tmpdir(), "glimpse-corpus-"));
  disk = join(dir, "disk.raw");
  // Something to convert: a disk with data here and there.
  const bytes = new Uint8Array(5 * MiB + 512);
  for (let at = 0; at < bytes.length; at += 4099) bytes[at] = at % 251;
  await writeFile(disk, bytes);
});

afterAll(() => rm(dir, { recursive: true, force: true }));

const qemuImg = (...args: string[]) => run("qemu-img", args, { cwd: dir });

interface Info {
  readonly format: string;
  readonly "virtual-size": number;
}

async function infoOf(file: string, ...args: string[]): Promise<Info> {
  const { stdout } = await qemuImg("info", "--output=json", ...args, file);
  return JSON.parse(stdout) as Info;
}

/** What becomes of a file as a stream, and as something to be read from any place on, which must be the same. */
async function inspected(file: string, diskFormat: string): Promise<number | null | string> {
  const formats = { diskFormat, containerFormat: "bare" };
  const inspector = new Inspector(formats, rules);
  const streaming = async () => {
    for await (const chunk of createReadStream(file, { highWaterMark: MiB / 2 })) {
      inspector.take(chunk as Uint8Array);
    }
    return inspector.finish();
  };
  const streamed = outcomeOf(streaming());
  const handle = await open(file);
  const { size } = await handle.stat();
  const ranged = inspectRanges(
    size,
    async ({ offset, length }) => {
      const { buffer, bytesRead } = await handle.read(Buffer.alloc(length), 0, length, offset);
      return buffer.subarray(0, bytesRead);
    },
    formats,
    rules,
  );
  const [one, other] = await Promise.all([streamed, outcomeOf(ranged)]);
  await handle.close();
  expect(other).toEqual(one);
  return one ?? null;
}

function outcomeOf(work: Promise<{ virtualSize: number | null }>) {
  return work.then(
    ({ virtualSize }) => virtualSize,
    (error: unknown) => {
      if (error instanceof Fault && error.code === "content_refused") return error.text;
      throw error;
    },
  );
}

let made = 0;

/** Makes a file by `qemu-img create`, or by `convert` of the disk. */
async function make(how: "create" | "convert", format: string, options = "", size = "5242880") {
  made += 1;
  const file = join(dir, `${made}.${format}`);
  const given = options === "" ? [] : ["-o", options];
  if (how === "create") await qemuImg("create", "-q", "-f", format, ...given, file, size);
  else await qemuImg("convert", "-f", "raw", "-O", format, ...given, disk, file);
  return file;
}

/** By qemu-img's name: ours, and options. */
const SAFE: Readonly<
  Record<string, { readonly name: string; readonly options: readonly string[] }>
> = {
  qcow2: {
    name: "qcow2",
    options: [
      ...["", "compat=0.10", "compat=1.1", "compat=1.1,lazy_refcounts=on", "compression_type=zstd"],
      ...["cluster_size=512", "cluster_size=2M", "refcount_bits=1", "preallocation=metadata"],
      ...["preallocation=falloc", "preallocation=full", "compat=0.10,cluster_size=4096"],
      ...["refcount_bits=64", "data_file_raw=off", "compat=0.10,compression_type=zlib"],
    ],
  },
  vpc: { name: "vhd", options: ["", "subformat=dynamic", "subformat=dynamic,force_size=on"] },
  vhdx: {
    name: "vhdx",
    options: [
      "",
      "subformat=fixed",
      "block_size=1M",
      "block_size=256M",
      "log_size=2M",
      "block_state_zero=off",
    ],
  },
  vdi: { name: "vdi", options: ["", "static=on"] },
  vmdk: {
    name: "vmdk",
    options: [
      ...["", "subformat=monolithicSparse", "subformat=streamOptimized", "compat6=on"],
      ...["adapter_type=lsilogic", "adapter_type=buslogic", "adapter_type=legacyESX"],
      ...["hwversion=7", "zeroed_grain=on"],
    ],
  },
};

const safe = Object.entries(SAFE).flatMap(([format, { name, options }]) =>
  options.flatMap((option) =>
    (["create", "convert"] as const).map((how) => [how, format, option, name] as const),
  ),
);

describe("files of qemu-img", () => {
  it.each(safe)(
    "13 §5: %s -f %s -o '%s' is %s, of the size that it says",
    async (how, format, option, name) => {
      const file = await make(how, format, option);
      const info = await infoOf(file);
      expect(info.format).toBe(format);
      expect(await inspected(file, name)).toBe(info["virtual-size"]);
      // As raw it is taken for what it is: bytes.
      expect(await inspected(file, "raw")).toBe((await stat(file)).size);
      const other = name === "qcow2" ? "vmdk" : "qcow2";
      expect(await inspected(file, other)).toContain(`it is ${name}, not ${other}`);
    },
  );

  it.each(["qcow2", "vhdx", "vdi", "vmdk", "vpc"])(
    "13 §5: %s tells sizes from one sector to terabytes",
    async (format) => {
      for (const size of ["1", "511", "512", "513", "1M", "1073742336", "3T"]) {
        if (format === "vpc" && size === "3T") continue;
        const file = await make("create", format, "", size);
        const info = await infoOf(file);
        expect([size, await inspected(file, SAFE[format]?.name ?? "")]).toEqual([
          ...[size, info["virtual-size"]],
        ]);
      }
    },
  );

  it.each(["qcow2", "vhdx", "vdi", "vpc"])(
    "13 §5 unknown or 0: takes %s without a disk, of unknown size",
    async (format) => {
      const file = await make("create", format, "", "0");
      expect((await infoOf(file))["virtual-size"]).toBe(0);
      expect(await inspected(file, SAFE[format]?.name ?? "")).toBeNull();
    },
  );

  it("13 §4 vmdk: refuses one without a disk, which qemu-img makes and does not open", async () => {
    const file = await make("create", "vmdk", "", "0");
    await expect(infoOf(file)).rejects.toThrow();
    expect(await inspected(file, "vmdk")).toContain("its disk has no size");
  });

  it.each(["qcow2", "vmdk"])("13 §5: takes a compressed %s", async (format) => {
    const options = format === "qcow2" ? "compression_type=zstd" : "subformat=streamOptimized";
    const file = join(dir, `compressed.${format}`);
    await qemuImg("convert", "-c", "-f", "raw", "-O", format, "-o", options, disk, file);
    expect(await inspected(file, format)).toBe((await infoOf(file))["virtual-size"]);
  });

  it("13 §4 qcow2: takes one with snapshots, bitmaps, another size, and one not closed", async () => {
    const file = await make("convert", "qcow2", "lazy_refcounts=on");
    await qemuImg("bitmap", "--add", file, "changes");
    await qemuImg("snapshot", "-c", "before", file);
    await qemuImg("bitmap", "--remove", file, "changes");
    await qemuImg("resize", "-q", file, "64M");
    await qemuImg("bitmap", "--add", file, "later");
    // It ends in the middle, and the image is marked as dirty: an incompatible feature.
    await expect(run("qemu-io", ["-c", "write 1M 1M", "-c", "abort", file])).rejects.toThrow();
    const header = await readFile(file);
    expect(header.readBigUInt64BE(72)).toBe(1n);
    expect(await inspected(file, "qcow2")).toBe(64 * MiB);
  });

  it("13 §2 vhd: takes a fixed one, whose mark is at its end, for raw", async () => {
    const file = await make("create", "vpc", "subformat=fixed,force_size=on");
    expect((await infoOf(file, "-f", "vpc")).format).toBe("vpc");
    expect(await inspected(file, "vhd")).toContain("of no format that is recognised");
    expect(await inspected(file, "raw")).toBe((await stat(file)).size);
  });

  /** It measures the time that its key derivation takes, and now and then fails to. */
  async function encrypt(...args: string[]): Promise<void> {
    const secret = ["--object", "secret,id=s,data=secret"];
    for (let tries = 1; ; tries++) {
      try {
        await qemuImg("create", "-q", ...secret, ...args, "1M");
        return;
      } catch (error) {
        if (tries === 20) throw error;
      }
    }
  }

  it("13 §4 qcow2: takes an encrypted one, which has all it needs within", async () => {
    const file = join(dir, "encrypted.qcow2");
    const options = "encrypt.format=luks,encrypt.key-secret=s,encrypt.iter-time=10";
    await encrypt("-f", "qcow2", "-o", options, file);
    expect(await inspected(file, "qcow2")).toBe(MiB);
  });

  it("13 §4 qcow2: takes one of the old encryption, too", async () => {
    const secret = ["--object", "secret,id=s,data=secret"];
    const file = join(dir, "aes.qcow2");
    const options = "encrypt.format=aes,encrypt.key-secret=s";
    await qemuImg("create", "-q", ...secret, "-f", "qcow2", "-o", options, file, "1M");
    expect(await inspected(file, "qcow2")).toBe(MiB);
  });

  it("13 §4 luks: takes version 1, as raw", async () => {
    const file = join(dir, "disk.luks");
    const options = "key-secret=s,iter-time=10";
    await encrypt("-f", "luks", "-o", options, file);
    expect((await infoOf(file)).format).toBe("luks");
    expect(await inspected(file, "raw")).toBe((await stat(file)).size);
    expect(await inspected(file, "luks")).toBe(MiB);
  });

  it.each([
    ["create", "qcow2", "extended_l2=on,cluster_size=128k", "unknown_features"],
    ["create", "qcow2", "data_file=data.bin", "data_file"],
    ["create", "qcow2", "data_file=data2.bin,data_file_raw=on", "data_file"],
    ["create", "qcow", "", "unknown_features"],
    ["create", "qed", "", "banned"],
    ["convert", "qed", "cluster_size=65536", "banned"],
    ["create", "vmdk", "subformat=monolithicFlat", "descriptor"],
    ["create", "vmdk", "subformat=twoGbMaxExtentSparse", "descriptor"],
    ["create", "vmdk", "subformat=twoGbMaxExtentFlat", "descriptor"],
  ] as const)(
    "13 §4: %s -f %s -o '%s' fails %s, as raw too",
    async (how, format, option, check) => {
      const file = await make(how, format, option);
      const name = format === "qcow" ? "qcow2" : format;
      for (const declared of [name, "raw", "ami"]) {
        expect(await inspected(file, declared)).toContain(`(check ${check})`);
      }
    },
  );

  it.each([
    ["qcow2", "backing_file"],
    ["qed", "banned"],
    ["vmdk", "descriptor"],
  ])("13 §4: a %s with a backing file fails %s", async (format, check) => {
    const base = await make("create", format);
    const file = join(dir, `overlay.${format}`);
    await qemuImg("create", "-q", "-f", format, "-b", base, "-F", format, file);
    expect(await inspected(file, "raw")).toContain(`(check ${check})`);
  });

  it("13 §4 vmdk: of one in several files, refuses the sparse ones, and takes a flat one for raw", async () => {
    const sparse = join(dir, "split.vmdk");
    await qemuImg(
      "create",
      "-q",
      "-f",
      "vmdk",
      "-o",
      "subformat=twoGbMaxExtentSparse",
      sparse,
      "3G",
    );
    for (const part of ["split-s001.vmdk", "split-s002.vmdk"]) {
      expect(await inspected(join(dir, part), "vmdk")).toContain("(check descriptor)");
      expect(await inspected(join(dir, part), "raw")).toContain("(check descriptor)");
    }
    const flat = join(dir, "flat.vmdk");
    await qemuImg("create", "-q", "-f", "vmdk", "-o", "subformat=monolithicFlat", flat, "1M");
    expect(await inspected(join(dir, "flat-flat.vmdk"), "raw")).toBe(MiB);
    expect(await inspected(join(dir, "flat-flat.vmdk"), "vmdk")).toContain("of no format");
  });

  it("13 §4 backing_file: refuses one that was rebased without its backing file", async () => {
    const file = await make("create", "qcow2");
    await qemuImg("rebase", "-u", "-b", "/etc/passwd", "-F", "raw", file);
    expect(await inspected(file, "qcow2")).toContain("(check backing_file)");
    await qemuImg("rebase", "-u", "-b", "", file);
    expect(await inspected(file, "qcow2")).toBe(5 * MiB);
  });

  // Marks of what is taken though it looks like a boot record, planted where they do not keep QEMU from opening the file.
  const DOORS = {
    "a kernel": [[510, "\x55\xaa\xeb\x6aHdrS"]],
    "a record without partitions": [[510, "\x55\xaa"]],
    "ext4 with a boot loader": [
      [450, "\xee"],
      [510, "\x55\xaa"],
      [1080, "\x53\xef"],
    ],
  } as const;

  it.each(Object.keys(DOORS) as (keyof typeof DOORS)[])(
    "13 §4: nothing that QEMU opens with a backing file or extents comes in as %s",
    async (door) => {
      const base = await make("create", "qcow2");
      const parent = await make("create", "vmdk");
      const files: (readonly [string, string])[] = [];
      for (const [format, options, backing] of [
        ["qcow2", "", base],
        ["qcow2", "compat=0.10", base],
        ["qcow2", "data_file=door.bin", undefined],
        ["qed", "", base],
        ["vmdk", "", parent],
        ["vmdk", "subformat=monolithicFlat", undefined],
        ["vmdk", "subformat=twoGbMaxExtentSparse", undefined],
        ["qcow", "", base],
      ] as const) {
        made += 1;
        const file = join(dir, `door-${made}.${format}`);
        const from = backing === undefined ? ["1M"] : [];
        const on =
          backing === undefined ? [] : ["-b", backing, "-F", backing === parent ? "vmdk" : "qcow2"];
        const given = options === "" ? [] : ["-o", options];
        await qemuImg("create", "-q", "-f", format, ...given, ...on, file, ...from);
        files.push([format, file]);
      }
      let opened = 0;
      for (const [format, file] of files) {
        const handle = await open(file, "r+");
        for (const [at, mark] of DOORS[door])
          await handle.write(Buffer.from(mark, "latin1"), 0, mark.length, at);
        await handle.close();
        const isOpened = await infoOf(file).then(
          (info) => info.format === format,
          () => false,
        );
        opened += isOpened ? 1 : 0;
        for (const declared of ["raw", "aki", "ari", "ami", format]) {
          const outcome = await inspected(file, declared);
          expect([file, declared, outcome]).toEqual([
            file,
            declared,
            expect.stringContaining("(check "),
          ]);
        }
      }
      // It is about files that QEMU still opens.
      expect(opened).toBeGreaterThan(3);
    },
  );

  it("13 §3 not inspectable: takes a kernel as aki, ari, ami and raw, and as nothing else", async () => {
    const file = "/usr/lib/debian-installer/images/12/amd64/text/debian-installer/amd64/linux";
    const { size } = await stat(file);
    expect((await infoOf(file)).format).toBe("raw");
    for (const declared of ["aki", "ari", "ami"])
      expect(await inspected(file, declared)).toBeNull();
    expect(await inspected(file, "raw")).toBe(size);
    expect(await inspected(file, "qcow2")).toContain("of no format that is recognised");
  });

  it("13 §3 raw: takes file systems with their boot sectors", async () => {
    for (const [command, ...args] of [
      ["mkfs.fat", "-C"],
      ["mkfs.fat", "-M", "0xf0", "-C"],
      ["mkfs.fat", "-F", "32", "-M", "0xfa", "-C"],
    ] as const) {
      made += 1;
      const file = join(dir, `${made}.fat`);
      await run(`/usr/sbin/${command}`, [...args, file, "40000"]);
      expect(await inspected(file, "raw")).toBe((await stat(file)).size);
      expect(await inspected(file, "ami")).toBeNull();
    }
  });

  it.each(["parallels", "raw"])("13 §2: takes %s for nothing in particular", async (format) => {
    const file = await make("create", format);
    expect(await inspected(file, "raw")).toBe((await stat(file)).size);
    expect(await inspected(file, "ami")).toBeNull();
    expect(await inspected(file, "qcow2")).toContain("of no format that is recognised");
  });
});

describe("files of other tools", () => {
  async function cd(...args: string[]): Promise<string> {
    made += 1;
    const file = join(dir, `${made}.iso`);
    const tree = await mkdtemp(join(dir, "tree-"));
    await writeFile(join(tree, "hello.txt"), "hello\n");
    await run("xorriso", ["-as", "mkisofs", "-quiet", "-o", file, ...args, tree]);
    return file;
  }

  it.each([
    ["a CD", []],
    [
      "a CD with Joliet and a GPT",
      ["-J", "-appended_part_as_gpt", "-append_partition", "2", "0xef", "/etc/hostname"],
    ],
  ])("13 §3 iso: takes %s of xorriso, as iso and as raw", async (_, args) => {
    const file = await cd(...args);
    await expectCd(file);
  });

  it("13 §3 iso: takes Debian's installer, which boots as a disk, too", async () => {
    await expectCd(await makeIso(dir));
  });

  it("13 §3 raw: takes an ext4 file system, which has no boot record", async () => {
    const file = join(dir, "ext4.raw");
    await run("/usr/sbin/mke2fs", ["-q", "-t", "ext4", file, "8M"]);
    expect(await inspected(file, "raw")).toBe(8 * MiB);
    expect(await inspected(file, "ami")).toBeNull();
  });

  it.each(["mbr.bin", "gptmbr.bin", "altmbr.bin"])(
    "13 §4 gpt mbr: takes a disk that %s of syslinux boots, with a partition and without",
    async (name) => {
      const file = join(dir, `${name}.raw`);
      const bytes = new Uint8Array(2 * MiB);
      bytes.set(await readFile(`/usr/lib/syslinux/mbr/${name}`));
      bytes.set([0x55, 0xaa], 510);
      await writeFile(file, bytes);
      expect(await inspected(file, "raw")).toBe(2 * MiB);
      expect(await inspected(file, "ami")).toBeNull();
      // A partition of Linux, active, from sector 2048 on.
      bytes.set([0x80, 0x20, 0x21, 0, 0x83, 0x41, 0x01, 0, 0, 8, 0, 0, 0, 8, 0, 0], 446);
      await writeFile(file, bytes);
      expect(await inspected(file, "raw")).toBe(2 * MiB);
      expect(await inspected(file, "gpt")).toBe(2 * MiB);
      expect(await inspected(file, "ami")).toContain("it is gpt, not ami");
    },
  );

  async function expectCd(file: string): Promise<void> {
    const bytes = await readFile(file);
    const blocks = bytes.readUInt32LE(32768 + 80);
    expect(await inspected(file, "iso")).toBe(blocks * 2048);
    expect(await inspected(file, "raw")).toBe(bytes.length);
    expect(await inspected(file, "qcow2")).toContain("it is iso, not qcow2");
  }
});

it("inspection takes less than a twentieth of the time that the hashes of the same bytes take", () => {
  const chunk = new Uint8Array(MiB / 2);
  const timed = (work: () => void) => {
    const startedAt = process.hrtime.bigint();
    for (let round = 0; round < 256; round++) work();
    return Number(process.hrtime.bigint() - startedAt);
  };
  const inspector = new Inspector({ diskFormat: "raw", containerFormat: "bare" }, rules);
  const [md5, sha512] = [createHash("md5"), createHash("sha512")];
  const hashing = timed(() => {
    md5.update(chunk);
    sha512.update(chunk);
  });
  const inspecting = timed(() => inspector.take(chunk));
  expect(inspecting / hashing).toBeLessThan(0.05);
});

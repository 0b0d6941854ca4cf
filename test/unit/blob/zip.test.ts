import { crc32, deflateRawSync } from "node:zlib";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { openUnpacked } from "../../../src/blob/unpack.ts";
import type { RangeReader } from "../../../src/blob/zip.ts";
import { Fault } from "../../../src/domain/fault.ts";
import { base64, concat, FIXTURE, outcome, refusal, stored, text, unpack } from "./packed.ts";
import { Feed, patterned } from "./sources.ts";

const MiB = 1024 ** 2;

// `zip -9 disk.zip disk.raw`, and `cat disk.raw | zip - -`, which makes a ZIP64 archive.
const OF_FILE = base64(
  "UEsDBBQAAgAIAA5VeV1LQXoiEAAAAB0AAAAIABwAZGlzay5yYXdVVAkAAxu7BmsbuwZrdXgLAAEEAAAAAAQAAAAAS8xTyMxNTE/VUUjEYHEBAFBLAQIeAxQAAgAIAA5VeV1LQXoiEAAAAB0AAAAIABgAAAAAAAEAAACkgQAAAABkaXNrLnJhd1VUBQADG7sGa3V4CwABBAAAAAAEAAAAAFBLBQYAAAAAAQABAE4AAABSAAAAAAA=",
);
const OF_PIPE = base64(
  "UEsDBC0AAAAIAA5VeV1LQXoi//////////8BABQALQEAEAAdAAAAAAAAABAAAAAAAAAAS8xTyMxNTE/VUUjEYHEBAFBLAQIeAy0AAAAIAA5VeV1LQXoiEAAAAB0AAAABAAAAAAAAAAEAAACAEQAAAAAtUEsGBiwAAAAAAAAAHgMtAAAAAAAAAAAAAQAAAAAAAAABAAAAAAAAAC8AAAAAAAAAQwAAAAAAAABQSwYHAAAAAHIAAAAAAAAAAQAAAFBLBQYAAAAAAQABAC8AAABDAAAAAAA=",
);

interface Entry {
  readonly name: string;
  readonly plain?: Uint8Array;
  /** 0: stored, 8: deflate. */
  readonly method?: number;
  readonly flags?: number;
  readonly crc?: number;
  /** The size that is told, instead of the real one. */
  readonly plainBytes?: number;
  /** What lies between the entry's header and the next. */
  readonly packed?: Uint8Array;
  /** Fields moved to the ZIP64 extra field. */
  readonly isZip64?: boolean;
}

interface Archive {
  readonly comment?: Uint8Array;
  /** The directory's place and count are in the ZIP64 record. */
  readonly isZip64?: boolean;
  readonly disk?: number;
  /** The count of entries that is told, instead of the real one. */
  readonly entries?: number;
}

const u16 = (value: number) => Uint8Array.of(value & 0xff, value >> 8);
const u32 = (value: number) => concat(u16(value & 0xffff), u16(value >>> 16));
const u64 = (value: number) => concat(u32(value % 2 ** 32), u32(Math.floor(value / 2 ** 32)));

/** An archive as a writer makes it that knows no sizes before the data: all is in the directory. */
function zip(entries: readonly Entry[], archive: Archive = {}): Uint8Array {
  let body: Uint8Array = new Uint8Array(0);
  let directory: Uint8Array = new Uint8Array(0);
  for (const entry of entries) {
    directory = concat(directory, directoryEntry(entry, body.length));
    const start = concat(u32(0x04034b50), u16(20), u16(8), u16(entry.method ?? 8), u32(0));
    const blanks = concat(u32(0), u32(0), u32(0));
    const name = text(entry.name);
    const extra = text("extra");
    body = concat(body, start, blanks, u16(name.length), u16(extra.length), name, extra);
    body = concat(body, packedOf(entry));
  }
  return concat(body, directory, directoryEnd(entries.length, directory.length, body, archive));
}

function packedOf({ plain = FIXTURE, method = 8, packed }: Entry): Uint8Array {
  return packed ?? (method === 8 ? new Uint8Array(deflateRawSync(plain)) : plain);
}

function directoryEntry(entry: Entry, offset: number): Uint8Array {
  const { plain = FIXTURE, method = 8, flags = 8, isZip64 = false } = entry;
  const name = text(entry.name);
  const sizes = [entry.plainBytes ?? plain.length, packedOf(entry).length, offset];
  const extra = concat(u16(1), u16(24), ...sizes.map(u64));
  const extras = concat(u16(0x5455), u16(2), text("no"), isZip64 ? extra : text(""));
  const [plainBytes = 0, packedBytes = 0, place = 0] = isZip64 ? [-1, -1, -1] : sizes;
  return concat(
    ...[u32(0x02014b50), u16(45), u16(45), u16(flags), u16(method), u32(0)],
    ...[u32(entry.crc ?? crc32(plain)), u32(packedBytes), u32(plainBytes)],
    ...[u16(name.length), u16(extras.length), u16(4), u16(0), u16(0), u32(0), u32(place)],
    ...[name, extras, text("note")],
  );
}

function directoryEnd(count: number, bytes: number, body: Uint8Array, archive: Archive) {
  const { comment = text(""), isZip64 = false, disk = 0, entries = count } = archive;
  const record = concat(
    ...[u32(0x06064b50), u64(44), u16(45), u16(45), u32(0), u32(0)],
    ...[u64(entries), u64(entries), u64(bytes), u64(body.length)],
  );
  const locator = concat(u32(0x07064b50), u32(0), u64(body.length + bytes), u32(1));
  const told = isZip64 ? u16(0xffff) : u16(entries);
  return concat(
    ...(isZip64 ? [record, locator] : []),
    ...[u32(0x06054b50), u16(disk), u16(disk), told, told],
    ...(isZip64 ? [u32(-1), u32(-1)] : [u32(bytes), u32(body.length)]),
    ...[u16(comment.length), comment],
  );
}

const DISK: Entry = { name: "disk.raw" };

describe("openUnpacked of zip", () => {
  it.each([
    ["a file", OF_FILE],
    ["a pipe", OF_PIPE],
  ])("10 §14 image_decompression: unpacks what zip makes of %s", async (_, bytes) => {
    expect(await unpack("zip", bytes)).toEqual(FIXTURE);
  });

  it("10 §14 image_decompression: gives back the one file, however it is archived", async () => {
    const flag = fc.boolean();
    const cases = fc.record({
      plain: fc.uint8Array({ maxLength: 2000 }),
      isStored: flag,
      isZip64: flag,
      isZip64Archive: flag,
      comment: fc.uint8Array({ maxLength: 50 }),
      chunkBytes: fc.integer({ min: 1, max: 2500 }),
    });
    await fc.assert(
      fc.asyncProperty(cases, async ({ plain, isStored, isZip64, ...rest }) => {
        const entry = { ...DISK, plain, method: isStored ? 0 : 8, isZip64 };
        const archive = { comment: rest.comment, isZip64: rest.isZip64Archive };
        expect(await unpack("zip", zip([entry], archive), rest.chunkBytes)).toEqual(plain);
      }),
    );
  });

  it("gives back 20 MiB", async () => {
    const plain = patterned(20 * MiB);
    const crc = crc32(plain);
    for (const method of [0, 8]) {
      const bytes = zip([{ ...DISK, plain, method }], { comment: patterned(0xffff) });
      let crcSoFar = 0;
      const stream = await openUnpacked("zip", stored(bytes, 50_000), bytes.length);
      await stream.pipeTo(
        new WritableStream({
          write(piece) {
            crcSoFar = crc32(piece, crcSoFar);
          },
        }),
      );
      expect(crcSoFar).toBe(crc);
    }
  });

  it("10 §14 image_decompression: does not count folders", async () => {
    const folder = { name: "images/", plain: text(""), method: 0 };
    const bytes = zip([folder, { name: "images/disk.raw" }, { ...folder, name: "empty/" }]);
    expect(await unpack("zip", bytes)).toEqual(FIXTURE);
  });

  it.each([
    ["two files", [DISK, { name: "second" }], "it has 2 files, where it must have exactly one."],
    [
      "folders only",
      [{ name: "a/", plain: text(""), method: 0 }],
      "it has 0 files, where it must have exactly one.",
    ],
    ["no entry", [], "it has 0 files, where it must have exactly one."],
    ["an encrypted file", [{ ...DISK, flags: 1 }], "its file is encrypted."],
    ["a masked file", [{ ...DISK, flags: 0x2000 }], "its file is encrypted."],
    [
      "a file packed by bzip2",
      [{ ...DISK, method: 12 }],
      "its file is compressed by method 12; only deflate is supported.",
    ],
    ["a wrong checksum", [{ ...DISK, crc: 1 }], "the file differs from its checksum."],
    [
      "a size that is too large",
      [{ ...DISK, plainBytes: 30 }],
      "the file does not have the 30 bytes announced.",
    ],
    [
      "a size that is too small",
      [{ ...DISK, plainBytes: 28 }],
      "the file does not have the 28 bytes announced.",
    ],
    ["two sizes of a stored file", [{ ...DISK, method: 0, plainBytes: 28 }], "damaged."],
  ] as [string, Entry[], string][])("10 §14 image_decompression: refuses %s", async (...args) => {
    const [, entries, reason] = args;
    expect(await refusal("zip", zip(entries))).toContain(reason);
  });

  it("refuses one volume of several", async () => {
    expect(await refusal("zip", zip([DISK], { disk: 1 }))).toContain("one of several volumes.");
  });

  it("refuses a directory that is not what it says", async () => {
    expect(await refusal("zip", zip([DISK], { entries: 2 }))).toContain("damaged.");
    expect(await refusal("zip", zip([DISK], { entries: 2, isZip64: true }))).toContain("damaged.");
  });

  it("refuses a directory that is too long to be held", async () => {
    const entries = Array.from({ length: 300 }, (_, i) => ({ name: `${i}${"a".repeat(4000)}/` }));
    expect(await refusal("zip", zip([...entries, DISK]))).toContain("too many entries.");
  });

  it("refuses deflate data that ends before or behind its place", async () => {
    const packed = new Uint8Array(deflateRawSync(FIXTURE));
    const short = zip([{ ...DISK, packed: packed.subarray(0, -1) }]);
    expect(await refusal("zip", short)).toContain("deflate: unexpected end of file.");
    const long = zip([{ ...DISK, packed: concat(packed, text("x")) }]);
    expect(await refusal("zip", long)).toContain("deflate: other data follows its end.");
  });

  it("refuses archives that are cut off, wherever", async () => {
    for (const bytes of [OF_FILE, OF_PIPE]) {
      for (let length = 0; length < bytes.length; length++) {
        expect(await outcome("zip", bytes.subarray(0, length))).toBe("refused");
      }
    }
  });

  it("refuses an archive that gives less than its size promises", async () => {
    for (let length = 0; length < OF_FILE.length; length++) {
      const read = stored(OF_FILE.subarray(0, length));
      const opening = openUnpacked("zip", read, OF_FILE.length);
      await expect(opening.then((stream) => new Response(stream).bytes())).rejects.toMatchObject({
        code: "image_unpackable",
      });
    }
  });

  it("never gives other bytes when a bit is wrong", async () => {
    for (const bytes of [OF_FILE, OF_PIPE]) {
      for (let bit = 0; bit < bytes.length * 8; bit++) {
        const damaged = bytes.slice();
        damaged[bit >> 3] = (damaged[bit >> 3] ?? 0) ^ (1 << (bit & 7));
        expect([FIXTURE, "refused"]).toContainEqual(await outcome("zip", damaged));
      }
    }
  });

  it("fails with nothing but a Fault, whatever the bytes", async () => {
    const splice = fc.tuple(
      fc.constantFrom(OF_FILE, OF_PIPE),
      fc.nat(300),
      fc.nat(10),
      fc.uint8Array({ maxLength: 10 }),
    );
    const bytes = fc.oneof(
      fc.uint8Array({ maxLength: 200 }),
      splice.map(([whole, at, gone, put]) =>
        concat(whole.subarray(0, at), put, whole.subarray(at + gone)),
      ),
    );
    await fc.assert(
      fc.asyncProperty(bytes, async (archive) => {
        await outcome("zip", archive);
      }),
      { numRuns: 1000 },
    );
  });

  it("reads the directory and then the packed bytes, and nothing else", async () => {
    const folder = { name: "a/", plain: text(""), method: 0 };
    const bytes = zip([folder, { ...DISK, plain: patterned(MiB), method: 0 }, folder]);
    const ranges: string[] = [];
    const read: RangeReader = (range) => {
      ranges.push(range === undefined ? "all" : `${range.length}`);
      return stored(bytes)(range);
    };
    const stream = await openUnpacked("zip", read, bytes.length);
    await new Response(stream).bytes();
    // The end with the longest comment that may be, the directory, a header, the data.
    expect(ranges).toEqual(["65577", String(3 * 56 + 2 + 2 + 8), "30", String(MiB)]);
  });

  it("never asks for bytes outside the archive", async () => {
    const splice = fc.tuple(fc.nat(300), fc.uint8Array({ maxLength: 10 }));
    await fc.assert(
      fc.asyncProperty(splice, async ([at, put]) => {
        const bytes = concat(OF_PIPE.subarray(0, at), put, OF_PIPE.subarray(at + put.length));
        const read: RangeReader = (range) => {
          const { offset, length } = range ?? { offset: 0, length: bytes.length };
          if (offset < 0 || length < 1 || offset + length > bytes.length)
            throw new Error("outside");
          return stored(bytes)(range);
        };
        const opening = openUnpacked("zip", read, bytes.length);
        const reading = opening.then((stream) => new Response(stream).bytes());
        await reading.catch((reason) => expect(reason).toBeInstanceOf(Fault));
      }),
    );
  });

  it("gives a bomb in small pieces, and stops when told to", async () => {
    const bytes = zip([{ ...DISK, plain: new Uint8Array(64 * MiB) }]);
    let given = 0;
    let cancelled: unknown;
    const read: RangeReader = async (range) => {
      const reader = (await stored(bytes)(range)).getReader();
      return new ReadableStream<Uint8Array>(
        {
          async pull(controller) {
            const { value } = await reader.read();
            if (value === undefined) return controller.close();
            given += value.length;
            controller.enqueue(value);
          },
          cancel(reason) {
            cancelled = reason;
          },
        },
        { highWaterMark: 0 },
      );
    };
    const stream = await openUnpacked("zip", read, bytes.length);
    given = 0;
    const reader = stream.getReader();
    for (let plain = 0; plain < MiB; ) {
      const { value } = await reader.read();
      expect(value?.length).toBeLessThanOrEqual(256 * 1024);
      plain += value?.length ?? 0;
    }
    await scheduler.wait(20);
    expect(given).toBeLessThan(4000);
    await reader.cancel("too large");
    await scheduler.wait(20);
    expect(cancelled).toBe("too large");
  });

  it("cancels the source when the file is longer than announced", async () => {
    const bytes = zip([{ ...DISK, plain: patterned(MiB), plainBytes: 100_000 }]);
    let cancelled: unknown;
    const read: RangeReader = async (range) => {
      const reader = (await stored(bytes)(range)).getReader();
      return new ReadableStream<Uint8Array>({
        async pull(controller) {
          const { value } = await reader.read();
          if (value === undefined) controller.close();
          else controller.enqueue(value);
        },
        cancel(reason) {
          cancelled = reason;
        },
      });
    };
    const stream = await openUnpacked("zip", read, bytes.length);
    await expect(new Response(stream).bytes()).rejects.toBeInstanceOf(Fault);
    await scheduler.wait(20);
    expect(cancelled).toBeInstanceOf(Fault);
  });

  it("does not run ahead of a slow reader of a stored file", async () => {
    const bytes = zip([{ ...DISK, plain: patterned(4 * MiB), method: 0 }]);
    let given = 0;
    const read: RangeReader = async (range) => {
      const whole = await stored(bytes, 16 * 1024)(range);
      const count = new TransformStream<Uint8Array, Uint8Array>({
        transform(chunk, controller) {
          given += chunk.length;
          controller.enqueue(chunk);
        },
      });
      return whole.pipeThrough(count);
    };
    const stream = await openUnpacked("zip", read, bytes.length);
    given = 0;
    const reader = stream.getReader();
    for (let plain = 0; plain < 2 * MiB; ) {
      plain += (await reader.read()).value?.length ?? 0;
      await scheduler.wait(0);
      expect(given - plain).toBeLessThan(128 * 1024);
    }
    await reader.cancel();
  });

  it("lets failures of the source be what they are", async () => {
    const failure = new Fault("store_unavailable");
    for (const failing of [0, 1, 2, 3]) {
      let reads = 0;
      const read: RangeReader = async (range) => {
        if (reads++ === failing) throw failure;
        return stored(OF_FILE)(range);
      };
      await expect(openUnpacked("zip", read, OF_FILE.length)).rejects.toBe(failure);
    }
    for (const failing of [0, 1, 2, 3]) {
      let reads = 0;
      const read: RangeReader = async (range) => {
        if (reads++ !== failing) return stored(OF_FILE)(range);
        const feed = new Feed();
        feed.breakOff(failure);
        return feed.stream;
      };
      const opening = openUnpacked("zip", read, OF_FILE.length);
      const reading = opening.then((stream) => new Response(stream).bytes());
      await expect(reading).rejects.toBe(failure);
    }
  });
});

import { gzipSync, zstdCompressSync } from "node:zlib";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { openUnpacked } from "../../../src/blob/unpack.ts";
import { Fault } from "../../../src/domain/fault.ts";
import { detectPacking, type Packing } from "../../../src/lib/packing.ts";
import { base64, concat, FIXTURE, outcome, refusal, stored, text, unpack } from "./packed.ts";
import { Feed, patterned } from "./sources.ts";

const KiB = 1024;
const MiB = 1024 ** 2;

const zeros = (length: number) => new Uint8Array(length);
const gzip = (bytes: Uint8Array) => new Uint8Array(gzipSync(bytes));
// 201 is ZSTD_c_checksumFlag, which the zstd program sets, too.
const zstd = (bytes: Uint8Array) => new Uint8Array(zstdCompressSync(bytes, { params: { 201: 1 } }));
const skippable = (nibble: number, bytes: Uint8Array) =>
  concat(Uint8Array.of(0x50 | nibble, 0x2a, 0x4d, 0x18, bytes.length, 0, 0, 0), bytes);

const PACKERS = { gzip, zstd } as const;
const STREAMED = ["gzip", "zstd"] as const;

// `gzip -9nc`, `zstd -19`, `pzstd`: the last begins with a skippable frame.
const GZIP = base64("H4sIAAAAAAACA0vMU8jMTUxP1VFIxGBxAQBLQXoiHQAAAA==");
const ZSTD = base64("KLUv/SQdjQAAWGFuIGltYWdlLCAKAQD1ChKiIPDb");
const PZSTD = base64("UCpNGAQAAAAeAAAAKLUv/QRYjQAAWGFuIGltYWdlLCAKAQD1ChKiIPDb");

describe("openUnpacked", () => {
  it.each([
    ["gzip", "gzip", GZIP],
    ["zstd", "zstd", ZSTD],
    ["zstd", "pzstd", PZSTD],
  ] as const)("10 §14 image_decompression: unpacks %s as made by %s", async (packing, _, bytes) => {
    expect(detectPacking(bytes)).toBe(packing);
    expect(await unpack(packing, bytes)).toEqual(FIXTURE);
  });

  it.each(["lha", "xz", "bzip2", "lz4", "lzma"] as const)(
    "10 §14 image_decompression: refuses %s by its name",
    async (packing) => {
      expect(await refusal(packing, text("packed"))).toBe(
        `The data cannot be unpacked: It is packed with ${packing}, which is not supported. Send the image itself, or pack it with gzip or zstd.`,
      );
    },
  );

  describe.each(STREAMED)("of %s", (packing) => {
    const pack = PACKERS[packing];

    it("gives back whatever was packed, in however many members and chunks", async () => {
      const members = fc.array(fc.uint8Array({ maxLength: 300 }), { minLength: 1, maxLength: 4 });
      await fc.assert(
        fc.asyncProperty(members, fc.integer({ min: 1, max: 400 }), async (plain, chunkBytes) => {
          const packed = concat(...plain.map(pack));
          expect(await unpack(packing, packed, chunkBytes)).toEqual(concat(...plain));
        }),
      );
    });

    it("gives back 20 MiB, of which each member ends somewhere else in a chunk", async () => {
      const plain = patterned(5 * MiB);
      const packed = concat(...[0, 1, 2, 3].map((i) => pack(plain.subarray(0, plain.length - i))));
      const whole = concat(...[0, 1, 2, 3].map((i) => plain.subarray(0, plain.length - i)));
      expect(await digestOf(packing, packed)).toEqual(await sha256(whole));
    });

    it("refuses data that is cut off, wherever", async () => {
      const [first, second] = [pack(FIXTURE), pack(text("and more"))];
      const packed = concat(first, second);
      for (let length = 0; length < packed.length; length++) {
        for (const chunkBytes of [1, 7, 1000]) {
          const seen = await outcome(packing, packed.subarray(0, length), chunkBytes);
          expect([length, seen]).toEqual([length, length === first.length ? FIXTURE : "refused"]);
        }
      }
    });

    it("refuses long data that is cut off", async () => {
      const packed = pack(patterned(MiB));
      for (const missing of [1, 4, 5, 8, 9, 100]) {
        expect(await refusal(packing, packed.subarray(0, -missing))).toContain("unexpected end");
      }
    });

    it("never gives other bytes when a bit is wrong", async () => {
      const packed = pack(FIXTURE);
      for (let bit = 0; bit < packed.length * 8; bit++) {
        const damaged = packed.slice();
        damaged[bit >> 3] = (damaged[bit >> 3] ?? 0) ^ (1 << (bit & 7));
        expect([FIXTURE, "refused"]).toContainEqual(await outcome(packing, damaged));
      }
    });

    it("refuses other data behind its end, alone or in the same chunk", async () => {
      for (const junk of [
        text("x"),
        text("junk that is no member"),
        pack(FIXTURE).subarray(0, 3),
      ]) {
        const packed = concat(pack(FIXTURE), junk);
        for (const chunkBytes of [1, packed.length - junk.length, 1000]) {
          expect(await outcome(packing, packed, chunkBytes)).toBe("refused");
        }
      }
    });

    it("refuses no data at all", async () => {
      expect(await refusal(packing, zeros(0))).toContain("there is no data");
    });

    it("fails with nothing but a Fault, whatever the bytes", async () => {
      const head = packing === "gzip" ? [0x1f, 0x8b, 0x08] : [0x28, 0xb5, 0x2f, 0xfd];
      const bytes = fc.oneof(
        fc.uint8Array({ maxLength: 200 }),
        fc.uint8Array({ maxLength: 200 }).map((tail) => concat(Uint8Array.from(head), tail)),
        splicedInto(pack(patterned(500))),
      );
      await fc.assert(
        fc.asyncProperty(bytes, fc.integer({ min: 1, max: 250 }), async (packed, chunkBytes) => {
          await outcome(packing, packed, chunkBytes);
        }),
        { numRuns: 500 },
      );
    });

    it("reads nothing before it is asked, and little ahead of a slow reader", async () => {
      const member = pack(patterned(40 * KiB));
      const source = new Counted(member, 10_000);
      const stream = await openUnpacked(packing, async () => source.stream, source.sizeBytes);
      await settle();
      expect(source.given).toBe(0);
      const reader = stream.getReader();
      for (let plain = 0; plain < 10 * MiB; ) {
        plain += (await reader.read()).value?.length ?? 0;
        await settle();
        expect(source.given - (plain * member.length) / (40 * KiB)).toBeLessThan(128 * KiB);
      }
      await reader.cancel("enough");
      expect(source.cancelled).toBe("enough");
    });

    it("gives a bomb of 1 GiB in small pieces, and stops when told to", async () => {
      const source = new Counted(pack(zeros(16 * MiB)), 64);
      const stream = await openUnpacked(packing, async () => source.stream, source.sizeBytes);
      const reader = stream.getReader();
      for (let plain = 0; plain < MiB; ) {
        const { value } = await reader.read();
        expect(value?.length).toBeLessThanOrEqual(256 * KiB);
        plain += value?.length ?? 0;
      }
      await reader.cancel("too large");
      await settle();
      expect(source.cancelled).toBe("too large");
      expect(source.given).toBeLessThan(128 * KiB);
    });

    it("cancels the source when the data is at fault", async () => {
      const feed = new Feed();
      const stream = await openUnpacked(packing, async () => feed.stream, 1000);
      const reader = stream.getReader();
      feed.send(text("this is nothing packed"));
      await expect(reader.read()).rejects.toBeInstanceOf(Fault);
      await settle();
      expect(feed.cancelled).toBeInstanceOf(Fault);
    });

    it("can be cancelled while it waits for the source", async () => {
      const feed = new Feed();
      const stream = await openUnpacked(packing, async () => feed.stream, 1000);
      const reader = stream.getReader();
      feed.send(pack(patterned(1000)).subarray(0, 20));
      const waiting = reader.read().catch(() => {});
      await settle();
      await reader.cancel("no longer wanted");
      await waiting;
      expect(feed.cancelled).toBe("no longer wanted");
    });

    it("lets failures of the source be what they are", async () => {
      const feed = new Feed();
      const failure = new Fault("store_unavailable");
      const stream = await openUnpacked(packing, async () => feed.stream, 1000);
      feed.send(pack(patterned(1000)).subarray(0, 20));
      const reading = new Response(stream).bytes();
      await settle();
      feed.breakOff(failure);
      await expect(reading).rejects.toBe(failure);
      const refused = openUnpacked(packing, () => Promise.reject(failure), 1000);
      await expect(refused).rejects.toBe(failure);
    });

    it("unpacks several images at the same time", async () => {
      const packed = pack(patterned(MiB));
      const all = Array.from({ length: 8 }, () => unpack(packing, packed));
      for (const plain of await Promise.all(all)) expect(plain).toEqual(patterned(MiB));
    });
  });

  it("10 §14 image_decompression: unpacks what CompressionStream packs", async () => {
    const plain = patterned(3 * MiB + 1);
    const packed = new Blob([plain]).stream().pipeThrough(new CompressionStream("gzip"));
    expect(await unpack("gzip", await new Response(packed).bytes(), 9999)).toEqual(plain);
  });

  it("takes zeros behind the last gzip member for padding, but nothing behind them", async () => {
    for (const chunkBytes of [1, GZIP.length, 1000, 100_000]) {
      const padded = concat(GZIP, zeros(70_000));
      expect(await unpack("gzip", padded, chunkBytes)).toEqual(FIXTURE);
      expect(await outcome("gzip", concat(padded, text("x")), chunkBytes)).toBe("refused");
      expect(await outcome("gzip", concat(padded, GZIP), chunkBytes)).toBe("refused");
      expect(await outcome("gzip", concat(GZIP, zeros(1), GZIP), chunkBytes)).toBe("refused");
    }
  });

  it("skips skippable zstd frames, wherever they are, and misses their bytes when cut", async () => {
    const before = skippable(0, text("an index"));
    const within = skippable(15, zeros(0));
    const packed = concat(before, within, ZSTD, within, ZSTD, before);
    const ends = new Set([0, 16, 24, 54, 62, 92, 108].slice(1));
    for (const chunkBytes of [1, 3, 16, 1000]) {
      expect(await unpack("zstd", packed, chunkBytes)).toEqual(concat(FIXTURE, FIXTURE));
      for (let length = 1; length < packed.length; length++) {
        const seen = await outcome("zstd", packed.subarray(0, length), chunkBytes);
        expect([length, seen === "refused"]).toEqual([length, !ends.has(length)]);
      }
    }
  });

  it("refuses zstd data that wants more memory than there is", async () => {
    // A frame without content: magic number, no flags, a window of 2^(10 + exponent), the last block.
    const frame = (exponent: number) =>
      Uint8Array.of(0x28, 0xb5, 0x2f, 0xfd, 0, exponent << 3, 1, 0, 0);
    expect(await unpack("zstd", frame(13))).toEqual(zeros(0));
    expect(await refusal("zstd", frame(14))).toBe(
      "The data cannot be unpacked: zstd: Frame requires too much memory for decoding.",
    );
    expect(await outcome("zstd", frame(31))).toBe("refused");
  });

  it("says what is wrong", async () => {
    const damaged = GZIP.slice();
    damaged.set([0, 0, 0, 0], damaged.length - 8);
    expect(await refusal("gzip", damaged)).toBe(
      "The data cannot be unpacked: gzip: incorrect data check.",
    );
    expect(await refusal("zstd", concat(ZSTD.subarray(0, -1), zeros(1)))).toBe(
      "The data cannot be unpacked: zstd: Restored data doesn't match checksum.",
    );
  });
});

/** Gives the same bytes again and again. */
class Counted {
  given = 0;
  cancelled: unknown;
  readonly stream: ReadableStream<Uint8Array>;

  constructor(
    private readonly bytes: Uint8Array,
    private readonly times: number,
  ) {
    let offset = 0;
    this.stream = new ReadableStream<Uint8Array>(
      {
        pull: (controller) => {
          const chunk = bytes.slice(offset, offset + 16 * KiB);
          offset = (offset + chunk.length) % bytes.length;
          this.given += chunk.length;
          controller.enqueue(chunk);
          if (this.given === this.sizeBytes) controller.close();
        },
        cancel: (reason) => {
          this.cancelled = reason;
        },
      },
      { highWaterMark: 0 },
    );
  }

  get sizeBytes(): number {
    return this.bytes.length * this.times;
  }
}

/** Lets everything happen that can. */
async function settle(): Promise<void> {
  for (let i = 0; i < 3; i++) await scheduler.wait(0);
}

/** Bytes in which a stretch was replaced. */
function splicedInto(bytes: Uint8Array): fc.Arbitrary<Uint8Array> {
  return fc
    .tuple(fc.nat(bytes.length), fc.nat(10), fc.uint8Array({ maxLength: 10 }))
    .map(([at, gone, put]) => concat(bytes.subarray(0, at), put, bytes.subarray(at + gone)));
}

async function sha256(bytes: Uint8Array): Promise<Uint8Array> {
  return new Uint8Array(await crypto.subtle.digest("SHA-256", bytes));
}

async function digestOf(packing: Packing, packed: Uint8Array): Promise<Uint8Array> {
  const digest = new crypto.DigestStream("SHA-256");
  const stream = await openUnpacked(packing, stored(packed, 50_000), packed.length);
  await stream.pipeTo(digest);
  return new Uint8Array(await digest.digest);
}

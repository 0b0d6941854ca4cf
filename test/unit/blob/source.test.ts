import fc from "fast-check";
import { describe, expect, it } from "vitest";
import type { RangedSource } from "../../../src/blob/source.ts";
import { joinedSource } from "../../../src/blob/source.ts";

const never = new AbortController().signal;

/** A source of these bytes, which fails when it is asked for a range that it does not have. */
function sourceOf(bytes: Uint8Array<ArrayBuffer>, onRead = () => {}): RangedSource {
  return {
    size: bytes.length,
    async read({ offset, length }) {
      onRead();
      if (length < 1 || offset < 0 || offset + length > bytes.length) throw new Error("no range");
      return new Blob([bytes.slice(offset, offset + length)]).stream();
    },
  };
}

const read = async (source: RangedSource, offset: number, length: number) =>
  new Response(await source.read({ offset, length }, never)).bytes();

const pieces = fc.array(fc.uint8Array({ maxLength: 20 }), { maxLength: 6 });

describe("several sources as one", () => {
  it("give any range of the whole, whichever of them it touches", async () => {
    await fc.assert(
      fc.asyncProperty(pieces, fc.nat(), fc.nat(), async (list, one, other) => {
        const whole = new Uint8Array(list.flatMap((piece) => [...piece]));
        const [start = 0, end = 0] = [one, other]
          .map((at) => at % (whole.length + 1))
          .toSorted((a, b) => a - b);
        const source = joinedSource(list.map((piece) => sourceOf(new Uint8Array(piece))));
        expect(source.size).toBe(whole.length);
        expect(await read(source, start, end - start)).toEqual(whole.subarray(start, end));
      }),
    );
  });

  it("are read only where the range is, one after the other", async () => {
    let reads = 0;
    const count = () => {
      reads += 1;
    };
    const part = () => sourceOf(new Uint8Array(4), count);
    await read(joinedSource([part(), part(), part()]), 4, 5);
    expect(reads).toBe(2);
  });

  it("fail with what one of them fails with, behind the bytes before", async () => {
    const broken: RangedSource = {
      size: 4,
      read: () => Promise.reject(new Error("out of order")),
    };
    const source = joinedSource([sourceOf(new Uint8Array(4)), broken]);
    await expect(read(source, 0, 8)).rejects.toThrow("out of order");
  });

  it("hand on that nobody listens any more", async () => {
    let isCancelled = false;
    const endless: RangedSource = {
      size: 1000,
      read: async () =>
        new ReadableStream<Uint8Array>(
          {
            pull: (controller) => controller.enqueue(new Uint8Array(10)),
            cancel: () => {
              isCancelled = true;
            },
          },
          { highWaterMark: 0 },
        ),
    };
    const stream = await joinedSource([endless]).read({ offset: 0, length: 1000 }, never);
    const reader = stream.getReader();
    await reader.read();
    await reader.cancel("enough");
    await expect.poll(() => isCancelled).toBe(true);
  });
});

import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { probe, readAll, readRange } from "../../src/net/source.ts";
import { DEFAULT_URI_FILTER } from "../../src/net/uri-filter.ts";
import { owner } from "../support/callers.ts";
import { resumeTime, stopTime } from "../support/clock.ts";
import { beginImport, finishImport, sources } from "../support/imports.ts";
import { Service } from "../support/service.ts";
import { ODD_RANGES, ODDITIES } from "../support/source-behaviour.ts";
import { dataOf } from "../support/source-data.ts";

// web-download from servers that make odd things of ranges: where a plain GET would bring the data, it comes.

const MiB = 1024 ** 2;
const source = sources();
const door = {
  filter: { ...DEFAULT_URI_FILTER, allowedPorts: [], allowPrivateAddresses: true },
  resolve: undefined,
};

/** As `toEqual` finds out, in less time. */
const isSame = (one: Uint8Array, other: Uint8Array) => Buffer.compare(one, other) === 0;

const cases = ODDITIES.flatMap((odd) =>
  ODD_RANGES.flatMap((ranges) =>
    (["yes", "no"] as const).map((etag) => [odd, ranges, etag] as const),
  ),
);

describe("10 §11: a source whose ranges are odd", () => {
  const size = 300_000;
  const data = dataOf({ seed: 2, size });

  it.each(cases)("gives its data: %s of %s ranges, ETag %s", async (odd, ranges, etag) => {
    const query = { size, seed: 2, odd, "odd-ranges": ranges } as const;
    const url = source.fileUrl(etag === "no" ? { ...query, etag } : query);
    const facts = await probe(url, door);
    expect(facts.size).toBe(size);
    const { validator } = facts;
    // From the first byte and from a later one, to the end and not, one byte and many.
    for (const [offset, length] of [
      [0, size],
      [0, 100_000],
      [123_456, size - 123_456],
      [123_456, 1],
      [size - 1, 1],
    ] as const) {
      const read = await readRange(url, { offset, length, size, validator }, door);
      if (read.outcome !== "data") throw new Error("nothing has changed");
      const bytes = await new Response(read.stream).bytes();
      expect(bytes.length).toBe(length);
      expect(isSame(bytes, data.subarray(offset, offset + length))).toBe(true);
    }
    const whole = await readAll(url, door);
    expect(whole.size).toBe(size);
    expect(isSame(await new Response(whole.stream).bytes(), data)).toBe(true);
  });
});

describe("web-download from a source whose ranges are odd", () => {
  const service = new Service();
  const size = 20 * MiB;

  beforeEach(stopTime);
  afterEach(resumeTime);

  it.each(
    (["403", "503", "short", "everything", "whole", "unasked-short"] as const).flatMap((odd) => [
      [odd, "all", {}] as const,
      // Its first answer of so many bytes breaks off, so that the work goes on at a later byte.
      [odd, "later", { reset: 17 * MiB, times: 1 }] as const,
    ]),
  )(
    "10 §11: %s of %s ranges: the image is active, with all its bytes",
    async (odd, ranges, trouble) => {
      const id = crypto.randomUUID();
      const uri = source.fileUrl({ id, size, seed: 5, odd, "odd-ranges": ranges, ...trouble });
      const image = await service.createEmpty(owner);
      await beginImport(service, owner, image.id, { method: { name: "web-download", uri } });
      const { image: imported, task } = await finishImport(service, image.id);
      expect([task?.message, imported.status]).toEqual(["", "active"]);
      expect(imported.size).toBe(size);
      const response = await service.call(owner, "GET", `/v2/images/${image.id}/file`);
      expect(isSame(await response.bytes(), dataOf({ seed: 5, size }))).toBe(true);
    },
  );
});

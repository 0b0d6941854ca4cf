import { describe, expect, it } from "vitest";
import { openByteReader } from "../../../src/lib/streams.ts";

const encoder = new TextEncoder();

/** The same text as the runtime's own stream, as a byte stream and as a stream of chunks. */
const streams: [string, (chunks: string[]) => ReadableStream<Uint8Array>][] = [
  ["the runtime's own", (chunks) => new Blob(chunks).stream()],
  ["a byte", (chunks) => streamOf(chunks, "bytes")],
  ["a chunk", (chunks) => streamOf(chunks, undefined)],
];

function streamOf(chunks: string[], type: "bytes" | undefined): ReadableStream<Uint8Array> {
  const left = chunks.map((chunk) => encoder.encode(chunk));
  const pull = (controller: { enqueue(chunk: Uint8Array): void; close(): void }) => {
    const chunk = left.shift();
    if (chunk === undefined) controller.close();
    else controller.enqueue(chunk);
  };
  return type === "bytes"
    ? new ReadableStream({
        type,
        pull(controller) {
          pull(controller);
          if (left.length === 0 && controller.byobRequest !== null)
            controller.byobRequest.respond(0);
        },
      })
    : new ReadableStream<Uint8Array>({ pull });
}

describe.each(streams)("%s stream", (_, open) => {
  it("UPL-3: is read into the caller's buffer, however it is cut", async () => {
    const reader = openByteReader(open(["ab", "cdefgh", "i"]));
    let buffer: ArrayBufferLike = new ArrayBuffer(20);
    let length = 0;
    while (true) {
      const chunk = await reader.read(new Uint8Array(buffer, length, 3));
      buffer = chunk.buffer;
      if (chunk.length === 0) break;
      expect(chunk.byteOffset).toBe(length);
      length += chunk.length;
    }
    expect(new TextDecoder().decode(new Uint8Array(buffer, 0, length))).toBe("abcdefghi");
    expect(buffer.byteLength).toBe(20);
  });

  it("UPL-4: ends at once when it is empty", async () => {
    const reader = openByteReader(open([]));
    expect((await reader.read(new Uint8Array(5))).length).toBe(0);
  });

  it("UPL-13: can be cancelled, also after its end", async () => {
    const reader = openByteReader(open(["ab"]));
    await reader.cancel(new Error("no more"));
    await reader.cancel(new Error("no more"));
  });

  it("UPL-13: can be left to somebody else", async () => {
    const stream = open(["ab", "cd"]);
    const reader = openByteReader(stream);
    const chunk = await reader.read(new Uint8Array(2));
    expect(new TextDecoder().decode(chunk)).toBe("ab");
    reader.release();
    const left: Uint8Array[] = [];
    for await (const chunk of stream) left.push(chunk);
    expect(await new Blob(left).text()).toBe("cd");
  });
});

describe("openByteReader", () => {
  it("UPL-3: skips empty chunks, which are no end", async () => {
    const reader = openByteReader(streamOf(["", "", "a"], undefined));
    expect((await reader.read(new Uint8Array(5))).length).toBe(1);
    expect((await reader.read(new Uint8Array(5))).length).toBe(0);
  });

  it("UPL-13: hands on why the source broke off", async () => {
    const reason = new Error("gone");
    const reader = openByteReader(
      new ReadableStream({
        pull(controller) {
          controller.error(reason);
        },
      }),
    );
    await expect(reader.read(new Uint8Array(5))).rejects.toBe(reason);
    await reader.cancel(reason);
  });

  it("UPL-13: ends a read that waits when it is cancelled", async () => {
    const idle = new IdentityTransformStream();
    const reader = openByteReader(idle.readable);
    const reading = reader.read(new Uint8Array(5)).then(
      (chunk) => chunk.length === 0,
      () => true,
    );
    await scheduler.wait(1);
    await reader.cancel(new Error("no more"));
    expect(await reading).toBe(true);
  });

  it("UPL-3: refuses a stream that somebody else reads", () => {
    const source = new Blob(["a"]).stream();
    source.getReader();
    expect(() => openByteReader(source)).toThrow(TypeError);
  });
});

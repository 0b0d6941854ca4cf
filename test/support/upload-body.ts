/** Bytes that tell one body from another, and one place in a body from another. */
export function bytesOf(length: number, seed = 1): Uint8Array {
  const bytes = new Uint8Array(length);
  for (let at = 0; at < length; at += 251) bytes[at] = (at * 31 + seed) % 256;
  if (length > 0) bytes[length - 1] = seed;
  return bytes;
}

/** A body that comes chunk by chunk; whatever stands between two yields happens while the upload waits. */
export function bodyOf(chunks: () => AsyncGenerator<Uint8Array>): ReadableStream<Uint8Array> {
  const source = chunks();
  const pull = async (controller: ReadableStreamDefaultController<Uint8Array>) => {
    const { done, value } = await source.next();
    if (done === true) controller.close();
    else controller.enqueue(value);
  };
  return new ReadableStream<Uint8Array>({ pull }, { highWaterMark: 0 });
}

import type { RangedSource } from "./transfer.ts";

/** Several sources, one behind the other, as one. */
export function joinedSource(sources: readonly RangedSource[]): RangedSource {
  const size = sources.reduce((sum, source) => sum + source.size, 0);
  return {
    size,
    async read({ offset, length }, signal) {
      const pieces = piecesOf(sources, offset, length);
      const { readable, writable } = new TransformStream<Uint8Array, Uint8Array>();
      const pump = async () => {
        for (const { source, range } of pieces) {
          const stream = await source.read(range, signal);
          await stream.pipeTo(writable, { preventClose: true });
        }
        await writable.close();
      };
      pump().catch((reason: unknown) => writable.abort(reason).catch(() => {}));
      return readable;
    },
  };
}

/** Which ranges of which sources make up a range of the whole. */
function piecesOf(sources: readonly RangedSource[], offset: number, length: number) {
  let start = 0;
  return sources.flatMap((source) => {
    const first = Math.max(offset, start);
    const end = Math.min(offset + length, start + source.size);
    const range = { offset: first - start, length: end - first };
    start += source.size;
    return range.length > 0 ? [{ source, range }] : [];
  });
}

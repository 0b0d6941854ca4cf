import type { Formats } from "../domain/image.ts";
import { type ByteRange, Inspector } from "./inspector.ts";
import type { Acceptance, InspectionRules } from "./verdict.ts";

/** Has all that most data is judged by. */
const HEAD_BYTES = 64 * 1024;

/**
 * Inspects data that can be read from any place on, in one read mostly. `read` gives exactly the bytes asked for,
 * which are at most 64 KiB. Throws the Fault `content_refused`, and what `read` throws.
 */
export async function inspectRanges(
  dataBytes: number,
  read: (range: ByteRange) => Promise<Uint8Array>,
  declared: Formats,
  rules: InspectionRules,
): Promise<Acceptance> {
  const inspector = new Inspector(declared, rules);
  if (inspector.nextWanted(dataBytes) !== undefined) {
    inspector.take(await read({ offset: 0, length: Math.min(HEAD_BYTES, dataBytes) }));
  }
  for (;;) {
    const range = inspector.nextWanted(dataBytes);
    if (range === undefined) break;
    inspector.skipTo(range.offset);
    inspector.take(await read(range));
  }
  inspector.skipTo(dataBytes);
  return inspector.finish();
}

import { Fault } from "../domain/fault.ts";
import { openByteReader } from "../lib/streams.ts";

/** Whether a request brings a body, as its framing says (contract 01 §1.3, NB). */
export function hasBody(request: Request): boolean {
  const length = request.headers.get("content-length");
  if (length !== null) return length !== "0";
  return (
    request.headers.has("transfer-encoding") || (request.body !== null && request.method !== "GET")
  );
}

/** How much of an unwanted body is read, for how long in all, and for how long without a byte. */
export interface DiscardBounds {
  readonly maxBytes: number;
  readonly maxMs: number;
  readonly maxIdleMs: number;
}

/** Reads a body away, until its end or one of the bounds; what is left then is cut off. */
export async function discard(body: ReadableStream, bounds: DiscardBounds): Promise<void> {
  const reader = openByteReader(body);
  const startedAtMs = Date.now();
  let bytes = 0;
  let isOver = false;
  const readOn = async () => {
    let buffer: ArrayBufferLike = new ArrayBuffer(256 * 1024);
    while (!isOver && bytes < bounds.maxBytes) {
      const chunk = await reader.read(new Uint8Array(buffer));
      if (chunk.length === 0) break;
      bytes += chunk.length;
      buffer = chunk.buffer;
    }
    isOver = true;
  };
  // Looks now and then whether bytes still come: a promise for each read would pile up on a long body.
  const watch = async () => {
    for (let seen = -1; !isOver && bytes > seen; ) {
      seen = bytes;
      const leftMs = startedAtMs + bounds.maxMs - Date.now();
      if (leftMs <= 0) break;
      await scheduler.wait(Math.min(leftMs, bounds.maxIdleMs));
    }
  };
  await Promise.race([readOn().catch(() => undefined), watch()]);
  isOver = true;
  // Not awaited: a body that has fallen silent may take for ever to be cancelled, too.
  void reader.cancel("not wanted").catch(() => undefined);
}

/** No call takes more than a few; whatever walks a body by calling itself has to end. */
const MAX_DEPTH = 64;

/**
 * Reads a JSON body of bounded size, whatever its Content-Type says (contract REQ-1). The result is an
 * object or an array, of at most MAX_DEPTH levels. Throws body_required, body_malformed or body_too_large (REQ-2, REQ-3,
 * REQ-4, REQ-11).
 */
export async function readJson(request: Request, maxBytes: number): Promise<object> {
  const text = await readText(request, maxBytes);
  if (text === "") throw new Fault("body_required");
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (cause) {
    throw new Fault("body_malformed", { reason: (cause as Error).message }, cause);
  }
  if (typeof value !== "object" || value === null) {
    throw new Fault("body_malformed", { reason: "it must be an object or an array" });
  }
  if (isDeeperThan(MAX_DEPTH, value)) {
    const reason = `it has more than ${MAX_DEPTH} levels of arrays and objects`;
    throw new Fault("body_malformed", { reason });
  }
  return value;
}

/** Level by level, so that the depth of what is looked at is nothing to the stack. */
function isDeeperThan(depth: number, value: object): boolean {
  let level: readonly object[] = [value];
  for (let n = 0; n < depth && level.length > 0; n++) {
    level = level.flatMap((parent) => Object.values(parent).filter(isNested));
  }
  return level.length > 0;
}

function isNested(value: unknown): value is object {
  return typeof value === "object" && value !== null;
}

async function readText(request: Request, maxBytes: number): Promise<string> {
  if (request.body === null) return "";
  const decoder = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });
  let text = "";
  let receivedBytes = 0;
  try {
    for await (const chunk of request.body as ReadableStream<Uint8Array>) {
      receivedBytes += chunk.byteLength;
      if (receivedBytes > maxBytes) throw new Fault("body_too_large", { maxBytes });
      text += decoder.decode(chunk, { stream: true });
    }
    return text + decoder.decode();
  } catch (cause) {
    if (cause instanceof TypeError) {
      throw new Fault("body_malformed", { reason: "it is not UTF-8" }, cause);
    }
    throw cause;
  }
}

import { once } from "node:events";
import type { ClientRequest, IncomingMessage } from "node:http";
import { text } from "node:stream/consumers";
import { setTimeout as sleep } from "node:timers/promises";
import type { ImageApi } from "./image-api.ts";

/** The ways in which a client sends data itself. */
export const WAYS_IN = [
  "PUT",
  "PUT in chunks",
  "stage",
  "stage in chunks",
  "tus",
  "tus in chunks",
] as const;
export type WayIn = (typeof WAYS_IN)[number];

/** Begins to send an image's data by one request, whose body the caller writes. */
export async function beginToSend(
  api: ImageApi,
  imageId: string,
  way: WayIn,
  sizeBytes: number,
): Promise<ClientRequest> {
  const lengthBytes = way.endsWith("in chunks") ? undefined : sizeBytes;
  if (way.startsWith("PUT")) return api.beginUpload(imageId, lengthBytes);
  if (way.startsWith("stage")) return api.beginStaging(imageId, lengthBytes);
  const path = await api.createResumable(imageId, sizeBytes);
  return api.beginAppending(path, 0, lengthBytes);
}

/** What a client gets to hear in the end. */
export interface Answer {
  readonly status: number;
  readonly retryAfter: string | undefined;
  readonly body: string;
}

/**
 * The answer to a request, which may come before its body is sent. Fails when the connection ends without one; whoever
 * writes the body may look at it later.
 */
export function answerTo(request: ClientRequest): Promise<Answer> {
  // What befalls the connection behind the answer changes nothing of it.
  request.on("error", () => undefined);
  const answer = readAnswer(request);
  answer.catch(() => undefined);
  return answer;
}

async function readAnswer(request: ClientRequest): Promise<Answer> {
  const [response] = (await once(request, "response")) as [IncomingMessage];
  const body = await text(response);
  const { statusCode: status = 0, headers } = response;
  return { status, retryAfter: headers["retry-after"], body };
}

/** Writes as fast as the other side takes it, or as `bytesPerSecond` allows, until all is written or the request is over. */
export async function writeAll(
  request: ClientRequest,
  pieces: Iterable<Buffer>,
  bytesPerSecond = Number.POSITIVE_INFINITY,
): Promise<void> {
  const startedAtMs = performance.now();
  let written = 0;
  for (const bytes of cut(pieces, bytesPerSecond / 10)) {
    const isTaken = request.destroyed || request.write(bytes);
    if (!isTaken) await untilDrained(request);
    if (request.destroyed) return;
    written += bytes.length;
    const aheadMs = (written / bytesPerSecond) * 1000 - (performance.now() - startedAtMs);
    if (aheadMs > 0) await sleep(aheadMs);
  }
}

function* cut(pieces: Iterable<Buffer>, maxBytes: number): Generator<Buffer> {
  for (const piece of pieces) {
    const step = Math.min(maxBytes, piece.length);
    for (let at = 0; at < piece.length; at += step) yield piece.subarray(at, at + step);
  }
}

/** Ends also when the request does. */
function untilDrained(request: ClientRequest): Promise<void> {
  return new Promise((done) => {
    const go = () => {
      request.off("drain", go).off("close", go);
      done();
    };
    request.on("drain", go).on("close", go);
  });
}

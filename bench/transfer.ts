import { randomBytes } from "node:crypto";
import { once } from "node:events";
import { createServer, type IncomingMessage, request, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { Readable } from "node:stream";
import { pipeline } from "node:stream/promises";
import type { Target } from "./case.ts";

export const MiB = 1024 ** 2;
const piece = randomBytes(MiB);

function* pieces(sizeMiB: number): Generator<Buffer> {
  for (let sent = 0; sent < sizeMiB; sent += 1) yield piece;
}

/** Sends so many MiB as data by PUT; without a length they go in chunks. Throws unless it is a success. */
export function send(
  target: Target,
  path: string,
  sizeMiB: number,
  isChunked: boolean,
): Promise<void> {
  const headers = { ...target.headers, "content-type": "application/octet-stream" };
  return sendPieces("PUT", target.url + path, headers, sizeMiB, isChunked);
}

/** A request with so many MiB as its body. Throws unless it is a success. */
export async function sendPieces(
  method: string,
  url: string,
  headers: Readonly<Record<string, string>>,
  sizeMiB: number,
  isChunked: boolean,
): Promise<void> {
  const length = isChunked ? {} : { "content-length": sizeMiB * MiB };
  const sending = request(url, { method, headers: { ...headers, ...length } });
  const answer = once(sending, "response") as Promise<[IncomingMessage]>;
  await pipeline(Readable.from(pieces(sizeMiB)), sending);
  const [response] = await answer;
  response.resume();
  if (response.statusCode !== 204) throw new Error(`${method} ${url}: ${response.statusCode}`);
}

/** Takes a whole body and throws it away. Throws unless it has that size. */
export async function receive(target: Target, path: string, sizeMiB: number): Promise<void> {
  const get = request(target.url + path, { headers: target.headers }).end();
  const [response] = (await once(get, "response")) as [IncomingMessage];
  let bytes = 0;
  for await (const chunk of response) bytes += chunk.length;
  if (response.statusCode === 200 && bytes === sizeMiB * MiB) return;
  throw new Error(`GET ${path}: ${response.statusCode}, ${bytes} bytes`);
}

/** A JSON call. Throws unless it is a success. */
export async function call<T>(target: Target, method: string, path: string, body?: unknown) {
  const headers = { ...target.headers, "content-type": "application/json" };
  const sent = body === undefined ? {} : { body: JSON.stringify(body) };
  const response = await fetch(target.url + path, { method, headers, ...sent });
  const text = await response.text();
  if (!response.ok) throw new Error(`${method} ${path}: ${response.status} ${text}`);
  return (text === "" ? undefined : JSON.parse(text)) as T;
}

/** A web server with one file of so many MiB at `/N`, of which it gives ranges. */
export async function serveFiles(): Promise<{ url: string; server: Server }> {
  const server = createServer((asked, answer) => {
    const size = Number(asked.url?.slice(1)) * MiB;
    const [, first, last] = /^bytes=(\d+)-(\d*)$/.exec(asked.headers.range ?? "") ?? [];
    const start = Number(first ?? 0);
    const end = Math.min(size, last ? Number(last) + 1 : size);
    const headers = { "accept-ranges": "bytes", etag: '"bench"', "content-length": end - start };
    const range =
      first === undefined ? {} : { "content-range": `bytes ${start}-${end - 1}/${size}` };
    answer.writeHead(first === undefined ? 200 : 206, { ...headers, ...range });
    if (asked.method === "HEAD") answer.end();
    else pipeline(Readable.from(stretch(start, end)), answer).catch(() => undefined);
  });
  await once(server.listen(0, "127.0.0.1"), "listening");
  return { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`, server };
}

/** The bytes from `start` to before `end` of a file that is one piece over and over. */
function* stretch(start: number, end: number): Generator<Buffer> {
  for (let at = start; at < end; ) {
    const offset = at % MiB;
    const part = piece.subarray(offset, Math.min(MiB, offset + end - at));
    yield part;
    at += part.length;
  }
}

/** Seconds that some work takes. */
export async function secondsOf(work: () => Promise<unknown>): Promise<number> {
  const startedAtMs = performance.now();
  await work();
  return (performance.now() - startedAtMs) / 1000;
}

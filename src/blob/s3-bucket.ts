import { AwsV4Signer } from "aws4fetch";
import { toHex } from "../lib/hex.ts";
import { openByteReader } from "../lib/streams.ts";
import { readS3Error, S3Error } from "./s3-errors.ts";
import type { SizedStream } from "./store.ts";

/** One bucket of an S3 service, and who we are there. */
export interface S3Settings {
  /** Scheme and host, maybe with a path; the bucket follows in the path ("path-style"). */
  readonly endpoint: string;
  readonly region: string;
  readonly bucket: string;
  readonly accessKeyId: string;
  readonly secretAccessKey: string;
}

/** One call on one object. */
export interface S3Request {
  readonly method: "GET" | "HEAD" | "PUT" | "POST" | "DELETE";
  readonly key: string;
  readonly query?: Readonly<Record<string, string>>;
  readonly headers?: Readonly<Record<string, string>>;
  /** A stream is spent by the first try. */
  readonly body?: Uint8Array | SizedStream;
}

// A service that neither answers nor hangs up would hold up an image's object for ever. Sending a
// part and joining parts take their time, and a stream takes as long as its source.
const SHORT_WAIT_MS = 30_000;
const LONG_WAIT_MS = 120_000;

/** What S3 has to say is some lines; only an object's bytes are more. */
const MAX_TEXT_LENGTH = 64 * 1024;

/**
 * Sends requests to one bucket, each once, signed with AWS Signature Version 4. Whatever is no
 * success is thrown as an S3Error.
 *
 * Bytes in memory are signed with their SHA-256, which the service compares with what it receives,
 * so it refuses what was damaged on the way. A stream's is not known when its request starts, so a
 * streamed part goes as UNSIGNED-PAYLOAD; over plain http as well, where its bytes lie open anyway.
 */
export class S3Bucket {
  private readonly signingKeys = new Map<string, ArrayBuffer>();

  constructor(
    private readonly settings: S3Settings,
    private readonly send: typeof fetch = (input, init) => fetch(input, init),
  ) {}

  /** Gives the answer when it starts; its body is the caller's to read or to cancel. */
  open(request: S3Request): Promise<Response> {
    return this.exchange(request, async (response) => response);
  }

  /** Gives the answer's headers and its text. */
  call(request: S3Request): Promise<{ readonly headers: Headers; readonly text: string }> {
    return this.exchange(request, async (response) => {
      return { headers: response.headers, text: await readText(response) };
    });
  }

  private async exchange<T>(
    request: S3Request,
    take: (response: Response) => Promise<T>,
  ): Promise<T> {
    const { url, headers } = await this.sign(request);
    const { method, body = null } = request;
    const patience = new AbortController();
    const waitMs = patienceMs(request);
    const timer = waitMs === undefined ? undefined : setTimeout(() => patience.abort(), waitMs);
    try {
      const response = await this.send(url, {
        method,
        headers,
        body: body === null || body instanceof Uint8Array ? body : body.stream,
        // An address elsewhere would need another signature.
        redirect: "manual",
        signal: patience.signal,
      });
      if (response.ok) return await take(response);
      throw readS3Error(response.status, await readText(response));
    } catch (cause) {
      throw cause instanceof S3Error ? cause : new S3Error(undefined, undefined, { cause });
    } finally {
      if (timer !== undefined) clearTimeout(timer);
    }
  }

  private async sign({ method, key, query = {}, headers, body }: S3Request) {
    const { accessKeyId, secretAccessKey, region } = this.settings;
    const signer = new AwsV4Signer({
      method,
      url: this.urlOf(key, query),
      headers: { ...headers, "x-amz-content-sha256": await payloadHash(body) },
      accessKeyId,
      secretAccessKey,
      region,
      service: "s3",
      cache: this.signingKeys,
    });
    const signed = await signer.sign();
    // Bytes as they are stored, whose length is known. Not signed, as proxies rewrite it.
    signed.headers.set("accept-encoding", "identity");
    return signed;
  }

  private urlOf(key: string, query: Readonly<Record<string, string>>): string {
    const { endpoint, bucket } = this.settings;
    const path = `/${bucket}/${key}`.split("/").map(encodeSegment).join("/");
    const url = new URL(endpoint.replace(/\/+$/, "") + path);
    // Dot segments would lead to another object.
    if (!url.pathname.endsWith(path)) throw new Error("the key cannot be written as a path");
    url.search = new URLSearchParams(query).toString();
    return url.href;
  }
}

function patienceMs({ body }: S3Request): number | undefined {
  if (body === undefined) return SHORT_WAIT_MS;
  return body instanceof Uint8Array ? LONG_WAIT_MS : undefined;
}

async function payloadHash(body: S3Request["body"]): Promise<string> {
  if (body !== undefined && !(body instanceof Uint8Array)) return "UNSIGNED-PAYLOAD";
  return toHex(await crypto.subtle.digest("SHA-256", body ?? new Uint8Array(0)));
}

/** As Signature Version 4 wants it: everything but letters, digits and `-._~`. */
function encodeSegment(segment: string): string {
  return encodeURIComponent(segment).replace(
    /[!'()*]/g,
    (character) => `%${character.charCodeAt(0).toString(16).toUpperCase()}`,
  );
}

async function readText({ body }: Response): Promise<string> {
  if (body === null) return "";
  const reader = openByteReader(body);
  const decoder = new TextDecoder();
  let text = "";
  while (text.length < MAX_TEXT_LENGTH) {
    const chunk = await reader.read(new Uint8Array(4096));
    if (chunk.length === 0) return text;
    text += decoder.decode(chunk, { stream: true });
  }
  await reader.cancel("too long");
  return text;
}

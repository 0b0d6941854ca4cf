import { type FileQuery, toSearchParams } from "./source-behaviour.ts";

// The tests' side of the source server, for any runtime.

/** One request as the server's log tells it. */
export interface LoggedRequest {
  readonly method: string;
  /** Path and query. */
  readonly url: string;
  readonly range: string | null;
  readonly headers: Readonly<Record<string, string>>;
  /** Null until it is answered. */
  readonly status: number | null;
  /** Of the body, so far. */
  readonly bytesSent: number;
}

/** What the fake Image API knows of an image. */
export interface RemoteImage {
  /** What GET of the image answers. */
  readonly record: Readonly<Record<string, unknown>>;
  /** Any other token gets 401. */
  readonly expectToken?: string;
  /** How the image's file behaves; its `id` is the image's own. */
  readonly file: FileQuery;
}

/** A source server, told what to do and asked what it did. */
export class SourceControl {
  readonly url: string;

  constructor(url: string) {
    this.url = url;
  }

  /** The URL of a file. */
  fileUrl(query: FileQuery): string {
    return `${this.url}/file?${toSearchParams(query)}`;
  }

  /** The requests of that id, oldest first. */
  async log(id: string): Promise<LoggedRequest[]> {
    const response = await this.#send("GET", `/log/${encodeURIComponent(id)}`);
    return (await response.json()) as LoggedRequest[];
  }

  /** Forgets the requests of that id: the next one is the first. */
  async forget(id: string): Promise<void> {
    await this.#send("DELETE", `/log/${encodeURIComponent(id)}`);
  }

  /** Lets so many more answers through the gate; without a number, all. */
  async openGate(gate: string, count = -1): Promise<void> {
    await this.#send("POST", `/gate/${encodeURIComponent(gate)}?open=${count}`);
  }

  /** Waits until so many answers wait at the gate. */
  async waitAtGate(gate: string, count = 1): Promise<void> {
    await this.#send("GET", `/gate/${encodeURIComponent(gate)}?waiting=${count}`);
  }

  /** Puts an image into the fake Image API at `/image-api`. */
  async putImage(id: string, image: RemoteImage): Promise<void> {
    await this.#send("PUT", `/image-api-records/${id}`, JSON.stringify(image));
  }

  async #send(method: string, path: string, body?: string): Promise<Response> {
    const response = await fetch(this.url + path, { method, body: body ?? null });
    if (response.ok) return response;
    throw new Error(`${method} ${path}: ${response.status} ${await response.text()}`);
  }
}

/** Bytes as a URL of the source server holds them. */
export function bodyParameter(bytes: Uint8Array): string {
  const binary = Array.from(bytes, (byte) => String.fromCharCode(byte)).join("");
  return btoa(binary).replaceAll("+", "-").replaceAll("/", "_").replaceAll("=", "");
}

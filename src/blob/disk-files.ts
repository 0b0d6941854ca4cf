import type { ByteRange, SizedStream } from "./store.ts";

/**
 * Files below one directory, through workerd's disk service, which is the only thing this file knows. What the
 * service does is written down and tested in docs/decisions/0001-disk-store.md and test/unit/blob/disk-files.test.ts.
 *
 * A path is made of names that the caller has checked. A failed call throws an Error.
 */
export class DiskFiles {
  constructor(private readonly service: Fetcher) {}

  /** The file's bytes, or those of them that a range names; undefined when there is no such file. */
  async open(path: string, range?: ByteRange): Promise<OpenFile | undefined> {
    const headers: HeadersInit = range === undefined ? {} : { range: rangeHeader(range) };
    const response = await this.#fetch(path, { method: "GET", headers });
    const { body, status } = response;
    if (status === 404) {
      await body?.cancel();
      return undefined;
    }
    const size = sizeOfWhole(response, range) ?? sizeBesideRange(response, range);
    if (body !== null && size !== undefined) return { size, body };
    await body?.cancel();
    throw unexpected("GET", path, status);
  }

  async has(path: string): Promise<boolean> {
    const { status } = await this.#fetch(path, { method: "HEAD" });
    if (status !== 200 && status !== 404) throw unexpected("HEAD", path, status);
    return status === 200;
  }

  /** The names in a directory; undefined when there is none. */
  async list(path: string): Promise<readonly string[] | undefined> {
    const response = await this.#fetch(path, { method: "GET" });
    if (response.status === 200) {
      return (await response.json<{ name: string }[]>()).map(({ name }) => name);
    }
    await response.body?.cancel();
    if (response.status === 404) return undefined;
    throw unexpected("GET", path, response.status);
  }

  /** Writes a file and the directories it is in. There is a whole file or, when it fails, none. */
  async write(path: string, bytes: Uint8Array | SizedStream): Promise<void> {
    const body = bytes instanceof Uint8Array ? bytes : bytes.stream;
    const { status } = await this.#fetch(path, { method: "PUT", body });
    if (status !== 204) throw unexpected("PUT", path, status);
  }

  /** Deletes a file, or a directory with what is in it; gives whether there was one. */
  async remove(path: string): Promise<boolean> {
    const response = await this.#fetch(path, { method: "DELETE" });
    await response.body?.cancel();
    if (response.status === 204) return true;
    if (response.status === 404) return false;
    throw unexpected("DELETE", path, response.status);
  }

  #fetch(path: string, init: RequestInit): Promise<Response> {
    // The service looks at the path alone.
    return this.service.fetch(`http://disk/${path}`, init);
  }
}

/** Whoever takes it reads the body to its end or cancels it. */
export interface OpenFile {
  /** Bytes of the whole file. */
  readonly size: number;
  readonly body: ReadableStream<Uint8Array>;
}

/** RFC 9110 §14.2; the last byte is included. */
function rangeHeader({ offset, length }: ByteRange): string {
  return `bytes=${offset}-${offset + length - 1}`;
}

/** A range of all bytes is answered as none at all. */
function sizeOfWhole({ status, headers }: Response, range?: ByteRange): number | undefined {
  const [size] = /^\d+$/.exec(headers.get("content-length") ?? "") ?? [];
  if (status !== 200 || size === undefined) return undefined;
  const isAll = range === undefined || (range.offset === 0 && range.length >= Number(size));
  return isAll ? Number(size) : undefined;
}

function sizeBesideRange({ status, headers }: Response, range?: ByteRange): number | undefined {
  const [, first, size] = /^bytes (\d+)-\d+\/(\d+)$/.exec(headers.get("content-range") ?? "") ?? [];
  return status === 206 && Number(first) === range?.offset ? Number(size) : undefined;
}

function unexpected(method: string, path: string, status: number): Error {
  return new Error(`the disk service answered ${status} to ${method} ${path}`);
}

import { vi } from "vitest";

/** What stands in a place of the platform's cache, with its faults. */
export class FakeCache {
  /** Bytes by their address. */
  readonly held = new Map<string, Uint8Array>();
  matches = 0;
  /** In place of a look-up or a put; gives undefined where that is to go on. */
  onMatch: (url: string) => Promise<Response | undefined> | undefined = () => undefined;
  onPut: (url: string) => Promise<void> | undefined = () => undefined;

  /** Takes the place of every cache of this isolate until mocks are restored. */
  static install(): FakeCache {
    const fake = new FakeCache();
    vi.spyOn(caches, "open").mockImplementation(async () => fake as unknown as Cache);
    return fake;
  }

  async match(url: string): Promise<Response | undefined> {
    this.matches += 1;
    const other = this.onMatch(url);
    if (other !== undefined) return other;
    const bytes = this.held.get(url);
    return bytes && segmentResponse(bytes, bytes.length);
  }

  async put(url: string, response: Response): Promise<void> {
    const bytes = new Uint8Array(await response.arrayBuffer());
    await this.onPut(url);
    this.held.set(url, bytes);
  }
}

/** A response that says how long it is, truly or not. */
export function segmentResponse(bytes: Uint8Array, length: number): Response {
  return new Response(new Blob([bytes]).stream(), {
    headers: { "content-length": String(length) },
  });
}

import { DEFAULT_URI_FILTER, type UriFilter } from "../../../src/net/uri-filter.ts";

/** A request as a server sees it. */
export interface Seen {
  readonly url: string;
  readonly method: string | undefined;
  readonly headers: Headers;
  readonly init: RequestInit;
}

export type Handler = (request: Seen) => Response | Promise<Response>;

/** An internet of a few servers: a URL, or all below an origin, to what answers there. */
export class FakeWeb {
  readonly seen: Seen[] = [];

  constructor(private readonly handlers: Readonly<Record<string, Handler>>) {}

  readonly fetch = async (url: string, init: RequestInit): Promise<Response> => {
    const request = { url, method: init.method, headers: new Headers(init.headers), init };
    this.seen.push(request);
    const handler = this.handlers[url] ?? this.handlers[new URL(url).origin];
    if (handler === undefined) throw new Error(`Network connection lost: ${url} at 10.1.2.3:4567`);
    return handler(request);
  };

  /** What a reader of this web is called with; every name has a public address. */
  door(settings: Partial<UriFilter> = {}) {
    return {
      filter: { ...DEFAULT_URI_FILTER, ...settings },
      resolve: async () => ["8.8.8.8"],
      fetch: this.fetch,
    };
  }

  get urls(): string[] {
    return this.seen.map(({ url }) => url);
  }
}

export const redirectTo =
  (location: string, status = 302): Handler =>
  () =>
    new Response("moved", { status, headers: { location } });

/** A stream that tells whether it was cancelled. */
export function watchedBody(chunks: readonly string[] = [], isEndless = true) {
  const watched = { isCancelled: false, stream: new ReadableStream<Uint8Array>() };
  watched.stream = new ReadableStream<Uint8Array>({
    start(controller) {
      for (const chunk of chunks) controller.enqueue(new TextEncoder().encode(chunk));
      if (!isEndless) controller.close();
    },
    cancel() {
      watched.isCancelled = true;
    },
  });
  return watched;
}

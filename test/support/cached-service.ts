import { createExecutionContext, waitOnExecutionContext } from "cloudflare:test";
import { handle } from "../../src/app.ts";
import { CountingService } from "./counting.ts";

/** A CountingService with an image cache, which is filled as answers are read: so they are, before it goes on. */
export class CachedService extends CountingService {
  constructor(settings: Readonly<Record<string, string>> = {}) {
    super({ IMAGE_CACHE: "on", ...settings });
  }

  override async fetch(request: Request): Promise<Response> {
    const execution = createExecutionContext();
    const incoming = new Request<unknown, IncomingRequestCfProperties>(request);
    const response = await handle(incoming, this.env, execution, async () => undefined);
    const bytes = response.body && (await response.bytes().catch((error: unknown) => error));
    await waitOnExecutionContext(execution);
    if (bytes === null) return response;
    if (bytes instanceof Uint8Array) return new Response(bytes, response);
    const body = new ReadableStream({ start: (controller) => controller.error(bytes) });
    return new Response(body, response);
  }
}

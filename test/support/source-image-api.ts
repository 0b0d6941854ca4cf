import { readBehaviour, toSearchParams } from "./source-behaviour.ts";
import type { RemoteImage } from "./source-control.ts";
import type { Exchange } from "./source-exchange.ts";
import { serveFile } from "./source-file.ts";
import type { Gate, Registry } from "./source-state.ts";

/** As much of another Image API as an import from it needs. */
export class FakeImageApi {
  readonly #images = new Map<string, RemoteImage>();
  readonly #gates: Registry<Gate>;

  constructor(gates: Registry<Gate>) {
    this.#gates = gates;
  }

  put(id: string, image: RemoteImage): void {
    this.#images.set(id, image);
  }

  /** GET of an image, or of its file. */
  async serve(exchange: Exchange, id: string, part: "record" | "file"): Promise<void> {
    const image = this.#images.get(id);
    const { expectToken } = image ?? {};
    const token = exchange.request.headers["x-auth-token"];
    if (expectToken !== undefined && token !== expectToken) return exchange.answer(401);
    if (image === undefined) return exchange.answer(404);
    if (part === "record") {
      const headers = { "content-type": "application/json" };
      return exchange.answer(200, headers, JSON.stringify(image.record));
    }
    const behaviour = readBehaviour(toSearchParams({ ...image.file, id }));
    const gate = behaviour.gate === undefined ? undefined : this.#gates.get(behaviour.gate);
    await serveFile(exchange, behaviour, gate);
  }
}

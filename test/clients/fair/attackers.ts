import type { ClientRequest } from "node:http";
import { setTimeout as sleep } from "node:timers/promises";
import type { SourceServer } from "../../support/source-server.ts";
import type { ImageApi } from "../image-api.ts";
import { answerTo, beginToSend, type WayIn, writeAll } from "../sending.ts";
import { MiB, makeBytes } from "../test-data.ts";

/** Whom the attackers sign in as, and the server that their imports read from. */
export interface AttackScene {
  readonly api: ImageApi;
  readonly source: SourceServer;
}

/** An attack that goes on. */
export interface Load {
  /** How it fares. */
  tell(): string;
  stop(): void;
}

export interface Attack {
  readonly name: string;
  /** Starts it, and waits until it holds what it can get. */
  start(scene: AttackScene): Promise<Load>;
}

/** What each of them sends before it falls silent: more than a part. */
const HELD_MIB = 9;
const WAYS: readonly WayIn[] = ["PUT", "PUT in chunks", "stage", "stage in chunks", "tus"];
const COUNTS = [4, 10, 50];
/** What follows, by how many milliseconds lie between its bytes. */
const PACES: Readonly<Record<string, number | undefined>> = {
  "then nothing": undefined,
  "then 1 byte a second": 1_000,
  "then 1 byte in 50 s": 50_000,
};
/** How long they may take to bring what they hold. */
const SETTLING_MS = 15_000;

export const ATTACKS: readonly Attack[] = [
  ...COUNTS.flatMap((count) =>
    WAYS.flatMap((way) =>
      Object.entries(PACES).map(([pace, everyMs]) => ({
        name: `${count} × ${way}, ${pace}`,
        start: ({ api }: AttackScene) => startStalling(api, way, count, everyMs),
      })),
    ),
  ),
  slowImports(8, 20_000),
  slowImports(2, 200_000),
];

async function startStalling(
  api: ImageApi,
  way: WayIn,
  count: number,
  everyMs: number | undefined,
): Promise<Load> {
  const clients = Array.from({ length: count }, (_, index) => new StallingClient(index));
  const ready = clients.map((client) => client.start(api, way, everyMs));
  const waiting = new AbortController();
  await Promise.race([
    Promise.all(ready),
    sleep(SETTLING_MS, undefined, { signal: waiting.signal }).catch(() => undefined),
  ]);
  waiting.abort();
  return {
    tell: () => {
      const tally = new Map<string, number>();
      for (const { state } of clients) tally.set(state, (tally.get(state) ?? 0) + 1);
      return [...tally].map(([state, n]) => `${n} ${state}`).join(", ");
    },
    stop: () => {
      for (const client of clients) client.stop();
    },
  };
}

class StallingClient {
  state = "not begun";
  readonly #index: number;
  #request: ClientRequest | undefined;
  #timer: NodeJS.Timeout | undefined;
  #isStopped = false;

  constructor(index: number) {
    this.#index = index;
  }

  /** Sends what it holds. Ends early when it is refused. */
  async start(api: ImageApi, way: WayIn, everyMs: number | undefined): Promise<void> {
    try {
      const { id } = await api.create("stalling");
      // Both what fits into one object and what takes parts.
      const announcedBytes = this.#index % 2 === 0 ? 20 * MiB : 2048 * MiB;
      const request = await beginToSend(api, id, way, announcedBytes);
      if (this.#isStopped) return void request.destroy();
      this.#request = request;
      answerTo(request).then(
        ({ status }) => this.#end(`answered with ${status}`),
        () => this.#end("cut off"),
      );
      this.state = "not heard out";
      await writeAll(request, makeBytes(HELD_MIB));
      if (request.destroyed) return;
      this.state = "holding";
      if (everyMs !== undefined) this.#timer = setInterval(() => request.write("x"), everyMs);
    } catch (error) {
      this.#end(`refused: ${error}`);
    }
  }

  stop(): void {
    this.#isStopped = true;
    clearInterval(this.#timer);
    this.#request?.destroy();
  }

  #end(state: string): void {
    clearInterval(this.#timer);
    if (!this.#isStopped) this.state = state;
  }
}

function slowImports(count: number, bytesPerSecond: number): Attack {
  return {
    name: `${count} × web-download from a source of ${bytesPerSecond / 1_000} KB/s`,
    start: async ({ api, source }) => {
      const ids = Array.from({ length: count }, async (_, seed) => {
        const { id } = await api.create("slow");
        const uri = source.fileUrl({ size: 64 * MiB, seed, rate: bytesPerSecond });
        await api.import(id, { method: { name: "web-download", uri } });
        return id;
      });
      await Promise.all(ids);
      await sleep(3_000);
      return { tell: () => `${count} imports`, stop: () => undefined };
    },
  };
}

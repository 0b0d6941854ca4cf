import { readFile } from "node:fs/promises";
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
/** They hold what they can get once nothing is on its way any more for so long. */
const SETTLED_MS = 4_000;
const SETTLING_MS = 120_000;
/** What the drops that follow may come to. */
const NOISE_BYTES = 16 * 1024;

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
  for (const client of clients) void client.start(api, way, everyMs);
  await settle(clients, api.url);
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

/** Waits until bytes no longer move, be it that all have come or that nobody takes any more. */
async function settle(clients: readonly StallingClient[], serverUrl: string): Promise<void> {
  const startedAtMs = performance.now();
  let [last, sinceMs] = [0, startedAtMs];
  while (performance.now() - sinceMs < SETTLED_MS) {
    if (performance.now() - startedAtMs > SETTLING_MS) return;
    const written = clients.reduce((sum, client) => sum + client.writtenBytes, 0);
    const read = written - (await countQueuedBytes(serverUrl));
    const isAtRest = Math.abs(read - last) <= NOISE_BYTES && clients.every((one) => one.isBegun);
    if (!isAtRest) [last, sinceMs] = [read, performance.now()];
    await sleep(100);
  }
}

/** Bytes that this machine has taken for a server on it and not handed over yet; Linux only, elsewhere none. */
async function countQueuedBytes(serverUrl: string): Promise<number> {
  const port = Number(new URL(serverUrl).port).toString(16).toUpperCase().padStart(4, "0");
  const table = await readFile("/proc/net/tcp", "utf8").catch(() => "");
  return table.split("\n").reduce((sum, line) => {
    const [, , local = "", remote = "", , queues = ""] = line.split(/\s+/);
    const [toSend = "0", toRead = "0"] = queues.split(":");
    if (local.endsWith(`:${port}`)) return sum + Number.parseInt(toRead, 16);
    return remote.endsWith(`:${port}`) ? sum + Number.parseInt(toSend, 16) : sum;
  }, 0);
}

class StallingClient {
  state = "not begun";
  writtenBytes = 0;
  /** Whether it has sent something, or was refused. */
  isBegun = false;
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
      this.isBegun = true;
      answerTo(request).then(
        ({ status }) => this.#end(`answered with ${status}`),
        () => this.#end("cut off"),
      );
      this.state = "not heard out";
      await writeAll(request, this.#pieces());
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

  *#pieces(): Generator<Buffer> {
    for (const piece of makeBytes(HELD_MIB)) {
      yield piece;
      this.writtenBytes += piece.length;
    }
  }

  #end(state: string): void {
    this.isBegun = true;
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

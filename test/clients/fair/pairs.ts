import { setTimeout as sleep } from "node:timers/promises";
import { type SourceServer, startSourceServer } from "../../support/source-server.ts";
import { ImageApi } from "../image-api.ts";
import { makeStateDir, type Server, startServer } from "../server.ts";
import type { Attack } from "./attackers.ts";
import type { Victim, VictimScene } from "./victims.ts";

// One project attacks, and another is measured.

const settings = { IMPORT_ALLOW_PRIVATE_ADDRESSES: "true", IMPORT_ALLOWED_PORTS: "" };

/** A server that nobody else uses, and one to import from. */
export class Scene {
  readonly server: Server;
  readonly source: SourceServer;
  readonly #removeState: () => Promise<void>;

  private constructor(server: Server, source: SourceServer, removeState: () => Promise<void>) {
    this.server = server;
    this.source = source;
    this.#removeState = removeState;
  }

  static async open(vars: Readonly<Record<string, string>> = {}): Promise<Scene> {
    const state = await makeStateDir();
    const source = await startSourceServer();
    const server = await startServer(state.path, { ...settings, ...vars }, ["--quiet"]);
    return new Scene(server, source, state.remove);
  }

  /** A scene for one of the projects: `glimpse` attacks, `glimpse-other` is measured. */
  async of(cloud: "glimpse" | "glimpse-other"): Promise<VictimScene> {
    return { api: await ImageApi.signIn(this.server.url, cloud), source: this.source };
  }

  async close(): Promise<void> {
    await this.server.kill();
    await this.source.close();
    await this.#removeState();
  }
}

/** How one victim fared. */
export interface Result {
  readonly seconds: number;
  /** Undefined when all went well. */
  readonly failure: string | undefined;
}

/** What each victim may take: 10 s more than three times what it takes alone. */
export const limitOf = (aloneSeconds: number) => 10 + 3 * aloneSeconds;

/** Lets a victim do what it wants, for so long; then downloads the image, and takes it away. */
export async function measure(
  victim: Victim,
  scene: VictimScene,
  limitSeconds: number,
): Promise<Result> {
  const stop = new AbortController();
  const startedAtMs = performance.now();
  const passed = () => (performance.now() - startedAtMs) / 1000;
  let imageId: string | undefined;
  const work = async () => {
    imageId = (await scene.api.create(victim.name)).id;
    await victim.run(scene, imageId, stop.signal);
  };
  const limit = sleep(limitSeconds * 1000, "silence" as const, { signal: stop.signal });
  try {
    const ended = work();
    if ((await Promise.race([ended, limit])) === "silence") {
      ended.catch(() => undefined);
      return { seconds: passed(), failure: `nothing within ${limitSeconds.toFixed(1)} s` };
    }
    const seconds = passed();
    const { sha512 } = await scene.api.download(imageId ?? "");
    const failure = sha512 === victim.sha512 ? undefined : "other bytes came back";
    return { seconds, failure };
  } catch (error) {
    return { seconds: passed(), failure: error instanceof Error ? error.message : String(error) };
  } finally {
    stop.abort();
    limit.catch(() => undefined);
    if (imageId !== undefined) await scene.api.delete(imageId).catch(() => undefined);
  }
}

/** What victims take with a server to themselves: of two times the shorter, by their names. */
export async function measureAlone(victims: readonly Victim[]): Promise<Map<string, number>> {
  const scene = await Scene.open();
  try {
    const victimScene = await scene.of("glimpse-other");
    const seconds = new Map<string, number>();
    for (const round of [1, 2]) {
      for (const victim of victims) {
        const result = await measure(victim, victimScene, 60);
        if (result.failure !== undefined) {
          throw new Error(`${victim.name}, alone (${round}): ${result.failure}`);
        }
        const before = seconds.get(victim.name) ?? Number.POSITIVE_INFINITY;
        seconds.set(victim.name, Math.min(before, result.seconds));
      }
    }
    return seconds;
  } finally {
    await scene.close();
  }
}

/** Lets one attack go on while the victims come one after another; tells each result, and what became of the attack. */
export async function measureUnder(
  attack: Attack,
  victims: readonly Victim[],
  limitSeconds: (victim: Victim) => number,
  report: (victim: Victim, result: Result) => void,
): Promise<string> {
  const scene = await Scene.open();
  try {
    const load = await attack.start(await scene.of("glimpse"));
    const before = load.tell();
    const victimScene = await scene.of("glimpse-other");
    for (const victim of victims) {
      report(victim, await measure(victim, victimScene, limitSeconds(victim)));
    }
    const after = load.tell();
    load.stop();
    return after === before ? before : `${before}; in the end ${after}`;
  } finally {
    await scene.close();
  }
}

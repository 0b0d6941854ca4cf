import type { WayIn } from "../sending.ts";
import { MiB } from "../test-data.ts";
import { ATTACKS } from "./attackers.ts";
import { measure, type Result, Scene } from "./pairs.ts";
import { sender, VICTIMS, type Victim, type VictimScene } from "./victims.ts";

// Clients that are slow because their line is, and get their images through all the same.

const SIZE_BYTES = 20 * MiB;
const BYTES_PER_SECOND = 300_000;
const WAYS: readonly WayIn[] = ["tus", "PUT", "PUT in chunks"];
/** What their line takes, and half a minute. */
const LIMIT_SECONDS = SIZE_BYTES / BYTES_PER_SECOND + 30;
/** What else goes on: clients that fall silent, and others that send as fast as they can. */
const STALLING = "10 × PUT in chunks, then 1 byte a second";
const BUSY_CLIENTS = 2;

const SLOW_CLIENTS = WAYS.map((way) =>
  sender(`20 MiB at 300 KB/s by ${way}`, way, SIZE_BYTES, BYTES_PER_SECOND),
);

export interface HonestResult extends Result {
  readonly name: string;
  readonly beside: "nobody" | "others' load";
  readonly limitSeconds: number;
}

/** Lets each of them send with a server to itself, and then all of them on one with the load of others. */
export async function measureHonest(): Promise<readonly HonestResult[]> {
  const alone = await Promise.all(
    SLOW_CLIENTS.map(async (client) => {
      const scene = await Scene.open();
      try {
        return await measureOne(client, await scene.of("glimpse-other"), "nobody");
      } finally {
        await scene.close();
      }
    }),
  );
  return [...alone, ...(await measureBesideLoad())];
}

async function measureBesideLoad(): Promise<readonly HonestResult[]> {
  const scene = await Scene.open();
  try {
    const [others, own] = [await scene.of("glimpse"), await scene.of("glimpse-other")];
    const load = await ATTACKS.find(({ name }) => name === STALLING)?.start(others);
    const stop = new AbortController();
    const busy = Array.from({ length: BUSY_CLIENTS }, () => keepBusy(others, stop.signal));
    const results = await Promise.all(
      SLOW_CLIENTS.map((client) => measureOne(client, own, "others' load")),
    );
    stop.abort();
    await Promise.all(busy);
    load?.stop();
    return results;
  } finally {
    await scene.close();
  }
}

async function measureOne(
  client: Victim,
  scene: VictimScene,
  beside: HonestResult["beside"],
): Promise<HonestResult> {
  const result = await measure(client, scene, LIMIT_SECONDS);
  return { ...result, name: client.name, beside, limitSeconds: LIMIT_SECONDS };
}

/** One image after another, of each size and by each way. */
async function keepBusy(scene: VictimScene, signal: AbortSignal): Promise<void> {
  for (let turn = 0; !signal.aborted; turn += 1) {
    const client = VICTIMS[turn % VICTIMS.length];
    if (client !== undefined) await measure(client, scene, LIMIT_SECONDS);
  }
}

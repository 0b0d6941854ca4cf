import { setTimeout as sleep } from "node:timers/promises";
import { ImageApi } from "./image-api.ts";
import { poll } from "./poll.ts";
import { answerTo, writeAll } from "./sending.ts";
import { startServer } from "./server.ts";
import { countKeepingObjects, countTombstones, listStoredKeys } from "./stored-data.ts";
import { MiB, makeBytes } from "./test-data.ts";

// A deletion is a deletion: whatever ends the server between an image's tombstone and the removal of its bytes, they
// are gone soon after it is started again.

export const IMAGES = 24;
/** A part and a tail. */
const SENT_MIB = 9;
const LENGTH_BYTES = 20 * MiB;
const leaseSeconds = 2;
export const deletionSettings = { UPLOAD_LEASE_SECONDS: String(leaseSeconds) };
/** Two leases, which are a third longer than what is set, and what a busy machine needs besides. */
const patienceSeconds = (2 * leaseSeconds * 4) / 3 + 15;

/** When the server is killed: so long after the requests, or once so many images are known as deleted. */
export type Moment = { readonly ms: number } | { readonly tombstones: number };

/** How one round went. */
export interface Round {
  /** Of the images, how many were gone when the server came back. */
  readonly deleted: number;
  /** From the restart until nothing of those was left. */
  readonly seconds: number;
}

/** Makes images with open uploads, deletes all at once, kills the server in that moment, and looks at what is left. */
export async function runDeletionRound(stateDir: string, moment: Moment): Promise<Round> {
  let server = await startServer(stateDir, deletionSettings, ["--quiet"]);
  const before = await ImageApi.signIn(server.url, "glimpse");
  const ids: string[] = [];
  while (ids.length < IMAGES) ids.push(await openUpload(before));
  const deleting = ids.map((id) => before.delete(id).catch(() => undefined));
  await waitFor(moment, stateDir);
  await server.kill();
  await Promise.all(deleting);

  server = await startServer(stateDir, deletionSettings, ["--quiet"]);
  const startedAtMs = performance.now();
  const after = await ImageApi.signIn(server.url, "glimpse");
  const alive = new Set((await after.list()).map(({ id }) => id));
  await expectLeft(stateDir, alive);
  const seconds = (performance.now() - startedAtMs) / 1000;
  // What the kill came too early for.
  await Promise.all([...alive].map((id) => after.delete(id)));
  await expectLeft(stateDir, new Set());
  await server.stop();
  return { deleted: IMAGES - alive.size, seconds };
}

async function openUpload(api: ImageApi): Promise<string> {
  const { id } = await api.create("open upload");
  const path = await api.createResumable(id, LENGTH_BYTES);
  const patch = api.beginAppending(path, 0, SENT_MIB * MiB);
  const answer = answerTo(patch);
  await writeAll(patch, makeBytes(SENT_MIB));
  patch.end();
  const { status, body } = await answer;
  if (status !== 204) throw new Error(`PATCH: ${status} ${body}`);
  return id;
}

async function waitFor(moment: Moment, stateDir: string): Promise<void> {
  if ("ms" in moment) return sleep(moment.ms);
  const isDue = async () => (await countTombstones(stateDir)) >= moment.tombstones;
  while (!(await isDue())) await sleep(1);
}

/** Waits until the store has bytes of those images alone, and no other image's object keeps anything. */
async function expectLeft(stateDir: string, alive: ReadonlySet<string>): Promise<void> {
  const lookAtStore = async () => {
    const keys = await listStoredKeys(stateDir);
    return keys.filter((key) => !alive.has(key.split("/")[1] ?? ""));
  };
  await poll(lookAtStore, (keys) => keys.length === 0, patienceSeconds);
  const countObjects = () => countKeepingObjects(stateDir);
  await poll(countObjects, (keeping) => keeping <= alive.size, patienceSeconds);
}

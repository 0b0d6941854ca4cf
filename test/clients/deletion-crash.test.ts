import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { runDeletionRound } from "./deletion-rounds.ts";
import { killServers, makeStateDir } from "./server.ts";

let state: Awaited<ReturnType<typeof makeStateDir>>;

beforeEach(async () => {
  state = await makeStateDir();
});

afterEach(async () => {
  await killServers();
  await state.remove();
});

// `npm run test:deletions` does it 50 times.
const what = "a server that is killed while it deletes images with open resumable uploads";
describe(what, { timeout: 240_000 }, () => {
  it.each([1, 8, 16])("leaves nothing of them, killed at tombstone %d", async (tombstones) => {
    const { deleted } = await runDeletionRound(state.path, { tombstones });
    expect(deleted).toBeGreaterThanOrEqual(tombstones);
  });
});

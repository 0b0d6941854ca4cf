// `npm run test:deletions [ROUNDS]`: images with open resumable uploads, all deleted at once by a server that is killed
// meanwhile, 50 times. Prints how each round went, and fails when anything of a deleted image stays.

import { IMAGES, type Moment, runDeletionRound } from "./deletion-rounds.ts";
import { killServers, makeStateDir } from "./server.ts";

const rounds = Number(process.argv[2] ?? 50);

/** In turn after 30 to 250 ms, and at one more deleted image; how long a deletion takes is up to the machine. */
function momentOf(round: number): Moment {
  if (round % 2 === 1) return { tombstones: 1 + (((round - 1) / 2) % IMAGES) };
  return { ms: 30 + Math.round((220 * round) / Math.max(1, rounds - 1)) };
}

let failures = 0;
for (let round = 0; round < rounds; round += 1) {
  const moment = momentOf(round);
  const state = await makeStateDir();
  let end: string;
  try {
    const { deleted, seconds } = await runDeletionRound(state.path, moment);
    end = `${deleted} deleted, nothing left of them after ${seconds.toFixed(1)} s`;
  } catch (error) {
    failures += 1;
    end = `FAILED: ${error}`;
  }
  console.log(`killed at ${JSON.stringify(moment)}: ${end}`);
  await killServers();
  await state.remove();
}
console.log(`${rounds} rounds, ${failures} of them failed.`);
process.exit(failures === 0 ? 0 : 1);

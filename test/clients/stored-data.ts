import { readdir } from "node:fs/promises";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";

// Miniflare's own tables: what R2 would bill for. Its files are no measure, since a kill may leave one behind
// whose row was never written, which is the simulator's business and not ours.
const countRows = `SELECT
  (SELECT count(*) FROM _mf_objects) +
  (SELECT count(*) FROM _mf_multipart_parts) +
  (SELECT count(*) FROM _mf_multipart_uploads WHERE state = 0) AS n`;

// A bucket's file is there a moment before its tables are.
const findTables = "SELECT count(*) AS n FROM sqlite_master WHERE name = '_mf_multipart_parts'";

/** How many objects, parts and unfinished uploads the server's stores hold. It may be running. */
export async function countStoredPieces(stateDir: string): Promise<number> {
  return (await countRowsOfBuckets(stateDir)) + (await countFilesOf(join(stateDir, "disk")));
}

/** Every file of the store on disk, half-written ones too, and every directory with nothing in it. */
async function countFilesOf(directory: string): Promise<number> {
  // One may go away while it is looked for.
  const entries = await readdir(directory, { withFileTypes: true }).catch(() => []);
  const counts = entries.map(async (entry) =>
    entry.isDirectory() ? Math.max(1, await countFilesOf(join(directory, entry.name))) : 1,
  );
  return (await Promise.all(counts)).reduce((sum, count) => sum + count, 0);
}

async function countRowsOfBuckets(stateDir: string): Promise<number> {
  const dir = join(stateDir, "v3/r2/miniflare-R2BucketObject");
  const names = (await readdir(dir)).filter((name) => /^[0-9a-f]{64}\.sqlite$/.test(name));
  return names.reduce((sum, name) => {
    const database = new DatabaseSync(join(dir, name), { readOnly: true });
    const isReady = Number(database.prepare(findTables).get()?.n) > 0;
    const row = isReady ? database.prepare(countRows).get() : { n: 0 };
    database.close();
    return sum + Number(row?.n);
  }, 0);
}

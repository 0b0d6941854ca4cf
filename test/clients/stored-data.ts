import { readdir } from "node:fs/promises";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";

// Miniflare's own tables: what R2 would bill for. Its files are no measure, since a kill may leave one behind
// whose row was never written, which is the simulator's business and not ours.
const listKeys = `SELECT key FROM _mf_objects
  UNION ALL SELECT key FROM _mf_multipart_uploads WHERE state = 0
  UNION ALL SELECT key FROM _mf_multipart_parts JOIN _mf_multipart_uploads USING (upload_id)`;

// A bucket's file is there a moment before its tables are.
const findTables = "SELECT count(*) AS n FROM sqlite_master WHERE name = '_mf_multipart_parts'";

/** How many objects, parts and unfinished uploads the server's stores hold. It may be running. */
export async function countStoredPieces(stateDir: string): Promise<number> {
  const inBuckets = await listKeysOfBuckets(stateDir);
  return inBuckets.length + (await countFilesOf(join(stateDir, "disk")));
}

/** The keys of what the server's stores hold, finished or not. It may be running. */
export async function listStoredKeys(stateDir: string): Promise<readonly string[]> {
  const onDisk = await readdir(join(stateDir, "disk"));
  const inBuckets = await listKeysOfBuckets(stateDir);
  return [...onDisk.map((name) => name.replaceAll(".", "/")), ...inBuckets];
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

/** The key of each object, part and unfinished upload. */
async function listKeysOfBuckets(stateDir: string): Promise<readonly string[]> {
  const dir = join(stateDir, "v3/r2/miniflare-R2BucketObject");
  return readDatabases(dir, (database) => {
    const isReady = Number(database.prepare(findTables).get()?.n) > 0;
    return isReady
      ? database
          .prepare(listKeys)
          .all()
          .map(({ key }) => String(key))
      : [];
  });
}

async function readDatabases<T>(
  dir: string,
  read: (database: DatabaseSync) => readonly T[],
): Promise<readonly T[]> {
  const names = (await readdir(dir)).filter((name) => /^[0-9a-f]{64}\.sqlite$/.test(name));
  return names.flatMap((name) => {
    const database = new DatabaseSync(join(dir, name), { readOnly: true, timeout: 2_000 });
    try {
      return read(database);
    } finally {
      database.close();
    }
  });
}

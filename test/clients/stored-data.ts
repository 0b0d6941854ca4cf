import { copyFile, mkdtemp, readdir, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
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

// One that has been emptied has no tables either, and is billed for nothing.
const countTables = "SELECT count(*) AS n FROM sqlite_master";

/** How many image objects have anything in their storage. The server may be running. */
export async function countKeepingObjects(stateDir: string): Promise<number> {
  // Of copies, for one whose object was killed and has not been called since must be recovered by writing.
  const dir = await mkdtemp(join(tmpdir(), "glimpse-objects-"));
  try {
    const source = join(stateDir, "v3/do/glimpse-ImageObject");
    for (const name of (await readdir(source)).filter((file) => /\.sqlite(-wal)?$/.test(file))) {
      // A log goes away with what was to be recovered.
      await copyFile(join(source, name), join(dir, name)).catch(unlessMissing);
    }
    const count = (db: DatabaseSync) => [Number(db.prepare(countTables).get()?.n)];
    return (await readDatabases(dir, count, false)).filter((tables) => tables > 0).length;
  } finally {
    await rm(dir, { recursive: true, force: true });
  }
}

function unlessMissing(error: NodeJS.ErrnoException): void {
  if (error.code !== "ENOENT") throw error;
}

/** How many images the server's D1 database knows as deleted. The server may be running. */
export async function countTombstones(stateDir: string): Promise<number> {
  const dir = join(stateDir, "v3/d1/miniflare-D1DatabaseObject");
  const count = "SELECT count(*) AS n FROM images WHERE status = 'deleted'";
  const [n = 0] = await readDatabases(dir, (db) => [Number(db.prepare(count).get()?.n)]);
  return n;
}

async function readDatabases<T>(
  dir: string,
  read: (database: DatabaseSync) => readonly T[],
  readOnly = true,
): Promise<readonly T[]> {
  const names = (await readdir(dir)).filter((name) => /^[0-9a-f]{64}\.sqlite$/.test(name));
  return names.flatMap((name) => {
    const database = new DatabaseSync(join(dir, name), { readOnly, timeout: 2_000 });
    try {
      return read(database);
    } finally {
      database.close();
    }
  });
}

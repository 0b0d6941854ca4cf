import { readdir } from "node:fs/promises";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";

/**
 * How many pieces of data the stopped server's R2 bucket still holds: objects, parts of unfinished
 * uploads, and anything it forgot.
 */
export async function countStoredPieces(stateDir: string): Promise<number> {
  const files = await readdir(join(stateDir, "v3/r2/glimpse-images/blobs")).catch(() => []);
  return files.length;
}

/** How many multipart uploads of the stopped server's R2 bucket are neither completed nor aborted. */
export async function countOpenUploads(stateDir: string): Promise<number> {
  const dir = join(stateDir, "v3/r2/miniflare-R2BucketObject");
  const names = (await readdir(dir)).filter((n) => /^[0-9a-f]{64}\.sqlite$/.test(n));
  let open = 0;
  for (const name of names) {
    const database = new DatabaseSync(join(dir, name), { readOnly: true });
    // Miniflare keeps finished uploads as rows with another state.
    const row = database.prepare("SELECT count(*) AS n FROM _mf_multipart_uploads WHERE state = 0");
    open += Number(row.get()?.n ?? 0);
    database.close();
  }
  return open;
}

// @ts-check
// Runs the Worker on this machine: wrangler's own bundle in one workerd, with D1, R2 and the Durable
// Objects kept in a state directory. The Miniflare API is used instead of `wrangler dev` because a
// direct socket reaches the Worker without a proxy in between, so bodies stream at full speed.

import { execFile } from "node:child_process";
import { randomBytes } from "node:crypto";
import { readdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { promisify } from "node:util";
import { convertV4MiniflareOptions, Log, LogLevel, Miniflare, R2_PLUGIN } from "miniflare";
import {
  unstable_getMiniflareWorkerOptions,
  unstable_readConfig,
  unstable_splitSqlQuery,
} from "wrangler";

/** @typedef {import("@cloudflare/workers-types").D1Database} D1Database */

/** A reason not to start that a person is to read as it is. */
export class Refusal extends Error {}

export const projectDir = join(import.meta.dirname, "..");
const configPath = join(projectDir, "wrangler.toml");

/** The settings of wrangler.toml with their defaults. */
export const defaultSettings = unstable_readConfig({ config: configPath }).vars;

/**
 * Bundles the Worker as a deployment would, and gives the path of its module.
 * @param {string} stateDir
 */
async function bundleWorker(stateDir) {
  const outDir = join(stateDir, "build");
  const wrangler = join(projectDir, "node_modules/wrangler/bin/wrangler.js");
  const args = [wrangler, "deploy", "--dry-run", "--outdir", outDir, "--config", configPath];
  // Without its banner wrangler does not look for a newer version of itself either.
  const quiet = {
    WRANGLER_HIDE_BANNER: "true",
    WRANGLER_SEND_METRICS: "false",
    WRANGLER_WRITE_LOGS: "false",
  };
  await promisify(execFile)(process.execPath, args, {
    cwd: projectDir,
    env: { ...process.env, ...quiet },
  }).catch((error) => {
    throw new Refusal(`The Worker could not be bundled:\n${error.stderr}`);
  });
  return join(outDir, "index.js");
}

/**
 * The secret that signs tokens: made once, so that tokens outlive a restart.
 * @param {string} stateDir
 */
async function readTokenSecret(stateDir) {
  const path = join(stateDir, "token-secret");
  const fresh = randomBytes(48).toString("base64url");
  await writeFile(path, fresh, { mode: 0o600, flag: "wx" }).catch((error) => {
    if (error.code !== "EEXIST") throw error;
  });
  return readFile(path, "utf8");
}

/**
 * Applies what `migrations/` has and the database lacks, keeping count in the table that
 * `wrangler d1 migrations` uses.
 * @param {D1Database} database
 */
async function applyMigrations(database) {
  await database.exec(
    "CREATE TABLE IF NOT EXISTS d1_migrations (id INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT UNIQUE, applied_at TIMESTAMP DEFAULT CURRENT_TIMESTAMP NOT NULL)",
  );
  const { results } = await database.prepare("SELECT name FROM d1_migrations").all();
  const applied = new Set(results.map((row) => row.name));
  const names = await readdir(join(projectDir, "migrations"));
  for (const name of names.sort()) {
    if (!name.endsWith(".sql") || applied.has(name)) continue;
    const sql = await readFile(join(projectDir, "migrations", name), "utf8");
    await database.batch([
      ...unstable_splitSqlQuery(sql).map((statement) => database.prepare(statement)),
      database.prepare("INSERT INTO d1_migrations (name) VALUES (?)").bind(name),
    ]);
  }
}

// Miniflare's R2 runs under rules so old that the stream which joins the parts of an object knows no
// back-pressure: a slow download would fill the memory with the whole image.
const getR2Services = R2_PLUGIN.getServices;
R2_PLUGIN.getServices = async (options) => {
  const services = await getR2Services.call(R2_PLUGIN, options);
  for (const service of Array.isArray(services) ? services : []) {
    if ("worker" in service && service.name?.startsWith("r2:bucket")) {
      service.worker?.compatibilityFlags?.push("fixup-transform-stream-backpressure");
    }
  }
  return services;
};

/**
 * Starts the Worker on `host:port`. `vars` override settings, `onLog` gets each line the Worker logs.
 * @param {{
 *   stateDir: string, host: string, port: number, vars: Record<string, string>,
 *   onLog: (message: string) => void,
 * }} options
 */
export async function startLocalServer({ stateDir, host, port, vars, onLog }) {
  const modulePath = await bundleWorker(stateDir);
  const { workerOptions } = unstable_getMiniflareWorkerOptions(configPath);
  const miniflare = new Miniflare(
    convertV4MiniflareOptions({
      workers: [
        {
          ...workerOptions,
          name: "glimpse",
          modules: [{ type: "ESModule", path: modulePath }],
          modulesRoot: join(stateDir, "build"),
          bindings: {
            ...defaultSettings,
            DEVELOPMENT: "true",
            IDENTITY: await readFile(join(projectDir, "dev/identity.json"), "utf8"),
            TOKEN_SECRET: await readTokenSecret(stateDir),
            ...vars,
          },
          unsafeDirectSockets: [{ host, port }],
        },
      ],
      // The place where `wrangler d1 execute --local` and its like look, too.
      resourcePersistencePath: join(stateDir, "v3"),
      cf: false,
      telemetry: { enabled: false },
      log: new Log(LogLevel.ERROR),
      handleStructuredLogs: (entry) => onLog(entry.message),
    }),
  );
  await applyMigrations(await miniflare.getD1Database("DB"));
  return { stop: () => miniflare.dispose() };
}

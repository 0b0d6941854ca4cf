// @ts-check
// Runs the Worker on this machine: wrangler's own bundle in one workerd, with D1, R2, the Durable Objects and the
// images themselves kept in a state directory. The Miniflare API is used instead of `wrangler dev` because a
// direct socket reaches the Worker without a proxy in between, so bodies stream at full speed.

import { randomBytes } from "node:crypto";
import { copyFile, mkdir, readFile, writeFile } from "node:fs/promises";
import { hostname, networkInterfaces } from "node:os";
import { join } from "node:path";
import { convertV4MiniflareOptions, Log, LogLevel, Miniflare, R2_PLUGIN } from "miniflare";
import {
  unstable_getMiniflareWorkerOptions,
  unstable_readConfig,
  unstable_splitSqlQuery,
} from "wrangler";
import { renameDevelopmentIds } from "./development-ids.mjs";
import { createLedger, listApplied, readPending } from "./migrations.mjs";
import { guarded } from "./runtime-guard.mjs";
import { configPath, projectDir, runWrangler } from "./wrangler.mjs";

/** @typedef {import("@cloudflare/workers-types").D1Database} D1Database */

const config = unstable_readConfig({ config: configPath });

/** The settings of wrangler.toml with their defaults. */
export const defaultSettings = config.vars;

/** What else of the Worker's environment has its place: none of these is a secret of somebody's own. */
export const bindingNames = [
  ...[...config.d1_databases, ...config.r2_buckets].map(({ binding }) => binding),
  ...config.durable_objects.bindings.map((/** @type {{ name: string }} */ { name }) => name),
  ...["DISK", "DEVELOPMENT"],
];

/** The users of a server that is given no others. */
export const developmentIdentity = await readFile(join(projectDir, "dev/identity.json"), "utf8");

/**
 * What is set in a `.dev.vars` beside wrangler.toml, secrets and settings alike.
 * @param {string} [path] of wrangler.toml
 */
export function readDevVars(path = configPath) {
  const { workerOptions } = unstable_getMiniflareWorkerOptions(path);
  // Wrangler gives one list of what is in the two files.
  const { bindings } = /** @type {Partial<WorkerOptions>} */ (workerOptions);
  return Object.fromEntries(
    Object.entries({ ...bindings }).filter(([name, value]) => value !== defaultSettings[name]),
  );
}

/**
 * Bundles the Worker as a deployment would, and gives the path of its module.
 * @param {string} stateDir
 */
async function bundleWorker(stateDir) {
  const outDir = join(stateDir, "build");
  await runWrangler(["deploy", "--dry-run", "--outdir", outDir]);
  return join(outDir, "index.js");
}

/**
 * The secret that signs tokens: made once, so that tokens outlive a restart.
 * @param {string} stateDir
 */
async function readTokenSecret(stateDir) {
  await mkdir(stateDir, { recursive: true });
  const path = join(stateDir, "token-secret");
  const fresh = randomBytes(48).toString("base64url");
  await writeFile(path, fresh, { mode: 0o600, flag: "wx" }).catch((error) => {
    if (error.code !== "EEXIST") throw error;
  });
  return readFile(path, "utf8");
}

/**
 * Applies what `migrations/` has and the database lacks, each file at once or not at all.
 * @param {D1Database} database
 */
async function applyMigrations(database) {
  await database.prepare(createLedger).run();
  const { results } = await database.prepare(listApplied).all();
  for (const { sql } of await readPending(results)) {
    const statements = unstable_splitSqlQuery(sql);
    await database.batch(statements.map((statement) => database.prepare(statement)));
  }
}

/**
 * A runtime that ends with this process.
 * @param {import("miniflare").MiniflareOptions} setup
 */
const run = (setup) =>
  guarded(async () => {
    const started = new Miniflare(setup);
    await started.ready;
    return started;
  });

/**
 * Brings the database up to date before anything else has it, in a process of its own that opens no port.
 * @param {Partial<WorkerOptions>} workerOptions
 * @param {string} stateDir
 * @param {boolean} isDevelopment whether the development users are served
 */
async function prepareDatabase({ d1Databases }, stateDir, isDevelopment) {
  const miniflare = await run(
    convertV4MiniflareOptions({
      workers: [
        { name: "migrations", modules: true, script: "", ...(d1Databases && { d1Databases }) },
      ],
      ...common(stateDir),
    }),
  );
  try {
    const database = await miniflare.getD1Database("DB");
    await applyMigrations(database);
    if (isDevelopment) await renameDevelopmentIds(database, stateDir);
  } finally {
    await miniflare.dispose();
  }
}

/**
 * What every process says to Miniflare on this state directory.
 * @param {string} stateDir
 */
const common = (stateDir) => ({
  // The place where `wrangler d1 execute --local` and its like look, too.
  resourcePersistencePath: join(stateDir, "v3"),
  cf: /** @type {const} */ (false),
  telemetry: { enabled: false },
  log: new Log(LogLevel.ERROR),
});

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

/** @typedef {import("miniflare").V4WorkerOptions} WorkerOptions */

/** Where uploads go: to a directory, or to the simulator of R2. @typedef {"disk" | "r2"} DefaultStore */

/**
 * The stores of a server on this machine as STORES lists them: those of wrangler.toml, and a directory. All of them
 * are there whichever is the default, for images that came to one stay in it.
 * @param {DefaultStore} defaultStore
 */
function localStores(defaultStore) {
  /** @type {{ id: string, type: string, default?: boolean }[]} */
  const deployed = JSON.parse(`${defaultSettings.STORES}`);
  const usual =
    deployed.find((store) => store.default) ?? deployed.find(({ type }) => type === "r2");
  const disk = {
    ...{ id: "disk", type: "disk", binding: "DISK" },
    description: "A directory of this machine",
  };
  const chosen = defaultStore === "disk" ? disk.id : usual?.id;
  return JSON.stringify(
    [disk, ...deployed].map((store) =>
      store.type === "http" ? store : { ...store, default: store.id === chosen },
    ),
  );
}

/**
 * The names and addresses of this machine that a server on that address answers to.
 * @param {string} host
 */
function ownHosts(host) {
  if (host !== "0.0.0.0" && host !== "::") return [host];
  const interfaces = Object.values(networkInterfaces()).flatMap((addresses = []) => addresses);
  // A zone is not part of an address.
  const addresses = interfaces.map(({ address }) => address.replace(/%.*/, ""));
  return [...addresses, hostname()].filter((name) => /^[\w.:-]+$/.test(name));
}

/**
 * Starts the Worker on `host:port`. `vars` override settings and secrets, and both those of `.dev.vars`; `onLog` gets
 * each line the Worker logs. Uploads go to `store` by themselves. Gives the text of the identity document in use, too.
 * `wrapper` is a module to run in the Worker's place, which imports it as `./index.js`; `beside` makes the options of
 * further workers in the same process from those of the Worker.
 * @param {{
 *   stateDir: string, host: string, port: number, store: DefaultStore, vars: Record<string, string>,
 *   onLog: (message: string) => void,
 *   wrapper?: string, beside?: (options: Partial<WorkerOptions>) => readonly WorkerOptions[],
 * }} options
 */
export async function startLocalServer(options) {
  const { stateDir, host, port, store, vars, onLog, wrapper, beside = () => [] } = options;
  const { workerOptions } = unstable_getMiniflareWorkerOptions(configPath);
  const given = {
    ...defaultSettings,
    STORES: localStores(store),
    IDENTITY: developmentIdentity,
    TOKEN_SECRET: await readTokenSecret(stateDir),
    ...readDevVars(),
    ...vars,
  };
  const hosts = [...ownHosts(host), given.DEVELOPMENT_HOSTS].filter((one) => one !== "");
  const bindings = { ...given, DEVELOPMENT: "true", DEVELOPMENT_HOSTS: hosts.join() };
  const [bundlePath] = await Promise.all([
    bundleWorker(stateDir),
    // Done when the port opens, so that nobody's first request finds no tables.
    prepareDatabase(
      /** @type {Partial<WorkerOptions>} */ (workerOptions),
      stateDir,
      bindings.IDENTITY === developmentIdentity,
    ),
  ]);
  const modulePaths = [bundlePath];
  if (wrapper !== undefined) {
    const wrapperPath = join(stateDir, "build/wrapper.js");
    await copyFile(wrapper, wrapperPath);
    modulePaths.unshift(wrapperPath);
  }
  const diskPath = join(stateDir, "disk");
  await mkdir(diskPath, { recursive: true });
  const serviceBindings = { DISK: { disk: { path: diskPath, writable: true } } };
  const setup = convertV4MiniflareOptions({
    workers: [
      {
        ...workerOptions,
        name: "glimpse",
        modules: modulePaths.map((path) => ({ type: "ESModule", path })),
        modulesRoot: join(stateDir, "build"),
        serviceBindings,
        bindings,
        unsafeDirectSockets: [{ host, port }],
      },
      ...beside({ .../** @type {Partial<WorkerOptions>} */ (workerOptions), serviceBindings }),
    ],
    ...common(stateDir),
    handleStructuredLogs: (entry) => onLog(entry.message),
  });
  const miniflare = await run(setup);
  const database = await miniflare.getD1Database("DB");
  return { database, identity: String(bindings.IDENTITY), stop: () => miniflare.dispose() };
}

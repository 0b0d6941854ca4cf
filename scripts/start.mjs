// @ts-check
// `npm start`: Glimpse on this machine, ready to use.

import { writeFile } from "node:fs/promises";
import net from "node:net";
import { join, relative, resolve } from "node:path";
import { parseArgs } from "node:util";
import { cloudsYaml } from "./clouds.mjs";
import { defaultSettings, startLocalServer } from "./local-server.mjs";
import { fileRefusal, listen, lockState, makeWritable } from "./state-dir.mjs";
import { projectDir, Refusal } from "./wrangler.mjs";

const usage = `Runs Glimpse on this machine.

Usage: npm start -- [options]

  --port PORT        port to listen on (default 9292)
  --host HOST        address to listen on (default 127.0.0.1). Any other lets the network in, and the
                     passwords of the development users are public
  --state DIR        where images and metadata are kept (default .wrangler/state)
  --store disk|r2    where uploads go: a directory, or the simulator of R2, which is slower and is what tests
                     and deployments use (default disk). Images stay where they are
  --var NAME=VALUE   override a setting of wrangler.toml; may be repeated
  --quiet            do not print the log
  --help             print this text
`;

/** @param {string[]} args */
function readOptions(args) {
  const { values } = parseArgs({
    args,
    options: {
      port: { type: "string", default: "9292" },
      host: { type: "string", default: "127.0.0.1" },
      state: { type: "string", default: join(projectDir, ".wrangler/state") },
      store: { type: "string", default: "disk" },
      var: { type: "string", multiple: true, default: [] },
      quiet: { type: "boolean", default: false },
      help: { type: "boolean", default: false },
    },
  });
  const port = Number(values.port);
  if (!/^\d+$/.test(values.port) || port < 1 || port > 65_535) {
    throw new Refusal(`--port must be a number from 1 to 65535, not '${values.port}'.`);
  }
  const store = readStore(values.store);
  return { ...values, port, store, stateDir: resolve(values.state), vars: readVars(values.var) };
}

/**
 * @param {string} name
 * @returns {import("./local-server.mjs").DefaultStore}
 */
function readStore(name) {
  if (name === "disk" || name === "r2") return name;
  throw new Refusal(`--store must be disk or r2, not '${name}'.`);
}

/** @param {string[]} pairs */
function readVars(pairs) {
  /** @type {Record<string, string>} */
  const vars = {};
  for (const pair of pairs) {
    const [, name, value] = /^([^=]+)=(.*)$/s.exec(pair) ?? [];
    if (name === undefined || value === undefined) {
      throw new Refusal(`--var must look like NAME=VALUE, not '${pair}'.`);
    }
    if (!(name in defaultSettings)) {
      throw new Refusal(`--var: wrangler.toml has no setting named ${name}.`);
    }
    vars[name] = value;
  }
  return vars;
}

/**
 * workerd's own complaint about a taken port is long and late, so the port is tried first.
 * @param {string} host
 * @param {number} port
 */
async function assertPortIsFree(host, port) {
  const server = await listen({ host, port }).catch((error) => {
    /** @type {Record<string, string>} */
    const reasons = {
      EADDRINUSE: `Port ${port} on ${host} is already in use; choose another with --port.`,
      EACCES: `This user may not listen on port ${port}; choose one above 1023 with --port.`,
      EADDRNOTAVAIL: `This machine has no address ${host}; choose another with --host.`,
      ENOTFOUND: `There is no host named ${host}; choose another with --host.`,
    };
    throw new Refusal(reasons[error.code] ?? `Cannot listen on ${host}:${port}: ${error.message}`);
  });
  await new Promise((done) => server.close(done));
}

/**
 * The Worker checks its settings at the first request, so a bad one shows here.
 * @param {string} url
 */
async function waitUntilHealthy(url) {
  const response = await fetch(`${url}/healthcheck`, {
    headers: { accept: "application/json" },
    signal: AbortSignal.timeout(10_000),
  });
  if (response.status === 200) return;
  const { message } = /** @type {{ message: string }} */ (await response.json());
  throw new Refusal(`The Worker does not serve: ${message}`);
}

/** @param {string[]} args */
async function start(args) {
  const options = readOptions(args);
  if (options.help) return console.log(usage);
  try {
    await serve(options);
  } catch (error) {
    throw fileRefusal(error, options.stateDir) ?? error;
  }
}

/** @param {ReturnType<typeof readOptions>} options */
async function serve({ host, port, stateDir, store, vars, quiet }) {
  const startedAtMs = performance.now();
  await assertPortIsFree(host, port);
  makeWritable(stateDir);
  makeWritable(join(projectDir, ".wrangler/tmp"), "The Worker is built there.");
  await lockState(stateDir);

  const server = await startLocalServer({
    stateDir,
    host,
    port,
    store,
    vars,
    onLog: (message) => quiet || console.log(message),
  });
  for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"]) {
    // Miniflare's own handlers end this process before workerd has closed its databases.
    process.removeAllListeners(signal);
    process.once(signal, () => server.stop().then(() => process.exit(0)));
  }

  // An address that means "every address of this machine" is no address to send a client to.
  const reachable = ["0.0.0.0", "::"].includes(host) ? "127.0.0.1" : host;
  const url = `http://${net.isIPv6(reachable) ? `[${reachable}]` : reachable}:${port}`;
  await waitUntilHealthy(url);
  const clouds = cloudsYaml(url);
  const cloudsPath = join(stateDir, "clouds.yaml");
  await writeFile(cloudsPath, clouds);
  const seconds = ((performance.now() - startedAtMs) / 1000).toFixed(1);
  console.log(`
Glimpse answers on ${url} after ${seconds} s. Its state is in ${shorten(stateDir)}.

This clouds.yaml, also in ${shorten(cloudsPath)}, names a member (glimpse), a reader, a member of
another project and an administrator:

${clouds}
Try, in another terminal:

  export OS_CLIENT_CONFIG_FILE=${cloudsPath}
  openstack --os-cloud glimpse image create --file package.json --disk-format raw first-image
`);
  if (!isLoopback(host)) console.error(networkWarning(host));
}

/** @param {string} host */
function isLoopback(host) {
  return host === "localhost" || host === "::1" || (net.isIPv4(host) && host.startsWith("127."));
}

/** @param {string} host */
const networkWarning = (host) => `
WARNING: THIS SERVER IS OPEN TO THE NETWORK (--host ${host}).
Its users, an administrator among them, have the passwords of dev/identity.json, which everybody knows:
whoever reaches it can read, change and delete every image. README.md › Deploy has the way to users of
your own.
`;

/** @param {string} path */
function shorten(path) {
  const fromHere = relative(process.cwd(), path);
  return fromHere.startsWith("..") ? path : fromHere;
}

try {
  await start(process.argv.slice(2));
} catch (error) {
  const isOption =
    error instanceof TypeError && "code" in error && `${error.code}`.startsWith("ERR_PARSE_ARGS");
  if (isOption) console.error(`${error.message}\n\n${usage}`);
  else console.error(error instanceof Refusal ? error.message : error);
  process.exit(isOption ? 2 : 1);
}

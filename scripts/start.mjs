// @ts-check
// `npm start`: Glimpse on this machine, ready to use.

import { readFileSync } from "node:fs";
import { writeFile } from "node:fs/promises";
import net from "node:net";
import { join, relative, resolve } from "node:path";
import { parseArgs } from "node:util";
import { cloudsOf, cloudsYaml, developmentClouds } from "./clouds.mjs";
import {
  bindingNames,
  defaultSettings,
  developmentIdentity,
  startLocalServer,
} from "./local-server.mjs";
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
  --identity FILE    users and projects of your own, made with npm run identity (default dev/identity.json)
  --secret NAME=VALUE
                     a secret, such as the keys of an S3 store; may be repeated. Other users of this machine may
                     see it in the list of processes: the file .dev.vars here, of lines NAME=VALUE, is for others
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
      identity: { type: "string" },
      secret: { type: "string", multiple: true, default: [] },
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
  const vars = {
    ...(values.identity !== undefined && { IDENTITY: readIdentity(values.identity) }),
    ...readSecrets(values.secret),
    ...readVars(values.var),
  };
  return { ...values, port, store, stateDir: resolve(values.state), vars };
}

/** @param {string} path */
function readIdentity(path) {
  try {
    return readFileSync(path, "utf8");
  } catch (error) {
    const isMissing = error instanceof Error && "code" in error && error.code === "ENOENT";
    const reason = isMissing ? "there is no such file" : error;
    throw new Refusal(`--identity ${path} cannot be read: ${reason}.`);
  }
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
  const vars = pairs.map((pair) => {
    const [, name, value] = /^([^=]+)=(.*)$/s.exec(pair) ?? [];
    if (name === undefined || value === undefined) {
      throw new Refusal(`--var must look like NAME=VALUE, not '${pair}'.`);
    }
    if (!(name in defaultSettings)) {
      throw new Refusal(`--var: wrangler.toml has no setting named ${name}.`);
    }
    return [name, value];
  });
  return Object.fromEntries(vars);
}

/** @param {string[]} pairs of which no message quotes a value */
function readSecrets(pairs) {
  const secrets = pairs.map((pair) => {
    const [, name, value] = /^([a-z_]\w*)=(.*)$/is.exec(pair) ?? [];
    if (name === undefined || value === undefined) {
      throw new Refusal(
        "--secret must look like NAME=VALUE, with a name of letters, digits and _.",
      );
    }
    if (name in defaultSettings) {
      throw new Refusal(`--secret: ${name} is a setting of wrangler.toml; use --var.`);
    }
    if (bindingNames.includes(name)) {
      throw new Refusal(`--secret: ${name} is what the server gives the Worker by itself.`);
    }
    return [name, value];
  });
  return Object.fromEntries(secrets);
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
  const isOwn = server.identity !== developmentIdentity;
  const clouds = isOwn ? cloudsOf(server.identity) : developmentClouds;
  const yaml = cloudsYaml(url, clouds);
  const cloudsPath = join(stateDir, "clouds.yaml");
  await writeFile(cloudsPath, yaml);
  const who = isOwn
    ? "your users. Passwords\nare asked for, or come from OS_PASSWORD"
    : "a member (glimpse), a reader, a member of\nanother project and an administrator";
  const seconds = ((performance.now() - startedAtMs) / 1000).toFixed(1);
  console.log(`
Glimpse answers on ${url} after ${seconds} s. Its state is in ${shorten(stateDir)}.

This clouds.yaml, also in ${shorten(cloudsPath)}, names ${who}:

${yaml}
Try, in another terminal:

  export OS_CLIENT_CONFIG_FILE=${cloudsPath}
  openstack --os-cloud ${clouds[0]?.name} image create --file package.json --disk-format raw first-image
`);
  const isPublic = JSON.parse(server.identity).development === true;
  if (isPublic && !isLoopback(host)) console.error(networkWarning(host));
}

/** @param {string} host */
function isLoopback(host) {
  return host === "localhost" || host === "::1" || (net.isIPv4(host) && host.startsWith("127."));
}

/** @param {string} host */
const networkWarning = (host) => `
WARNING: THIS SERVER IS OPEN TO THE NETWORK (--host ${host}).
Its users, an administrator among them, have the passwords of dev/identity.json, which everybody knows:
whoever reaches it can read, change and delete every image. With --identity FILE it has users of your own:
npm run identity -- new makes such a file.
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

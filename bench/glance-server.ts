// Debian's Glance with what it needs, as one does without a service manager: MariaDB, Keystone and glance-api, each
// bound to this machine and with everything it writes in one directory.

import { type ChildProcess, execFile, spawn } from "node:child_process";
import { randomBytes } from "node:crypto";
import { once } from "node:events";
import { existsSync } from "node:fs";
import { mkdir, open, readFile, writeFile } from "node:fs/promises";
import { userInfo } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { promisify } from "node:util";
import { findFreePort } from "../test/clients/server.ts";
import type { Target } from "./case.ts";

const HOST = "127.0.0.1";
/** Processes of glance-api, and of Keystone. */
export const WORKERS = 2;
const PATIENCE_MS = 120_000;

const PROGRAMS = {
  "glance-api": ["/usr/bin/glance-api", "/usr/bin/glance-manage"],
  keystone: ["/usr/bin/keystone-manage", "/usr/bin/keystone-wsgi-public", "/usr/bin/uwsgi"],
  "mariadb-server": ["/usr/sbin/mariadbd", "/usr/bin/mariadb-install-db", "/usr/bin/mariadb"],
};

/** The Debian packages that are not installed. */
export function missingPackages(): readonly string[] {
  return Object.entries(PROGRAMS)
    .filter(([, paths]) => !paths.every((path) => existsSync(path)))
    .map(([name]) => name);
}

export interface Glance {
  /** As an administrator; the token lasts as long as a run does. */
  readonly target: Target;
  /** Debian's versions of what runs. */
  readonly versions: string;
  stop(): Promise<void>;
}

/** Starts all of it in an empty directory, which takes about half a minute. */
export async function startGlance(directory: string): Promise<Glance> {
  const daemons: Daemon[] = [];
  const stop = async () => {
    for (const daemon of daemons.toReversed()) await daemon.stop();
  };
  try {
    const password = randomBytes(24).toString("hex");
    const database = await startDatabase(directory, password, daemons);
    const identityUrl = await startKeystone(directory, database, password, daemons);
    const url = await startImages(directory, database, identityUrl, password, daemons);
    const target = await patiently(() => signInWhereBelieved(url, identityUrl, password));
    return { target, versions: await versions(), stop };
  } catch (error) {
    await stop();
    throw error;
  }
}

/** Gives the address of a database by its name. */
async function startDatabase(
  directory: string,
  password: string,
  daemons: Daemon[],
): Promise<(name: string) => string> {
  const port = await findFreePort();
  const [data, socket] = [join(directory, "mysql"), join(directory, "mysql.sock")];
  const common = ["--no-defaults", `--datadir=${data}`, `--user=${userInfo().username}`];
  const login = "--auth-root-authentication-method=normal";
  await run("/usr/bin/mariadb-install-db", [...common, login, "--skip-test-db"]);
  const network = [`--socket=${socket}`, `--bind-address=${HOST}`, `--port=${port}`];
  const files = [`--pid-file=${join(directory, "mysql.pid")}`];
  daemons.push(
    await Daemon.start(directory, "mariadbd", "/usr/sbin/mariadbd", [
      ...common,
      ...network,
      ...files,
    ]),
  );
  const sql = ["keystone", "glance"]
    .map((name) => `CREATE DATABASE ${name} CHARACTER SET utf8;`)
    .concat(`CREATE USER bench@'${HOST}' IDENTIFIED BY '${password}';`)
    .concat(`GRANT ALL ON *.* TO bench@'${HOST}';`)
    .join("\n");
  const client = ["--no-defaults", `--socket=${socket}`, "--user=root", "-e", sql];
  await patiently(() => run("/usr/bin/mariadb", client));
  return (name) => `mysql+pymysql://bench:${password}@${HOST}:${port}/${name}?charset=utf8`;
}

/** Gives the address of the identity API. */
async function startKeystone(
  directory: string,
  database: (name: string) => string,
  password: string,
  daemons: Daemon[],
): Promise<string> {
  const port = await findFreePort();
  const url = `http://${HOST}:${port}`;
  const home = join(directory, "keystone");
  await mkdir(home);
  const config = await writeConfig(join(home, "keystone.conf"), {
    DEFAULT: { log_file: join(directory, "keystone.log") },
    database: { connection: database("keystone") },
    fernet_tokens: { key_repository: join(home, "fernet") },
    credential: { key_repository: join(home, "credential") },
    token: { provider: "fernet", expiration: 86_400 },
  });
  await Promise.all(
    ["fernet", "credential"].map((name) => mkdir(join(home, name), { mode: 0o700 })),
  );
  const manage = (...args: string[]) => run("/usr/bin/keystone-manage", [...config, ...args]);
  const { username, gid } = userInfo();
  const owner = ["--keystone-user", username, "--keystone-group", String(gid)];
  await manage("db_sync");
  await manage("fernet_setup", ...owner);
  await manage("credential_setup", ...owner);
  const endpoints = ["admin", "internal", "public"].flatMap((kind) => [
    `--bootstrap-${kind}-url`,
    `${url}/v3/`,
  ]);
  await manage("bootstrap", "--bootstrap-password", password, ...endpoints);
  const options = [
    ...["--http-socket", `${HOST}:${port}`, "--plugins", "python3", "--master", "--die-on-term"],
    ...["--lazy-apps", "--need-app", "--processes", String(WORKERS), "--threads", "4"],
    ...["--wsgi-file", "/usr/bin/keystone-wsgi-public", "--buffer-size", "65535"],
    ...["--disable-logging", "--enable-threads"],
  ];
  const env = { OS_KEYSTONE_CONFIG_DIR: home };
  daemons.push(await Daemon.start(directory, "keystone-uwsgi", "/usr/bin/uwsgi", options, env));
  await patiently(() => answers(`${url}/v3`));
  return url;
}

/** Gives the address of the image API. */
async function startImages(
  directory: string,
  database: (name: string) => string,
  identityUrl: string,
  password: string,
  daemons: Daemon[],
): Promise<string> {
  const port = await findFreePort();
  const url = `http://${HOST}:${port}`;
  const home = join(directory, "glance");
  for (const name of ["", "images", "staging", "tasks", "lock", "cache"]) {
    await mkdir(join(home, name), { recursive: true });
  }
  const config = await writeConfig(join(home, "glance-api.conf"), {
    DEFAULT: {
      bind_host: HOST,
      bind_port: port,
      workers: WORKERS,
      log_file: join(directory, "glance-api.log"),
      node_staging_uri: `file://${join(home, "staging")}`,
      image_cache_dir: join(home, "cache"),
    },
    database: { connection: database("glance") },
    glance_store: {
      stores: "file,http",
      default_store: "file",
      filesystem_store_datadir: join(home, "images"),
    },
    keystone_authtoken: {
      auth_url: identityUrl,
      www_authenticate_uri: identityUrl,
      auth_type: "password",
      username: "admin",
      password,
      project_name: "admin",
      user_domain_name: "Default",
      project_domain_name: "Default",
    },
    paste_deploy: { flavor: "keystone", config_file: "/etc/glance/glance-api-paste.ini" },
    oslo_concurrency: { lock_path: join(home, "lock") },
    task: { work_dir: join(home, "tasks") },
  });
  await run("/usr/bin/glance-manage", [...config, "db_sync"]);
  daemons.push(await Daemon.start(directory, "glance-api", "/usr/bin/glance-api", config));
  await patiently(() => answers(`${url}/healthcheck`));
  return url;
}

/** Writes an INI file and gives the options that name it. */
async function writeConfig(
  path: string,
  sections: Readonly<Record<string, Readonly<Record<string, string | number>>>>,
): Promise<string[]> {
  const lines = Object.entries(sections).flatMap(([name, values]) => [
    `[${name}]`,
    ...Object.entries(values).map(([key, value]) => `${key} = ${value}`),
  ]);
  await writeFile(path, `${lines.join("\n")}\n`, { mode: 0o600 });
  return ["--config-file", path];
}

/** A worker that could not ask Keystone for a moment refuses that token from then on, so all are asked. */
async function signInWhereBelieved(url: string, identityUrl: string, password: string) {
  const target = {
    ...{ name: "Glance", url },
    headers: { "x-auth-token": await signIn(identityUrl, password) },
  };
  for (let n = 0; n < 10 * WORKERS; n++) await answers(`${url}/v2/images`, target.headers);
  return target;
}

async function signIn(identityUrl: string, password: string): Promise<string> {
  const domain = { id: "default" };
  const response = await fetch(`${identityUrl}/v3/auth/tokens`, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({
      auth: {
        identity: {
          methods: ["password"],
          password: { user: { name: "admin", domain, password } },
        },
        scope: { project: { name: "admin", domain } },
      },
    }),
  });
  const token = response.headers.get("x-subject-token");
  if (token === null) throw new Error(`Keystone: ${response.status} ${await response.text()}`);
  return token;
}

async function versions(): Promise<string> {
  const format = "-f=$" + "{Package} $" + "{Version}, ";
  const listed = await run("/usr/bin/dpkg-query", ["-W", format, ...Object.keys(PROGRAMS)]);
  return listed.replace(/, $/, "");
}

async function answers(url: string, headers: Target["headers"] = {}): Promise<void> {
  // Each time on a connection of its own, so that every worker has its turn.
  const response = await fetch(url, { headers: { ...headers, connection: "close" } });
  await response.body?.cancel();
  if (response.status >= 400) throw new Error(`${url} answers ${response.status}`);
}

/** Tries until it succeeds, and throws the last error when it takes too long. */
async function patiently<T>(attempt: () => Promise<T>): Promise<T> {
  const deadlineMs = performance.now() + PATIENCE_MS;
  for (;;) {
    try {
      return await attempt();
    } catch (error) {
      if (performance.now() > deadlineMs) throw error;
    }
    await sleep(200);
  }
}

async function run(program: string, args: readonly string[]): Promise<string> {
  const { stdout } = await promisify(execFile)(program, args, { timeout: PATIENCE_MS });
  return stdout;
}

/** A process that goes on until it is told to end; what it prints is kept in a file. */
class Daemon {
  readonly #child: ChildProcess;
  readonly #logPath: string;

  private constructor(child: ChildProcess, logPath: string) {
    this.#child = child;
    this.#logPath = logPath;
  }

  static async start(
    directory: string,
    name: string,
    program: string,
    args: readonly string[],
    env: Readonly<Record<string, string>> = {},
  ): Promise<Daemon> {
    const logPath = join(directory, `${name}.out`);
    const log = await open(logPath, "w");
    const child = spawn(program, args, {
      stdio: ["ignore", log.fd, log.fd],
      env: { ...process.env, ...env },
    });
    await once(child, "spawn");
    await log.close();
    return new Daemon(child, logPath);
  }

  async stop(): Promise<void> {
    if (this.#child.exitCode !== null || this.#child.signalCode !== null) {
      console.error(`It had ended by itself:\n${await readFile(this.#logPath, "utf8")}`);
      return;
    }
    const ended = once(this.#child, "exit");
    this.#child.kill("SIGTERM");
    const hanging = setTimeout(() => this.#child.kill("SIGKILL"), 15_000);
    await ended;
    clearTimeout(hanging);
  }
}

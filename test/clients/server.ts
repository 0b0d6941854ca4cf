import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, rm } from "node:fs/promises";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";

const startScript = join(import.meta.dirname, "../../scripts/start.mjs");

/** A server as `npm start` runs it, in a process group of its own. */
export interface Server {
  readonly url: string;
  readonly stateDir: string;
  readonly cloudsPath: string;
  /** The process group's leader. */
  readonly pid: number;
  /** Everything it printed so far. */
  output(): string;
  /** Ends it as Ctrl-C would. */
  stop(): Promise<void>;
  /** Ends every process of it at once, as a power cut would. */
  kill(): Promise<void>;
  /** Ends the process that was started, and none that it started. */
  killAlone(): Promise<void>;
}

/** An empty directory for a server's state, with the call that takes it away again. */
export async function makeStateDir(): Promise<{ path: string; remove(): Promise<void> }> {
  const path = await mkdtemp(join(tmpdir(), "glimpse-clients-"));
  return { path, remove: () => rm(path, { recursive: true, force: true }) };
}

const started = new Set<() => Promise<void>>();

/** Ends whatever a failed test left running. */
export async function killServers(): Promise<void> {
  for (const kill of started) await kill();
  started.clear();
}

/**
 * Starts a server and waits until it answers. `vars` override settings; `options` are more of `npm start`; a port
 * is given by who has to know it before; `wrapper` is a command that runs the server as its own arguments.
 */
export async function startServer(
  stateDir: string,
  vars: Readonly<Record<string, string>> = {},
  options: readonly string[] = [],
  givenPort?: number,
  wrapper: readonly string[] = [],
): Promise<Server> {
  const port = givenPort ?? (await findFreePort());
  const overrides = Object.entries(vars).flatMap(([name, value]) => ["--var", `${name}=${value}`]);
  const [command, ...more] = [...wrapper, process.execPath];
  const child = spawn(
    command ?? process.execPath,
    [...more, startScript, "--port", String(port), "--state", stateDir, ...overrides, ...options],
    {
      detached: true,
      stdio: ["ignore", "pipe", "pipe"],
      // What a killed server leaves in its directory for temporary files goes away with its state.
      env: { ...process.env, TMPDIR: stateDir },
    },
  );
  const { pid } = child;
  if (pid === undefined) throw new Error("The server could not be started.");
  const kill = () => end(child, () => process.kill(-pid, "SIGKILL"));
  started.add(kill);
  const output = await waitForLine(child, "Glimpse answers on");
  return {
    url: `http://127.0.0.1:${port}`,
    stateDir,
    cloudsPath: join(stateDir, "clouds.yaml"),
    pid,
    output,
    stop: () => end(child, () => child.kill("SIGTERM")),
    kill,
    killAlone: () => end(child, () => child.kill("SIGKILL")),
  };
}

async function end(child: ChildProcess, signal: () => void): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const ended = once(child, "close");
  signal();
  await ended;
}

function waitForLine(child: ChildProcess, beginning: string): Promise<() => string> {
  let text = "";
  return new Promise((done, fail) => {
    const take = (chunk: Buffer) => {
      text += chunk.toString();
      if (text.includes(beginning)) done(() => text);
    };
    child.stdout?.on("data", take);
    child.stderr?.on("data", take);
    child.once("exit", (code) => fail(new Error(`The server ended (${code}):\n${text}`)));
  });
}

/** A port that nobody listens on at this moment. */
export async function findFreePort(): Promise<number> {
  const probe = createServer().listen(0, "127.0.0.1");
  await once(probe, "listening");
  const address = probe.address();
  probe.close();
  if (address === null || typeof address === "string") throw new Error("No free port.");
  return address.port;
}

import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { join } from "node:path";
import type { Outcome } from "./commands.ts";

const script = join(import.meta.dirname, "../../cli/glimpse.mjs");

/** The `glimpse` command with a home of its own. */
export class Glimpse {
  readonly #home: string;
  readonly #env: Readonly<Record<string, string>>;

  /** In `home` it works and keeps its state; `env` says which cloud. */
  constructor(home: string, env: Readonly<Record<string, string>>) {
    this.#home = home;
    this.#env = env;
  }

  /** Starts a command, for what is to be done to it while it runs. */
  start(...args: string[]): Running {
    // Nothing of the user's own clouds gets in.
    const inherited = Object.entries(process.env).filter(([name]) => !name.startsWith("OS_"));
    const child = spawn(process.execPath, [script, ...args], {
      cwd: this.#home,
      stdio: ["ignore", "pipe", "pipe"],
      env: {
        ...Object.fromEntries(inherited),
        HOME: this.#home,
        XDG_CONFIG_HOME: "",
        XDG_STATE_HOME: join(this.#home, "state"),
        ...this.#env,
      },
    });
    return new Running(child);
  }

  run(...args: string[]): Promise<Outcome> {
    return this.start(...args).ended;
  }

  /** Runs a command that must succeed, and gives the JSON that it prints. */
  async succeed<T>(...args: string[]): Promise<T> {
    const { code, stdout, stderr } = await this.run(...args, "--json");
    if (code !== 0) throw new Error(`glimpse ${args.join(" ")} ended with ${code}:\n${stderr}`);
    return JSON.parse(stdout) as T;
  }
}

/** A command that runs. */
export class Running {
  readonly ended: Promise<Outcome>;
  readonly #child: ChildProcess;
  #stdout = "";
  #stderr = "";

  constructor(child: ChildProcess) {
    this.#child = child;
    child.stdout?.on("data", (chunk) => {
      this.#stdout += chunk;
    });
    child.stderr?.on("data", (chunk) => {
      this.#stderr += chunk;
    });
    this.ended = once(child, "close").then(([code]) => ({
      code: typeof code === "number" ? code : -1,
      stdout: this.#stdout,
      stderr: this.#stderr,
    }));
  }

  signal(name: NodeJS.Signals): void {
    this.#child.kill(name);
  }
}

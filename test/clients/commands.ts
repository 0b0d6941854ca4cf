import { spawn } from "node:child_process";
import { join } from "node:path";
import { createInterface } from "node:readline";

/** What a command printed, and how it ended. */
export interface Outcome {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

export interface CommandOptions {
  readonly env?: Readonly<Record<string, string>>;
  /** What is piped into the command; without it, its input is a silent terminal. */
  readonly stdin?: string;
}

/** Runs stock OpenStack commands, one after the other, in one Python process (driver.py says why). */
export class Commands {
  readonly #driver;
  readonly #lines: AsyncIterator<string>;
  #last: Promise<unknown> = Promise.resolve();

  constructor(env: Readonly<Record<string, string>>) {
    // Debian's own Python: the clients are installed for it, whichever other python3 is on the PATH.
    this.#driver = spawn("/usr/bin/python3", [join(import.meta.dirname, "driver.py")], {
      stdio: ["pipe", "pipe", "inherit"],
      env: { ...process.env, ...env },
    });
    this.#lines = createInterface({ input: this.#driver.stdout })[Symbol.asyncIterator]();
  }

  /** Runs one command and tells how it ended. */
  run(argv: readonly string[], options: CommandOptions = {}): Promise<Outcome> {
    const outcome = this.#last.then(async () => {
      this.#driver.stdin.write(`${JSON.stringify({ argv, ...options })}\n`);
      const { value, done } = await this.#lines.next();
      if (done) throw new Error(`The driver ended while it ran: ${argv.join(" ")}`);
      return JSON.parse(value) as Outcome;
    });
    this.#last = outcome.catch(() => undefined);
    return outcome;
  }

  /** Runs one command that must succeed, and gives what it printed. */
  async succeed(argv: readonly string[], options: CommandOptions = {}): Promise<string> {
    const { code, stdout, stderr } = await this.run(argv, options);
    if (code !== 0) throw new Error(tell(argv, `ended with ${code}`, stderr + stdout));
    return stdout;
  }

  /** Runs one command that must fail, and gives its complaint. */
  async fail(argv: readonly string[], options: CommandOptions = {}): Promise<string> {
    const { code, stdout, stderr } = await this.run(argv, options);
    if (code === 0) throw new Error(tell(argv, "succeeded", stdout));
    return stderr;
  }

  close(): void {
    this.#driver.stdin.end();
  }
}

function tell(argv: readonly string[], what: string, output: string): string {
  return `${argv.join(" ").slice(0, 500)} ${what}:\n${output.slice(0, 2000)}`;
}

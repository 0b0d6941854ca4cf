import { spawn } from "node:child_process";
import { join } from "node:path";
import { createInterface } from "node:readline";

/** Horizon's functions for metadata definitions, in one Python process (dashboard.py says what they are). */
export class Dashboard {
  readonly #process;
  readonly #lines: AsyncIterator<string>;

  constructor(imageUrl: string, token: string, pageSize: number) {
    // Debian's own Python, for which Horizon is installed.
    this.#process = spawn("/usr/bin/python3", [join(import.meta.dirname, "dashboard.py")], {
      stdio: ["pipe", "pipe", "inherit"],
      env: { ...process.env, IMAGE_URL: imageUrl, TOKEN: token, PAGE_SIZE: String(pageSize) },
    });
    this.#lines = createInterface({ input: this.#process.stdout })[Symbol.asyncIterator]();
  }

  /** What one function gives, or the error it throws: one call at a time. */
  async call(name: string, args: unknown[] = [], kwargs: object = {}): Promise<DashboardAnswer> {
    this.#process.stdin.write(`${JSON.stringify({ call: name, args, kwargs })}\n`);
    const { value, done } = await this.#lines.next();
    if (done) throw new Error(`Horizon ended while it ran ${name}.`);
    return JSON.parse(value);
  }

  close(): void {
    this.#process.stdin.end();
  }
}

export interface DashboardAnswer {
  // biome-ignore lint/suspicious/noExplicitAny: tests look into answers of every shape.
  readonly value?: any;
  readonly status?: number | null;
  readonly error?: string;
}

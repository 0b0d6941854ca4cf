import { readdirSync, readFileSync, writeFileSync } from "node:fs";

/** Ticks of the kernel's clock of CPU time, which is 100 a second wherever Node runs on Linux. */
const TICKS_PER_SECOND = 100;

/** The process of workerd that this one started, simulators of D1 and R2 included; undefined without /proc. */
export function findWorkerd(): Workerd | undefined {
  try {
    for (const pid of readdirSync("/proc").filter((name) => /^\d+$/.test(name))) {
      const [name, fields] = statOf(pid) ?? [];
      if (name === "workerd" && Number(fields?.[1]) === process.pid) return new Workerd(pid);
    }
  } catch {
    // No /proc on this system.
  }
  return undefined;
}

/** The name of a process, and the fields of its `stat` from the third on. */
function statOf(pid: string): [string, string[]] | undefined {
  try {
    const text = readFileSync(`/proc/${pid}/stat`, "utf8");
    const [, name = "", rest = ""] = /\((.*)\) (.*)/.exec(text) ?? [];
    return [name, rest.split(" ")];
  } catch {
    return undefined;
  }
}

export class Workerd {
  readonly #pid: string;

  constructor(pid: string) {
    this.#pid = pid;
  }

  /** CPU time since its start, in seconds. */
  cpuSeconds(): number {
    const fields = statOf(this.#pid)?.[1] ?? [];
    return (Number(fields[11]) + Number(fields[12])) / TICKS_PER_SECOND;
  }

  /** Has the peak of its memory begin anew. */
  resetPeak(): void {
    writeFileSync(`/proc/${this.#pid}/clear_refs`, "5");
  }

  /** The most resident memory since then, in MiB. */
  peakMiB(): number {
    const status = readFileSync(`/proc/${this.#pid}/status`, "utf8");
    return Number(/VmHWM:\s+(\d+) kB/.exec(status)?.[1]) / 1024;
  }
}

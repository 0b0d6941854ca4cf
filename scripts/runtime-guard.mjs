// @ts-check
// Has workerd end with the process that started it, however that ends: what is killed has no time to end another.

import childProcess from "node:child_process";
import { fileURLToPath } from "node:url";

/**
 * Runs work that starts workerd, and has a process of its own watch each process that it starts.
 * @template T
 * @param {() => Promise<T>} work
 * @returns {Promise<T>}
 */
export async function guarded(work) {
  const { spawn } = childProcess;
  // Miniflare keeps the process to itself.
  childProcess.spawn = /** @type {typeof spawn} */ (
    (/** @type {Parameters<typeof spawn>} */ ...args) => watch(spawn(...args))
  );
  try {
    return await work();
  } finally {
    childProcess.spawn = spawn;
  }
}

/** @param {import("node:child_process").ChildProcess} child */
function watch(child) {
  if (child.pid === undefined) return child;
  const watcher = childProcess.fork(fileURLToPath(import.meta.url), [String(child.pid)], {
    // Out of reach of a signal to the whole group, such as Ctrl-C.
    detached: true,
    stdio: ["ignore", "ignore", "ignore", "ipc"],
    execArgv: [],
  });
  watcher.unref();
  watcher.channel?.unref();
  // Its id may then be another's.
  child.once("exit", () => watcher.kill("SIGKILL"));
  return child;
}

const [, program, pid] = process.argv;
if (program === fileURLToPath(import.meta.url)) {
  process.once("disconnect", () => {
    try {
      process.kill(Number(pid), "SIGKILL");
    } catch {
      // It has ended by itself.
    }
  });
}

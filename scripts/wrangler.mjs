// @ts-check
// Wrangler as the other scripts run it: this project's own, on this project's configuration.

import { execFile } from "node:child_process";
import { join } from "node:path";
import { promisify } from "node:util";

/** A reason not to go on that a person is to read as it is. */
export class Refusal extends Error {}

export const projectDir = join(import.meta.dirname, "..");
export const configPath = join(projectDir, "wrangler.toml");

const program = join(projectDir, "node_modules/wrangler/bin/wrangler.js");
// Without its banner wrangler does not look for a newer version of itself either.
const quiet = {
  WRANGLER_HIDE_BANNER: "true",
  WRANGLER_SEND_METRICS: "false",
  WRANGLER_WRITE_LOGS: "false",
};

/**
 * Runs a wrangler command and gives what it printed; its failure is a Refusal with what it said.
 * @param {string[]} args
 * @returns {Promise<string>}
 */
export async function runWrangler(args) {
  const command = [program, ...args, "--config", configPath];
  const env = { ...process.env, ...quiet };
  try {
    const { stdout } = await promisify(execFile)(process.execPath, command, {
      cwd: projectDir,
      env,
    });
    return stdout;
  } catch (error) {
    // Where a failure is told depends on the command.
    const { stdout = "", stderr = "" } = /** @type {{ stdout?: string, stderr?: string }} */ (
      error
    );
    const said = `${stdout}${stderr}`.trim();
    throw new Refusal(`wrangler ${args.join(" ")} failed:\n${said || error}`);
  }
}

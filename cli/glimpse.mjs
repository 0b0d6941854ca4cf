#!/usr/bin/env node
// @ts-check
// The `glimpse` command: uploads and downloads of images that survive dropped connections.

import { inspect, parseArgs } from "node:util";
import { findCloud } from "./clouds.mjs";
import { download } from "./download.mjs";
import { EXIT, Failure } from "./failure.mjs";
import { renderCommandHelp, renderHelp } from "./help.mjs";
import { importUrl } from "./import.mjs";
import { list } from "./list.mjs";
import { exportMetadefs, listMetadefs, loadMetadefs } from "./metadefs.mjs";
import { commonOptions, parseCount } from "./options.mjs";
import { printableJson, printableLines } from "./printable.mjs";
import { Reporter } from "./reporter.mjs";
import { resume } from "./resume.mjs";
import { Session } from "./session.mjs";
import { upload } from "./upload.mjs";

/** @typedef {import("./options.mjs").Command} Command */
/** @typedef {import("./options.mjs").Values} Values */

/**
 * By name, of one word or two.
 * @type {Readonly<Record<string, Command>>}
 */
const commands = {
  upload,
  resume,
  download,
  import: importUrl,
  list,
  "metadefs load": loadMetadefs,
  "metadefs export": exportMetadefs,
  "metadefs list": listMetadefs,
};

const DEFAULT_RETRIES = "10";
const MAX_RETRIES = 1000;

/** @param {string[]} args */
async function main(args) {
  const [first] = args;
  if (first === "--help" || first === "-h" || first === "help") {
    process.stdout.write(renderHelp(commands));
    return;
  }
  const [command, rest] = findCommand(args);
  const { values, operands } = readArguments(command, rest);
  if (values.help) {
    process.stdout.write(renderCommandHelp(command));
    return;
  }
  await run(command, values, operands);
}

/**
 * The command that the first word or two name, and what is behind them.
 * @param {string[]} args
 * @returns {[Command, string[]]}
 */
function findCommand(args) {
  for (const count of [1, 2]) {
    const name = args.slice(0, count).join(" ");
    const command = Object.hasOwn(commands, name) ? commands[name] : undefined;
    if (command !== undefined) return [command, args.slice(count)];
  }
  const [first] = args;
  const known = Object.keys(commands);
  const below = known.filter((name) => name.startsWith(`${first} `));
  const what = `There is no command '${first}'`;
  const told = first === undefined || below.length > 0 ? "Say what to do" : what;
  const choice = (below.length > 0 ? below : known).join(", ");
  throw new Failure(`${told}: ${choice}. 'glimpse --help' tells more.`, EXIT.usage);
}

/**
 * @param {Command} command
 * @param {string[]} args
 */
function readArguments(command, args) {
  const { values, positionals } = parse(command, args);
  const least = command.operands.filter((name) => !name.startsWith("[")).length;
  const isCountRight = positionals.length >= least && positionals.length <= command.operands.length;
  if (!isCountRight && !values.help) {
    throw new Failure(`Usage: ${command.usage}`, EXIT.usage);
  }
  return { values, operands: positionals };
}

/**
 * @param {Command} command
 * @param {string[]} args
 * @returns {{values: Values, positionals: string[]}}
 */
function parse(command, args) {
  try {
    const options = { ...command.options, ...commonOptions };
    return parseArgs({ args, options, allowPositionals: true });
  } catch (error) {
    const message = error instanceof Error ? error.message : String(error);
    throw new Failure(`${message}\nUsage: ${command.usage}`, EXIT.usage);
  }
}

/**
 * @param {Command} command
 * @param {Values} values
 * @param {readonly string[]} operands
 */
async function run(command, values, operands) {
  const reporter = new Reporter({ isQuiet: values.quiet ?? false });
  const retries = parseCount("--retries", values.retries ?? DEFAULT_RETRIES, MAX_RETRIES, 0);
  const signal = interruption();
  /**
   * @param {Failure} failure
   * @param {number} pauseMs
   */
  const onPause = ({ message }, pauseMs) =>
    reporter.note(`${message} Trying again in ${Math.ceil(pauseMs / 1000)} s.`);
  const patience = { retries, signal, onPause };
  await command.run({
    operands,
    values,
    reporter,
    signal,
    open: () => Session.open(findCloud(values["os-cloud"]), patience),
    print: (result, render) => {
      const text = values.json ? `${printableJson(result)}\n` : printableLines(render(result));
      process.stdout.write(text);
    },
  });
}

/** Ends the work at the first signal, so that it can be told how to go on, and the process at the second. */
function interruption() {
  const controller = new AbortController();
  for (const name of ["SIGINT", "SIGTERM", "SIGHUP"]) {
    process.on(name, () => {
      if (controller.signal.aborted) process.exit(EXIT.interrupted);
      controller.abort(new Failure("Interrupted.", EXIT.interrupted));
    });
  }
  return controller.signal;
}

/** @param {unknown} error */
function tell(error) {
  if (!(error instanceof Failure)) {
    console.error(printableLines(inspect(error)));
    return EXIT.unexpected;
  }
  console.error(printableLines(error.message));
  return error.exitCode;
}

// A reader that has seen enough, such as `head`, is no failure.
process.stdout.on("error", () => undefined);

const exitCode = await main(process.argv.slice(2)).then(() => EXIT.done, tell);
// Idle connections and abandoned work do not keep the command from ending.
process.stdout.write("", () => process.exit(exitCode));

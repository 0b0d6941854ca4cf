// @ts-check
// What the subcommands have in common: their form, and options that several take.

import { EXIT, Failure } from "./failure.mjs";

/**
 * @typedef {object} Option
 * @property {"string" | "boolean"} type
 * @property {boolean} [multiple]
 * @property {string} [short]
 * @property {string} [argument] its name in the help
 * @property {string} help
 */

/**
 * Options as they were given; several are lists. Unknown ones do not get here.
 * @typedef {Record<string, any>} Values
 */

/**
 * What a subcommand has to work with.
 * @typedef {object} Context
 * @property {readonly string[]} operands
 * @property {Values} values
 * @property {() => Promise<import("./session.mjs").Session>} open signs in
 * @property {import("./reporter.mjs").Reporter} reporter
 * @property {<T>(result: T, render: (result: T) => string) => void} print as JSON or for people
 * @property {AbortSignal} signal
 */

/**
 * @typedef {object} Command
 * @property {string} usage
 * @property {string} summary
 * @property {readonly string[]} operands their names; one in brackets may be left out
 * @property {Readonly<Record<string, Option>>} options
 * @property {string} [more] further help
 * @property {(context: Context) => Promise<void>} run
 */

/** @type {Readonly<Record<string, Option>>} */
export const commonOptions = {
  "os-cloud": { type: "string", argument: "CLOUD", help: "an entry of clouds.yaml (OS_CLOUD)" },
  retries: {
    type: "string",
    argument: "N",
    help: "further tries in a row that get nowhere before it gives up (10)",
  },
  json: { type: "boolean", help: "print the result as JSON" },
  quiet: { type: "boolean", short: "q", help: "show no progress" },
  help: { type: "boolean", short: "h", help: "print this text" },
};

/** @type {Readonly<Record<string, Option>>} */
export const recordOptions = {
  name: { type: "string", argument: "NAME", help: "the image's name (that of the file)" },
  "disk-format": { type: "string", argument: "FORMAT", help: "qcow2, raw, … (found in the file)" },
  "container-format": { type: "string", argument: "FORMAT", help: "(bare)" },
  property: {
    type: "string",
    multiple: true,
    argument: "KEY=VALUE",
    help: "a property; may be repeated",
  },
  tag: { type: "string", multiple: true, argument: "TAG", help: "a tag; may be repeated" },
  visibility: {
    type: "string",
    argument: "WHO",
    help: "private, shared, community or public (the service's default)",
  },
};

/**
 * The parts of an image record that options name.
 * @param {Values} values
 * @returns {Record<string, unknown>}
 */
export function readRecord(values) {
  return {
    ...Object.fromEntries((values.property ?? []).map(parseProperty)),
    ...(values.name !== undefined && { name: values.name }),
    ...(values["disk-format"] !== undefined && { disk_format: values["disk-format"] }),
    ...(values["container-format"] !== undefined && {
      container_format: values["container-format"],
    }),
    ...(values.tag !== undefined && { tags: values.tag }),
    ...(values.visibility !== undefined && { visibility: values.visibility }),
  };
}

/** Attributes of an image that are no text. */
const NUMBERS = ["min_disk", "min_ram"];
const FLAGS = ["protected", "os_hidden"];

/**
 * @param {string} text
 * @returns {[string, string | number | boolean]}
 */
function parseProperty(text) {
  const [, key, value] = /^([^=]+)=(.*)$/s.exec(text) ?? [];
  if (key !== undefined && value !== undefined) {
    if (NUMBERS.includes(key) && /^\d+$/.test(value)) return [key, Number(value)];
    if (FLAGS.includes(key) && /^(true|false)$/i.test(value)) return [key, /^true$/i.test(value)];
    return [key, value];
  }
  throw new Failure(`--property must look like KEY=VALUE, not '${text}'.`, EXIT.usage);
}

/**
 * A whole number from `least` to `most`.
 * @param {string} option
 * @param {string} text
 * @param {number} most
 * @param {number} [least]
 */
export function parseCount(option, text, most, least = 1) {
  const count = /^\d{1,9}$/.test(text) ? Number(text) : Number.NaN;
  if (count >= least && count <= most) return count;
  throw new Failure(
    `${option} must be a whole number from ${least} to ${most}, not '${text}'.`,
    EXIT.usage,
  );
}

/** @type {Readonly<Record<string, number>>} */
const FACTORS = { "": 1, K: 1024, M: 1024 ** 2, G: 1024 ** 3 };

/**
 * Bytes, such as 1000000, 64M or 64MiB (all the same powers of 1024).
 * @param {string} option
 * @param {string | undefined} text
 */
export function parseSize(option, text) {
  if (text === undefined) return undefined;
  const [, digits = "", unit = ""] = /^(\d{1,12})([KMG]?)(?:i?B)?$/i.exec(text) ?? [];
  const bytes = Number(digits) * (FACTORS[unit.toUpperCase()] ?? Number.NaN);
  if (digits !== "" && Number.isSafeInteger(bytes) && bytes > 0) return bytes;
  throw new Failure(`${option} must be a size such as 64M, not '${text}'.`, EXIT.usage);
}

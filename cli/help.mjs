// @ts-check

import { EXIT } from "./failure.mjs";
import { commonOptions } from "./options.mjs";

/** @typedef {import("./options.mjs").Command} Command */
/** @typedef {import("./options.mjs").Option} Option */

const exitCodes = `Exit codes:
  ${EXIT.done}    done
  ${EXIT.unexpected}    something unexpected happened
  ${EXIT.usage}    the command or its configuration is wrong
  ${EXIT.access}    the service lets you not in, or not do that
  ${EXIT.notFound}    there is no such image, upload or service
  ${EXIT.refused}    the service refuses: a conflict, a quota, unsafe content, an unexpected hash
  ${EXIT.unavailable}    the service cannot be reached, or fails, after all tries
  ${EXIT.file}    a local file cannot be read or written, is there already, or has changed
  ${EXIT.mismatch}    the data's hash is not that of the image
  ${EXIT.interrupted}  interrupted
`;

const configuration = `The cloud is found as the OpenStack clients find it: by --os-cloud or OS_CLOUD in clouds.yaml (in the
working directory, ~/.config/openstack, /etc/openstack, or OS_CLIENT_CONFIG_FILE), else by OS_AUTH_URL and
the other variables OS_*; with a password, an application credential, or a token.
`;

/** @param {Readonly<Record<string, Command>>} commands */
export function renderHelp(commands) {
  const rows = Object.values(commands).map(({ usage, summary }) => {
    return [usage.replace(/^glimpse /, "").replace(" [options]", ""), summary];
  });
  return `Images of an OpenStack cloud: uploads and downloads that survive dropped connections.

Usage: glimpse COMMAND [options]

${renderRows(rows)}
Options of all commands:
${renderOptions(commonOptions)}
'glimpse COMMAND --help' tells a command's own options.

${configuration}
${exitCodes}`;
}

/** @param {Command} command */
export function renderCommandHelp({ usage, summary, options, more }) {
  const own = Object.keys(options).length === 0 ? "" : `Options:\n${renderOptions(options)}\n`;
  return `${summary[0]?.toUpperCase()}${summary.slice(1)}.

Usage: ${usage}

${own}Options of all commands:
${renderOptions(commonOptions)}${more === undefined ? "" : `\n${more}`}
${exitCodes}`;
}

/** @param {Readonly<Record<string, Option>>} options */
function renderOptions(options) {
  return renderRows(
    Object.entries(options).map(([name, { short, argument, help }]) => {
      const both = short === undefined ? `--${name}` : `-${short}, --${name}`;
      return [argument === undefined ? both : `${both} ${argument}`, help];
    }),
  );
}

/** @param {string[][]} rows */
function renderRows(rows) {
  const width = Math.max(...rows.map(([left = ""]) => left.length));
  return rows.map(([left = "", right]) => `  ${left.padEnd(width)}  ${right}\n`).join("");
}

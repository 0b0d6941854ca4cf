// @ts-check
// Which cloud is meant and how to sign in there, as the OpenStack clients find it: `clouds.yaml` with OS_CLOUD, else
// the variables OS_*. https://docs.openstack.org/openstacksdk/latest/user/config/configuration.html

import { existsSync, readFileSync } from "node:fs";
import { homedir } from "node:os";
import { join, resolve } from "node:path";
import { parse } from "yaml";
import { EXIT, Failure, fileFailure } from "./failure.mjs";

/** @typedef {Readonly<Record<string, string | undefined>>} Environment */

/**
 * @typedef {object} Cloud
 * @property {string} name
 * @property {Readonly<Record<string, string>>} auth what keystoneauth calls the plugin's options
 * @property {string | undefined} authType
 * @property {string | undefined} region
 * @property {string} interface `public`, `internal` or `admin`
 * @property {string | undefined} imageEndpoint in place of the catalog's
 * @property {Tls} tls
 */

/**
 * What Node's https takes.
 * @typedef {{ca?: Buffer, cert?: Buffer, key?: Buffer, rejectUnauthorized?: boolean}} Tls
 */

const AUTH_KEYS = [
  ...["auth_url", "token", "username", "user_id", "password", "system_scope"],
  ...["user_domain_id", "user_domain_name", "project_domain_id", "project_domain_name"],
  ...["project_id", "project_name", "domain_id", "domain_name"],
  ...["default_domain", "default_domain_id", "default_domain_name"],
  ...["application_credential_id", "application_credential_name", "application_credential_secret"],
];

/** May come from the environment though the rest is in a file, to keep them out of it. */
const SECRET_KEYS = ["password", "token", "application_credential_secret"];

/** @type {Readonly<Record<string, string>>} */
const OLD_NAMES = {
  tenant_id: "project_id",
  tenant_name: "project_name",
  auth_token: "token",
  user_name: "username",
  endpoint_type: "interface",
  project: "project_name",
};

const FILE_NAMES = ["yaml", "yml", "json"];

/**
 * The cloud that the command is for. Throws a Failure for one that is not there, or not to be read.
 * @param {string | undefined} wanted `--os-cloud`
 * @param {Environment} env
 * @returns {Cloud}
 */
export function findCloud(wanted, env = process.env) {
  const fromEnv = settingsOfEnvironment(env);
  const name = wanted ?? (env.OS_CLOUD || undefined);
  if (name === undefined && fromEnv.auth_url !== undefined) {
    return cloudOf("environment", fromEnv, env);
  }
  const file = readFirst("clouds", env.OS_CLIENT_CONFIG_FILE, env);
  const clouds = objectOf(file?.content.clouds);
  const chosen = name ?? onlyOf(Object.keys(clouds));
  if (chosen === undefined) throw new Failure(whatToDo(file, Object.keys(clouds)), EXIT.usage);
  if (!Object.hasOwn(clouds, chosen)) {
    const where = file === undefined ? "there is no clouds.yaml" : `${file.path} has none`;
    throw new Failure(`There is no cloud named ${chosen}: ${where}.`, EXIT.usage);
  }
  const secure = readFirst("secure", env.OS_CLIENT_SECURE_FILE, env);
  const secrets = objectOf(objectOf(secure?.content.clouds)[chosen]);
  const settings = { ...flatten(objectOf(clouds[chosen])), ...flatten(secrets) };
  for (const key of SECRET_KEYS) {
    if (fromEnv[key] !== undefined) settings[key] ??= fromEnv[key];
  }
  for (const key of ["region_name", "interface"]) {
    if (fromEnv[key] !== undefined) settings[key] = fromEnv[key];
  }
  return cloudOf(chosen, settings, env);
}

/** @param {string[]} names */
function onlyOf(names) {
  return names.length === 1 ? names[0] : undefined;
}

/**
 * @param {{path: string} | undefined} file
 * @param {string[]} names
 */
function whatToDo(file, names) {
  if (file === undefined || names.length === 0) {
    return "Which cloud? Write a clouds.yaml and name its entry with --os-cloud or OS_CLOUD, or set OS_AUTH_URL and its like.";
  }
  return `Which cloud? Name one of ${file.path} with --os-cloud or OS_CLOUD: ${names.join(", ")}.`;
}

/**
 * OS_AUTH_URL becomes auth_url, and so on.
 * @param {Environment} env
 */
function settingsOfEnvironment(env) {
  const settings = Object.entries(env).flatMap(([name, value]) =>
    name.startsWith("OS_") && value ? [[name.slice(3).toLowerCase(), value]] : [],
  );
  return flatten(Object.fromEntries(settings));
}

/**
 * One level of names, for `auth` may be left out as a level, and old names be used.
 * @param {Record<string, unknown>} entry
 * @returns {Record<string, unknown>}
 */
function flatten({ auth, ...rest }) {
  const all = Object.entries({ ...rest, ...objectOf(auth) });
  return Object.fromEntries(
    all.map(([key, value]) => {
      const name = key.replaceAll("-", "_");
      return [OLD_NAMES[name] ?? name, value];
    }),
  );
}

/**
 * @param {string} name
 * @param {Record<string, unknown>} settings
 * @param {Environment} env
 * @returns {Cloud}
 */
function cloudOf(name, settings, env) {
  const auth = AUTH_KEYS.flatMap((key) => {
    const value = textOf(settings[key]);
    return value === undefined ? [] : [[key, value]];
  });
  const regions = Array.isArray(settings.regions) ? settings.regions : [];
  const firstRegion = objectOf(regions[0]).name ?? regions[0];
  return {
    name,
    auth: Object.fromEntries(auth),
    authType: textOf(settings.auth_type),
    region: textOf(settings.region_name) ?? textOf(firstRegion),
    interface: (textOf(settings.interface) ?? "public").replace(/URL$/, ""),
    imageEndpoint: textOf(settings.image_endpoint_override) ?? textOf(settings.image_endpoint),
    tls: readTls(settings, env),
  };
}

/**
 * @param {Record<string, unknown>} settings
 * @param {Environment} env
 * @returns {Tls}
 */
function readTls(settings, env) {
  const isUnchecked = isFalse(settings.verify) || isTrue(settings.insecure);
  /** @param {unknown} path */
  const read = (path) => readNamed(expandHome(String(path), env));
  return {
    ...(textOf(settings.cacert) && { ca: read(settings.cacert) }),
    ...(textOf(settings.cert) && { cert: read(settings.cert) }),
    ...(textOf(settings.key) && { key: read(settings.key) }),
    ...(isUnchecked && { rejectUnauthorized: false }),
  };
}

/** @param {unknown} value */
const isTrue = (value) => /^(true|yes|1|on)$/i.test(String(value));

/** @param {unknown} value */
const isFalse = (value) => /^(false|no|0|off)$/i.test(String(value));

/**
 * @param {string} path
 * @param {Environment} env
 */
function expandHome(path, env) {
  return path.replace(/^~(?=\/)/, env.HOME ?? homedir());
}

/**
 * The first file of that name in the places where OpenStack clients look.
 * @param {string} name `clouds` or `secure`
 * @param {string | undefined} given
 * @param {Environment} env
 */
function readFirst(name, given, env) {
  const config = env.XDG_CONFIG_HOME || join(env.HOME ?? homedir(), ".config");
  const folders = [".", join(config, "openstack"), "/etc/openstack"];
  const usual = folders.flatMap((dir) => FILE_NAMES.map((end) => join(dir, `${name}.${end}`)));
  const path = [...(given ? [given] : []), ...usual].find((candidate) => existsSync(candidate));
  return path === undefined ? undefined : { path, content: readYaml(path) };
}

/**
 * Values as text, for a password of digits is no number; merge keys as in PyYAML, which the clients read with.
 * @type {import("yaml").SchemaOptions}
 */
const AS_WRITTEN = { schema: "failsafe", customTags: ["null", "merge"] };

/** @param {string} path */
function readYaml(path) {
  const text = readNamed(path).toString();
  try {
    return objectOf(parse(text, AS_WRITTEN));
  } catch (error) {
    // The parser quotes the line, which may hold a password; its first sentence does not.
    const [sentence = ""] = String(error instanceof Error ? error.message : error).split("\n");
    throw new Failure(`${resolve(path)} is no YAML: ${sentence.replace(/:$/, "")}.`, EXIT.usage);
  }
}

/** @param {string} path */
function readNamed(path) {
  try {
    return readFileSync(path);
  } catch (error) {
    throw fileFailure(error, path);
  }
}

/**
 * @param {unknown} value
 * @returns {Record<string, unknown>}
 */
function objectOf(value) {
  const isObject = typeof value === "object" && value !== null && !Array.isArray(value);
  return isObject ? { ...value } : {};
}

/** @param {unknown} value */
function textOf(value) {
  return typeof value === "string" && value !== "" ? value : undefined;
}

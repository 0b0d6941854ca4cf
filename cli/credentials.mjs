// @ts-check
// What a cloud's settings say in the words of POST /v3/auth/tokens.

import { EXIT, Failure } from "./failure.mjs";

/** @typedef {Readonly<Record<string, string>>} Auth */

/**
 * The address of Keystone's v3 API.
 * @param {import("./clouds.mjs").Cloud} cloud
 */
export function identityUrl({ name, auth }) {
  const { auth_url } = auth;
  if (auth_url === undefined || !URL.canParse(auth_url)) {
    throw new Failure(`The cloud ${name} has no auth_url that is an address.`, EXIT.usage);
  }
  return `${auth_url.replace(/\/+$/, "").replace(/\/v[23](\.\d+)?$/, "")}/v3`;
}

/**
 * A token that is to be used as it is; undefined when one has to be asked for.
 * @param {import("./clouds.mjs").Cloud} cloud
 */
export function givenToken(cloud) {
  return methodOf(cloud) === "token" && scopeOf(cloud.auth) === undefined
    ? cloud.auth.token
    : undefined;
}

/**
 * The request for a token.
 * @param {import("./clouds.mjs").Cloud} cloud
 */
export function authRequest(cloud) {
  const method = methodOf(cloud);
  const { auth } = cloud;
  const identity = { methods: [method], [method]: proofOf(method, auth, cloud.name) };
  // An application credential has its scope with it, and Keystone refuses to be told another.
  const scope = method === "application_credential" ? undefined : scopeOf(auth);
  return { auth: { identity, ...(scope && { scope }) } };
}

/**
 * @param {import("./clouds.mjs").Cloud} cloud
 * @returns {"password" | "token" | "application_credential"}
 */
function methodOf({ authType, auth, name }) {
  switch (authType?.replace(/^v3/, "").replaceAll("_", "")) {
    case "password":
      return "password";
    case "token":
      return "token";
    case "applicationcredential":
      return "application_credential";
    case undefined: {
      if (auth.application_credential_secret !== undefined) return "application_credential";
      return auth.token !== undefined && auth.password === undefined ? "token" : "password";
    }
    default:
      throw new Failure(
        `The cloud ${name} has the auth_type ${authType}; known are password, token and v3applicationcredential.`,
        EXIT.usage,
      );
  }
}

/**
 * @param {"password" | "token" | "application_credential"} method
 * @param {Auth} auth
 * @param {string} cloud
 */
function proofOf(method, auth, cloud) {
  /** @param {string} key */
  const need = (key) => {
    const value = auth[key];
    if (value === undefined) throw new Failure(`The cloud ${cloud} has no ${key}.`, EXIT.usage);
    return value;
  };
  switch (method) {
    case "password":
      return { user: { ...userOf(auth, need), password: need("password") } };
    case "token":
      return { id: need("token") };
    case "application_credential": {
      const secret = need("application_credential_secret");
      const id = auth.application_credential_id;
      if (id !== undefined) return { id, secret };
      return { name: need("application_credential_name"), user: userOf(auth, need), secret };
    }
  }
}

/**
 * @param {Auth} auth
 * @param {(key: string) => string} need
 */
function userOf(auth, need) {
  if (auth.user_id !== undefined) return { id: auth.user_id };
  return { name: need("username"), domain: domainOf(auth, "user_domain") };
}

/** @param {Auth} auth */
function scopeOf(auth) {
  if (auth.system_scope !== undefined) return { system: { all: true } };
  if (auth.project_id !== undefined) return { project: { id: auth.project_id } };
  if (auth.project_name !== undefined) {
    return { project: { name: auth.project_name, domain: domainOf(auth, "project_domain") } };
  }
  if (auth.domain_id === undefined && auth.domain_name === undefined) return undefined;
  return { domain: domainOf(auth, "domain") };
}

/**
 * @param {Auth} auth
 * @param {string} prefix
 */
function domainOf(auth, prefix) {
  const id = auth[`${prefix}_id`];
  const name = auth[`${prefix}_name`];
  if (id !== undefined) return { id };
  if (name !== undefined) return { name };
  if (auth.default_domain_name !== undefined) return { name: auth.default_domain_name };
  return { id: auth.default_domain_id ?? auth.default_domain ?? "default" };
}

// @ts-check
// The development users of dev/identity.json as `clouds.yaml` names them.

/**
 * @typedef {object} Cloud
 * @property {string} name what `--os-cloud` takes
 * @property {string} username
 * @property {string} password
 * @property {string} project
 */

/** @type {readonly Cloud[]} */
export const developmentClouds = [
  developmentCloud("glimpse", "demo", "demo"),
  developmentCloud("glimpse-reader", "demo-reader", "demo"),
  developmentCloud("glimpse-other", "other", "other"),
  developmentCloud("glimpse-other-reader", "other-reader", "other"),
  developmentCloud("glimpse-admin", "admin", "demo"),
];

/**
 * @param {string} name
 * @param {string} username
 * @param {string} project
 * @returns {Cloud}
 */
function developmentCloud(name, username, project) {
  return { name, username, password: `${username}-password`, project };
}

/**
 * A clouds.yaml with an entry for each development user.
 * @param {string} url the server's address
 */
export function cloudsYaml(url) {
  const entries = developmentClouds.map(
    ({ name, username, password, project }) => `  ${name}:
    auth:
      auth_url: ${url}/identity/v3
      username: ${username}
      password: ${password}
      user_domain_name: Default
      project_name: ${project}
      project_domain_name: Default
`,
  );
  return `clouds:\n${entries.join("")}`;
}

// @ts-check
// The users of an identity document as `clouds.yaml` names them.

/**
 * @typedef {object} Cloud
 * @property {string} name what `--os-cloud` takes
 * @property {string} username
 * @property {string} [password]
 * @property {string} [userDomain] the domain's name
 * @property {string} [project]
 * @property {string} [projectDomain] the domain's name
 */

/** The development users of dev/identity.json. */

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
 */
function developmentCloud(name, username, project) {
  return { name, username, password: `${username}-password`, project };
}

/**
 * The users of somebody's own identity document, without their passwords, which it does not have.
 * @param {string} document a valid one, as JSON
 * @returns {readonly Cloud[]}
 */
export function cloudsOf(document) {
  const { domains = [], projects, users } = JSON.parse(document);
  /** @param {any} of */
  const domainOf = ({ domain_id }) =>
    domains.find((/** @type {any} */ domain) => domain.id === domain_id)?.name;
  return users.map((/** @type {any} */ user) => {
    const projectId = user.default_project_id ?? Object.keys(user.roles)[0];
    const project = projects.find((/** @type {any} */ one) => one.id === projectId);
    return {
      name: user.name,
      username: user.name,
      userDomain: domainOf(user),
      project: project?.name,
      projectDomain: project && domainOf(project),
    };
  });
}

/**
 * A clouds.yaml with an entry for each user.
 * @param {string} url the server's address
 * @param {readonly Cloud[]} [clouds]
 */
export function cloudsYaml(url, clouds = developmentClouds) {
  const entries = clouds.map(({ name, username, password, userDomain, project, projectDomain }) => {
    const auth = {
      auth_url: `${url}/identity/v3`,
      username,
      password,
      user_domain_name: userDomain ?? "Default",
      project_name: project,
      project_domain_name: project && (projectDomain ?? "Default"),
    };
    const lines = Object.entries(auth).flatMap(([key, value]) =>
      value === undefined ? [] : [`      ${key}: ${scalar(value)}\n`],
    );
    return `  ${scalar(name)}:\n    auth:\n${lines.join("")}`;
  });
  return `clouds:\n${entries.join("")}`;
}

/**
 * Text in YAML: as it is where that can be nothing else, else quoted as in JSON, which is YAML, too.
 * @param {string} text
 */
function scalar(text) {
  const isPlain =
    /^[a-z][\w./:-]*[\w/]$/i.test(text) && !/^(true|false|yes|no|on|off|null)$/i.test(text);
  return isPlain ? text : JSON.stringify(text);
}

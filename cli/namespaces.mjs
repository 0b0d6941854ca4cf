// @ts-check
// The calls of the Image API about metadata definitions that the command makes.

import { readDefinition } from "./definitions.mjs";
import { EXIT, Failure } from "./failure.mjs";
import { readList } from "./records.mjs";

/** @typedef {import("./session.mjs").Session} Session */
/** @typedef {import("./definitions.mjs").Definition} Definition */
/** @typedef {import("./definitions.mjs").Step} Step */

const NAMESPACES = "v2/metadefs/namespaces";

/**
 * @param {string} namespace
 * @param {readonly string[]} [below]
 */
function pathOf(namespace, below = []) {
  const names = [namespace, ...below];
  // Addresses fold these, so that it would be another's (RFC 3986 section 5.2.4).
  const unreachable = names.find((name) => [".", ".."].includes(name));
  if (unreachable === undefined) return [NAMESPACES, ...names.map(encodeURIComponent)].join("/");
  throw new Failure(`No address leads to the name '${unreachable}'.`, EXIT.refused);
}

/**
 * A namespace with everything in it; undefined when there is none.
 * @param {Session} session
 * @param {string} namespace
 * @returns {Promise<Definition | undefined>}
 */
export async function findNamespace(session, namespace) {
  const answer = await orUndefined(404, session.call({ path: pathOf(namespace) }));
  if (answer === undefined) return undefined;
  const found = readAnswer(answer);
  if (found.namespace === namespace) return found;
  throw new Failure(
    `The service answered with the namespace ${found.namespace} in place of ${namespace}.`,
    EXIT.unexpected,
  );
}

/**
 * Makes a namespace with everything in it, unless its name is taken. Says whether it did.
 * @param {Session} session
 * @param {Definition} definition
 */
export async function createNamespace(session, definition) {
  const call = { method: "POST", path: NAMESPACES, json: definition };
  return (await orUndefined(409, session.call(call))) !== undefined;
}

/**
 * @param {Session} session
 * @param {Definition} definition
 */
export async function deleteNamespace(session, { namespace, protected: isProtected, ...rest }) {
  if (isProtected) {
    const { display_name, description, visibility, owner } = rest;
    const json = { namespace, display_name, description, visibility, owner, protected: false };
    await session.call({ method: "PUT", path: pathOf(namespace), json });
  }
  await orUndefined(404, session.call({ method: "DELETE", path: pathOf(namespace) }));
}

/**
 * Takes one step of a plan. What a repeated request has done already is done.
 * @param {Session} session
 * @param {string} namespace
 * @param {Step} step
 */
export async function take(session, namespace, { method, path, json }) {
  const call = session.call({ method, path: pathOf(namespace, path), json });
  if (method === "PUT") await call;
  else await orUndefined(method === "POST" ? 409 : 404, call);
}

/**
 * All namespaces that the caller sees, by name, without what is in them.
 * @param {Session} session
 * @returns {AsyncGenerator<Definition, void, void>}
 */
export async function* listNamespaces(session) {
  /** @type {string | undefined} */
  let path = `${NAMESPACES}?sort_key=namespace&sort_dir=asc&limit=100`;
  while (path !== undefined) {
    const page = await session.call({ path });
    const namespaces = readList(page, "namespaces", readAnswer);
    yield* namespaces;
    if (typeof page.next !== "string") return;
    if (namespaces.length === 0) {
      throw new Failure("The service's list of namespaces has no end.", EXIT.unexpected);
    }
    // It begins with a slash, which would lead away from an endpoint below a prefix.
    path = page.next.replace(/^.*?(?=v2\/metadefs)/, "");
  }
}

/** @param {unknown} answer */
function readAnswer(answer) {
  try {
    return readDefinition(answer);
  } catch {
    throw new Failure("The service answered with what is no namespace.", EXIT.unexpected);
  }
}

/**
 * What a call gives, or undefined when it is refused with that status.
 * @template T
 * @param {number} status
 * @param {Promise<T>} call
 * @returns {Promise<T | undefined>}
 */
async function orUndefined(status, call) {
  try {
    return await call;
  } catch (error) {
    if (error instanceof Failure && error.status === status) return undefined;
    throw error;
  }
}

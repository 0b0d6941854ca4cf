// @ts-check
// The calls of the Image API that the command makes.

import { EXIT, Failure } from "./failure.mjs";
import { isUuid, readImage, readList, readTask } from "./records.mjs";

/** @typedef {import("./session.mjs").Session} Session */

/** @typedef {import("./records.mjs").Image} Image */
/** @typedef {import("./records.mjs").Task} Task */

/** @param {string} id */
export const imagePath = (id) => `v2/images/${encodeURIComponent(id)}`;

/**
 * Makes an image record. The id is the caller's, so that a repeated request makes no second one.
 * @param {Session} session
 * @param {Record<string, unknown> & {id: string}} record
 * @returns {Promise<Image>}
 */
export async function createImage(session, record) {
  try {
    const made = await session.call({ method: "POST", path: "v2/images", json: record });
    return readImage(made, record.id);
  } catch (error) {
    const exists = error instanceof Failure && error.status === 409;
    const made = exists ? await showImage(session, record.id).catch(() => undefined) : undefined;
    if (made === undefined) throw error;
    return made;
  }
}

/**
 * @param {Session} session
 * @param {string} id
 * @returns {Promise<Image>}
 */
export async function showImage(session, id) {
  return readImage(await session.call({ path: imagePath(id) }), id);
}

/**
 * @param {Session} session
 * @param {string} id
 */
export async function deleteImage(session, id) {
  await session.call({ method: "DELETE", path: imagePath(id) });
}

/**
 * An image by its id or its name. Throws a Failure when there is none, or several have the name.
 * @param {Session} session
 * @param {string} wanted
 */
export async function findImage(session, wanted) {
  if (isUuid(wanted)) {
    const found = await showImage(session, wanted).catch((error) => {
      if (error instanceof Failure && error.status === 404) return undefined;
      throw error;
    });
    if (found !== undefined) return found;
  }
  /** @type {Image[]} */
  const found = [];
  for await (const image of listImages(session, new URLSearchParams({ name: wanted }))) {
    found.push(image);
  }
  const [first, ...others] = found;
  if (first === undefined) {
    throw new Failure(`There is no image with the id or the name ${wanted}.`, EXIT.notFound);
  }
  if (others.length > 0) {
    const ids = found.map(({ id }) => id).join(", ");
    throw new Failure(`Several images have the name ${wanted}; give an id: ${ids}.`, EXIT.usage);
  }
  return first;
}

/**
 * All images that the filters let through, page by page.
 * @param {Session} session
 * @param {URLSearchParams} filters
 * @returns {AsyncGenerator<Image, void, void>}
 */
export async function* listImages(session, filters) {
  /** @type {string | undefined} */
  let path = filters.size === 0 ? "v2/images" : `v2/images?${filters}`;
  while (path !== undefined) {
    const page = await session.call({ path });
    const images = readList(page, "images", readImage);
    yield* images;
    if (typeof page.next !== "string") return;
    if (images.length === 0) {
      throw new Failure("The service's list of images has no end.", EXIT.unexpected);
    }
    // It begins with a slash, which would lead away from an endpoint below a prefix.
    path = page.next.replace(/^.*?(?=v2\/images)/, "");
  }
}

/**
 * The image's tasks, the newest first; none where the service tells of none.
 * @param {Session} session
 * @param {string} id
 * @returns {Promise<Task[]>}
 */
export async function listTasks(session, id) {
  const path = `${imagePath(id)}/tasks`;
  const answer = await session.call({ path }).catch((error) => {
    if (error instanceof Failure && [403, 404].includes(error.status ?? 0)) return undefined;
    throw error;
  });
  const tasks = answer === undefined ? [] : readList(answer, "tasks", readTask);
  return tasks.toSorted((a, b) => b.created_at.localeCompare(a.created_at));
}

/**
 * Has the service fetch the data.
 * @param {Session} session
 * @param {string} id
 * @param {Record<string, unknown>} request
 */
export async function importImage(session, id, request) {
  await session.call({ method: "POST", path: `${imagePath(id)}/import`, json: request });
}

// @ts-check

import { EXIT, Failure } from "./failure.mjs";
import { listTasks, showImage } from "./images.mjs";
import { sleep } from "./retry.mjs";

const FIRST_PAUSE_MS = 200;
const LONGEST_PAUSE_MS = 3_000;
/** How long an image may stay `queued` without a task before nothing is expected of it any more. */
const PATIENCE_MS = 60_000;

/**
 * Waits until the data that was sent or is fetched has become the image's. Throws a Failure with the service's reason
 * when it does not.
 * @param {import("./session.mjs").Session} session
 * @param {string} id
 * @param {readonly string[]} oldTasks ids of tasks that say nothing of this data
 * @param {import("./reporter.mjs").Reporter} reporter
 */
export async function waitUntilActive(session, id, oldTasks, reporter) {
  const startedAtMs = Date.now();
  for (let pause = FIRST_PAUSE_MS; ; pause = Math.min(pause * 1.5, LONGEST_PAUSE_MS)) {
    // Tasks first: an image that is still queued after its task has failed stays so.
    const tasks = await listTasks(session, id);
    const task = tasks.find((one) => !oldTasks.includes(one.id));
    const image = await showImage(session, id);
    if (image.status === "active") return image;
    if (task?.status === "failure") {
      throw new Failure(
        `The data was not taken: ${task.message || "no reason is told"}`,
        EXIT.refused,
      );
    }
    if (["killed", "deleted", "pending_delete", "deactivated"].includes(image.status)) {
      throw new Failure(`The image ${id} is ${image.status}.`, EXIT.refused);
    }
    const isForgotten = task === undefined && image.status === "queued";
    if (isForgotten && Date.now() - startedAtMs > PATIENCE_MS) {
      throw new Failure(`The image ${id} is queued, and nothing happens to it.`, EXIT.unexpected);
    }
    reporter.say(task?.message || image.status);
    await sleep(pause, session.patience.signal);
  }
}

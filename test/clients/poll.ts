import { setTimeout as sleep } from "node:timers/promises";

/** Asks again and again until the answer is accepted, and fails with the last answer at the deadline. */
export async function poll<T>(
  ask: () => Promise<T>,
  isDone: (answer: T) => boolean,
  deadlineSeconds: number,
): Promise<T> {
  const deadlineMs = performance.now() + deadlineSeconds * 1000;
  for (;;) {
    const answer = await ask();
    if (isDone(answer)) return answer;
    if (performance.now() > deadlineMs) {
      throw new Error(`Still ${JSON.stringify(answer)} after ${deadlineSeconds} s.`);
    }
    await sleep(100);
  }
}

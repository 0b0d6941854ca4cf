import type { Digests } from "../blob/digest.ts";
import { type LeastPace, Pace } from "./pace.ts";

/** Why work stops at the end of an alarm's time; the next alarm goes on with it. */
export const TIME_IS_UP = Symbol("the alarm's time is up");

/**
 * What an import has in memory between two alarms. All of it can be lost: a digest is then computed anew from the
 * stored bytes.
 */
export class RunMemory {
  #digest: { readonly key: string; readonly digest: Digests } | undefined;
  #hasProgress = false;
  #pace: { readonly taskId: string; readonly pace: Pace } | undefined;

  /** How fast a task's data comes, over all its tries. */
  paceOf(taskId: string, least: LeastPace): Pace {
    if (this.#pace?.taskId !== taskId) this.#pace = { taskId, pace: new Pace(least) };
    return this.#pace.pace;
  }

  /** The digest that has seen the first bytes of this blob, if it is still here. */
  digestOf(key: string): Digests | undefined {
    return this.#digest?.key === key ? this.#digest.digest : undefined;
  }

  keepDigest(key: string, digest: Digests): Digests {
    this.dropDigest();
    this.#digest = { key, digest };
    return digest;
  }

  dropDigest(): void {
    this.#digest?.digest.abort();
    this.#digest = undefined;
  }

  noteProgress(): void {
    this.#hasProgress = true;
  }

  /** Whether bytes were stored since this was last asked. */
  takeProgress(): boolean {
    const had = this.#hasProgress;
    this.#hasProgress = false;
    return had;
  }
}

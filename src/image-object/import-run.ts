import { withoutValues } from "../db/errors.ts";
import { updateTask } from "../db/tasks.ts";
import { assertExpected } from "../domain/expected-hash.ts";
import { Fault, type FaultCode } from "../domain/fault.ts";
import { log } from "../lib/log.ts";
import { baseOfImage, type ImportJob, nextStore, retryPauseMs } from "./import-job.ts";
import { type RunMemory, TIME_IS_UP } from "./import-memory.ts";
import { Mover } from "./import-mover.ts";
import type { ImportRecord } from "./import-record.ts";
import type { Keeper } from "./keeper.ts";
import { LocationWork } from "./location-work.ts";
import { oweUnfinished } from "./removals.ts";

/** An alarm may take 15 minutes; what is under way at the end of its time is taken up by the next one. */
const ALARM_MS = 13 * 60_000;

/** Tries that fail in a row before a source or a store is given up; a fault of our own may pass later than theirs. */
const MAX_FAILURES = 6;
const MAX_OWN_FAILURES = 20;

/** How often the data may turn out to have changed at its source. */
const MAX_RESTARTS = 3;

/** What may go better another time. */
const PASSING: readonly FaultCode[] = [
  "source_unreachable",
  "resolver_unreachable",
  "store_unavailable",
  "parts_lost",
  "copy_differs",
  "try_again",
  "image_changed",
];

/** What is the fault of the store that is written to. */
const STORE_FAULTS: readonly FaultCode[] = ["store_unavailable", "parts_lost", "copy_differs"];

/**
 * One alarm's work on an import. Each step is decided on the job as the ledger has it, moves bytes outside the lock,
 * and puts down under the lock what came of it; so it can end anywhere, and the next alarm goes on from there.
 */
export class ImportRun {
  readonly #stop = new AbortController();
  readonly #startedAtMs = Date.now();
  #isAnnounced = false;

  constructor(
    private readonly keeper: Keeper,
    private readonly record: ImportRecord,
    private readonly memory: RunMemory,
  ) {}

  /** Ends the work at once, with this reason. */
  stop(reason: Fault): void {
    this.#stop.abort(reason);
  }

  async run(): Promise<void> {
    const timer = setTimeout(() => this.#stop.abort(TIME_IS_UP), ALARM_MS);
    try {
      for (;;) {
        const job = await this.keeper.alone(() => this.#due());
        if (job === undefined) return;
        await this.#work(job);
      }
    } finally {
      clearTimeout(timer);
    }
  }

  /** The job, if it is time to go on with it and the image is still its own. */
  async #due(): Promise<ImportJob | undefined> {
    const { job } = await this.keeper.ledger.read();
    const nowMs = Date.now();
    if (job === undefined || job.dueMs > nowMs || this.#stop.signal.aborted) return undefined;
    if ((await this.record.held(job)) === undefined) {
      await this.record.drop(job);
      return undefined;
    }
    if (job.deadlineMs <= nowMs) {
      await this.record.fail(job, timedOut(job));
      return undefined;
    }
    return job;
  }

  async #work(job: ImportJob): Promise<void> {
    const deadline = new AbortController();
    const timer = setTimeout(() => deadline.abort(timedOut(job)), job.deadlineMs - Date.now());
    const signal = AbortSignal.any([this.#stop.signal, deadline.signal]);
    const startedAtMs = this.#startedAtMs;
    const mover = new Mover(this.keeper, this.memory, { job, signal, startedAtMs });
    try {
      await this.#announce(job);
      await this.#step(job, mover, signal);
    } catch (error) {
      const reason: unknown = !(error instanceof Fault) && signal.aborted ? signal.reason : error;
      if (reason === TIME_IS_UP) this.#stop.abort(TIME_IS_UP);
      await this.keeper.alone(() => this.#failed(job, reason));
    } finally {
      clearTimeout(timer);
    }
  }

  /** The one thing to be done next. */
  async #step(job: ImportJob, mover: Mover, signal: AbortSignal): Promise<void> {
    const { base, target, method } = job;
    if (method.name === "add-location") {
      const work = { job, method, signal };
      return new LocationWork(this.keeper, this.record, mover, work).step();
    }
    if (job.signature === undefined) return mover.prepare();
    const isWhole = base?.isPlain && (target === undefined || target.purpose === "copy");
    if (isWhole && base.inspected === undefined && mover.isHashed(base.hashes)) {
      return mover.check(base);
    }
    if (target !== undefined) return this.#goOn(job, mover);
    if (base === undefined) return mover.fetch();
    if (!mover.isHashed(base.hashes)) return mover.hashBase(base);
    if (!base.isPlain) {
      assertExpected(job.expected, base.hashes);
      return mover.unpack(base);
    }
    const storeId = nextStore(job);
    if (storeId === undefined) return this.keeper.alone(() => this.record.succeed(job));
    // Bytes that lie in the right store already are not moved.
    if (!base.isOurs || base.storeId !== storeId) return mover.copy(base, storeId);
    const location = { store: storeId, key: base.key };
    return this.keeper.alone(() => this.record.copied(job, location));
  }

  /** Goes on with what is being written. */
  async #goOn(job: ImportJob, mover: Mover): Promise<void> {
    const { base, target } = job;
    if (target?.content === undefined) return mover.fill();
    const { content, storeId, key } = target;
    if (!mover.isHashed(content.hashes)) return mover.hashTarget(target);
    if (target.purpose !== "copy" || base === undefined) return mover.takeForBase(target);
    mover.assertSame(base, content);
    return this.keeper.alone(() => this.record.copied(job, { store: storeId, key }));
  }

  /** The task shows that the work has begun, or goes on. */
  async #announce({ taskId }: ImportJob): Promise<void> {
    if (this.#isAnnounced) return;
    const updatedAtMs = Date.now();
    await updateTask(this.keeper.db, taskId, { status: "processing", updatedAtMs });
    this.#isAnnounced = true;
  }

  /** Under the lock: decides what follows from a failure, on the job as it is now. */
  async #failed(begun: ImportJob, reason: unknown): Promise<void> {
    const { job } = await this.keeper.ledger.read();
    if (job?.taskId !== begun.taskId || reason === TIME_IS_UP) return;
    const fault = reason instanceof Fault ? reason : ownFault(begun, reason);
    if (fault.code === "image_gone") return;
    if (fault.code === "source_changed" && job.restarts < MAX_RESTARTS) {
      return this.#later({ ...job, restarts: job.restarts + 1 }, fault, { isAnew: true });
    }
    if (fault.code === "formats_changed" && job.restarts < MAX_RESTARTS && job.base !== undefined) {
      const base = { ...job.base, inspected: undefined };
      return this.keeper.ledger.write({ job: { ...job, base, restarts: job.restarts + 1 } });
    }
    if (!PASSING.includes(fault.code)) return this.record.fail(job, fault);
    const hasProgress = this.memory.takeProgress();
    // A copy that turned out wrong has been written in vain, every part of it; so has one that the store has dropped.
    const isVain = fault.code === "copy_differs" || fault.code === "parts_lost";
    const failures = hasProgress && !isVain ? 1 : job.failures + 1;
    const most = reason instanceof Fault ? MAX_FAILURES : MAX_OWN_FAILURES;
    if (failures < most) {
      return this.#later({ ...job, failures }, fault, { isAnew: isVain });
    }
    if (!STORE_FAULTS.includes(fault.code)) return this.record.fail(job, fault);
    await this.#storeFailed({ ...job, failures: 0, lastError: fault.text }, fault);
  }

  /** The store that was written to has failed for good (contract 10 §9). */
  async #storeFailed(job: ImportJob, fault: Fault): Promise<void> {
    const storeId = job.target?.storeId ?? nextStore(job);
    const failedStores = storeId === undefined ? job.failedStores : [...job.failedStores, storeId];
    const left = { ...job, failedStores };
    const isAsked = storeId !== undefined && job.stores.includes(storeId);
    if (job.mustSucceed || !isAsked) return this.record.fail(job, fault, storeId);
    if (nextStore(left) === undefined) return this.record.fail(job, fault, storeId);
    await this.#later({ ...left, dueMs: Date.now() }, fault, { isAnew: true });
  }

  /** Puts the job off for a while; a target that cannot be gone on with is given up. */
  async #later(job: ImportJob, fault: Fault, { isAnew }: { isAnew: boolean }): Promise<void> {
    const { ledger, db, config } = this.keeper;
    const { imageId, target, failures, method } = job;
    const nowMs = Date.now();
    const isKept = target?.ranged !== undefined && !isAnew;
    const { owed } = await ledger.read();
    const given =
      target === undefined || isKept
        ? []
        : [oweUnfinished(imageId, target, nowMs, config.uploadLeaseMs)];
    // A try behind the deadline would come to nothing.
    const pauseMs = failures === 0 ? 0 : retryPauseMs(failures);
    const dueMs = Math.min(nowMs + pauseMs, job.deadlineMs);
    const image = await this.record.held(job);
    const base =
      method.name === "copy-image" && image !== undefined
        ? baseOfImage(image, config.stores.default.id, failures)
        : job.base;
    const next = {
      ...job,
      base,
      dueMs,
      lastError: fault.text,
      target: isKept ? target : undefined,
    };
    await ledger.write({ job: next, owed: [...owed, ...given] });
    if (!isKept) await ledger.clearParts();
    const message = `Try ${failures + 1} follows: ${fault.text}`;
    await updateTask(db, job.taskId, { message, updatedAtMs: nowMs });
  }
}

function timedOut({ lastError }: ImportJob): Fault {
  const reason = lastError === undefined ? "" : ` The last error was: ${lastError}`;
  return new Fault("import_timed_out", { reason });
}

/** A failure that is nobody's but ours: its text says no more than that. */
function ownFault({ imageId }: ImportJob, reason: unknown): Fault {
  const bare = withoutValues(reason);
  const stack = bare instanceof Error ? bare.stack : String(bare);
  log({ event: "import_step_failed", image_id: imageId, stack });
  return new Fault("try_again", {}, reason);
}

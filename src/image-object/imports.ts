import { assertWritten, imageUpdate } from "../db/images.ts";
import {
  deleteExpiredTasks,
  endTasksOf,
  findTask,
  insertEndedTask,
  insertTaskOf,
  type TaskChange,
  updateTask,
} from "../db/tasks.ts";
import { withinQuotas } from "../db/usage.ts";
import type { ExpectedHash } from "../domain/expected-hash.ts";
import { Fault } from "../domain/fault.ts";
import { type Hashes, type Image, type OpenUploads, withoutData } from "../domain/image.ts";
import {
  importTaskOf,
  lockExpiresAtMs,
  withImportEnded,
  withImportStarted,
  withLock,
} from "../domain/import-notes.ts";
import { type ImportPlan, planImport, type Segment } from "../domain/import-plan.ts";
import { validationView } from "../domain/location-request.ts";
import { planLocation } from "../domain/locations.ts";
import type { Task } from "../domain/task.ts";
import { log } from "../lib/log.ts";
import { admitUri } from "../net/resolve.ts";
import { checkUri, redactUri } from "../net/uri-filter.ts";
import { type Base, baseOfImage, type ImportJob } from "./import-job.ts";
import { RunMemory } from "./import-memory.ts";
import { ImportRecord } from "./import-record.ts";
import { ImportRun } from "./import-run.ts";
import type { Charge, Keeper } from "./keeper.ts";
import type { Owed } from "./ledger.ts";
import { type Caller, type ImportCall, type LocationCall, type Outcome, settle } from "./rpc.ts";

/**
 * Imports: accepted by a call, done by alarm (import-run.ts), and ended in the row and the task (import-record.ts).
 * The ledger holds the job from before the row says so until after it no longer does.
 */
export class Imports {
  readonly #record: ImportRecord;
  readonly #memory = new RunMemory();
  #run: ImportRun | undefined;

  constructor(private readonly keeper: Keeper) {
    this.#record = new ImportRecord(keeper);
  }

  /**
   * Accepts an import after the checks of contract 10 §4, and gives its task's id, none when there is nothing to
   * do. A name is looked up before the lock is taken, for that takes its time.
   */
  begin(caller: Caller, call: ImportCall): Promise<Outcome<string | undefined>> {
    return settle(
      (async () => {
        if (call.request.method === "web-download") {
          const { plan } = await this.#judge(caller, call);
          if (plan?.method.name === "web-download") {
            await admitUri(plan.method.uri, this.keeper.config.door);
          }
        }
        return this.keeper.alone(() => this.#accept(caller, call));
      })(),
    );
  }

  /** Accepts a location, whose server is asked by alarm, after the checks of contract 11 §8. */
  addLocation(caller: Caller, call: LocationCall): Promise<Outcome<void>> {
    return settle(this.keeper.alone(() => this.#acceptLocation(caller, call)));
  }

  /**
   * Takes data over that came by a resumable upload, to hash it where that is still to be done, to check it, and to make
   * it the image's; under the lock. To take over the same again is to go on with it; `complete`, which makes the data
   * readable, is done before it is taken over and not again.
   */
  async takeOver(arrived: ArrivedUpload, complete: () => Promise<void>): Promise<void> {
    const { ledger } = this.keeper;
    const { imageId, storeId, key, size, hashes, segments } = arrived;
    const image = await this.keeper.present(imageId);
    if (image === undefined) throw new Fault("image_gone", { imageId });
    const { job: old } = await ledger.read();
    const isOurs = old !== undefined && image.status === "importing" && isSame(old, arrived);
    if (isOurs) return;
    if (image.status !== "queued") {
      throw new Fault("image_not_queued", { imageId, status: image.status });
    }
    if (old !== undefined) throw new Fault("try_again");
    await complete();
    const nowMs = Date.now();
    const method = {
      name: "resumable-upload",
      segments: key === undefined ? segments : [],
    } as const;
    const plan = { method, stores: [storeId], mustSucceed: true, expected: arrived.expected };
    const task = this.#taskOfUpload(arrived, nowMs);
    const own = { isOurs: true, isPlain: false, inspected: undefined };
    const base = key === undefined ? undefined : { storeId, key, size, hashes, ...own };
    const { projectId } = arrived;
    const job = { ...this.#newJob(image, task.id, plan, nowMs), projectId, base };
    const importing = this.#importing(image, new Map(), plan, task);
    const after = { ...importing, reservedBytes: size, openUploads: arrived.stillOpen };
    const demands = [
      { of: "image_size_total", delta: size },
      { of: "image_count_uploading", delta: 1 },
    ] as const;
    const charge = { projectId, demands };
    await this.#start({ image, after, task, job, old, preempted: undefined, charge });
  }

  /** Puts down where the owner finds it why data was refused while it came (contract 13 §6). */
  async noteRefusal(refused: UploadOrigin, { text: message }: Fault): Promise<void> {
    const task = this.#taskOfUpload(refused, Date.now());
    const end = { status: "failure", message, ...this.#record.endTimes() } as const;
    await insertEndedTask(this.keeper.db, { ...task, ...end });
  }

  #taskOfUpload(
    { imageId, storeId, projectId, userId, requestId }: UploadOrigin,
    nowMs: number,
  ): Task {
    const { isMulti } = this.keeper.config.stores;
    return {
      ...this.#newTask(imageId, nowMs),
      type: "api_image_import",
      owner: projectId,
      userId,
      requestId,
      input: {
        image_id: imageId,
        import_req: { method: { name: "resumable-upload" } },
        backend: [isMulti ? storeId : null],
      },
    };
  }

  /** Goes on with the import that is due, until it is over, has to wait, or an alarm's time is up. */
  async run(): Promise<void> {
    const run = new ImportRun(this.keeper, this.#record, this.#memory);
    this.#run = run;
    try {
      await run.run();
    } finally {
      this.#run = undefined;
    }
  }

  /** The bytes that go with a deleted image: those that its import has written so far. */
  async owedByDeletion(nowMs: number): Promise<readonly Owed[]> {
    const { job } = await this.keeper.ledger.read();
    return job === undefined ? [] : this.#record.owedBy(job, nowMs);
  }

  /** The statement that ends an image's tasks with it (contract 10 §8, Deleted during import). */
  endedByDeletion({ id }: Image, nowMs: number) {
    const { expiresAtMs } = this.#record.endTimes();
    return endTasksOf(this.keeper.db, id, {
      message: "The image was deleted.",
      nowMs,
      expiresAtMs,
    });
  }

  /** Ends the work on an image that is gone. */
  async stop(imageId: string): Promise<void> {
    // First of all, so that nothing of it is put down any more.
    this.#run?.stop(new Fault("image_gone", { imageId }));
    await this.keeper.ledger.write({ job: undefined });
    await this.keeper.ledger.clearParts();
  }

  /** The image and what the request comes to with it. */
  async #judge(caller: Caller, { request, storeHeader }: ImportCall) {
    const { config } = this.keeper;
    const found = await this.keeper.find(caller);
    config.policy.assertVisible(caller.identity, found);
    const holder = await this.#holder(found.image);
    const plan = planImport(found.image, request, {
      stores: config.stores,
      storeHeader,
      authorize: (rule) => config.policy.enforceOnImage(rule, caller.identity, found),
      assertUnlocked: () => this.#assertUnlocked(found.image, holder),
      checkUri: (uri) => void checkUri(uri, config.door.filter),
    });
    return { image: found.image, plan, holder };
  }

  #assertUnlocked({ id: imageId }: Image, holder: Holder | undefined): void {
    if (holder?.isValid !== true) return;
    throw new Fault("import_under_way", { imageId, taskId: holder.taskId });
  }

  /** The task that holds the image, and whether it still may (contract 10 §7). */
  async #holder(image: Image): Promise<Holder | undefined> {
    const taskId = importTaskOf(image);
    if (taskId === undefined) return undefined;
    const nowMs = Date.now();
    const task = await findTask(this.keeper.db, taskId, nowMs);
    return { taskId, isValid: task !== undefined && lockExpiresAtMs(task) > nowMs };
  }

  /** Under the lock: what was asked for is judged once more, and begun. */
  async #accept(caller: Caller, call: ImportCall): Promise<string | undefined> {
    const { ledger } = this.keeper;
    const { image, plan, holder } = await this.#judge(caller, call);
    if (plan === undefined) return undefined;
    const nowMs = Date.now();
    const task = this.#taskOf(image, caller, call, plan, nowMs);
    const isCopy = plan.method.name === "copy-image";
    const { token } = call;
    const job = {
      ...this.#newJob(image, task.id, plan, nowMs),
      projectId: caller.identity.projectId,
      token: plan.method.name === "glance-download" ? token : undefined,
      base: this.#givenBase(image, plan.method.name),
    };
    const { job: old } = await ledger.read();
    // A job that the row does not name may yet come to be named: its write's answer was lost. The alarm finds out.
    if (old !== undefined && old.taskId !== holder?.taskId) throw new Fault("try_again");
    const injected = isCopy ? new Map<string, string>() : this.#injected(caller);
    const after = this.#importing(image, injected, plan, task);
    const charge = { projectId: job.projectId, demands: [ONE_MORE] };
    await this.#start({ image, after, task, job, old, preempted: holder?.taskId, charge });
    return task.id;
  }

  async #acceptLocation(caller: Caller, { request, requestId }: LocationCall): Promise<void> {
    const { ledger, config } = this.keeper;
    const { identity, imageId } = caller;
    const found = await this.keeper.find(caller);
    const { image } = found;
    config.policy.assertVisible(identity, found);
    const holder = await this.#holder(image);
    const { expected, storeId, url } = planLocation(image, request, {
      stores: config.stores,
      isService: identity.roles.includes("service"),
      authorize: () => config.policy.enforceOnImage(caller.rule, identity, found),
      assertUnlocked: () => this.#assertUnlocked(image, holder),
    });
    const nowMs = Date.now();
    const task: Task = {
      ...this.#newTask(imageId, nowMs),
      type: "location_import",
      owner: identity.projectId,
      userId: identity.userId,
      requestId,
      input: {
        image_id: imageId,
        loc_url: redactUri(url),
        validation_data: validationView(request),
      },
    };
    const isHashed = config.hashesLocations;
    const method = {
      name: "add-location",
      url,
      storeId,
      isHashed,
      source: undefined,
      reached: 0,
    } as const;
    const plan = { method, stores: [storeId], mustSucceed: true, expected };
    const { projectId } = identity;
    // Signatures are not for locations (contract 11 §8).
    const job = { ...this.#newJob(image, task.id, plan, nowMs), projectId, signature: null };
    const { job: old } = await ledger.read();
    if (old !== undefined && old.taskId !== holder?.taskId) throw new Fault("try_again");
    const unlocked = holder && withImportEnded(image.properties, { failed: [] });
    const properties = withLock(unlocked ?? image.properties, task.id);
    const after = { ...image, properties, revision: image.revision + 1, updatedAtMs: nowMs };
    const charge = { projectId, demands: [ONE_MORE] };
    await this.#start({ image, after, task, job, old, preempted: holder?.taskId, charge });
  }

  /** Under the lock: ledger and alarm first, then row and task in one batch. */
  async #start({ image, after, task, job, old, preempted, charge }: Start): Promise<void> {
    const { ledger } = this.keeper;
    const nowMs = task.createdAtMs;
    const { owed } = await ledger.read();
    const left = old === undefined ? [] : this.#record.owedBy(old, nowMs);
    await ledger.write({ job, owed: [...owed, ...left] });
    try {
      await this.#write(image, after, task, preempted, charge);
    } catch (error) {
      // A Fault says that another state stands there, so the old job goes on.
      if (error instanceof Fault) await ledger.write({ job: old, owed });
      await this.#unsure(job, error);
    }
    // The worker of a lock that ran out, if it is there yet, has nothing to do here any more.
    this.#run?.stop(new Fault("image_gone", { imageId: image.id }));
    await ledger.clearParts();
  }

  async #write(
    image: Image,
    after: Image,
    task: Task,
    preempted: string | undefined,
    { projectId, demands }: Charge,
  ) {
    const { db, config } = this.keeper;
    const [written] = await withinQuotas(db, config.quotas, projectId, demands, (guards) =>
      db.batch([
        imageUpdate(db, image, after),
        insertTaskOf(db, task),
        deleteExpiredTasks(db, task.createdAtMs),
        ...(preempted === undefined ? [] : [updateTask(db, preempted, this.#preemption())]),
        ...guards,
      ]),
    );
    assertWritten(written, image);
  }

  #preemption(): TaskChange {
    // The reference's words (contract 10 §7, Expired).
    return { status: "failure", message: "Expired lock preempted", ...this.#record.endTimes() };
  }

  /**
   * The write failed. Of anything but a Fault only the answer may have been lost, or it may land yet: then the alarm
   * sees whether the image is held, a lease later.
   */
  async #unsure(job: ImportJob, error: unknown): Promise<void> {
    const { ledger, config } = this.keeper;
    if (error instanceof Fault) throw error;
    if ((await this.#record.held(job)) !== undefined) return;
    log({ event: "import_unsure", image_id: job.imageId });
    await ledger.write({ job: { ...job, dueMs: Date.now() + config.uploadLeaseMs } });
    throw error;
  }

  /** The image with its import accepted (contract 10 §8 step 2); a copy leaves its status alone. */
  #importing(
    image: Image,
    injected: ReadonlyMap<string, string>,
    plan: ImportPlan,
    task: Task,
  ): Image {
    const { config } = this.keeper;
    const nowMs = task.createdAtMs;
    const isCopy = plan.method.name === "copy-image";
    const stores = config.stores.shownIds(plan.stores);
    const unlocked =
      importTaskOf(image) === undefined
        ? image.properties
        : withImportEnded(image.properties, { failed: [] });
    const properties = withImportStarted(new Map([...unlocked, ...injected]), {
      taskId: task.id,
      stores,
    });
    const held = { ...image, properties, revision: image.revision + 1, updatedAtMs: nowMs };
    if (isCopy) return held;
    if (plan.method.name === "glance-direct") return { ...held, status: "importing" };
    return { ...withoutData(image, "importing", nowMs), properties };
  }

  /** What the plugin inject_image_metadata adds, as the service and not as the caller (contract 10 §14). */
  #injected({ identity }: Caller): ReadonlyMap<string, string> {
    const { plugins, inject } = this.keeper.config.importPlugins;
    const isIgnored = identity.roles.some((role) => inject.ignoreUserRoles.includes(role));
    const isOn = plugins.includes("inject_image_metadata") && !isIgnored;
    return isOn ? inject.properties : new Map();
  }

  #taskOf(
    image: Image,
    { identity }: Caller,
    { request, requestId, taskType, taskInput }: ImportCall,
    plan: ImportPlan,
    nowMs: number,
  ): Task {
    const { isMulti } = this.keeper.config.stores;
    return {
      ...this.#newTask(image.id, nowMs),
      type: taskType,
      owner: identity.projectId,
      requestId,
      userId: identity.userId,
      input: taskInput ?? {
        image_id: image.id,
        import_req: withoutUserinfo(request.body),
        backend: isMulti ? plan.stores : [null],
      },
    };
  }

  #newTask(imageId: string, nowMs: number) {
    return {
      id: crypto.randomUUID(),
      status: "pending",
      imageId,
      result: null,
      message: "",
      createdAtMs: nowMs,
      updatedAtMs: nowMs,
      expiresAtMs: null,
    } as const;
  }

  #newJob(
    image: Image,
    taskId: string,
    { method, stores, mustSucceed, expected }: ImportPlan,
    nowMs: number,
  ): ImportJob {
    return {
      ...{ imageId: image.id, taskId, method, stores, mustSucceed, expected },
      projectId: null,
      token: undefined,
      signature: undefined,
      deadlineMs: nowMs + this.keeper.config.importDeadlineMs,
      dueMs: nowMs,
      failures: 0,
      restarts: 0,
      lastError: undefined,
      base: undefined,
      target: undefined,
      copies: [],
      failedStores: [],
      described: undefined,
    };
  }

  /** The bytes that are there already: staged ones, or an active image's own. */
  #givenBase(image: Image, method: ImportPlan["method"]["name"]): Base | undefined {
    if (method === "copy-image") return baseOfImage(image, this.keeper.config.stores.default.id, 0);
    if (method !== "glance-direct") return undefined;
    const { staged, size } = image;
    // An upload for staging that goes on holds the status `uploading`, too.
    if (staged === null || size === null)
      throw new Fault("staging_incomplete", { imageId: image.id });
    const { store: storeId, key, hashes } = staged;
    return { storeId, key, size, hashes, isOurs: true, isPlain: false, inspected: undefined };
  }
}

/** Work that a project has behind answers of its own calls. What uploads leave to be done is bounded by them. */
const ONE_MORE = { of: "imports_at_work", delta: 1 } as const;

/** Whose upload it is. */
export interface UploadOrigin {
  readonly imageId: string;
  readonly storeId: string;
  readonly projectId: string | null;
  readonly userId: string | null;
  readonly requestId: string;
}

/** Data that has come by a resumable upload, or by several that are to be joined. */
export interface ArrivedUpload extends UploadOrigin {
  /** Where it lies; undefined where it is in segments yet. */
  readonly key: string | undefined;
  readonly segments: readonly Segment[];
  readonly size: number;
  /** Those known already. */
  readonly hashes: Hashes;
  readonly expected: ExpectedHash | undefined;
  /** The image's other resumable uploads. */
  readonly stillOpen: OpenUploads;
}

/** The task that has an image's lock. */
interface Holder {
  readonly taskId: string;
  /** False once it has run out. */
  readonly isValid: boolean;
}

/** An import that is about to begin. */
interface Start {
  readonly image: Image;
  readonly after: Image;
  readonly task: Task;
  readonly job: ImportJob;
  /** The job that the ledger has, which may be this one's predecessor. */
  readonly old: ImportJob | undefined;
  /** The task whose lock ran out. */
  readonly preempted: string | undefined;
  readonly charge: Charge;
}

/** Whether a job is about the same stored data. */
function isSame({ base, method }: ImportJob, { key, segments }: ArrivedUpload): boolean {
  if (method.name !== "resumable-upload") return false;
  if (key !== undefined) return base?.key === key;
  return method.segments.map((one) => one.key).join() === segments.map((one) => one.key).join();
}

/** An import's request as its task shows it: an address without user name and password (contract 10 §11). */
function withoutUserinfo(body: ImportCall["request"]["body"]): ImportCall["request"]["body"] {
  const { method } = body as { readonly method: Readonly<Record<string, unknown>> };
  if (typeof method.uri !== "string") return body;
  return { ...body, method: { ...method, uri: redactUri(method.uri) } };
}

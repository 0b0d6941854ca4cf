import { runInDurableObject } from "cloudflare:test";
import { env } from "cloudflare:workers";
import { vi } from "vitest";
import { ImageObject } from "../../src/image-object/image-object.ts";
import type { ImportJob } from "../../src/image-object/import-job.ts";
import type { Owed, Upload } from "../../src/image-object/ledger.ts";
import { blobsOfUpload, type Resumable } from "../../src/image-object/resumable-record.ts";

/** More alarms than any unfinished work takes. */
const MANY_ALARMS = 100;

/** The object of one image, seen and moved from outside, with its time stopped (clock.ts). */
export class TestedObject {
  constructor(private readonly imageId: string) {}

  get stub(): DurableObjectStub<ImageObject> {
    return env.IMAGE_OBJECT.get(env.IMAGE_OBJECT.idFromName(this.imageId));
  }

  upload(): Promise<Upload | undefined> {
    return this.#inside((_, { storage }) => storage.get("upload"));
  }

  async owed(): Promise<readonly Owed[]> {
    return (await this.#inside((_, { storage }) => storage.get<readonly Owed[]>("owed"))) ?? [];
  }

  resumables(): Promise<readonly Resumable[]> {
    return this.#inside(async (_, { storage }) => [
      ...(await storage.list<Resumable>({ prefix: "resumable:" })).values(),
    ]);
  }

  /** The keys of bytes that resumable uploads, and the import that takes them over, account for. */
  async resumableKeys(): Promise<readonly string[]> {
    const job = await this.#inside((_, { storage }) => storage.get<ImportJob>("import"));
    const segments = job?.method.name === "resumable-upload" ? job.method.segments : [];
    const inJob = [job?.base?.key, job?.target?.key, ...segments.map(({ key }) => key)];
    const own = (await this.resumables()).flatMap(blobsOfUpload).map(({ key }) => key);
    return [...own, ...inJob.filter((key) => key !== undefined)];
  }

  /** The upload under way, as soon as it is known to have parts: they are opened while the body comes. */
  async uploadInParts(): Promise<Upload & { multipartId: string }> {
    for (;;) {
      const upload = await this.upload();
      if (upload === undefined) throw new Error("no upload is under way");
      const { multipartId } = upload;
      if (multipartId !== undefined) return { ...upload, multipartId };
      await scheduler.wait(1);
    }
  }

  /** Puts the ledger and its alarm into a state of the test's own making. */
  plant(upload: Upload | undefined, owed: readonly Owed[]): Promise<void> {
    return this.#inside(async (_, { storage }) => {
      await storage.deleteAll();
      if (upload !== undefined) await storage.put("upload", upload);
      await storage.put("owed", owed);
      await storage.setAlarm(Date.now());
    });
  }

  alarmAtMs(): Promise<number | null> {
    return this.#inside((_, { storage }) => storage.getAlarm());
  }

  /** Whether the object keeps nothing at all, as that of an image at rest does. */
  isAtRest(): Promise<boolean> {
    return this.#inside(
      async (_, { storage }) =>
        (await storage.list()).size === 0 &&
        (await storage.getAlarm()) === null &&
        storage.sql.exec("SELECT 1 FROM sqlite_master WHERE name = 'spool'").toArray().length === 0,
    );
  }

  /** Whether all that the object keeps is when the image's staged bytes are to go, which is not yet. */
  waitsForImport(): Promise<boolean> {
    return this.#inside(async (_, { storage }) => {
      const keys = [...(await storage.list()).keys()];
      return keys.join() === "staging" && ((await storage.getAlarm()) ?? 0) > Date.now();
    });
  }

  /** Rings the alarm if its time has come; on an object of its own bindings, if `own` is given. */
  ring(own?: Env): Promise<boolean> {
    return this.#inside(async (instance, state) => {
      const atMs = await state.storage.getAlarm();
      if (atMs === null || atMs > Date.now()) return false;
      // As the runtime does: an alarm that rings is no longer set.
      await state.storage.deleteAlarm();
      await (own === undefined ? instance : new ImageObject(state, own)).alarm();
      return true;
    });
  }

  /** Rings all alarms that are due. */
  async ringAll(own?: Env): Promise<void> {
    for (let rings = 0; await this.ring(own); rings++) {
      if (rings > MANY_ALARMS) throw new Error("the alarm rings for ever");
    }
  }

  /** Lets time pass from alarm to alarm until none is set, or staged bytes wait; gives the pauses in seconds. */
  async untilAtRest(own?: Env): Promise<readonly number[]> {
    const pauses: number[] = [];
    for (;;) {
      const atMs = await this.alarmAtMs();
      if (atMs === null || (await this.waitsForImport())) return pauses;
      if (pauses.length > MANY_ALARMS) throw new Error("the object does not come to rest");
      pauses.push(Math.max(0, atMs - Date.now()) / 1000);
      vi.setSystemTime(Math.max(atMs, Date.now()));
      await this.ring(own);
    }
  }

  #inside<T>(look: (instance: ImageObject, state: DurableObjectState) => Promise<T>): Promise<T> {
    return runInDurableObject(this.stub, look);
  }
}

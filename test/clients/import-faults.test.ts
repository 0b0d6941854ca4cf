import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { FileQuery } from "../support/source-behaviour.ts";
import { hashOf } from "../support/source-hash.ts";
import { type SourceServer, startSourceServer } from "../support/source-server.ts";
import { ImageApi } from "./image-api.ts";
import { poll } from "./poll.ts";
import { killServers, makeStateDir, startServer } from "./server.ts";
import { countStoredPieces } from "./stored-data.ts";
import { MiB } from "./test-data.ts";

// Whatever a source does, an import ends by its deadline, says why, and leaves nothing behind.

const deadlineSeconds = 8;
const settings = {
  IMPORT_ALLOW_PRIVATE_ADDRESSES: "true",
  IMPORT_ALLOWED_PORTS: "",
  IMPORT_DEADLINE_SECONDS: String(deadlineSeconds),
  IMPORT_IDLE_SECONDS: "2",
  UPLOAD_LEASE_SECONDS: "2",
};
// Machines are slow at times.
const graceSeconds = 4;
const patienceSeconds = deadlineSeconds + 30;

/** A source, and what the task says in the end, which is nothing where the import succeeds. */
interface Case {
  readonly file: FileQuery;
  readonly message: RegExp;
}

const outOfTime = "The import was not done within the time that imports may take\\.";
const lastError = (reason: string) =>
  new RegExp(`^${outOfTime} The last error was: The source could not be read: ${reason}`);
const brokenOff = "its data broke off, or is not as long as was announced";

const failing: Readonly<Record<string, Case>> = {
  "10 §9: answers 500 for ever": {
    file: { size: MiB, status: 500 },
    message: lastError("it answers with the status 500"),
  },
  "10 §9: breaks off every range": {
    file: { size: 20 * MiB, reset: MiB },
    message: lastError(brokenOff),
  },
  "10 §9: breaks off the whole, every time": {
    file: { size: 3 * MiB, ranges: "no", reset: MiB },
    message: lastError(brokenOff),
  },
  "10 §9, 10 §11: announces more than it has": {
    file: { size: 3 * MiB, ranges: "no", lie: 1000 },
    message: lastError(brokenOff),
  },
  "10 §9, 10 §11: announces more than its ranges have": {
    file: { size: 20 * MiB, lie: 1000 },
    message: lastError(brokenOff),
  },
  "10 §9: sends a few bytes a second": {
    file: { size: MiB, rate: 1000, ranges: "no" },
    message: new RegExp(`^${outOfTime}$`),
  },
  "10 §9: never answers": {
    file: { size: MiB, hang: 1 },
    message: new RegExp(`^${outOfTime}`),
  },
  "10 §9: falls silent in the middle of its data": {
    file: { size: 3 * MiB, ranges: "no", gate: "never", "gate-at": MiB },
    message: lastError("no data came for 2 seconds"),
  },
  "10 §9: falls silent in the middle of its ranges": {
    file: { size: 20 * MiB, gate: "never", "gate-at": MiB },
    message: lastError("no data came for 2 seconds"),
  },
  "10 §9: has no such file, which no second try mends": {
    file: { size: MiB, status: 404 },
    message: /^The source does not give the data: it answers with the status 404$/,
  },
  "10 §9, 10 §11: redirects to what no address may be": {
    file: { redirect: "ftp://127.0.0.1/disk.raw" },
    message: /the source redirects to it/,
  },
  "10 §9: redirects for ever": {
    file: { size: MiB, redirects: 20 },
    message: /^The source does not give the data: it redirects too many times$/,
  },
};

const mending: Readonly<Record<string, { file: FileQuery; seed: number; size: number }>> = {
  "10 §11: answers 500 twice": {
    file: { size: 20 * MiB, seed: 1, status: 500, times: 2 },
    seed: 1,
    size: 20 * MiB,
  },
  "10 §11: breaks off two ranges": {
    file: { size: 20 * MiB, seed: 2, reset: MiB, times: 2 },
    seed: 2,
    size: 20 * MiB,
  },
  "10 §11: has other data from the middle on, under another tag": {
    // It breaks off, and the request that goes on meets the other data.
    file: { size: 40 * MiB, seed: 3, reset: 20 * MiB, times: 1, "change-at": 3 },
    seed: 4,
    size: 40 * MiB,
  },
};

let source: SourceServer;
let state: Awaited<ReturnType<typeof makeStateDir>>;
let api: ImageApi;
/** Ids by the names of cases. */
const images = new Map<string, string>();

// All at once: what one source does must not harm the import from another, and time is saved.
beforeAll(async () => {
  state = await makeStateDir();
  source = await startSourceServer();
  const server = await startServer(state.path, settings);
  api = await ImageApi.signIn(server.url, "glimpse");
  const begin = async ([name, { file }]: [string, { file: FileQuery }]) => {
    const { id } = await api.create(name);
    images.set(name, id);
    const uri = source.fileUrl({ ...file, id });
    await api.import(id, { method: { name: "web-download", uri } });
  };
  await Promise.all([...Object.entries(failing), ...Object.entries(mending)].map(begin));
});

afterAll(async () => {
  await killServers();
  await source?.close();
  await state?.remove();
});

/** The image of a case, and its task once that has ended. */
async function endOf(name: string) {
  const id = images.get(name) ?? "";
  const task = await api.endOfImport(id, patienceSeconds);
  const seconds = (Date.parse(task.updated_at) - Date.parse(task.created_at)) / 1000;
  return { id, task, seconds, image: await api.show(id) };
}

describe("an import fails from a source that", () => {
  for (const [name, { message }] of Object.entries(failing)) {
    it(name, async () => {
      const { task, seconds, image } = await endOf(name);
      expect(task).toMatchObject({
        status: "failure",
        message: expect.stringMatching(message),
      });
      expect(seconds).toBeLessThan(deadlineSeconds + graceSeconds);
      expect(image).toMatchObject({
        status: "queued",
        size: null,
        os_hash_value: null,
        os_glance_importing_to_stores: "",
        os_glance_failed_import: "disk",
      });
      expect(image).not.toHaveProperty("os_glance_import_task");
    });
  }
});

describe("an import succeeds from a source that", () => {
  for (const [name, { seed, size }] of Object.entries(mending)) {
    it(name, async () => {
      const { id, task, image } = await endOf(name);
      expect(task).toMatchObject({ status: "success", message: "" });
      const sha512 = hashOf({ seed, size });
      expect(image).toMatchObject({ status: "active", size, os_hash_value: sha512 });
      expect(await api.download(id)).toEqual({ sizeBytes: size, sha512 });
      await api.delete(id);
    });
  }

  it("10 §9: and none of these leaves bytes behind", async () => {
    const count = () => countStoredPieces(state.path);
    await poll(count, (pieces) => pieces === 0, patienceSeconds);
  });
});

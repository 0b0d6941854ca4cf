import { cp, mkdir, rm, symlink } from "node:fs/promises";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { ImageApi } from "./image-api.ts";
import { poll } from "./poll.ts";
import { type Answer, answerTo, beginToSend, type WayIn, writeAll } from "./sending.ts";
import { killServers, makeStateDir, startServer } from "./server.ts";
import { listStoredKeys } from "./stored-data.ts";
import { MiB, makeBytes, sha512Of } from "./test-data.ts";

// Disks that run full: every upload learns of it in time, and there is nothing to repair.

/**
 * Runs a command with a small file system mounted on a directory, which nobody else sees, and with a file `reserve`
 * in it that is there to be deleted.
 */
const withSmallDisk = (path: string, sizeMiB: number, reserveMiB: number) => [
  ...["unshare", "--map-root-user", "--mount", "sh", "-c"],
  `mkdir -p "${path}" && mount -t tmpfs -o size=${sizeMiB}m tmpfs "${path}" &&
    head -c ${reserveMiB * MiB} /dev/zero > "${path}/reserve" && exec "$@"`,
  "sh",
];

let state: Awaited<ReturnType<typeof makeStateDir>>;

beforeEach(async () => {
  state = await makeStateDir();
});

afterEach(async () => {
  await killServers();
  await state.remove();
});

it("STO-9: answers uploads that find no room within seconds, and takes others when there is room", async () => {
  const settings = { UPLOAD_LEASE_SECONDS: "2" };
  const wrapper = withSmallDisk(join(state.path, "disk"), 64, 0);
  const server = await startServer(state.path, settings, [], undefined, wrapper);
  const api = await ImageApi.signIn(server.url, "glimpse");
  const sizeMiB = 40;
  const data = { sizeBytes: sizeMiB * MiB, sha512: sha512Of(makeBytes(sizeMiB)) };
  const { id: kept } = await api.create("kept");
  expect(await api.upload(kept, makeBytes(sizeMiB), data.sizeBytes)).toBe(204);

  // Of known length and in chunks, several at once.
  const { id } = await api.create("too-large");
  const { id: other } = await api.create("too-large");
  const startedAtMs = Date.now();
  const statuses = await Promise.all([
    api.upload(id, makeBytes(sizeMiB), data.sizeBytes),
    api.upload(other, makeBytes(sizeMiB)),
  ]);
  expect(statuses).toEqual([503, 503]);
  expect(Date.now() - startedAtMs).toBeLessThan(20_000);
  expect(await api.download(kept)).toEqual(data);

  await api.delete(kept);
  await poll(
    async () => [await api.show(id), await api.show(other)],
    (records) => records.every(({ status }) => status === "queued"),
    30,
  );
  // The room is there as soon as what was deleted, and what came of the others, is removed.
  const again = () => api.upload(id, makeBytes(sizeMiB), data.sizeBytes);
  await poll(again, (status) => status === 204, 30);
  expect(await api.download(id)).toEqual(data);
});

const WAYS: readonly WayIn[] = ["PUT", "PUT in chunks", "stage in chunks", "tus"];
const answerSeconds = 60;
const patienceSeconds = 60;

/** Sends an image's data; a status of 0 stands for no answer, and for one that did not come in time. */
async function send(api: ImageApi, id: string, way: WayIn, sizeMiB: number): Promise<Answer> {
  const startedAtMs = performance.now();
  const request = await beginToSend(api, id, way, sizeMiB * MiB);
  const silence = setTimeout(() => request.destroy(new Error("no answer")), answerSeconds * 1000);
  const answer = answerTo(request).catch((error: unknown) => {
    const seconds = Math.round((performance.now() - startedAtMs) / 1000);
    return { status: 0, retryAfter: undefined, body: `${error} after ${seconds} s` };
  });
  await writeAll(request, makeBytes(sizeMiB));
  request.end();
  await answer;
  clearTimeout(silence);
  return answer;
}

/** What the server's stores hold, as it sees them; SQLite itself does not look into the directory of a process. */
async function listKeysSeenBy(root: string): Promise<readonly string[]> {
  const copy = join(state.path, "seen");
  await rm(copy, { recursive: true, force: true });
  await mkdir(copy);
  await symlink(join(root, state.path, "disk"), join(copy, "disk"));
  const filter = (path: string) => !path.includes("/blobs");
  await cp(join(root, state.path, "v3/r2"), join(copy, "v3/r2"), { recursive: true, filter });
  return listStoredKeys(copy);
}

/** Waits until an image has one of these statuses. */
const becomes = (api: ImageApi, id: string, ...statuses: readonly string[]) =>
  poll(
    () => api.show(id),
    ({ status }) => statuses.includes(status),
    patienceSeconds,
  );

describe("a disk that runs full in the middle of four uploads", { timeout: 300_000 }, () => {
  it.each([
    { of: "the images", directory: "disk", store: "disk" },
    { of: "the buckets", directory: "v3/r2", store: "r2" },
    { of: "all that the server keeps", directory: "", store: "disk" },
  ])(
    "answers each within a minute, and takes others once there is room: that of $of",
    async ({ directory, store }) => {
      const disk = join(state.path, directory);
      const settings = { UPLOAD_LEASE_SECONDS: "8" };
      const options = ["--quiet", "--store", store];
      const wrapper = withSmallDisk(disk, 120, 40);
      const server = await startServer(state.path, settings, options, undefined, wrapper);
      const api = await ImageApi.signIn(server.url, "glimpse");
      const images = await Promise.all(WAYS.map((way) => api.create(way)));
      const sending = WAYS.map((way, index) => send(api, images[index]?.id ?? "", way, 40));
      const answers = await Promise.all(sending);
      const told = JSON.stringify(answers);
      for (const { status, retryAfter, body } of answers) {
        expect([204, 503], told).toContain(status);
        if (status === 204) continue;
        expect(Number(retryAfter), told).toBeGreaterThan(0);
        expect(body).toMatch(/"message":".+"/);
      }
      // There is room for one, whatever that of the others was given back for.
      expect(answers.filter(({ status }) => status === 503).length, told).toBeGreaterThan(0);

      const seenByServer = `/proc/${server.pid}/root`;
      await rm(join(seenByServer, disk, "reserve"));
      const sha512 = sha512Of(makeBytes(9));
      for (const way of ["PUT", "PUT in chunks", "tus"] as const) {
        const { id } = await api.create(`later by ${way}`);
        const again = () => send(api, id, way, 9);
        await poll(again, ({ status }) => status === 204, patienceSeconds);
        expect(await becomes(api, id, "active")).toMatchObject({ os_hash_value: sha512 });
        expect(await api.download(id)).toEqual({ sizeBytes: 9 * MiB, sha512 });
        await api.delete(id);
      }

      // What failed is as it was before.
      for (const [index, { id }] of images.entries()) {
        const isDone = answers[index]?.status === 204;
        await becomes(api, id, ...(isDone ? ["active", "uploading"] : ["queued"]));
        await api.delete(id);
      }
      const look = () => listKeysSeenBy(seenByServer);
      await poll(look, (keys) => keys.length === 0, patienceSeconds);
    },
  );
});

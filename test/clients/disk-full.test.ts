import { afterEach, beforeEach, expect, it } from "vitest";
import { ImageApi } from "./image-api.ts";
import { poll } from "./poll.ts";
import { killServers, makeStateDir, startServer } from "./server.ts";
import { MiB, makeBytes, sha512Of } from "./test-data.ts";

// The store on disk when the disk is full: every upload learns of it at once, and there is nothing to repair.

const diskMiB = 64;
/** Runs a command with a small file system mounted on the directory of images, which nobody else sees. */
const withSmallDisk = (path: string) => [
  ...["unshare", "--map-root-user", "--mount", "sh", "-c"],
  `mkdir "${path}/disk" && mount -t tmpfs -o size=${diskMiB}m tmpfs "${path}/disk" && exec "$@"`,
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
  const server = await startServer(state.path, settings, [], undefined, withSmallDisk(state.path));
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

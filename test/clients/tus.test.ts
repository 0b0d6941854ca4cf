import { createReadStream, createWriteStream } from "node:fs";
import { join } from "node:path";
import { Readable } from "node:stream";
import { pipeline } from "node:stream/promises";
import { Upload, type UploadOptions } from "tus-js-client";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { CuttingProxy } from "./cutting-proxy.ts";
import { ImageApi } from "./image-api.ts";
import { poll } from "./poll.ts";
import { findFreePort, killServers, makeStateDir, type Server, startServer } from "./server.ts";
import { countStoredPieces } from "./stored-data.ts";
import { MiB, makeBytes, sha512Of } from "./test-data.ts";

// The stock client of tus, which goes on by itself when its connection is cut and when the server is killed.

const bytes = Number(process.env.TUS_BYTES ?? 128 * MiB);
const sizeMiB = Math.ceil(bytes / MiB);
const sizeBytes = sizeMiB * MiB;
const cuts = 10;
const kills = 3;
// Of what one request has brought when the server is killed, parts under way and the one that fills are lost.
const lostByKill = 3 * 8 * MiB;
const patienceSeconds = 60 + sizeMiB;
const settings = { UPLOAD_LEASE_SECONDS: "2" };

let sha512: string;
let home: Awaited<ReturnType<typeof makeStateDir>>;
let state: Awaited<ReturnType<typeof makeStateDir>>;
let disk: string;
let port: number;
let server: Server;
let proxy: CuttingProxy;

beforeAll(async () => {
  home = await makeStateDir();
  disk = join(home.path, "disk.img");
  await pipeline(Readable.from(makeBytes(sizeMiB)), createWriteStream(disk));
  sha512 = sha512Of(makeBytes(sizeMiB));
}, patienceSeconds * 1000);

afterAll(() => home.remove());

beforeEach(async () => {
  state = await makeStateDir();
  port = await findFreePort();
  server = await startServer(state.path, settings, [], port);
  proxy = await CuttingProxy.start(port);
});

afterEach(async () => {
  await proxy.close();
  await killServers();
  await state.remove();
});

/** Uploads the file, however often it takes. */
function send(imageId: string, token: string, options: UploadOptions): Promise<void> {
  const file = createReadStream(disk);
  return new Promise((done, fail) => {
    // Its types do not know of the files that it reads in Node.
    const upload = new Upload(file as unknown as Buffer, {
      endpoint: `${proxy.url}/v2/images/${imageId}/uploads`,
      headers: { "X-Auth-Token": token },
      metadata: { filename: "disk.img", checksum: `sha512:${sha512}` },
      retryDelays: Array.from({ length: 60 }, () => 500),
      onShouldRetry: () => true,
      onSuccess: () => done(),
      onError: fail,
      ...options,
    });
    upload.start();
  });
}

/** Kills and starts the server each time that another share of the bytes has passed. */
async function killNowAndThen(isOver: () => boolean): Promise<number> {
  for (let kill = 1; kill <= kills; kill += 1) {
    const share = (kill * sizeBytes) / (kills + 1);
    await poll(
      async () => proxy.passed("up"),
      (passed) => passed >= share || isOver(),
      patienceSeconds,
    );
    if (isOver()) return kill - 1;
    await server.kill();
    server = await startServer(state.path, settings, [], port);
  }
  return kills;
}

const WAYS: Readonly<Record<string, UploadOptions>> = {
  "in chunks of 5 MiB": { chunkSize: 5 * MiB },
  "in chunks of 64 MiB": { chunkSize: 64 * MiB },
  "in one request": { chunkSize: Number.POSITIVE_INFINITY },
  "in four at once": { parallelUploads: 4 },
};

describe("tus-js-client", { timeout: 4 * patienceSeconds * 1000 }, () => {
  it.each(Object.keys(WAYS))(
    "sends a file %s, over a bad line to a server that is killed",
    async (way) => {
      const api = await ImageApi.signIn(server.url, "glimpse");
      const { id } = await api.create("tus");
      proxy.cut("up", sizeBytes / (cuts + 2), cuts);
      let isOver = false;
      const sending = send(id, api.token, WAYS[way] ?? {}).finally(() => {
        isOver = true;
      });
      const [killed] = await Promise.all([killNowAndThen(() => isOver), sending]);
      expect([killed, proxy.cutsMade]).toEqual([kills, cuts]);

      const image = await poll(
        () => api.show(id),
        ({ status }) => status === "active",
        patienceSeconds,
      );
      expect(image).toMatchObject({ size: sizeBytes, os_hash_value: sha512 });
      expect(await api.download(id)).toEqual({ sizeBytes, sha512 });
      // By each kill, of each request what was not stored yet; of a large file that is next to nothing.
      const streams = WAYS[way]?.parallelUploads ?? 1;
      const lost = kills * streams * lostByKill + cuts * 2 * MiB;
      expect(proxy.passed("up")).toBeLessThanOrEqual(sizeBytes + Math.max(0.1 * sizeBytes, lost));

      await api.delete(id);
      await poll(
        () => countStoredPieces(state.path),
        (pieces) => pieces === 0,
        patienceSeconds,
      );
      await server.stop();
    },
  );

  it("sends an empty file with its creation", async () => {
    const api = await ImageApi.signIn(server.url, "glimpse");
    const { id } = await api.create("empty");
    await new Promise<void>((done, fail) => {
      const upload = new Upload(Buffer.alloc(0), {
        endpoint: `${server.url}/v2/images/${id}/uploads`,
        headers: { "X-Auth-Token": api.token },
        uploadDataDuringCreation: true,
        retryDelays: null,
        onSuccess: () => done(),
        onError: fail,
      });
      upload.start();
    });
    const image = await poll(
      () => api.show(id),
      ({ status }) => status === "active",
      patienceSeconds,
    );
    expect(image).toMatchObject({ size: 0, os_hash_value: sha512Of([]) });
    expect(await api.download(id)).toEqual({ sizeBytes: 0, sha512: sha512Of([]) });
    await api.delete(id);
    await server.stop();
  });
});

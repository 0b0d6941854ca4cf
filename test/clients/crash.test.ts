import { once } from "node:events";
import type { ClientRequest, IncomingMessage } from "node:http";
import { setTimeout } from "node:timers/promises";
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import { ImageApi } from "./image-api.ts";
import { poll } from "./poll.ts";
import { killServers, makeStateDir, type Server, startServer } from "./server.ts";
import { countStoredPieces } from "./stored-data.ts";
import { MiB, makeBytes, sha512Of } from "./test-data.ts";

// Whatever ends an upload before its time, the image is `queued` again by the deadline, and nothing of the
// attempt is left.

const sizeMiB = 40;
const leaseSeconds = 2;
const settings = { UPLOAD_LEASE_SECONDS: String(leaseSeconds) };
// Machines are slow at times; an image that comes back does so soon after its lease.
const patienceSeconds = leaseSeconds + 20;

/** Sends the first part of a body and leaves the rest open. */
async function sendHalf(put: ClientRequest): Promise<void> {
  put.on("error", () => undefined);
  for (const piece of makeBytes(sizeMiB / 2)) {
    if (!put.write(piece)) await once(put, "drain");
  }
}

/** Starts an upload that has brought some of its bytes and waits until the image says so. */
async function beginHalfAnUpload(api: ImageApi, id: string, lengthBytes?: number) {
  const put = api.beginUpload(id, lengthBytes);
  await sendHalf(put);
  await poll(
    () => api.show(id),
    ({ status }) => status === "saving",
    patienceSeconds,
  );
  return put;
}

/** Uploads a whole image and compares what comes back. */
async function expectUploadToWork(api: ImageApi, id: string): Promise<void> {
  expect(await api.upload(id, makeBytes(sizeMiB), sizeMiB * MiB)).toBe(204);
  const sha512 = sha512Of(makeBytes(sizeMiB));
  expect(await api.show(id)).toMatchObject({ status: "active", os_hash_value: sha512 });
  expect(await api.download(id)).toEqual({ sizeBytes: sizeMiB * MiB, sha512 });
}

async function answerOf(put: ClientRequest): Promise<number | undefined> {
  const [response] = (await once(put, "response")) as [IncomingMessage];
  response.resume();
  return response.statusCode;
}

describe("a server that is killed in the middle of an upload", () => {
  afterEach(killServers);

  for (const [kind, lengthBytes] of [
    ["of known length", sizeMiB * MiB],
    ["in chunks", undefined],
  ] as const) {
    it(`UPL-13: gives the image back after a restart (body ${kind})`, async () => {
      const state = await makeStateDir();
      let server = await startServer(state.path, settings);
      const before = await ImageApi.signIn(server.url, "glimpse");
      const { id } = await before.create("killed");
      await beginHalfAnUpload(before, id, lengthBytes);
      await server.kill();

      server = await startServer(state.path, settings);
      const after = await ImageApi.signIn(server.url, "glimpse");
      // Reading never touches the image's object: its alarm alone must bring it back.
      const record = await poll(
        () => after.show(id),
        ({ status }) => status === "queued",
        patienceSeconds,
      );
      expect(record).toMatchObject({ size: null, os_hash_value: null });
      await expectUploadToWork(after, id);
      expect(await countStoredPieces(state.path)).toBeGreaterThan(0);
      await after.delete(id);
      await expectNothingLeft(server);
      await server.stop();
      await state.remove();
    });
  }

  it("keeps active images, and tokens go on working", async () => {
    const state = await makeStateDir();
    let server = await startServer(state.path);
    const api = await ImageApi.signIn(server.url, "glimpse");
    const { id } = await api.create("kept");
    await expectUploadToWork(api, id);
    await server.kill();
    server = await startServer(state.path);
    const again = await ImageApi.signIn(server.url, "glimpse");
    expect(await again.download(id)).toMatchObject({ sizeBytes: sizeMiB * MiB });
    await server.stop();
    await state.remove();
  });
});

describe("a server that is killed in the middle of deletions", () => {
  const images = 24;
  const rounds = 3;
  const partMiB = 8;

  afterEach(killServers);

  /** An image with a resumable upload that is open; with a part that is stored, or none yet. */
  async function createOpen(api: ImageApi, name: string, isBegun: boolean): Promise<string> {
    const { id } = await api.create(name);
    const headers = { "X-Auth-Token": api.token, "Tus-Resumable": "1.0.0" };
    const place = `offset ${btoa("0")},length ${btoa(String(2 * partMiB * MiB))}`;
    const created = await fetch(`${api.url}/v2/images/${id}/uploads`, {
      method: "POST",
      headers: {
        ...headers,
        "Upload-Length": String(partMiB * MiB),
        "Upload-Concat": "partial",
        "Upload-Metadata": place,
      },
    });
    expect(created.status).toBe(201);
    if (!isBegun) return id;
    const sent = await fetch(created.headers.get("location") ?? "", {
      method: "PATCH",
      headers: {
        ...headers,
        "Upload-Offset": "0",
        "Content-Type": "application/offset+octet-stream",
      },
      body: new Uint8Array(partMiB * MiB),
    });
    expect(sent.status).toBe(204);
    return id;
  }

  it(`leaves nothing of open resumable uploads, ${rounds} times`, async () => {
    const state = await makeStateDir();
    let server = await startServer(state.path, settings);
    for (let round = 0; round < rounds; round++) {
      const api = await ImageApi.signIn(server.url, "glimpse");
      const ids: string[] = [];
      for (let n = 0; n < images; n++) ids.push(await createOpen(api, `open-${n}`, n % 6 === 0));
      expect(await countStoredPieces(state.path)).toBeGreaterThanOrEqual(images);
      const deletions = ids.map((id) => api.delete(id).catch(() => undefined));
      await setTimeout(30 + Math.random() * 220);
      await server.kill();
      await Promise.all(deletions);
      server = await startServer(state.path, settings);
      const again = await ImageApi.signIn(server.url, "glimpse");
      // Those whose deletion had not begun are still there, and so are their uploads.
      for (const id of ids) await again.delete(id).catch(() => undefined);
      await expectNothingLeft(server);
    }
    await server.stop();
    await state.remove();
  }, 300_000);
});

/** Waits until the bytes owed are deleted. */
async function expectNothingLeft(server: Server): Promise<void> {
  const count = () => countStoredPieces(server.stateDir);
  await poll(count, (pieces) => pieces === 0, patienceSeconds);
}

describe("a running server", () => {
  let server: Server;
  let api: ImageApi;
  let state: Awaited<ReturnType<typeof makeStateDir>>;

  beforeAll(async () => {
    state = await makeStateDir();
    server = await startServer(state.path, settings);
    api = await ImageApi.signIn(server.url, "glimpse");
  });

  afterAll(async () => {
    await killServers();
    await state?.remove();
  });

  it("UPL-13: gives the image back when the client vanishes", async () => {
    const { id } = await api.create("vanished");
    const put = await beginHalfAnUpload(api, id, sizeMiB * MiB);
    put.destroy();
    await poll(
      () => api.show(id),
      ({ status }) => status === "queued",
      patienceSeconds,
    );
    await expectUploadToWork(api, id);
    await api.delete(id);
  });

  it("UPL-13: gives the image back at once when the client's connection is reset", async () => {
    const { id } = await api.create("reset");
    const put = await beginHalfAnUpload(api, id, sizeMiB * MiB);
    const resetAtMs = Date.now();
    put.socket?.resetAndDestroy();
    await poll(
      () => api.show(id),
      ({ status }) => status === "queued",
      patienceSeconds,
    );
    // By the Worker, long before the lease's end.
    expect(Date.now() - resetAtMs).toBeLessThan(leaseSeconds * 1000);
    await expectUploadToWork(api, id);
    await api.delete(id);
  });

  it("UPL-13: gives the image back when the client falls silent", async () => {
    const { id } = await api.create("silent");
    const put = await beginHalfAnUpload(api, id, sizeMiB * MiB);
    await poll(
      () => api.show(id),
      ({ status }) => status === "queued",
      patienceSeconds,
    );
    put.destroy();
    await expectUploadToWork(api, id);
    await api.delete(id);
  });

  it("UPL-10: answers 410 when the image is deleted while it is uploaded", async () => {
    const { id } = await api.create("deleted");
    const put = await beginHalfAnUpload(api, id, sizeMiB * MiB);
    const answer = answerOf(put);
    await api.delete(id);
    for (const piece of makeBytes(sizeMiB / 2)) put.write(piece);
    put.end();
    expect(await answer).toBe(410);
    await expect(api.show(id)).rejects.toThrow("404");
  });

  it("UPL-8, UPL-11: lets exactly one of several uploads at once win", async () => {
    const { id } = await api.create("contested");
    const seeds = [1, 2, 3, 4];
    const statuses = await Promise.all(
      seeds.map((seed) => api.upload(id, makeBytes(sizeMiB, seed), sizeMiB * MiB)),
    );
    expect(statuses.toSorted()).toEqual([204, 409, 409, 409]);
    const winner = seeds[statuses.indexOf(204)];
    const { sha512 } = await api.download(id);
    expect(sha512).toBe(sha512Of(makeBytes(sizeMiB, winner)));
    await api.delete(id);
  });

  it("has no bytes of any of these left in the end", async () => {
    await expectNothingLeft(server);
  });
});

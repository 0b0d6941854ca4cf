import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { hashOf } from "../support/source-hash.ts";
import { type SourceServer, startSourceServer } from "../support/source-server.ts";
import { ImageApi } from "./image-api.ts";
import { poll } from "./poll.ts";
import { killServers, makeStateDir, startServer } from "./server.ts";
import { countStoredPieces } from "./stored-data.ts";
import { MiB, makeBytes, sha512Of } from "./test-data.ts";

// An import goes on by itself from where it was when its process died.

const settings = {
  IMPORT_ALLOW_PRIVATE_ADDRESSES: "true",
  IMPORT_ALLOWED_PORTS: "",
  UPLOAD_LEASE_SECONDS: "2",
  // What goes by one put has no middle to go on from.
  SINGLE_PUT_MAX_BYTES: "0",
};
const patienceSeconds = 120;
const partBytes = 8 * MiB;

let source: SourceServer;
let state: Awaited<ReturnType<typeof makeStateDir>>;

beforeEach(async () => {
  source = await startSourceServer();
  state = await makeStateDir();
});

afterEach(async () => {
  await killServers();
  await source.close();
  await state.remove();
});

/** The pieces of an image that was written in parts: itself, and each of them. */
const piecesOf = (sizeBytes: number) => 1 + Math.ceil(sizeBytes / partBytes);

const expectPieces = (count: number) =>
  poll(
    () => countStoredPieces(state.path),
    (pieces) => pieces === count,
    patienceSeconds,
  );

// A gigabyte takes its time on a slow machine.
describe("a server that is killed in the middle of an import", { timeout: 300_000 }, () => {
  it("10 §8: goes on with a gigabyte's download where it was, without being asked", async () => {
    const data = { seed: 5, size: 1024 * MiB };
    const partsBefore = 60;
    const held = { gate: "middle", "gate-at": (partsBefore + 0.5) * partBytes };
    const uri = source.fileUrl({ id: "crash", ...data, ...held });
    let server = await startServer(state.path, settings);
    const before = await ImageApi.signIn(server.url, "glimpse");
    const { id } = await before.create("killed");
    await before.import(id, { method: { name: "web-download", uri } });
    await source.waitAtGate("middle");
    await server.kill();
    const logBefore = await source.log("crash");

    await source.openGate("middle");
    server = await startServer(state.path, settings);
    const after = await ImageApi.signIn(server.url, "glimpse");
    expect(await after.endOfImport(id, patienceSeconds)).toMatchObject({ status: "success" });
    const sha512 = hashOf(data);
    expect(await after.show(id)).toMatchObject({
      status: "active",
      size: data.size,
      os_hash_value: sha512,
      os_glance_importing_to_stores: "",
    });
    expect(await after.download(id)).toEqual({ sizeBytes: data.size, sha512 });

    // What was stored is not read again: the first range behind the kill lies behind nearly all of it.
    const log = await source.log("crash");
    const later = log.slice(logBefore.length);
    const offsets = later.map(({ range }) => Number(range?.match(/\d+/)?.[0]));
    expect(Math.min(...offsets)).toBeGreaterThanOrEqual((partsBefore - 5) * partBytes);
    const sentBytes = log.reduce((sum, { bytesSent }) => sum + bytesSent, 0);
    expect(sentBytes).toBeGreaterThanOrEqual(data.size);
    expect(sentBytes).toBeLessThanOrEqual(data.size + 5 * partBytes);

    await expectPieces(piecesOf(data.size));
    await after.delete(id);
    await expectPieces(0);
  });

  it("10 §8, 10 §11: begins a download anew whose source has no ranges", async () => {
    const data = { seed: 6, size: 48 * MiB };
    const held = { gate: "half", "gate-at": data.size / 2 };
    const uri = source.fileUrl({ id: "whole", ...data, ranges: "no", ...held });
    let server = await startServer(state.path, settings);
    const before = await ImageApi.signIn(server.url, "glimpse");
    const { id } = await before.create("killed");
    await before.import(id, { method: { name: "web-download", uri } });
    await source.waitAtGate("half");
    await server.kill();
    expect(await countStoredPieces(state.path)).toBeGreaterThan(1);

    await source.openGate("half");
    server = await startServer(state.path, settings);
    const after = await ImageApi.signIn(server.url, "glimpse");
    expect(await after.endOfImport(id, patienceSeconds)).toMatchObject({ status: "success" });
    const sha512 = hashOf(data);
    expect(await after.download(id)).toEqual({ sizeBytes: data.size, sha512 });
    await after.delete(id);
    await expectPieces(0);
  });

  it("10 §8, 10 §13: goes on with a copy to another store", async () => {
    const sizeMiB = 128;
    let server = await startServer(state.path, settings);
    const before = await ImageApi.signIn(server.url, "glimpse-admin");
    const { id } = await before.create("copied");
    expect(await before.upload(id, makeBytes(sizeMiB), sizeMiB * MiB)).toBe(204);
    const ownPieces = await countStoredPieces(state.path);
    await before.import(id, { method: { name: "copy-image" }, stores: ["archive"] });
    await poll(
      () => countStoredPieces(state.path),
      (pieces) => pieces > ownPieces + 3,
      patienceSeconds,
    );
    await server.kill();
    // It was in the middle.
    expect(await countStoredPieces(state.path)).toBeLessThan(2 * ownPieces);

    server = await startServer(state.path, settings);
    const after = await ImageApi.signIn(server.url, "glimpse-admin");
    expect(await after.endOfImport(id, patienceSeconds)).toMatchObject({ status: "success" });
    expect(await after.show(id)).toMatchObject({ status: "active", stores: "disk,archive" });
    await expectPieces(2 * ownPieces);
    // The copy is what is read once the other one is gone.
    await after.deleteFromStore(id, "disk");
    const sha512 = sha512Of(makeBytes(sizeMiB));
    expect(await after.download(id)).toEqual({ sizeBytes: sizeMiB * MiB, sha512 });
    await after.delete(id);
    await expectPieces(0);
  });
});

import { once } from "node:events";
import { afterAll, afterEach, describe, expect, it } from "vitest";
import { Commands } from "./commands.ts";
import { glanceEnvironment } from "./glance.ts";
import { ImageApi } from "./image-api.ts";
import { poll } from "./poll.ts";
import { killServers, makeStateDir, startServer } from "./server.ts";
import { MiB, makeBytes } from "./test-data.ts";

const leaseSeconds = 2;
const settings = {
  UPLOAD_LEASE_SECONDS: String(leaseSeconds),
  USE_KEYSTONE_LIMITS: "true",
  QUOTAS: JSON.stringify({
    default: {
      image_size_total: 40,
      image_stage_total: 40,
      image_count_total: 10,
      image_count_uploading: 1,
    },
  }),
};

const states: { remove(): Promise<void> }[] = [];
const commands = new Commands({});

async function stateDir(): Promise<string> {
  const state = await makeStateDir();
  states.push(state);
  return state.path;
}

afterEach(killServers);
afterAll(async () => {
  commands.close();
  for (const state of states) await state.remove();
});

describe("quotas", () => {
  it("USE-1: `glance usage` tells what the project uses, and may", async () => {
    const server = await startServer(await stateDir(), settings);
    const api = await ImageApi.signIn(server.url, "glimpse");
    const { id } = await api.create("counted");
    expect(await api.upload(id, makeBytes(3), 3 * MiB)).toBe(204);
    const env = glanceEnvironment(server, "glimpse");
    const table = await commands.succeed(["glance", "usage"], { env });
    const rows = table.split("\n").map((line) => line.split("|").map((cell) => cell.trim()));
    const shown = Object.fromEntries(rows.map(([, name = "", ...figures]) => [name, figures]));
    expect(shown.image_size_total).toEqual(expect.arrayContaining(["3", "40"]));
    expect(shown.image_count_total).toEqual(expect.arrayContaining(["1", "10"]));
  });

  it("12 §6: what an upload was granted comes back after the server was killed", async () => {
    const dir = await stateDir();
    let server = await startServer(dir, settings);
    const before = await ImageApi.signIn(server.url, "glimpse");
    const [{ id }, other] = [await before.create("killed"), await before.create("waiting")];
    const put = before.beginUpload(id, 30 * MiB);
    put.on("error", () => undefined);
    for (const piece of makeBytes(10)) if (!put.write(piece)) await once(put, "drain");
    await poll(
      () => before.show(id),
      ({ status }) => status === "saving",
      20,
    );
    // There is room for this one neither by its bytes nor by its number.
    expect(await before.upload(other.id, makeBytes(20), 20 * MiB)).toBe(413);
    await server.kill();

    server = await startServer(dir, settings);
    const after = await ImageApi.signIn(server.url, "glimpse");
    await poll(
      () => after.show(id),
      ({ status }) => status === "queued",
      leaseSeconds + 20,
    );
    expect(await after.upload(other.id, makeBytes(20), 20 * MiB)).toBe(204);
    expect(await after.upload(id, makeBytes(30), 30 * MiB)).toBe(413);
    expect(await after.upload(id, makeBytes(20), 20 * MiB)).toBe(204);
  });
});

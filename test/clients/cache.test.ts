import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { Commands } from "./commands.ts";
import { cellOf, glanceEnvironment, unwrapped } from "./glance.ts";
import { poll } from "./poll.ts";
import { killServers, makeStateDir, type Server, startServer } from "./server.ts";
import { makeBytes, sha512OfFile } from "./test-data.ts";

// Debian's `glance` wants to be told which node's cache is meant; here one address stands for all of them.

let server: Server;
let commands: Commands;
let state: Awaited<ReturnType<typeof makeStateDir>>;
let disk: string;

beforeAll(async () => {
  state = await makeStateDir();
  server = await startServer(state.path, { IMAGE_CACHE: "on" });
  commands = new Commands({});
  disk = join(state.path, "disk.raw");
  await writeFile(disk, [...makeBytes(9)]);
});

afterAll(async () => {
  commands?.close();
  await killServers();
  await state?.remove();
});

const options = (cloud: string) => ({ env: glanceEnvironment(server, cloud) });
const glance = (...args: string[]) => commands.succeed(["glance", ...args], options("glimpse"));
const node = (...args: string[]) => ["glance", "--os-image-url", server.url, ...args];
const admin = (...args: string[]) => commands.succeed(node(...args), options("glimpse-admin"));

/** What `glance` says on its way: it ends well whatever happens to a cache call. */
async function complaintOf(cloud: string, ...args: string[]): Promise<string> {
  const { stderr } = await commands.run(node(...args), options(cloud));
  return stderr;
}

async function create(): Promise<string> {
  const formats = ["--disk-format", "raw", "--container-format", "bare"];
  return cellOf(await glance("image-create", ...formats, "--file", disk), "id");
}

async function download(id: string): Promise<string> {
  const saved = join(state.path, "saved.raw");
  await glance("image-download", "--file", saved, id);
  return sha512OfFile(saved);
}

type Row = readonly (string | undefined)[] | undefined;

/** The row of an image: its state, size and hits; undefined when it is not listed. */
async function listed(id: string): Promise<Row> {
  const table = unwrapped(await admin("cache-list"));
  const row = table.split("\n").find((line) => line.includes(id));
  const cells = row?.split("|").map((cell) => cell.trim());
  return cells && [cells[2], cells[5], cells[6]];
}

/** Waits for what is put down behind an answer. */
const untilListed = (id: string, isSo: (row: Row) => boolean) => poll(() => listed(id), isSo, 30);

beforeEach(async () => {
  await admin("cache-clear");
});

describe("glance", () => {
  it("CAC-2: lists what downloads have cached, and serves the same bytes from there", async () => {
    const id = await create();
    expect(await listed(id)).toBeUndefined();
    const sha512 = await sha512OfFile(disk);
    expect(await download(id)).toBe(sha512);
    await untilListed(id, (row) => row !== undefined);
    expect(await listed(id)).toEqual(["cached", String(9 * 1024 ** 2), "0"]);
    expect(await download(id)).toBe(sha512);
    await untilListed(id, (row) => row?.[2] === "1");
  });

  it("CAC-3: queues an image, which is then cached without a download", async () => {
    const id = await create();
    await admin("cache-queue", id);
    await untilListed(id, (row) => row?.[0] === "cached");
    expect(await listed(id)).toEqual(["cached", String(9 * 1024 ** 2), "0"]);
    expect(await download(id)).toBe(await sha512OfFile(disk));
    await untilListed(id, (row) => row?.[2] === "1");
  });

  it("CAC-4: deletes an image from the cache", async () => {
    const id = await create();
    await download(id);
    await untilListed(id, (row) => row !== undefined);
    await admin("cache-delete", id);
    expect(await listed(id)).toBeUndefined();
    const missing = "00000000-0000-4000-8000-000000000000";
    expect(await complaintOf("glimpse-admin", "cache-delete", missing)).toContain("404");
  });

  it.each([
    ["cache", undefined],
    ["queue", "cached"],
    ["both", undefined],
  ])("CAC-5: clears %s", async (target, left) => {
    const id = await create();
    await download(id);
    await untilListed(id, (row) => row !== undefined);
    await admin("cache-clear", "--target", target);
    expect((await listed(id))?.[0]).toBe(left);
  });

  it("CAC-1: lets nobody else near the cache", async () => {
    const id = await create();
    expect(await complaintOf("glimpse", "cache-list")).toContain("403");
    for (const call of [["cache-queue", id], ["cache-delete", id], ["cache-clear"]]) {
      expect(await complaintOf("glimpse", ...call)).toContain("not permitted");
    }
    expect(await listed(id)).toBeUndefined();
  });
});

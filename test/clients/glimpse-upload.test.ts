import { appendFile, readdir, readFile, stat, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { cloudsYaml } from "../../scripts/clouds.mjs";
import { CuttingProxy } from "./cutting-proxy.ts";
import { Glimpse } from "./glimpse.ts";
import { ImageApi, type ImageRecord } from "./image-api.ts";
import { poll } from "./poll.ts";
import { findFreePort, killServers, makeStateDir, type Server, startServer } from "./server.ts";
import { MiB, makeBytes, sha512Of } from "./test-data.ts";

// `glimpse upload` and `glimpse resume`, on connections and servers that fail in the middle.

const sizeMiB = 48;
const sha512 = sha512Of(makeBytes(sizeMiB));

let server: Server;
let port: number;
let api: ImageApi;
let serverState: Awaited<ReturnType<typeof makeStateDir>>;
let home: Awaited<ReturnType<typeof makeStateDir>>;
let disk: string;
let proxy: CuttingProxy;
let glimpse: Glimpse;

// Tokens that end while an upload goes on are a part of every upload here.
const settings = { TOKEN_TTL_SECONDS: "3" };

beforeAll(async () => {
  serverState = await makeStateDir();
  port = await findFreePort();
  server = await startServer(serverState.path, settings, [], port);
});

afterAll(async () => {
  await killServers();
  await serverState?.remove();
});

beforeEach(async () => {
  api = await ImageApi.signIn(server.url, "glimpse");
  home = await makeStateDir();
  disk = join(home.path, "disk.img");
  await writeFile(disk, [...makeBytes(sizeMiB)]);
  proxy = await CuttingProxy.start(port);
  await writeFile(join(home.path, "clouds.yaml"), cloudsYaml(proxy.url));
  glimpse = new Glimpse(home.path, { OS_CLOUD: "glimpse" });
});

afterEach(async () => {
  await proxy.close();
  const fresh = await ImageApi.signIn(server.url, "glimpse");
  for (const { id } of await fresh.list()) await fresh.delete(id);
  await home.remove();
});

const whole = { status: "active", size: sizeMiB * MiB, os_hash_value: sha512 };

/** What is put down of unfinished uploads. */
const statesLeft = () => readdir(join(home.path, "state/glimpse")).catch(() => []);

const images = () => glimpse.succeed<ImageRecord[]>("list", "--name", "disk.img");

/** Waits until so many bytes have gone up. */
const passed = (bytes: number) =>
  poll(
    async () => proxy.passed("up"),
    (up) => up >= bytes,
    60,
  );

describe("glimpse upload", () => {
  it.each([1, 4])("sends a file in %i ranges, whose hash the image then has", async (parallel) => {
    const options = ["--parallel", String(parallel), "--chunk-size", "8M", "--tag", "golden"];
    const property = ["--property", "os_distro=debian", "--visibility", "private"];
    const image = await glimpse.succeed("upload", disk, ...options, ...property, "--name", "d");
    const own = { name: "d", tags: ["golden"], os_distro: "debian", visibility: "private" };
    expect(image).toMatchObject({ ...whole, ...own, disk_format: "raw" });
    expect(await statesLeft()).toEqual([]);
  });

  it("prints the image for people, and the progress on standard error", async () => {
    const { code, stdout, stderr } = await glimpse.run("upload", disk);
    expect(code).toBe(0);
    expect(stdout).toMatch(/^status +active$/m);
    expect(stdout).toMatch(new RegExp(`^sha512 +${sha512}$`, "m"));
    expect(stderr).toMatch(/^disk\.img: 100%, 48\.0 MiB of 48\.0 MiB, [\d.]+ MiB\/s$/m);
  });

  it("sends an empty file", async () => {
    await writeFile(disk, "");
    expect(await glimpse.succeed("upload", disk)).toMatchObject({ status: "active", size: 0 });
  });

  it("gives data to an image that is queued, and not to one that is not", async () => {
    const { id } = await api.create("waiting");
    const image = await glimpse.succeed("upload", disk, "--image", id);
    expect(image).toMatchObject({ ...whole, id, name: "waiting" });
    const { code, stderr } = await glimpse.run("upload", disk, "--image", id);
    expect(code).toBe(5);
    expect(stderr).toContain(`The image ${id} is active, not queued.`);
  });

  it.each([1, 4])("goes on by itself when connections are cut (%i ranges)", async (parallel) => {
    proxy.cut("up", 13 * MiB, 3);
    const options = ["--parallel", String(parallel), "--chunk-size", "8M"];
    expect(await glimpse.succeed("upload", disk, ...options)).toMatchObject(whole);
    expect(proxy.cutsMade).toBe(3);
    // What had arrived was not sent again, but for what was on its way.
    expect(proxy.passed("up")).toBeLessThan(2 * sizeMiB * MiB);
  });

  it("goes on by itself when answers are lost", async () => {
    proxy.hold("up", 40 * MiB);
    const running = glimpse.start("upload", disk, "--chunk-size", "16M");
    await passed(40 * MiB);
    proxy.cut("down", 1, 3);
    proxy.release();
    expect((await running.ended).code).toBe(0);
    expect(await images()).toMatchObject([whole]);
  });

  it.each([1, 4])("goes on by itself when the server is killed (%i ranges)", async (parallel) => {
    proxy.hold("up", 20 * MiB);
    const options = ["--parallel", String(parallel), "--chunk-size", "8M", "--json"];
    const running = glimpse.start("upload", disk, ...options);
    await passed(20 * MiB);
    await server.kill();
    proxy.release();
    server = await startServer(serverState.path, settings, [], port);
    const { code, stdout, stderr } = await running.ended;
    expect(stderr).toContain("Trying again in");
    expect(code).toBe(0);
    expect(JSON.parse(stdout)).toMatchObject(whole);
  });

  it("removes the record of what the service refuses, and tells its reason", async () => {
    await writeFile(join(home.path, "clouds.yaml"), cloudsYaml(server.url));
    const { code, stderr } = await glimpse.run("upload", disk, "--disk-format", "qcow2");
    expect(code).toBe(5);
    expect(stderr).toMatch(/qcow2.*\nThe image record .* was removed\.$/m);
    expect(await images()).toEqual([]);
    expect(await statesLeft()).toEqual([]);
  });

  it("ends with the same code when the refusal is cut off", async () => {
    const { code } = await glimpse.run("upload", disk, "--disk-format", "qcow2");
    expect(code).toBe(5);
    expect(await statesLeft()).toEqual([]);
  });

  it("makes no record where it could not put down how to go on", async () => {
    await writeFile(join(home.path, "state"), "in the way");
    const { code } = await glimpse.run("upload", disk);
    expect(code).toBe(7);
    expect(await images()).toEqual([]);
  });

  it("gives up after the tries it is told, with code 6, and can be gone on with", async () => {
    proxy.hold("up", 20 * MiB);
    const running = glimpse.start("upload", disk, "--retries", "0");
    await passed(20 * MiB);
    proxy.cut("up", 1, 1);
    proxy.release();
    const { code, stderr } = await running.ended;
    expect(code).toBe(6);
    expect(stderr).toContain(`Go on with: glimpse resume ${disk}`);
    expect(await glimpse.succeed("resume", disk)).toMatchObject(whole);
  });
});

describe("glimpse resume", () => {
  /** Leaves an upload half done by that signal. */
  async function leaveHalf(signal: NodeJS.Signals, ...options: string[]) {
    proxy.hold("up", 24 * MiB);
    const running = glimpse.start("upload", disk, "--chunk-size", "8M", ...options);
    await passed(24 * MiB);
    running.signal(signal);
    const outcome = await running.ended;
    proxy.release();
    return outcome;
  }

  it("goes on after Ctrl-C, which tells how", async () => {
    const { code, stderr } = await leaveHalf("SIGINT");
    expect(code).toBe(130);
    expect(stderr).toContain(`Interrupted.\nGo on with: glimpse resume ${disk}`);
    const before = proxy.passed("up");
    expect(await glimpse.succeed("resume", disk)).toMatchObject(whole);
    expect(proxy.passed("up") - before).toBeLessThan((sizeMiB - 8) * MiB);
    expect(await statesLeft()).toEqual([]);
  });

  it("goes on with ranges after kill -9, named by nothing", async () => {
    await leaveHalf("SIGKILL", "--parallel", "3");
    expect(await glimpse.succeed("resume")).toMatchObject(whole);
  });

  it("goes on when command and server were killed", async () => {
    await leaveHalf("SIGKILL");
    await server.kill();
    server = await startServer(serverState.path, settings, [], port);
    const [{ id } = { id: "" }] = await images();
    expect(await glimpse.succeed("resume", id)).toMatchObject({ ...whole, id });
  });

  it("lists what is unfinished, keeps no secret of it, and nobody else reads it", async () => {
    await leaveHalf("SIGINT");
    const { stdout } = await glimpse.run("resume", "--list");
    expect(stdout).toContain(`48.0 MiB  ${disk}`);
    const [name = ""] = await statesLeft();
    const path = join(home.path, "state/glimpse", name);
    expect((await stat(path)).mode & 0o777).toBe(0o600);
    expect(await readFile(path, "utf8")).not.toMatch(/password|token/i);
  });

  it("refuses a file that has changed", async () => {
    await leaveHalf("SIGINT");
    await appendFile(disk, "more");
    const { code, stderr } = await glimpse.run("resume", disk);
    expect(code).toBe(7);
    expect(stderr).toContain(`${disk} has changed since the upload began.`);
  });

  it("forgets the upload of an image that is deleted", async () => {
    await leaveHalf("SIGINT");
    const [{ id } = { id: "" }] = await images();
    await (await ImageApi.signIn(server.url, "glimpse")).delete(id);
    expect((await glimpse.run("resume")).code).toBe(4);
    const { code, stderr } = await glimpse.run("resume");
    expect(code).toBe(0);
    expect(stderr).toContain("There are no unfinished uploads");
  });

  it("leaves uploads to other clouds alone", async () => {
    await leaveHalf("SIGINT");
    await writeFile(join(home.path, "clouds.yaml"), cloudsYaml(server.url));
    const { code, stderr } = await glimpse.run("resume", disk);
    expect(code).toBe(4);
    expect(stderr).toContain("There is no unfinished upload");
  });
});

import { createHash } from "node:crypto";
import { once } from "node:events";
import { readdir, readFile, writeFile } from "node:fs/promises";
import { createServer, type Server as HttpServer } from "node:http";
import { join } from "node:path";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { cloudsYaml } from "../../scripts/clouds.mjs";
import { CuttingProxy } from "./cutting-proxy.ts";
import { Glimpse } from "./glimpse.ts";
import { ImageApi } from "./image-api.ts";
import { poll } from "./poll.ts";
import { findFreePort, killServers, makeStateDir, type Server, startServer } from "./server.ts";
import { MiB, makeBytes, sha512Of, sha512OfFile } from "./test-data.ts";

// `glimpse download`, on connections that are cut, and from a service that gives other data than it says.

const sizeMiB = 40;
const sha512 = sha512Of(makeBytes(sizeMiB));

let server: Server;
let serverState: Awaited<ReturnType<typeof makeStateDir>>;
let home: Awaited<ReturnType<typeof makeStateDir>>;
let proxy: CuttingProxy;
let glimpse: Glimpse;
let output: string;
let id: string;

beforeAll(async () => {
  serverState = await makeStateDir();
  const port = await findFreePort();
  server = await startServer(serverState.path, {}, [], port);
  const api = await ImageApi.signIn(server.url, "glimpse");
  ({ id } = await api.create("debian 12"));
  expect(await api.upload(id, makeBytes(sizeMiB), sizeMiB * MiB)).toBe(204);
});

afterAll(async () => {
  await killServers();
  await serverState?.remove();
});

beforeEach(async () => {
  home = await makeStateDir();
  proxy = await CuttingProxy.start(Number(new URL(server.url).port));
  await writeFile(join(home.path, "clouds.yaml"), cloudsYaml(proxy.url));
  glimpse = new Glimpse(home.path, { OS_CLOUD: "glimpse" });
  output = join(home.path, "out.img");
});

afterEach(async () => {
  await proxy.close();
  await home.remove();
});

/** The download is there, and nothing else of it. */
async function expectDownloaded(path = output): Promise<void> {
  expect(await sha512OfFile(path)).toBe(sha512);
  expect((await readdir(home.path)).filter((name) => name.includes(".part"))).toEqual([]);
}

const passed = (bytes: number) =>
  poll(
    async () => proxy.passed("down"),
    (down) => down >= bytes,
    60,
  );

describe("glimpse download", () => {
  it.each([1, 4])("saves an image by its id, in %i ranges", async (parallel) => {
    const options = ["-o", output, "--parallel", String(parallel)];
    const result = await glimpse.succeed("download", id, ...options);
    expect(result).toEqual({
      ...{ image: id, file: output, size: sizeMiB * MiB, algorithm: "sha512", hash: sha512 },
    });
    await expectDownloaded();
  });

  it("saves an image by its name, into a file of that name", async () => {
    const { code, stdout } = await glimpse.run("download", "debian 12");
    expect(code).toBe(0);
    expect(stdout).toContain(`sha512  ${sha512}`);
    await expectDownloaded(join(home.path, "debian 12"));
  });

  it.each([1, 4])("goes on by itself when connections are cut (%i ranges)", async (parallel) => {
    proxy.cut("down", 9 * MiB, 3);
    const options = ["--output", output, "--parallel", String(parallel)];
    const { code, stderr } = await glimpse.run("download", id, ...options);
    expect(code).toBe(0);
    expect(stderr).toContain("Trying again in 1 s.");
    expect(proxy.cutsMade).toBe(3);
    await expectDownloaded();
  });

  it.each([
    ["SIGINT", 1],
    ["SIGKILL", 1],
    ["SIGKILL", 3],
  ] as const)("goes on with the partial file after %s (%i ranges)", async (signal, parallel) => {
    const options = ["-o", output, "--parallel", String(parallel)];
    proxy.hold("down", 25 * MiB);
    const running = glimpse.start("download", id, ...options);
    await passed(25 * MiB);
    // What is there is put down once a second.
    await new Promise((done) => setTimeout(done, 1500));
    running.signal(signal);
    expect((await running.ended).code).toBe(signal === "SIGINT" ? 130 : -1);
    const before = proxy.passed("down");
    proxy.release();
    await glimpse.succeed("download", id, ...options);
    expect(proxy.passed("down") - before).toBeLessThan((sizeMiB - 15) * MiB);
    await expectDownloaded();
  });

  it("begins anew when the partial file is of other data", async () => {
    await writeFile(`${output}.part`, "other");
    const whole = { imageId: id, hash: "00", size: sizeMiB * MiB };
    const notes = { format: "glimpse-download-1", ...whole, missing: [] };
    await writeFile(`${output}.part.json`, JSON.stringify(notes));
    await glimpse.succeed("download", id, "-o", output);
    await expectDownloaded();
  });

  it("finds out that a partial file was damaged", async () => {
    await writeFile(`${output}.part`, Buffer.alloc(sizeMiB * MiB));
    const whole = { imageId: id, hash: sha512, size: sizeMiB * MiB };
    const missing = [{ start: 20 * MiB, end: sizeMiB * MiB }];
    const notes = { format: "glimpse-download-1", ...whole, missing };
    await writeFile(`${output}.part.json`, JSON.stringify(notes));
    const { code, stderr } = await glimpse.run("download", id, "-o", output);
    expect(code).toBe(8);
    expect(stderr).toContain("does not have the image's sha512, and was removed.");
    expect(await readdir(home.path)).not.toContain("out.img");
    expect((await glimpse.run("download", id, "-o", output)).code).toBe(0);
  });

  it("replaces a file only when told to", async () => {
    await writeFile(output, "mine");
    const { code, stderr } = await glimpse.run("download", id, "-o", output);
    expect(code).toBe(7);
    expect(stderr).toBe(`${output} is there already; --force replaces it.\n`);
    expect(await readFile(output, "utf8")).toBe("mine");
    expect((await glimpse.run("download", id, "-o", output, "--force")).code).toBe(0);
    await expectDownloaded();
    const again = await glimpse.run("download", id, "-o", output);
    expect(again).toMatchObject({
      code: 0,
      stderr: `${output} is there already, with the same data.\n`,
    });
  });

  it("tells when the place cannot be written", async () => {
    const { code, stderr } = await glimpse.run("download", id, "-o", join(home.path, "no/out.img"));
    expect(code).toBe(7);
    expect(stderr).toContain("there is no such file or directory");
  });

  it("refuses an image without data", async () => {
    const api = await ImageApi.signIn(server.url, "glimpse");
    const { id: empty } = await api.create("empty");
    const { code, stderr } = await glimpse.run("download", empty);
    expect(code).toBe(5);
    expect(stderr).toBe(`The image ${empty} is queued and has no data.\n`);
  });
});

describe("glimpse download from another service", () => {
  let other: HttpServer;

  afterEach(() => other.close());

  /** A service with one image, whose name and data are as given; it knows no ranges. */
  async function serve(image: Record<string, unknown>, data: string): Promise<Glimpse> {
    other = createServer((request, response) => {
      const url = `http://${request.headers.host}`;
      response.setHeader("content-type", "application/json");
      if (request.url?.endsWith("/auth/tokens")) {
        const endpoints = [{ interface: "public", region: "RegionOne", url: `${url}/image/v2/` }];
        response.writeHead(201, { "x-subject-token": "t" });
        response.end(JSON.stringify({ token: { catalog: [{ type: "image", endpoints }] } }));
      } else if (request.url?.endsWith("/file")) {
        response.end(data);
      } else {
        const record = { id: "0f8fad5b-d9cb-469f-a165-70867728950e", status: "active", ...image };
        response.end(JSON.stringify({ images: [record] }));
      }
    }).listen(0, "127.0.0.1");
    await once(other, "listening");
    const address = other.address();
    const port = typeof address === "object" ? address?.port : undefined;
    return new Glimpse(home.path, {
      OS_AUTH_URL: `http://127.0.0.1:${port}`,
      OS_USERNAME: "u",
      OS_PASSWORD: "p",
      OS_PROJECT_NAME: "p",
    });
  }

  const md5 = createHash("md5").update("data").digest("hex");
  const plain = { size: 4, checksum: md5, os_hash_algo: null, os_hash_value: null };

  it("takes the whole where there are no ranges, and MD5 where there is no better hash", async () => {
    const own = await serve({ ...plain, name: "../../.evil\u001b[2J" }, "data");
    expect((await own.run("download", "i")).code).toBe(0);
    // The name leads nowhere else, and says nothing to a terminal.
    expect(await readFile(join(home.path, "_.._.evil_[2J"), "utf8")).toBe("data");
  });

  it("ends with code 8 when the data is not what the image says", async () => {
    const own = await serve({ ...plain, name: "i" }, "dada");
    expect((await own.run("download", "i")).code).toBe(8);
    expect(await readdir(home.path)).not.toContain("i");
  });
});

import { execFile } from "node:child_process";
import { once } from "node:events";
import { stat } from "node:fs/promises";
import { createServer } from "node:net";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { defaultSettings } from "../../scripts/local-server.mjs";
import { ImageApi } from "./image-api.ts";
import { poll } from "./poll.ts";
import { findFreePort, killServers, makeStateDir, startServer } from "./server.ts";
import { countStoredPieces } from "./stored-data.ts";
import { MiB, makeBytes, sha512Of } from "./test-data.ts";

// `npm start`: what it says when it cannot start, and what it keeps.

let state: Awaited<ReturnType<typeof makeStateDir>>;

beforeEach(async () => {
  state = await makeStateDir();
});

afterEach(async () => {
  await killServers();
  await state.remove();
});

const script = join(import.meta.dirname, "../../scripts/start.mjs");

/** Runs `npm start` with options that keep it from starting. */
function start(...options: string[]): Promise<{ code: unknown; stdout: string; stderr: string }> {
  return new Promise((done) => {
    execFile(
      process.execPath,
      [script, "--state", state.path, ...options],
      (error, stdout, stderr) => done({ code: error === null ? 0 : error.code, stdout, stderr }),
    );
  });
}

describe("npm start refuses in one sentence", () => {
  it("an option that it does not know, with the list of those it knows", async () => {
    const { code, stderr } = await start("--prot", "9292");
    expect(code).toBe(2);
    expect(stderr).toMatch(/^Unknown option '--prot'/);
    expect(stderr).toContain("--port PORT");
  });

  it.each([
    [["--port", "http"], "--port must be a number from 1 to 65535, not 'http'."],
    [["--store", "s3"], "--store must be disk or r2, not 's3'."],
    [["--var", "AUTH"], "--var must look like NAME=VALUE, not 'AUTH'."],
    [["--var", "COLOUR=red"], "--var: wrangler.toml has no setting named COLOUR."],
  ])("%j", async (options, sentence) => {
    expect(await start(...options)).toEqual({ code: 1, stdout: "", stderr: `${sentence}\n` });
  });

  it("a port that is taken", async () => {
    const holder = createServer().listen(0, "127.0.0.1");
    await once(holder, "listening");
    const address = holder.address();
    const port = typeof address === "object" ? String(address?.port) : "";
    const { code, stderr } = await start("--port", port);
    holder.close();
    expect(code).toBe(1);
    expect(stderr).toBe(
      `Port ${port} on 127.0.0.1 is already in use; choose another with --port.\n`,
    );
  });

  it("a port that a killed server's processes may hold, and says so", async () => {
    const server = await startServer(state.path);
    process.kill(server.pid, "SIGKILL");
    const held = await start("--port", new URL(server.url).port);
    process.kill(-server.pid, "SIGKILL");
    expect(held.code).toBe(1);
    expect(held.stderr).toContain("is already in use");
    expect(held.stderr).toContain("was killed; its process workerd may still be there");
  });

  it("a state directory that another server uses", async () => {
    const server = await startServer(state.path);
    const { code, stderr } = await start("--port", String(await findFreePort()));
    await server.stop();
    expect(code).toBe(1);
    expect(stderr).toContain("choose another with --state");
  });

  it("a setting with a bad value, naming the setting", async () => {
    const { code, stderr } = await start(
      "--port",
      String(await findFreePort()),
      "--var",
      "API_LIMIT_MAX=many",
    );
    expect(code).toBe(1);
    expect(stderr).toContain("API_LIMIT_MAX");
    expect(stderr.trim().split("\n")).toHaveLength(1);
  });
});

describe("npm start", () => {
  it("prints the address, a clouds.yaml and a first command", async () => {
    const server = await startServer(state.path);
    const response = await fetch(`${server.url}/healthcheck`);
    await server.stop();
    expect(response.status).toBe(200);
    expect(server.output()).toContain(`Glimpse answers on ${server.url}`);
    expect(server.output()).toContain(`auth_url: ${server.url}/identity/v3`);
    expect(server.output()).toContain("openstack --os-cloud glimpse image create");
  });

  it("warns loudly when it listens to the network, and not otherwise", async () => {
    let server = await startServer(state.path, {}, ["--host", "0.0.0.0"]);
    const { output } = server;
    await poll(
      async () => output(),
      (text) => text.includes("WARNING: THIS SERVER IS OPEN TO THE NETWORK (--host 0.0.0.0)"),
      10,
    );
    await server.stop();
    server = await startServer(state.path, {}, ["--host", "localhost"]);
    await server.stop();
    expect(server.output()).not.toContain("WARNING");
  });

  it("keeps images and its secret over a restart, the secret readable by nobody else", async () => {
    let server = await startServer(state.path);
    const { id } = await (await ImageApi.signIn(server.url, "glimpse")).create("kept");
    await server.stop();
    server = await startServer(state.path);
    const record = await (await ImageApi.signIn(server.url, "glimpse")).show(id);
    await server.stop();
    expect(record).toMatchObject({ id, status: "queued" });
    expect((await stat(join(state.path, "token-secret"))).mode & 0o777).toBe(0o600);
  });

  it("keeps images where they are when the store of uploads is another one", async () => {
    const sizeMiB = 20;
    const data = { sizeBytes: sizeMiB * MiB, sha512: sha512Of(makeBytes(sizeMiB)) };
    const ids: string[] = [];
    // First as servers were before there was a store on disk.
    const { STORES } = defaultSettings;
    const before = [{ STORES: `${STORES}` }, []] as const;
    for (const [vars, options] of [before, [{}, []], [{}, ["--store", "r2"]], [{}, []]] as const) {
      const server = await startServer(state.path, vars, options);
      const api = await ImageApi.signIn(server.url, "glimpse");
      for (const id of ids) expect(await api.download(id)).toEqual(data);
      for (const length of [data.sizeBytes, undefined]) {
        const { id } = await api.create("kept");
        expect(await api.upload(id, makeBytes(sizeMiB), length)).toBe(204);
        ids.push(id);
      }
      if (ids.length === 8) {
        const records = await Promise.all(ids.map((id) => api.show(id)));
        const stores = ["fast", "fast", "disk", "disk", "fast", "fast", "disk", "disk"];
        expect(records.map((record) => record.stores)).toEqual(stores);
        for (const id of ids) await api.delete(id);
        await poll(
          () => countStoredPieces(state.path),
          (pieces) => pieces === 0,
          20,
        );
      }
      await server.stop();
    }
  });

  it("prints --help", async () => {
    const { code, stdout } = await start("--help");
    expect(code).toBe(0);
    expect(stdout).toContain("--state DIR");
  });
});

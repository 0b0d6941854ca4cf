import { type ExecFileOptions, execFile } from "node:child_process";
import { pbkdf2Sync } from "node:crypto";
import { once } from "node:events";
import { chmod, copyFile, readFile, stat, symlink, writeFile } from "node:fs/promises";
import { createServer as createHttpServer, type IncomingMessage, request } from "node:http";
import { createServer } from "node:net";
import { networkInterfaces } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { RENAMED } from "../../scripts/development-ids.mjs";
import { defaultSettings, readDevVars } from "../../scripts/local-server.mjs";
import { DEMO_PROJECT } from "./development-ids.ts";
import { Glimpse } from "./glimpse.ts";
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

interface Ended {
  readonly code: unknown;
  readonly stdout: string;
  readonly stderr: string;
}

/** Runs `npm start` with options that keep it from starting. */
const start = (...options: string[]) => startAs({}, ...options);

/** The same as another user of this machine. */
function startAs(user: ExecFileOptions, ...options: string[]): Promise<Ended> {
  return new Promise((done) => {
    execFile(
      process.execPath,
      [script, "--state", state.path, ...options],
      user,
      (error, stdout, stderr) => {
        const code = error === null ? 0 : error.code;
        done({ code, stdout: String(stdout), stderr: String(stderr) });
      },
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
    [
      ["--secret", "no value"],
      "--secret must look like NAME=VALUE, with a name of letters, digits and _.",
    ],
    [["--secret", "AUTH=builtin"], "--secret: AUTH is a setting of wrangler.toml; use --var."],
    [["--secret", "DB=x"], "--secret: DB is what the server gives the Worker by itself."],
    [
      ["--identity", "/nowhere/users.json"],
      "--identity /nowhere/users.json cannot be read: there is no such file.",
    ],
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

  it("a state directory that is a file, or below one", async () => {
    const file = join(state.path, "file");
    await writeFile(file, "");
    for (const path of [file, join(file, "below")]) {
      expect(await start("--state", path)).toEqual({
        ...{ code: 1, stdout: "" },
        stderr: `${file} cannot be used: it is no directory. Choose another directory with --state.\n`,
      });
    }
  });

  it("a state directory that its user may not write to", async () => {
    await chmod(state.path, 0o555);
    // Root may write anywhere, so another user tries.
    const uid = process.getuid?.() === 0 ? { uid: 65_534 } : {};
    const user = { ...uid, env: { ...process.env, HOME: state.path } };
    for (const path of [state.path, join(state.path, "a/b")]) {
      const { code, stderr } = await startAs(user, "--state", path);
      expect(code).toBe(1);
      expect(stderr).toBe(
        `${state.path} cannot be used: this user may not write there. Choose another directory with --state.\n`,
      );
    }
    await chmod(state.path, 0o755);
  });

  it("a disk that is full", async () => {
    await symlink("/dev/full", join(state.path, "clouds.yaml"));
    const { code, stdout, stderr } = await start(
      ...["--quiet", "--port", String(await findFreePort())],
    );
    expect([code, stdout]).toEqual([1, ""]);
    expect(stderr).toMatch(/^\/.* cannot be used: no space is left there\. Choose another .*\n$/);
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

  it("VER-12: opens its port when it is ready: whoever gets through is served", async () => {
    const port = await findFreePort();
    const answers: number[] = [];
    let isUp = false;
    const knocking = (async () => {
      while (!isUp) {
        const answer = await fetch(`http://127.0.0.1:${port}/healthcheck`).catch(() => undefined);
        if (answer !== undefined) answers.push(answer.status);
        // Nobody is there yet: the next knock is as soon as anything else has had its turn.
        else await new Promise((done) => setImmediate(done));
      }
    })();
    const server = await startServer(state.path, {}, [], port);
    isUp = true;
    await knocking;
    await server.stop();
    expect(new Set(answers)).toEqual(new Set([200]));
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

  it("takes workerd with it when it alone is killed, so that the next start finds its port and state free", async () => {
    let server = await startServer(state.path);
    const { id } = await (await ImageApi.signIn(server.url, "glimpse")).create("kept");
    const port = Number(new URL(server.url).port);
    await server.killAlone();
    const isGone = () =>
      fetch(server.url).then(
        () => false,
        () => true,
      );
    await poll(isGone, (gone) => gone, 10);
    server = await startServer(state.path, {}, [], port);
    expect(await (await ImageApi.signIn(server.url, "glimpse")).show(id)).toMatchObject({ id });
    await server.stop();
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

  it("answers nobody who came under another name, or from a page of elsewhere", async () => {
    const server = await startServer(state.path, {}, ["--host", "0.0.0.0"]);
    const statusOf = async (headers: Record<string, string>) => {
      const call = request(`${server.url}/v2/images`, { headers }).end();
      const [answer] = (await once(call, "response")) as [IncomingMessage];
      answer.resume();
      return answer.statusCode;
    };
    const addresses = Object.values(networkInterfaces()).flatMap((all = []) => all);
    for (const { address, family } of addresses) {
      expect(await statusOf({ host: family === "IPv6" ? `[${address}]` : address })).toBe(401);
    }
    expect(await statusOf({ host: "localhost:80" })).toBe(401);
    expect(await statusOf({ host: "evil.example" })).toBe(421);
    expect(await statusOf({ host: "localhost, evil.example" })).toBe(400);
    expect(await statusOf({ origin: "https://evil.example" })).toBe(403);
    expect(await statusOf({ origin: "http://localhost:5173" })).toBe(401);
    await server.stop();
  });

  it("serves users of one's own, and none else", async () => {
    const password = "correct horse";
    const salt = Buffer.alloc(16);
    const hash = pbkdf2Sync(password, salt, 1000, 32, "sha256").toString("base64url");
    const user = {
      ...{ id: "7", name: "Ada: the 1st", roles: { p1: ["admin"] } },
      password: `pbkdf2-sha256$1000$${salt.toString("base64url")}$${hash}`,
    };
    const document = { projects: [{ id: "p1", name: "main" }], users: [user] };
    const path = join(state.path, "users.json");
    await writeFile(path, JSON.stringify(document));
    const server = await startServer(state.path, {}, ["--identity", path, "--host", "0.0.0.0"]);
    const glimpse = (cloud: string) =>
      new Glimpse(state.path, {
        ...{ OS_CLIENT_CONFIG_FILE: server.cloudsPath, OS_CLOUD: cloud, OS_PASSWORD: password },
      });
    expect(await glimpse("Ada: the 1st").succeed("list")).toEqual([]);
    await expect(ImageApi.signIn(server.url, "glimpse-admin")).rejects.toThrow("401");
    await server.stop();
    expect(server.output()).not.toContain("WARNING");
    expect(await readFile(server.cloudsPath, "utf8")).not.toContain("password:");
  });

  it("gives the Worker secrets, such as the keys of an S3 store", async () => {
    const asked: string[] = [];
    const bucket = createHttpServer((request, response) => {
      asked.push(String(request.headers.authorization));
      request.resume().once("end", () => response.writeHead(403).end());
    }).listen(0, "127.0.0.1");
    await once(bucket, "listening");
    const address = bucket.address();
    const endpoint = `http://127.0.0.1:${typeof address === "object" ? address?.port : ""}`;
    const mine = { id: "mine", type: "s3", endpoint, bucket: "images", region: "auto" };
    const vars = { STORES: JSON.stringify([{ ...mine, credentials: "MINE" }]) };
    const refused = await start(
      "--port",
      String(await findFreePort()),
      "--var",
      `STORES=${vars.STORES}`,
    );
    expect(refused.stderr).toContain("MINE_ACCESS_KEY_ID");
    const secrets = ["MINE_ACCESS_KEY_ID=my-key", "MINE_SECRET_ACCESS_KEY=a=b"];
    const server = await startServer(
      state.path,
      vars,
      secrets.flatMap((one) => ["--secret", one]),
    );
    const api = await ImageApi.signIn(server.url, "glimpse");
    const { id } = await api.create("in S3");
    await api.upload(id, [Buffer.from("data")], 4);
    await server.stop();
    bucket.close();
    expect(asked[0]).toContain("Credential=my-key/");
    expect(server.output()).not.toContain("a=b");
  });

  it("reads secrets and settings from .dev.vars", async () => {
    const config = join(state.path, "wrangler.toml");
    await copyFile(join(import.meta.dirname, "../../wrangler.toml"), config);
    await writeFile(join(state.path, ".dev.vars"), 'MINE_ACCESS_KEY_ID="k"\nLOG_REQUESTS=none\n');
    expect(readDevVars(config)).toEqual({ MINE_ACCESS_KEY_ID: "k", LOG_REQUESTS: "none" });
  });

  it("keeps the images of a state directory from before the users' ids were as Keystone's, once", async () => {
    const present = await readFile(join(import.meta.dirname, "../../dev/identity.json"), "utf8");
    const former = Object.entries(RENAMED).reduce(
      (text, [before, after]) => text.replaceAll(after, before),
      present,
    );
    expect(former).toContain('"user-demo"');
    const path = join(state.path, "former.json");
    await writeFile(path, former);
    const asBefore = ["--identity", path];
    const quota = { USER_STORAGE_QUOTA: "5MB" };

    let server = await startServer(state.path, {}, asBefore);
    let api = await ImageApi.signIn(server.url, "glimpse");
    const { id, owner } = await api.create("kept");
    expect(owner).toBe("project-demo");
    expect(await api.upload(id, makeBytes(3), 3 * MiB)).toBe(204);
    await api.share(id, "project-other");
    await server.stop();

    server = await startServer(state.path, quota);
    api = await ImageApi.signIn(server.url, "glimpse");
    expect(await api.show(id)).toMatchObject({ id, owner: DEMO_PROJECT });
    const other = await ImageApi.signIn(server.url, "glimpse-other");
    expect(await other.show(id)).toMatchObject({ id });
    // What it takes up counts for its project.
    const { id: more } = await api.create("more");
    expect(await api.upload(more, makeBytes(3), 3 * MiB)).toBe(413);
    await server.stop();

    server = await startServer(state.path, {}, asBefore);
    api = await ImageApi.signIn(server.url, "glimpse");
    const { id: own } = await api.create("of somebody's own project of that name");
    await server.stop();
    server = await startServer(state.path);
    await expect((await ImageApi.signIn(server.url, "glimpse")).show(own)).rejects.toThrow("404");
    await server.stop();
  });

  it("prints --help", async () => {
    const { code, stdout } = await start("--help");
    expect(code).toBe(0);
    expect(stdout).toContain("--state DIR");
  });
});

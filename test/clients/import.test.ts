import { execFile } from "node:child_process";
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { promisify } from "node:util";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { hashOf } from "../support/source-hash.ts";
import { type SourceServer, startSourceServer } from "../support/source-server.ts";
import { Commands } from "./commands.ts";
import { cellOf, glanceEnvironment, unwrapped } from "./glance.ts";
import { ImageApi } from "./image-api.ts";
import { findFreePort, killServers, makeStateDir, type Server, startServer } from "./server.ts";
import { MiB, makeBytes, sha512Of, sha512OfFile } from "./test-data.ts";

// Imports as Debian's clients make them. Its `openstack` imports by `image create --import` alone, and its `glance`
// offers glance-download but never sends it: there the library under that command is called.

const run = promisify(execFile);

const sizeMiB = 20;
const patienceSeconds = 30;

let server: Server;
let commands: Commands;
let source: SourceServer;
let api: ImageApi;
let state: Awaited<ReturnType<typeof makeStateDir>>;
let disk: string;
let diskSha512: string;

beforeAll(async () => {
  state = await makeStateDir();
  source = await startSourceServer();
  const port = await findFreePort();
  const vars = {
    IMPORT_METHODS: "glance-direct,web-download,copy-image,glance-download",
    GLANCE_REGIONS: JSON.stringify({ Mirror: `http://127.0.0.1:${port}` }),
    IMPORT_ALLOW_PRIVATE_ADDRESSES: "true",
    IMPORT_ALLOWED_PORTS: "",
  };
  server = await startServer(state.path, vars, [], port);
  api = await ImageApi.signIn(server.url, "glimpse");
  commands = new Commands({ OS_CLIENT_CONFIG_FILE: server.cloudsPath });
  disk = join(state.path, "disk.raw");
  await writeFile(disk, [...makeBytes(sizeMiB)]);
  diskSha512 = sha512Of(makeBytes(sizeMiB));
});

afterAll(async () => {
  commands?.close();
  await killServers();
  await source?.close();
  await state?.remove();
});

const glance = (cloud: string, ...args: string[]) =>
  commands.succeed(["glance", ...args], { env: glanceEnvironment(server, cloud) });

const refused = (cloud: string, ...args: string[]) =>
  commands.fail(["glance", ...args], { env: glanceEnvironment(server, cloud) });

const formats = ["--disk-format", "raw", "--container-format", "bare"];

const create = async (...args: string[]) =>
  cellOf(await glance("glimpse", "image-create", ...formats, ...args), "id");

/** Creates and imports in one command, and gives the image's id. */
const createViaImport = async (...args: string[]) =>
  cellOf(await glance("glimpse", "image-create-via-import", ...formats, ...args), "id");

const showCell = async (id: string, key: string) =>
  cellOf(await glance("glimpse", "image-show", "--max-column-width", "200", id), key);

/** Data of the source server, which serves ranges of it. */
const remote = (seed: number) => ({ seed, size: sizeMiB * MiB });

/** Waits until an import has succeeded, and holds what a client then saves against what was given. */
async function expectImported(id: string, sha512: string, stores: string): Promise<void> {
  const task = await api.endOfImport(id, patienceSeconds);
  expect(task).toMatchObject({ status: "success", message: "" });
  expect(await api.show(id)).toMatchObject({
    status: "active",
    size: sizeMiB * MiB,
    os_hash_value: sha512,
    stores,
    os_glance_importing_to_stores: "",
    os_glance_failed_import: "",
  });
  expect(await api.show(id)).not.toHaveProperty("os_glance_import_task");
  const saved = join(state.path, `${id}.raw`);
  await glance("glimpse", "image-download", "--file", saved, id);
  expect(await sha512OfFile(saved)).toBe(sha512);
}

const importByLibrary = `
import json, sys
import glanceclient, openstack
cloud, image_id, options = sys.argv[1:]
session = openstack.connect(cloud=cloud).session
glanceclient.Client("2", session=session).images.image_import(image_id, **json.loads(options))
`;

/** The call under \`glance image-import\`, without the checks that the command makes by itself. */
async function callLibrary(cloud: string, id: string, options: Record<string, string>) {
  const argv = ["-c", importByLibrary, cloud, id, JSON.stringify(options)];
  const env = { ...process.env, OS_CLIENT_CONFIG_FILE: server.cloudsPath };
  await run("/usr/bin/python3", argv, { env });
}

describe("an import that succeeds", () => {
  it("IMP-16, 10 §15: the methods and the stores are told to the client", async () => {
    const info = unwrapped(await glance("glimpse", "import-info"));
    for (const name of ["glance-direct", "web-download", "copy-image", "glance-download"]) {
      expect(info).toContain(name);
    }
    const stores = await glance("glimpse", "stores-info");
    for (const id of ["disk", "fast", "archive", "http"]) expect(stores).toContain(id);
  });

  it("10 §2, 10 §8: by openstack image create --import, which stages and imports", async () => {
    const openstack = ["openstack", "--os-cloud", "glimpse", "image"];
    const data = ["--disk-format", "raw", "--import", "--file", disk];
    const json = ["-f", "json", "-c", "id"];
    const created = await commands.succeed([...openstack, "create", ...data, ...json, "sdk"]);
    const { id } = JSON.parse(created) as { id: string };
    await expectImported(id, diskSha512, "disk");
    const saved = join(state.path, "sdk.raw");
    await commands.succeed([...openstack, "save", "--file", saved, id]);
    expect(await sha512OfFile(saved)).toBe(diskSha512);
  });

  it("STG-3, IMP-1, TSK-1: by glance image-stage and image-import, followed in image-tasks", async () => {
    const id = await create("--name", "staged");
    await glance("glimpse", "image-stage", "--file", disk, id);
    expect(await showCell(id, "status")).toBe("uploading");
    expect(await showCell(id, "size")).toBe(String(sizeMiB * MiB));
    expect(await showCell(id, "os_hash_value")).toBe("None");
    const again = await refused("glimpse", "image-stage", "--file", disk, id);
    expect(again).toContain("409");

    const shown = await glance("glimpse", "image-import", "--import-method", "glance-direct", id);
    expect(["importing", "active"]).toContain(cellOf(shown, "status"));
    await expectImported(id, diskSha512, "disk");
    expect(await glance("glimpse", "image-tasks", id)).toMatch(/\| success +\|/);
    expect(await glance("glimpse-reader", "image-tasks", id)).toMatch(/\| success +\|/);
    expect(await refused("glimpse-other", "image-tasks", id)).toContain("not found");
  });

  it("10 §11: by web-download of image-import", async () => {
    const id = await create("--name", "downloaded");
    const uri = source.fileUrl({ ...remote(1), redirects: 2 });
    await glance("glimpse", "image-import", "--import-method", "web-download", "--uri", uri, id);
    await expectImported(id, hashOf(remote(1)), "disk");
  });

  it("10 §8: by glance image-create-via-import, from a file", async () => {
    const id = await createViaImport("--file", disk, "--name", "via-file");
    await expectImported(id, diskSha512, "disk");
  });

  it("10 §8: by glance image-create-via-import, from what is piped in", async () => {
    const text = "x".repeat(1000);
    const argv = ["glance", "image-create-via-import", ...formats, "--name", "via-pipe"];
    const env = glanceEnvironment(server, "glimpse");
    const id = cellOf(await commands.succeed(argv, { env, stdin: text }), "id");
    expect(await api.endOfImport(id, patienceSeconds)).toMatchObject({ status: "success" });
    expect(await api.show(id)).toMatchObject({
      status: "active",
      size: text.length,
      os_hash_value: sha512Of([Buffer.from(text)]),
    });
  });

  it("10 §6, 10 §11: by glance image-create-via-import, from an address into a store", async () => {
    const uri = source.fileUrl({ ...remote(2), ranges: "no" });
    const method = ["--import-method", "web-download", "--uri", uri];
    const id = await createViaImport(...method, "--store", "archive", "--name", "via-uri");
    await expectImported(id, hashOf(remote(2)), "archive");
  });

  it("IMP-9, 10 §6: into several stores, in their order or into all of them", async () => {
    for (const stores of [
      ["--stores", "archive,disk"],
      ["--all-stores", "true"],
    ]) {
      const id = await create();
      await glance("glimpse", "image-stage", "--file", disk, id);
      await glance("glimpse", "image-import", ...stores, "--allow-failure", "False", id);
      await expectImported(
        id,
        diskSha512,
        stores[1] === "true" ? "disk,fast,archive" : "archive,disk",
      );
    }
  });

  it("IMP-12, STR-3, 10 §13: a copy is made by copy-image and taken away by stores-delete", async () => {
    const id = await create("--file", disk, "--name", "copied");
    const copy = ["image-import", "--import-method", "copy-image"];
    expect(await refused("glimpse", ...copy, "--stores", "archive", id)).toContain("403");

    await glance("glimpse-admin", ...copy, "--stores", "archive", id);
    await expectImported(id, diskSha512, "disk,archive");
    const again = await refused("glimpse-admin", ...copy, "--stores", "archive", id);
    expect(again).toContain("400");

    await glance("glimpse-admin", "stores-delete", "--store", "disk", id);
    await expectImported(id, diskSha512, "archive");
    await glance("glimpse-admin", ...copy, "--all-stores", "true", id);
    await expectImported(id, diskSha512, "archive,disk,fast");
    const tasks = await api.tasks(id);
    // Nothing is left to copy to, which is no error and no task either.
    await glance("glimpse-admin", ...copy, "--all-stores", "true", id);
    expect(await api.tasks(id)).toEqual(tasks);
  });

  it("10 §12: by glance-download from another region, with the caller's own token", async () => {
    const described = ["--property", "os_distro=debian", "--property", "mine=1"];
    const remoteId = await create("--file", disk, "--visibility", "private", ...described);
    const id = await create("--name", "mirrored", "--disk-format", "qcow2");
    await callLibrary("glimpse", id, {
      method: "glance-download",
      remote_region: "mirror",
      remote_image_id: remoteId,
      remote_service_interface: "public",
    });
    await expectImported(id, diskSha512, "disk");
    expect(await api.show(id)).toMatchObject({ disk_format: "raw", os_distro: "debian" });
    expect(await api.show(id)).not.toHaveProperty("mine");
  });

  it("10 §12: what the caller may not see over there is no source", async () => {
    const remoteId = await create("--file", disk, "--visibility", "private");
    const other = await ImageApi.signIn(server.url, "glimpse-other");
    const { id } = await other.create("prying");
    await callLibrary("glimpse-other", id, {
      method: "glance-download",
      remote_region: "Mirror",
      remote_image_id: remoteId,
    });
    expect(await other.endOfImport(id, patienceSeconds)).toMatchObject({
      status: "failure",
      message: expect.stringContaining("it has no such image"),
    });
    expect(await other.show(id)).toMatchObject({ status: "queued", size: null });
  });
});

describe("an import that is refused", () => {
  it("IMP-3, 10 §4: an unknown method, by the command and by the service", async () => {
    const id = await create();
    const byCommand = await refused("glimpse", "image-import", "--import-method", "by-mail", id);
    expect(byCommand).toContain("not valid for this cloud");
    await expect(callLibrary("glimpse", id, { method: "by-mail" })).rejects.toThrow("400");
  });

  it("IMP-5, 10 §5: the wrong status, by the command and by the service", async () => {
    const id = await create();
    expect(await refused("glimpse", "image-import", id)).toContain("in status 'uploading'");
    await expect(callLibrary("glimpse", id, { method: "glance-direct" })).rejects.toThrow("409");
    await expect(callLibrary("glimpse", id, { method: "copy-image" })).rejects.toThrow("409");
    const uri = source.fileUrl(remote(1));
    const active = await create("--file", disk);
    const download = { method: "web-download", uri };
    await expect(callLibrary("glimpse", active, download)).rejects.toThrow("409");
  });

  it("IMP-13, 10 §4: a reader's import, and one of another project's image", async () => {
    const id = await create();
    const uri = source.fileUrl(remote(1));
    const download = ["image-import", "--import-method", "web-download", "--uri", uri, id];
    expect(await refused("glimpse-reader", ...download)).toContain("403");
    expect(await refused("glimpse-other", ...download)).toContain("404");
  });

  it("IMP-15, 10 §7: a second import while the first is under way", async () => {
    const id = await create();
    const download = { method: "web-download", uri: source.fileUrl({ ...remote(1), gate: "one" }) };
    await callLibrary("glimpse", id, download);
    await source.waitAtGate("one");
    expect(await refused("glimpse", "image-upload", "--file", disk, id)).toContain("409");
    expect(await refused("glimpse", "image-stage", "--file", disk, id)).toContain("409");
    await expect(callLibrary("glimpse", id, download)).rejects.toThrow("409");
    // An image that is imported can be deleted all the same.
    await glance("glimpse", "image-delete", id);
    expect(await refused("glimpse", "image-show", id)).toContain("404");
  });

  it("IMP-7, 10 §11: private addresses and odd ports, by a service with its own settings", async () => {
    const defaults = await makeStateDir();
    const guarded = await startServer(defaults.path);
    const env = glanceEnvironment(guarded, "glimpse");
    const created = await commands.succeed(["glance", "image-create", ...formats], { env });
    const id = cellOf(created, "id");
    const download = (uri: string) =>
      commands.fail(
        ["glance", "image-import", "--import-method", "web-download", "--uri", uri, id],
        { env },
      );
    for (const uri of [
      "http://127.0.0.1/disk.raw",
      "http://169.254.169.254/latest/meta-data",
      "http://[::1]/disk.raw",
      "http://2130706433/disk.raw",
      source.fileUrl(remote(1)),
      "ftp://127.0.0.1/disk.raw",
    ]) {
      expect(await download(uri), uri).toContain("400");
    }
    const shown = await commands.succeed(["glance", "image-show", id], { env });
    expect(cellOf(shown, "status")).toBe("queued");
    await guarded.stop();
    await defaults.remove();
  });
});

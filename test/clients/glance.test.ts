import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { Commands } from "./commands.ts";
import { OTHER_PROJECT } from "./development-ids.ts";
import { cellOf, glanceEnvironment, unwrapped } from "./glance.ts";
import { killServers, makeStateDir, type Server, startServer } from "./server.ts";
import { makeBytes, sha512OfFile } from "./test-data.ts";

// Debian's `glance`, the older client: it fetches the schemas first and builds its options from them.

let server: Server;
let commands: Commands;
let state: Awaited<ReturnType<typeof makeStateDir>>;
let disk: string;

beforeAll(async () => {
  state = await makeStateDir();
  server = await startServer(state.path);
  commands = new Commands({});
  disk = join(state.path, "disk.raw");
  await writeFile(disk, [...makeBytes(20)]);
});

afterAll(async () => {
  commands?.close();
  await killServers();
  await state?.remove();
});

const glance = (cloud: string, ...args: string[]) =>
  commands.succeed(["glance", ...args], { env: glanceEnvironment(server, cloud) });

const refused = (cloud: string, ...args: string[]) =>
  commands.fail(["glance", ...args], { env: glanceEnvironment(server, cloud) });

async function create(...args: string[]): Promise<string> {
  const formats = ["--disk-format", "raw", "--container-format", "bare"];
  return cellOf(await glance("glimpse", "image-create", ...formats, ...args), "id");
}

describe("glance", () => {
  it("creates with a file, lists, shows and downloads the same bytes", async () => {
    const id = await create("--name", "with-file", "--file", disk);
    expect(await glance("glimpse", "image-list")).toContain(id);
    const shown = await glance("glimpse", "image-show", "--max-column-width", "200", id);
    const sha512 = await sha512OfFile(disk);
    expect(cellOf(shown, "status")).toBe("active");
    expect(cellOf(shown, "os_hash_value")).toBe(sha512);
    const saved = join(state.path, "saved.raw");
    await glance("glimpse", "image-download", "--file", saved, id);
    expect(await sha512OfFile(saved)).toBe(sha512);
  });

  it("lists in the order it asks the server for, page by page", async () => {
    for (const name of ["page-b", "page-c", "page-a"])
      await create("--name", name, "--tag", "page");
    const sorted = ["--sort-key", "name", "--sort-dir", "asc", "--tag", "page"];
    const table = await glance("glimpse", "image-list", ...sorted, "--page-size", "1");
    expect(table.match(/page-[abc]/g)).toEqual(["page-a", "page-b", "page-c"]);
    const first = await glance("glimpse", "image-list", ...sorted, "--limit", "2");
    expect(first.match(/page-[abc]/g)).toEqual(["page-a", "page-b"]);
  });

  it("uploads to an image made before, once", async () => {
    const id = await create("--name", "later");
    await glance("glimpse", "image-upload", "--file", disk, id);
    expect(cellOf(await glance("glimpse", "image-show", id), "status")).toBe("active");
    expect(await refused("glimpse", "image-upload", "--file", disk, id)).toContain("409");
    expect(cellOf(await glance("glimpse", "image-show", id), "status")).toBe("active");
  });

  it("STR-1, STR-2, STO-1, STR-4: lists the stores, uploads into one, and keeps the last copy", async () => {
    const stores = await glance("glimpse", "stores-info");
    for (const id of ["disk", "fast", "archive", "http"]) expect(stores).toContain(id);
    expect(await glance("glimpse-admin", "stores-info", "--detail")).toContain("weight");
    const id = await create("--name", "archived");
    await glance("glimpse", "image-upload", "--store", "archive", "--file", disk, id);
    expect(cellOf(await glance("glimpse", "image-show", id), "stores")).toBe("archive");
    const saved = join(state.path, "archived.raw");
    await glance("glimpse", "image-download", "--file", saved, id);
    expect(await sha512OfFile(saved)).toBe(await sha512OfFile(disk));
    const removal = ["stores-delete", "--store", "archive", id];
    expect(await refused("glimpse-admin", ...removal)).toContain("403");
    expect(
      await refused("glimpse", "image-upload", "--store", "nowhere", "--file", disk, id),
    ).toContain("nowhere");
  });

  it("refuses an upload of a reader and of another project's member", async () => {
    const id = await create("--name", "not-yours");
    expect(await refused("glimpse-reader", "image-upload", "--file", disk, id)).toContain("403");
    expect(await refused("glimpse-other", "image-upload", "--file", disk, id)).toContain("404");
    expect(cellOf(await glance("glimpse", "image-show", id), "status")).toBe("queued");
  });

  it("refuses data for an image without formats", async () => {
    const id = cellOf(await glance("glimpse", "image-create", "--name", "formless"), "id");
    expect(await refused("glimpse", "image-upload", "--file", disk, id)).toContain("400");
  });

  it("updates properties, and formats only before there is data", async () => {
    const id = await create("--name", "changing", "--property", "os_distro=debian");
    const patched = ["image-update", "--disk-format", "qcow2", "--property", "a=b", id];
    const shown = await glance("glimpse", ...patched, "--remove-property", "os_distro");
    expect(cellOf(shown, "disk_format")).toBe("qcow2");
    expect(cellOf(shown, "a")).toBe("b");
    expect(shown).not.toContain("os_distro");
    const active = await create("--name", "fixed", "--file", disk);
    const late = ["image-update", "--disk-format", "qcow2", active];
    expect(await refused("glimpse", ...late)).toContain("403");
  });

  it("tags and takes the tag away, which works once", async () => {
    const id = await create("--name", "tagged");
    await glance("glimpse", "image-tag-update", id, "blue");
    expect(cellOf(await glance("glimpse", "image-show", id), "tags")).toContain("blue");
    await glance("glimpse", "image-tag-delete", id, "blue");
    expect(await refused("glimpse", "image-tag-delete", id, "blue")).toContain("404");
  });

  it("shares with a project, which accepts", async () => {
    const id = await create("--name", "shared", "--file", disk);
    await glance("glimpse", "member-create", id, OTHER_PROJECT);
    expect(await glance("glimpse", "member-list", "--image-id", id)).toContain("pending");
    await glance("glimpse-other", "member-update", id, OTHER_PROJECT, "accepted");
    expect(await glance("glimpse-other", "image-list")).toContain(id);
    await glance("glimpse", "member-delete", id, OTHER_PROJECT);
    expect(await refused("glimpse-other", "image-show", id)).toContain("404");
  });

  it("deactivates and reactivates", async () => {
    const id = await create("--name", "paused", "--file", disk);
    await glance("glimpse", "image-deactivate", id);
    const saved = join(state.path, "paused.raw");
    const download = ["image-download", "--file", saved, id];
    expect(await refused("glimpse", ...download)).toContain("403");
    await glance("glimpse", "image-reactivate", id);
    await glance("glimpse", ...download);
  });

  it("IMP-16, 10 §15: explains the schemas and tells the import methods that are on", async () => {
    expect(await glance("glimpse", "explain", "image")).toContain("os_hash_value");
    expect(await glance("glimpse", "explain", "member")).toContain("member_id");
    const info = unwrapped(await glance("glimpse", "import-info"));
    for (const method of ["glance-direct", "web-download", "copy-image"]) {
      expect(info).toContain(method);
    }
    expect(info).not.toContain("glance-download");
  });

  it("deletes, and the image is gone", async () => {
    const id = await create("--name", "short-lived", "--file", disk);
    await glance("glimpse", "image-delete", id);
    expect(await refused("glimpse", "image-show", id)).toContain("404");
  });
});

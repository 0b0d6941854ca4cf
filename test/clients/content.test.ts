import { execFile } from "node:child_process";
import { appendFile, open, readFile, stat, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { promisify } from "node:util";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { makeIso } from "./bootable.ts";
import { Commands } from "./commands.ts";
import { cellOf, glanceEnvironment } from "./glance.ts";
import { ImageApi } from "./image-api.ts";
import { poll } from "./poll.ts";
import { killServers, makeStateDir, type Server, startServer } from "./server.ts";
import { countStoredPieces } from "./stored-data.ts";
import { makeBytes } from "./test-data.ts";

// What the stock clients show of data that is inspected: one good file and one bad one of each kind.

const MiB = 1024 ** 2;

let server: Server;
let commands: Commands;
let state: Awaited<ReturnType<typeof makeStateDir>>;
let iso: string;

beforeAll(async () => {
  state = await makeStateDir();
  server = await startServer(state.path);
  commands = new Commands({ OS_CLIENT_CONFIG_FILE: server.cloudsPath, HOME: state.path });
  iso = await makeIso(state.path);
});

afterAll(async () => {
  commands?.close();
  await killServers();
  await state?.remove();
});

const openstack = (...args: string[]) => ["openstack", "--os-cloud", "glimpse", "image", ...args];

interface Shown {
  readonly status: string;
  readonly virtual_size: number | null;
}

async function show(name: string): Promise<Shown> {
  return JSON.parse(await commands.succeed(openstack("show", "-f", "json", name)));
}

async function make(format: string, options: string[] = [], size = "3M"): Promise<string> {
  const file = join(state.path, `${crypto.randomUUID()}.${format}`);
  const run = promisify(execFile);
  await run("qemu-img", ["create", "-q", "-f", format, ...options, file, size], {
    cwd: state.path,
  });
  return file;
}

/** A VMDK of several parts' length as VMware streams it: its grain directory is known at the end only. */
async function makeVmdkWithFooter(): Promise<string> {
  const disk = join(state.path, "random.raw");
  await writeFile(disk, Buffer.concat([...makeBytes(40)]));
  const file = join(state.path, "random.vmdk");
  const options = ["-O", "vmdk", "-o", "subformat=streamOptimized"];
  await promisify(execFile)("qemu-img", ["convert", "-f", "raw", ...options, disk, file]);
  const bytes = await readFile(file);
  const [marker, footer, end] = [Buffer.alloc(512), bytes.subarray(0, 512), Buffer.alloc(512)];
  marker.writeUInt32LE(1, 0);
  marker.writeUInt32LE(3, 12);
  await appendFile(file, Buffer.concat([marker, footer, end]));
  const handle = await open(file, "r+");
  await handle.write(Buffer.alloc(8, 0xff), 0, 8, 56);
  await handle.close();
  await promisify(execFile)("qemu-img", ["compare", disk, file]);
  return file;
}

/** By disk_format: a good file, a bad one, and words of the reason why it is that. */
const KINDS: Readonly<Record<string, () => Promise<[good: string, bad: string, reason: string]>>> =
  {
    qcow2: async () => {
      const base = await make("raw");
      const bad = await make("qcow2", ["-b", base, "-F", "raw"]);
      return [await make("qcow2"), bad, "it names a backing file"];
    },
    vmdk: async () => [
      ...([await make("vmdk", ["-o", "subformat=streamOptimized"])] as const),
      await make("vmdk", ["-o", "subformat=monolithicFlat"]),
      "its createType is neither monolithicSparse nor streamOptimized",
    ],
    vhd: async () => [
      ...([await make("vpc", ["-o", "force_size=on"])] as const),
      await make("vpc", ["-o", "subformat=fixed,force_size=on"]),
      "it is of no format that is recognised, not vhd",
    ],
    vhdx: async () => [await make("vhdx"), await make("qcow2"), "it is qcow2, not vhdx"],
    vdi: async () => [await make("vdi"), await make("vhdx"), "it is vhdx, not vdi"],
    raw: async () => [
      await make("raw"),
      await make("qed"),
      "it is qed, and this format is not accepted",
    ],
  };

describe("openstack image create --file", () => {
  it.each(Object.keys(KINDS))(
    "13 §3, 13 §6: takes a good %s, and tells why it refuses a bad one",
    async (format) => {
      const [good, bad, reason] = (await KINDS[format]?.()) ?? ["", "", ""];
      const create = (name: string, file: string) =>
        openstack(
          "create",
          "--disk-format",
          format,
          "--container-format",
          "bare",
          "--file",
          file,
          name,
        );
      await commands.succeed(create(`good-${format}`, good));
      expect(await show(`good-${format}`)).toMatchObject({
        status: "active",
        virtual_size: 3 * MiB,
      });
      expect(await commands.fail(create(`bad-${format}`, bad))).toContain(reason);
    },
  );
});

describe("glance image-upload", () => {
  const glance = (...args: string[]) =>
    commands.succeed(["glance", ...args], { env: glanceEnvironment(server, "glimpse") });
  const refused = (...args: string[]) =>
    commands.fail(["glance", ...args], { env: glanceEnvironment(server, "glimpse") });

  it("13 §6: a refused image is queued, and takes the right data then", async () => {
    const formats = ["--disk-format", "iso", "--container-format", "bare"];
    const id = cellOf(await glance("image-create", ...formats), "id");
    expect(await refused("image-upload", "--file", await make("qcow2"), id)).toContain(
      "it is qcow2, not iso",
    );
    expect(cellOf(await glance("image-show", id), "status")).toBe("queued");
    await glance("image-upload", "--file", iso, id);
    expect(await show(id)).toMatchObject({ status: "active", virtual_size: expect.any(Number) });
  });

  it("13 §4 vmdk footer: is refused at its last byte, and taken once that is mended", async () => {
    const file = await makeVmdkWithFooter();
    const { size } = await stat(file);
    const setLastByte = async (byte: number) => {
      const handle = await open(file, "r+");
      await handle.write(Uint8Array.of(byte), 0, 1, size - 1);
      await handle.close();
    };
    const formats = ["--disk-format", "vmdk", "--container-format", "bare"];
    const id = cellOf(await glance("image-create", ...formats), "id");
    await setLastByte(1);
    expect(await refused("image-upload", "--file", file, id)).toContain("(check footer)");
    expect((await show(id)).status).toBe("queued");
    await setLastByte(0);
    await glance("image-upload", "--file", file, id);
    expect(await show(id)).toMatchObject({ status: "active", virtual_size: 40 * MiB });
    const other = cellOf(await glance("image-create", ...formats), "id");
    await setLastByte(1);
    expect(await refused("image-upload", "--file", file, other)).toContain("(check footer)");
  });

  it("13 §4: a text that names a file of the host is no image", async () => {
    const file = join(state.path, "evil.vmdk");
    await writeFile(
      file,
      '# Disk DescriptorFile\nversion=1\nCID=fffffffe\nparentCID=ffffffff\ncreateType="monolithicFlat"\nRW 4 FLAT "/etc/passwd" 0\n',
    );
    for (const format of ["vmdk", "raw"]) {
      const formats = ["--disk-format", format, "--container-format", "bare"];
      const id = cellOf(await glance("image-create", ...formats), "id");
      expect(await refused("image-upload", "--file", file, id)).toContain("(check descriptor)");
    }
  });
});

it("13 §6: leaves nothing of what was refused", async () => {
  const api = await ImageApi.signIn(server.url, "glimpse");
  const images = await api.list();
  const refused = images.filter(({ status }) => status !== "active");
  expect(refused.length).toBeGreaterThan(0);
  for (const image of refused) {
    expect(image).toMatchObject({
      ...{ status: "queued", size: null, virtual_size: null },
      ...{ checksum: null, os_hash_algo: null, os_hash_value: null },
    });
  }
  for (const { id, status } of images) if (status === "active") await api.delete(id);
  const count = () => countStoredPieces(state.path);
  await poll(count, (pieces) => pieces === 0, 60);
});

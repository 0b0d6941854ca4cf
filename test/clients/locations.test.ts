import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { hashOf } from "../support/source-hash.ts";
import { type SourceServer, startSourceServer } from "../support/source-server.ts";
import { Commands } from "./commands.ts";
import { cellOf, glanceEnvironment, unwrapped } from "./glance.ts";
import { ImageApi } from "./image-api.ts";
import { poll } from "./poll.ts";
import { killServers, makeStateDir, type Server, startServer } from "./server.ts";
import { MiB, sha512OfFile } from "./test-data.ts";

// Locations as Debian's `glance` changes them, by PATCH. It does not know the calls of 2.17 yet: those are plain HTTP.

const DATA = { seed: 3, size: 20 * MiB };
const patienceSeconds = 30;

let server: Server;
let commands: Commands;
let source: SourceServer;
let api: ImageApi;
let state: Awaited<ReturnType<typeof makeStateDir>>;

beforeAll(async () => {
  state = await makeStateDir();
  source = await startSourceServer();
  server = await startServer(state.path, {
    SHOW_MULTIPLE_LOCATIONS: "true",
    SHOW_IMAGE_DIRECT_URL: "true",
    IMPORT_ALLOW_PRIVATE_ADDRESSES: "true",
    IMPORT_ALLOWED_PORTS: "",
  });
  api = await ImageApi.signIn(server.url, "glimpse");
  commands = new Commands({});
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

async function create(name: string): Promise<string> {
  return cellOf(await glance("glimpse", "image-create", ...formats, "--name", name), "id");
}

const show = async (id: string) => glance("glimpse", "image-show", "--max-column-width", "400", id);

const hashed = ["--hash-algo", "sha512", "--hash-value", hashOf(DATA)];

describe("glance", () => {
  it("LOP-11, LOP-15: adds a location to an image without data, with its hash, and downloads", async () => {
    const id = await create("elsewhere");
    const url = source.fileUrl(DATA);
    const metadata = ["--metadata", '{"zone": "one"}'];
    await glance("glimpse", "location-add", "--url", url, ...metadata, ...hashed, id);
    const shown = unwrapped(await show(id));
    expect(cellOf(shown, "status")).toBe("active");
    expect(cellOf(shown, "direct_url")).toBe(url);
    expect(cellOf(shown, "stores")).toBe("http");
    const saved = join(state.path, "elsewhere.raw");
    await glance("glimpse", "image-download", "--file", saved, id);
    expect(await sha512OfFile(saved)).toBe(hashOf(DATA));
  });

  it("LOP-15, LOP-17: has its hashes taken as given, and is refused a second location with others", async () => {
    const id = await create("as-given");
    const url = source.fileUrl({ ...DATA, seed: 4 });
    const given = "5".repeat(128);
    const args = ["--checksum", "5".repeat(32), "--hash-algo", "sha512", "--hash-value", given];
    await glance("glimpse", "location-add", "--url", url, ...args, id);
    expect(unwrapped(await show(id))).toContain(given);
    const second = source.fileUrl(DATA);
    const complaint = await refused("glimpse", "location-add", "--url", second, ...hashed, id);
    expect(complaint).toContain("409");
    await glance("glimpse", "location-add", "--url", second, ...args, id);
  });

  it("LOP-12, LOP-6, LOP-7: updates metadata, and removes as an administrator all but the last", async () => {
    const id = await create("several");
    const first = source.fileUrl(DATA);
    const second = source.fileUrl({ ...DATA, id: "second" });
    for (const url of [first, second]) await glance("glimpse", "location-add", "--url", url, id);
    const metadata = ["--metadata", '{"zone": "two"}'];
    await glance("glimpse", "location-update", "--url", second, ...metadata, id);
    expect(await show(id)).toContain("two");
    const removal = ["location-delete", "--url", first, id];
    expect(await refused("glimpse", ...removal)).toContain("403");
    await glance("glimpse-admin", ...removal);
    const shown = unwrapped(await show(id));
    expect(cellOf(shown, "direct_url")).toBe(second);
    const last = ["location-delete", "--url", second, id];
    expect(await refused("glimpse-admin", ...last)).toContain("403");
  });
});

describe("plain HTTP", () => {
  it("LEP-1, LEP-9: adds a location by its own call, hashes it in a task, and lists it to administrators", async () => {
    const id = await create("by-call");
    const url = source.fileUrl(DATA);
    const validation_data = { os_hash_algo: "sha512", os_hash_value: hashOf(DATA) };
    await api.addLocation(id, { url, validation_data });
    const image = await poll(
      () => api.show(id),
      ({ status }) => status === "active",
      patienceSeconds,
    );
    expect(image.os_hash_value).toBe(hashOf(DATA));
    const admin = await ImageApi.signIn(server.url, "glimpse-admin");
    expect(await admin.locations(id)).toEqual([{ url, metadata: { store: "http" } }]);
    await expect(api.locations(id)).rejects.toThrow("403");
  });
});

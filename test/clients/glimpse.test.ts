import { execFile } from "node:child_process";
import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { promisify } from "node:util";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { cloudsYaml } from "../../scripts/clouds.mjs";
import { hashOf } from "../support/source-hash.ts";
import { type SourceServer, startSourceServer } from "../support/source-server.ts";
import { glanceEnvironment } from "./glance.ts";
import { Glimpse } from "./glimpse.ts";
import { ImageApi, type ImageRecord } from "./image-api.ts";
import { findFreePort, killServers, makeStateDir, type Server, startServer } from "./server.ts";
import { MiB, makeBytes } from "./test-data.ts";

// The `glimpse` command: how it signs in, lists, imports, and ends. Uploads and downloads have files of their own.

let server: Server;
let source: SourceServer;
let state: Awaited<ReturnType<typeof makeStateDir>>;
let api: ImageApi;
let glimpse: Glimpse;

beforeAll(async () => {
  state = await makeStateDir();
  source = await startSourceServer();
  const vars = {
    IMPORT_ALLOW_PRIVATE_ADDRESSES: "true",
    IMPORT_ALLOWED_PORTS: "",
    LIMIT_PARAM_DEFAULT: "2",
  };
  server = await startServer(state.path, vars);
  api = await ImageApi.signIn(server.url, "glimpse");
  glimpse = inCloud("glimpse");
});

afterAll(async () => {
  await killServers();
  await source?.close();
  await state?.remove();
});

const inCloud = (name: string) =>
  new Glimpse(state.path, { OS_CLIENT_CONFIG_FILE: server.cloudsPath, OS_CLOUD: name });

/** The command with nothing but these settings of OpenStack's. */
const withSettings = (env: Record<string, string>) => new Glimpse(state.path, env);

const password = () => {
  const { HOME: _, OS_IMAGE_API_VERSION: __, ...settings } = glanceEnvironment(server, "glimpse");
  return settings;
};

/** A token as other programs hand it on. */
async function issueToken(): Promise<string> {
  const domain = { name: "Default" };
  const user = { name: "demo", domain, password: "demo-password" };
  const response = await fetch(`${server.url}/identity/v3/auth/tokens`, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({
      auth: {
        identity: { methods: ["password"], password: { user } },
        scope: { project: { name: "demo", domain } },
      },
    }),
  });
  return response.headers.get("x-subject-token") ?? "";
}

describe("glimpse signs in", () => {
  const works = async (one: Glimpse, ...args: string[]) =>
    expect(await one.run("list", ...args)).toMatchObject({ code: 0, stderr: "" });

  it("as a cloud of clouds.yaml, by OS_CLOUD or --os-cloud", async () => {
    await works(glimpse);
    const env = { OS_CLIENT_CONFIG_FILE: server.cloudsPath };
    await works(withSettings(env), "--os-cloud", "glimpse-reader");
  });

  it("by a clouds.yaml in the working directory", async () => {
    await works(withSettings({ OS_CLOUD: "glimpse-admin" }));
  });

  it("by OS_ variables with a password", async () => {
    await works(withSettings(password()));
    await works(withSettings({ ...password(), OS_AUTH_URL: `${server.url}/identity` }));
  });

  it("by OS_ variables with a token, with and without a project", async () => {
    const { OS_AUTH_URL = "" } = password();
    const token = { OS_AUTH_TYPE: "v3token", OS_TOKEN: await issueToken(), OS_AUTH_URL };
    await works(withSettings(token));
    await works(withSettings({ ...token, OS_PROJECT_NAME: "demo" }));
  });

  it("to the endpoint it is told, whatever the catalog says", async () => {
    const env = { ...password(), OS_IMAGE_ENDPOINT_OVERRIDE: `${server.url}/v2/` };
    await works(withSettings({ ...env, OS_REGION_NAME: "Nowhere" }));
    const { code, stderr } = await withSettings({
      ...password(),
      OS_REGION_NAME: "Nowhere",
    }).run("list");
    expect(code).toBe(4);
    expect(stderr).toContain("no public address of an image service in the region Nowhere");
  });
});

describe("glimpse ends with", () => {
  const ends = async (one: Glimpse, code: number, sentence: string, ...args: string[]) => {
    const outcome = await one.run(...args);
    expect(outcome.stderr).toContain(sentence);
    expect(outcome).toMatchObject({ code, stdout: "" });
  };

  it.each([
    [[], "Say what to do: upload, resume, download, import, list, metadefs load,"],
    [["metadefs"], "Say what to do: metadefs load, metadefs export, metadefs list."],
    [["metadefs", "unload"], "Say what to do: metadefs load, metadefs export, metadefs list."],
    [["lsit"], "There is no command 'lsit'"],
    [["list", "--colour"], "Unknown option '--colour'"],
    [["upload"], "Usage: glimpse upload FILE [options]"],
    [["download", "a", "b"], "Usage: glimpse download IMAGE [options]"],
    [
      ["upload", "clouds.yaml", "--parallel", "0"],
      "--parallel must be a whole number from 1 to 32",
    ],
    [["upload", "clouds.yaml", "--chunk-size", "x"], "--chunk-size must be a size such as 64M"],
    [["upload", "clouds.yaml", "--property", "x"], "--property must look like KEY=VALUE"],
    [["import", "nowhere"], "nowhere is no address."],
    [["import", "http://example.com/disk.img"], "say it with --disk-format"],
    [["import", "http://example.com/d.raw", "--checksum", "x"], "--checksum 'x' is no hash"],
    [["list", "--os-cloud", "none"], "There is no cloud named none"],
  ])("2 when it is called wrongly: %j", (args, sentence) => ends(glimpse, 2, sentence, ...args));

  it("3 when the credentials are refused, or do not permit it", async () => {
    const settings = { ...password(), OS_PASSWORD: "wrong" };
    await ends(withSettings(settings), 3, "requires authentication", "list");
    await ends(inCloud("glimpse-reader"), 3, "not", "upload", "clouds.yaml");
  });

  it("3 when a token is over", async () => {
    const { OS_AUTH_URL = "" } = password();
    const token = { OS_AUTH_TYPE: "token", OS_TOKEN: "over", OS_AUTH_URL };
    await ends(withSettings(token), 3, "", "list");
  });

  it("4 when there is no such image", async () => {
    await ends(glimpse, 4, "There is no image with the id or the name nix.", "download", "nix");
    const id = crypto.randomUUID();
    await ends(glimpse, 4, `There is no image with the id or the name ${id}.`, "download", id);
    await ends(glimpse, 4, "There is no unfinished upload of nix here.", "resume", "nix");
  });

  it("5 when the service refuses", async () => {
    await ends(glimpse, 5, "disk_format", "upload", "clouds.yaml", "--disk-format", "floppy");
  });

  it("6 when nobody answers", async () => {
    const OS_AUTH_URL = `http://127.0.0.1:${await findFreePort()}/v3`;
    const lost = withSettings({ ...password(), OS_AUTH_URL });
    await ends(lost, 6, "the connection was refused", "list", "--retries", "0");
    const { stderr } = await lost.run("list");
    expect(stderr).toMatch(/Trying again in 1 s\.\n.*Trying again in 2 s\.\n.*refused\.\n$/);
  });

  it("7 when the file is not there", async () => {
    await ends(glimpse, 7, "nix.img: there is no such file", "upload", "nix.img");
    await ends(glimpse, 7, "is no file", "upload", ".");
  });

  it("2 for a compressed file, unless its format is told", async () => {
    await writeFile(join(state.path, "disk.gz"), Buffer.from([0x1f, 0x8b, 8, 0]));
    await ends(glimpse, 2, "is compressed with gzip", "upload", "disk.gz");
    const image = await glimpse.succeed("upload", "disk.gz", "--disk-format", "raw");
    expect(image).toMatchObject({ status: "active", size: 4 });
  });
});

describe("glimpse --help", () => {
  it("tells the commands and all exit codes", async () => {
    const { code, stdout } = await glimpse.run("--help");
    expect(code).toBe(0);
    for (const name of ["upload FILE", "resume", "download IMAGE", "import URL", "list"]) {
      expect(stdout).toContain(`  ${name}`);
    }
    const { EXIT } = await import("../../cli/failure.mjs");
    for (const value of Object.values(EXIT))
      expect(stdout).toMatch(new RegExp(`^ +${value} `, "m"));
  });

  it("tells a command's options", async () => {
    const { code, stdout } = await glimpse.run("upload", "--help");
    expect(code).toBe(0);
    expect(stdout).toContain("--chunk-size SIZE");
  });

  it("is what package.json's bin and script run", async () => {
    const { stdout } = await promisify(execFile)("npm", ["run", "-s", "glimpse", "--", "--help"]);
    expect(stdout).toContain("Usage: glimpse COMMAND");
    const { bin } = JSON.parse(
      await readFile(join(import.meta.dirname, "../../package.json"), "utf8"),
    );
    const path = join(import.meta.dirname, "../..", bin.glimpse);
    expect((await promisify(execFile)(path, ["--help"])).stdout).toBe(stdout);
  });
});

describe("glimpse list", () => {
  it("shows all pages, and filters", async () => {
    const names = ["page-1", "page-2", "page-3", "page-4", "page-5"];
    for (const name of names) await api.create(name);
    const { code, stdout } = await glimpse.run("list");
    expect(code).toBe(0);
    for (const name of names) expect(stdout).toMatch(new RegExp(`^[0-9a-f-]{36}  ${name} `, "m"));
    const found = await glimpse.succeed<ImageRecord[]>("list", "--name", "page-3");
    expect(found).toHaveLength(1);
    expect(await glimpse.succeed("list", "--tag", "nothing")).toEqual([]);
  });

  it("asks which one is meant when several have the name", async () => {
    for (const name of ["twin", "twin"]) await api.create(name);
    const { code, stderr } = await glimpse.run("download", "twin");
    expect(code).toBe(2);
    expect(stderr).toContain("Several images have the name twin");
  });
});

describe("glimpse import", () => {
  const size = 2 * MiB;
  const raw = ["--disk-format", "raw"];

  it("has the service fetch an image, and waits for it", async () => {
    const spec = { seed: 1, size };
    const sha512 = hashOf(spec);
    const image = await glimpse.succeed(
      ...["import", source.fileUrl(spec), ...raw, "--name", "fetched", "--wait"],
      ...["--checksum", `sha512:${sha512}`, "--property", "os_distro=debian"],
    );
    const own = { name: "fetched", os_distro: "debian" };
    expect(image).toMatchObject({ ...own, status: "active", size, os_hash_value: sha512 });
  });

  it("does not wait unless told to", async () => {
    const args = ["import", source.fileUrl({ seed: 2, size }), ...raw];
    const { id } = await glimpse.succeed<ImageRecord>(...args);
    expect(await api.endOfImport(id, 30)).toMatchObject({ status: "success" });
  });

  it("ends with code 5 and the reason when the data is other data", async () => {
    const checksum = `sha512:${"0".repeat(128)}`;
    const args = ["import", source.fileUrl({ seed: 3, size }), ...raw, "--checksum", checksum];
    const { code, stderr } = await glimpse.run(...args, "--wait");
    expect(code).toBe(5);
    expect(stderr).toMatch(/^The data was not taken: .*sha512/m);
  });

  it("leaves no record of an import that is refused", async () => {
    const args = ["import", "ftp://example.com/disk.raw", "--name", "refused"];
    expect((await glimpse.run(...args)).code).toBe(5);
    expect(await glimpse.succeed("list", "--name", "refused")).toEqual([]);
  });
});

it("works against the address of another port, as clouds.yaml says", async () => {
  const clouds = cloudsYaml(server.url).replaceAll("/identity/v3", "/identity");
  const path = join(state.path, "other-clouds.yaml");
  await writeFile(path, clouds);
  const other = withSettings({ OS_CLIENT_CONFIG_FILE: path, OS_CLOUD: "glimpse" });
  await writeFile(join(state.path, "small.img"), [...makeBytes(1)]);
  expect((await other.run("upload", "small.img", "-q")).stderr).toBe("");
});

import { createHash } from "node:crypto";
import { existsSync } from "node:fs";
import { link, mkdir, readdir, readFile, stat, symlink, writeFile } from "node:fs/promises";
import { join } from "node:path";
import fc from "fast-check";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { fileName, printable, printableJson } from "../../cli/printable.mjs";
import { Glimpse } from "../clients/glimpse.ts";
import { makeStateDir } from "../clients/server.ts";
import { HostileService, OtherServer } from "./hostile-service.ts";

// The `glimpse` command against a service that means harm: it writes nowhere but where it says, the token reaches
// nobody else, and the terminal gets nothing but text.

const id = "7e0a1c52-3f5b-4b0e-9f3a-0c9d0b6e8a11";
const content = Buffer.from("the content of the image");
const md5 = createHash("md5").update(content).digest("hex");
const image = {
  ...{ id, name: "disk", status: "active", visibility: "private", size: content.length },
  ...{ disk_format: "raw", container_format: "bare", checksum: md5 },
  ...{ os_hash_algo: null, os_hash_value: null },
};

let service: HostileService;
let other: OtherServer;
let root: Awaited<ReturnType<typeof makeStateDir>>;
let home: string;
let glimpse: Glimpse;

beforeEach(async () => {
  service = await HostileService.start();
  other = await OtherServer.start();
  root = await makeStateDir();
  // One level down, so that what leads out of the directory is seen as well.
  home = join(root.path, "home");
  await mkdir(home);
  glimpse = new Glimpse(home, {
    ...{ OS_AUTH_URL: `${service.url}/identity/v3`, OS_USERNAME: "u", OS_PASSWORD: "p" },
    OS_PROJECT_NAME: "p",
  });
});

afterEach(async () => {
  await service.close();
  await other.close();
  await root.remove();
});

/** Every file below the directory of the test. */
const files = async () =>
  (await readdir(root.path, { recursive: true, withFileTypes: true }))
    .filter((entry) => !entry.isDirectory())
    .map((entry) => join(entry.parentPath, entry.name).slice(root.path.length + 1))
    .sort();

/** The service lists that image, shows it, and gives its data. */
function serve(record: Record<string, unknown> = image): void {
  service.gives("GET /v2/images", { images: [record] });
  service.gives(`GET /v2/images/${id}`, record);
  service.on(`GET /v2/images/${id}/file`, (_, response) => {
    response.writeHead(200, { "content-length": String(content.length) }).end(content);
  });
}

describe("an id from the service", () => {
  it.each([
    "../.ssh/authorized_keys",
    "/tmp/absolute",
    "..\\up",
    "",
    ".",
    `${id}\n`,
    `${id}/../x`,
    7,
    null,
    undefined,
    { toString: id },
  ])("is a UUID or refused: %j", async (given) => {
    serve({ ...image, name: null, id: given });
    for (const command of [["list"], ["download", "disk"], ["download", id]]) {
      const { code, stdout, stderr } = await glimpse.run(...command);
      expect([code, stdout]).toEqual([1, ""]);
      expect(stderr).toMatch(/^The service answered with an image whose id cannot be right: .*\n$/);
    }
    expect(await files()).toEqual([]);
  });

  it("is the one that was asked for", async () => {
    serve({ ...image, id: id.replace("7", "8") });
    const { code, stderr } = await glimpse.run("download", id);
    expect(code).toBe(1);
    expect(stderr).toContain(`in place of ${id}`);
    expect(await files()).toEqual([]);
  });

  it.each(["../../planted", id])(
    "of a new image is the one that it was given: %s",
    async (given) => {
      service.gives("POST /v2/images", { ...image, id: given }, 201);
      const { code } = await glimpse.run("import", "https://example.com/disk.raw");
      expect(code).toBe(1);
      expect(service.requests.map(({ method }) => method)).toEqual(["POST", "POST"]);
    },
  );
});

describe("a record from the service", () => {
  it.each([
    ["size", -1],
    ["size", 1.5],
    ["size", "1"],
    ["name", {}],
    ["status", null],
    ["checksum", 'x"\r\nx-more: 1'],
    ["os_hash_value", "\r\n"],
    ["os_hash_algo", "a b"],
  ])("has a %s that can be right, else it is refused: %j", async (name, value) => {
    serve({ ...image, [name]: value });
    const { code, stderr } = await glimpse.run("download", id);
    expect(code).toBe(1);
    expect(stderr).toContain(`an image whose ${name} cannot be right`);
    expect(await files()).toEqual([]);
  });

  it.each([null, [], "text", { images: {} }, { images: [null] }])(
    "is one at all: %j",
    async (body) => {
      service.gives("GET /v2/images", body);
      const { code, stderr } = await glimpse.run("list");
      expect(code).toBe(1);
      expect(stderr.trim().split("\n")).toHaveLength(1);
    },
  );
});

describe("the token", () => {
  /** The command ends with a sentence on the other origin, which never hears of the token. */
  async function expectKept(...command: string[]): Promise<void> {
    const { code, stderr } = await glimpse.run(...command);
    expect(code).toBe(1);
    expect(stderr).toContain("the token goes nowhere else");
    expect(other.requests).toEqual([]);
  }

  const elsewhere = [
    ["an address", () => `${other.url}/v2/images?marker=x`],
    ["an address without a scheme", () => `${other.url.slice(5)}/list`],
    ["another scheme", () => `${service.url.replace("http", "https")}/list`],
    ["another host that begins alike", () => "http://127.0.0.1.example/list"],
    ["a name in the address", () => `${service.url}@${other.url.slice(7)}/list`],
    ["backslashes", () => `\\\\${other.url.slice(7)}/list`],
    ["an address that is none", () => "http://[/list"],
  ] as const;

  it.each(elsewhere)(
    "goes to no other origin that an upload's Location names: %s",
    async (_, address) => {
      await writeFile(join(home, "disk.img"), "data");
      serve({ ...image, status: "queued", size: null });
      service.gives(`GET /v2/images/${id}/tasks`, { tasks: [] });
      service.on(`OPTIONS /v2/images/${id}/uploads`, (__, response) => {
        response.writeHead(204, { "tus-version": "1.0.0" }).end();
      });
      service.on(`POST /v2/images/${id}/uploads`, (__, response) => {
        response.writeHead(201, { location: address() }).end();
      });
      await expectKept("upload", "disk.img", "--image", id);
      const [state = ""] = (await files()).filter((name) => name.endsWith(`${id}.json`));
      expect(await readFile(join(root.path, state), "utf8")).toContain('"url": null');
    },
  );

  it("goes to no other origin that an unfinished upload was begun at", async () => {
    await writeFile(join(home, "disk.img"), "data");
    const { mtimeMs, size } = await stat(join(home, "disk.img"));
    const state = {
      ...{ format: "glimpse-upload-1", imageUrl: service.url, imageId: id, isOurs: false },
      ...{ file: join(home, "disk.img"), size, mtimeMs, chunkBytes: 64, store: null, oldTasks: [] },
      parts: [{ url: `${other.url}/upload`, offset: 0, length: size }],
    };
    await mkdir(join(home, "state/glimpse"), { recursive: true });
    await writeFile(join(home, `state/glimpse/${id}.json`), JSON.stringify(state));
    serve({ ...image, status: "queued", size: null });
    await expectKept("resume");
  });

  it.each(elsewhere.filter(([what]) => !what.includes("none")))(
    "goes to no other origin that a list's next page is at: %s",
    async (_, address) => {
      service.gives("GET /v2/images", {
        images: [image],
        next: address().replace("v2/images", "list"),
      });
      await expectKept("list");
    },
  );

  it.each([301, 302, 303, 307, 308])(
    "goes on no redirect (%i), and neither does the password",
    async (status) => {
      const lead = (path: string) =>
        service.on(path, (_, response) => {
          response.writeHead(status, { location: `${other.url}/there` }).end();
        });
      for (const call of ["GET /v2/images", `GET /v2/images/${id}`]) lead(call);
      for (const command of [["list"], ["download", id], ["import", "https://example.com/a.raw"]]) {
        lead("POST /v2/images");
        const { code, stderr } = await glimpse.run(...command);
        expect(code).toBe(1);
        expect(stderr).toMatch(/^The service leads on to http:.*, where nothing is sent: .*\n$/);
      }
      lead("POST /identity/v3/auth/tokens");
      expect((await glimpse.run("list")).stderr).toContain("The service leads on to");
      expect(other.requests).toEqual([]);
    },
  );

  it("is sent in a call, so that these tests see one where it should not be", async () => {
    serve();
    expect((await glimpse.run("list")).code).toBe(0);
    expect(service.requests.at(-1)).toMatchObject({ path: "/v2/images", token: "the-token" });
  });
});

/** What takes a terminal's cursor or a reader's eye elsewhere. */
const deceptive = [
  ...[
    "\u001b[2J",
    "\u001b]0;title\u0007",
    "\r",
    "\n",
    "\b",
    "\u0000",
    "\u007f",
    "\u009b2J",
    "\u0085",
  ],
  ...["\u202e", "\u202d", "\u2066", "\u2069", "\u200f", "\u200e", "\u061c", "\u2028", "\u2029"],
];
const harmful = /[\p{Cc}\p{Bidi_Control}\u2028\u2029]/u;

describe("text from the service", () => {
  const text = deceptive.map((mark, n) => `${n}${mark}`).join("");

  it("reaches the terminal as text, whichever attribute it is of", async () => {
    const words = Object.fromEntries(
      ["name", "status", "visibility", "disk_format"].map((name) => [name, text]),
    );
    serve({ ...image, ...words });
    const { code, stdout } = await glimpse.run("list");
    expect(code).toBe(0);
    expect(stdout.split("\n")).toHaveLength(3);
    expect(stdout.replaceAll("\n", "")).not.toMatch(harmful);
  });

  it("reaches it as text in JSON, too, which means the same", async () => {
    serve({ ...image, name: text, more: { [text]: [text] } });
    const { stdout } = await glimpse.run("list", "--json");
    expect(stdout.replaceAll("\n", "")).not.toMatch(harmful);
    expect(JSON.parse(stdout)[0]).toMatchObject({ name: text, more: { [text]: [text] } });
  });

  it("is one line of text in a refusal, and in what goes on", async () => {
    service.gives("GET /v2/images", { message: text }, 403);
    const refused = await glimpse.run("list");
    expect([refused.code, refused.stderr.split("\n")]).toEqual([3, [expect.any(String), ""]]);
    expect(refused.stderr.trimEnd()).not.toMatch(harmful);

    service.on("POST /v2/images", (_, response) => {
      response.writeHead(503, { "content-type": "application/json" });
      response.end(JSON.stringify({ message: text }));
    });
    const told = await glimpse.run("import", "https://example.com/a.raw", "--retries", "1");
    expect(told.code).toBe(6);
    expect(told.stderr.trimEnd().split("\n")).toHaveLength(2);
    expect(told.stderr.replaceAll("\n", "")).not.toMatch(harmful);
  });

  it("becomes the name of a file in this directory, of plain letters", async () => {
    serve({ ...image, name: `../../${text}/.bashrc` });
    const { code, stdout, stderr } = await glimpse.run("download", id);
    expect([code, stderr]).toEqual([0, expect.stringContaining("100%")]);
    const [only = "", ...more] = await files();
    expect(more).toEqual([]);
    expect(only).toMatch(/^home\/[^/]+_\.bashrc$/);
    expect(only).not.toMatch(harmful);
    expect(stdout.replaceAll("\n", "")).not.toMatch(harmful);
  });

  it.each(["..", ".", "/", "---", "", null])(
    "that is no name gives way to the id: %j",
    async (name) => {
      serve({ ...image, name });
      expect((await glimpse.run("download", id)).code).toBe(0);
      expect(await files()).toEqual([`home/${name === "/" ? "_" : id}`]);
    },
  );

  it("is printable, and a name of a file, whatever it is", () => {
    const anyText = fc.string({ unit: "binary", maxLength: 400 });
    const badText = fc.string({
      unit: fc.constantFrom(...deceptive, "/", "\\", ".", "-", ":", "ä"),
    });
    fc.assert(
      fc.property(fc.oneof(anyText, badText), (given) => {
        expect(printable(given)).not.toMatch(harmful);
        expect(JSON.parse(printableJson([given]))).toEqual([given]);
        const name = fileName(given);
        expect(name).not.toMatch(/[\p{Cc}\p{Bidi_Control}\u2028\u2029/\\:]|^[.-]/u);
        expect(Buffer.byteLength(name)).toBeLessThanOrEqual(200);
      }),
    );
  });
});

describe("an upload's offset from the service", () => {
  /** The service takes uploads, and answers HEAD and PATCH with these offsets. */
  async function upload(head: string, patch: string) {
    await writeFile(join(home, "disk.img"), "data");
    serve({ ...image, status: "queued", size: null });
    service.gives(`GET /v2/images/${id}/tasks`, { tasks: [] });
    const uploads = `/v2/images/${id}/uploads`;
    const tell = (call: string, status: number, headers: Record<string, string>) =>
      service.on(call, (request, response) => {
        request.resume().once("end", () => response.writeHead(status, headers).end());
      });
    tell(`OPTIONS ${uploads}`, 204, { "tus-version": "1.0.0", "glimpse-part-size": "0.001" });
    tell(`POST ${uploads}`, 201, { location: `${uploads}/1` });
    tell(`HEAD ${uploads}/1`, 200, { "upload-offset": head });
    tell(`PATCH ${uploads}/1`, 204, { "upload-offset": patch });
    return glimpse.run("upload", "disk.img", "--image", id, "--parallel", "4", "--retries", "0");
  }

  it.each(["-1", "1e99", "x"])("is one, else the upload ends: %s", async (offset) => {
    const { code, stderr } = await upload("0", offset);
    expect(code).toBe(1);
    expect(stderr).toContain("did not tell how far the upload is");
  });

  it("gets on, else the upload ends", async () => {
    const { code, stderr } = await upload("0", "0");
    expect(code).toBe(6);
    expect(stderr).toContain("kept nothing of what it got");
  });
});

it("a list whose pages are empty and lead on has an end", async () => {
  service.gives("GET /v2/images", { images: [], next: "/v2/images?marker=x" });
  const { code, stderr } = await glimpse.run("list");
  expect([code, stderr]).toEqual([1, "The service's list of images has no end.\n"]);
});

it("an export of metadata definitions replaces a link, and writes through none", async () => {
  const victim = join(root.path, "victim");
  await writeFile(victim, "mine");
  await symlink(victim, join(home, "OS__Linked.json"));
  const namespace = { namespace: "OS::Linked" };
  service.gives("GET /v2/metadefs/namespaces", { namespaces: [namespace] });
  service.gives("GET /v2/metadefs/namespaces/OS%3A%3ALinked", namespace);
  expect((await glimpse.run("metadefs", "export", ".")).code).toBe(7);
  expect((await glimpse.run("metadefs", "export", ".", "--force")).code).toBe(0);
  expect(await readFile(victim, "utf8")).toBe("mine");
  expect(await readFile(join(home, "OS__Linked.json"), "utf8")).toContain("OS::Linked");
});

describe("a partial file", () => {
  const notes = { format: "glimpse-download-1", imageId: id, hash: md5, size: content.length };
  let victim: string;

  beforeEach(async () => {
    victim = join(root.path, "victim");
    await writeFile(victim, "mine");
    serve();
  });

  /** The command has left the file alone that something led to. */
  async function expectUntouched(): Promise<void> {
    expect(await readFile(victim, "utf8")).toBe("mine");
  }

  it("is no symbolic link, though the notes beside it say that it is the image's", async () => {
    await symlink(victim, join(home, "disk.part"));
    const missing = [{ start: 0, end: content.length }];
    await writeFile(join(home, "disk.part.json"), JSON.stringify({ ...notes, missing }));
    const { code, stderr } = await glimpse.run("download", id);
    expect([code, stderr]).toEqual([
      7,
      expect.stringMatching(/disk\.part is a link, which no .*\n$/),
    ]);
    await expectUntouched();
  });

  it("is no symbolic link to where nothing is yet", async () => {
    await symlink(join(root.path, "planted"), join(home, "disk.part"));
    expect((await glimpse.run("download", id)).code).toBe(7);
    expect(existsSync(join(root.path, "planted"))).toBe(false);
  });

  it("is no further name of another file, and no directory", async () => {
    await link(victim, join(home, "disk.part"));
    expect((await glimpse.run("download", id)).code).toBe(7);
    await expectUntouched();
    await mkdir(join(home, "d.part"));
    expect((await glimpse.run("download", id, "-o", "d")).stderr).toContain("d.part is no file");
  });

  it.each(["disk.part.json", "disk.part.json.new"])(
    "has no notes that are a link: %s",
    async (name) => {
      await symlink(victim, join(home, name));
      expect((await glimpse.run("download", id)).code).toBe(0);
      await expectUntouched();
      expect(await readFile(join(home, "disk"), "utf8")).toBe(String(content));
    },
  );

  it("is replaced by the download where the file itself is a link", async () => {
    await symlink(victim, join(home, "disk"));
    expect((await glimpse.run("download", id)).code).toBe(7);
    expect((await glimpse.run("download", id, "--force")).code).toBe(0);
    await expectUntouched();
    expect(await readFile(join(home, "disk"), "utf8")).toBe(String(content));
  });

  it.each([[[{ start: -5, end: 3 }]], [[{ start: 9, end: 3 }]], [[{ start: 0, end: 99_999 }]]])(
    "begins anew where its notes miss bytes that no image has: %j",
    async (missing) => {
      await writeFile(join(home, "disk.part"), "12345678901234567890123456789");
      await writeFile(join(home, "disk.part.json"), JSON.stringify({ ...notes, missing }));
      expect((await glimpse.run("download", id)).code).toBe(0);
      expect(await readFile(join(home, "disk"), "utf8")).toBe(String(content));
    },
  );
});

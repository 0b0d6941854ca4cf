import { execFile, spawn } from "node:child_process";
import { once } from "node:events";
import { createReadStream } from "node:fs";
import { stat } from "node:fs/promises";
import { join } from "node:path";
import { pipeline } from "node:stream/promises";
import { promisify } from "node:util";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { makeIso, makeQcow2 } from "./bootable.ts";
import { Commands } from "./commands.ts";
import { DEMO_PROJECT, DEMO_USER, OTHER_PROJECT } from "./development-ids.ts";
import { killServers, makeStateDir, type Server, startServer } from "./server.ts";
import { sha512OfFile } from "./test-data.ts";

// Debian's `openstack` against a started server, as the people of dev/identity.json: `glimpse` is a member
// of the project demo, `glimpse-reader` only reads there, `glimpse-other` is a member of another project.

const run = promisify(execFile);

interface Image {
  readonly id: string;
  readonly name: string;
  readonly status: string;
  readonly visibility: string;
  readonly owner: string;
  readonly protected: boolean;
  readonly min_disk: number;
  readonly min_ram: number;
  readonly size: number | null;
  readonly disk_format: string;
  readonly tags: readonly string[];
  readonly properties: Readonly<Record<string, string>>;
}

let server: Server;
let commands: Commands;
let state: Awaited<ReturnType<typeof makeStateDir>>;
let iso: string;
let qcow2: string;

beforeAll(async () => {
  state = await makeStateDir();
  server = await startServer(state.path);
  commands = new Commands({ OS_CLIENT_CONFIG_FILE: server.cloudsPath });
  iso = await makeIso(state.path);
  qcow2 = await makeQcow2(state.path, iso);
});

afterAll(async () => {
  commands?.close();
  await killServers();
  await state?.remove();
});

const argv = (cloud: string, args: readonly string[]) => [
  "openstack",
  "--os-cloud",
  cloud,
  ...args,
];

/** Runs `openstack` as that cloud's user; it must succeed. */
const openstack = (cloud: string, ...args: string[]) => commands.succeed(argv(cloud, args));

/** Runs `openstack` as that cloud's user; it must fail, and its complaint is the result. */
const refused = (cloud: string, ...args: string[]) => commands.fail(argv(cloud, args));

async function image(cloud: string, ...args: string[]): Promise<Image> {
  return JSON.parse(await openstack(cloud, "image", ...args, "-f", "json"));
}

async function listNames(cloud: string, ...args: string[]): Promise<string[]> {
  const text = await openstack(cloud, "image", "list", ...args, "-f", "json");
  return (JSON.parse(text) as { Name: string }[]).map((row) => row.Name);
}

/** Makes an image with the qcow2 as its data. */
const createWithData = (cloud: string, name: string, ...args: string[]) =>
  image(cloud, "create", "--file", qcow2, "--disk-format", "qcow2", ...args, name);

let counter = 0;
/** A name that no other test uses. */
function newName(): string {
  counter += 1;
  return `image-${counter}`;
}

describe("a member", () => {
  it("creates an image without data, shows it by name and by id", async () => {
    const name = newName();
    const created = await image("glimpse", "create", name, "--min-disk", "3", "--min-ram", "512");
    expect(created).toMatchObject({ name, status: "queued", min_disk: 3, min_ram: 512 });
    expect(created).toMatchObject({ visibility: "shared", owner: DEMO_PROJECT, tags: [] });
    expect(await image("glimpse", "show", name)).toMatchObject({
      id: created.id,
      status: "queued",
    });
    expect(await image("glimpse", "show", created.id)).toMatchObject({ name });
  });

  it("uploads a bootable ISO and saves it with the same SHA-512", async () => {
    const name = newName();
    await image("glimpse", "create", "--file", iso, "--disk-format", "iso", name);
    const shown = await image("glimpse", "show", name);
    const sha512 = await sha512OfFile(iso);
    expect(shown).toMatchObject({
      status: "active",
      size: (await stat(iso)).size,
      disk_format: "iso",
    });
    expect(shown.properties).toMatchObject({ os_hash_algo: "sha512", os_hash_value: sha512 });

    const saved = join(state.path, "saved.iso");
    await openstack("glimpse", "image", "save", "--file", saved, name);
    expect(await sha512OfFile(saved)).toBe(sha512);
  });

  it("pipes a qcow2 into a client process of its own and saves it to standard output", async () => {
    const name = newName();
    const env = { ...process.env, OS_CLIENT_CONFIG_FILE: server.cloudsPath };
    const create = spawn(
      "/usr/bin/openstack",
      ["--os-cloud", "glimpse", "image", "create", "--disk-format", "qcow2", name],
      { env, stdio: ["pipe", "ignore", "inherit"] },
    );
    const ended = once(create, "close");
    await pipeline(createReadStream(qcow2), create.stdin);
    expect(await ended).toEqual([0, null]);

    const saved = join(state.path, "saved.qcow2");
    await run("sh", ["-c", `/usr/bin/openstack --os-cloud glimpse image save ${name} > ${saved}`], {
      env,
    });
    expect(await sha512OfFile(saved)).toBe(await sha512OfFile(qcow2));
    await run("qemu-img", ["compare", "-f", "qcow2", "-F", "raw", saved, iso]);
  });

  it("lists with filters, in the asked order, page by page", async () => {
    const prefix = newName();
    const [a, b, c] = [`${prefix}-a`, `${prefix}-b`, `${prefix}-c`];
    const common = ["--tag", prefix, "--disk-format"];
    await image("glimpse", "create", b, ...common, "raw", "--private", "--property", "os=debian");
    await image("glimpse", "create", a, ...common, "qcow2", "--community");
    await image("glimpse", "create", c, ...common, "raw", "--property", "os=fedora");
    const tagged = (...args: string[]) => listNames("glimpse", "--tag", prefix, ...args);

    expect(await tagged("--sort", "name:asc")).toEqual([a, b, c]);
    expect(await tagged("--sort", "disk_format:desc,name:desc")).toEqual([c, b, a]);
    expect(await tagged("--name", b)).toEqual([b]);
    expect(await tagged("--property", "os=fedora")).toEqual([c]);
    expect(await tagged("--private")).toEqual([b]);
    expect(await tagged("--shared")).toEqual([c]);
    expect(await tagged("--community")).toEqual([a]);
    expect(await tagged("--status", "active")).toEqual([]);
    // The client sorts by itself what the server lists newest first: c, a, b.
    expect(await tagged("--limit", "2")).toEqual([a, c]);
    const { id } = await image("glimpse", "show", a);
    expect(await tagged("--marker", id)).toEqual([b]);
  });

  it("follows the pages of a list longer than one", async () => {
    const tag = newName();
    const names = Array.from({ length: 27 }, (_, i) => `${tag}-${String(i).padStart(2, "0")}`);
    for (const name of names) await image("glimpse", "create", name, "--tag", tag);
    expect(await listNames("glimpse", "--tag", tag, "--sort", "name:asc")).toEqual(names);
  });

  it("sets and unsets properties and tags, renames, hides and shows", async () => {
    const { id } = await image("glimpse", "create", newName());
    const name = newName();
    await openstack(
      ...(["glimpse", "image", "set", id, "--name", name, "--tag", "one", "--tag", "two"] as const),
      ...["--property", "os_distro=debian", "--property", "hw_vif_model=virtio"],
      ...["--min-disk", "7", "--min-ram", "1024", "--community"],
    );
    const changed = await image("glimpse", "show", id);
    expect(changed).toMatchObject({ name, min_disk: 7, min_ram: 1024, visibility: "community" });
    expect(changed.properties).toMatchObject({ os_distro: "debian", hw_vif_model: "virtio" });
    expect([...changed.tags].sort()).toEqual(["one", "two"]);

    await openstack("glimpse", "image", "unset", id, "--tag", "one", "--property", "hw_vif_model");
    const less = await image("glimpse", "show", id);
    expect(less.tags).toEqual(["two"]);
    expect(less.properties).not.toHaveProperty("hw_vif_model");
    expect(less.properties).toMatchObject({ os_distro: "debian" });

    await openstack("glimpse", "image", "set", "--hidden", id);
    expect(await listNames("glimpse", "--name", name)).toEqual([]);
    expect(await listNames("glimpse", "--name", name, "--hidden")).toEqual([name]);
    await openstack("glimpse", "image", "set", "--unhidden", id);
    expect(await listNames("glimpse", "--name", name)).toEqual([name]);
  });

  it("shares an image with another project, which accepts, uses and rejects it", async () => {
    const name = newName();
    const { id } = await createWithData("glimpse", name);
    expect(await refused("glimpse-other", "image", "show", id)).toContain("No Image found");

    await openstack("glimpse", "image", "add", "project", id, OTHER_PROJECT);
    expect(await listNames("glimpse-other", "--name", name)).toEqual([]);
    expect(await listNames("glimpse-other", "--name", name, "--member-status", "pending")).toEqual([
      name,
    ]);
    const members = await openstack("glimpse", "image", "member", "list", id, "-f", "json");
    expect(JSON.parse(members)).toMatchObject([{ "Member ID": OTHER_PROJECT, Status: "pending" }]);

    await openstack("glimpse-other", "image", "set", "--accept", id);
    expect(await listNames("glimpse-other", "--name", name)).toEqual([name]);
    const saved = join(state.path, "shared.qcow2");
    await openstack("glimpse-other", "image", "save", "--file", saved, name);
    expect(await sha512OfFile(saved)).toBe(await sha512OfFile(qcow2));

    await openstack("glimpse-other", "image", "set", "--reject", id);
    expect(await listNames("glimpse-other", "--name", name)).toEqual([]);
    await openstack("glimpse", "image", "remove", "project", id, OTHER_PROJECT);
    expect(await refused("glimpse-other", "image", "show", id)).toContain("No Image found");
  });

  it("deactivates an image, so that it cannot be saved, and activates it again", async () => {
    const name = newName();
    const { id } = await createWithData("glimpse", name);
    await openstack("glimpse", "image", "set", "--deactivate", id);
    expect(await image("glimpse", "show", id)).toMatchObject({ status: "deactivated" });
    const saved = join(state.path, "deactivated.qcow2");
    const complaint = await refused("glimpse", "image", "save", "--file", saved, id);
    expect(complaint).toContain("Unable to download image");
    await openstack("glimpse", "image", "set", "--activate", id);
    await openstack("glimpse", "image", "save", "--file", saved, id);
    expect(await sha512OfFile(saved)).toBe(await sha512OfFile(qcow2));
  });

  it("protects an image against deletion and lifts that again", async () => {
    const { id } = await image("glimpse", "create", newName());
    await openstack("glimpse", "image", "set", "--protected", id);
    expect(await refused("glimpse", "image", "delete", id)).toContain("403");
    await openstack("glimpse", "image", "set", "--unprotected", id);
    await openstack("glimpse", "image", "delete", id);
    expect(await refused("glimpse", "image", "show", id)).toContain("No Image found");
  });

  it("deletes several images in one command", async () => {
    const [one, two] = [newName(), newName()];
    await createWithData("glimpse", one);
    await image("glimpse", "create", two);
    await openstack("glimpse", "image", "delete", one, two);
    expect(await listNames("glimpse", "--name", one)).toEqual([]);
    expect(await listNames("glimpse", "--name", two)).toEqual([]);
  });
});

describe("an administrator", () => {
  it("publishes an image, which everybody then sees and other members save", async () => {
    const name = newName();
    await createWithData("glimpse-admin", name, "--public");
    expect(await listNames("glimpse-other", "--public", "--name", name)).toEqual([name]);
    expect(await listNames("glimpse-other-reader", "--name", name)).toEqual([name]);
    const saved = join(state.path, "public.qcow2");
    await openstack("glimpse-other", "image", "save", "--file", saved, name);
    expect(await sha512OfFile(saved)).toBe(await sha512OfFile(qcow2));
  });

  it("sees, changes, gives away and deletes images of every project", async () => {
    const name = newName();
    const { id } = await image("glimpse-other", "create", "--private", name);
    expect(await listNames("glimpse-admin", "--name", name)).toEqual([name]);
    await openstack("glimpse-admin", "image", "set", "--property", "checked=yes", id);
    await openstack("glimpse-admin", "image", "set", "--project", "demo", id);
    expect(await image("glimpse", "show", id)).toMatchObject({
      owner: DEMO_PROJECT,
      properties: { checked: "yes" },
    });
    expect(await refused("glimpse-other", "image", "show", id)).toContain("No Image found");
    await openstack("glimpse-admin", "image", "delete", id);
    expect(await refused("glimpse", "image", "show", id)).toContain("No Image found");
  });
});

describe("a reader", () => {
  it("lists and shows the project's images", async () => {
    const name = newName();
    const { id } = await image("glimpse", "create", "--private", name);
    expect(await listNames("glimpse-reader", "--name", name)).toEqual([name]);
    expect(await image("glimpse-reader", "show", name)).toMatchObject({ id });
  });

  it("may not create, change, save, share, deactivate or delete", async () => {
    const name = newName();
    const { id } = await createWithData("glimpse", name);
    const saved = join(state.path, "reader.qcow2");
    for (const args of [
      ["create", newName()],
      ["create", "--file", qcow2, newName()],
      ["set", "--name", "mine", id],
      ["set", "--property", "a=b", id],
      ["unset", "--property", "owner_specified.openstack.object", id],
      ["add", "project", id, OTHER_PROJECT],
      ["delete", id],
    ]) {
      expect(await refused("glimpse-reader", "image", ...args), args.join(" ")).toContain("403");
    }
    const complaint = await refused("glimpse-reader", "image", "save", "--file", saved, id);
    expect(complaint).toContain("Unable to download image");
    // This client does not look at the answer to a deactivation.
    await openstack("glimpse-reader", "image", "set", "--deactivate", id);
    expect(await image("glimpse", "show", id)).toMatchObject({ name, status: "active" });
  });
});

describe("another project's member", () => {
  it("does not see a private image, whatever it tries", async () => {
    const name = newName();
    const { id } = await image("glimpse", "create", "--private", name);
    expect(await listNames("glimpse-other", "--name", name)).toEqual([]);
    for (const args of [
      ["show", name],
      ["show", id],
      ["set", "--name", "mine", id],
      ["add", "project", id, OTHER_PROJECT],
      ["delete", id],
    ]) {
      const complaint = await refused("glimpse-other", "image", ...args);
      expect(complaint, args.join(" ")).toContain("No Image found");
    }
    await refused("glimpse-other", "image", "save", "--file", join(state.path, "stolen"), id);
    expect(await image("glimpse", "show", id)).toMatchObject({ name, status: "queued" });
  });

  it("sees a community image but may not change it", async () => {
    const name = newName();
    const { id } = await createWithData("glimpse", name, "--community");
    expect(await listNames("glimpse-other", "--name", name)).toEqual([]);
    expect(await listNames("glimpse-other", "--name", name, "--community")).toEqual([name]);
    for (const args of [
      ["set", "--name", "mine", id],
      ["set", "--tag", "mine", id],
      ["delete", id],
    ]) {
      expect(await refused("glimpse-other", "image", ...args), args.join(" ")).toContain("403");
    }
    await openstack("glimpse-other", "image", "set", "--deactivate", id);
    expect(await image("glimpse", "show", id)).toMatchObject({ name, status: "active", tags: [] });
  });
});

describe("what is refused to everybody or to non-administrators", () => {
  it("publishing by a member", async () => {
    const { id } = await image("glimpse", "create", newName());
    expect(await refused("glimpse", "image", "set", "--public", id)).toContain("403");
    expect(await refused("glimpse", "image", "create", "--public", newName())).toContain("403");
  });

  it("giving an image to another project as a member", async () => {
    const { id } = await image("glimpse", "create", newName());
    const complaint = await refused("glimpse", "image", "set", "--project", OTHER_PROJECT, id);
    expect(complaint).toContain("403");
  });

  it("an id that is taken, also by a deleted image", async () => {
    const { id } = await image("glimpse", "create", newName());
    expect(await refused("glimpse", "image", "create", "--id", id, newName())).toContain("409");
    await openstack("glimpse", "image", "delete", id);
    expect(await refused("glimpse", "image", "create", "--id", id, newName())).toContain("409");
  });

  it("sharing twice, sharing a private image, accepting for oneself as the owner", async () => {
    const { id } = await image("glimpse", "create", newName());
    await openstack("glimpse", "image", "add", "project", id, OTHER_PROJECT);
    const again = await refused("glimpse", "image", "add", "project", id, OTHER_PROJECT);
    expect(again).toContain("409");
    const accept = ["image", "set", "--accept", "--project", OTHER_PROJECT, id];
    expect(await refused("glimpse", ...accept)).toContain("403");
    const hidden = await image("glimpse", "create", "--private", newName());
    const refusal = await refused("glimpse", "image", "add", "project", hidden.id, OTHER_PROJECT);
    expect(refusal).toContain("403");
  });

  it("a name that the schema forbids", async () => {
    expect(await refused("glimpse", "image", "create", "n".repeat(256))).toContain("400");
  });

  it("a wrong password, an unknown project and one without a role for the user", async () => {
    const wrong = argv("glimpse", ["--os-password", "wrong", "image", "list"]);
    expect(await commands.fail(wrong)).toContain("401");
    for (const project of ["nowhere", "other"]) {
      const environment = {
        OS_AUTH_URL: `${server.url}/identity/v3`,
        OS_USERNAME: "demo",
        OS_PASSWORD: "demo-password",
        OS_USER_DOMAIN_NAME: "Default",
        OS_PROJECT_NAME: project,
        OS_PROJECT_DOMAIN_NAME: "Default",
      };
      const complaint = await commands.fail(["openstack", "image", "list"], { env: environment });
      expect(complaint, project).toContain("401");
    }
  });
});

describe("the built-in identity", () => {
  it("issues tokens and tells the catalog", async () => {
    const token = JSON.parse(await openstack("glimpse", "token", "issue", "-f", "json"));
    expect(token).toMatchObject({ project_id: DEMO_PROJECT, user_id: DEMO_USER });
    const catalog = JSON.parse(await openstack("glimpse", "catalog", "list", "-f", "json"));
    expect(catalog.map((entry: { Type: string }) => entry.Type).sort()).toEqual([
      "identity",
      "image",
    ]);
  });

  it("accepts ids in place of names", async () => {
    const byId = ["--os-username", "", "--os-user-id", DEMO_USER];
    const scoped = ["--os-project-name", "", "--os-project-id", DEMO_PROJECT];
    expect(await openstack("glimpse", ...byId, ...scoped, "image", "list")).toContain("ID");
  });

  it("accepts a token issued before", async () => {
    const token = JSON.parse(await openstack("glimpse", "token", "issue", "-f", "json"));
    const listed = await commands.succeed([
      ...["openstack", "--os-auth-type", "token", "--os-auth-url", `${server.url}/identity/v3`],
      ...["--os-token", token.id, "--os-project-id", DEMO_PROJECT, "image", "list", "-f", "json"],
    ]);
    expect(JSON.parse(listed)).toBeInstanceOf(Array);
  });
});
